//! `edge.toml` while the edge runs: what can change without a new process, and what cannot.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::config::{Config, Limits};
use crate::forward::{Origins, Resolver};
use crate::gate::Gate;
use crate::listen::{Bounds, FrameLimits, Live, Patience, Settings, Timeouts, TrustError, Upstream};
use crate::reload::Routed;

/// Reads the file anew when asked to.
#[derive(Debug)]
pub(super) struct Reconfigure {
    path: PathBuf,
    /// The configuration in use.
    running: Mutex<Config>,
    live: Arc<Live>,
    /// For the status page.
    origins: Arc<ArcSwap<Origins>>,
    /// For the guard.
    routed: Routed,
}

impl Reconfigure {
    pub(super) fn new(
        path: PathBuf,
        running: Config,
        live: Arc<Live>,
        origins: Arc<ArcSwap<Origins>>,
        routed: Routed,
    ) -> Self {
        Self { path, running: Mutex::new(running), live, origins, routed }
    }

    /// Reads the file and takes up what it says, all of it or nothing. Returns the part of the answer that says so.
    pub(super) fn reload(&self) -> Value {
        let read = match Config::load(&self.path) {
            Ok(config) => config,
            Err(error) => return refused(error.to_string().lines().map(ToOwned::to_owned).collect()),
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running == read {
            return json!({ "result": "unchanged" });
        }
        let fixed = fixed(&running, &read);
        if !fixed.is_empty() {
            let told = |what: &str| {
                format!("{what} cannot change while the edge runs: restart it, or run `interdict upgrade`")
            };
            return refused(fixed.into_iter().map(told).collect());
        }
        let origins = Arc::new(Origins::new(read.routes.clone()));
        let upstream = self.live.now().upstream.leading_to(Arc::clone(&origins), &patience(&read));
        let upstream = match upstream {
            Ok(upstream) => Arc::new(upstream),
            Err(error) => return refused(vec![error.to_string()]),
        };
        self.origins.store(origins);
        self.routed.set(read.routes.patterns());
        self.live.set(settings(&read, upstream));
        *running = read;
        tracing::info!(path = %self.path.display(), "the configuration was read anew and is in use");
        json!({ "result": "applied" })
    }
}

fn refused(errors: Vec<String>) -> Value {
    for error in &errors {
        tracing::error!(%error, "the configuration was read anew and cannot be used; the one in use stays");
    }
    json!({ "result": "rejected", "errors": errors })
}

/// The way to these origins.
pub(super) fn upstream(
    config: &Config,
    gate: Arc<Gate>,
    origins: Arc<Origins>,
) -> Result<Upstream, TrustError> {
    let resolver = Arc::new(Resolver::new(config.dns.clone(), Arc::clone(gate.metrics())));
    Upstream::new(gate, origins, resolver, &patience(config))
}

/// What of a configuration requests are served by.
pub(super) fn settings(config: &Config, upstream: Arc<Upstream>) -> Settings {
    let limits = &config.limits;
    Settings {
        upstream,
        patience: patience(config),
        timeouts: Timeouts {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            read: limits.client_timeout,
            write: limits.client_timeout,
        },
        bounds: bounds(limits),
    }
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        head_bytes: limits.head_bytes,
        header_fields: limits.header_fields,
        frames: FrameLimits {
            resets: limits.http2_resets,
            control: limits.http2_control_frames,
            header_list: limits.http2_header_list_bytes,
            header_timeout: limits.header_timeout,
        },
        min_rate: limits.min_rate,
        connections: limits.connections,
        connections_per_network: limits.connections_per_network,
    }
}

/// How long others may take while a request is forwarded.
pub(super) fn patience(config: &Config) -> Patience {
    Patience {
        connect: config.limits.connect_timeout,
        silence: config.limits.upstream_timeout,
        client: config.limits.client_timeout,
        min_rate: config.limits.min_rate,
    }
}

/// The sections that differ and take another process. Every field is named here, so that a new one is not forgotten.
fn fixed(running: &Config, read: &Config) -> Vec<&'static str> {
    let Config { edge, threads, listen, policy, guard, audit, dns, admin, cache, limits, routes: _ } =
        running;
    let Limits {
        stop_grace,
        header_timeout: _,
        idle_timeout: _,
        head_bytes: _,
        client_timeout: _,
        connect_timeout: _,
        upstream_timeout: _,
        header_fields: _,
        min_rate: _,
        http2_resets: _,
        http2_control_frames: _,
        connections,
        connections_per_network,
        blocked_rate,
        http2_streams,
        http2_header_list_bytes,
    } = limits;
    let differs = [
        ("`edge`", *edge != read.edge),
        ("`threads`", *threads != read.threads),
        ("`[[listen]]`", *listen != read.listen),
        ("`[policy]`", *policy != read.policy),
        ("`[guard]`", *guard != read.guard),
        ("`[audit]`", *audit != read.audit),
        ("`[dns]`", *dns != read.dns),
        ("`[admin]`", *admin != read.admin),
        ("`[cache]`", *cache != read.cache),
        ("`stop_grace`", *stop_grace != read.limits.stop_grace),
        ("`connections`", *connections != read.limits.connections),
        ("`connections_per_network`", *connections_per_network != read.limits.connections_per_network),
        ("`blocked_rate`", *blocked_rate != read.limits.blocked_rate),
        ("`http2_streams`", *http2_streams != read.limits.http2_streams),
        ("`http2_header_list_bytes`", *http2_header_list_bytes != read.limits.http2_header_list_bytes),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
}
