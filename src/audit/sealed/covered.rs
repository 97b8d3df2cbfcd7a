//! What a process may know of the sealed log that another one writes.

use super::{
    epoch::Epochs,
    names::PUBLIC_KEY,
    tree::{checkpoint_path, extensions},
};
use crate::audit::{
    files::Disk,
    merkle::{Checkpoint, Verifier},
};

/// The caller's lines in the newest checkpoint. None when there is none yet, or it is not signed by the log's key: what is
/// not certain is not sealed.
pub(in crate::audit) fn covered(disk: &dyn Disk) -> Option<Vec<String>> {
    let epochs = Epochs::read(disk, &mut Vec::new()).ok()?;
    let epoch = epochs.newest()?;
    let key = disk.read(PUBLIC_KEY).ok()??;
    let verifier = Verifier::parse(std::str::from_utf8(&key).ok()?).ok()?.with_name(&epoch.origin);
    let note = disk.read(&checkpoint_path(epoch.number)).ok()??;
    Some(extensions(&Checkpoint::open(&note, &verifier).ok()?))
}
