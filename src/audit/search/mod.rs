//! Finds records: which segments may hold any, which lines may be one, which are.
//!
//! ```text
//! index    a closed segment's times, kinds and filter say that nothing is in it: it is not opened
//! needle   a line without the bytes of every term is none: it is not parsed
//! parse    what is left is read as JSON and compared field by field
//! ```
//!
//! Segments are read side by side, one thread a processor; what they give comes out in the log's order.

mod query;
mod scan;

pub use query::Query;
pub use scan::{SearchError, SearchProblem, Searched, search};
