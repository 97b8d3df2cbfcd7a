//! Hearing of changes in the policy directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::manifest::{MANIFEST, SIGNATURES};
use super::rollback;
use super::settling::Change;
use super::source::places::Places;
use crate::limits;
use crate::policy::PolicyFiles;

/// Watches every directory of a policy directory through inotify, and the files elsewhere that links in it lead to.
pub(super) struct Watcher {
    inotify: AsyncFd<Inotify>,
    buffer: Vec<u8>,
    watched: Watched,
}

/// What each watch is on.
struct Watched {
    root: PathBuf,
    directories: HashMap<WatchDescriptor, PathBuf>,
    /// Files elsewhere, by the names that they have here.
    links: HashMap<WatchDescriptor, Vec<String>>,
}

impl Watcher {
    /// Starts to watch. To be called within a runtime.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let inotify = in_runtime(Inotify::init()?)?;
        let buffer = vec![0; limits::INOTIFY_BUFFER_BYTES];
        let mut watcher = Self { inotify, buffer, watched: Watched::nothing(root) };
        watcher.refresh();
        Ok(watcher)
    }

    /// Watches what has come since. What cannot be watched is still looked at by the regular comparison of fingerprints, so
    /// nothing is lost but time.
    pub(super) fn refresh(&mut self) {
        let watches = &mut self.inotify.get_ref().watches();
        let mut now = Watched::nothing(&self.watched.root);
        now.add(watches, Places::of(&now.root));
        let before = std::mem::replace(&mut self.watched, now);
        // Who goes on writing in a directory that was moved away, or that another one has replaced, concerns nobody.
        for descriptor in before.directories.into_keys().chain(before.links.into_keys()) {
            if !self.watched.has(&descriptor) {
                // It may be gone altogether by now.
                watches.remove(descriptor).ok();
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
                    let watches = &mut self.inotify.get_ref().watches();
                    for event in events {
                        self.watched.follow(watches, &event);
                        self.watched.tell(&event, &mut tell);
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

impl Watched {
    fn nothing(root: &Path) -> Self {
        Self { root: root.to_path_buf(), directories: HashMap::new(), links: HashMap::new() }
    }

    fn has(&self, descriptor: &WatchDescriptor) -> bool {
        self.directories.contains_key(descriptor) || self.links.contains_key(descriptor)
    }

    fn add(&mut self, watches: &mut Watches, places: Places) {
        let mut watch = |path: &Path, mask| {
            let unwatched =
                |error: &io::Error| tracing::debug!(path = %path.display(), %error, "cannot watch");
            watches.add(path, mask).inspect_err(unwatched).ok()
        };
        for directory in places.directories {
            if let Some(descriptor) = watch(&directory, in_a_directory()) {
                self.directories.insert(descriptor, directory);
            }
        }
        for name in places.links {
            if let Some(descriptor) = watch(&self.root.join(&name), to_a_file()) {
                let names = self.links.entry(descriptor).or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }

    /// Watches a directory that has just come, and a file that a new link leads to: what is written there next must be heard.
    fn follow(&mut self, watches: &mut Watches, event: &Event<&OsStr>) {
        if !event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
            return;
        }
        let Some(path) = self.path(event) else { return };
        let Some(name) = self.name(&path).map(str::to_owned) else { return };
        if path.is_dir() {
            if !is_hidden(&name) {
                self.add(watches, Places::within(&self.root, &name));
            }
        } else if PolicyFiles::belongs(&name) && path.is_symlink() {
            // It may have led somewhere else.
            self.links.values_mut().for_each(|names| names.retain(|other| *other != name));
            self.add(watches, Places { directories: Vec::new(), links: vec![name] });
        }
    }

    fn path(&self, event: &Event<&OsStr>) -> Option<PathBuf> {
        Some(self.directories.get(&event.wd)?.join(event.name?))
    }

    /// By its path in the policy directory.
    fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        path.strip_prefix(&self.root).ok().and_then(Path::to_str)
    }

    fn tell(&self, event: &Event<&OsStr>, mut tell: impl FnMut(Change)) {
        let mask = event.mask;
        if mask.intersects(EventMask::Q_OVERFLOW | EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
            return tell(Change::Unknown);
        }
        if let Some(names) = self.links.get(&event.wd) {
            return names.iter().filter_map(|name| written(mask, name)).for_each(tell);
        }
        let Some(path) = self.path(event) else { return };
        let Some(name) = self.name(&path) else {
            // A set with such a name is refused, once it is complete.
            if !mask.contains(EventMask::MODIFY) {
                tell(Change::Unknown);
            }
            return;
        };
        if mask.contains(EventMask::ISDIR) {
            if !is_hidden(name) {
                tell(Change::Unknown);
            }
            return;
        }
        if !concerns(name) {
            return;
        }
        // A link is complete the moment it is made; nobody will close it.
        let is_linked = mask.contains(EventMask::CREATE) && is_link(&path);
        if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
            tell(Change::Gone(name.to_owned()));
        } else if mask.contains(EventMask::MOVED_TO) || is_linked {
            tell(Change::Complete(name.to_owned()));
        } else {
            written(mask, name).into_iter().for_each(tell);
        }
    }
}

/// What happened to a file where it stands.
fn written(mask: EventMask, name: &str) -> Option<Change> {
    if mask.contains(EventMask::CLOSE_WRITE) {
        return Some(Change::Complete(name.to_owned()));
    }
    if mask.contains(EventMask::ATTRIB) {
        return Some(Change::Touched);
    }
    mask.intersects(EventMask::CREATE | EventMask::MODIFY).then(|| Change::Begun(name.to_owned()))
}

fn in_a_directory() -> WatchMask {
    to_a_file()
        | WatchMask::CREATE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE
        | WatchMask::ONLYDIR
        // What is still written to a file that was removed concerns nobody.
        | WatchMask::EXCL_UNLINK
}

fn to_a_file() -> WatchMask {
    WatchMask::MODIFY
        | WatchMask::CLOSE_WRITE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types whose descriptor may change; this one has its own for life"
)]
fn in_runtime(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
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
    fn what_is_written_in_a_directory_that_was_just_made_is_heard() {
        let root = tempfile::tempdir().unwrap();
        let (_runtime, mut watcher) = watched(root.path());
        for directory in ["lists/new/deep", "lists/.hidden/deep", "cases/none/deep"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
            heard(&mut watcher);
            let _writer = File::create(root.path().join(directory).join("l.txt")).unwrap();
            let expected =
                (directory == "lists/new/deep").then(|| Change::Begun("lists/new/deep/l.txt".into()));
            assert_eq!(heard(&mut watcher).first(), expected.as_ref(), "{directory}");
        }
        let afar = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(afar.path(), root.path().join("lists/afar")).unwrap();
        heard(&mut watcher);
        let _writer = File::create(afar.path().join("l.txt")).unwrap();
        assert_eq!(heard(&mut watcher), [Change::Begun("lists/afar/l.txt".into())]);
    }

    #[test]
    fn a_list_that_is_a_link_is_being_written_where_it_stands() {
        let (root, afar) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (root.path().join("lists/l.txt"), afar.path().join("l.txt"));
        fs::create_dir(root.path().join("lists")).unwrap();
        fs::write(&there, "one.example\n").unwrap();
        std::os::unix::fs::symlink(&there, &here).unwrap();
        let (_runtime, mut watcher) = watched(root.path());
        let is_heard = |watcher: &mut Watcher, file: &Path| {
            let writer = File::options().write(true).truncate(true).open(file).unwrap();
            let begun = heard(watcher).contains(&Change::Begun("lists/l.txt".into()));
            drop(writer);
            begun && heard(watcher) == [Change::Complete("lists/l.txt".into())]
        };
        assert!(is_heard(&mut watcher, &there));
        // The link leads somewhere else now.
        let other = afar.path().join("other");
        fs::write(&other, "two.example\n").unwrap();
        std::os::unix::fs::symlink(&other, root.path().join("lists/.new")).unwrap();
        fs::rename(root.path().join("lists/.new"), &here).unwrap();
        heard(&mut watcher);
        assert!(is_heard(&mut watcher, &other));
        fs::write(&there, "one.example\n").unwrap();
        assert_eq!(heard(&mut watcher), []);
        // So does the file in its place.
        fs::write(afar.path().join("new"), "three.example\n").unwrap();
        fs::rename(afar.path().join("new"), &other).unwrap();
        assert!(heard(&mut watcher).contains(&Change::Unknown));
        watcher.refresh();
        assert!(is_heard(&mut watcher, &other));
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
