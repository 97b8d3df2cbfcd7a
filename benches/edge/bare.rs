//! A proxy of Pingora's that does nothing of its own, as a process: this bench, started anew.

use std::env;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use async_trait::async_trait;
use pingora::Result;
use pingora::listeners::tls::TlsSettings;
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::{RunArgs, Server};

use super::process::{command, free_addresses};

/// Tells the child what to do: the addresses to listen on, the origin, and the certificate without its ending.
const TASK: &str = "INTERDICT_BENCH_BARE";

/// The running process.
pub struct Bare {
    /// Cleartext, and TLS.
    pub listeners: [SocketAddr; 2],
    process: Child,
}

impl Bare {
    /// Starts it; it forwards everything to `origin`. The certificate is given without its ending.
    pub fn start(origin: SocketAddr, certificate: &Path, core: Option<usize>) -> Self {
        let addresses = free_addresses(2);
        let listeners = [addresses[0], addresses[1]];
        let [plain, tls] = listeners;
        let program = env::current_exe().unwrap();
        let process = command(program.to_str().unwrap(), core)
            .env(TASK, format!("{plain} {tls} {origin} {}", certificate.display()))
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
    let words: Vec<&str> = task.splitn(4, ' ').collect();
    let threads = std::thread::available_parallelism().unwrap().get();
    let conf = interdict::listen::server_conf(threads, Duration::from_secs(1));
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward(words[2].parse().unwrap()));
    service.add_tcp(words[0]);
    let path = words[3];
    let mut tls = TlsSettings::intermediate(&format!("{path}.crt"), &format!("{path}.key")).unwrap();
    tls.enable_h2();
    service.add_tls_with_settings(words[1], None, tls);
    server.add_service(service);
    server.run(RunArgs::default());
}

struct Forward(SocketAddr);

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None, as in the edge.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}
