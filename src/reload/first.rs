//! The first ruleset of an edge: from the policy directory, or the last good one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::build::{Builder, Built, Read, Reading, Settled};
use super::guarding::{Guarding, Judgement, Passport};
use super::held::Held;
use super::partial::InForce;
use super::source::known::Known;
use super::store::{Kept, Store};
use super::swap::StartError;
use super::unfinished::Left;
use crate::diagnostic::Diagnostics;
use crate::policy::guard::CaseSet;
use crate::policy::{PolicyFiles, Revision, Ruleset};

/// What an edge starts on.
pub(super) struct First {
    pub(super) ruleset: Ruleset,
    pub(super) facts: CaseSet,
    pub(super) kind: Kind,
    pub(super) problems: Diagnostics,
    /// The files of a set that is to be kept.
    pub(super) unkept: Option<PolicyFiles>,
}

/// Where it is from.
pub(super) enum Kind {
    /// The policy directory, which the guard let pass.
    Directory(Passport),
    /// The state directory: the policy directory cannot be used, and this is more about why.
    LastGood(Map<String, Value>),
    /// The state directory: the policy directory waits for approval.
    Held(Box<Held>),
}

/// Reads the directory for the first time. Of files that are `left` by somebody who may still be writing them, and of all else
/// that could free a name, the last set of the process before is kept.
pub(super) fn read_first(builder: &mut Builder, store: &Store, guarding: &Guarding, left: &mut Left) -> Read {
    // A set that is signed is whole or none.
    let is_whole = left.0.is_empty() || guarding.is_signed();
    let read = if is_whole { None } else { beside(builder, store, left) };
    read.unwrap_or_else(|| builder.read(None))
}

fn beside(builder: &mut Builder, store: &Store, left: &mut Left) -> Option<Read> {
    let snapshot = match builder.read_beside(None, left) {
        Reading::Whole(read) => return Some(*read),
        Reading::Incomplete(snapshot) => snapshot,
        Reading::Unsettled(_) => return None,
    };
    let in_force = InForce::newest(store.root())?;
    let (completed, warnings) = in_force.completed(&snapshot)?;
    let (files, waiting) =
        in_force.with_additions(&completed, &BTreeSet::new(), builder.book(), |_| false)?;
    let mut built = builder.build(files, builder.contents(), None).ok()?;
    for more in [warnings, waiting, snapshot.warnings.clone()] {
        built.warnings.extend(more);
    }
    let built = built.knowing(Known::of(&snapshot));
    Some((Ok(built), snapshot.fingerprint))
}

/// The set in the directory, when the guard lets it pass beside the one that is kept; else the kept one.
pub(super) fn guarded(
    built: Built,
    builder: &mut Builder,
    store: &mut Store,
    guarding: &mut Guarding,
    now: Timestamp,
) -> Result<First, StartError> {
    let digest = built.files.digest().to_string();
    let newest = store.newest_manifest().filter(|newest| newest.digest == digest);
    // The very set that was in force needs no comparison. One that this version cannot compile allows none.
    let before = if newest.is_some() { None } else { last_good(store)? };
    let before = before.and_then(|Kept { manifest, files }| {
        let (ruleset, facts) = builder.compile_kept(&files).ok()?;
        Some((ruleset.with_identity(Revision(manifest.revision), files.digest()), facts))
    });
    let ruleset = before.map(|(ruleset, facts)| {
        guarding.took(facts, false);
        ruleset
    });
    match guarding.judge(&built.candidate(builder.contents()), ruleset.as_ref(), None, now) {
        Judgement::Taken(passport) => {
            guarding.admit(&passport);
            // It is kept anew, as a new revision, when a part of it is damaged.
            let newest = newest.filter(|_| store.holds(&built.files)).map(|newest| newest.revision);
            let known = newest.filter(|known| known + 1 == store.next_revision());
            Ok(from_directory(built, passport, known, builder, store))
        }
        Judgement::Refused(refusal) => {
            let detail = refusal.detail();
            from_last_good(refusal.errors, builder, store, Kind::LastGood(detail))
        }
        Judgement::Held(held) => from_last_good(held.diagnostics(), builder, store, Kind::Held(held)),
    }
}

/// The set of the directory. The very one that was in force before keeps its revision, which is `known` then.
fn from_directory(
    built: Built,
    passport: Passport,
    known: Option<u64>,
    builder: &mut Builder,
    store: &mut Store,
) -> First {
    let Settled { files, ruleset, facts, warnings } = builder.settle(built);
    let revision = Revision(known.unwrap_or_else(|| store.take_revision()));
    let ruleset = ruleset.with_identity(revision, files.digest());
    let unkept = known.is_none().then_some(files);
    First { ruleset, facts, kind: Kind::Directory(passport), problems: warnings, unkept }
}

pub(super) fn from_last_good(
    errors: Diagnostics,
    builder: &Builder,
    store: &Store,
    kind: Kind,
) -> Result<First, StartError> {
    let Some(Kept { manifest, files }) = last_good(store)? else { return Err(StartError::NoPolicy(errors)) };
    let Ok((ruleset, facts)) = builder.compile_kept(&files) else { return Err(StartError::NoPolicy(errors)) };
    let ruleset = ruleset.with_identity(Revision(manifest.revision), files.digest());
    Ok(First { ruleset, facts, kind, problems: errors, unkept: None })
}

fn last_good(store: &Store) -> Result<Option<Kept>, StartError> {
    let (kept, problems) = store.last_good()?;
    for problem in problems {
        tracing::error!(%problem, "a kept policy set cannot be used");
    }
    Ok(kept)
}
