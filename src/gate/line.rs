//! A short text on the stack.

use std::fmt::{self, Display, Write};

use smallvec::SmallVec;

/// A line of text that takes memory from the heap only when it is longer than any pattern.
#[derive(Debug, Default)]
pub(super) struct Line(SmallVec<[u8; 264]>);

impl Line {
    /// Adds a text.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds what is displayed.
    pub(super) fn show(&mut self, shown: impl Display) -> &mut Self {
        // It takes whatever comes.
        write!(self, "{shown}").ok();
        self
    }

    /// What was added.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}
