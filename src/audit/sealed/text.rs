//! Splits a stream of bytes into lines in bounded memory.

use std::io::{self, Read};

use super::super::record::MAX_LINE;

/// Bytes that are read at a time, and a line more than any record is.
const CHUNK: usize = 256 * 1024;
const _: () = assert!(CHUNK > MAX_LINE);

/// One line without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLine<'a> {
    /// Where it starts in the uncompressed text, in bytes.
    pub offset: u64,
    /// Its bytes; the first ones only when it is longer than any record can be.
    pub bytes: &'a [u8],
    /// Its length in bytes. More than `bytes` has when the line is no record because it is too long.
    pub length: u64,
}

/// Hands out whole lines of a stream that ends.
pub(super) struct Split<R> {
    source: R,
    buffer: Vec<u8>,
    /// `buffer[start..filled]` is read and not handed out.
    start: usize,
    filled: usize,
    /// Where `buffer[start]` lies in the stream.
    offset: u64,
    /// Bytes of an overlong half line at the end, which are not kept.
    dropped: u64,
}

impl<R: Read> Split<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: vec![0; 2 * CHUNK], start: 0, filled: 0, offset: 0, dropped: 0 }
    }

    /// Where the next line starts; after the last one, the end of the last whole line.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// Bytes after the last newline, once [`Split::next`] has said that there is no more line.
    pub(super) fn rest(&self) -> u64 {
        self.dropped + (self.filled - self.start) as u64
    }

    /// The next whole line, or none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<SegmentLine<'_>>> {
        let mut searched = self.start;
        loop {
            let fresh = self.buffer.get(searched..self.filled).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', fresh) {
                let (start, end, offset) = (self.start, searched + found, self.offset);
                self.start = end + 1;
                self.offset += (end + 1 - start) as u64;
                let bytes = self.buffer.get(start..end).unwrap_or_default();
                return Ok(Some(SegmentLine { offset, bytes, length: bytes.len() as u64 }));
            }
            if self.filled - self.start > MAX_LINE {
                return self.overlong();
            }
            searched = self.fill()?;
            if searched == self.filled {
                return Ok(None);
            }
        }
    }

    /// Moves what is left to the front, reads more and returns where the new bytes start.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        let old = self.filled;
        self.filled += read_some(&mut self.source, self.buffer.get_mut(old..).unwrap_or_default())?;
        Ok(old)
    }

    /// Passes over a line that is longer than any record; its first bytes stay.
    fn overlong(&mut self) -> io::Result<Option<SegmentLine<'_>>> {
        self.buffer.copy_within(self.start..self.filled, 0);
        let (kept, offset) = (MAX_LINE, self.offset);
        let mut length = kept as u64;
        let (mut from, mut to) = (kept, self.filled - self.start);
        loop {
            let fresh = self.buffer.get(from..to).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', fresh) {
                length += found as u64;
                (self.start, self.filled) = (from + found + 1, to);
                self.offset += length + 1;
                let bytes = self.buffer.get(..kept).unwrap_or_default();
                return Ok(Some(SegmentLine { offset, bytes, length }));
            }
            length += fresh.len() as u64;
            let read = read_some(&mut self.source, self.buffer.get_mut(kept..).unwrap_or_default())?;
            if read == 0 {
                // No newline came: half a line, of which only the length matters.
                (self.start, self.filled) = (0, 0);
                self.dropped = length;
                return Ok(None);
            }
            (from, to) = (kept, kept + read);
        }
    }
}

/// Reads once, whatever signals come in between.
fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Calls `take` for each line that ends in `bytes`; what has no end yet waits in `half`.
pub(super) fn for_each_line(half: &mut Vec<u8>, bytes: &[u8], mut take: impl FnMut(&[u8])) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        let line = bytes.get(start..end).unwrap_or_default();
        if half.is_empty() {
            take(line);
        } else {
            half.extend_from_slice(line);
            take(half);
            half.clear();
        }
        start = end + 1;
    }
    half.extend_from_slice(bytes.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            let (now, rest) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = rest;
            Ok(length)
        }
    }

    type Found = Vec<(u64, Vec<u8>, u64)>;

    fn all(text: &[u8], step: usize) -> (Found, u64, u64) {
        let mut split = Split::new(Drops(text, step));
        let mut found = Vec::new();
        while let Some(line) = split.next().unwrap() {
            found.push((line.offset, line.bytes.to_vec(), line.length));
        }
        (found, split.offset(), split.rest())
    }

    #[test]
    fn whole_lines_come_out_however_the_bytes_come_in() {
        for step in [1, 3, 1 << 20] {
            let (lines, end, rest) = all(b"one\n\nthree\nhalf", step);
            assert_eq!(lines, [(0, b"one".to_vec(), 3), (4, b"".to_vec(), 0), (5, b"three".to_vec(), 5)]);
            assert_eq!((end, rest), (11, 4));
        }
    }

    #[test]
    fn a_line_longer_than_any_record_is_passed_over_in_bounded_memory() {
        for (length, step) in
            [(MAX_LINE + 1, 1 << 20), (5 * CHUNK, 1000), (5 * CHUNK, 1 << 20), (2 * CHUNK, 7777)]
        {
            let mut text = b"before\n".to_vec();
            text.resize(7 + length, b'x');
            text.extend_from_slice(b"\nafter\n");
            let (lines, end, rest) = all(&text, step);
            assert_eq!(lines.len(), 3, "{length} {step}");
            assert_eq!((lines[1].0, lines[1].2), (7, length as u64));
            assert!(lines[1].1.len() as u64 <= lines[1].2);
            assert_eq!(lines[2], (8 + length as u64, b"after".to_vec(), 5));
            assert_eq!((end, rest), (text.len() as u64, 0));
        }
    }

    #[test]
    fn an_endless_half_line_is_counted() {
        let mut text = b"line\n".to_vec();
        text.resize(5 + 3 * CHUNK, b'x');
        let (lines, end, rest) = all(&text, 1000);
        assert_eq!((lines.len(), end, rest), (1, 5, 3 * CHUNK as u64));
    }

    #[test]
    fn lines_that_come_in_pieces_are_put_together() {
        for cut in 0..=12 {
            let (mut half, mut found) = (Vec::new(), Vec::new());
            let (left, right) = b"one\n\nthree\n4".split_at(cut);
            for part in [left, right] {
                for_each_line(&mut half, part, |line| found.push(line.to_vec()));
            }
            assert_eq!(
                (found, half),
                (vec![b"one".to_vec(), vec![], b"three".to_vec()], b"4".to_vec()),
                "{cut}"
            );
        }
    }

    #[test]
    fn the_longest_record_comes_out_whole() {
        let mut text = vec![b'x'; MAX_LINE];
        text.push(b'\n');
        assert_eq!(all(&text, 1000).0[0].1.len(), MAX_LINE);
    }
}
