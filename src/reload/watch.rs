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

mod links;

use links::Links;

/// Watches every directory of a policy directory through inotify, and the files elsewhere that links in it lead to.
pub(super) struct Watcher {
    inotify: AsyncFd<Inotify>,
    buffer: Vec<u8>,
    watched: Watched,
}

/// What each watch is on.
struct Watched {
    root: PathBuf,
    /// By every path that it has here: through a link, a directory may have several.
    directories: HashMap<WatchDescriptor, Vec<PathBuf>>,
    links: Links,
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
        for descriptor in before.directories.into_keys().chain(before.links.into_descriptors()) {
            if !self.watched.directories.contains_key(&descriptor) && !self.watched.links.has(&descriptor) {
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
        Self { root: root.to_path_buf(), directories: HashMap::new(), links: Links::default() }
    }

    fn add(&mut self, watches: &mut Watches, places: Places) {
        for directory in places.directories {
            if let Some(descriptor) = watch(watches, &directory, in_a_directory()) {
                let paths = self.directories.entry(descriptor).or_default();
                if !paths.contains(&directory) {
                    paths.push(directory);
                }
            }
        }
        for name in places.links {
            self.links.add(watches, &self.root, name);
        }
    }

    /// Watches a directory that has just come, and the file that a link leads to from now on: what is written there next
    /// must be heard.
    fn follow(&mut self, watches: &mut Watches, event: &Event<&OsStr>) {
        let comes = EventMask::CREATE | EventMask::MOVED_TO;
        if !event.mask.intersects(comes | EventMask::DELETE | EventMask::MOVED_FROM) {
            return;
        }
        if event.mask.intersects(comes) {
            self.links.find_again(watches, &self.root, event);
        }
        for path in self.paths(event) {
            let Some(name) = self.name(&path).map(str::to_owned) else { continue };
            if path.is_dir() {
                if event.mask.intersects(comes) && !is_hidden(&name) {
                    self.add(watches, Places::within(&self.root, &name));
                }
                continue;
            }
            // It leads somewhere else now, or nowhere.
            self.links.forget(&name);
            if PolicyFiles::belongs(&name) && path.is_symlink() {
                self.links.add(watches, &self.root, name);
            }
        }
    }

    fn paths(&self, event: &Event<&OsStr>) -> Vec<PathBuf> {
        let Some(name) = event.name else { return Vec::new() };
        let directories = self.directories.get(&event.wd).into_iter().flatten();
        directories.map(|directory| directory.join(name)).collect()
    }

    /// By its path in the policy directory.
    fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        path.strip_prefix(&self.root).ok().and_then(Path::to_str)
    }

    fn tell(&self, event: &Event<&OsStr>, tell: &mut impl FnMut(Change)) {
        let mask = event.mask;
        if mask.intersects(EventMask::Q_OVERFLOW | EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
            return tell(Change::Unknown);
        }
        self.links.tell(event, tell);
        for path in self.paths(event) {
            let Some(name) = self.name(&path) else {
                // A set with such a name is refused, once it is complete.
                if !mask.contains(EventMask::MODIFY) {
                    tell(Change::Unknown);
                }
                continue;
            };
            if mask.contains(EventMask::ISDIR) {
                if !is_hidden(name) {
                    tell(Change::Unknown);
                }
            } else if concerns(name) {
                happened(mask, name, &path).into_iter().for_each(&mut *tell);
            }
        }
    }
}

/// What cannot be watched is still looked at by the regular comparison of fingerprints.
fn watch(watches: &mut Watches, path: &Path, mask: WatchMask) -> Option<WatchDescriptor> {
    let unwatched = |error: &io::Error| tracing::debug!(path = %path.display(), %error, "cannot watch");
    watches.add(path, mask).inspect_err(unwatched).ok()
}

/// What happened to the file of this name, in the directory that tells of it.
fn happened(mask: EventMask, name: &str, path: &Path) -> Option<Change> {
    // A link is complete the moment it is made; nobody will close it.
    let is_linked = || mask.contains(EventMask::CREATE) && is_link(path);
    if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
        Some(Change::Gone(name.to_owned()))
    } else if mask.contains(EventMask::MOVED_TO) || is_linked() {
        Some(Change::Complete(name.to_owned()))
    } else {
        written(mask, name)
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
        | whose_file_it_is()
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
        // What is still written to a file that was removed concerns nobody.
        | WatchMask::EXCL_UNLINK
}

fn to_a_file() -> WatchMask {
    WatchMask::MODIFY | WatchMask::CLOSE_WRITE | WatchMask::ATTRIB
}

/// Another file takes a name, or none has it any more.
fn whose_file_it_is() -> WatchMask {
    WatchMask::CREATE | WatchMask::MOVED_FROM | WatchMask::MOVED_TO | WatchMask::DELETE
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
mod tests;
