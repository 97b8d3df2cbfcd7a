//! Finds records: which segments may hold any, which lines may be one, which are.
//!
//! ```text
//! index    a closed segment's times, kinds and filter say that nothing is in it: it is not opened
//! needle   a line without the bytes of every term is none: it is not parsed
//! parse    what is left is read as JSON and compared field by field
//! ```
//!
//! Segments are read side by side, one thread a processor; what they give comes out in the log's order. The newest
//! records, which are not sealed yet, are read after them.

mod query;
mod reached;
mod scan;

use std::ops::ControlFlow;
use std::path::Path;

use self::query::Verdict;
use super::read::{Cursor, ReadError};

pub use query::Query;
pub use scan::{SearchError, SearchProblem, Searched, search};

/// Why a log could not be searched to its end.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The segments cannot be listed.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The newest records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Hands every record of the log in `directory` that `query` finds to `each`, sealed or not, in order and without its
/// newline, until that breaks.
///
/// # Errors
/// When the segments cannot be listed or the newest records cannot be read. What else cannot be read is in
/// [`Searched::problems`].
pub fn find(
    directory: &Path,
    query: &Query,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Searched, FindError> {
    let mut searched = search(directory, query, each)?;
    let done = searched.stopped || (query.id.is_some() && searched.found > 0);
    if !done {
        newest(directory, query, each, &mut searched)?;
        if query.id.is_some() && searched.found > 0 {
            // It is not one of those that are missing.
            searched.problems.retain(|problem| !matches!(problem, SearchProblem::Missing { .. }));
        }
    }
    Ok(searched)
}

/// The records after the last sealed one: those of the journal, and those that were sealed since.
fn newest(
    directory: &Path,
    query: &Query,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    searched: &mut Searched,
) -> Result<(), ReadError> {
    let matcher = query.matcher();
    let mut cursor = Cursor::open(directory, searched.last_segment)?;
    let mut is_new = searched.last_seq == 0;
    while let Some(item) = cursor.next()? {
        match item {
            Ok(record) if record.seq <= searched.last_seq => {}
            Ok(record) => {
                is_new = true;
                if matcher.judge(&record.line) == Verdict::Found {
                    searched.found += 1;
                    if each(&record.line).is_break() {
                        searched.stopped = true;
                        return Ok(());
                    }
                }
            }
            Err(problem) if is_new => searched.problems.push(SearchProblem::Unsealed(problem)),
            // What is wrong with sealed records was told by the search.
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
