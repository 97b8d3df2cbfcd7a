//! One reload: read, compile, swap, record, keep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::authority::Authority;
use super::build::{Builder, Built};
use super::history;
use super::names::NamesKeeper;
use super::note::Note;
use super::report::{Report, Result as ReloadResult, SharedReport};
use super::rollback;
use super::source::{self, Fingerprint};
use super::store::{Kept, Store, StoreError};
use crate::audit::{Audit, EventId};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gate::{Gate, object};
use crate::limits;
use crate::metrics::Metrics;
use crate::policy::{CompileOptions, Contents, PolicyFiles, Revision, Ruleset};

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
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    report: SharedReport,
    /// A set that the successor has not put in force yet was read: it is looked for again.
    awaited: bool,
    /// The `policy.applied` of the set in force; none when a successor has recorded it.
    applied: Option<EventId>,
    /// Whether a rollback was under way when the directory was last read.
    cut_off: bool,
    /// The directory as it was when last read, in force or not.
    fingerprint: Fingerprint,
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
    ) -> Result<Self, StartError> {
        let began = Instant::now();
        let cut_off = rollback::cut_off(&directory).is_some();
        let (names, restored) = NamesKeeper::open(store.root());
        let mut builder = Builder::new(directory, options, store.root(), restored);
        let (built, fingerprint) = builder.read(None);
        let now = clock.now();
        metrics.lists_read(built.as_ref().map_or(0, |built| built.lists_read));
        let first = match built {
            Ok(built) => from_directory(built, &mut builder, &mut store, now),
            Err(errors) => from_last_good(errors, &builder, &store)?,
        };
        let gate = Gate::new(Arc::new(first.ruleset), audit, metrics, Arc::clone(&clock));
        if first.result == ReloadResult::LastGood {
            gate.record_rejection(&first.problems, Map::new());
        }
        let applied = gate.record_application(&gate.ruleset(), first.result.as_str(), Map::new());
        let report = report(first.result, &first.problems, now, began);
        let report = identified(report, &gate.ruleset(), Some(applied));
        gate.metrics().reloaded(report.result.as_str());
        log_report(&report, &gate.ruleset());
        Ok(Self {
            builder,
            names,
            authority: Authority::Own(store),
            gate: Arc::new(gate),
            clock,
            report: SharedReport::new(report),
            awaited: false,
            applied: Some(applied),
            cut_off,
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
        self.builder.directory()
    }

    /// Whether the directory has changed since it was last read.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let cut_off = rollback::cut_off(self.directory()).is_some();
        cut_off != self.cut_off || source::fingerprint(self.directory()) != self.fingerprint
    }

    /// Reads the directory and, when it holds a good set that is not in force, swaps it in. The record of that says
    /// what `notes` say.
    pub fn reload(&mut self, notes: &[Note]) -> Report {
        let began = Instant::now();
        self.cut_off = rollback::cut_off(self.directory()).is_some();
        let (built, fingerprint) = self.builder.read(Some(&self.gate.ruleset()));
        self.gate.metrics().lists_read(built.as_ref().map_or(0, |built| built.lists_read));
        self.fingerprint = fingerprint;
        self.awaited = false;
        let now = self.clock.now();
        let mut told = None;
        let report = match built {
            Err(errors) => {
                // What a successor refuses, it records.
                if self.authority.is_own() {
                    told = Some(self.gate.record_rejection(&errors, changes(notes)));
                }
                report(ReloadResult::Rejected, &errors, now, began)
            }
            Ok(built) if built.files.digest() == self.gate.ruleset().digest() => {
                let (_, _, warnings) = self.builder.settle(built);
                self.builder.moved(&self.gate.ruleset());
                report(ReloadResult::Unchanged, &warnings, now, began)
            }
            Ok(built) if self.authority.is_own() => return self.apply(built, notes, now, began),
            Ok(built) => self.follow(built, now, began),
        };
        let report = identified(report, &self.gate.ruleset(), told.or(self.applied));
        self.publish(&report);
        report
    }

    fn publish(&self, report: &Report) {
        self.report.set(report.clone());
        self.gate.metrics().reloaded(report.result.as_str());
        log_report(report, &self.gate.ruleset());
    }

    /// Record, then swap: no record may name a revision that the log has not introduced. Keeping the set
    /// comes last, since a block must not wait for a disk to sync; the revision is safe in the log by then.
    fn apply(&mut self, built: Built, notes: &[Note], now: Timestamp, began: Instant) -> Report {
        let Authority::Own(store) = &mut self.authority else { return self.follow(built, now, began) };
        let revision = Revision(store.take_revision());
        let (files, ruleset, warnings) = self.builder.settle(built);
        let ruleset = Arc::new(ruleset.with_identity(revision, files.digest()));
        let result = ReloadResult::Applied.as_str();
        let applied = self.gate.record_application(&ruleset, result, changes(notes));
        self.applied = Some(applied);
        self.retired.push(self.gate.swap(ruleset));
        let report = report(ReloadResult::Applied, &warnings, now, began);
        let report = identified(report, &self.gate.ruleset(), self.applied);
        self.publish(&report);
        if let Authority::Own(store) = &self.authority {
            keep(store, revision, &files, self.builder.contents(), now);
            history::note(store.root(), revision.0, applied, notes);
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
        let (_, ruleset, warnings) = self.builder.settle(built);
        self.retired.push(self.gate.swap(Arc::new(ruleset.with_identity(revision, digest))));
        self.applied = None;
        report(ReloadResult::Applied, &warnings, now, began)
    }

    /// Merges the names of the set in force when that is worth it, beside the traffic, and keeps them for a restart.
    pub(super) fn tend_names(&mut self) {
        if let Some(merged) = self.names.take_merged()
            && let Some(same) = self.gate.ruleset().with_merged(&merged)
        {
            tracing::info!(revision = %same.revision(), bytes = same.index_bytes(), "the names were merged");
            self.builder.moved(&same);
            self.retired.push(self.gate.replace(Arc::new(same)));
        }
        if self.authority.is_own() {
            self.names.tend(&self.gate.ruleset(), self.builder.book(), self.builder.known());
        }
    }

    /// Drops the replaced rulesets that no request holds any more.
    pub fn drop_retired(&mut self) {
        self.retired.retain(|ruleset| Arc::strong_count(ruleset) > 1);
    }
}

/// What an edge starts on.
struct First {
    ruleset: Ruleset,
    result: ReloadResult,
    problems: Diagnostics,
}

fn from_directory(built: Built, builder: &mut Builder, store: &mut Store, now: Timestamp) -> First {
    let (files, ruleset, problems) = builder.settle(built);
    let digest = files.digest();
    // The very set that was in force before keeps its revision.
    let newest = store.newest_manifest().filter(|known| known.revision + 1 == store.next_revision());
    let revision = match newest {
        Some(manifest) if manifest.digest == digest.to_string() && store.holds(&files) => {
            Revision(manifest.revision)
        }
        _ => {
            let revision = Revision(store.take_revision());
            keep(store, revision, &files, builder.contents(), now);
            revision
        }
    };
    First { ruleset: ruleset.with_identity(revision, digest), result: ReloadResult::Applied, problems }
}

fn from_last_good(errors: Diagnostics, builder: &Builder, store: &Store) -> Result<First, StartError> {
    let (kept, problems) = store.last_good()?;
    for problem in problems {
        tracing::error!(%problem, "a kept policy set cannot be used");
    }
    let Some(Kept { manifest, files }) = kept else { return Err(StartError::NoPolicy(errors)) };
    let Ok(ruleset) = builder.compile_kept(&files) else { return Err(StartError::NoPolicy(errors)) };
    let ruleset = ruleset.with_identity(Revision(manifest.revision), files.digest());
    Ok(First { ruleset, result: ReloadResult::LastGood, problems: errors })
}

fn keep(store: &Store, revision: Revision, files: &PolicyFiles, contents: &dyn Contents, now: Timestamp) {
    if let Err(error) = store.keep_from(revision.0, files, contents, now) {
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
        revision: 0,
        digest: String::new(),
        event: None,
    }
}

/// What a record says of those who asked for a change.
fn changes(notes: &[Note]) -> Map<String, Value> {
    if notes.is_empty() { Map::new() } else { object(json!({ "changes": notes })) }
}

/// A report that says what is in force after it, and where that is recorded.
fn identified(report: Report, in_force: &Ruleset, event: Option<EventId>) -> Report {
    let (revision, digest) = (in_force.revision().0, in_force.digest().to_string());
    Report { revision, digest, event: event.map(|event| event.to_string()), ..report }
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
        ReloadResult::LastGood => {
            tracing::error!(%revision, "policy set refused; started on the last good one");
        }
    }
}
