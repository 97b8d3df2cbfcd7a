//! Which pages differ.

use serde::Serialize;

use crate::policy::PolicyFiles;

/// The paths of pages that are in one of two sets only, or differ.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct PageChanges {
    /// In the second set only.
    pub added: Vec<String>,
    /// In the first set only.
    pub removed: Vec<String>,
    /// In both, with other content.
    pub changed: Vec<String>,
}

impl PageChanges {
    /// Whether no page differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares the pages of two sets.
#[must_use]
pub fn compare_pages(before: &PolicyFiles, after: &PolicyFiles) -> PageChanges {
    let mut changes = PageChanges::default();
    for (path, file) in before.under("pages/") {
        match after.files.get(path) {
            None => changes.removed.push(path.to_owned()),
            Some(now) if now.digest != file.digest => changes.changed.push(path.to_owned()),
            Some(_) => {}
        }
    }
    let added = after.under("pages/").filter(|(path, _)| !before.has(path));
    changes.added.extend(added.map(|(path, _)| path.to_owned()));
    changes
}
