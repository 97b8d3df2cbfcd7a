//! Hearing of changes in the policy directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::manifest::{MANIFEST, SIGNATURES};
use super::settling::Change;
use super::{rollback, source};
use crate::limits;
use crate::policy::PolicyFiles;

/// Watches every directory of a policy directory through inotify.
pub(super) struct Watcher {
    root: PathBuf,
    inotify: AsyncFd<Inotify>,
    buffer: Vec<u8>,
    directories: HashMap<WatchDescriptor, PathBuf>,
}

impl Watcher {
    /// Starts to watch. To be called within a runtime.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let inotify = in_runtime(Inotify::init()?)?;
        let buffer = vec![0; limits::INOTIFY_BUFFER_BYTES];
        let mut watcher = Self { root: root.to_path_buf(), inotify, buffer, directories: HashMap::new() };
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
            | WatchMask::ONLYDIR
            // What is still written to a file that was removed concerns nobody.
            | WatchMask::EXCL_UNLINK;
        let mut seen = HashMap::new();
        for directory in source::directories(&self.root) {
            match self.inotify.get_ref().watches().add(&directory, mask) {
                Ok(descriptor) => {
                    seen.insert(descriptor, directory);
                }
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "cannot watch the directory");
                }
            }
        }
        // Who goes on writing in a directory that was moved away, or that another one has replaced, concerns nobody.
        for (descriptor, _) in std::mem::replace(&mut self.directories, seen) {
            if !self.directories.contains_key(&descriptor) {
                // It may be gone altogether by now.
                self.inotify.get_ref().watches().remove(descriptor).ok();
            }
        }
    }

    /// Waits until something is there to be heard.
    pub(super) async fn stirs(&self) -> io::Result<()> {
        // Before it is heard, and all of it is: what comes meanwhile stirs anew.
        self.inotify.readable().await.map(|mut ready| ready.clear_ready())
    }

    /// Hears all that has happened up to now, without waiting: the kernel tells of a change before whoever made it can go
    /// on, however busy this thread was.
    pub(super) fn hear(&mut self, mut tell: impl FnMut(Change)) {
        for _ in 0..limits::INOTIFY_BUFFERS_AT_ONCE {
            match self.inotify.get_mut().read_events(&mut self.buffer) {
                Ok(events) => {
                    for event in events {
                        change(&self.root, &self.directories, &event).into_iter().for_each(&mut tell);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // It may well fail the next time too, and the regular comparison does the work meanwhile.
                    tracing::error!(%error, "cannot read file changes");
                    return tell(Change::Unknown);
                }
            }
        }
        tell(Change::Unknown);
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types whose descriptor may change; this one has its own for life"
)]
fn in_runtime(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

fn change(
    root: &Path,
    directories: &HashMap<WatchDescriptor, PathBuf>,
    event: &Event<&OsStr>,
) -> Option<Change> {
    let mask = event.mask;
    if mask.intersects(EventMask::Q_OVERFLOW | EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
        return Some(Change::Unknown);
    }
    let path = directories.get(&event.wd)?.join(event.name?);
    let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else {
        // A set with such a name is refused, once it is complete.
        return (!mask.contains(EventMask::MODIFY)).then_some(Change::Unknown);
    };
    if mask.contains(EventMask::ISDIR) {
        return (!is_hidden(name)).then_some(Change::Unknown);
    }
    if !concerns(name) {
        return None;
    }
    let name = name.to_owned();
    if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
        return Some(Change::Gone(name));
    }
    // A link is complete the moment it is made; nobody will close it.
    let is_linked = mask.contains(EventMask::CREATE) && is_link(&path);
    if mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) || is_linked {
        return Some(Change::Complete(name));
    }
    if mask.contains(EventMask::ATTRIB) {
        return Some(Change::Touched);
    }
    mask.intersects(EventMask::CREATE | EventMask::MODIFY).then_some(Change::Begun(name))
}

/// Whether what stands in a file, or where a link of this name leads, is of any importance.
fn concerns(name: &str) -> bool {
    let of_all = ["cases", "lists", "pages", MANIFEST, SIGNATURES, rollback::MARK];
    of_all.contains(&name) || PolicyFiles::belongs(name)
}

fn is_hidden(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.starts_with(['.', '#']) || last.ends_with('~'))
}

/// Symbolic and hard links.
fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::*;

    /// A policy directory that is watched, in a runtime that never gets to run.
    fn watched(root: &Path) -> (tokio::runtime::Runtime, Watcher) {
        for part in ["cases", "lists"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let watcher = {
            let _entered = runtime.enter();
            Watcher::new(root).unwrap()
        };
        (runtime, watcher)
    }

    fn heard(watcher: &mut Watcher) -> Vec<Change> {
        let mut heard = Vec::new();
        watcher.hear(|change| heard.push(change));
        heard
    }

    #[test]
    fn what_has_happened_is_heard_at_once_however_busy_the_thread_was() {
        let root = tempfile::tempdir().unwrap();
        let (_runtime, mut watcher) = watched(root.path());
        let list = || "lists/l.txt".to_owned();
        let mut file = File::create(root.path().join(list())).unwrap();
        assert_eq!(heard(&mut watcher), [Change::Begun(list())]);
        writeln!(file, "one.example").unwrap();
        assert_eq!(heard(&mut watcher), [Change::Begun(list())]);
        assert_eq!(heard(&mut watcher), []);
        drop(file);
        assert_eq!(heard(&mut watcher), [Change::Complete(list())]);
        fs::remove_file(root.path().join(list())).unwrap();
        assert_eq!(heard(&mut watcher), [Change::Gone(list())]);
    }

    #[test]
    fn what_belongs_to_no_set_and_what_was_removed_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let (_runtime, mut watcher) = watched(root.path());
        for name in ["cases/a.toml.part", "cases/.a.toml", "lists/.l", "lists/l~", "README.md", "notes"] {
            fs::write(root.path().join(name), "x").unwrap();
            assert_eq!(heard(&mut watcher), [], "{name}");
        }
        let mut file = File::create(root.path().join("lists/l.tmp")).unwrap();
        fs::remove_file(root.path().join("lists/l.tmp")).unwrap();
        let name = || "lists/l.tmp".to_owned();
        let told = heard(&mut watcher);
        // Its count of links has changed as well.
        assert_eq!(told.first(), Some(&Change::Begun(name())));
        assert!(told.contains(&Change::Gone(name())), "{told:?}");
        writeln!(file, "still coming").unwrap();
        drop(file);
        assert!(!heard(&mut watcher).contains(&Change::Begun(name())));
    }

    #[test]
    fn a_list_with_two_names_is_being_written_like_any_other() {
        let root = tempfile::tempdir().unwrap();
        let (_runtime, mut watcher) = watched(root.path());
        let (one, two) = (root.path().join("lists/one"), root.path().join("lists/two"));
        fs::write(&one, "one.example\n").unwrap();
        fs::hard_link(&one, &two).unwrap();
        assert!(heard(&mut watcher).contains(&Change::Complete("lists/two".to_owned())));
        let file = File::options().write(true).truncate(true).open(&two).unwrap();
        assert!(heard(&mut watcher).contains(&Change::Begun("lists/two".to_owned())));
        drop(file);
        assert!(heard(&mut watcher).contains(&Change::Complete("lists/two".to_owned())));
    }
}
