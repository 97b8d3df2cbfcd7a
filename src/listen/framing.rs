//! How long a request is, as its head says (RFC 9112 §6.3): plainly, or the request is refused.
//!
//! Whoever stands before or behind the edge may read an unclear length in another way, and take a part of one request
//! for the next. What the standard lets a server repair is therefore not repaired here: no honest client needs it.

/// How many octets follow the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// So many.
    Known(u64),
    /// As many as the chunks say.
    Chunked,
    /// Nobody can tell yet: if the origin agrees, a WebSocket follows.
    Upgrade,
}

/// Why nobody can tell for sure where a request ends. Every one of them is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    /// RFC 9112 §6.1: no sender has both.
    #[error("the request has both a `Content-Length` and a `Transfer-Encoding`")]
    Both,
    /// Several, a list, no digits, or more than can be counted.
    #[error("the `Content-Length` is not one number")]
    Length,
    /// `chunked` is missing, repeated, not at the end or not in its own words.
    #[error("the `Transfer-Encoding` is not `chunked`")]
    Coding,
    /// A coding before `chunked`, which the edge would have to undo.
    #[error("the only transfer coding known here is `chunked`")]
    UnknownCoding,
    /// RFC 9112 §6.1.
    #[error("there is no `Transfer-Encoding` in HTTP/1.0")]
    TooOld,
    /// What follows would be read as content by one and as a WebSocket by another.
    #[error("a request for a WebSocket has no content")]
    Upgrade,
}

impl FramingError {
    /// The status that tells the client (RFC 9112 §6.1 asks for 501 where a coding is unknown).
    pub(super) fn status(self) -> u16 {
        if self == Self::UnknownCoding { 501 } else { 400 }
    }
}

/// What the fields of one head say of its length.
#[derive(Debug, Default)]
pub(super) struct Framing<'b> {
    lengths: usize,
    length: Option<u64>,
    codings: usize,
    coding: &'b [u8],
    is_upgrade: bool,
}

impl<'b> Framing<'b> {
    /// Takes in one field.
    pub(super) fn note(&mut self, name: &str, value: &'b [u8]) {
        if name.eq_ignore_ascii_case("content-length") {
            self.lengths += 1;
            self.length = number(value);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.codings += 1;
            self.coding = value;
        } else if name.eq_ignore_ascii_case("upgrade") {
            // Of the upgrades only a WebSocket's is forwarded; the others are answered as plain requests.
            self.is_upgrade |= value.eq_ignore_ascii_case(b"websocket");
        }
    }

    /// The length, when there is no doubt about it.
    pub(super) fn length(&self, http10: bool) -> Result<Length, FramingError> {
        let length = match (self.lengths, self.codings) {
            (0, 0) => Length::Known(0),
            (1, 0) => Length::Known(self.length.ok_or(FramingError::Length)?),
            (_, 0) => return Err(FramingError::Length),
            _ if http10 => return Err(FramingError::TooOld),
            (0, 1) if self.coding.eq_ignore_ascii_case(b"chunked") => Length::Chunked,
            (0, 1) if is_layered(self.coding) => return Err(FramingError::UnknownCoding),
            (0, _) => return Err(FramingError::Coding),
            _ => return Err(FramingError::Both),
        };
        match (self.is_upgrade, length) {
            (true, Length::Known(0)) => Ok(Length::Upgrade),
            (true, _) => Err(FramingError::Upgrade),
            (false, length) => Ok(length),
        }
    }
}

/// Reads `1*DIGIT` (RFC 9110 §8.6); the standard library would take a sign.
fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether a well-formed list names other codings, and `chunked` once and at its end.
fn is_layered(list: &[u8]) -> bool {
    let mut codings = list.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_token = |coding: &[u8]| {
        !coding.is_empty() && coding.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
        && codings.all(|coding| is_token(coding) && !coding.eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(fields: &[(&str, &str)]) -> Result<Length, FramingError> {
        let mut framing = Framing::default();
        fields.iter().for_each(|(name, value)| framing.note(name, value.as_bytes()));
        framing.length(false)
    }

    #[test]
    fn a_plain_length_is_taken() {
        assert_eq!(length(&[]), Ok(Length::Known(0)));
        assert_eq!(length(&[("Content-Length", "5")]), Ok(Length::Known(5)));
        assert_eq!(length(&[("content-length", "007")]), Ok(Length::Known(7)));
        assert_eq!(length(&[("TRANSFER-ENCODING", "Chunked")]), Ok(Length::Chunked));
        assert_eq!(length(&[("Upgrade", "h2c")]), Ok(Length::Known(0)));
        assert_eq!(length(&[("Upgrade", "WebSocket"), ("Content-Length", "0")]), Ok(Length::Upgrade));
    }

    #[test]
    fn an_unclear_length_is_refused() {
        for value in ["", "+5", "-5", "0x5", "5, 5", "5 5", "1e1", "18446744073709551616", "٥"] {
            assert_eq!(length(&[("Content-Length", value)]), Err(FramingError::Length), "{value}");
        }
        let five = ("Content-Length", "5");
        assert_eq!(length(&[five, five]), Err(FramingError::Length));
        assert_eq!(length(&[five, ("Transfer-Encoding", "chunked")]), Err(FramingError::Both));
        assert_eq!(length(&[five, ("Upgrade", "websocket")]), Err(FramingError::Upgrade));
        for value in
            ["", "identity", "chunked,", ",chunked", "chunked, chunked", "chunked, gzip", "\"chunked\""]
        {
            assert_eq!(length(&[("Transfer-Encoding", value)]), Err(FramingError::Coding), "{value}");
        }
        let chunked = ("Transfer-Encoding", "chunked");
        assert_eq!(length(&[chunked, chunked]), Err(FramingError::Coding));
        assert_eq!(length(&[("Transfer-Encoding", "gzip, chunked")]), Err(FramingError::UnknownCoding));
        assert_eq!(FramingError::UnknownCoding.status(), 501);
    }

    #[test]
    fn http_1_0_has_no_chunks() {
        let mut framing = Framing::default();
        framing.note("Transfer-Encoding", b"chunked");
        assert_eq!(framing.length(true), Err(FramingError::TooOld));
    }
}
