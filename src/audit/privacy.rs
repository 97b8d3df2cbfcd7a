//! Client addresses in records: [`ClientText`] is the only way from an address into a record.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ipcrypt_rs::Ipcrypt;
use rustix::rand::{GetRandomFlags, getrandom};

/// How much of a client's address goes into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPrivacy {
    /// The whole address.
    Full,
    /// Its network: /24 for IPv4, /48 for IPv6.
    Truncated,
    /// A pseudonym (ipcrypt-deterministic): the same client has the same pseudonym, and only the key, held in this
    /// file, leads back to the address. The file is made at the first start.
    Pseudonym(PathBuf),
}

/// Why the key of the pseudonyms cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or making the file failed.
    #[error("key file `{}`: {error}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Others than the owner may read or change the key.
    #[error("key file `{}` has mode {mode:04o}: only its owner may have access, run `chmod 600` on it", path.display())]
    Open {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("key file `{}` does not hold a key: 32 hexadecimal digits are needed", path.display())]
    Content {
        /// The key file.
        path: PathBuf,
    },
}

/// A client's address in the form in which it may be recorded. Only the configured privacy makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientText {
    address: IpAddr,
    prefix: Option<u8>,
}

impl fmt::Display for ClientText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            None => write!(f, "{}", self.address),
            Some(prefix) => write!(f, "{}/{prefix}", self.address),
        }
    }
}

/// The privacy in force, with its key loaded.
pub(super) enum Privacy {
    Full,
    Truncated,
    Pseudonym(Box<Ipcrypt>),
}

impl Privacy {
    /// Loads the key where one is needed, and makes it at the first start.
    pub(super) fn load(mode: &ClientPrivacy) -> Result<Self, KeyError> {
        match mode {
            ClientPrivacy::Full => Ok(Self::Full),
            ClientPrivacy::Truncated => Ok(Self::Truncated),
            ClientPrivacy::Pseudonym(path) => {
                let io = |error| KeyError::Io { path: path.clone(), error };
                let file = match File::open(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        create_key(path).map_err(io)?;
                        File::open(path).map_err(io)?
                    }
                    other => other.map_err(io)?,
                };
                Ok(Self::Pseudonym(Box::new(Ipcrypt::new(read_key(path, file)?))))
            }
        }
    }

    /// What may be recorded of `client`. An IPv4-mapped IPv6 address is the IPv4 address.
    pub(super) fn text(&self, client: IpAddr) -> ClientText {
        let client = client.to_canonical();
        match (self, client) {
            (Self::Full, address) => ClientText { address, prefix: None },
            (Self::Pseudonym(key), address) => {
                ClientText { address: key.encrypt_ipaddr(address), prefix: None }
            }
            (Self::Truncated, IpAddr::V4(v4)) => {
                let [a, b, c, _] = v4.octets();
                ClientText { address: Ipv4Addr::new(a, b, c, 0).into(), prefix: Some(24) }
            }
            (Self::Truncated, IpAddr::V6(v6)) => {
                let [a, b, c, ..] = v6.segments();
                ClientText { address: Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into(), prefix: Some(48) }
            }
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

fn read_key(path: &Path, file: File) -> Result<[u8; Ipcrypt::KEY_BYTES], KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    let content = || KeyError::Content { path: path.to_owned() };
    file.take(64).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => content(),
        _ => io(error),
    })?;
    let digits = text.trim_end_matches(['\n', '\r']);
    if digits.len() != 2 * Ipcrypt::KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(content());
    }
    Ok(u128::from_str_radix(digits, 16).map_err(|_| content())?.to_be_bytes())
}

/// Makes the key file: written and synced under another name, then linked, so that the name never shows half a key
/// and a key that another process made in the meantime is not replaced.
fn create_key(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut key = [0; Ipcrypt::KEY_BYTES];
    fill_random(&mut key)?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let made = writeln!(file, "{:032x}", u128::from_be_bytes(key))
        .and_then(|()| file.sync_all())
        .and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        })
        .and_then(|()| File::open(directory)?.sync_all());
    std::fs::remove_file(&draft)?;
    made
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    fn pseudonym(path: &Path) -> Result<Privacy, KeyError> {
        Privacy::load(&ClientPrivacy::Pseudonym(path.to_owned()))
    }

    #[test]
    fn a_pseudonym_agrees_with_the_published_vectors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for (key, client, expected) in [
            ("0123456789abcdeffedcba9876543210", "0.0.0.0", "bde9:6789:d353:824c:d7c6:f58a:6bd2:26eb"),
            ("2b7e151628aed2a6abf7158809cf4f3c", "192.0.2.1", "1dbd:c1b9:fff1:7586:7d0b:67b4:e76e:4777"),
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "::ffff:192.0.2.1",
                "1dbd:c1b9:fff1:7586:7d0b:67b4:e76e:4777",
            ),
        ] {
            std::fs::write(&path, key).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(pseudonym(&path).unwrap().text(client.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/client.key");
        let client = "2001:db8::1".parse().unwrap();
        let first = pseudonym(&path).unwrap().text(client);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(pseudonym(&path).unwrap().text(client), first);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        assert_ne!(pseudonym(&path).unwrap().text(client), first);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        drop(pseudonym(&path).unwrap());
        for mode in [0o640, 0o604, 0o620, 0o601] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(pseudonym(&path), Err(KeyError::Open { mode: found, .. }) if found == mode));
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for content in
            ["", "00", "+123456789abcdeffedcba9876543210", "0123456789abcdeffedcba98765432100", "\u{e9}\n"]
        {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(pseudonym(&path), Err(KeyError::Content { .. })), "{content}");
        }
        std::fs::write(&path, b"\xff\xff").unwrap();
        assert!(matches!(pseudonym(&path), Err(KeyError::Content { .. })));
    }

    #[test]
    fn truncation_keeps_the_network_only() {
        for (client, expected) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(Privacy::Truncated.text(client.parse().unwrap()).to_string(), expected);
            assert_eq!(
                Privacy::Full.text(client.parse().unwrap()).to_string(),
                client.trim_start_matches("::ffff:")
            );
        }
    }
}
