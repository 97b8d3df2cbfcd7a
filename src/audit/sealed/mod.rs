//! The sealed store: lines in segments, over them a Merkle tree with signed checkpoints.

mod bloom;
mod index;
mod names;
mod reader;
mod text;

pub use bloom::Filter;
pub use index::{IndexBuilder, IndexError, SegmentIndex, Term};
pub use reader::{SegmentError, SegmentFile, SegmentLines, segments};
pub use text::SegmentLine;
mod stub; pub(super) use stub::*;
