//! The memory of files that are written no more.

use super::journal::Lane;

/// Lanes that wait to be unmapped: more than there ever should be.
const MOST: usize = 8;

/// Lanes that are written no more. To unmap one takes a millisecond, which is not for a request to wait: the thread that
/// looks after the log lets go of them.
pub(super) struct Spent(Vec<Lane>);

impl Default for Spent {
    fn default() -> Self {
        Self(Vec::with_capacity(MOST))
    }
}

impl Spent {
    /// No system call and no allocation where somebody looks after the log.
    pub(super) fn push(&mut self, lane: Lane) {
        if self.0.len() == MOST {
            // Nobody does: memory and places for mappings are not for ever.
            self.0.clear();
        }
        self.0.push(lane);
    }

    /// All of them, to be let go of outside the lock.
    pub(super) fn take(&mut self) -> Option<Self> {
        (!self.0.is_empty()).then(|| std::mem::take(self))
    }
}
