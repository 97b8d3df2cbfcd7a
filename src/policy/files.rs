//! A policy directory as it was at one moment, in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::background::breathe;
use crate::diagnostic::Diagnostic;
use crate::limits;

/// The SHA-256 digest that names the content of a file or of a policy set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of this content. Requests come in between when it is long.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut hash = Sha256::new();
        let mut pieces = content.chunks(limits::HASH_PIECE_BYTES);
        hash.update(pieces.next().unwrap_or_default());
        for piece in pieces {
            breathe();
            hash.update(piece);
        }
        Self(hash.finalize().into())
    }

    /// Reads the 64 hexadecimal digits that [`Display`](fmt::Display) writes; upper case is not taken.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// A digest of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a SHA-256 has 64 hexadecimal digits"))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One file of a policy set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// The length of its content.
    pub bytes: u64,
    /// The content. A list that was read before, or is too long to be held, is left where it is.
    pub content: Option<Arc<[u8]>>,
}

impl PolicyFile {
    /// A file that is at hand.
    #[must_use]
    pub fn new(content: Arc<[u8]>) -> Self {
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Self { digest: Digest::of(&content), bytes, content: Some(content) }
    }
}

/// Where the content of files is that are not at hand.
pub trait Contents {
    /// The content of a file of the set, which has the digest that the set says.
    ///
    /// # Errors
    /// When it cannot be read, or is another one by now.
    fn content(&self, path: &str, file: &PolicyFile) -> io::Result<Arc<[u8]>>;
}

/// The files of a policy set: what was found in the policy directory, and nothing else of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// The files by path, relative to the policy directory and with `/`: `cases/a.toml`.
    pub files: BTreeMap<String, PolicyFile>,
}

impl Contents for PolicyFiles {
    fn content(&self, path: &str, _file: &PolicyFile) -> io::Result<Arc<[u8]>> {
        let file = self.files.get(path).and_then(|file| file.content.clone());
        file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the file is not at hand"))
    }
}

impl PolicyFiles {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one file.
    pub fn insert(&mut self, path: impl Into<String>, content: impl Into<Arc<[u8]>>) {
        self.files.insert(path.into(), PolicyFile::new(content.into()));
    }

    /// The content of one file, when it is at hand.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path)?.content.as_deref()
    }

    /// Whether there is such a file, at hand or not.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The case files, in the order of their paths.
    pub fn cases(&self) -> impl Iterator<Item = (&str, &PolicyFile)> {
        self.under("cases/").filter(|(path, _)| Self::belongs(path))
    }

    /// The files of one directory of the set, in the order of their paths.
    pub fn under<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a PolicyFile)> {
        let from = self.files.range::<str, _>((Bound::Included(directory), Bound::Unbounded));
        from.take_while(move |(path, _)| path.starts_with(directory))
            .map(|(path, file)| (path.as_str(), file))
    }

    /// Whether a file is part of a policy set: `cases/*.toml`, `pages/*.html`, and whatever `lists` holds, in
    /// subdirectories too. Hidden files and the copies that editors leave behind are not.
    #[must_use]
    pub fn belongs(path: &str) -> bool {
        let Some((directory, rest)) = path.split_once('/') else { return false };
        let visible = rest.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '#']));
        let settled = visible && !rest.ends_with('~');
        match directory {
            "cases" => settled && !rest.contains('/') && rest.ends_with(".toml"),
            "pages" => settled && !rest.contains('/') && rest.ends_with(".html"),
            "lists" => settled,
            _ => false,
        }
    }

    /// What is wrong with the size of a file of the set, if anything; to be asked before it is read.
    #[must_use]
    pub fn check_size(path: &str, bytes: u64) -> Option<Diagnostic> {
        let (kind, most, hint) = match path.split_once('/') {
            Some(("lists", _)) => ("a host list", limits::LIST_FILE_BYTES, "split it into several lists"),
            Some(("pages", _)) => {
                ("a block page", limits::PAGE_FILE_BYTES, "leave out embedded images and fonts")
            }
            _ => (
                "a case file",
                limits::CASE_FILE_BYTES,
                "move its hosts into a list and name that in `host_lists`",
            ),
        };
        (bytes > most).then(|| {
            let message = format!("the file has {bytes} bytes, more than the {most} that {kind} may have");
            Diagnostic::error(path, message).with_hint(hint)
        })
    }

    /// What is wrong with the size of the set as a whole, if anything.
    #[must_use]
    pub fn check_total(files: usize, bytes: u64) -> Option<Diagnostic> {
        let message = if files > limits::FILES_PER_SET {
            format!("the policy set has more than the {} files allowed", limits::FILES_PER_SET)
        } else if bytes > limits::SET_BYTES {
            format!("the policy set has more than the {} bytes allowed", limits::SET_BYTES)
        } else {
            return None;
        };
        Some(
            Diagnostic::error("cases", message)
                .with_hint("put several names into one case, or several lists into one"),
        )
    }

    /// The name of this content: SHA-256 over every file in the order of the paths, each as the length of its
    /// path (8 bytes, big endian), its path, and the SHA-256 of its content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut whole = Sha256::new();
        for (path, file) in &self.files {
            // A path is never as long as 2^64 bytes; the conversion only widens.
            whole.update(u64::try_from(path.len()).unwrap_or(u64::MAX).to_be_bytes());
            whole.update(path.as_bytes());
            whole.update(file.digest.as_bytes());
        }
        Digest(whole.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> PolicyFiles {
        let mut all = PolicyFiles::new();
        for (path, content) in files {
            all.insert(*path, content.as_bytes());
        }
        all
    }

    #[test]
    fn the_digest_changes_with_every_path_and_byte_and_with_nothing_else() {
        let base = set(&[("cases/a.toml", "x"), ("cases/b.toml", "y")]);
        assert_eq!(base.digest(), set(&[("cases/b.toml", "y"), ("cases/a.toml", "x")]).digest());
        assert_ne!(base.digest(), set(&[("cases/a.toml", "x"), ("cases/b.toml", "z")]).digest());
        assert_ne!(base.digest(), set(&[("cases/a.toml", "x"), ("cases/c.toml", "y")]).digest());
        assert_ne!(base.digest(), set(&[("cases/a.toml", "x")]).digest());
    }

    #[test]
    fn a_digest_is_read_back_as_it_was_written() {
        let digest = set(&[("cases/a.toml", "x")]).digest();
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("00"), None);
        assert_eq!(Digest::parse(&"g".repeat(64)), None);
        assert_eq!(Digest::parse(&"é".repeat(32)), None);
    }

    #[test]
    fn the_empty_set_has_the_digest_of_nothing() {
        assert_eq!(
            PolicyFiles::new().digest().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn editor_copies_and_hidden_files_do_not_belong_to_a_set() {
        for path in ["cases/a.toml", "lists/a.txt", "lists/vendor/a.txt", "pages/a.de.html"] {
            assert!(PolicyFiles::belongs(path), "{path}");
        }
        for path in [
            "cases/.a.toml.swp",
            "cases/.#a.toml",
            "cases/#a.toml#",
            "cases/a.toml~",
            "cases/a.toml.orig",
            "cases/sub/a.toml",
            "cases/.toml",
            "lists/.git/x",
            "lists/a.txt~",
            "pages/a.css",
            "README.md",
            "other/a.toml",
        ] {
            assert!(!PolicyFiles::belongs(path), "{path}");
        }
    }

    #[test]
    fn a_file_over_its_bound_is_refused_with_both_numbers() {
        assert_eq!(PolicyFiles::check_size("lists/a.txt", limits::LIST_FILE_BYTES), None);
        let refused = PolicyFiles::check_size("lists/a.txt", 100_000_000).unwrap();
        assert!(refused.message.contains("100000000") && refused.message.contains("67108864"), "{refused}");
    }
}
