//! From a pseudonym back to the address.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use jiff::Timestamp;

use super::{
    client::ClientText,
    directory::KeyDirectory,
    key::{Key, KeyError},
    ring,
};

/// Why an address cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum RevealError {
    /// Only the network, or an IPv4 address, was recorded: it is no pseudonym.
    #[error("`{0}` is no pseudonym")]
    NoPseudonym(ClientText),
    /// The pseudonym was made while no key could be stored. Its key ended with the process.
    #[error("`{0}` was recorded while no key could be stored: nobody can reveal it")]
    Lost(ClientText),
    /// The key is not there.
    #[error("there is no key of `{label}`: it was removed, or this is not the key directory of this log")]
    Absent {
        /// The period.
        label: String,
    },
    /// There is no key directory, or it was never used.
    #[error("there are no keys for {0}")]
    NoKeys(Timestamp),
    /// The key was destroyed or cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl RevealError {
    /// Whether the disk is at fault, rather than the answer being no.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Key(error) if !matches!(error, KeyError::Destroyed { .. }))
    }
}

/// Leads pseudonyms back to addresses, with the keys of a key directory.
///
/// A pseudonym carries no checksum: one whose key was replaced by hand leads to a wrong address, not to an error.
pub struct Revealer {
    directory: KeyDirectory,
    known: BTreeMap<String, Key>,
}

impl Revealer {
    /// Reads which period was in force when. Keys are read when they are needed.
    ///
    /// # Errors
    /// When the directory cannot be read or others may read it.
    pub fn open(keys: &Path) -> Result<Self, KeyError> {
        Ok(Self { directory: KeyDirectory::read(keys)?, known: BTreeMap::new() })
    }

    /// The address behind the `client` of a record of the time `time`.
    ///
    /// # Errors
    /// When it is no pseudonym, or its key is not there any more.
    pub fn reveal(&mut self, client: ClientText, time: Timestamp) -> Result<IpAddr, RevealError> {
        let Some(pseudonym @ IpAddr::V6(_)) = client.address() else {
            return Err(RevealError::NoPseudonym(client));
        };
        if client.is_lost() {
            return Err(RevealError::Lost(client));
        }
        let label = self.directory.span(time).ok_or(RevealError::NoKeys(time))?.label;
        let key = match self.known.get(&label) {
            Some(key) => *key,
            None => {
                let found = self.directory.load(&label)?;
                let key = found.ok_or_else(|| RevealError::Absent { label: label.clone() })?;
                self.known.insert(label, key);
                key
            }
        };
        Ok(ring::reveal(key, pseudonym))
    }
}
