//! When a policy directory that changes may be read, and what of it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// What happened to one file, which is named by its path in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Somebody has begun to write it.
    Begun(String),
    /// It is complete: closed by its writer, or moved here.
    Complete(String),
    /// It is gone.
    Gone(String),
    /// Its permissions or dates have changed.
    Touched,
    /// Too much happened at once to be told.
    Unknown,
}

/// Decides when changes have settled. Pure: time is an argument.
///
/// Three rules. A file that is being written is not read, as half a list is a valid, shorter list. A change that takes
/// something away waits longer, since editors remove and write anew, and a name must not come free in between. And
/// nothing waits for ever: not a file for its writer, nor what is complete for a file that is being written.
#[derive(Debug)]
pub(super) struct Settling {
    quiet: Duration,
    /// The first and the last change that is complete in itself.
    first: Option<Instant>,
    last: Option<Instant>,
    removed: bool,
    /// When the last piece of each file came that somebody has not closed yet.
    being_written: HashMap<String, Instant>,
}

impl Settling {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, first: None, last: None, removed: false, being_written: HashMap::new() }
    }

    pub(super) fn note(&mut self, change: Change, now: Instant) {
        match change {
            Change::Begun(name) => {
                self.being_written.insert(name, now);
                return;
            }
            Change::Complete(name) => {
                self.being_written.remove(&name);
            }
            Change::Gone(name) => {
                self.being_written.remove(&name);
                self.removed = true;
            }
            Change::Touched => {}
            Change::Unknown => self.removed = true,
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When to read the directory, if anything has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let complete = self.first.zip(self.last).map(|(first, last)| {
            let at_the_latest = first + limits::SETTLE_AT_MOST.max(self.quiet);
            let quiet = if self.removed { self.quiet.max(limits::SETTLE_AFTER_REMOVAL) } else { self.quiet };
            at_the_latest.min(last + quiet)
        });
        // Counted from the last piece: half a list must not come into force because the other half is slow.
        let given_up = self.being_written.iter().map(|(name, last)| *last + patience(name)).min();
        complete.into_iter().chain(given_up).min()
    }

    /// Whether nothing has changed but what is being written.
    pub(super) fn is_quiet(&self) -> bool {
        self.first.is_none()
    }

    /// The files that somebody has begun and not closed, unless nothing more has come for a long time.
    pub(super) fn being_written(&self, now: Instant) -> BTreeSet<String> {
        let waited_for = self.being_written.iter().filter(|(name, last)| **last + patience(name) > now);
        waited_for.map(|(name, _)| name.clone()).collect()
    }

    /// The directory is about to be read, but for what is being written.
    pub(super) fn clear(&mut self, now: Instant) {
        (self.first, self.last, self.removed) = (None, None, false);
        self.being_written.retain(|name, last| *last + patience(name) > now);
    }
}

/// How long a file is waited for whose writer is silent. Lists come from afar, and what else there is need not wait for
/// them; a case or a page is written at once.
pub(super) fn patience(name: &str) -> Duration {
    if name.starts_with("lists/") { limits::LIST_STALLS_AFTER } else { limits::SETTLE_AT_MOST }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(20);

    fn settling(changes: &[(u64, Change)]) -> (Instant, Settling) {
        let start = Instant::now();
        let mut settling = Settling::new(QUIET);
        for (at_ms, change) in changes {
            settling.note(change.clone(), start + Duration::from_millis(*at_ms));
        }
        (start, settling)
    }

    fn due_ms(changes: &[(u64, Change)]) -> u128 {
        let (start, settling) = settling(changes);
        settling.due().unwrap().duration_since(start).as_millis()
    }

    #[test]
    fn a_complete_file_is_read_after_a_short_quiet() {
        assert_eq!(due_ms(&[(0, Change::Complete("a".into()))]), 20);
        assert_eq!(due_ms(&[(0, Change::Complete("a".into())), (15, Change::Complete("b".into()))]), 35);
    }

    #[test]
    fn a_file_being_written_is_waited_for_but_not_for_ever() {
        for (name, longest) in
            [("cases/a.toml", limits::SETTLE_AT_MOST), ("lists/a", limits::LIST_STALLS_AFTER)]
        {
            let begun = || Change::Begun(name.into());
            assert_eq!(due_ms(&[(0, begun())]), longest.as_millis());
            assert_eq!(due_ms(&[(0, begun()), (5, Change::Complete(name.into()))]), 25);
            // A slow writer is waited for as long as it goes on.
            let slow: Vec<_> = (0..10).map(|n| (n * 1000, begun())).collect();
            assert_eq!(due_ms(&slow), 9000 + longest.as_millis());
            let (start, settling) = settling(&slow);
            let silent = start + Duration::from_secs(9) + longest;
            let just_before = silent.checked_sub(Duration::from_millis(1)).unwrap();
            assert_eq!(settling.being_written(just_before), [name.to_owned()].into());
            assert!(settling.being_written(silent).is_empty());
        }
    }

    #[test]
    fn what_is_complete_does_not_wait_for_what_is_being_written() {
        let slow = (0..10).map(|n| (n * 1000, Change::Begun("lists/a".into())));
        let mut changes: Vec<_> = slow.collect();
        changes.push((9500, Change::Complete("cases/b.toml".into())));
        assert_eq!(due_ms(&changes), 9520);
        let (start, mut settling) = settling(&changes);
        let now = start + Duration::from_millis(9520);
        settling.clear(now);
        assert_eq!(settling.being_written(now), ["lists/a".to_owned()].into());
        let given_up = start + Duration::from_secs(9) + limits::LIST_STALLS_AFTER;
        assert_eq!(settling.due(), Some(given_up));
        settling.note(Change::Gone("lists/a".into()), now);
        assert!(settling.being_written(now).is_empty());
        assert_eq!(settling.due(), Some(now + limits::SETTLE_AFTER_REMOVAL));
    }

    #[test]
    fn what_takes_away_waits_longer() {
        let removal = limits::SETTLE_AFTER_REMOVAL.as_millis();
        assert_eq!(due_ms(&[(0, Change::Gone("a".into()))]), removal);
        assert_eq!(due_ms(&[(0, Change::Gone("a".into())), (1, Change::Complete("a".into()))]), 1 + removal);
    }

    #[test]
    fn a_stream_of_changes_is_cut_off_in_the_end() {
        let changes: Vec<_> = (0..400).map(|n| (n * 10, Change::Complete("a".into()))).collect();
        assert_eq!(due_ms(&changes), limits::SETTLE_AT_MOST.as_millis());
    }

    #[test]
    fn nothing_is_due_when_nothing_changed() {
        let (start, mut settling) = settling(&[(0, Change::Unknown)]);
        settling.clear(start);
        assert_eq!(settling.due(), None);
    }
}
