//! Lines that are gathered before their number is known: on disk, without a name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// A file that goes away with its process.
pub(super) struct Spool {
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Spool {
    /// Makes one beside `target`, which has room for what is gathered or has none for the bundle either.
    pub(super) fn beside(target: &Path, what: &str) -> io::Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".{what}.{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&name)?;
        fs::remove_file(&name)?;
        Ok(Self { out: BufWriter::new(file), hash: Sha256::new(), bytes: 0 })
    }

    /// Takes in a line without its newline.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        for part in [line, b"\n"] {
            self.out.write_all(part)?;
            self.hash.update(part);
            self.bytes += part.len() as u64;
        }
        Ok(())
    }

    /// The file from its start, its length in bytes and its SHA-256.
    pub(super) fn finish(self) -> io::Result<(File, u64, [u8; 32])> {
        let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok((file, self.bytes, self.hash.finalize().into()))
    }
}
