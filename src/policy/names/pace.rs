//! How work on millions of names goes on beside requests: it offers the processor now and then, and ends when nobody wants
//! it any more.

use std::sync::atomic::{AtomicBool, Ordering};

use super::image::BuildError;
use crate::background::Breath;

/// So many names take some hundred microseconds when each is moved once.
const NAMES: u32 = 1024;

/// The pace of one thread.
#[derive(Debug)]
pub(super) struct Pace<'c> {
    breath: Breath,
    cancelled: &'c AtomicBool,
}

impl<'c> Pace<'c> {
    /// Goes on until `cancelled` says otherwise.
    pub(super) const fn until(cancelled: &'c AtomicBool) -> Self {
        Self { breath: Breath::every(NAMES), cancelled }
    }

    /// One name was moved.
    ///
    /// # Errors
    /// When the work was cancelled.
    #[inline]
    pub(super) fn tick(&mut self) -> Result<(), BuildError> {
        self.breath.tick();
        if self.cancelled.load(Ordering::Relaxed) { Err(BuildError::Cancelled) } else { Ok(()) }
    }
}
