//! Reads lines from a file that may still grow.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::record::MAX_LINE;

/// Something that can be read at a place of choice.
pub(super) trait ReadAt {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// A whole line without its newline.
pub(super) struct Line<'a> {
    /// Where it starts in the file.
    pub(super) offset: u64,
    /// Its bytes; empty when it was longer than any record can be.
    pub(super) bytes: &'a [u8],
}

/// Hands out whole lines; what has no newline yet is read again at the next call, since its writer may have cut it
/// back in the meantime.
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the next line starts.
    start: usize,
    /// Where in the file the next line starts.
    offset: u64,
}

const CHUNK: usize = 64 * 1024;

impl<R: ReadAt> Lines<R> {
    pub(super) fn new(source: R, offset: u64) -> Self {
        Self { source, buffer: Vec::new(), start: 0, offset }
    }

    /// Where the next line starts in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// The next whole line, or `None` when there is none (yet).
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = self.start;
        // Bytes of an overlong line that were read and let go of.
        let mut dropped = 0u64;
        loop {
            let fresh = self.buffer.get(searched..).unwrap_or_default();
            if let Some(position) = fresh.iter().position(|byte| *byte == b'\n') {
                let (start, end) = (self.start, searched + position);
                let offset = self.offset;
                self.offset += dropped + (end + 1 - start) as u64;
                self.start = end + 1;
                let bytes = self.buffer.get(start..end).filter(|_| dropped == 0).unwrap_or_default();
                return Ok(Some(Line { offset, bytes }));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.buffer.len() > MAX_LINE {
                dropped += self.buffer.len() as u64;
                self.buffer.clear();
            }
            searched = self.buffer.len();
            if self.fill(dropped)? == 0 {
                self.buffer.clear();
                return Ok(None);
            }
        }
    }

    fn fill(&mut self, dropped: u64) -> io::Result<usize> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let at = self.offset + dropped + filled as u64;
        let read = loop {
            match self.source.read_at(self.buffer.get_mut(filled..).unwrap_or_default(), at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_come_out_and_the_rest_waits() {
        let text = &b"one\n\nthree\nhalf"[..];
        let mut lines = Lines::new(text, 0);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.offset, line.bytes.to_vec()));
        }
        assert_eq!(found, [(0, b"one".to_vec()), (4, b"".to_vec()), (5, b"three".to_vec())]);
        assert_eq!(lines.offset(), 11);
        assert!(lines.next().unwrap().is_none());
    }

    #[test]
    fn a_line_longer_than_any_record_is_empty_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 * MAX_LINE];
        text.extend_from_slice(b"\nnext\n");
        let mut lines = Lines::new(text.as_slice(), 0);
        assert!(lines.next().unwrap().unwrap().bytes.is_empty());
        let next = lines.next().unwrap().unwrap();
        assert_eq!((next.offset, next.bytes), (3 * MAX_LINE as u64 + 1, &b"next"[..]));
    }
}
