//! Text inside a record: bounded, one line, shown without harm in a terminal.
//!
//! Everything is a JSON string. Control characters, line separators and characters that are invisible or turn the
//! direction of text are written as `\uXXXX`. Text that a client chose has three more rules, which make what is shown
//! unambiguous: a byte that is not UTF-8 is shown as `\xNN`, a backslash as `\x5c`, a literal `…` as its bytes, so
//! that `…` at the end always means *cut here*.

use std::io::Write;

/// What a cut text ends with.
pub(super) const CUT: char = '…';

/// Who chose a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This edge or its operator: configuration, cases, versions.
    Ours,
    /// The client, or somebody in its place.
    Client,
}

/// Appends `bytes` as a JSON string, at most `limit` bytes of them.
pub(super) fn write(out: &mut Vec<u8>, bytes: &[u8], limit: usize, origin: Origin) {
    let (kept, cut) = bound(bytes, limit);
    out.push(b'"');
    let (head, rest) = kept.split_at_checked(plain_length(kept)).unwrap_or((kept, &[]));
    out.extend_from_slice(head);
    if !rest.is_empty() {
        for chunk in rest.utf8_chunks() {
            chunk.valid().chars().for_each(|char| write_char(out, char, origin));
            chunk.invalid().iter().for_each(|byte| write_byte(out, *byte));
        }
    }
    if cut {
        out.extend_from_slice(CUT.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.push(b'"');
}

/// Appends one of our own texts.
pub(super) fn write_ours(out: &mut Vec<u8>, text: &str, limit: usize) {
    write(out, text.as_bytes(), limit, Origin::Ours);
}

/// Appends a number in decimal.
pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut rest = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// The first `limit` bytes, without half a character at the end.
fn bound(bytes: &[u8], limit: usize) -> (&[u8], bool) {
    let Some(mut kept) = bytes.get(..limit).filter(|_| bytes.len() > limit) else { return (bytes, false) };
    let next = bytes.get(limit).copied().unwrap_or_default();
    if is_continuation(next) {
        // At most three continuation bytes and one lead byte make up the character that is cut.
        for _ in 0..4 {
            let Some((last, before)) = kept.split_last() else { break };
            kept = before;
            if !is_continuation(*last) {
                break;
            }
        }
    }
    (kept, true)
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// How many bytes at the start stand for themselves. Nearly every text is of these alone, and looked at sixteen bytes at
/// a time, without a branch for each.
fn plain_length(bytes: &[u8]) -> usize {
    let whole = |piece: &&[u8]| piece.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    let start = 16 * bytes.chunks_exact(16).take_while(whole).count();
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

fn write_char(out: &mut Vec<u8>, char: char, origin: Origin) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' if origin == Origin::Ours => out.extend_from_slice(b"\\\\"),
        '\\' => write_byte(out, b'\\'),
        CUT if origin == Origin::Client => {
            char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| write_byte(out, byte));
        }
        _ if is_hidden(char) => {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing into a vector cannot fail.
                write!(out, "\\u{unit:04x}").ok();
            }
        }
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// A byte as the four characters `\xNN`; the backslash takes two in JSON.
fn write_byte(out: &mut Vec<u8>, byte: u8) {
    write!(out, "\\\\x{byte:02x}").ok();
}

/// Controls, separators, and what is invisible or changes the direction of the text around it.
pub(super) fn is_hidden(char: char) -> bool {
    matches!(char,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(bytes: &[u8], limit: usize, origin: Origin) -> String {
        let mut out = Vec::new();
        write(&mut out, bytes, limit, origin);
        String::from_utf8(out).unwrap()
    }

    /// What a reader of the documentation does to get a client's bytes back.
    fn original(json: &str) -> Vec<u8> {
        let text: String = serde_json::from_str(json).unwrap();
        let mut bytes = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("\\x") {
            bytes.extend_from_slice(before.as_bytes());
            bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }

    #[test]
    fn hostile_text_stays_on_its_line_and_is_seen() {
        for (bytes, expected) in [
            (&b"/plain"[..], r#""/plain""#),
            (b"a\nb\r\0\x7f", r#""a\u000ab\u000d\u0000\u007f""#),
            (b"\x1b[31m", r#""\u001b[31m""#),
            ("\u{2028}\u{2029}\u{85}".as_bytes(), r#""\u2028\u2029\u0085""#),
            ("\u{202e}gpj.exe\u{e0041}".as_bytes(), r#""\u202egpj.exe\udb40\udc41""#),
            (b"\"}\\", r#""\"}\\x5c""#),
            (b"\xff\xc3", r#""\\xff\\xc3""#),
            ("bücher…".as_bytes(), r#""bücher\\xe2\\x80\\xa6""#),
        ] {
            assert_eq!(shown(bytes, 100, Origin::Client), expected);
        }
        assert_eq!(shown(b"C:\\x", 100, Origin::Ours), r#""C:\\x""#);
    }

    #[test]
    fn a_cut_text_ends_with_an_ellipsis_and_whole_characters() {
        assert_eq!(shown(b"abcdef", 3, Origin::Client), "\"abc…\"");
        assert_eq!(shown(b"abc", 3, Origin::Client), "\"abc\"");
        assert_eq!(shown("ab€d".as_bytes(), 4, Origin::Client), "\"ab…\"");
        assert_eq!(shown("ab€d".as_bytes(), 5, Origin::Client), "\"ab€…\"");
        assert_eq!(shown(&[0x80; 9], 2, Origin::Client), "\"…\"");
    }

    /// Texts are looked at sixteen bytes at a time: wherever a byte stands, it is shown as it is alone.
    #[test]
    fn a_byte_is_shown_the_same_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let alone = shown(&[byte], 100, Origin::Client);
            let alone = alone.strip_prefix('"').and_then(|alone| alone.strip_suffix('"')).unwrap();
            let is_itself = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            assert_eq!(alone.as_bytes() == [byte], is_itself, "{byte:#x}");
            for at in 0..40 {
                let mut bytes = [b'a'; 40];
                bytes[at] = byte;
                let expected = format!("\"{}{alone}{}\"", "a".repeat(at), "a".repeat(39 - at));
                assert_eq!(shown(&bytes, 100, Origin::Client), expected, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 451, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_what_is_shown(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let json = shown(&bytes, 200, Origin::Client);
            prop_assert!(!json.chars().any(is_hidden));
            prop_assert_eq!(original(&json), bytes);
        }

        #[test]
        fn any_text_comes_back_from_what_is_shown(text: String) {
            let json = shown(text.as_bytes(), 4096, Origin::Client);
            prop_assert!(!json.chars().any(is_hidden));
            prop_assert_eq!(original(&json), text.as_bytes());
        }

        #[test]
        fn a_text_takes_six_bytes_a_byte_at_most(bytes in proptest::collection::vec(any::<u8>(), 0..200), limit in 0..64usize) {
            prop_assert!(shown(&bytes, limit, Origin::Client).len() <= 6 * limit + 5);
        }
    }
}
