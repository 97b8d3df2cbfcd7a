//! Which set was held against which rails last: a start on the same set, under the same rails, need not walk through
//! millions of names to find what the process before has found.

use std::fs;
use std::path::{Path, PathBuf};

use crate::policy::Digest;
use crate::policy::guard::Settings;

/// The rails and the list of public suffixes may mean something else in another version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `checked` in the state directory: a digest over version, settings and set.
#[derive(Debug)]
pub(super) struct Checked {
    place: PathBuf,
    /// What was found good last, and is not written down yet.
    found: Option<String>,
}

impl Checked {
    pub(super) fn new(state: &Path) -> Self {
        Self { place: state.join("checked"), found: None }
    }

    fn mark(settings: &Settings, set: &str) -> String {
        Digest::of(format!("{VERSION}\n{settings:?}\n{set}").as_bytes()).to_string()
    }

    /// Whether this very set was found good under these very settings.
    pub(super) fn knows(&self, settings: &Settings, set: &str) -> bool {
        let known = fs::read_to_string(&self.place);
        known.is_ok_and(|known| known.trim() == Self::mark(settings, set))
    }

    /// The set was found good.
    pub(super) fn note(&mut self, settings: &Settings, set: &str) {
        self.found = Some(Self::mark(settings, set));
    }

    /// It is in force. What cannot be written down is found out again by the next start.
    pub(super) fn settle(&mut self) {
        let Some(found) = self.found.take() else { return };
        let draft = self.place.with_extension("new");
        let written = fs::write(&draft, format!("{found}\n")).and_then(|()| fs::rename(&draft, &self.place));
        if let Err(error) = written {
            tracing::debug!(%error, "the next start holds its set against the rails again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_under_the_settings_it_was_checked_with_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (settings, other) = (Settings::default(), Settings { max_added: 7, ..Settings::default() });
        let mut checked = Checked::new(directory.path());
        checked.note(&settings, "one");
        assert!(!checked.knows(&settings, "one"), "it is not in force yet");
        checked.settle();
        let again = Checked::new(directory.path());
        assert!(again.knows(&settings, "one"));
        assert!(!again.knows(&settings, "two") && !again.knows(&other, "one"));
        std::fs::write(directory.path().join("checked"), "rubbish").unwrap();
        assert!(!again.knows(&settings, "one"));
    }
}
