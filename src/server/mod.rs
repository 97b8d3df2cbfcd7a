//! The composition root: from a configuration to a running edge, and back to nothing.
//!
//! Order at the start: audit log, state, first ruleset, sockets, keeper, Pingora. Whatever can be wrong is
//! found before the first connection is accepted. Order at the stop: accept no more, let requests end, end
//! the keeper, record `edge.stopped`, close the log.

mod control;
mod enforcement;
mod stop;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::{RunArgs, Server};

pub use control::{ControlError, ask};
pub use enforcement::{Enforcement, EnforcementError, Options};

use crate::config::{Config, ConfigError};
use crate::limits;
use crate::listen::{
    self, Admin, AdminError, BindError, BoundListener, EdgeApp, EdgeProxy, Listening, Patience, Timeouts,
};
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
            Self::Config(_) | Self::Admin(_) => true,
            Self::Enforcement(error) => error.is_configuration(),
            Self::Bind(_) | Self::Control(_) | Self::Io(_) => false,
        }
    }
}

/// Runs an edge until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(config_path: &Path) -> Result<(), ServerError> {
    let config = Config::load(config_path)?;
    let enforcement = Enforcement::start(Options::from_config(&config))?;
    let gate = enforcement.gate();
    let status = Arc::new(Status::new(config.edge.to_string(), Arc::clone(&gate), enforcement.report()));

    let mut sockets = Vec::new();
    for listen in &config.listen {
        sockets.push(BoundListener::bind(listen.address)?);
    }
    let admin_socket = config.admin.as_ref().map(|admin| BoundListener::bind(admin.listen)).transpose()?;
    let control =
        control::Control::start(&config.policy.state, Arc::clone(&status), enforcement.reload_requests())?;
    let banner = banner(&sockets, admin_socket.as_ref());

    let conf = listen::server_conf(threads(), config.limits.stop_grace);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let app = edge_app(&config, &server, &enforcement);
    server.add_service(Listening::new("edge", app, sockets));
    if let (Some(admin), Some(socket)) = (&config.admin, admin_socket) {
        let app = Admin::new(Arc::clone(&gate), status, admin.token_file.as_deref())?;
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
    announce(&banner)?;
    drained.wait(&pingora);
    control.stop();
    enforcement.stop();
    Ok(())
}

fn edge_app(
    config: &Config,
    server: &Server,
    enforcement: &Enforcement,
) -> EdgeApp<pingora::proxy::HttpProxy<EdgeProxy>> {
    let gate = enforcement.gate();
    let metrics = Arc::clone(gate.metrics());
    let patience =
        Patience { connect: config.limits.connect_timeout, silence: config.limits.upstream_timeout };
    let mut proxy = http_proxy(&server.configuration, EdgeProxy::new(gate, config.routes.clone(), patience));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    // Tunnels are refused by the proxy itself, after the verdict: a blocked name is blocked first.
    options.allow_connect_method_proxying = true;
    options.h2_idle_timeout = Some(config.limits.idle_timeout);
    proxy.server_options = Some(options);
    let mut h2 = pingora::protocols::http::v2::server::default_h2_options();
    h2.max_header_list_size(limits::HTTP2_HEADER_LIST_BYTES);
    h2.max_concurrent_streams(limits::HTTP2_STREAMS);
    proxy.h2_options = Some(h2);
    let timeouts = Timeouts {
        header: config.limits.header_timeout,
        idle: config.limits.idle_timeout,
        read: limits::CLIENT_READ,
        write: limits::CLIENT_WRITE,
    };
    EdgeApp::new(proxy, timeouts, config.limits.head_bytes, metrics)
}

/// One request thread for each processor.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn banner(sockets: &[BoundListener], admin: Option<&BoundListener>) -> String {
    let mut lines = String::new();
    for socket in sockets {
        lines.push_str(&format!("listening {}\n", socket.address()));
    }
    if let Some(admin) = admin {
        lines.push_str(&format!("admin {}\n", admin.address()));
    }
    lines + "ready\n"
}

/// Tells whoever started the edge where it listens. The sockets have been bound since before, so a client
/// that comes now is kept by the system until the first accept.
fn announce(banner: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(banner.as_bytes())?;
    out.flush()
}
