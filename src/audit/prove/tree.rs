//! The hashes of one epoch's tree.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use crate::audit::{
    EventId, Missing, SegmentIndex,
    line::Head,
    merkle::{
        Checkpoint, CheckpointError, Hash, Nodes, NoteError, TILE_WIDTH, Tile, TileName, Verifier, leaf_hash,
        node_hash, subtrees,
    },
    sealed::SegmentError,
    verify::{
        VerifyError,
        index::MAX_INDEX,
        layout::{self, SegmentFiles},
        signed::{MAX_NOTE, origin},
    },
};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// A file or directory cannot be read or written.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The public key of the log is no key.
    #[error("`{}`: {error}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        error: NoteError,
    },
    /// A checkpoint cannot be used.
    #[error("`{}`: {error}", path.display())]
    Checkpoint {
        /// The checkpoint's file.
        path: PathBuf,
        /// What is wrong with it.
        error: CheckpointError,
    },
    /// A segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// There is no such record.
    #[error("no sealed record has the id {0}")]
    NoRecord(EventId),
    /// The record is not under a checkpoint yet.
    #[error("record {0} is not sealed yet")]
    NotSealed(u64),
    /// The lines of a record are gone.
    #[error("record {0} is not there: it was pruned, or its segment is damaged")]
    Gone(u64),
    /// Records are in no segment, and it takes them to tell.
    #[error("{0}; the record may be one of these, or its proof needs them")]
    Missing(Missing),
    /// What is there does not lead to the signed root.
    #[error("the log of epoch {0} does not lead to its signed root: `audit verify` tells what is wrong")]
    Root(u64),
}

impl From<VerifyError> for ProveError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Io { path, error } => Self::Io { path, error },
            other @ (VerifyError::Since(_) | VerifyError::Moved { .. }) => {
                Self::Io { path: PathBuf::new(), error: io::Error::other(other.to_string()) }
            }
        }
    }
}

/// The log's public key, from `log.pub`.
pub(super) fn key(directory: &Path) -> Result<Verifier, ProveError> {
    let path = directory.join("log.pub");
    let missing = || ProveError::Io { path: path.clone(), error: io::ErrorKind::NotFound.into() };
    let bytes = layout::read(&path, 4096)?.ok_or_else(missing)?;
    Verifier::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| ProveError::Key { path, error })
}

/// Gets a line and its `seq`, and says whether to go on.
type EachLine<'e> = dyn FnMut(u64, &[u8]) -> Result<bool, ProveError> + 'e;

/// One epoch of the log.
pub(super) struct Tree {
    directory: PathBuf,
    pub(super) epoch: u64,
    /// The `seq` of leaf 0.
    pub(super) first_seq: u64,
    pub(super) verifier: Verifier,
    pub(super) checkpoint: Checkpoint,
    /// The checkpoint as it was signed.
    pub(super) note: String,
    /// Those with a sealed record.
    pub(super) segments: Vec<SegmentFiles>,
    /// Hashes of perfect subtrees, from the indexes.
    known: HashMap<(u8, u64), Hash>,
    /// The tile and the segment that were read last.
    tile: Option<Tile>,
    leaves: Option<(u64, Vec<Hash>)>,
}

impl Tree {
    /// Reads the checkpoint and the indexes of an epoch.
    pub(super) fn open(directory: &Path, base: &Verifier, epoch: u64) -> Result<Self, ProveError> {
        let path = directory.join(format!("tree/{epoch}/checkpoint"));
        let missing = || ProveError::Io { path: path.clone(), error: io::ErrorKind::NotFound.into() };
        let note = layout::read(&path, MAX_NOTE)?.ok_or_else(missing)?;
        let verifier = base.with_name(&origin(base.name(), epoch));
        let checkpoint = Checkpoint::open(&note, &verifier);
        let checkpoint = checkpoint.map_err(|error| ProveError::Checkpoint { path: path.clone(), error })?;
        let first_seq = checkpoint.extension("first-seq").and_then(|text| text.parse().ok());
        let error = CheckpointError::Malformed("it does not say where the epoch begins");
        let first_seq: u64 = first_seq.ok_or(ProveError::Checkpoint { path, error })?;
        let sealed = first_seq..first_seq.saturating_add(checkpoint.size);
        let mut segments = layout::segments(directory)?;
        segments.retain(|files| sealed.contains(&files.first));
        let note = String::from_utf8_lossy(&note).into_owned();
        let mut tree = Self {
            directory: directory.to_owned(),
            epoch,
            first_seq,
            verifier,
            checkpoint,
            note,
            segments,
            known: HashMap::new(),
            tile: None,
            leaves: None,
        };
        tree.read_indexes()?;
        Ok(tree)
    }

    /// An index that cannot be read is done without.
    fn read_indexes(&mut self) -> Result<(), ProveError> {
        for files in &self.segments {
            let bytes = layout::read(&self.directory.join(files.index()), MAX_INDEX)?;
            let Some(Ok(index)) = bytes.map(|bytes| SegmentIndex::parse(&bytes)) else { continue };
            let start = files.first - self.first_seq;
            let names = subtrees(start, start.saturating_add(index.records));
            self.known.extend(names.zip(index.range));
        }
        Ok(())
    }

    /// The `seq` after the last one of a segment that is sealed.
    pub(super) fn end_of(&self, files: &SegmentFiles) -> u64 {
        let next = self.segments.iter().find(|next| next.first > files.first);
        next.map_or(self.first_seq + self.checkpoint.size, |next| next.first)
    }

    /// Hands every sealed line of a segment with its `seq` to `each`, until that is false.
    pub(super) fn lines(&self, files: &SegmentFiles, each: &mut EachLine<'_>) -> Result<(), ProveError> {
        let end = self.end_of(files);
        let mut lines = files.open(&self.directory).ok_or(ProveError::Gone(files.first))??;
        let mut expected = files.first;
        while expected < end {
            let line = lines.next()?.ok_or(ProveError::Gone(expected))?;
            let head = Head::parse(line.bytes).filter(|head| head.seq == expected);
            head.ok_or(ProveError::Gone(expected))?;
            if !each(expected, line.bytes)? {
                break;
            }
            expected += 1;
        }
        Ok(())
    }

    fn leaf(&mut self, index: u64) -> Result<Hash, ProveError> {
        let seq = self.first_seq.saturating_add(index);
        let here = self.segments.iter().rev().find(|files| files.first <= seq).copied();
        let files = here.ok_or(ProveError::Gone(seq))?;
        if self.leaves.as_ref().is_none_or(|(first, _)| *first != files.first) {
            let mut leaves = Vec::new();
            self.lines(&files, &mut |_, line| {
                leaves.push(leaf_hash(line));
                Ok(true)
            })?;
            self.leaves = Some((files.first, leaves));
        }
        let place = usize::try_from(seq - files.first).ok();
        let leaf = self.leaves.as_ref().zip(place).and_then(|((_, leaves), place)| leaves.get(place));
        leaf.copied().ok_or(ProveError::Gone(seq))
    }

    /// A subtree of 256 leaves or more, when the tile that holds it is there and full.
    fn in_tile(&mut self, level: u8, index: u64) -> Option<Hash> {
        let width = 1usize << (level % 8);
        let first = index.checked_mul(width as u64)?;
        let name = TileName { level: level / 8, index: first / TILE_WIDTH as u64, width: 256 };
        if name.level == 0 || !name.is_within(self.checkpoint.size) {
            return None;
        }
        let is_here = |tile: &Tile| tile.name() == name;
        if !self.tile.as_ref().is_some_and(is_here) {
            let path = self.directory.join(format!("tree/{}/{}", self.epoch, name.path()));
            let bytes = layout::read(&path, 1 << 16).ok()??;
            self.tile = Tile::from_bytes(name.level, name.index, &bytes).ok().filter(is_here);
        }
        let start = usize::try_from(first % TILE_WIDTH as u64).ok()?;
        let mut row = self.tile.as_ref()?.hashes.get(start..start + width)?.to_vec();
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        row.first().copied()
    }
}

/// Hashes that are kept once they were computed: each proof needs those of the tree's right edge, which would
/// otherwise be read anew from the last segment.
const MOST_KNOWN: usize = 1 << 20;

impl Nodes for Tree {
    type Error = ProveError;

    fn subtree(&mut self, level: u8, index: u64) -> Result<Hash, ProveError> {
        let hash = self.compute(level, index)?;
        if self.known.len() < MOST_KNOWN {
            self.known.insert((level, index), hash);
        }
        Ok(hash)
    }
}

impl Tree {
    fn compute(&mut self, level: u8, index: u64) -> Result<Hash, ProveError> {
        if let Some(hash) = self.known.get(&(level, index)) {
            return Ok(*hash);
        }
        if let Some(hash) = self.in_tile(level, index) {
            return Ok(hash);
        }
        let Some(below) = level.checked_sub(1) else { return self.leaf(index) };
        let left = self.compute(below, index * 2)?;
        let right = self.compute(below, index * 2 + 1)?;
        Ok(node_hash(&left, &right))
    }
}
