//! The sealed store: lines in segments, over them a Merkle tree, over it a signed checkpoint.
//!
//! ```text
//! append    pwrite                                        whole lines at the end of the open segment
//! commit    fdatasync segment -> pread, compare, hash     never a checkpoint over bytes that were not read back
//!           full tiles of level >= 1                      each: draft, fdatasync, rename, fsync folder
//!           checkpoint                                    the same; from here on the lines are sealed
//!           witness                                       outside the directory: draft, fdatasync, rename
//! rotation  partial tiles, kept checkpoint                after a commit only, so that a segment ends with a seal
//!           open(O_EXCL) of the next segment, fsync segments/
//! trouble   unsealed lines are cut off, or the segment is given up and the next one starts after its last sealed line
//! ```
//!
//! A crash between any two of these calls leaves the newest checkpoint and every line under it; lines beyond it are
//! whole, and are kept, or are half, and are set aside.

mod account;
mod archive;
mod at;
mod bloom;
mod borders;
mod covered;
mod epoch;
mod fault;
mod index;
mod key;
mod listing;
mod names;
mod open;
mod pending;
mod place;
mod reader;
mod rebuild;
mod resume;
mod scan;
mod segment;
mod store;
mod sum;
mod text;
mod tree;
mod witness;

#[cfg(test)]
mod tests;

pub(super) use account::Account;
pub use account::{Missing, missing};
pub(super) use archive::Archive;
pub use bloom::Filter;
pub(super) use borders::Borders;
pub(super) use covered::covered;
pub use index::{IndexBuilder, IndexError, SegmentIndex, Term};
pub use reader::{SegmentError, SegmentFile, SegmentLines, segments};
pub(super) use store::{SealOptions, Sealed};
pub use text::SegmentLine;
