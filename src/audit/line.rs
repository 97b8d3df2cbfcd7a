//! The parts of a record's line that indexing and verification need, without parsing it whole.
//!
//! Records are written by one writer in one form (`record.rs`): no blanks, `id`, `seq` and `time` first, every quote
//! inside a text escaped. A line of another form is not one of ours, even if its JSON says the same.

use std::borrow::Cow;

use uuid::Uuid;

/// Characters of a record's time.
pub(in crate::audit) const TIME: usize = 27;

/// What every record starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) struct Head<'l> {
    pub(in crate::audit) id: u128,
    pub(in crate::audit) seq: u64,
    /// They sort as the times do.
    pub(in crate::audit) time: [u8; TIME],
    /// What follows, from the quote of the next key on.
    rest: &'l [u8],
}

impl<'l> Head<'l> {
    /// Reads `{"id":"…","seq":N,"time":"…",`.
    pub(in crate::audit) fn parse(line: &'l [u8]) -> Option<Self> {
        let (id, rest) = line.strip_prefix(b"{\"id\":\"")?.split_at_checked(36)?;
        let (seq, rest) = number(rest.strip_prefix(b"\",\"seq\":")?)?;
        let (&time, rest) = rest.strip_prefix(b",\"time\":\"")?.split_first_chunk()?;
        let rest = rest.strip_prefix(b"\",")?;
        let sound = seq >= 1 && is_time(&time) && line.last() == Some(&b'}');
        sound.then_some(Self { id: parse_id(id)?, seq, time, rest })
    }

    /// The process that gave the id: 40 bits.
    pub(in crate::audit) fn nonce(&self) -> u64 {
        (self.id & 0xff_ffff_ffff) as u64
    }

    /// The place of the id among those of its process: 34 bits, see `id.rs`.
    pub(in crate::audit) fn ordinal(&self) -> u64 {
        let (high, low) = ((self.id >> 64) as u64 & 0xfff, (self.id >> 40) as u64 & 0x3f_ffff);
        high << 22 | low
    }

    /// What follows these three, from the quote of the next key on.
    pub(in crate::audit) fn rest(&self) -> &'l [u8] {
        self.rest
    }

    /// The fields after these three.
    pub(in crate::audit) fn fields(&self) -> Fields<'l> {
        Fields::of(self.rest)
    }
}

/// A decimal number without leading zeros, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() || digits.len() > 19 || digits.starts_with(b"0") && digits.len() > 1 {
        return None;
    }
    Some((digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), rest))
}

/// A UUID of version 7 in lower case.
fn parse_id(text: &[u8]) -> Option<u128> {
    let id = Uuid::try_parse_ascii(text).ok().filter(|_| !text.iter().any(u8::is_ascii_uppercase))?.as_u128();
    (id >> 76 & 0xf == 7 && id >> 62 & 3 == 2).then_some(id)
}

/// `2026-11-20T22:30:00.123456Z`.
fn is_time(text: &[u8; TIME]) -> bool {
    const FORM: &[u8; TIME] = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
    text.iter().zip(FORM).all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form })
}

/// The fields of an object: the text of each key and the JSON of its value. Ends early where the form is broken.
pub(in crate::audit) struct Fields<'l> {
    rest: Option<&'l [u8]>,
    /// See [`Fields::end`].
    end: usize,
}

impl<'l> Fields<'l> {
    /// Those that begin with the quote of a key.
    pub(in crate::audit) fn of(rest: &'l [u8]) -> Self {
        Self { rest: Some(rest), end: 0 }
    }

    /// Where the field that came last ends, before its comma; 0 when none has come.
    pub(in crate::audit) fn end(&self) -> usize {
        self.end
    }
}

impl<'l> Iterator for Fields<'l> {
    type Item = (&'l [u8], &'l [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?.strip_prefix(b"\"")?;
        let (key, rest) = text.split_at_checked(text_end(text)?)?;
        let rest = rest.strip_prefix(b"\":")?;
        let (value, rest) = rest.split_at_checked(value_end(rest)?)?;
        // `"key":value`, behind the comma of the field before.
        self.end += usize::from(self.end > 0) + key.len() + value.len() + 3;
        self.rest = rest.strip_prefix(b",");
        Some((key, value))
    }
}

/// Where a text ends: the place of its closing quote.
fn text_end(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// Where a value ends.
pub(in crate::audit) fn value_end(value: &[u8]) -> Option<usize> {
    match value.first()? {
        b'"' => Some(text_end(value.get(1..)?)? + 2),
        b'[' | b'{' => nested_end(value),
        _ => value.iter().position(|byte| matches!(byte, b',' | b'}')),
    }
}

fn nested_end(value: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0u32, 0);
    loop {
        match value.get(at)? {
            b'"' => at += text_end(value.get(at + 1..)?)? + 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The text that a JSON string stands for.
pub(in crate::audit) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(value).ok().map(Cow::Owned)
}

/// The texts in a list of texts; ends early where it is none.
pub(in crate::audit) fn texts(list: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let inner = list.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let mut rest = inner.unwrap_or_default();
    std::iter::from_fn(move || {
        rest.starts_with(b"\"").then_some(())?;
        let (item, after) = rest.split_at_checked(value_end(rest)?)?;
        rest = after.strip_prefix(b",").unwrap_or_default();
        text(item)
    })
}

/// A number that is a whole value.
pub(in crate::audit) fn count(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"id":"019aa4b0-7c00-7001-8000-05ffffffffff","seq":17,"time":"2026-11-20T22:30:00.123456Z","edge":"e\"1\\","n":[{"a":"]"},2],"o":{},"kind":"x","missed":12,"b":true}"#;

    #[test]
    fn the_head_is_read_and_the_fields_follow() {
        let head = Head::parse(LINE).unwrap();
        assert_eq!((head.seq, head.nonce(), head.ordinal()), (17, 0xff_ffff_ffff, 1 << 22 | 5));
        let fields: Vec<_> =
            head.fields().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
        assert_eq!(fields, ["edge", "n", "o", "kind", "missed", "b"]);
        let edge = head.fields().next().unwrap().1;
        assert_eq!(text(edge).unwrap(), "e\"1\\");
        assert_eq!(
            head.fields().find_map(|(key, value)| (key == b"missed").then(|| count(value))),
            Some(Some(12))
        );
    }

    #[test]
    fn fields_know_where_they_end() {
        let head = Head::parse(LINE).unwrap();
        let mut fields = head.fields();
        let mut ends = Vec::new();
        while let Some((_, value)) = fields.next() {
            assert!(head.rest()[..fields.end()].ends_with(value));
            ends.push(head.rest()[fields.end()]);
        }
        assert_eq!(ends, b",,,,,}");
    }

    #[test]
    fn a_list_of_texts_is_read_text_by_text() {
        let all = |list: &[u8]| texts(list).map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(all(br#"["a","b,\"]","\u0063"]"#), ["a", "b,\"]", "c"]);
        assert_eq!(all(br#"["a",1,"b"]"#), ["a"]);
        for none in [&b"[]"[..], b"", b"[", b"\"a\"", b"[\"a", b"{}"] {
            assert!(all(none).is_empty(), "{none:?}");
        }
    }

    #[test]
    fn a_line_of_another_form_has_no_head() {
        for at in 0..86 {
            for bit in 0..8 {
                let mut line = LINE.to_vec();
                line[at] ^= 1 << bit;
                let head = Head::parse(&line);
                assert!(head.is_none() || head != Head::parse(LINE), "byte {at} bit {bit}");
            }
        }
        for end in 0..LINE.len() {
            assert!(
                !LINE[..end].ends_with(b"}")
                    || end == 86
                    || Head::parse(&LINE[..end]).is_none_or(|_| end > 86)
            );
            // Fields of a cut line end without a panic.
            Head::parse(&[&LINE[..end], b"}"].concat()).map(|head| head.fields().count());
        }
        assert_eq!(Head::parse(&LINE[..LINE.len() - 1]), None);
    }
}
