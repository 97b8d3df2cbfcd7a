//! Client addresses in records: [`ClientText`] is the only way from an address into a record.
//!
//! ```text
//! request:  Ring        the key of the period, from memory
//! disk:     KeyDirectory -> History (which period was in force when) -> a key file a period
//! tools:    Revealer    from a record's pseudonym and time back to the address
//! ```

mod client;
mod directory;
mod history;
mod key;
mod period;
mod record;
mod reveal;
mod ring;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use jiff::Timestamp;
use rustix::rand::{GetRandomFlags, getrandom};

pub use self::client::{ClientText, ClientTextError};
pub(super) use self::directory::KeyDirectory;
pub use self::key::KeyError;
pub(super) use self::period::Span;
pub use self::period::{Period, UnknownPeriod};
pub use self::record::Revealed;
pub use self::reveal::{RevealError, Revealer};
use self::ring::Ring;

/// How much of a client's address goes into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPrivacy {
    /// The whole address.
    Full,
    /// Its network: /24 for IPv4, /48 for IPv6.
    Truncated,
    /// A pseudonym (ipcrypt-deterministic): in one period the same client has the same pseudonym, and only the
    /// period's key leads back to the address. Once the key is destroyed, nothing does.
    Pseudonym(Pseudonyms),
}

/// Where the keys of the pseudonyms are, and how long each lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudonyms {
    /// The directory of the keys, for its owner only; made when it is not there. A plain file at this path is the one
    /// key of an earlier version: it is moved into the directory and stays the key of everything before.
    pub keys: PathBuf,
    /// How long a key lasts.
    pub period: Period,
}

/// The privacy in force, with its key loaded.
pub(super) enum Privacy {
    Full,
    Truncated,
    Pseudonym(Box<Ring>),
}

impl Privacy {
    /// Loads the key of `now` where one is needed, and makes it at the first start.
    pub(super) fn load(mode: &ClientPrivacy, now: Timestamp) -> Result<Self, KeyError> {
        Ok(match mode {
            ClientPrivacy::Full => Self::Full,
            ClientPrivacy::Truncated => Self::Truncated,
            ClientPrivacy::Pseudonym(Pseudonyms { keys, period }) => {
                Self::Pseudonym(Box::new(Ring::open(keys, *period, now)?))
            }
        })
    }

    /// What may be recorded of `client` in a record of the time `now`. An IPv4-mapped IPv6 address is the IPv4
    /// address.
    pub(super) fn text(&self, client: IpAddr, now: Timestamp) -> ClientText {
        match (self, client.to_canonical()) {
            (Self::Full, address) => ClientText::whole(address),
            (Self::Pseudonym(ring), address) => ring.text(address, now),
            (Self::Truncated, IpAddr::V4(v4)) => {
                let [a, b, c, _] = v4.octets();
                ClientText::network(Ipv4Addr::new(a, b, c, 0).into(), 24)
            }
            (Self::Truncated, IpAddr::V6(v6)) => {
                let [a, b, c, ..] = v6.segments();
                ClientText::network(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into(), 48)
            }
        }
    }

    /// Looks after the keys, off the request path; a timer calls this every 100 ms to 1 s.
    pub(super) fn tend(&self, now: Timestamp) {
        if let Self::Pseudonym(ring) = self {
            ring.tend(now);
        }
    }

    /// What is wrong with the keys, if anything: then records are written all the same, see [`RevealError::Lost`].
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Pseudonym(ring) => ring.trouble(),
            Self::Full | Self::Truncated => None,
        }
    }
}

/// Fills `buffer` with random bytes of the kernel.
pub(super) fn fill_random(mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let filled = getrandom(&mut *buffer, GetRandomFlags::empty())?;
        buffer = buffer.get_mut(filled..).unwrap_or_default();
    }
    Ok(())
}
