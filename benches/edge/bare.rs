//! Two proxies of Pingora's that enforce nothing, in one process: this bench, started anew.
//!
//! One does nothing of its own. The other has the features on that the edge has beside its enforcement, done as
//! Pingora's documentation does them: the same timeouts and bounds, the fields of one connection taken away, and the
//! client named to the origin (RFC 7239, and the older fields).

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use async_trait::async_trait;
use http::header;
use pingora::Result;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::{RunArgs, Server};

use super::process::{command, free_addresses};

/// Tells the child what to do: the addresses to listen on, the origin, and the certificate without its ending.
const TASK: &str = "INTERDICT_BENCH_BARE";

/// The edge's own default for a client or an origin that is silent, and between two requests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running process.
pub struct Bare {
    /// Cleartext and TLS of the one that does nothing, then of the one with features.
    pub listeners: [SocketAddr; 4],
    process: Child,
}

impl Bare {
    /// Starts it; it forwards everything to `origin`. The certificate is given without its ending.
    pub fn start(origin: SocketAddr, certificate: &Path, core: Option<usize>) -> Self {
        let addresses = free_addresses(4);
        let [plain, tls, plain_with, tls_with] = addresses[..] else { unreachable!("as many as asked for") };
        let listeners = [plain, tls, plain_with, tls_with];
        let program = env::current_exe().unwrap();
        let process = command(program.to_str().unwrap(), core)
            .env(TASK, format!("{plain} {tls} {plain_with} {tls_with} {origin} {}", certificate.display()))
            .spawn()
            .unwrap();
        let bare = Self { listeners, process };
        for address in bare.listeners {
            let is_there = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                TcpStream::connect(address).is_ok()
            });
            assert!(is_there, "the bare proxy does not listen on {address}");
        }
        bare
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Whether this process is to be the proxy.
pub fn is_child() -> bool {
    env::var_os(TASK).is_some()
}

/// Forwards until it is killed, with the edge's settings of Pingora.
pub fn serve() {
    let task = env::var(TASK).unwrap();
    let words: Vec<&str> = task.splitn(6, ' ').collect();
    let threads = std::thread::available_parallelism().unwrap().get();
    let conf = interdict::listen::server_conf(threads, Duration::from_secs(1));
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let origin = words[4].parse().unwrap();
    for (at, has_features) in [(0, false), (2, true)] {
        let mut service = http_proxy_service(&server.configuration, Forward { origin, has_features });
        if has_features {
            let app = service.app_logic_mut().unwrap();
            let mut options = HttpServerOptions::default();
            options.h2c = true;
            options.h2_idle_timeout = Some(PATIENCE);
            app.server_options = Some(options);
            app.h2_options = Some(default_h2_options());
        }
        service.add_tcp(words[at]);
        let path = words[5];
        let mut tls = TlsSettings::intermediate(&format!("{path}.crt"), &format!("{path}.key")).unwrap();
        tls.enable_h2();
        service.add_tls_with_settings(words[at + 1], None, tls);
        server.add_service(service);
    }
    server.run(RunArgs::default());
}

struct Forward {
    origin: SocketAddr,
    has_features: bool,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None, as in the edge.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, _context: &mut ()) -> Result<bool> {
        if self.has_features {
            let client = session.as_downstream_mut();
            client.set_read_timeout(Some(PATIENCE));
            client.set_write_timeout(Some(PATIENCE));
            client.set_total_drain_timeout(Some(PATIENCE));
            client.set_abort_on_close(false);
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.origin, false, String::new());
        if self.has_features {
            let options = &mut peer.options;
            options.connection_timeout = Some(Duration::from_secs(5));
            options.total_connection_timeout = Some(Duration::from_secs(5));
            options.read_timeout = Some(PATIENCE);
            options.write_timeout = Some(PATIENCE);
            options.idle_timeout = Some(PATIENCE);
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _context: &mut (),
    ) -> Result<()> {
        if self.has_features {
            tell(session, request)?;
        }
        Ok(())
    }
}

/// Takes away what is for one connection only, or says who asked, and says it anew.
fn tell(session: &Session, request: &mut RequestHeader) -> Result<()> {
    for name in
        ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"]
    {
        request.remove_header(name);
    }
    for name in ["x-real-ip", "x-forwarded-port", "x-forwarded-server", "x-forwarded-ssl"] {
        request.remove_header(name);
    }
    let peer = session.client_addr().and_then(|address| address.as_inet());
    let client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
    let is_secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let proto = if is_secure { "https" } else { "http" };
    let named = request.headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default().to_owned());
    let host = named.or_else(|| request.uri.authority().map(|host| host.to_string())).unwrap_or_default();
    request.insert_header("X-Forwarded-For", client.to_string())?;
    request.insert_header("X-Forwarded-Proto", proto)?;
    request.insert_header("X-Forwarded-Host", &host)?;
    request.insert_header("Forwarded", format!("for={client};host={host};proto={proto}"))
}
