//! Links in the policy directory: who writes such a file does it where the link leads.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use inotify::{Event, WatchDescriptor, WatchMask, Watches};

use super::super::settling::Change;
use super::{happened, to_a_file, watch, whose_file_it_is, written};
use crate::limits;

/// The files that links lead to, and the directories that these stand in.
#[derive(Default)]
pub(super) struct Links {
    /// By the name of the link.
    leads: HashMap<String, Lead>,
    files: HashMap<WatchDescriptor, BTreeSet<String>>,
    /// By the names that files have there.
    places: HashMap<WatchDescriptor, Place>,
}

/// What is watched for one link.
struct Lead {
    /// The file itself, if there is one: whoever writes it is heard by whatever path it was opened.
    file: Option<WatchDescriptor>,
    /// Where another file may take its name.
    place: Option<(WatchDescriptor, OsString)>,
}

struct Place {
    path: PathBuf,
    links: HashMap<OsString, BTreeSet<String>>,
}

impl Links {
    pub(super) fn has(&self, descriptor: &WatchDescriptor) -> bool {
        self.files.contains_key(descriptor) || self.places.contains_key(descriptor)
    }

    pub(super) fn into_descriptors(self) -> impl Iterator<Item = WatchDescriptor> {
        self.files.into_keys().chain(self.places.into_keys())
    }

    /// Watches what the link of this name leads to now.
    pub(super) fn add(&mut self, watches: &mut Watches, root: &Path, name: String) {
        self.forget(&name);
        if self.leads.len() >= limits::LINKS_WATCHED {
            tracing::debug!(name, "too many links: what is written where this one leads is not heard of");
            return;
        }
        let link = root.join(&name);
        // Beside what else may be watched in it: it may be a directory of the set.
        let add = WatchMask::MASK_ADD;
        let file = link.is_file().then(|| watch(watches, &link, to_a_file() | add)).flatten();
        let place = leads_to(&link).and_then(|(path, file_name)| {
            let descriptor = watch(watches, &path, whose_file_it_is() | WatchMask::ONLYDIR | add)?;
            let place = self
                .places
                .entry(descriptor.clone())
                .or_insert_with(|| Place { path, links: HashMap::new() });
            place.links.entry(file_name.clone()).or_default().insert(name.clone());
            Some((descriptor, file_name))
        });
        if let Some(descriptor) = &file {
            self.files.entry(descriptor.clone()).or_default().insert(name.clone());
        }
        self.leads.insert(name, Lead { file, place });
    }

    /// What has this name leads nowhere, or somewhere else. Its watches go with the next look at all of them.
    pub(super) fn forget(&mut self, name: &str) {
        let Some(Lead { file, place }) = self.leads.remove(name) else { return };
        if let Some(names) = file.and_then(|file| self.files.get_mut(&file)) {
            names.remove(name);
        }
        if let Some((place, file_name)) = place
            && let Some(names) = self.places.get_mut(&place).and_then(|place| place.links.get_mut(&file_name))
        {
            names.remove(name);
        }
    }

    /// Watches the file that has just taken the place of another.
    pub(super) fn find_again(&mut self, watches: &mut Watches, root: &Path, event: &Event<&OsStr>) {
        let place = self.places.get(&event.wd).zip(event.name);
        let names = place.and_then(|(place, file_name)| place.links.get(file_name)).cloned();
        names.into_iter().flatten().for_each(|name| self.add(watches, root, name));
    }

    /// Tells what happened where links lead, by the names of these.
    pub(super) fn tell(&self, event: &Event<&OsStr>, tell: &mut impl FnMut(Change)) {
        let of_file = self.files.get(&event.wd).into_iter().flatten();
        of_file.filter_map(|name| written(event.mask, name)).for_each(&mut *tell);
        if let Some((place, file_name)) = self.places.get(&event.wd).zip(event.name)
            && let Some(names) = place.links.get(file_name)
        {
            let path = place.path.join(file_name);
            names.iter().filter_map(|name| happened(event.mask, name, &path)).for_each(tell);
        }
    }
}

/// The directory that a link leads into, and the name of the file there, which need not exist.
fn leads_to(link: &Path) -> Option<(PathBuf, OsString)> {
    let target = link.canonicalize().or_else(|_| {
        let target = link.read_link()?;
        Ok::<_, std::io::Error>(link.parent().unwrap_or(link).join(target))
    });
    let target = target.ok()?;
    Some((target.parent()?.to_path_buf(), target.file_name()?.to_owned()))
}
