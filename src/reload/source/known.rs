//! What is known of a file by how it looks, so that it is not read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::store;
use super::{FileMark, Snapshot, read_bounded};
use crate::background::breathe;
use crate::limits;
use crate::policy::{Contents, Digest, PolicyFile};

/// The digests of lists by name, size, inode and times.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::reload) struct Known(BTreeMap<String, KnownFile>);

#[derive(Debug, Serialize, Deserialize)]
struct KnownFile {
    mark: FileMark,
    sha256: Digest,
}

impl Known {
    /// What a snapshot tells. A file that was changed just before it was read is left out: the clock of a file system is
    /// coarse, and one more change in the same moment would not show.
    pub(in crate::reload) fn of(snapshot: &Snapshot) -> Self {
        let seconds = snapshot.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled = |mark: &FileMark| {
            let (changed, nanos) = mark.changed;
            // A file system whose times have no fraction, or are all alike, tells changes too coarsely to be believed.
            if nanos == 0 {
                return false;
            }
            let changed =
                Duration::new(changed.try_into().unwrap_or(u64::MAX), nanos.try_into().unwrap_or(0));
            changed.checked_add(limits::FILE_CLOCK_COARSENESS).is_some_and(|safe| safe < seconds)
        };
        let lists = snapshot.files.under("lists/").filter_map(|(name, file)| {
            let mark = snapshot.fingerprint.0.get(name).filter(|mark| settled(mark))?;
            Some((name.to_owned(), KnownFile { mark: *mark, sha256: file.digest }))
        });
        Self(lists.collect())
    }

    pub(in crate::reload) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::reload) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn digest(&self, name: &str, mark: &FileMark) -> Option<Digest> {
        self.0.get(name).filter(|known| known.mark == *mark).map(|known| known.sha256)
    }
}

/// A file whose content is hashed and left where it is.
pub(super) fn hash(path: &Path, expected: u64) -> io::Result<PolicyFile> {
    let mut file = File::open(path)?.take(expected + 1);
    let mut hash = Sha256::new();
    let mut piece = vec![0; limits::HASH_PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(PolicyFile {
                digest: Digest::from_bytes(hash.finalize().into()),
                bytes,
                content: None,
            });
        }
        hash.update(piece.get(..read).unwrap_or_default());
        breathe();
        bytes += u64::try_from(read).unwrap_or_default();
    }
}

/// The files of a policy directory, read when they are needed. What is another one by now may have been kept as it was.
#[derive(Debug)]
pub(in crate::reload) struct DirectoryContents {
    pub(in crate::reload) directory: PathBuf,
    pub(in crate::reload) state: PathBuf,
}

impl Contents for DirectoryContents {
    fn content(&self, path: &str, file: &PolicyFile) -> io::Result<Arc<[u8]>> {
        if let Some(content) = &file.content {
            return Ok(Arc::clone(content));
        }
        let error = match read_bounded(&self.directory.join(path), file.bytes) {
            Ok(content) if Digest::of(&content) == file.digest => return Ok(content),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, "the file changed while the set was read"),
            Err(error) => error,
        };
        store::object(&self.state, &file.digest.to_string()).map_err(|_| error)
    }
}
