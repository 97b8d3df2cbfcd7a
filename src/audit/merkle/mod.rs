//! Merkle trees (RFC 6962 §2), tiles (C2SP tlog-tiles), signed notes and checkpoints: the mathematics of the log.
//!
//! ```text
//! hash        leaves and nodes
//! range       perfect subtrees that cover some leaves: what a segment is, and what joins to a root
//! frontier    the right edge of a growing tree, tile by tile
//! growth      a tree and a range of it that grow by the same leaves
//! tile        up to 256 hashes beside each other, and where they are kept
//! proof       inclusion and consistency: made from subtrees, checked from hashes alone
//! note        a text and an Ed25519 signature under it
//! checkpoint  the size and root of a tree, as the text of a note
//! ```
//!
//! Nothing here reads a file or a clock; no input makes it panic.

mod checkpoint;
mod frontier;
mod growth;
mod hash;
mod note;
mod proof;
mod range;
mod tile;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use frontier::{Frontier, FrontierError};
pub use growth::Growth;
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use note::{NoteError, Signer, Verifier};
pub use proof::{
    Nodes, ProofError, consistency_proof, inclusion_proof, root_of, verify_consistency, verify_inclusion,
};
pub use range::{MAX_SIZE, Range, RangeError, subtrees};
pub use tile::{TILE_WIDTH, Tile, TileError, TileName};
