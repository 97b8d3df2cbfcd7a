//! The journal: what has been acknowledged and is not sealed yet.
//!
//! Each process writes a *lane* of its own, a row of files mapped into its memory; recording an event is a copy into
//! that memory. The kernel has the bytes from then on, whatever becomes of the process. The sealer reads the lanes of
//! all processes, the living and the dead, and removes a file when all of it is sealed.

mod codec;
mod commit;
mod header;
mod lane;
mod lanes;
mod prepared;
mod reader;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use lane::SLOT;

pub(super) use codec::{Asked, Decision, Draft, Entry, Facts, List, decode, parse};
pub(super) use commit::{Commit, CommitRound};
pub(super) use header::{DRAFT, Header};
pub(super) use lane::{LANE_BYTES, Lane, LaneFile, is_space};
pub(super) use lanes::{LaneState, Source, earliest, place_of};
pub(super) use prepared::Prepared;
pub(super) use reader::{LaneReader, is_unused};
