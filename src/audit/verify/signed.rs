//! What one epoch's checkpoints say, and whether its other files agree with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    layout::{self, Content},
    moment::TreeThen,
    report::{Finding, Report},
};
use crate::audit::merkle::{Checkpoint, Hash, Verifier};

/// Bytes of the longest checkpoint or epoch file.
pub(in crate::audit) const MAX_NOTE: u64 = 1 << 20;

/// The origin line and key name of an epoch: that of the log, and from the second on `/epoch-<n>` behind it.
pub(in crate::audit) fn origin(base: &str, epoch: u64) -> String {
    if epoch == 1 { base.to_owned() } else { format!("{base}/epoch-{epoch}") }
}

/// `epochs/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::audit) struct EpochFile {
    pub(in crate::audit) epoch: u64,
    pub(in crate::audit) origin: String,
    pub(in crate::audit) first_seq: u64,
    pub(in crate::audit) started: String,
    pub(in crate::audit) reason: String,
}

/// What is signed of one epoch.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// The `seq` of leaf 0, from a checkpoint or else from the epoch file.
    pub(super) first_seq: Option<u64>,
    /// Leaves under the largest valid checkpoint.
    pub(super) size: u64,
    /// Every signed root by its size.
    pub(super) roots: BTreeMap<u64, Hash>,
    /// Sizes of the kept checkpoints that are valid.
    pub(super) kept: BTreeSet<u64>,
    /// Sizes of all kept checkpoints that there are.
    pub(super) listed: BTreeSet<u64>,
    pub(super) reason: String,
    /// Processes with a journal that may hold more of their records.
    pub(super) lanes: BTreeSet<u64>,
}

impl Signed {
    pub(super) fn read(directory: &Path, tree: &TreeThen, base: &Verifier, report: &mut Report) -> Self {
        let epoch = tree.epoch;
        let verifier = base.with_name(&origin(base.name(), epoch));
        let mut reader = Reader { directory, epoch, verifier, report, signed: Self::default() };
        let name = format!("tree/{epoch}/checkpoint");
        let newest = reader.checkpoint(&name, &tree.note);
        for &size in &tree.kept {
            let name = format!("tree/{epoch}/checkpoints/{size:020}");
            reader.signed.listed.insert(size);
            let note = layout::content(directory, &name, MAX_NOTE);
            if let Some(checkpoint) = reader.checkpoint(&name, &note) {
                if checkpoint.size == size {
                    reader.signed.kept.insert(size);
                } else {
                    let what = format!("it is the checkpoint of {} records, not of {size}", checkpoint.size);
                    reader.report.find(Finding::new(name, what));
                }
            }
        }
        if let Some(newest) = &newest
            && newest.size < reader.signed.size
        {
            let what = format!(
                "rolled back: it is of {} records, but a kept checkpoint is of {}",
                newest.size, reader.signed.size
            );
            reader.report.find(Finding::new(name, what));
        }
        reader.epoch_file(newest.as_ref());
        reader.signed
    }

    /// Takes in a root that somebody else kept.
    pub(super) fn trust(&mut self, file: &Path, size: u64, root: Hash, report: &mut Report) {
        if size > self.size {
            let what =
                format!("rolled back: the trusted checkpoint is of {size} records, here are {}", self.size);
            report.find(Finding::new(file, what));
        } else if self.roots.insert(size, root).is_some_and(|known| known != root) {
            report.find(Finding::new(file, "the log signed another root for the trusted checkpoint's size"));
        }
    }
}

struct Reader<'r> {
    directory: &'r Path,
    epoch: u64,
    verifier: Verifier,
    report: &'r mut Report,
    signed: Signed,
}

impl Reader<'_> {
    /// The checkpoint in a file, when its signature and its words hold.
    fn checkpoint(&mut self, name: &str, note: &Content) -> Option<Checkpoint> {
        let opened = match note {
            Content::Missing => Err("the checkpoint is missing".to_owned()),
            Content::Unreadable(why) => Err(why.clone()),
            Content::Bytes(bytes) => {
                Checkpoint::open(bytes, &self.verifier).map_err(|error| error.to_string())
            }
        };
        let taken = opened.and_then(|checkpoint| self.take(&checkpoint).map(|()| checkpoint));
        taken.map_err(|what| self.report.find(Finding::new(name, what))).ok()
    }

    fn take(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let number = |key| checkpoint.extension(key).and_then(|text: &str| text.parse::<u64>().ok());
        if number("epoch") != Some(self.epoch) {
            return Err(format!("it is not of epoch {}", self.epoch));
        }
        let first_seq = number("first-seq").ok_or("it does not say where the epoch begins")?;
        if self.signed.first_seq.is_some_and(|known| known != first_seq) {
            return Err(format!("it says that the epoch begins with record {first_seq}, others do not"));
        }
        let known = self.signed.roots.insert(checkpoint.size, checkpoint.root);
        if known.is_some_and(|known| known != checkpoint.root) {
            return Err(format!("two different roots are signed for {} records", checkpoint.size));
        }
        self.signed.first_seq = Some(first_seq);
        self.signed.size = self.signed.size.max(checkpoint.size);
        if checkpoint.size == self.signed.size {
            let lanes = checkpoint.extensions.iter().filter_map(|line| line.strip_prefix("lane "));
            let lanes = lanes.filter_map(|lane| u64::from_str_radix(lane.split(' ').next()?, 16).ok());
            self.signed.lanes = lanes.collect();
        }
        Ok(())
    }

    fn epoch_file(&mut self, newest: Option<&Checkpoint>) {
        let name = format!("epochs/{}.json", self.epoch);
        let read = match layout::content(self.directory, &name, MAX_NOTE) {
            Content::Missing => Err("the file of the epoch is missing".to_owned()),
            Content::Unreadable(why) => Err(why),
            Content::Bytes(bytes) => serde_json::from_slice::<EpochFile>(&bytes)
                .map(|file| (file, bytes))
                .map_err(|error| error.to_string()),
        };
        let (file, bytes) = match read {
            Ok(read) => read,
            Err(what) => return self.report.find(Finding::new(name, what)),
        };
        let digest = BASE64.encode(Sha256::digest(&bytes));
        let signed = newest.and_then(|newest| newest.extension("epoch-file"));
        let wrong = if serde_json::to_vec(&file).ok().as_deref() != bytes.strip_suffix(b"\n") {
            Some("it is not in the form in which it was written".to_owned())
        } else if signed.is_some_and(|signed| signed != digest) {
            Some("it is not the file that the checkpoint signs".to_owned())
        } else if file.epoch != self.epoch {
            Some(format!("it is that of epoch {}", file.epoch))
        } else if file.origin != self.verifier.name() {
            Some(format!("its origin is `{}`, not `{}`", file.origin, self.verifier.name()))
        } else if self.signed.first_seq.is_some_and(|first| first != file.first_seq) {
            Some(format!("it says that the epoch begins with record {}", file.first_seq))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.report.find(Finding::new(name, wrong));
        }
        self.signed.first_seq = self.signed.first_seq.or(Some(file.first_seq));
        self.signed.reason = file.reason;
    }
}
