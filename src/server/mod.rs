//! The composition root: from a configuration to a running edge, and back to nothing.
//!
//! Order at the start: sockets, audit log, state, first ruleset, keeper, Pingora. Whatever can be wrong is
//! found before the first connection is accepted. Order at the stop: accept no more, let requests end, end
//! the keeper, record `edge.stopped`, close the log.

mod activation;
mod certificates;
mod change;
mod control;
mod descriptors;
mod early;
mod enforcement;
mod handover;
mod launch;
mod passing;
mod predecessor;
mod reloading;
mod retention;
mod settings;
mod sockets;
mod stop;
mod systemd;
mod upgrade;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;

use certificates::CertificateWatch;
use early::Early;
use handover::Named;
use launch::Launch;
use predecessor::Predecessor;
use reloading::Reloading;
use settings::Reconfigure;
use sockets::Sockets;
use stop::Departure;
use upgrade::Upgrader;

pub use activation::ActivationError;
pub use change::{Conversation, ask_about};
pub use control::{ControlError, ask, ask_within};
pub use enforcement::{Enforcement, EnforcementError, Options, rules};
pub use retention::{HoldChange, KeptLog, RetainError, RetentionRequest, holds, retain};

use crate::config::{self, Config, ConfigError, Limits};
use crate::forward::Origins;
use crate::gate::Gate;
use crate::limits::{BLOCKED_BURST_SECONDS, HTTP2_MALFORMED_STREAMS};
use crate::listen::{
    self, Admin, AdminError, BindError, BoundListener, Cache, CacheSettings, EdgeApp, EdgeProxy,
    HealthChecks, Listeners, Listening, Live, Purger, Reload, TlsError, TrustError, Warden,
};
use crate::rate::Rate;
use crate::reload::Routed;
use crate::status::Status;

/// Why an edge did not start, or stopped with a failure.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Policies, state or audit log cannot be used.
    #[error(transparent)]
    Enforcement(#[from] EnforcementError),
    /// A socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket of the service manager's cannot be used.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// A listener's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin listener's token cannot be used.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The authorities that a route trusts cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Threads, signals or standard output failed.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

impl ServerError {
    /// Whether the configuration or the policies are at fault, rather than the machine.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Config(_) | Self::Tls(_) | Self::Admin(_) | Self::Trust(_) | Self::Activation(_) => true,
            Self::Enforcement(error) => error.is_configuration(),
            Self::Bind(_) | Self::Control(_) | Self::Io(_) => false,
        }
    }
}

/// Runs an edge until it is told to stop, or another process has succeeded it.
///
/// # Errors
/// When it cannot start, or its server failed.
pub fn run(config_path: &Path) -> Result<(), ServerError> {
    let signals = Early::listen()?;
    let launch = Launch::of_this_process()?;
    let Some((predecessor, sockets)) = Predecessor::find()? else {
        return run_after(None, config_path, (launch, signals), activation::sockets()?);
    };
    let outcome = run_after(Some(&predecessor), config_path, (launch, signals), sockets);
    if let Err(error) = &outcome {
        predecessor.disappoint(error);
    }
    outcome
}

fn run_after(
    predecessor: Option<&Predecessor>,
    config_path: &Path,
    (launch, mut signals): (Launch, Early),
    mut inherited: Named,
) -> Result<(), ServerError> {
    let config = Config::load(config_path)?;
    descriptors::take_all(&config.limits);
    let sockets = Sockets::take(&config, &mut inherited)?;
    if predecessor.is_none() {
        activation::all_are_taken(&inherited)?;
    }
    // What the process before had and nobody asks for any more is closed.
    drop(inherited);
    let (listeners, certificates) = certificates::listeners(&config.listen, &sockets.edge)?;
    let _watch = CertificateWatch::start(certificates)?;
    // Told to stop before anything is served or recorded, there is nothing to end.
    if signals.is_told_to_stop() {
        return Ok(());
    }
    let options = Options::from_config(&config);
    let routed = options.routed.clone();
    let enforcement = Enforcement::start_after(options, predecessor)?;
    let origin = Origin { predecessor, launch, signals, config_path, routed };
    let outcome = serve(&config, sockets, listeners, &enforcement, origin);
    // Whatever went wrong, the log says that this edge stopped, and is closed in order.
    enforcement.stop();
    outcome
}

/// Where this process comes from.
struct Origin<'p> {
    /// The process that it succeeds.
    predecessor: Option<&'p Predecessor>,
    launch: Launch,
    /// What it was told meanwhile.
    signals: Early,
    config_path: &'p Path,
    /// The patterns of its routes.
    routed: Routed,
}

fn serve(
    config: &Config,
    sockets: Sockets,
    listeners: Listeners,
    enforcement: &Enforcement,
    mut origin: Origin<'_>,
) -> Result<(), ServerError> {
    let gate = enforcement.gate();
    let origins = Arc::new(Origins::new(config.routes.clone()));
    let upstream = settings::upstream(config, Arc::clone(&gate), Arc::clone(&origins))?;
    let origins = Arc::new(ArcSwap::new(origins));
    let (edge, report, shown) = (config.edge.to_string(), enforcement.report(), Arc::clone(&origins));
    let status = Arc::new(Status::new(edge, Arc::clone(&gate), report, shown));
    let banner = sockets.banner();
    let departure = Arc::new(Departure::default());
    let (state, leaving) = (enforcement.state(), Arc::clone(&departure));
    let upgrader = Arc::new(Upgrader::new(origin.launch, sockets.duplicates()?, state, leaving));
    let mut server = Server::new_with_opt_and_conf(None, conf(config));
    server.bootstrap();
    let cache = config.cache.as_ref().map(|cache| start_cache(cache, &gate, &mut server));
    let live = Arc::new(Live::new(settings::settings(config, Arc::new(upstream))));
    let app = edge_app((&server, &config.limits), listeners, (&live, cache), enforcement)
        .leaving(departure.leave());
    let reloading = reloading((origin.config_path, origin.routed), config, (&live, origins), enforcement);
    let edge = Listening::new("edge", app, sockets.edge);
    let vitals = systemd::Vitals { serving: edge.pulse(), keeper: enforcement.pulse() };
    server.add_service(edge);
    watch_origins(&mut server, &live);
    if let (Some(admin), Some(socket)) = (&config.admin, sockets.admin) {
        let reload: Arc<dyn Reload> = Arc::clone(&reloading) as _;
        let app = Admin::new(Arc::clone(&gate), Arc::clone(&status), reload, admin.token_file.as_deref())?;
        add_admin(&mut server, app, socket);
    }
    // All that may take its time is done: long lists are read.
    if origin.signals.is_told_to_stop() {
        return Ok(());
    }
    let drained = stop::Drained::watch(&server, Arc::clone(gate.metrics()), Arc::clone(&departure));
    let (runtime, stop, work) = origin.signals.share();
    let (signals, begun) = stop::Signals::new(stop, Arc::clone(&departure));
    let pingora = start_pingora(server, signals)?;
    begun.recv().map_err(|_| std::io::Error::other("the server ended before it had started"))?;
    vitals.wait_for_service()?;
    let desk = control::Desk {
        status,
        keeper: enforcement.keeper_line(),
        archivist: enforcement.archivist(),
        upgrader: Arc::clone(&upgrader),
        approvals: enforcement.approvals(),
        reloading,
        cache,
    };
    let control = control::Control::start(&config.policy.state, desk, (runtime, work))?;
    let begun = take_place(origin.predecessor, &control, &banner, vitals, &departure);
    if begun.is_err() {
        // What was accepted until now is served all the same.
        departure.begin();
    }
    drained.wait(&pingora, || {
        upgrader.close();
        if !departure.is_handed_over() {
            systemd::stopping();
        }
    });
    control.stop();
    if pingora.is_finished() && pingora.join().is_err() {
        return Err(std::io::Error::other("the server ended in a panic").into());
    }
    begun
}

fn reloading(
    (path, routed): (&Path, Routed),
    config: &Config,
    (live, origins): (&Arc<Live>, Arc<ArcSwap<Origins>>),
    enforcement: &Enforcement,
) -> Arc<Reloading> {
    let reconfigure = Reconfigure::new(path.to_owned(), config.clone(), Arc::clone(live), origins, routed);
    Arc::new(Reloading::new(reconfigure, enforcement.reload_requests()))
}

fn start_pingora(server: Server, signals: stop::Signals) -> std::io::Result<JoinHandle<()>> {
    let run = move || server.run(RunArgs { shutdown_signal: Box::new(signals) });
    std::thread::Builder::new().name("pingora".to_owned()).spawn(run)
}

/// Becomes the edge that the commands and the service manager know.
fn take_place(
    predecessor: Option<&Predecessor>,
    control: &control::Control,
    banner: &str,
    vitals: systemd::Vitals,
    departure: &Arc<Departure>,
) -> Result<(), ServerError> {
    if let Some(predecessor) = predecessor {
        predecessor.take_over().map_err(EnforcementError::Predecessor)?;
        control.publish()?;
        systemd::ready();
        predecessor.dismiss();
    } else {
        control.publish()?;
        announce(banner)?;
        systemd::ready();
    }
    control.heed_signals();
    systemd::watch(vitals, Arc::clone(departure))?;
    Ok(())
}

fn edge_app(
    (server, limits): (&Server, &Limits),
    listeners: Listeners,
    (live, cache): (&Arc<Live>, Option<&'static Cache>),
    enforcement: &Enforcement,
) -> EdgeApp<pingora::proxy::HttpProxy<EdgeProxy>> {
    let gate = enforcement.gate();
    let blocked = limits.blocked_rate;
    gate.limit_whole_answers(Rate::new(blocked, blocked.saturating_mul(BLOCKED_BURST_SECONDS)));
    let proxy = EdgeProxy::new(Arc::clone(&gate), Arc::clone(live)).with_cache(cache);
    let mut proxy = http_proxy(&server.configuration, proxy);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    // Tunnels are refused by the proxy itself, after the verdict: a blocked name is blocked first.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let mut h2 = pingora::protocols::http::v2::server::default_h2_options();
    h2.max_header_list_size(limits.http2_header_list_bytes);
    h2.max_concurrent_streams(limits.http2_streams);
    h2.max_local_error_reset_streams(Some(HTTP2_MALFORMED_STREAMS));
    proxy.h2_options = Some(h2);
    EdgeApp::new(proxy, gate, listeners, Arc::clone(live))
}

fn add_admin(server: &mut Server, app: Admin, socket: BoundListener) {
    let mut service = Listening::new("admin", app, vec![socket]);
    service.use_threads(1);
    server.add_service(service);
}

fn start_cache(cache: &config::Cache, gate: &Arc<Gate>, server: &mut Server) -> &'static Cache {
    let settings = CacheSettings {
        bytes: cache.bytes,
        object_bytes: cache.object_bytes,
        default_ttl: cache.default_ttl,
        lock_timeout: cache.lock_timeout,
    };
    let cache = Cache::start(settings, Arc::clone(gate));
    server.add_service(background_service("cache", Purger::new(cache)));
    cache
}

/// Ends connections into networks that are closed, and asks the origins how they are.
fn watch_origins(server: &mut Server, live: &Arc<Live>) {
    let warden = Warden::new(Arc::clone(live.now().upstream.door()));
    let mut service = background_service("warden", warden);
    service.threads = Some(1);
    server.add_service(service);
    let mut service = background_service("health", HealthChecks::new(Arc::clone(live)));
    service.threads = Some(1);
    server.add_service(service);
}

/// One request thread for each processor, unless the configuration says otherwise.
fn conf(config: &Config) -> ServerConf {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    listen::server_conf(config.threads.unwrap_or_else(processors), config.limits.stop_grace)
}

/// Tells whoever started the edge where it listens. The sockets have been bound since before, so a client
/// that comes now is kept by the system until the first accept.
fn announce(banner: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(banner.as_bytes())?;
    out.flush()
}
