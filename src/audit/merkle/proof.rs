//! Proofs that a leaf is in a tree and that one tree goes on from another (RFC 6962 §2.1.1, §2.1.2; checked as RFC
//! 9162 §2.1.3.2 and §2.1.4.2 say).

use super::{
    hash::{Hash, empty_root, fold, node_hash},
    range::{MAX_SIZE, subtrees},
};

/// The proof does not prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf in such a tree, or the older tree is the larger one.
    #[error("{index} is not within a tree of {size} leaves")]
    Index {
        /// The leaf, or the size of the older tree.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The path has more or fewer hashes than it must have.
    #[error("a path of {0} hashes does not lead to the root")]
    Length(usize),
    /// The hashes lead to another root than that of the tree.
    #[error("the path leads to another root")]
    Root,
    /// The hashes lead to another root than that of the older tree.
    #[error("the path leads to another root of the older tree")]
    OldRoot,
}

/// Where the hashes of perfect subtrees come from.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The root over the 2^`level` leaves that start with leaf `index` · 2^`level`.
    ///
    /// # Errors
    /// When it cannot be had.
    fn subtree(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Checks that `leaf` is leaf `index` of the tree of `size` leaves with this root.
///
/// # Errors
/// When the path does not prove it.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    let Some(mut last) = size.checked_sub(1).filter(|last| index <= *last && size <= MAX_SIZE) else {
        return Err(ProofError::Index { index, size });
    };
    let mut index = index;
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Length(path.len()));
        }
        if index & 1 == 1 || index == last {
            hash = node_hash(sibling, &hash);
            skip_missing_siblings(&mut index, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    match (last == 0, hash == *root) {
        (false, _) => Err(ProofError::Length(path.len())),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// On the right edge a node without a sibling is its own parent.
fn skip_missing_siblings(index: &mut u64, last: &mut u64) {
    while *index & 1 == 0 && *index != 0 {
        (*index, *last) = (*index >> 1, *last >> 1);
    }
}

/// Checks that the tree of `size` leaves begins with all leaves of the tree of `old_size`.
///
/// The empty tree is the beginning of every tree; its path is empty.
///
/// # Errors
/// When the path does not prove it.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if old_size > size || size > MAX_SIZE {
        return Err(ProofError::Index { index: old_size, size });
    }
    if old_size == 0 || old_size == size {
        let expected = if old_size == 0 { empty_root() } else { *root };
        return match (path.is_empty(), *old_root == expected) {
            (false, _) => Err(ProofError::Length(path.len())),
            (true, false) => Err(ProofError::OldRoot),
            (true, true) => Ok(()),
        };
    }
    let (mut index, mut last) = (old_size - 1, size - 1);
    while index & 1 == 1 {
        (index, last) = (index >> 1, last >> 1);
    }
    // An old tree that is one perfect subtree starts the path itself.
    let (start, rest) = match path.split_first() {
        _ if old_size.is_power_of_two() => (*old_root, path),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length(0)),
    };
    let (mut old, mut new) = (start, start);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length(path.len()));
        }
        if index & 1 == 1 || index == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            skip_missing_siblings(&mut index, &mut last);
        } else {
            new = node_hash(&new, sibling);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    match (last == 0, new == *root, old == *old_root) {
        (false, ..) => Err(ProofError::Length(path.len())),
        (true, false, _) => Err(ProofError::Root),
        (true, true, false) => Err(ProofError::OldRoot),
        (true, true, true) => Ok(()),
    }
}

/// The root of the tree of `size` leaves.
///
/// # Errors
/// When a hash cannot be had.
pub fn root_of<N: Nodes>(nodes: &mut N, size: u64) -> Result<Hash, N::Error> {
    root_between(nodes, 0, size)
}

/// The root over the leaves from `start` to before `end`, where `start` is a multiple of a power of two that is not
/// less than their number: the subtrees become smaller from left to right.
fn root_between<N: Nodes>(nodes: &mut N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let hashes: Vec<Hash> =
        subtrees(start, end).map(|(level, index)| nodes.subtree(level, index)).collect::<Result<_, _>>()?;
    Ok(fold(hashes.iter()).unwrap_or_else(empty_root))
}

/// The path of leaf `index` in the tree of `size` leaves, from the leaf up; empty when there is no such leaf.
///
/// # Errors
/// When a hash cannot be had.
pub fn inclusion_proof<N: Nodes>(nodes: &mut N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, if index < size { size } else { 0 });
    while let Some(middle) = split(start, end) {
        if index < middle {
            path.push(root_between(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(root_between(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The path from the tree of `old` leaves to that of `new` leaves; empty when one of them says it all.
///
/// # Errors
/// When a hash cannot be had.
pub fn consistency_proof<N: Nodes>(nodes: &mut N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let Some(middle) = split(start, end) else { break };
        if old <= middle {
            path.push(root_between(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(root_between(nodes, start, middle)?);
            start = middle;
        }
    }
    // A subtree that starts with leaf 0 is the whole old tree, whose root is known.
    if start > 0 {
        path.push(root_between(nodes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Where the two subtrees of the root over these leaves meet; `None` for a leaf or nothing.
fn split(start: u64, end: u64) -> Option<u64> {
    let half = end.checked_sub(start)?.checked_sub(1)?.checked_ilog2()?;
    Some(start + (1 << half))
}
