//! Proofs for others: that one record is in the signed log, and the whole tree in the form of C2SP tlog-tiles.
//!
//! ```text
//! tree   one epoch's hashes: from tiles and indexes where they stand, else from the lines
//! proof  a file that proves one record by itself; how it is made and checked
//! tiles  checkpoint, tiles and entry bundles as other logs publish them
//! ```
//!
//! Nothing is handed out that does not lead to the signed root.

mod proof;
mod tiles;
mod tree;

#[cfg(test)]
mod tests;

pub use proof::{Proof, ProofFileError, Proven, Prover, prove, verify_proof};
pub use tiles::{ExportedTiles, export_tiles};
pub use tree::ProveError;
