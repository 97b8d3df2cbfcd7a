//! Gathers what belongs into a bundle: the records, the records of their policy sets, the sets.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use super::super::{
    event::Kind,
    id::EventId,
    prove::{Proof, ProveError, Prover},
    search::{Query, SearchError, SearchProblem, search},
};
use super::pack::{About, PackError, Packer};
use crate::policy::PolicyFiles;

/// Why there is no bundle. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No sealed record is what was asked for.
    #[error("no sealed record was found; one is sealed within a second")]
    Nothing,
    /// A part of the log could not be searched, so that the bundle might not be all there is.
    #[error("{0}; a bundle of what is left would not be complete")]
    Incomplete(SearchProblem),
    /// The log cannot be searched.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A record cannot be proved.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// A line is no record.
    #[error("a line of the log is not a record: {0}")]
    NotARecord(#[from] serde_json::Error),
    /// The bundle cannot be written.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// What a bundle needs to know of a record.
#[derive(Deserialize)]
struct Facts<'a> {
    id: &'a str,
    seq: u64,
    revision: Option<u64>,
}

/// A record that was found.
struct Found {
    id: EventId,
    revision: Option<u64>,
}

type Each<'e> = dyn FnMut(Found, Option<&Proof>) -> Result<(), BundleError> + 'e;

/// Makes the bundle `target` of what `query` finds in the log in `directory`. `policies` gives the policy set of a
/// revision as far as it is still kept.
///
/// # Errors
/// When nothing is found, a part of the log cannot be searched or proved, or the disk takes no more.
pub fn bundle(
    directory: &Path,
    query: &Query,
    target: &Path,
    policies: &mut dyn FnMut(u64) -> Option<PolicyFiles>,
) -> Result<About, BundleError> {
    let mut prover = Prover::open(directory)?;
    let mut packer = Packer::new(target, query.to_fields())?;
    let mut revisions = BTreeSet::new();
    let mut records = 0;
    each(directory, query, &mut prover, &mut |found, proof| {
        let Some(proof) = proof else {
            packer.unsealed();
            return Ok(());
        };
        records += 1;
        revisions.extend(found.revision);
        Ok(packer.record(found.id, proof)?)
    })?;
    if records == 0 {
        return Err(BundleError::Nothing);
    }
    let applied = Query { kinds: vec![Kind::PolicyApplied], ..Query::default() };
    each(directory, &applied, &mut prover, &mut |found, proof| match proof {
        Some(proof) if found.revision.is_some_and(|revision| revisions.contains(&revision)) => {
            Ok(packer.applied(found.id, proof)?)
        }
        _ => Ok(()),
    })?;
    for revision in revisions {
        packer.policies(revision, policies(revision).as_ref());
    }
    Ok(packer.finish(&prover.key().to_text())?)
}

/// Hands on every sealed record that is found, with its proof; without one when it is under no checkpoint yet.
fn each(
    directory: &Path,
    query: &Query,
    prover: &mut Prover,
    hand_on: &mut Each<'_>,
) -> Result<(), BundleError> {
    let mut failed = None;
    let searched = search(directory, query, &mut |line| match one(line, prover, hand_on) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    match (failed, searched.problems.into_iter().next()) {
        (Some(error), _) => Err(error),
        (None, Some(problem)) => Err(BundleError::Incomplete(problem)),
        (None, None) => Ok(()),
    }
}

fn one(line: &[u8], prover: &mut Prover, hand_on: &mut Each<'_>) -> Result<(), BundleError> {
    let facts: Facts<'_> = serde_json::from_slice(line)?;
    let id = facts.id.parse().map_err(|_| ProveError::Gone(facts.seq))?;
    let found = Found { id, revision: facts.revision };
    match prover.prove_record(facts.seq, line) {
        Ok(proof) => hand_on(found, Some(&proof)),
        Err(ProveError::NotSealed(_)) => hand_on(found, None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
