//! How far a search came, and which records are missing from what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::super::sealed::Account;
use super::query::Query;
use super::scan::{SearchProblem, Searched};

/// How far segments were searched.
#[derive(Default)]
pub(super) struct Reached {
    /// The first `seq` of a segment and the one after its last.
    pub(super) there: BTreeMap<u64, u64>,
    /// Those of which nobody heard the end.
    pub(super) open: BTreeSet<u64>,
}

impl Reached {
    /// Adds the records that no segment has to the problems, save those of which an index says that they are others.
    pub(super) fn missing(
        mut self,
        directory: &Path,
        account: &Account,
        query: &Query,
        searched: &mut Searched,
    ) -> io::Result<()> {
        // Whoever has seen enough does not ask what comes after it.
        let enough = self.open.first().copied().unwrap_or(u64::MAX);
        self.there.extend(self.open.iter().map(|first| (*first, u64::MAX)));
        let there: Vec<(u64, u64)> = self.there.into_iter().collect();
        for hole in account.holes(directory, &there)? {
            match hole.index {
                _ if hole.missing.first >= enough => {}
                Some(index) if !query.may_be_in(&index) => searched.skipped += 1,
                _ => {
                    let (directory, missing) = (directory.to_owned(), hole.missing);
                    searched.problems.push(SearchProblem::Missing { directory, missing });
                }
            }
        }
        Ok(())
    }
}
