//! A file that proves one record by itself.
//!
//! ```json
//! {"version":1,"record":"<the line>","leaf_index":16,"path":["<base64 hash>",…],"checkpoint":"<signed note>","key":"<vkey>"}
//! ```
//!
//! Whoever has the log's public key checks it with nothing else: the line hashes to a leaf, the path leads from the
//! leaf to the root that the checkpoint names, and the key signed the checkpoint (RFC 6962 §2.1.1, C2SP
//! tlog-checkpoint and signed-note).

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

use super::tree::{ProveError, Tree, key};
use crate::audit::{
    EventId, SegmentIndex,
    line::Head,
    merkle::{
        Checkpoint, CheckpointError, Hash, NoteError, ProofError, Verifier, inclusion_proof, leaf_hash,
        verify_inclusion,
    },
    missing,
    verify::{
        index::MAX_INDEX,
        layout::{self, SegmentFiles},
    },
};

const VERSION: u32 = 1;
/// How often a proof is tried while segments change their names.
const TRIES: u32 = 4;
/// A record's time may be that much away from its id's, in milliseconds.
const TIME_SLACK_MS: i64 = 60_000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    version: u32,
    /// The record's line, without its newline.
    pub record: String,
    /// Its place in the tree, from 0.
    pub leaf_index: u64,
    /// The hashes from the leaf to the root, in base64.
    pub path: Vec<String>,
    /// The checkpoint, as it was signed.
    pub checkpoint: String,
    /// The public key under the name that signed.
    pub key: String,
}

impl Proof {
    /// The proof as JSON on one line, newline included.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts, numbers and lists always serialize.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// It is no proof.
    #[error("this is no proof: {0}")]
    Syntax(String),
    /// It was written by another version.
    #[error("version {0} of the proof is unknown, {VERSION} is known")]
    Version(u32),
    /// Its key cannot be read.
    #[error("the proof's key: {0}")]
    Key(NoteError),
    /// It is signed by another key than the trusted one.
    #[error("the proof is by the key `{found}`, not by `{trusted}`")]
    OtherKey {
        /// The proof's key.
        found: String,
        /// The key it should be.
        trusted: String,
    },
    /// The checkpoint is not signed by the key.
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(CheckpointError),
    /// The line is no record, or not the one of this place.
    #[error("the proof's record is not record {0} of the log")]
    Record(u64),
    /// The path does not lead to the root.
    #[error("the record is not in the signed tree: {0}")]
    Path(ProofError),
}

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The record's id.
    pub id: EventId,
    /// Its `seq`.
    pub seq: u64,
    /// Its line.
    pub record: String,
    /// The checkpoint of the tree it is in.
    pub checkpoint: Checkpoint,
    /// The key that signed it.
    pub key: Verifier,
}

/// Proves the record with this id.
///
/// # Errors
/// When there is no such record under a checkpoint, or the log cannot be read or does not lead to its signed root.
pub fn prove(directory: &Path, id: EventId) -> Result<Proof, ProveError> {
    let mut before = names(directory)?;
    let mut tries = 1;
    loop {
        match Prover::open(directory).and_then(|mut prover| prover.prove(id)) {
            // A segment that was closed or pruned meanwhile may have been missed.
            Err(_) if tries < TRIES => {
                let now = names(directory)?;
                let is_steady = std::mem::replace(&mut before, now) == before;
                tries = if is_steady { TRIES } else { tries + 1 };
            }
            outcome => return outcome,
        }
    }
}

/// That records are missing, when it is the cause of an error.
fn blame(directory: &Path, error: ProveError) -> ProveError {
    match missing(directory) {
        Ok(missing) => missing.first().map_or(error, |missing| ProveError::Missing(*missing)),
        Err(error) => ProveError::Io { path: directory.to_owned(), error },
    }
}

/// The segments, and in which forms they are there.
fn names(directory: &Path) -> Result<Vec<(u64, [bool; 4])>, ProveError> {
    let forms = |files: &SegmentFiles| {
        (files.first, [files.plain.is_some(), files.packed.is_some(), files.index, files.pruned])
    };
    Ok(layout::segments(directory)?.iter().map(forms).collect())
}

/// Proves records of one log, many in a row if need be.
pub struct Prover {
    directory: std::path::PathBuf,
    key: Verifier,
    trees: Vec<Tree>,
}

impl Prover {
    /// Reads checkpoints and indexes.
    ///
    /// # Errors
    /// When the public key or a checkpoint is missing or wrong.
    pub fn open(directory: &Path) -> Result<Self, ProveError> {
        let base = key(directory)?;
        let epochs = layout::epochs(directory)?;
        let trees: Result<_, _> =
            epochs.into_iter().map(|epoch| Tree::open(directory, &base, epoch)).collect();
        Ok(Self { directory: directory.to_owned(), trees: trees?, key: base })
    }

    /// The log's public key, by the name of its first epoch.
    #[must_use]
    pub fn key(&self) -> &Verifier {
        &self.key
    }

    /// Proves the record with this id; segments in whose times the id falls are searched first.
    ///
    /// # Errors
    /// See [`prove`].
    pub fn prove(&mut self, id: EventId) -> Result<Proof, ProveError> {
        let mut searched: Vec<(bool, usize, SegmentFiles)> = Vec::new();
        for (place, tree) in self.trees.iter().enumerate() {
            for files in tree.segments.iter().filter(|files| files.lines().is_some()) {
                searched.push((!self.may_hold(files, id), place, *files));
            }
        }
        searched.sort_by_key(|(is_unlikely, ..)| *is_unlikely);
        let start = format!("{{\"id\":\"{id}\"");
        let mut failed = None;
        for (_, place, files) in searched {
            let Some(tree) = self.trees.get(place) else { continue };
            let mut found = None;
            let read = tree.lines(&files, &mut |seq, line| {
                if line.starts_with(start.as_bytes()) {
                    found = Some((seq, line.to_vec()));
                }
                Ok(found.is_none())
            });
            // It may be in another one all the same.
            failed = failed.or(read.err());
            if let Some((seq, line)) = found {
                return self.prove_record(seq, &line);
            }
        }
        Err(blame(&self.directory, failed.unwrap_or(ProveError::NoRecord(id))))
    }

    fn may_hold(&self, files: &SegmentFiles, id: EventId) -> bool {
        let bytes = layout::read(&self.directory.join(files.index()), MAX_INDEX).ok().flatten();
        let index = bytes.and_then(|bytes| SegmentIndex::parse(&bytes).ok());
        let Some((first, last)) = index.and_then(|index| index.first_time.zip(index.last_time)) else {
            return true;
        };
        let at = i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX);
        (first.as_millisecond() - TIME_SLACK_MS..=last.as_millisecond() + TIME_SLACK_MS).contains(&at)
    }

    /// Proves a record that was read already: its `seq` and its line, without the newline.
    ///
    /// # Errors
    /// See [`prove`].
    pub fn prove_record(&mut self, seq: u64, line: &[u8]) -> Result<Proof, ProveError> {
        let tree = self.trees.iter_mut().rev().find(|tree| tree.first_seq <= seq);
        let tree = tree.ok_or(ProveError::Gone(seq))?;
        let (index, size) = (seq - tree.first_seq, tree.checkpoint.size);
        if index >= size {
            return Err(ProveError::NotSealed(seq));
        }
        let path = inclusion_proof(tree, index, size).map_err(|error| match error {
            ProveError::Gone(_) => blame(&self.directory, error),
            error => error,
        })?;
        let proven = verify_inclusion(&leaf_hash(line), index, size, &path, &tree.checkpoint.root);
        proven.map_err(|_| ProveError::Root(tree.epoch))?;
        Ok(Proof {
            version: VERSION,
            record: String::from_utf8(line.to_vec()).map_err(|_| ProveError::Root(tree.epoch))?,
            leaf_index: index,
            path: path.iter().map(|hash| BASE64.encode(hash)).collect(),
            checkpoint: tree.note.clone(),
            key: tree.verifier.to_text(),
        })
    }
}

/// Checks a proof. `trusted` is the log's public key (`log.pub`); without it the proof shows only that whoever has
/// the proof's own key signed the record.
///
/// # Errors
/// When it proves nothing, and why.
pub fn verify_proof(bytes: &[u8], trusted: Option<&Verifier>) -> Result<Proven, ProofFileError> {
    let proof: Proof =
        serde_json::from_slice(bytes).map_err(|error| ProofFileError::Syntax(error.to_string()))?;
    if proof.version != VERSION {
        return Err(ProofFileError::Version(proof.version));
    }
    let key = Verifier::parse(&proof.key).map_err(ProofFileError::Key)?;
    if let Some(trusted) = trusted {
        let name = key.name().strip_prefix(trusted.name());
        let is_epoch = name.is_some_and(|rest| rest.is_empty() || rest.starts_with("/epoch-"));
        if !is_epoch || key.public_key() != trusted.public_key() {
            let (found, trusted) = (key.to_text(), trusted.to_text());
            return Err(ProofFileError::OtherKey { found, trusted });
        }
    }
    let checkpoint =
        Checkpoint::open(proof.checkpoint.as_bytes(), &key).map_err(ProofFileError::Checkpoint)?;
    let hash = |text: &String| BASE64.decode(text).ok()?.try_into().ok();
    let path: Option<Vec<Hash>> = proof.path.iter().map(hash).collect();
    let path = path.ok_or_else(|| ProofFileError::Syntax("a hash of its path is none".to_owned()))?;
    let leaf = leaf_hash(proof.record.as_bytes());
    verify_inclusion(&leaf, proof.leaf_index, checkpoint.size, &path, &checkpoint.root)
        .map_err(ProofFileError::Path)?;
    let first_seq = checkpoint.extension("first-seq").and_then(|text| text.parse::<u64>().ok());
    let seq = first_seq.unwrap_or(1).saturating_add(proof.leaf_index);
    let head = Head::parse(proof.record.as_bytes()).filter(|head| head.seq == seq);
    let id = head.and_then(|_| proof.record.get(7..43)?.parse().ok());
    let id = id.ok_or(ProofFileError::Record(seq))?;
    Ok(Proven { id, seq, record: proof.record, checkpoint, key })
}
