//! The newest records, and those that come.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::lines::Lines;
use super::read::{ReadError, list, next_line, open};

/// Follows a log, over the ends of its segments.
pub struct Tail {
    directory: PathBuf,
    /// Lines from before the start that are still to be printed.
    waiting: VecDeque<Vec<u8>>,
    /// The segment that is read, by its first `seq`.
    current: Option<(u64, Lines<File>)>,
}

impl Tail {
    /// Starts with the newest `count` records.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn open(directory: &Path, count: usize) -> Result<Self, ReadError> {
        let segments = list(directory)?;
        let mut waiting = VecDeque::new();
        let mut current = None;
        for first in segments.into_iter().rev() {
            let mut lines = open(directory, first, 0)?;
            let mut newest = VecDeque::new();
            while let Some(line) = next_line(&mut lines, directory)? {
                if newest.len() + waiting.len() >= count {
                    newest.pop_front();
                }
                if newest.len() + waiting.len() < count {
                    newest.push_back(line.to_vec());
                }
            }
            newest.append(&mut waiting);
            waiting = newest;
            current.get_or_insert((first, lines));
            if waiting.len() >= count {
                break;
            }
        }
        Ok(Self { directory: directory.to_owned(), waiting, current })
    }

    /// Prints the records that are new since the last call, one line each.
    ///
    /// # Errors
    /// When the log cannot be read, or `out` cannot be written.
    pub fn print_new(&mut self, out: &mut impl Write) -> Result<(), ReadError> {
        while let Some(line) = self.waiting.pop_front() {
            print(out, &line)?;
        }
        loop {
            // The list comes before the lines: a segment is complete once a later one is there.
            let after = self.current.as_ref().map_or(0, |(first, _)| *first);
            let later = list(&self.directory)?.into_iter().find(|first| *first > after);
            if let Some((_, lines)) = &mut self.current {
                while let Some(line) = next_line(lines, &self.directory)? {
                    print(out, line)?;
                }
            }
            match later {
                Some(first) => self.current = Some((first, open(&self.directory, first, 0)?)),
                None => return Ok(()),
            }
        }
    }
}

fn print(out: &mut impl Write, line: &[u8]) -> Result<(), ReadError> {
    out.write_all(line)?;
    Ok(out.write_all(b"\n")?)
}
