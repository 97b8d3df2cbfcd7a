//! The guard at work: every set is held against its signatures, the rails and the set in force before it is taken,
//! wherever it comes from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::approval::{ApprovalError, Approvers};
use super::checked::Checked;
use super::held::{Held, Place};
use super::note::Note;
use super::reaching::{host_of, is_blocked, reach};
use super::replacement::Replacement;
use super::signing::{Credential, Signers, Signing};
use crate::diagnostic::Diagnostics;
use crate::limits;
use crate::policy::guard::{
    self, CaseFacts, CaseSet, Changes, Finding, SetFacts, Settings, Suffixes, Violations, violation_spot,
};
use crate::policy::{Contents, Pattern, PolicyFiles, Ruleset};
use crate::traffic::Traffic;

/// What sets are held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rails.
    pub settings: Settings,
    /// Who approves of a set that is held back.
    pub approvers: Approvers,
    /// Who signs sets.
    pub signers: Signers,
}

/// The patterns that routes name, for whoever changes the routes while the edge runs.
#[derive(Debug, Clone, Default)]
pub struct Routed(Arc<ArcSwap<Vec<Pattern>>>);

impl Routed {
    /// These are the patterns from now on.
    pub fn set(&self, patterns: Vec<Pattern>) {
        self.0.store(Arc::new(patterns));
    }
}

/// A policy set that has been read and compiled, and waits to be judged.
pub(super) struct Candidate<'c> {
    pub(super) files: &'c PolicyFiles,
    /// Has the files that are not at hand.
    pub(super) contents: &'c dyn Contents,
    pub(super) facts: &'c CaseSet,
    pub(super) ruleset: &'c Ruleset,
}

/// What comes of a set.
pub(super) enum Judgement {
    /// It may come into force.
    Taken(Passport),
    /// It may not, whoever approves of it.
    Refused(Refusal),
    /// It may when somebody approves of it.
    Held(Box<Held>),
}

/// What a set is found to be.
pub(super) struct Weighed {
    credential: Option<Credential>,
    /// How the set is known, when it was held against the rails that nobody can approve of.
    checked: Option<String>,
    /// The cases in force that it changes or ends, when it takes names out, or that close networks.
    pub(super) lessened: Vec<String>,
    /// Why it is to be held back, and who has approved of it so far.
    pub(super) held: Option<Held>,
}

/// Why a set may come into force, for its record.
#[derive(Debug, Default)]
pub(super) struct Passport {
    approved_by: Vec<String>,
    /// What was said of the change when it was held back.
    pub(super) changes: Vec<Note>,
    credential: Option<Credential>,
}

/// Why a set may not.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) errors: Diagnostics,
    findings: Value,
}

/// Holds sets against the rules, and knows the one in force. Only the keeper's thread has it.
#[derive(Debug)]
pub struct Guarding {
    rules: Rules,
    suffixes: Suffixes,
    signing: Signing,
    routed: Routed,
    place: Place,
    known: Checked,
    held: Option<Held>,
    /// The facts of the set in force, and whether it was held against the rules as they are now.
    in_force: CaseSet,
    checked: bool,
}

impl Guarding {
    /// For a policy directory and a state directory. What was held back before a restart still is.
    #[must_use]
    pub fn new(rules: Rules, directory: PathBuf, state: &Path, routed: Routed) -> Self {
        let place = Place::new(state);
        let mut held = place.load();
        if let Some(held) = &mut held {
            rules.approvers.revise(held);
        }
        let signing = Signing::new(rules.signers.clone(), directory, state);
        let (suffixes, in_force) = (Suffixes::default(), CaseSet::default());
        let known = Checked::new(state);
        Self { rules, suffixes, signing, routed, place, known, held, in_force, checked: false }
    }

    /// Whether the signatures have changed since they were last read.
    pub(super) fn is_stale(&self) -> bool {
        self.signing.is_stale()
    }

    /// Whether sets are taken only as they were signed: whole.
    pub(super) fn is_signed(&self) -> bool {
        self.signing.is_on()
    }

    /// Whether a set blocks a name of these cases, which are in force. Of very many names none is asked for.
    pub(super) fn still_blocks(
        &self,
        before: &Ruleset,
        cases: &BTreeSet<String>,
        set: &Ruleset,
        now: Timestamp,
    ) -> bool {
        let known = self.in_force.with(before);
        let wanted: Vec<bool> = known.cases().iter().map(|case| cases.contains(case.id.as_str())).collect();
        let names =
            known.cases().iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(case, _)| case.names);
        if names.sum::<u64>() > limits::NAMES_ASKED_FOR {
            return true;
        }
        let mut blocks = false;
        known.each_name(&wanted, &mut |_, form, name| {
            blocks = blocks || host_of(form, name).is_none_or(|host| is_blocked(set, &host, now));
        });
        blocks
    }

    /// The directory is about to be read.
    pub(super) fn look(&mut self) {
        self.signing.look();
    }

    /// What is held back.
    pub(super) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Judges a set that would replace `before`; the first set of an edge replaces none.
    pub(super) fn judge(
        &mut self,
        candidate: &Candidate<'_>,
        before: Option<&Ruleset>,
        traffic: Option<&Traffic>,
        now: Timestamp,
    ) -> Judgement {
        let weighed = self.weigh(candidate, before, traffic, now);
        self.conclude(weighed)
    }

    /// What comes of a set that was weighed.
    pub(super) fn conclude(&mut self, weighed: Result<Weighed, Refusal>) -> Judgement {
        let weighed = match weighed {
            Ok(weighed) => weighed,
            Err(refusal) => return Judgement::Refused(refusal),
        };
        if let Some(set) = &weighed.checked {
            self.known.note(&self.rules.settings, set);
        }
        let mut passport = Passport { credential: weighed.credential, ..Passport::default() };
        let Some(held) = weighed.held else { return Judgement::Taken(passport) };
        if held.is_approved() {
            passport.approved_by = held.approvals.iter().map(|approval| approval.by.clone()).collect();
            passport.changes = held.changes;
            return Judgement::Taken(passport);
        }
        self.keep(&held);
        Judgement::Held(Box::new(self.held.insert(held).clone()))
    }

    /// The same without any effect: what would come of a set.
    pub(super) fn weigh(
        &self,
        candidate: &Candidate<'_>,
        before: Option<&Ruleset>,
        traffic: Option<&Traffic>,
        now: Timestamp,
    ) -> Result<Weighed, Refusal> {
        let digest = candidate.files.digest().to_string();
        let credential = self.signing.check(candidate.files).map_err(Refusal::unsigned)?;
        let after = candidate.facts.with(candidate.ruleset);
        let checked = before.filter(|_| self.checked).map(|ruleset| self.in_force.with(ruleset));
        let checked = checked.as_ref().map(|view| view as &dyn SetFacts);
        // Which cases of a set are there depends on the name of the edge.
        let (cases, hosts) = (candidate.ruleset.cases().len(), candidate.ruleset.host_count());
        let set = format!("{digest} {cases} {hosts}");
        let mut weighed = Weighed { credential, checked: None, lessened: Vec::new(), held: None };
        if before.is_some() || !self.known.knows(&self.rules.settings, &set) {
            let violations = guard::violations(&after, checked, &self.rules.settings, &self.suffixes);
            if violations.total > 0 {
                return Err(Refusal::of(&violations, candidate.files, candidate.contents));
            }
            weighed.checked = Some(set);
        }
        let Some(before) = before else { return Ok(weighed) };
        let reach = reach(before, candidate.ruleset, traffic, &self.routed.0.load(), now);
        let (settings, known) = (&self.rules.settings, self.in_force.with(before));
        let changes = Changes::between(&known, &after, now);
        let opens = |case: &CaseFacts| !case.origins.is_empty() && case.enforced;
        let lessened = guard::changed_cases(&known, &after)
            .filter(|case| changes.removed.names > 0 || opens(case))
            .map(|case| case.id.to_string());
        weighed.lessened = lessened.collect();
        let mut findings = guard::changes_too_large(&known, &after, &changes, &reach, settings, now);
        let (in_force, revision) = (before.digest().to_string(), before.revision().0);
        // What was held back is of this change only while the same sets stand against each other.
        let same = self.held.as_ref().filter(|held| held.is_of(&digest, &in_force, revision));
        if let Some(held) = same {
            let unseen: Vec<Finding> =
                held.findings.iter().filter(|one| outlives_traffic(one, &findings)).cloned().collect();
            findings.extend(unseen);
        }
        if !findings.is_empty() {
            let replaces = Replacement::of(before, candidate.ruleset, &changes);
            let needed = self.rules.approvers.needed;
            // What was approved of this very change before still is.
            let (since, approvals, changes) = same.map_or((now, Vec::new(), Vec::new()), |held| {
                (held.since, held.approvals.clone(), held.changes.clone())
            });
            weighed.held = Some(Held {
                digest,
                in_force,
                revision,
                since,
                findings,
                needed,
                approvals,
                changes,
                replaces,
            });
        }
        Ok(weighed)
    }

    /// Notes down who has made the change that is held back.
    pub(super) fn remember(&mut self, notes: &[Note]) {
        let Some(held) = self.held.as_mut().filter(|_| !notes.is_empty()) else { return };
        held.changes.extend_from_slice(notes);
        let held = held.clone();
        self.keep(&held);
    }

    fn keep(&self, held: &Held) {
        if let Err(error) = self.place.save(held) {
            tracing::error!(%error, "a restart will ask anew for approvals that were given");
        }
    }

    /// The set is about to come into force: its serial is the newest from now on.
    pub(super) fn admit(&self, passport: &Passport) {
        if let Some(credential) = &passport.credential {
            self.signing.note(credential);
        }
    }

    /// A set is in force; `checked` when it was held against these rules.
    pub(super) fn took(&mut self, facts: CaseSet, checked: bool) {
        self.in_force = facts;
        self.checked = checked;
    }

    /// A set that was judged is in force: nothing is held back any more, and its serial outlives the machine.
    pub(super) fn settle(&mut self, passport: &Passport) {
        self.withdraw();
        self.known.settle();
        if passport.credential.is_some() {
            self.signing.sync();
        }
    }

    /// Nothing is held back: what is in the directory is in force, or about to be.
    pub(super) fn withdraw(&mut self) {
        if self.held.take().is_some() {
            self.place.clear();
        }
    }

    /// Takes an approval of what is held back, and returns it.
    pub(super) fn approve(
        &mut self,
        digest: &str,
        note: Option<&str>,
        user: &str,
        now: Timestamp,
    ) -> Result<Held, ApprovalError> {
        let held = self.held.as_mut().filter(|held| held.digest == digest);
        let held = held.ok_or_else(|| ApprovalError::NotHeld(digest.to_owned()))?;
        self.rules.approvers.approve(held, note, user, now)?;
        let held = held.clone();
        self.keep(&held);
        Ok(held)
    }
}

impl Passport {
    /// What the record of the set says beside its numbers.
    pub(super) fn detail(&self) -> Map<String, Value> {
        let mut detail = Map::new();
        if !self.approved_by.is_empty() {
            detail.insert("approved_by".to_owned(), json!(self.approved_by));
        }
        if let Some(credential) = &self.credential {
            detail.insert("serial".to_owned(), json!(credential.serial));
            detail.insert("signed_by".to_owned(), json!(credential.by));
        }
        detail
    }
}

impl Refusal {
    fn unsigned(errors: Diagnostics) -> Self {
        Self { errors, findings: json!([{ "rail": "signature" }]) }
    }

    fn of(violations: &Violations, files: &PolicyFiles, contents: &dyn Contents) -> Self {
        let mut errors = Diagnostics::new();
        let mut rails = BTreeSet::new();
        for violation in &violations.first {
            rails.insert(violation.rail);
            errors.push(violation_spot(violation, files, contents));
        }
        let more = violations.total.saturating_sub(violations.first.len());
        errors.count(crate::diagnostic::Severity::Error, more);
        let of_rail = |rail: &guard::Rail| {
            let ours = violations.first.iter().filter(|violation| violation.rail == *rail);
            let ours: Vec<_> = ours.take(limits::GUARD_NAMES_TOLD).collect();
            json!({
                "rail": rail,
                "first": ours.iter().map(|one| &one.written).collect::<Vec<_>>(),
                "cases": ours.iter().map(|one| one.case.as_str()).collect::<Vec<_>>(),
            })
        };
        Self { errors, findings: rails.iter().map(of_rail).collect() }
    }

    /// What the record of the refusal says beside the errors.
    pub(super) fn detail(&self) -> Map<String, Value> {
        crate::gate::object(json!({ "findings": self.findings }))
    }
}

/// Whether a finding is one of traffic that is not seen any more: the sketch starts anew with the process and forgets
/// after an hour, and neither is an approval.
fn outlives_traffic(held: &Finding, now: &[Finding]) -> bool {
    let of_traffic = |finding: &Finding| finding.rail == guard::Rail::BlastRadiusRequests;
    of_traffic(held) && !now.iter().any(of_traffic)
}

/// What the record of a set that is held back says.
pub(super) fn held_detail(held: &Held) -> Map<String, Value> {
    crate::gate::object(json!({
        "held": true,
        "digest": held.digest,
        "in_force": held.in_force,
        "replaces": held.replaces,
        "findings": held.findings,
        "approvals_needed": held.needed,
    }))
}
