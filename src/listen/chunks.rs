//! Where a chunked message ends (RFC 9112 §7.1), by the letter of the standard.
//!
//! Pingora's parser takes an empty size for a zero and any octet inside an extension, a lone LF among them. Another
//! server in the chain may end a line there. So every octet passes here first, and what is not in the grammar ends the
//! message.

use std::io;

use crate::limits;

/// The chunks of a body are not what RFC 9112 §7.1 says they are.
#[derive(Debug, thiserror::Error)]
#[error("the chunks of the request are malformed")]
pub(super) struct BrokenChunks;

impl BrokenChunks {
    /// Whether this is why a request failed.
    pub(super) fn caused(error: &pingora::Error) -> bool {
        let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is_some_and(|cause| cause.is::<Self>())
    }
}

impl From<BrokenChunks> for io::Error {
    fn from(broken: BrokenChunks) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}

/// What the next octet of a message is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A digit of a size that has so many so far, or what ends it.
    Size {
        digits: u8,
        size: u64,
    },
    /// A blank before the `;` of an extension.
    Blank {
        size: u64,
    },
    /// An octet of an extension.
    Extension {
        size: u64,
    },
    /// The LF after a size.
    SizeEnd {
        size: u64,
    },
    /// So many octets of data.
    Data {
        left: u64,
    },
    /// The CR and the LF after the data.
    DataCr,
    DataLf,
    /// The first octet of a trailer field, or of the empty line that ends the message.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// The last LF.
    End,
    Done,
    Broken,
}

/// Follows one chunked message.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// Octets of the size line or of the trailer section that is being read.
    overhead: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size { digits: 0, size: 0 }, overhead: 0 }
    }
}

impl Chunks {
    /// Whether the message has had its last octet.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether what came next is no part of any message.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Follows the message through `bytes`. Returns how many of them belong to it.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if let State::Data { left } = self.state {
                let here = (bytes.len() - taken).min(usize::try_from(left).unwrap_or(usize::MAX));
                taken += here;
                let left = left - here as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            if matches!(self.state, State::Done | State::Broken) {
                break;
            }
            self.state = self.after(byte);
            if self.state == State::Broken {
                break;
            }
            taken += 1;
        }
        taken
    }

    fn after(&mut self, byte: u8) -> State {
        self.overhead += 1;
        if self.overhead > limits::CHUNK_OVERHEAD_BYTES {
            return State::Broken;
        }
        match (self.state, byte) {
            (State::Size { digits, size }, _) => after_digit(digits, size, byte),
            (State::Blank { size }, b' ' | b'\t') => State::Blank { size },
            (State::Blank { size }, b';') => State::Extension { size },
            (State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Extension { size }, _) if is_text(byte) => State::Extension { size },
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailer,
            (State::SizeEnd { size }, b'\n') => {
                self.overhead = 0;
                State::Data { left: size }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::Trailer, b'\r') => State::End,
            (State::Trailer | State::TrailerName, _) if is_token(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerEnd,
            (State::TrailerValue, _) if is_text(byte) => State::TrailerValue,
            (State::TrailerEnd, b'\n') => State::Trailer,
            (State::End, b'\n') => State::Done,
            _ => State::Broken,
        }
    }
}

/// Sixteen digits fill the number; a seventeenth would push the first one out.
fn after_digit(digits: u8, size: u64, byte: u8) -> State {
    match char::from(byte).to_digit(16) {
        Some(digit) if digits < 16 => {
            State::Size { digits: digits + 1, size: (size << 4) | u64::from(digit) }
        }
        Some(_) => State::Broken,
        None if digits == 0 => State::Broken,
        None => match byte {
            b'\r' => State::SizeEnd { size },
            b';' => State::Extension { size },
            b' ' | b'\t' => State::Blank { size },
            _ => State::Broken,
        },
    }
}

/// An octet of a field value (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// An octet of a field name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many octets belong to the message, and how it went.
    fn follow(bytes: &[u8]) -> (usize, bool, bool) {
        let mut chunks = Chunks::default();
        let taken = chunks.follow(bytes);
        (taken, chunks.is_done(), chunks.is_broken())
    }

    #[test]
    fn a_message_ends_where_the_standard_says() {
        let messages: [&[u8]; 7] = [
            b"0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
            b"a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n",
            b"5;name=value\r\nhello\r\n0;last\r\n\r\n",
            b"5 \t;name=\"a;\\\"b\"\r\nhello\r\n0\r\n\r\n",
            b"1\r\n\n\r\n0\r\nA: b\r\nC:\r\n\r\n",
            b"0000000000000001\r\nx\r\n0\r\n\r\n",
        ];
        for message in messages {
            let more = [message, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(follow(&more), (message.len(), true, false), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        let message = b"5;x\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n";
        for size in 1..message.len() {
            let mut chunks = Chunks::default();
            let taken: usize = message.chunks(size).map(|piece| chunks.follow(piece)).sum();
            assert_eq!((taken, chunks.is_done()), (message.len(), true), "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_in_the_grammar_ends_the_message_before_it() {
        let broken: [(&[u8], usize); 20] = [
            (b"\r\n\r\n", 0),
            (b";x\r\n\r\n", 0),
            (b" 0\r\n\r\n", 0),
            (b"+0\r\n\r\n", 0),
            (b"0x0\r\n\r\n", 1),
            (b"5_\r\nhello", 1),
            (b"5 \r\nhello", 2),
            (b"5\nhello", 1),
            (b"5\rXhello", 2),
            (b"5;a\nhello", 3),
            (b"5;a\rXhello", 4),
            (b"5;\x00\r\nhello", 2),
            (b"5\r\nhello0\r\n", 8),
            (b"5\r\nhello\n0\r\n", 8),
            (b"5\r\nhello\rX0\r\n", 9),
            (b"00000000000000000\r\n\r\n", 16),
            (b"0\r\n\n", 3),
            (b"0\r\nA b: c\r\n\r\n", 4),
            (b"0\r\nA: b\nC: d\r\n\r\n", 7),
            (b"0\r\n\rX", 4),
        ];
        for (bytes, good) in broken {
            assert_eq!(follow(bytes), (good, false, true), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn neither_extensions_nor_trailers_go_on_for_ever() {
        let extension = [b"5;".as_slice(), &[b'x'; limits::CHUNK_OVERHEAD_BYTES]].concat();
        assert_eq!(follow(&extension), (limits::CHUNK_OVERHEAD_BYTES, false, true));
        let trailers = [b"0\r\n".as_slice(), &b"A: b\r\n".repeat(limits::CHUNK_OVERHEAD_BYTES)].concat();
        assert_eq!(follow(&trailers), (limits::CHUNK_OVERHEAD_BYTES, false, true));
    }
}
