//! What an edge would say of its policy directory, asked without one that runs.

use std::path::Path;

use super::build::compile_whole;
use super::guarding::Rules;
use super::rollback;
use super::signing::Signing;
use super::source::{self, Snapshot, SourceError};
use super::store;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::guard::{self, Changes, Finding, Reach, SetFacts, Suffixes, violation_spot};
use crate::policy::{CompileOptions, Revision, Ruleset};
use jiff::Timestamp;

/// What would come of a set.
#[derive(Debug)]
pub struct Preview {
    /// The set, compiled.
    pub ruleset: Ruleset,
    /// What is odd in its files.
    pub warnings: Diagnostics,
    /// Why it would be refused: its signature, or what no case may touch. Empty when it would not.
    pub refusal: Diagnostics,
    /// The limits it is over beside the newest kept set: it would be held back. What it would block of the traffic
    /// only the running edge can tell.
    pub findings: Vec<Finding>,
    /// The revision it was compared with.
    pub against: Option<u64>,
}

/// Reads and compiles a policy directory, and holds it against the rules and the newest set that the state directory
/// keeps. Nothing is written, and an edge may be running.
///
/// # Errors
/// What is wrong in its files.
pub fn preview(
    directory: &Path,
    state: &Path,
    options: &CompileOptions,
    rules: &Rules,
    now: Timestamp,
) -> Result<Preview, Diagnostics> {
    let Snapshot { files, warnings: strays, .. } = read_whole(directory)?;
    let (ruleset, facts, mut warnings) = compile_whole(&files, options)?;
    warnings.extend(strays);
    let mut refusal = Diagnostics::new();
    let signing = Signing::new(rules.signers.clone(), directory.to_owned(), state);
    if let Err(errors) = signing.check(&files) {
        refusal.extend(errors);
    }
    let after = facts.with(&ruleset);
    for violation in guard::violations(&after, None, &rules.settings, &Suffixes::default()).first {
        refusal.push(violation_spot(&violation, &files, &files));
    }
    let newest = store::revisions_in(state).ok().and_then(|revisions| revisions.last().copied());
    let kept = newest.and_then(|newest| store::kept(state, newest).ok().flatten());
    let kept = kept.filter(|kept| kept.manifest.digest != files.digest().to_string());
    let before =
        kept.and_then(|kept| Some((kept.manifest.revision, compile_whole(&kept.files, options).ok()?)));
    let findings = before.as_ref().map(|(_, (ruleset, facts, _))| {
        let known = facts.with(ruleset);
        let known: &dyn SetFacts = &known;
        let changes = Changes::between(known, &after, now);
        guard::changes_too_large(known, &after, &changes, &Reach::default(), &rules.settings, now)
    });
    let against = before.map(|(revision, _)| revision);
    let digest = files.digest();
    Ok(Preview {
        ruleset: ruleset.with_identity(Revision::default(), digest),
        warnings,
        refusal,
        findings: findings.unwrap_or_default(),
        against,
    })
}

fn read_whole(directory: &Path) -> Result<Snapshot, Diagnostics> {
    if let Some(errors) = rollback::cut_off(directory) {
        return Err(errors);
    }
    source::read(directory).map_err(|error| match error {
        SourceError::Unreadable(errors, _) => errors,
        unsettled @ SourceError::Unsettled => {
            Diagnostic::error(directory.display().to_string(), unsettled.to_string()).into()
        }
    })
}
