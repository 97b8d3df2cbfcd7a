//! The first ruleset of an edge: from the policy directory, or the last good one.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::guarding::{Guarding, Judgement, Passport};
use super::held::Held;
use super::store::{Kept, Store};
use super::swap::{Built, StartError, build, keep};
use crate::diagnostic::Diagnostics;
use crate::policy::guard::CaseSet;
use crate::policy::{CompileOptions, Revision, Ruleset};

/// What an edge starts on.
pub(super) struct First {
    pub(super) ruleset: Ruleset,
    pub(super) facts: CaseSet,
    pub(super) kind: Kind,
    pub(super) problems: Diagnostics,
}

/// Where it is from.
pub(super) enum Kind {
    /// The policy directory, which the guard let pass.
    Directory(Passport),
    /// The state directory: the policy directory cannot be used, and this is more about why.
    LastGood(Map<String, Value>),
    /// The state directory: the policy directory waits for approval.
    Held(Held),
}

/// The set in the directory, when the guard lets it pass beside the one that is kept; else the kept one.
pub(super) fn guarded(
    built: Built,
    kept: Option<Kept>,
    store: &mut Store,
    (options, guarding): (&CompileOptions, &mut Guarding),
    now: Timestamp,
) -> Result<First, StartError> {
    let is_kept = kept.as_ref().is_some_and(|kept| kept.manifest.digest == built.files.digest().to_string());
    // The very set that was in force needs no comparison. One that this version cannot compile allows none.
    let before = kept.as_ref().filter(|_| !is_kept).and_then(|kept| {
        let before = build(kept.files.clone(), options, None).ok()?;
        Some((
            before.ruleset.with_identity(Revision(kept.manifest.revision), before.files.digest()),
            before.facts,
        ))
    });
    let ruleset = before.map(|(ruleset, facts)| {
        guarding.took(facts, false);
        ruleset
    });
    match guarding.judge(&built.candidate(), ruleset.as_ref(), None, now) {
        Judgement::Taken(passport) => {
            guarding.admit(&passport);
            Ok(from_directory(built, passport, kept, store, now))
        }
        Judgement::Refused(refusal) => {
            let detail = refusal.detail();
            from_last_good(refusal.errors, kept, options, Kind::LastGood(detail))
        }
        Judgement::Held(held) => from_last_good(held.diagnostics(), kept, options, Kind::Held(held)),
    }
}

fn from_directory(
    built: Built,
    passport: Passport,
    kept: Option<Kept>,
    store: &mut Store,
    now: Timestamp,
) -> First {
    let digest = built.files.digest();
    // The very set that was in force before keeps its revision.
    let known = kept.map(|kept| kept.manifest).filter(|known| known.revision + 1 == store.next_revision());
    let revision = match known {
        Some(manifest) if manifest.digest == digest.to_string() => Revision(manifest.revision),
        _ => {
            let revision = Revision(store.take_revision());
            keep(store, revision, &built.files, now);
            revision
        }
    };
    let ruleset = built.ruleset.with_identity(revision, digest);
    First { ruleset, facts: built.facts, kind: Kind::Directory(passport), problems: built.warnings }
}

pub(super) fn from_last_good(
    errors: Diagnostics,
    kept: Option<Kept>,
    options: &CompileOptions,
    kind: Kind,
) -> Result<First, StartError> {
    let Some(Kept { manifest, files }) = kept else { return Err(StartError::NoPolicy(errors)) };
    let digest = files.digest();
    let Ok(built) = build(files, options, None) else { return Err(StartError::NoPolicy(errors)) };
    let ruleset = built.ruleset.with_identity(Revision(manifest.revision), digest);
    Ok(First { ruleset, facts: built.facts, kind, problems: errors })
}
