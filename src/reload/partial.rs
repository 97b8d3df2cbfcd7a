//! Sets some of whose lists are being written: these stay what they are in the set in force, so that no decision waits for
//! a download.

use std::path::Path;

use super::source::Snapshot;
use super::source::known::kept_list;
use super::store;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::{Digest, PolicyFile, PolicyFiles};

/// What a set is completed from that cannot be read whole yet.
pub(super) enum Partial<'a> {
    /// It is not: who signs a set signs all of it.
    Never,
    /// From the set in force, which is the one with this digest, as the state directory keeps it.
    InForce(&'a Path, Digest),
    /// From whatever the state directory has kept last: another process says what is in force.
    Newest(&'a Path),
}

impl Partial<'_> {
    /// Puts the lists that were left out of a snapshot back as they were, and warns of each.
    ///
    /// # Errors
    /// What is being written and has to be waited for.
    pub(super) fn complete(&self, snapshot: &mut Snapshot) -> Result<(), Diagnostics> {
        for name in &snapshot.unfinished {
            let message = match self.list(name) {
                Ok(Some(list)) => {
                    snapshot.files.files.insert(name.clone(), list);
                    "the list is being written: until it is complete it stays what it was"
                }
                Ok(None) => "the list is being written: until it is complete it belongs to no set",
                Err(()) => return Err(awaited(snapshot)),
            };
            snapshot.warnings.push(Diagnostic::warning(name.as_str(), message));
        }
        Ok(())
    }

    /// The list as it was; none when there was none.
    fn list(&self, name: &str) -> Result<Option<PolicyFile>, ()> {
        let (root, wanted) = match self {
            Self::Never => return Err(()),
            Self::InForce(root, digest) => (root, Some(digest.to_string())),
            Self::Newest(root) => (root, None),
        };
        let manifest = store::newest_manifest(root);
        let manifest = manifest.filter(|kept| wanted.is_none_or(|wanted| kept.digest == wanted)).ok_or(())?;
        if !name.starts_with("lists/") {
            return Err(());
        }
        let Some(sha256) = manifest.files.get(name) else { return Ok(None) };
        let digest = Digest::parse(sha256).ok_or(())?;
        kept_list(root, digest).map(Some).map_err(drop)
    }
}

/// How many cases of a set are others than in the one that the state directory has kept last; none when something else is.
pub(super) fn differing_cases(state: &Path, files: &PolicyFiles) -> Option<usize> {
    let before = store::newest_manifest(state)?.files;
    let gone = before.keys().filter(|name| !files.has(name));
    let new = files.files.iter().filter(|(name, file)| before.get(*name) != Some(&file.digest.to_string()));
    let mut differing = gone.chain(new.map(|(name, _)| name));
    let cases = differing.try_fold(0, |cases, name| name.starts_with("cases/").then_some(cases + 1))?;
    Some(cases)
}

fn awaited(snapshot: &Snapshot) -> Diagnostics {
    let mut awaited = Diagnostics::default();
    for name in &snapshot.unfinished {
        awaited.push(Diagnostic::error(name.as_str(), "somebody is writing the file").with_hint(
            "the set is read when it is complete; write files beside their place and rename them",
        ));
    }
    awaited
}
