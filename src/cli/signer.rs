//! Private keys of people who sign, in files of their own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Exit, complain};
use crate::audit::merkle::Signer;
use crate::limits;

/// Reads a private key that only its owner may read.
pub(super) fn read(path: &Path) -> Result<Signer, Exit> {
    let failed =
        |error: &dyn std::fmt::Display| complain(Exit::Io, &format!("`{}`: {error}", path.display()));
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mode = file.metadata().map_err(|error| failed(&error))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        let message =
            format!("the key has mode {mode:04o}: only its owner may have access, run `chmod 600` on it");
        return Err(complain(Exit::Usage, &format!("`{}`: {message}", path.display())));
    }
    let mut text = String::new();
    file.take(limits::SIGNATURE_BYTES).read_to_string(&mut text).map_err(|error| failed(&error))?;
    Signer::parse(&text).map_err(|error| complain(Exit::Usage, &format!("`{}`: {error}", path.display())))
}

/// Makes a private key at `path`, where nothing may be yet, and its public key beside it under `.pub`. Returns the
/// path of the latter.
pub(super) fn make(path: &Path, signer: &Signer) -> Result<PathBuf, Exit> {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let write = |path: &Path, mode, text: String| {
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        file.and_then(|mut file| {
            file.write_all(format!("{text}\n").as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| complain(Exit::Io, &format!("`{}`: {error}", path.display())))
    };
    write(path, 0o600, signer.to_text())?;
    write(&public, 0o644, signer.verifier().to_text())?;
    Ok(public)
}
