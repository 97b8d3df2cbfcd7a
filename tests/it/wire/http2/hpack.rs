//! HPACK for cases (RFC 7541): what a client sends, in the plainest representation that is right. Whatever is not plain is
//! written in octets by the case itself.

/// Fields of the static table that stand in every request (RFC 7541, appendix A).
const WHOLE: [(&str, &str, u8); 5] = [
    (":method", "GET", 2),
    (":method", "POST", 3),
    (":path", "/", 4),
    (":scheme", "http", 6),
    (":scheme", "https", 7),
];

/// One field: by its index where the whole of it is in the static table, `:authority` by the index of its name, any other
/// as a literal without indexing and without Huffman coding (§6.2.2).
pub fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let known = WHOLE.iter().find(|(known, text, _)| *known == name && text.as_bytes() == value);
    if let Some((_, _, index)) = known {
        return vec![0x80 | index];
    }
    let mut octets = match name {
        ":authority" => vec![1],
        _ => [&[0][..], &string(name.as_bytes())].concat(),
    };
    octets.extend(string(value));
    octets
}

/// A string literal (§5.2).
fn string(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    // The length has a prefix of seven bits (§5.1).
    if text.len() < 127 {
        octets.push(text.len() as u8);
    } else {
        octets.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            octets.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        octets.push(rest as u8);
    }
    octets.extend_from_slice(text);
    octets
}

/// Whether a header block begins with this `:status`, as the edge writes it: by its index, or as a literal with the index of
/// its name and the number in Huffman coding. With a table to put it into that literal is `48`, without one `08` (§6.2).
pub fn has_status(block: &[u8], status: u16) -> bool {
    match status {
        200 => block.starts_with(&[0x88]),
        400 => block.starts_with(&[0x8c]),
        403 => matches!(block, [0x48 | 0x08, 0x83, 0x68, 0x0c, 0xff, ..]),
        other => panic!("no case asks for {other}"),
    }
}

#[test]
fn a_long_string_has_its_length_in_pieces() {
    // RFC 7541, C.1: 127 and a continuation.
    assert_eq!(string(&[b'x'; 126])[..2], [126, b'x']);
    assert_eq!(string(&[b'x'; 127])[..3], [127, 0, b'x']);
    assert_eq!(string(&[b'x'; 4000])[..4], [127, 0xa1, 0x1e, b'x']);
}
