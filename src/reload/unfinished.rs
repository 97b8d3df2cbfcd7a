//! Which files were being written when a process ended: the next one must not take half of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::note::Note;
use super::settling::patience;
use super::source::Writers;
use crate::policy::PolicyFiles;

/// `unfinished` in the state directory: what is being written, looked at every now and then.
#[derive(Debug)]
pub(super) struct Unfinished {
    place: PathBuf,
    noted: BTreeSet<String>,
    /// What was left out of the last reading, by every name that it has.
    pub(super) left_out: BTreeSet<String>,
    /// Of what was asked for, all that the last reading has carried out; none when it was of all files, and is the answer to
    /// everybody.
    pub(super) carried_out: Option<Vec<Note>>,
}

impl Unfinished {
    /// In the state directory `state`. What an earlier process has left there stays until something is noted.
    pub(super) fn new(state: &Path) -> Self {
        let place = state.join("unfinished");
        Self { noted: read(&place), place, left_out: BTreeSet::new(), carried_out: None }
    }

    /// Notes what is being written now.
    pub(super) fn note(&mut self, files: BTreeSet<String>) {
        if files == self.noted {
            return;
        }
        let draft = self.place.with_extension("new");
        let text = serde_json::to_vec(&files).map_err(std::io::Error::from);
        let written =
            text.and_then(|text| fs::write(&draft, text)).and_then(|()| fs::rename(&draft, &self.place));
        if let Err(error) = written {
            tracing::debug!(%error, "a restart takes what is being written for complete");
        }
        self.noted = files;
    }

    /// What was being written at the end of the process before, and has changed too lately in `directory` for its writer to
    /// have given up.
    pub(super) fn left(&self, directory: &Path) -> Left {
        let is_fresh = |name: &String| {
            let changed = directory.join(name).metadata().and_then(|found| found.modified());
            let age =
                changed.ok().map(|changed| SystemTime::now().duration_since(changed).unwrap_or_default());
            PolicyFiles::belongs(name) && age.is_some_and(|age| age < patience(name))
        };
        Left(self.noted.iter().filter(|name| is_fresh(name)).cloned().collect())
    }
}

fn read(place: &Path) -> BTreeSet<String> {
    let text = fs::read(place).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Files that somebody was writing, and may be still.
#[derive(Debug, Default)]
pub(super) struct Left(pub(super) BTreeSet<String>);

impl Writers for Left {
    fn at_work(&mut self) -> BTreeSet<String> {
        self.0.clone()
    }

    fn is_heard(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_being_written_is_known_to_the_next_process_as_long_as_it_is_fresh() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("lists")).unwrap();
        for name in ["lists/fresh", "lists/old", "notes"] {
            fs::write(home.path().join(name), "x").unwrap();
        }
        let old = SystemTime::now() - crate::limits::LIST_STALLS_AFTER - Duration::from_secs(1);
        fs::File::options()
            .write(true)
            .open(home.path().join("lists/old"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        let mut unfinished = Unfinished::new(home.path());
        assert!(unfinished.left(home.path()).0.is_empty());
        unfinished.note(["lists/fresh", "lists/old", "lists/gone", "notes"].map(str::to_owned).into());
        let next = || Unfinished::new(home.path()).left(home.path()).0;
        assert_eq!(next(), ["lists/fresh".to_owned()].into());
        fs::write(home.path().join("unfinished"), "rubbish").unwrap();
        assert!(next().is_empty());
    }
}
