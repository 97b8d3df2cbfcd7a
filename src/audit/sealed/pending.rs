//! Lines that are in the open segment and not under a checkpoint yet.

use std::io;

/// Memory that stays allocated between commits: twice of what one has under a flood, since it doubles when that is a bit
/// more than a power of two, and to give half of it back would copy it both ways. What was never written is not there.
const KEPT_CAPACITY: usize = 32 * 1024 * 1024;

/// The bytes are held until they were read back. The first ones may be of an earlier process: they are never dropped,
/// since nobody else has to have them any more.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    lines: u64,
    kept_bytes: usize,
    kept_lines: u64,
}

impl Pending {
    /// Whole lines that an earlier process left.
    pub(super) fn of_earlier(bytes: Vec<u8>, lines: u64) -> Self {
        Self { kept_bytes: bytes.len(), kept_lines: lines, bytes, lines }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The lines of an earlier process.
    pub(super) fn kept(&self) -> &[u8] {
        self.bytes.get(..self.kept_bytes).unwrap_or_default()
    }

    pub(super) fn kept_lines(&self) -> u64 {
        self.kept_lines
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    pub(super) fn add(&mut self, lines: &[u8], count: u64) {
        self.bytes.extend_from_slice(lines);
        self.lines += count;
    }

    /// Forgets what was added since the log was opened.
    pub(super) fn drop_added(&mut self) {
        self.bytes.truncate(self.kept_bytes);
        self.lines = self.kept_lines;
    }

    /// Forgets all, because it is sealed.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        (self.lines, self.kept_bytes, self.kept_lines) = (0, 0, 0);
    }
}

/// Makes sure that `lines` are `count` whole lines.
pub(super) fn check(lines: &[u8], count: u64) -> io::Result<()> {
    let found = memchr::memchr_iter(b'\n', lines).count() as u64;
    if found != count || lines.last().is_some_and(|last| *last != b'\n') {
        let what = format!("{count} whole lines are needed, {found} line ends are there");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}
