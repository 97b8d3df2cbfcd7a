//! Hearing of changes in the policy directory, and waiting until they have settled.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::Instant;

use super::source;
use crate::limits;

/// What happened to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Somebody has begun to write it.
    Begun(PathBuf),
    /// It is complete: closed by its writer, or moved here.
    Complete(PathBuf),
    /// It is gone.
    Gone(PathBuf),
    /// Its permissions or dates have changed.
    Touched,
    /// Too much happened at once to be told.
    Unknown,
}

/// Watches every directory of a policy directory through inotify.
pub(super) struct Watcher {
    root: PathBuf,
    events: EventStream<Vec<u8>>,
    directories: HashMap<WatchDescriptor, PathBuf>,
}

impl Watcher {
    /// Starts to watch.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let events = Inotify::init()?.into_event_stream(vec![0; limits::INOTIFY_BUFFER_BYTES])?;
        let mut watcher = Self { root: root.to_path_buf(), events, directories: HashMap::new() };
        watcher.refresh();
        Ok(watcher)
    }

    /// Watches directories that have come since. A directory that cannot be watched is still looked at by
    /// the regular comparison of fingerprints, so nothing is lost but time.
    pub(super) fn refresh(&mut self) {
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        for directory in source::directories(&self.root) {
            match self.events.watches().add(&directory, mask) {
                Ok(descriptor) => {
                    self.directories.insert(descriptor, directory);
                }
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "cannot watch the directory");
                }
            }
        }
    }

    /// Waits for the next change that may concern the policy set.
    pub(super) async fn change(&mut self) -> io::Result<Change> {
        loop {
            let event = poll_fn(|context| Pin::new(&mut self.events).poll_next(context)).await;
            let event = match event.ok_or_else(|| io::Error::other("inotify has ended")).flatten() {
                Ok(event) => event,
                Err(error) => {
                    // It may well fail the next time too, and the regular comparison does the work meanwhile.
                    tokio::time::sleep(limits::LOOK_EVERY).await;
                    return Err(error);
                }
            };
            if let Some(change) = change(&self.directories, &event) {
                return Ok(change);
            }
        }
    }
}

fn change(
    directories: &HashMap<WatchDescriptor, PathBuf>,
    event: &inotify::Event<OsString>,
) -> Option<Change> {
    let mask = event.mask;
    if mask.intersects(EventMask::Q_OVERFLOW | EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
        return Some(Change::Unknown);
    }
    let name = event.name.as_ref()?;
    let path = directories.get(&event.wd)?.join(name);
    if is_hidden(&path) {
        return None;
    }
    if mask.contains(EventMask::ISDIR) {
        return Some(Change::Unknown);
    }
    if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
        return Some(Change::Gone(path));
    }
    if mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) || is_link(&path) {
        return Some(Change::Complete(path));
    }
    if mask.contains(EventMask::ATTRIB) {
        return Some(Change::Touched);
    }
    mask.intersects(EventMask::CREATE | EventMask::MODIFY).then_some(Change::Begun(path))
}

/// What editors write beside a file while it is open; never part of a policy set.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.starts_with(['.', '#']) || name.ends_with('~') || name.ends_with(".tmp")
}

/// A symbolic or hard link is complete the moment it is made; nobody will close it.
fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}

/// Decides when changes have settled. Pure: time is an argument.
///
/// Three rules. A file that is being written is waited for, as half a list is a valid, shorter list. A
/// change that takes something away waits longer, since editors remove and write anew, and a name must not
/// come free in between. And nothing waits for ever.
#[derive(Debug)]
pub(super) struct Settling {
    quiet: Duration,
    first: Option<Instant>,
    last: Option<Instant>,
    removed: bool,
    being_written: HashSet<PathBuf>,
}

impl Settling {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, first: None, last: None, removed: false, being_written: HashSet::new() }
    }

    pub(super) fn note(&mut self, change: Change, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
        match change {
            Change::Begun(path) => {
                self.being_written.insert(path);
            }
            Change::Complete(path) => {
                self.being_written.remove(&path);
            }
            Change::Gone(path) => {
                self.being_written.remove(&path);
                self.removed = true;
            }
            Change::Touched => {}
            Change::Unknown => self.removed = true,
        }
    }

    /// When to read the directory, if anything has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        if self.is_being_written() {
            // Counted from the last piece: half a list must not come into force because the other half is slow.
            return Some(last + limits::SETTLE_AT_MOST);
        }
        let at_the_latest = first + limits::SETTLE_AT_MOST.max(self.quiet);
        let quiet = if self.removed { self.quiet.max(limits::SETTLE_AFTER_REMOVAL) } else { self.quiet };
        Some(at_the_latest.min(last + quiet))
    }

    /// Whether somebody has begun a file and not closed it.
    pub(super) fn is_being_written(&self) -> bool {
        !self.being_written.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.quiet);
    }
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
        let longest = limits::SETTLE_AT_MOST.as_millis();
        assert_eq!(due_ms(&[(0, Change::Begun("a".into()))]), longest);
        assert_eq!(due_ms(&[(0, Change::Begun("a".into())), (5, Change::Complete("a".into()))]), 25);
        // A slow writer is waited for as long as it goes on.
        let slow: Vec<_> = (0..10).map(|n| (n * 1000, Change::Begun("a".into()))).collect();
        assert_eq!(due_ms(&slow), 9000 + longest);
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
        let (_, mut settling) = settling(&[(0, Change::Unknown)]);
        settling.clear();
        assert_eq!(settling.due(), None);
    }
}
