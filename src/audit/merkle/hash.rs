//! The two hashes of RFC 6962 §2.1; their first byte keeps a leaf from ever being taken for a node.

use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The hash of a leaf: SHA-256(0x00 || data).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut message = [1; 65];
    for (to, from) in message.iter_mut().skip(1).zip(left.iter().chain(right)) {
        *to = *from;
    }
    Sha256::digest(message).into()
}

/// The root of a tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root over perfect subtrees from left to right, each smaller than all before it: `None` over nothing.
pub(super) fn fold<'h>(hashes: impl DoubleEndedIterator<Item = &'h Hash>) -> Option<Hash> {
    let mut hashes = hashes.rev();
    let last = *hashes.next()?;
    Some(hashes.fold(last, |right, left| node_hash(left, &right)))
}
