//! One reload: read, compile, swap, record, keep.

mod early;
mod tending;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::approval::ApprovalError;
use super::authority::Authority;
use super::build::{Builder, Built, Reading, Settled};
use super::first::{Kind, from_last_good, guarded, read_first};
use super::guarding::{Guarding, Judgement, Passport, held_detail};
use super::held::Held;
use super::keeping::{Refused, Unkept};
use super::names::NamesKeeper;
use super::note::{Note, Told, changes, with_changes};
use super::rehearsal::{Asked, RehearsalRequest};
use super::report::{Report, Result as ReloadResult, SharedReport, identified, log_report, report};
use super::rollback;
use super::source::{self, Fingerprint, Writers};
use super::store::{Store, StoreError};
use super::unfinished::{Left, Unfinished};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::diagnostic::Diagnostics;
use crate::gate::{Gate, Noted};
use crate::metrics::Metrics;
use crate::policy::{CompileOptions, Revision, Ruleset};

/// Why an edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy directory holds errors and there is no last good set.
    #[error("the policy directory cannot be used and no last good set is kept:\n{0}")]
    NoPolicy(Diagnostics),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Owns what a reload needs. Only the keeper's thread calls it.
#[derive(Debug)]
pub struct Swapper {
    builder: Builder,
    names: NamesKeeper,
    authority: Authority,
    guarding: Guarding,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    report: SharedReport,
    /// A set that the successor has not put in force yet was read: it is looked for again.
    awaited: bool,
    /// The set in force, while the disk refuses to keep it.
    unkept: Option<Refused>,
    /// The record of the set in force; none when another process has made it.
    applied: Option<Noted>,
    /// Whether a rollback that was cut off kept the directory from being read.
    cut_off: bool,
    /// The directory as it was when last read, in force or not.
    fingerprint: Fingerprint,
    unfinished: Unfinished,
    /// What somebody was writing when the process before ended.
    left: Left,
    /// Replaced rulesets that a request may still hold. They are dropped here, never on a request thread.
    retired: Vec<Arc<Ruleset>>,
}

impl Swapper {
    /// Loads the first ruleset: from the directory, or else the last good one.
    ///
    /// # Errors
    /// When there is neither, or the state directory cannot be read.
    pub fn start(
        directory: PathBuf,
        options: CompileOptions,
        mut store: Store,
        audit: Arc<Audit>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        mut guarding: Guarding,
    ) -> Result<Self, StartError> {
        let (began, shadow) = (Instant::now(), options.here.shadow);
        guarding.look();
        let cut_off = rollback::cut_off(&directory).is_some();
        let (names, restored) = NamesKeeper::open(store.root());
        let mut builder = Builder::new(directory, options, store.root(), restored);
        let unfinished = Unfinished::new(store.root());
        let mut left = unfinished.left(builder.directory());
        let (built, fingerprint) = read_first(&mut builder, &store, &guarding, &mut left);
        let now = clock.now();
        metrics.lists_read(built.as_ref().map_or(0, |built| built.lists_read));
        let first = match built {
            Ok(built) => guarded(built, &mut builder, &mut store, &mut guarding, now)?,
            Err(errors) => from_last_good(errors, &builder, &store, Kind::LastGood(Map::new()))?,
        };
        let gate = Gate::new(Arc::new(first.ruleset), audit, metrics, Arc::clone(&clock));
        let (result, passport) = match first.kind {
            Kind::Directory(passport) => (ReloadResult::Applied, passport),
            Kind::LastGood(detail) => {
                gate.record_rejection(&first.problems, detail);
                (ReloadResult::LastGood, Passport::default())
            }
            Kind::Held(held) => {
                gate.record_rejection(&first.problems, held_detail(&held));
                (ReloadResult::Held, Passport::default())
            }
        };
        guarding.took(first.facts, result == ReloadResult::Applied);
        let from = if result == ReloadResult::Held { ReloadResult::LastGood } else { result };
        let applied = gate.record_application(&gate.ruleset(), from.as_str(), detail(&passport, shadow, &[]));
        if result == ReloadResult::Applied {
            guarding.settle(&passport);
        }
        let revision = gate.ruleset().revision();
        let unkept = first.unkept.and_then(|files| {
            let set =
                Unkept { revision, files, applied: now, event: applied, changes: passport.changes.clone() };
            set.keep(&store, builder.contents())
        });
        let mut report = report(result, &first.problems, now, began);
        report.held = guarding.held().cloned();
        let report = identified(report, &gate.ruleset(), Some(applied));
        gate.metrics().reloaded(report.result.as_str());
        log_report(&report, &gate.ruleset());
        Ok(Self {
            builder,
            names,
            authority: Authority::Own(store),
            guarding,
            gate: Arc::new(gate),
            clock,
            report: SharedReport::new(report),
            awaited: false,
            unkept,
            applied: Some(applied),
            cut_off,
            fingerprint,
            unfinished,
            left,
            retired: Vec::new(),
        })
    }

    /// The gate that serves the ruleset in force.
    #[must_use]
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// The last report.
    #[must_use]
    pub fn report(&self) -> SharedReport {
        self.report.clone()
    }

    /// What somebody may still be writing since before the start.
    pub(super) fn left(&self) -> &BTreeSet<String> {
        &self.left.0
    }

    /// Who numbers and keeps policy sets.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Lets go of the state directory: nothing is written there by this process after this. Returns the newest revision
    /// ever given.
    pub(super) fn let_go(&mut self) -> u64 {
        self.names.let_go();
        self.authority.let_go()
    }

    /// Takes the state directory again.
    pub(super) fn take_back(&mut self) -> Result<(), StoreError> {
        self.authority.take_back()
    }

    /// Says what would come of a change; nothing is changed.
    pub(super) fn rehearse_for(&self, request: RehearsalRequest, writers: &mut dyn Writers) {
        let asked = Asked { builder: &self.builder, writers, guarding: &self.guarding, gate: &self.gate };
        request.answer(asked, &self.authority, self.clock.now());
    }

    /// Whether the successor is still to put in force what was read last.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// The policy directory.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.builder.directory()
    }

    /// Whether the directory has changed since it was last read, but for what `writers` are at.
    pub(super) fn is_stale(&self, writers: &mut dyn Writers) -> bool {
        let cut_off = rollback::cut_off(self.directory()).is_some();
        cut_off != self.cut_off
            || !source::fingerprint(self.directory()).is_as(&self.fingerprint, &self.busy(writers))
            || self.guarding.is_stale()
    }

    /// What is being written, by every name that it has.
    fn busy(&self, writers: &mut dyn Writers) -> BTreeSet<String> {
        let at_work = writers.at_work();
        if at_work.is_empty() { at_work } else { &at_work | &self.unfinished.left_out }
    }

    /// Reads the directory and, when it holds a good set that is not in force, swaps it in. The record of that says
    /// what was `told`. What `writers` are at stays as it was; nothing comes back, and nothing has happened, when the directory
    /// never stood still.
    pub(super) fn reload(&mut self, told: &Told, writers: &mut dyn Writers) -> Option<Report> {
        let began = Instant::now();
        self.unfinished.carried_out = None;
        self.guarding.look();
        self.cut_off = rollback::cut_off(self.directory()).is_some();
        let before = self.gate.ruleset();
        let (built, fingerprint) = match self.builder.read_beside(Some(&before), writers) {
            Reading::Whole(read) => *read,
            Reading::Incomplete(snapshot) => {
                return self.reload_incomplete(&snapshot, told, self.clock.now(), began);
            }
            Reading::Unsettled(errors) => {
                tracing::info!(why = %errors, "the policy directory is read when it has settled");
                return None;
            }
        };
        self.gate.metrics().lists_read(built.as_ref().map_or(0, |built| built.lists_read));
        self.fingerprint = fingerprint;
        self.awaited = false;
        let now = self.clock.now();
        let report = match built {
            Err(errors) => return Some(self.refuse(&errors, &told.notes, now, began)),
            Ok(built) if built.files.digest() == before.digest() => {
                // What a successor holds back is its own.
                if self.authority.is_own() {
                    self.guarding.withdraw();
                }
                let warnings = self.builder.settle(built).warnings;
                self.builder.moved(&before);
                report(ReloadResult::Unchanged, &warnings, now, began)
            }
            Ok(built) if self.authority.is_own() => {
                return Some(self.consider(built, &told.notes, now, began));
            }
            Ok(built) => self.follow(built, now, began),
        };
        Some(self.publish(report, None))
    }

    fn refuse(&mut self, errors: &Diagnostics, notes: &[Note], now: Timestamp, began: Instant) -> Report {
        // What a successor refuses, it records.
        let own = self.authority.is_own();
        let told = own.then(|| self.gate.record_rejection(errors, changes(notes)));
        self.publish(report(ReloadResult::Rejected, errors, now, began), told)
    }

    /// Has the guard judge a set, and does what it says.
    fn consider(&mut self, built: Built, notes: &[Note], now: Timestamp, began: Instant) -> Report {
        let before = self.gate.ruleset();
        match self.guarding.judge(
            &built.candidate(self.builder.contents()),
            Some(&before),
            Some(self.gate.traffic()),
            now,
        ) {
            Judgement::Taken(passport) => self.apply(built, &passport, notes, now, began),
            Judgement::Refused(refusal) => {
                let detail = with_changes(refusal.detail(), notes);
                let told = self.gate.record_rejection(&refusal.errors, detail);
                self.publish(report(ReloadResult::Rejected, &refusal.errors, now, began), Some(told))
            }
            Judgement::Held(held) => {
                let mut errors = held.diagnostics();
                errors.extend(built.warnings);
                self.guarding.remember(notes);
                let told = self.gate.record_rejection(&errors, with_changes(held_detail(&held), notes));
                self.publish(report(ReloadResult::Held, &errors, now, began), Some(told))
            }
        }
    }

    /// Takes an approval of the set that is held back. When it was the last one needed, the directory is to be read.
    ///
    /// # Errors
    /// When it does not count.
    pub(super) fn approve(
        &mut self,
        digest: &str,
        note: Option<&str>,
        user: &str,
    ) -> Result<Held, ApprovalError> {
        if !self.authority.is_own() {
            return Err(ApprovalError::Succeeded);
        }
        let outcome = self.guarding.approve(digest, note, user, self.clock.now());
        match &outcome {
            Ok(held) => {
                tracing::info!(user, digest, given = held.approvals.len(), needed = held.needed, "approved");
                let mut shown = self.report.latest();
                shown.held = Some(held.clone());
                self.report.set(shown);
            }
            Err(error) => tracing::warn!(user, digest, %error, "an approval does not count"),
        }
        outcome
    }

    /// Shows a report; `told` is the record that tells of it, when it is not that of the set in force.
    fn publish(&self, report: Report, told: Option<Noted>) -> Report {
        let mut report = identified(report, &self.gate.ruleset(), told.or(self.applied));
        report.held = self.guarding.held().cloned();
        self.report.set(report.clone());
        self.gate.metrics().reloaded(report.result.as_str());
        log_report(&report, &self.gate.ruleset());
        report
    }

    /// Record, then swap: no record may name a revision that the log has not introduced. Keeping the set
    /// comes last, since a block must not wait for a disk to sync; the revision is safe in the log by then.
    fn apply(
        &mut self,
        built: Built,
        passport: &Passport,
        notes: &[Note],
        now: Timestamp,
        began: Instant,
    ) -> Report {
        let notes = &[&passport.changes, notes].concat();
        let Authority::Own(store) = &mut self.authority else { return self.follow(built, now, began) };
        let revision = Revision(store.take_revision());
        let Settled { files, ruleset, facts, warnings } = self.builder.settle(built);
        let ruleset = Arc::new(ruleset.with_identity(revision, files.digest()));
        self.guarding.admit(passport);
        let detail = detail(passport, self.builder.is_shadow(), notes);
        let applied = self.gate.record_application(&ruleset, ReloadResult::Applied.as_str(), detail);
        self.applied = Some(applied);
        self.retired.push(self.gate.swap(ruleset));
        self.guarding.took(facts, true);
        self.guarding.settle(passport);
        let report = self.publish(report(ReloadResult::Applied, &warnings, now, began), None);
        if let Authority::Own(store) = &self.authority {
            let set = Unkept { revision, files, applied: now, event: applied, changes: notes.clone() };
            self.unkept = set.keep(store, self.builder.contents());
        }
        report
    }

    /// Puts in force what the successor has put in force, under its revision. It has recorded that, too.
    fn follow(&mut self, built: Built, now: Timestamp, began: Instant) -> Report {
        let digest = built.files.digest();
        let Some(revision) = self.authority.followed(&digest.to_string()) else {
            self.awaited = true;
            return report(ReloadResult::Unchanged, &built.warnings, now, began);
        };
        let Settled { ruleset, facts, warnings, .. } = self.builder.settle(built);
        self.retired.push(self.gate.swap(Arc::new(ruleset.with_identity(revision, digest))));
        self.applied = None;
        // The successor has judged it, by rules that may be others.
        self.guarding.took(facts, false);
        report(ReloadResult::Applied, &warnings, now, began)
    }
}

/// What the record of a set says beside its numbers.
fn detail(passport: &Passport, shadow: bool, notes: &[Note]) -> Map<String, Value> {
    let mut detail = with_changes(passport.detail(), notes);
    if shadow {
        detail.insert("shadow".to_owned(), true.into());
    }
    detail
}
