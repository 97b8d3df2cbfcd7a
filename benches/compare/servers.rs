//! How the edge and its peers are set up for the same work, each on one core.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::tempdir;

use crate::crowd::{self, Request};
use crate::edge::bare::Bare;
use crate::edge::process::cpu_of;
use crate::edge::server::{Haproxy, Nginx, Server};
use crate::edge::{Edge, case, certify, save};
use crate::machine::Cores;

pub const BLOCKED: &str = "blocked.example";
pub const REFUSED: &str = "refused.example";
pub const ALLOWED: &str = "allowed.example";
/// What every row of peers is named after.
pub const EDGE: &str = "interdict";
pub const NGINX: &str = "nginx, no log";
pub const NGINX_LOGGED: &str = "nginx, access log";
pub const HAPROXY: &str = "HAProxy, no log";
pub const HAPROXY_LOGGED: &str = "HAProxy, log";
pub const BARE: &str = "bare Pingora proxy";

/// Every block gets its whole page, however many come from this machine.
pub const WHOLE_PAGES: &str = "[limits]\nblocked_rate = 1000000\nconnections_per_network = 100000\n";
/// The id in the answers of peers: as long as a real one, so that as much is sent and the client finds what it looks for.
pub const SOME_ID: &str = "01930000-0000-7000-8000-000000000001";
/// nginx takes no longer words in its configuration.
const LONGEST_BODY: usize = 3900;

/// A running server under its name.
pub struct Contender {
    name: &'static str,
    /// The status of its block answers.
    pub status: u16,
    process: Process,
}

enum Process {
    Edge(Edge),
    Server(Server),
    Bare(Bare),
}

impl Contender {
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn pids(&self) -> Vec<u32> {
        match &self.process {
            Process::Edge(edge) => vec![edge.pid()],
            Process::Server(server) => server.pids(),
            Process::Bare(bare) => vec![bare.pid()],
        }
    }

    /// Cleartext.
    pub fn plain(&self) -> SocketAddr {
        self.addresses()[0]
    }

    pub fn tls(&self) -> SocketAddr {
        self.addresses()[1]
    }

    fn addresses(&self) -> &[SocketAddr] {
        match &self.process {
            Process::Edge(edge) => &edge.listeners,
            Process::Server(server) => &server.addresses,
            Process::Bare(bare) => &bare.listeners,
        }
    }

    pub fn cpu_us(&self) -> (f64, f64) {
        cpu_of(&self.pids())
    }
}

/// Where everything is that servers are started with.
pub struct Yard {
    pub cores: Cores,
    pub origin: SocketAddr,
    certificates: PathBuf,
    /// Of a block answer: as many octets as the edge's page has.
    body: String,
    _home: tempfile::TempDir,
}

impl Yard {
    pub fn new(cores: Cores) -> Self {
        let home = tempdir().unwrap();
        let certificates = home.path().join("certs");
        certify(&certificates, &[ALLOWED, BLOCKED]);
        let mut yard =
            Self { cores, origin: crate::origin::start(), certificates, body: String::new(), _home: home };
        let page = crowd::body(yard.edge(WHOLE_PAGES).plain(), &Request::get(BLOCKED));
        yard.body = "x".repeat(page.len().min(LONGEST_BODY));
        yard
    }

    fn certificate(&self) -> String {
        self.certificates.join(ALLOWED).display().to_string()
    }

    /// The edge with a page for one host and a refusal for another; every action is on record
    /// (`acknowledge = "process"`).
    pub fn edge(&self, limits: &str) -> Contender {
        let edge = self.edge_with(limits, |policies| {
            let lines = format!("hosts = [\"{BLOCKED}\"]");
            save(policies, "cases/b.toml", &case("B-1", &lines));
            let lines = format!("action = \"refuse\"\nhosts = [\"{REFUSED}\"]");
            save(policies, "cases/r.toml", &case("R-1", &lines));
        });
        Contender { name: EDGE, status: 403, process: Process::Edge(edge) }
    }

    pub fn edge_with(&self, limits: &str, prepare: impl FnOnce(&Path)) -> Edge {
        let tables = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificates = \"{}\" }}\n\
             [audit]\nacknowledge = \"process\"\n{limits}",
            self.certificates.display()
        );
        Edge::start_on(Some(self.cores.server), tempdir().unwrap(), self.origin, &tables, prepare)
    }

    pub fn bare(&self) -> Contender {
        let bare = Bare::start(self.origin, &self.certificates.join(ALLOWED), Some(self.cores.server));
        Contender { name: BARE, status: 0, process: Process::Bare(bare) }
    }

    /// nginx with `map` and `return 451`; what is not blocked goes to the origin.
    pub fn nginx(&self, name: &'static str) -> Contender {
        let log = if name == NGINX_LOGGED { "access_log access.log combined" } else { "access_log off" };
        let http = |addresses: &[SocketAddr], _: &Path| {
            let [plain, tls, refusing] = [0, 1, 2].map(|at| addresses[at]);
            let certificate = self.certificate();
            let site = format!(
                "{} location / {{ proxy_pass http://origin; proxy_http_version 1.1;\n\
                 proxy_set_header Connection \"\"; proxy_set_header Host $host; }}",
                self.nginx_block()
            );
            let pair = format!("ssl_certificate {certificate}.crt; ssl_certificate_key {certificate}.key;");
            format!(
                "{log}; default_type text/html;\n\
                 map $host $blocked {{ hostnames; default 0; {BLOCKED} 1; }}\n\
                 map $blocked $id {{ default \"\"; 1 {SOME_ID}; }}\n\
                 upstream origin {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}\n\
                 server {{ listen {plain}; {site} }}\n\
                 server {{ listen {tls} ssl http2; {pair} {site} }}\n\
                 server {{ listen {refusing} ssl default_server; ssl_reject_handshake on; }}\n\
                 server {{ listen {refusing} ssl; server_name {ALLOWED}; {pair} return 200 ok; }}",
                origin = self.origin,
            )
        };
        let nginx = Nginx { core: Some(self.cores.server), workers: 1, listeners: 3, http: &http };
        let server = nginx.start(tempdir().unwrap()).expect("nginx does not start");
        Contender { name, status: 451, process: Process::Server(server) }
    }

    /// nginx's answer where `$blocked` is set; `$id` is not empty then.
    pub fn nginx_block(&self) -> String {
        format!("add_header enforcement-id $id always; if ($blocked) {{ return 451 \"{}\"; }}\n", self.body)
    }

    /// Where nginx and HAProxy refuse handshakes.
    pub fn refusing(contender: &Contender) -> SocketAddr {
        *contender.addresses().get(2).unwrap_or(&contender.tls())
    }

    /// HAProxy with a map and `http-request return`; what is not blocked goes to the origin.
    pub fn haproxy(&self, name: &'static str) -> Contender {
        let sections = |addresses: &[SocketAddr], home: &Path| {
            fs::write(home.join("names.map"), format!("{BLOCKED} 1\n")).unwrap();
            fs::write(home.join("page"), &self.body).unwrap();
            let pair = home.join("pair.pem");
            let [certificate, key] =
                ["crt", "key"].map(|end| fs::read(format!("{}.{end}", self.certificate())).unwrap());
            fs::write(&pair, [certificate, key].concat()).unwrap();
            let [plain, tls, refusing] = [0, 1, 2].map(|at| addresses[at]);
            format!(
                "frontend f\n  bind {plain}\n  bind {tls} ssl crt {pair} alpn h2,http/1.1\n\
                 \x20 bind {refusing} ssl crt {pair} strict-sni\n\
                 \x20 http-request return status 451 content-type text/html file {home}/page \
                 hdr enforcement-id {SOME_ID} if {{ req.hdr(host),host_only,lower,map_str({home}/names.map) -m found }}\n\
                 \x20 default_backend b\n\
                 backend b\n  server o {origin}\n",
                pair = pair.display(),
                home = home.display(),
                origin = self.origin,
            )
        };
        let logs = name == HAPROXY_LOGGED;
        let haproxy = Haproxy { core: Some(self.cores.server), listeners: 3, logs, sections: &sections };
        let server = haproxy.start(tempdir().unwrap()).expect("HAProxy does not start");
        Contender { name, status: 451, process: Process::Server(server) }
    }
}
