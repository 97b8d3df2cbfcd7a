//! Which files an audit directory holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::report::{VerifyError, io_error};
use crate::audit::{
    merkle::TileName,
    sealed::{SegmentError, SegmentFile, SegmentLines},
};

/// The files of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::audit) struct SegmentFiles {
    /// The `seq` in its name: that of its first record.
    pub(in crate::audit) first: u64,
    /// Length of the `.jsonl`, in bytes.
    pub(in crate::audit) plain: Option<u64>,
    /// Length of the `.jsonl.zst`, in bytes.
    pub(in crate::audit) packed: Option<u64>,
    /// Whether there is an `.idx` beside it.
    pub(in crate::audit) index: bool,
    /// Whether there is an `.idx` among those of pruned segments.
    pub(in crate::audit) pruned: bool,
}

impl SegmentFiles {
    /// The file with the lines, below the audit directory: the plain one where both are, since an
    /// interrupted archiver has left them. `None` when the lines are gone.
    pub(in crate::audit) fn lines(&self) -> Option<PathBuf> {
        match (self.plain, self.packed) {
            (Some(_), _) => Some(PathBuf::from(format!("segments/{:020}.jsonl", self.first))),
            (None, Some(_)) => Some(PathBuf::from(format!("segments/{:020}.jsonl.zst", self.first))),
            (None, None) => None,
        }
    }

    /// The index file, below the audit directory.
    pub(in crate::audit) fn index(&self) -> PathBuf {
        let folder = if self.index || !self.pruned { "segments" } else { "pruned" };
        PathBuf::from(format!("{folder}/{:020}.idx", self.first))
    }

    /// Bytes to read.
    pub(in crate::audit) fn length(&self) -> u64 {
        self.plain.or(self.packed).unwrap_or(0)
    }

    /// The files of the segment that begins with `first`, as they are now.
    pub(super) fn now(directory: &Path, first: u64) -> Self {
        let length = |folder: &str, suffix: &str| {
            let metadata = std::fs::metadata(directory.join(format!("{folder}/{first:020}{suffix}")));
            metadata.ok().map(|metadata| metadata.len())
        };
        Self {
            first,
            plain: length("segments", ".jsonl"),
            packed: length("segments", ".jsonl.zst"),
            index: length("segments", ".idx").is_some(),
            pruned: length("pruned", ".idx").is_some(),
        }
    }

    fn is_there(&self) -> bool {
        self.plain.is_some() || self.packed.is_some() || self.index || self.pruned
    }

    /// Starts to read the lines; `None` when they are gone.
    pub(in crate::audit) fn open(&self, directory: &Path) -> Option<Result<SegmentLines, SegmentError>> {
        let file = SegmentFile {
            first: self.first,
            path: directory.join(self.lines()?),
            compressed: self.plain.is_none(),
            index: None,
            file_bytes: self.length(),
        };
        Some(file.lines())
    }

    /// Whether the lines were removed by retention.
    pub(in crate::audit) fn is_pruned(&self) -> bool {
        self.pruned && self.lines().is_none()
    }
}

/// All segments of the directory, by their first `seq`.
pub(in crate::audit) fn segments(directory: &Path) -> Result<Vec<SegmentFiles>, VerifyError> {
    let mut found: BTreeMap<u64, SegmentFiles> = BTreeMap::new();
    for (folder, pruned) in [("segments", false), ("pruned", true)] {
        for (name, length) in names(&directory.join(folder))? {
            let Some((first, suffix)) = split_name(&name) else { continue };
            let files = found.entry(first).or_insert(SegmentFiles { first, ..SegmentFiles::default() });
            match (suffix, pruned) {
                (".jsonl", false) => files.plain = Some(length),
                (".jsonl.zst", false) => files.packed = Some(length),
                (".idx", false) => files.index = true,
                (".idx", true) => files.pruned = true,
                _ => {}
            }
        }
    }
    Ok(found.into_values().filter(SegmentFiles::is_there).collect())
}

/// The number of twenty digits at the start of a name, and the rest.
fn split_name(name: &str) -> Option<(u64, &str)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(())?;
    Some((digits.parse().ok()?, suffix))
}

/// What should be folders and is something else, below the audit directory.
pub(super) fn no_folders(directory: &Path, epochs: &[u64]) -> Vec<String> {
    let of_log = ["segments", "pruned", "epochs", "tree"].map(str::to_owned);
    let of_epochs = epochs
        .iter()
        .flat_map(|epoch| ["", "/checkpoints", "/tile"].map(|folder| format!("tree/{epoch}{folder}")));
    let all = of_log.into_iter().chain(of_epochs);
    all.filter(|name| std::fs::metadata(directory.join(name)).is_ok_and(|there| !there.is_dir())).collect()
}

/// Whether there is no folder: nothing, or something else.
fn is_no_folder(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Names and lengths of the files in a folder, sorted; none when there is no such folder.
fn names(folder: &Path) -> Result<Vec<(String, u64)>, VerifyError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if is_no_folder(&error) => return Ok(Vec::new()),
        other => other.map_err(io_error(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(folder))?;
        let length = entry.metadata().map_or(0, |metadata| metadata.len());
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, length));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The numbers of all epochs that have a file or a tree.
pub(in crate::audit) fn epochs(directory: &Path) -> Result<BTreeSet<u64>, VerifyError> {
    let number = |name: &str, suffix: &str| {
        let number: u64 = name.strip_suffix(suffix)?.parse().ok()?;
        (format!("{number}{suffix}") == name && number > 0).then_some(number)
    };
    let files = names(&directory.join("epochs"))?;
    let trees = names(&directory.join("tree"))?;
    let files = files.iter().filter_map(|(name, _)| number(name, ".json"));
    Ok(files.chain(trees.iter().filter_map(|(name, _)| number(name, ""))).collect())
}

/// The sizes of the kept checkpoints of an epoch.
pub(in crate::audit) fn kept(directory: &Path, epoch: u64) -> Result<Vec<u64>, VerifyError> {
    let names = names(&directory.join(format!("tree/{epoch}/checkpoints")))?;
    let sizes = names.iter().filter_map(|(name, _)| split_name(name).filter(|(_, rest)| rest.is_empty()));
    Ok(sizes.map(|(size, _)| size).collect())
}

/// The partial tiles of an epoch.
pub(super) fn partial_tiles(directory: &Path, epoch: u64) -> Result<BTreeSet<TileName>, VerifyError> {
    let root = directory.join(format!("tree/{epoch}"));
    let mut found = BTreeSet::new();
    let mut folders = vec!["tile".to_owned()];
    // Sixteen levels of folders are more than any tile has.
    while let Some(folder) = folders.pop().filter(|folder| folder.len() < 128) {
        let path = root.join(&folder);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if is_no_folder(&error) => continue,
            other => other.map_err(io_error(&path))?,
        };
        for entry in entries {
            let entry = entry.map_err(io_error(&path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{folder}/{name}");
            if let Ok(tile) = TileName::parse(&name)
                && tile.width < 256
            {
                found.insert(tile);
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(name);
            }
        }
    }
    Ok(found)
}

/// What a small file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    Missing,
    /// It is there, and why it cannot be read: what a finding says of it.
    Unreadable(String),
}

/// The whole of a small file below the audit directory, of at most `limit` bytes.
pub(super) fn content(directory: &Path, name: impl AsRef<Path>, limit: u64) -> Content {
    match read(&directory.join(name), limit) {
        Ok(Some(bytes)) => Content::Bytes(bytes),
        Ok(None) => Content::Missing,
        Err(VerifyError::Io { error, .. }) => Content::Unreadable(format!("it cannot be read: {error}")),
        Err(other) => Content::Unreadable(other.to_string()),
    }
}

/// The whole of a small file, `None` when there is none. Longer than `limit` bytes is an error.
pub(in crate::audit) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, VerifyError> {
    use io::Read;
    let file = match std::fs::File::open(path) {
        Err(error) if is_no_folder(&error) => return Ok(None),
        other => other.map_err(io_error(path))?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    if bytes.len() as u64 > limit {
        return Err(io_error(path)(io::Error::other(format!("longer than {limit} bytes"))));
    }
    Ok(Some(bytes))
}
