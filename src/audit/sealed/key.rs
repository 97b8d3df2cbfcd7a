//! The key that signs checkpoints, and the name of the log that goes with it.

use std::io;

use super::{
    names::{KEY, PUBLIC_KEY},
    place::{invalid, put},
};
use crate::audit::{
    files::{Disk, set_aside},
    merkle::{Signer, Verifier},
    privacy::fill_random,
    problem::Problem,
};

/// What is at the key's place.
pub(super) enum Standing {
    Known(Box<Signer>),
    Missing,
    /// Something that is no key.
    Damaged(String),
}

/// Reads the key.
///
/// # Errors
/// When it cannot be read, or others than its owner may read or change it.
pub(super) fn load(disk: &dyn Disk) -> io::Result<Standing> {
    let file = match disk.open(KEY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::Missing),
        other => other?,
    };
    let mode = file.state()?.mode;
    if mode & 0o077 != 0 {
        let what = format!(
            "key file `{KEY}` has mode {mode:04o}: only its owner may have access, run `chmod 600` on it"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    let bytes = disk.read(KEY)?.unwrap_or_default();
    let parsed = std::str::from_utf8(&bytes).map_err(|error| error.to_string());
    Ok(match parsed.and_then(|text| Signer::parse(text).map_err(|error| error.to_string())) {
        Ok(signer) => Standing::Known(Box::new(signer)),
        Err(what) => Standing::Damaged(what),
    })
}

/// Makes a new key under `origin`; what is at its place is set aside. It is written and synced as a draft first, so
/// that its name never shows half a key.
pub(super) fn make(disk: &dyn Disk, origin: &str) -> io::Result<Signer> {
    let mut seed = [0; 32];
    fill_random(&mut seed)?;
    let signer = Signer::from_seed(origin, seed);
    if disk.identity(KEY)?.is_some() {
        set_aside(disk, KEY, "damaged")?;
    }
    put(disk, KEY, format!("{}\n", signer.to_text()).as_bytes())?;
    Ok(signer)
}

/// Puts the public key where it is missing. One of another key is set aside: it checks what was signed before.
pub(super) fn publish(disk: &dyn Disk, signer: &Signer, problems: &mut Vec<Problem>) -> io::Result<()> {
    let text = format!("{}\n", signer.verifier().to_text());
    let there = disk.read(PUBLIC_KEY)?;
    if there.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    if let Some(there) = there {
        let other = std::str::from_utf8(&there).ok().and_then(|text| Verifier::parse(text).ok());
        let what = if other.is_some() { "another key than the log's" } else { "damaged" };
        let aside = set_aside(disk, PUBLIC_KEY, "replaced")?;
        let what = format!("{what}; set aside as `{aside}` and written anew");
        problems.push(Problem::File { path: PUBLIC_KEY.to_owned(), what });
    }
    put(disk, PUBLIC_KEY, text.as_bytes())
}

/// A name for a new log: `interdict/<edge>/<16 hex>`.
pub(super) fn new_origin(edge: &str) -> io::Result<String> {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '-' };
    let edge: String = edge.chars().map(plain).collect();
    let mut random = [0; 8];
    fill_random(&mut random)?;
    let edge = if edge.is_empty() { "-" } else { &edge };
    Ok(format!("interdict/{edge}/{:016x}", u64::from_be_bytes(random)))
}

/// Puts the two key files back after somebody deleted them under us.
pub(super) fn restore(disk: &dyn Disk, signer: &Signer) -> io::Result<()> {
    for (path, text) in [(KEY, signer.to_text()), (PUBLIC_KEY, signer.verifier().to_text())] {
        match disk.identity(path)? {
            Some(_) => {}
            None => put(disk, path, format!("{text}\n").as_bytes())?,
        }
    }
    Ok(())
}

/// Why a key that is there cannot be used, as a problem and as an error have it.
pub(super) fn damaged(what: &str) -> Problem {
    Problem::File { path: KEY.to_owned(), what: invalid(what).to_string() }
}
