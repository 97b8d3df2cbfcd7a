//! One reload: read, compile, swap, record, keep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::approval::ApprovalError;
use super::authority::Authority;
use super::first::{Kind, from_last_good, guarded};
use super::guarding::{Candidate, Guarding, Judgement, Passport, held_detail};
use super::held::Held;
use super::report::{Report, Result as ReloadResult, SharedReport};
use super::source::{self, Fingerprint, SourceError};
use super::store::{Store, StoreError};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gate::Gate;
use crate::limits;
use crate::metrics::Metrics;
use crate::policy::guard::CaseSet;
use crate::policy::{self, CompileOptions, PolicyFiles, Revision, Ruleset};

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
    directory: PathBuf,
    options: CompileOptions,
    authority: Authority,
    guarding: Guarding,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    report: SharedReport,
    /// A set that the successor has not put in force yet was read: it is looked for again.
    awaited: bool,
    /// The directory as it was when last read, in force or not.
    fingerprint: Fingerprint,
    /// Replaced rulesets that a request may still hold. They are dropped here, never on a request thread.
    retired: Vec<Arc<Ruleset>>,
}

/// A policy set that has passed every check, with its warnings. The guard has not seen it yet.
pub(super) struct Built {
    pub(super) files: PolicyFiles,
    pub(super) ruleset: Ruleset,
    pub(super) facts: CaseSet,
    pub(super) warnings: Diagnostics,
}

impl Built {
    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate { files: &self.files, facts: &self.facts, ruleset: &self.ruleset }
    }
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
        let began = Instant::now();
        guarding.look();
        let (built, fingerprint) = read_and_build(&directory, &options, None);
        let (kept, problems) = store.last_good()?;
        for problem in problems {
            tracing::error!(%problem, "a kept policy set cannot be used");
        }
        let now = clock.now();
        let first = match built {
            Ok(built) => guarded(built, kept, &mut store, (&options, &mut guarding), now)?,
            Err(errors) => from_last_good(errors, kept, &options, Kind::LastGood(Map::new()))?,
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
        gate.record_application(&gate.ruleset(), from.as_str(), detail(&passport, &options));
        if result == ReloadResult::Applied {
            guarding.settle(&passport);
        }
        let mut report = report(result, &first.problems, now, began);
        report.held = guarding.held().cloned();
        gate.metrics().reloaded(report.result.as_str());
        log_report(&report, &gate.ruleset());
        Ok(Self {
            directory,
            options,
            authority: Authority::Own(store),
            guarding,
            gate: Arc::new(gate),
            clock,
            report: SharedReport::new(report),
            awaited: false,
            fingerprint,
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

    /// Who numbers and keeps policy sets.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Who numbers and keeps policy sets, to change it.
    pub(super) fn authority_mut(&mut self) -> &mut Authority {
        &mut self.authority
    }

    /// Whether the successor is still to put in force what was read last.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// The policy directory.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Whether the directory has changed since it was last read.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        source::fingerprint(&self.directory) != self.fingerprint || self.guarding.is_stale()
    }

    /// Reads the directory and, when it holds a good set that is not in force, swaps it in.
    pub fn reload(&mut self) -> Report {
        let began = Instant::now();
        self.guarding.look();
        let known = Some(self.guarding.in_force());
        let (built, fingerprint) = read_and_build(&self.directory, &self.options, known);
        self.fingerprint = fingerprint;
        self.awaited = false;
        let now = self.clock.now();
        let report = match built {
            Err(errors) => {
                // What a successor refuses, it records.
                if self.authority.is_own() {
                    self.gate.record_rejection(&errors, Map::new());
                }
                report(ReloadResult::Rejected, &errors, now, began)
            }
            Ok(built) if built.files.digest() == self.gate.ruleset().digest() => {
                self.guarding.withdraw();
                report(ReloadResult::Unchanged, &built.warnings, now, began)
            }
            Ok(built) if self.authority.is_own() => return self.consider(built, now, began),
            Ok(built) => self.follow(built, now, began),
        };
        self.publish(report)
    }

    /// Has the guard judge a set, and does what it says.
    fn consider(&mut self, built: Built, now: Timestamp, began: Instant) -> Report {
        let before = self.gate.ruleset();
        match self.guarding.judge(&built.candidate(), Some(&before), Some(self.gate.traffic()), now) {
            Judgement::Taken(passport) => self.apply(built, &passport, now, began),
            Judgement::Refused(refusal) => {
                self.gate.record_rejection(&refusal.errors, refusal.detail());
                self.publish(report(ReloadResult::Rejected, &refusal.errors, now, began))
            }
            Judgement::Held(held) => {
                let errors = held.diagnostics();
                self.gate.record_rejection(&errors, held_detail(&held));
                self.publish(report(ReloadResult::Held, &errors, now, began))
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
        self.guarding.approve(digest, note, user, self.clock.now())
    }

    fn publish(&self, mut report: Report) -> Report {
        report.held = self.guarding.held().cloned();
        self.report.set(report.clone());
        self.gate.metrics().reloaded(report.result.as_str());
        log_report(&report, &self.gate.ruleset());
        report
    }

    /// Record, then swap: no record may name a revision that the log has not introduced. Keeping the set
    /// comes last, since a block must not wait for a disk to sync; the revision is safe in the log by then.
    fn apply(&mut self, built: Built, passport: &Passport, now: Timestamp, began: Instant) -> Report {
        let Authority::Own(store) = &mut self.authority else { return self.follow(built, now, began) };
        let revision = Revision(store.take_revision());
        let ruleset = Arc::new(built.ruleset.with_identity(revision, built.files.digest()));
        self.guarding.admit(passport);
        self.gate.record_application(
            &ruleset,
            ReloadResult::Applied.as_str(),
            detail(passport, &self.options),
        );
        self.retired.push(self.gate.swap(ruleset));
        self.guarding.took(built.facts, true);
        self.guarding.settle(passport);
        let report = self.publish(report(ReloadResult::Applied, &built.warnings, now, began));
        if let Authority::Own(store) = &self.authority {
            keep(store, revision, &built.files, now);
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
        self.retired.push(self.gate.swap(Arc::new(built.ruleset.with_identity(revision, digest))));
        // The successor has judged it, by rules that may be others.
        self.guarding.took(built.facts, false);
        report(ReloadResult::Applied, &built.warnings, now, began)
    }

    /// Drops the replaced rulesets that no request holds any more.
    pub fn drop_retired(&mut self) {
        self.retired.retain(|ruleset| Arc::strong_count(ruleset) > 1);
    }
}

pub(super) fn read_and_build(
    directory: &std::path::Path,
    options: &CompileOptions,
    known: Option<&CaseSet>,
) -> (Result<Built, Diagnostics>, Fingerprint) {
    match source::read(directory) {
        Ok(snapshot) => (build(snapshot.files, options, known), snapshot.fingerprint),
        Err(SourceError::Unreadable(errors, fingerprint)) => (Err(errors), fingerprint),
        // An empty fingerprint makes the next comparison read it again.
        Err(unsettled @ SourceError::Unsettled) => {
            let name = directory.display().to_string();
            let mut errors = Diagnostics::default();
            errors.push(Diagnostic::error(name, unsettled.to_string()));
            (Err(errors), Fingerprint::default())
        }
    }
}

pub(super) fn build(
    files: PolicyFiles,
    options: &CompileOptions,
    known: Option<&CaseSet>,
) -> Result<Built, Diagnostics> {
    let (cases, diagnostics) = policy::parse_cases(&files);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let cases = options.here.settle(cases);
    let facts = CaseSet::new(&cases, &files, known);
    let ruleset = Ruleset::compile_with(cases, &files, options)?;
    Ok(Built { files, ruleset, facts, warnings: diagnostics })
}

/// What the record of a set says beside its numbers.
fn detail(passport: &Passport, options: &CompileOptions) -> Map<String, Value> {
    let mut detail = passport.detail();
    if options.here.shadow {
        detail.insert("shadow".to_owned(), true.into());
    }
    detail
}

pub(super) fn keep(store: &Store, revision: Revision, files: &PolicyFiles, now: Timestamp) {
    if let Err(error) = store.keep(revision.0, files, now) {
        tracing::error!(%error, %revision, "the policy set is in force but could not be kept for a restart");
    }
}

fn report(result: ReloadResult, diagnostics: &Diagnostics, at: Timestamp, began: Instant) -> Report {
    let lines = |severity: Vec<&Diagnostic>| {
        severity.into_iter().take(limits::REPORTED_DIAGNOSTICS).map(ToString::to_string).collect()
    };
    Report {
        result,
        at,
        seconds: began.elapsed().as_secs_f64(),
        errors: lines(diagnostics.errors().collect()),
        warnings: lines(diagnostics.warnings().collect()),
        held: None,
    }
}

fn log_report(report: &Report, ruleset: &Ruleset) {
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    for error in &report.errors {
        tracing::error!("{error}");
    }
    let (revision, cases, hosts) = (ruleset.revision(), ruleset.cases().len(), ruleset.host_count());
    match report.result {
        ReloadResult::Applied => {
            tracing::info!(%revision, cases, hosts, seconds = report.seconds, "policy set in force");
        }
        ReloadResult::Unchanged => tracing::info!(%revision, "policy set unchanged"),
        ReloadResult::Rejected => {
            tracing::error!(%revision, "policy set refused; the running one stays");
        }
        ReloadResult::Held => {
            tracing::error!(%revision, "policy set held back; the running one stays until it is approved");
        }
        ReloadResult::LastGood => {
            tracing::error!(%revision, "policy set refused; started on the last good one");
        }
    }
}
