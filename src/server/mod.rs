//! The composition root: from a configuration to a running edge, and back to nothing.
//!
//! Order at the start: sockets, audit log, state, first ruleset, keeper, Pingora. Whatever can be wrong is
//! found before the first connection is accepted. Order at the stop: accept no more, let requests end, end
//! the keeper, record `edge.stopped`, close the log.

mod certificates;
mod control;
mod enforcement;
mod retention;
mod stop;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::{RunArgs, Server};

use certificates::CertificateWatch;
pub use control::{ControlError, ask};
pub use enforcement::{Enforcement, EnforcementError, Options};
pub use retention::{HoldChange, RetainError, RetentionRequest, holds, retain};

use crate::config::{Config, ConfigError, Limits};
use crate::limits;
use crate::listen::{
    self, Admin, AdminError, BindError, BoundListener, Bounds, EdgeApp, EdgeProxy, FrameLimits, Listeners,
    Listening, Patience, Timeouts, TlsError,
};
use crate::rate::Rate;
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
    /// A listener's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin listener's token cannot be used.
    #[error(transparent)]
    Admin(#[from] AdminError),
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
            Self::Config(_) | Self::Tls(_) | Self::Admin(_) => true,
            Self::Enforcement(error) => error.is_configuration(),
            Self::Bind(_) | Self::Control(_) | Self::Io(_) => false,
        }
    }
}

/// Runs an edge until it is told to stop.
///
/// # Errors
/// When it cannot start, or its server failed.
pub fn run(config_path: &Path) -> Result<(), ServerError> {
    let config = Config::load(config_path)?;
    let sockets = Sockets::bind(&config)?;
    let (listeners, certificates) = certificates::listeners(&config.listen, &sockets.edge)?;
    let _watch = CertificateWatch::start(certificates)?;
    let enforcement = Enforcement::start(Options::from_config(&config))?;
    let outcome = serve(&config, sockets, listeners, &enforcement);
    // Whatever went wrong, the log says that this edge stopped, and is closed in order.
    enforcement.stop();
    outcome
}

/// The sockets of an edge, bound before anything is recorded.
struct Sockets {
    edge: Vec<BoundListener>,
    admin: Option<BoundListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, BindError> {
        let mut edge = Vec::new();
        for listen in &config.listen {
            edge.push(BoundListener::bind(listen.address)?);
        }
        let admin = config.admin.as_ref().map(|admin| BoundListener::bind(admin.listen)).transpose()?;
        Ok(Self { edge, admin })
    }

    /// What whoever started the edge reads on standard output.
    fn banner(&self) -> String {
        let edge = self.edge.iter().map(|socket| format!("listening {}\n", socket.address()));
        let admin = self.admin.iter().map(|socket| format!("admin {}\n", socket.address()));
        edge.chain(admin).collect::<String>() + "ready\n"
    }
}

fn serve(
    config: &Config,
    sockets: Sockets,
    listeners: Listeners,
    enforcement: &Enforcement,
) -> Result<(), ServerError> {
    let gate = enforcement.gate();
    let status = Arc::new(Status::new(config.edge.to_string(), Arc::clone(&gate), enforcement.report()));
    let banner = sockets.banner();

    let mut server =
        Server::new_with_opt_and_conf(None, listen::server_conf(threads(), config.limits.stop_grace));
    server.bootstrap();
    let app = edge_app(config, &server, listeners, enforcement);
    server.add_service(Listening::new("edge", app, sockets.edge));
    if let (Some(admin), Some(socket)) = (&config.admin, sockets.admin) {
        let app = Admin::new(Arc::clone(&gate), Arc::clone(&status), admin.token_file.as_deref())?;
        let mut service = Listening::new("admin", app, vec![socket]);
        service.use_threads(1);
        server.add_service(service);
    }
    let drained = stop::Drained::watch(&server, Arc::clone(gate.metrics()));
    let (signals, begun) = stop::Signals::new();
    let pingora = std::thread::Builder::new()
        .name("pingora".to_owned())
        .spawn(move || server.run(RunArgs { shutdown_signal: Box::new(signals) }))?;
    begun.recv().map_err(|_| std::io::Error::other("the server ended before it had started"))??;
    let control = control::Control::start(
        &config.policy.state,
        status,
        enforcement.reload_requests(),
        enforcement.archivist(),
    )?;
    announce(&banner)?;
    drained.wait(&pingora);
    control.stop();
    if pingora.is_finished() && pingora.join().is_err() {
        return Err(std::io::Error::other("the server ended in a panic").into());
    }
    Ok(())
}

fn edge_app(
    config: &Config,
    server: &Server,
    listeners: Listeners,
    enforcement: &Enforcement,
) -> EdgeApp<pingora::proxy::HttpProxy<EdgeProxy>> {
    let gate = enforcement.gate();
    let blocked = config.limits.blocked_rate;
    gate.limit_whole_answers(Rate::new(blocked, blocked.saturating_mul(limits::BLOCKED_BURST_SECONDS)));
    let patience = Patience {
        connect: config.limits.connect_timeout,
        silence: config.limits.upstream_timeout,
        client: config.limits.client_timeout,
        min_rate: config.limits.min_rate,
    };
    let mut proxy =
        http_proxy(&server.configuration, EdgeProxy::new(Arc::clone(&gate), config.routes.clone(), patience));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    // Tunnels are refused by the proxy itself, after the verdict: a blocked name is blocked first.
    options.allow_connect_method_proxying = true;
    options.h2_idle_timeout = Some(config.limits.idle_timeout);
    proxy.server_options = Some(options);
    let mut h2 = pingora::protocols::http::v2::server::default_h2_options();
    h2.max_header_list_size(config.limits.http2_header_list_bytes);
    h2.max_concurrent_streams(config.limits.http2_streams);
    h2.max_local_error_reset_streams(Some(limits::HTTP2_MALFORMED_STREAMS));
    proxy.h2_options = Some(h2);
    let timeouts = Timeouts {
        header: config.limits.header_timeout,
        idle: config.limits.idle_timeout,
        read: config.limits.client_timeout,
        write: config.limits.client_timeout,
    };
    EdgeApp::new(proxy, gate, listeners, timeouts, bounds(&config.limits))
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

/// One request thread for each processor.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Tells whoever started the edge where it listens. The sockets have been bound since before, so a client
/// that comes now is kept by the system until the first accept.
fn announce(banner: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(banner.as_bytes())?;
    out.flush()
}
