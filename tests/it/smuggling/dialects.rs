//! Other servers' ways of reading a connection, each of them wrong in one way that somebody has shipped.
//!
//! What the edge sends has to mean the same to all of them.

use super::canonical::find;

/// One way of reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dialect {
    name: &'static str,
    /// A lone LF ends a line.
    lf: bool,
    /// A lone CR ends a line.
    cr: bool,
    /// Blanks around a name do not belong to it, and `_` is a hyphen.
    loose_names: bool,
    /// A line that begins with a blank continues the one before.
    folds: bool,
    /// Of `Content-Length` and chunks, the length counts.
    prefers_length: bool,
    /// Of several lengths, the last counts.
    last_length: bool,
    /// A length with a zero in front is octal, and one with `0x` hexadecimal (`strtol` with base 0).
    c_numbers: bool,
    /// A coding counts only if it is written `chunked`.
    exact_coding: bool,
}

const STRICT: Dialect = Dialect {
    name: "by the letter",
    lf: false,
    cr: false,
    loose_names: false,
    folds: false,
    prefers_length: false,
    last_length: false,
    c_numbers: false,
    exact_coding: false,
};

/// All of them.
pub const DIALECTS: [Dialect; 10] = [
    STRICT,
    Dialect { name: "LF", lf: true, ..STRICT },
    Dialect { name: "CR", lf: true, cr: true, ..STRICT },
    Dialect { name: "loose names", loose_names: true, ..STRICT },
    Dialect { name: "folded lines", folds: true, ..STRICT },
    Dialect { name: "length before chunks", prefers_length: true, ..STRICT },
    Dialect { name: "last length", prefers_length: true, last_length: true, ..STRICT },
    Dialect { name: "numbers of C", c_numbers: true, ..STRICT },
    Dialect { name: "exact coding", exact_coding: true, ..STRICT },
    Dialect {
        name: "everything at once",
        lf: true,
        cr: true,
        loose_names: true,
        folds: true,
        c_numbers: true,
        ..STRICT
    },
];

/// A request as one reader understands it: its line, and the octets of its content.
pub type Understood = (String, usize);

impl Dialect {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// All whole requests from the start of a connection.
    pub fn read_all(&self, mut bytes: &[u8]) -> Vec<Understood> {
        let mut all = Vec::new();
        while let Some((understood, octets)) = self.read(bytes) {
            all.push(understood);
            bytes = &bytes[octets..];
        }
        all
    }

    fn read(&self, bytes: &[u8]) -> Option<(Understood, usize)> {
        let (first, mut octets) = self.line(bytes)?;
        let first = first.iter().map(|byte| char::from(*byte)).collect();
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let (line, taken) = self.line(&bytes[octets..])?;
            octets += taken;
            match line {
                [] => break,
                [b' ' | b'\t', rest @ ..] if self.folds && !fields.is_empty() => {
                    fields.last_mut()?.1.extend_from_slice(rest);
                }
                _ => fields.push(self.field(line)),
            }
        }
        let values = |name: &str| {
            let named = fields.iter().filter(|(known, _)| known == name);
            named.map(|(_, value)| value.as_slice()).collect::<Vec<_>>()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        let chunked = codings.iter().any(|coding| match self.exact_coding {
            true => *coding == b"chunked",
            false => find(&coding.to_ascii_lowercase(), b"chunked").is_some(),
        });
        let length = if self.last_length { lengths.last() } else { lengths.first() };
        let (content, taken) = match length.map(|text| self.number(text)) {
            Some(length) if !chunked || self.prefers_length => (length, length),
            _ if chunked => self.chunks(&bytes[octets..])?,
            _ => (0, 0),
        };
        (octets + taken <= bytes.len()).then_some(((first, content), octets + taken))
    }

    /// The first line without its end, and the octets of both.
    fn line<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], usize)> {
        let end = match (self.lf, self.cr) {
            (_, true) => bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?,
            (true, false) => bytes.iter().position(|byte| *byte == b'\n')?,
            (false, false) => find(bytes, b"\r\n")?,
        };
        let line = &bytes[..end];
        let is_pair = bytes[end..].starts_with(b"\r\n");
        Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1 + usize::from(is_pair)))
    }

    fn field(&self, line: &[u8]) -> (String, Vec<u8>) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let mut name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if self.loose_names {
            name = name.trim().replace('_', "-");
        }
        (name, value.get(1..).unwrap_or_default().trim_ascii().to_vec())
    }

    /// The number that a text begins with.
    fn number(&self, text: &[u8]) -> usize {
        let text = String::from_utf8_lossy(text).into_owned();
        let (digits, radix) = match text.strip_prefix("0x") {
            Some(rest) if self.c_numbers => (rest, 16),
            _ if self.c_numbers && text.starts_with('0') => (text.as_str(), 8),
            _ => (text.as_str(), 10),
        };
        let end = digits.find(|digit: char| !digit.is_digit(radix)).unwrap_or(digits.len());
        usize::from_str_radix(&digits[..end], radix).unwrap_or(0)
    }

    /// The octets of a chunked content, and those it takes with its chunks.
    fn chunks(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let (mut content, mut octets) = (0, 0);
        loop {
            let (line, taken) = self.line(bytes.get(octets..)?)?;
            let digits: String =
                line.iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_hexdigit).collect();
            let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
            octets += taken;
            if size == 0 {
                // Trailers, up to an empty line.
                loop {
                    let (line, taken) = self.line(bytes.get(octets..)?)?;
                    octets += taken;
                    if line.is_empty() {
                        return Some((content, octets));
                    }
                }
            }
            content += size;
            octets += size;
            octets += self.line(bytes.get(octets..)?)?.1;
        }
    }
}

#[test]
fn the_dialects_agree_on_what_is_plain_and_differ_on_what_is_not() {
    let plain = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nhi\r\n0\r\n\r\nPUT /c HTTP/1.1\r\nContent-Length: 8\r\n\r\nhi there";
    let expected = [("GET /a HTTP/1.1", 0), ("PUT /b HTTP/1.1", 2), ("PUT /c HTTP/1.1", 8)];
    let expected = expected.map(|(line, octets)| (line.to_owned(), octets));
    for dialect in DIALECTS {
        assert_eq!(dialect.read_all(plain), expected, "{}", dialect.name());
    }
    let unclear: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nA: b\nContent-Length: 5\r\n\r\nabcde",
        b"GET / HTTP/1.1\r\nA: b\rContent-Length: 5\r\n\r\nabcde",
        b"GET / HTTP/1.1\r\nContent_Length : 5\r\n\r\nabcde",
        b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        b"PUT / HTTP/1.1\r\nContent-Length: 010\r\n\r\n0123456789",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ];
    for bytes in unclear {
        let readings: Vec<_> = DIALECTS.iter().map(|dialect| dialect.read_all(bytes)).collect();
        assert!(readings.iter().any(|reading| *reading != readings[0]), "{}", bytes.escape_ascii());
    }
}
