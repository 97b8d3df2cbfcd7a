//! Everything enforcement needs, without a listener: for the edge, and for proxies that embed it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::change::KeeperLine;
use super::predecessor::Predecessor;
use super::retention::Archivist;
use crate::audit::{self, Acknowledge, Audit, ClientPrivacy, Kind, OpenError, Period, Pseudonyms, Recovery};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::gate::{Gate, object};
use crate::limits;
use crate::metrics::{Metrics, MetricsError};
use crate::policy::{CompileOptions, Here};
use crate::pulse::Pulse;
use crate::reload::{
    ApprovalRequest, Approvers, Guarding, Keeper, KeeperHandle, ReloadRequest, Routed, Rules, SharedReport,
    Signers, StartError, StateHold, Store, StoreError, Swapper,
};

/// Where enforcement finds its files, and how it behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of this edge in every record.
    pub edge: String,
    /// The policy directory.
    pub policies: PathBuf,
    /// Where the last good sets are kept.
    pub state: PathBuf,
    /// The audit log's directory.
    pub audit: PathBuf,
    /// How client addresses appear in records.
    pub client: ClientPrivacy,
    /// When an event counts as recorded.
    pub acknowledge: Acknowledge,
    /// How long events are collected for one flush, when the disk acknowledges.
    pub commit_interval: Duration,
    /// A second audit directory, on another disk.
    pub spare: Option<PathBuf>,
    /// The size at which a segment of the log is closed, in bytes.
    pub segment_bytes: u64,
    /// How long the policy directory must be still before it is read.
    pub debounce: Duration,
    /// How many policy sets are kept in the state directory.
    pub keep_revisions: usize,
    /// The URL of whoever runs this edge, for `Link: …; rel="blocked-by"` (RFC 7725 §4).
    pub blocked_by: Option<String>,
    /// Whether every case only watches.
    pub shadow: bool,
    /// What policy sets are held against before they come into force.
    pub rules: Rules,
    /// The patterns that routes name, for the guard.
    pub routed: Routed,
    /// Whether the keeper itself listens for `SIGHUP` and reloads. The edge listens elsewhere.
    pub hangup: bool,
}

impl Options {
    /// Sensible settings for a proxy that embeds this crate: pseudonymous clients, no signal handler.
    #[must_use]
    pub fn new(
        edge: &str,
        policies: impl Into<PathBuf>,
        state: impl Into<PathBuf>,
        audit: impl Into<PathBuf>,
    ) -> Self {
        let state = state.into();
        Self {
            edge: edge.to_owned(),
            policies: policies.into(),
            client: ClientPrivacy::Pseudonym(Pseudonyms {
                keys: state.join("client.key"),
                period: Period::default(),
            }),
            acknowledge: Acknowledge::default(),
            commit_interval: audit::COMMIT_INTERVAL,
            spare: None,
            state,
            audit: audit.into(),
            segment_bytes: audit::SEGMENT_BYTES,
            debounce: limits::SETTLE_QUIET,
            keep_revisions: limits::KEPT_REVISIONS,
            blocked_by: None,
            shadow: false,
            rules: Rules::default(),
            routed: Routed::default(),
            hangup: false,
        }
    }

    /// The settings of an edge.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let routed = Routed::default();
        routed.set(config.routes.patterns());
        Self {
            rules: rules(config),
            shadow: config.policy.shadow,
            routed,
            edge: config.edge.to_string(),
            policies: config.policy.directory.clone(),
            state: config.policy.state.clone(),
            audit: config.audit.directory.clone(),
            client: config.audit.client.clone(),
            acknowledge: config.audit.acknowledge,
            commit_interval: config.audit.commit_interval,
            spare: config.audit.spare.clone(),
            segment_bytes: config.audit.segment_bytes,
            debounce: config.policy.debounce,
            keep_revisions: config.policy.keep_revisions,
            blocked_by: config.policy.blocked_by.clone(),
            hangup: false,
        }
    }

    /// How the audit log is kept; `succeed` when another process may still have it.
    pub(super) fn audit(&self, succeed: bool) -> audit::Options {
        audit::Options {
            directory: self.audit.clone(),
            segment_bytes: self.segment_bytes,
            edge: self.edge.clone(),
            client: self.client.clone(),
            acknowledge: self.acknowledge,
            commit_interval: self.commit_interval,
            spare: self.spare.clone(),
            witness: Some(self.state.join("audit.head")),
            succeed,
        }
    }
}

/// Why enforcement cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EnforcementError {
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] OpenError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no policy set to start on.
    #[error(transparent)]
    Policy(#[from] StartError),
    /// The metrics cannot be set up.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The process that is to be succeeded does not do its part.
    #[error("the process before this one does not hand over: {0}")]
    Predecessor(std::io::Error),
    /// The keeper's thread cannot be started.
    #[error("cannot watch the policy directory: {0}")]
    Keeper(std::io::Error),
}

impl EnforcementError {
    /// Whether the policies are at fault, rather than the machine.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Policy(StartError::NoPolicy(_)))
    }
}

/// Running enforcement: a gate, and the keeper that keeps its ruleset up to date.
#[derive(Debug)]
pub struct Enforcement {
    gate: Arc<Gate>,
    audit: Arc<Audit>,
    report: SharedReport,
    keeper: KeeperHandle,
    archivist: Arc<Archivist>,
}

impl Enforcement {
    /// Opens the log, loads the policies and starts to watch them.
    ///
    /// # Errors
    /// When the log or the state cannot be opened, or there is no policy set to start on.
    pub fn start(options: Options) -> Result<Self, EnforcementError> {
        Self::start_after(options, None)
    }

    /// The same, in succession to another process: it records beside that one from the start, and has the state
    /// directory before it reads a policy.
    pub(super) fn start_after(
        options: Options,
        predecessor: Option<&Predecessor>,
    ) -> Result<Self, EnforcementError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::new()?);
        let log = options.audit(predecessor.is_some());
        let (audit, recovery) = Audit::open(log.clone(), Arc::clone(&clock))?;
        let audit = Arc::new(audit);
        let given = predecessor.map(Predecessor::take_state).transpose();
        let given = given.map_err(EnforcementError::Predecessor)?;
        let mut store = Store::open(&options.state)?.keeping(options.keep_revisions);
        store.seen(given.unwrap_or(0));
        let announced = store.announced().or(recovery.last_time).unwrap_or_else(|| clock.now());
        store.note_announced(announced);
        store.seen(recovery.last_revision);
        record_start(&audit, &recovery);
        let here = Here { edge: Some(options.edge.clone()), shadow: options.shadow };
        if options.shadow {
            tracing::warn!("`shadow = true`: every case only watches, and nothing is blocked");
        }
        let Options { rules, routed, .. } = options;
        let guarding = Guarding::new(rules, options.policies.clone(), &options.state, routed);
        let swapper = Swapper::start(
            options.policies,
            CompileOptions { blocked_by: options.blocked_by, here, ..CompileOptions::default() },
            store,
            Arc::clone(&audit),
            metrics,
            Arc::clone(&clock),
            guarding,
        );
        let swapper = swapper.inspect_err(|_| end(&audit, recovery.last_revision))?;
        let (gate, report) = (swapper.gate(), swapper.report());
        let revision = gate.ruleset().revision().0;
        let keeper = Keeper { swapper, announced, clock, debounce: options.debounce, hangup: options.hangup };
        let keeper = keeper.spawn().inspect_err(|_| end(&audit, revision));
        let keeper = keeper.map_err(EnforcementError::Keeper)?;
        let archivist = Archivist::new(Arc::clone(&audit), Some(Arc::clone(&gate)), &log);
        Ok(Self { gate, audit, report, keeper, archivist: Arc::new(archivist) })
    }

    /// The gate requests pass.
    #[must_use]
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// The last reload.
    #[must_use]
    pub fn report(&self) -> SharedReport {
        self.report.clone()
    }

    /// Who carries out holds and pruning.
    pub(super) fn archivist(&self) -> Arc<Archivist> {
        Arc::clone(&self.archivist)
    }

    /// A way to ask for reloads.
    #[must_use]
    pub fn reload_requests(&self) -> mpsc::Sender<ReloadRequest> {
        self.keeper.requests()
    }

    /// How the control socket reaches the keeper.
    pub(super) fn keeper_line(&self) -> KeeperLine {
        KeeperLine {
            gate: Arc::clone(&self.gate),
            changes: self.keeper.changes(),
            rehearsals: self.keeper.rehearsals(),
        }
    }

    /// A way to approve of a set that is held back.
    pub(super) fn approvals(&self) -> mpsc::Sender<ApprovalRequest> {
        self.keeper.approvals()
    }

    /// Has the keeper let go of the state directory.
    pub(super) fn state(&self) -> StateHold {
        self.keeper.state()
    }

    /// Beats as long as the keeper does its work.
    pub(super) fn pulse(&self) -> Pulse {
        self.keeper.pulse()
    }

    /// Ends the keeper, records `edge.stopped` and closes the log.
    pub fn stop(self) {
        self.keeper.stop();
        end(&self.audit, self.gate.ruleset().revision().0);
    }
}

/// What `[guard]` and the keys in `[policy]` say.
#[must_use]
pub fn rules(config: &Config) -> Rules {
    let config::Guard { settings, approvals, keys } = config.guard.clone();
    let signers = Signers { keys: config.policy.keys.clone(), threshold: config.policy.threshold };
    Rules { settings, approvers: Approvers { keys, needed: approvals }, signers }
}

/// The last record of an edge, also of one that could not start, and the end of its log.
fn end(audit: &Audit, revision: u64) {
    // Signed with everything else: what the log must hold of this process, this record left out.
    let counters = audit.counters();
    let detail = object(json!({
        "decided": counters.decided,
        "durable": counters.durable,
        "gap": counters.gap,
    }));
    let pending = audit.record(&audit::Event {
        kind: Kind::EdgeStopped,
        revision,
        enforcement: None,
        request: None,
        detail: Some(&detail),
    });
    let _receipt = pending.wait();
    if let Err(error) = audit.close() {
        let pending = audit.counters().gap_pending;
        tracing::error!(%error, pending, "the audit log could not be closed in order");
    }
}

fn record_start(audit: &Audit, recovery: &Recovery) {
    for problem in &recovery.problems {
        tracing::error!(%problem, "the audit log is not as it was left");
    }
    if recovery.torn_bytes > 0 {
        tracing::warn!(bytes = recovery.torn_bytes, "a record that was never acknowledged was set aside");
    }
    let mut detail = object(json!({ "version": env!("CARGO_PKG_VERSION") }));
    detail.append(&mut recovery.detail());
    let pending = audit.record(&audit::Event {
        kind: Kind::EdgeStarted,
        revision: recovery.last_revision,
        enforcement: None,
        request: None,
        detail: Some(&detail),
    });
    let _receipt = pending.wait();
}
