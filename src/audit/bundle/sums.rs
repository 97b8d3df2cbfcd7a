//! The manifest: lines of 64 hexadecimal digits, two blanks and a name, sorted by name.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The SHA-256 of each file by its name.
pub(super) type Sums = BTreeMap<String, [u8; 32]>;

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// The manifest's text.
pub(super) fn text(sums: &Sums) -> String {
    sums.iter().map(|(name, hash)| format!("{}  {name}\n", hex(hash))).collect()
}

/// Reads what [`text`] writes, and nothing else.
pub(super) fn parse(bytes: &[u8]) -> Option<Sums> {
    let mut sums = Sums::new();
    for line in std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n') {
        let (digits, name) = line.split_once("  ")?;
        sums.insert(name.to_owned(), unhex(digits)?);
    }
    // One spelling only: sorted, lower case, no name twice.
    (text(&sums).as_bytes() == bytes).then_some(sums)
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_has_one_spelling() {
        let sums = Sums::from([("a".to_owned(), sha256(b"a")), ("b c".to_owned(), sha256(b""))]);
        let written = text(&sums);
        assert!(written.contains("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b c\n"));
        assert_eq!(parse(written.as_bytes()), Some(sums));
        for broken in [
            written.to_uppercase(),
            written.replace("  ", " "),
            written.trim_end().to_owned(),
            written.lines().rev().map(|line| format!("{line}\n")).collect(),
            format!("{written}{written}"),
            written.replacen('c', "+", 1),
            String::new(),
        ] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }
}
