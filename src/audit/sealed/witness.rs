//! The witness: a small file outside the audit directory that knows how far the log was. A directory that knows less
//! is an older copy.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::audit::merkle::Hash;

/// More than such a file ever has.
const MAX_BYTES: u64 = 64 * 1024;

/// The newest checkpoint, as the witness knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Witness {
    /// The origin line of the epoch.
    pub(super) origin: String,
    pub(super) epoch: u64,
    pub(super) size: u64,
    /// In base64.
    root: String,
    /// The `seq` of the epoch's leaf 0.
    pub(super) first_seq: u64,
}

impl Witness {
    pub(super) fn new(origin: &str, epoch: u64, size: u64, root: &Hash, first_seq: u64) -> Self {
        Self { origin: origin.to_owned(), epoch, size, root: STANDARD.encode(root), first_seq }
    }

    /// Whether it knows this root at its size.
    pub(super) fn has_root(&self, root: &Hash) -> bool {
        self.root == STANDARD.encode(root)
    }

    /// The last `seq` that it knows.
    pub(super) fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.size).saturating_sub(1).min(u64::MAX / 4)
    }

    /// The witness in a file; none when it is not there.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    /// Calls: `open`, `write`, `fdatasync` of a draft, `rename`. The name is not synced: a witness that is one
    /// checkpoint behind is no witness of an older copy.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_data()?;
        std::fs::rename(&draft, path)
    }
}
