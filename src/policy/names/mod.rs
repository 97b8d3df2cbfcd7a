//! The host index: which cases name a host, or a parent of it.
//!
//! Names lie in layers that never change. A large set is an [image](image), made from sorted names; what a changed case
//! adds is a [table](table) beside it, at the cost of its own names. What a case no longer names stays in its layer,
//! where the case has lost its place, until layers are [merged](layers::Layers::merged) beside the traffic. A filter says
//! "surely not here" of most names; only the names themselves say "here".

mod filter;
mod finger;
mod hash;
mod image;
mod layer;
mod layers;
mod pace;
mod pages;
mod posting;
mod run;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use finger::Fingers;
pub(crate) use image::BuildError;
pub use image::ReadAt;
pub(crate) use layer::{Layer, NamesKey, NamesOf};
pub(crate) use layers::{Layers, Named};
pub(crate) use posting::{Forms, IndexFull};
pub(crate) use run::Unsorted;
pub use run::{MemorySpool, Run, Spool, Spooled};
pub(crate) use table::PatternSet;
