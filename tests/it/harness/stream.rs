//! One HTTP/2 stream whose fields are exactly those of the test, polite or not.

use std::io::{Read, Write};

use super::Response;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Names and values, in this order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// How a stream ended.
#[derive(Debug)]
pub enum Ended {
    /// With an answer. Of its fields only the status is read; `origin` and `enforcement-id` are there as the status says.
    Answered(Response),
    /// It was reset.
    Reset,
    /// The connection was closed.
    Closed,
}

/// Makes one request on a fresh connection, with exactly these fields and these pieces of content.
pub fn exchange(wire: &mut (impl Read + Write), fields: &Fields, content: &[Vec<u8>]) -> Ended {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let mut block = Vec::new();
    for (name, value) in fields {
        // RFC 7541 §6.2.2: literal field without indexing, new name, no Huffman coding.
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
    frame(&mut bytes, HEADERS, END_HEADERS | last(content.is_empty()), 1, &block);
    for (index, piece) in content.iter().enumerate() {
        frame(&mut bytes, DATA, last(index + 1 == content.len()), 1, piece);
    }
    wire.write_all(&bytes).unwrap();
    wire.flush().unwrap();
    answer(wire)
}

fn answer(wire: &mut impl Read) -> Ended {
    let mut response = Response::default();
    loop {
        let mut head = [0; 9];
        if wire.read_exact(&mut head).is_err() {
            return Ended::Closed;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if wire.read_exact(&mut payload).is_err() {
            return Ended::Closed;
        }
        match head[3] {
            RST_STREAM => return Ended::Reset,
            GOAWAY => return Ended::Closed,
            HEADERS => {
                response.status = status(&payload);
                let mark = match response.status {
                    200 => Some("origin"),
                    403 => Some("enforcement-id"),
                    _ => None,
                };
                response.fields.extend(mark.map(|name| (name.to_owned(), "as the status says".to_owned())));
            }
            DATA => response.body.extend_from_slice(&payload),
            _ => {}
        }
        if matches!(head[3], HEADERS | DATA) && head[4] & END_STREAM != 0 {
            return Ended::Answered(response);
        }
    }
}

/// The status at the start of a block of fields: an index of the static table, or `:status` by its index with the digits
/// in Huffman's code (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match *block {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)],
        [0x48, length, ..] if length & 0x80 != 0 => {
            let coded = &block[2..2 + usize::from(length & 0x7f)];
            let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1));
            (0..3).fold(0, |status, _| status * 10 + u16::from(digit(&mut bits)))
        }
        [0x48, 3, a, b, c, ..] => {
            [a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
        }
        _ => panic!("no status at the start of {block:?}"),
    }
}

/// `0` to `2` have five bits, 0 to 2; `3` to `9` have six, 0x19 to 0x1f.
fn digit(bits: &mut impl Iterator<Item = u8>) -> u8 {
    let code = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
    if code < 3 { code } else { (code << 1 | bits.next().unwrap()) - 0x19 + 3 }
}

fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    into.extend([kind, flags]);
    into.extend(stream.to_be_bytes());
    into.extend_from_slice(payload);
}

/// A string literal; its length has a prefix of seven bits (RFC 7541 §5.1).
fn literal(into: &mut Vec<u8>, text: &[u8]) {
    let length = text.len();
    match length.checked_sub(0x7f) {
        None => into.push(length as u8),
        Some(mut more) => {
            into.push(0x7f);
            while more >= 0x80 {
                into.push((more & 0x7f) as u8 | 0x80);
                more >>= 7;
            }
            into.push(more as u8);
        }
    }
    into.extend_from_slice(text);
}
