//! Reads `edge.toml` from disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Config, EdgeName, Node};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::{document, limits};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is read and cannot be used; one diagnostic a line.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to the directory it is in.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        read(path, Self::settle)
    }
}

impl Node {
    /// Reads `edge` and `[policy]` of a configuration file, whatever is wrong in the rest of it: a command that is needed
    /// now does not wait for somebody to mend a route. The file must be TOML, and have the section.
    ///
    /// # Errors
    /// When the file cannot be read, or something in these two is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        read(path, Self::settle)
    }
}

fn read<T>(
    path: &Path,
    settle: impl FnOnce(&str, &str, &Path, EdgeName) -> Result<T, Diagnostics>,
) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let bytes = read_bounded(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limits::CONFIG_FILE_BYTES {
        let message = format!("the file has more than {} bytes", limits::CONFIG_FILE_BYTES);
        return Err(ConfigError::Invalid(Diagnostic::error(name, message).into()));
    }
    let text = document::text_of(&name, &bytes).map_err(Diagnostics::from)?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    Ok(settle(text, &name, base_dir, machine_name())?)
}

/// One byte more than allowed is read at most, so that a huge or endless file takes no memory.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::CONFIG_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn machine_name() -> EdgeName {
    let system = rustix::system::uname();
    system.nodename().to_str().ok().and_then(EdgeName::parse).unwrap_or_default()
}
