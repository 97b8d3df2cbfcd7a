//! Constant load on keep-alive connections while something else happens.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;

use super::ledger::Ledger;
use super::{Client, Http2, Response, wait_until};

/// One request under load and what came of it.
#[derive(Debug)]
pub struct Sample {
    /// The host asked for.
    pub host: String,
    /// When it was sent.
    pub sent: Timestamp,
    /// When the whole answer was in.
    pub answered: Timestamp,
    /// The answer; an error when there was none.
    pub response: io::Result<Response>,
}

impl Sample {
    /// Whether it was blocked; fails when it got no answer.
    #[track_caller]
    pub fn blocked(&self) -> bool {
        match &self.response {
            Ok(response) => response.enforcement_id().is_some(),
            Err(error) => panic!("a request for {} failed: {error}", self.host),
        }
    }
}

/// Clients at work, each on one connection, each asking for its hosts in turn.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<Sample>>>,
}

impl Load {
    /// Starts `connections` clients that keep their connections. A client ends at the first failure, which its last
    /// sample holds.
    pub fn start(edge: SocketAddr, ledger: &Ledger, connections: usize, hosts: &[&str]) -> Self {
        Self::with(Manner::Keep, edge, ledger, connections, hosts)
    }

    /// The same; a request for the host `cut` may end without an answer, and its client then goes on with a new
    /// connection.
    pub fn start_cut(
        edge: SocketAddr,
        ledger: &Ledger,
        connections: usize,
        hosts: &[&str],
        cut: Option<&str>,
    ) -> Self {
        let asker = || Asker { cut: cut.map(ToOwned::to_owned), ..Asker::new(Manner::Keep, edge, ledger) };
        Self::start_all((0..connections).map(|_| asker()), hosts)
    }

    /// As [`Self::start`], in another manner.
    pub fn with(
        manner: Manner,
        edge: SocketAddr,
        ledger: &Ledger,
        connections: usize,
        hosts: &[&str],
    ) -> Self {
        Self::start_all((0..connections).map(|_| Asker::new(manner, edge, ledger)), hosts)
    }

    fn start_all(askers: impl Iterator<Item = Asker>, hosts: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let worker = |asker| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            thread::spawn(move || work(asker, &hosts, &stop, &sent))
        };
        let workers = askers.map(worker).collect();
        Self { stop, sent, workers }
    }

    /// Waits until `count` further answers are in.
    #[track_caller]
    pub fn wait_for_answers(&self, count: usize) {
        let until = self.sent.load(Ordering::SeqCst) + count;
        wait_until("the load went on", || self.sent.load(Ordering::SeqCst) >= until);
    }

    /// Ends it and hands over all samples.
    pub fn finish(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::SeqCst);
        self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    }
}

fn work(mut asker: Asker, hosts: &[String], stop: &AtomicBool, sent: &AtomicUsize) -> Vec<Sample> {
    let mut samples = Vec::new();
    for host in hosts.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let start = Timestamp::now();
        let response = asker.ask(host);
        let failed = response.is_err();
        samples.push(Sample { host: host.clone(), sent: start, answered: Timestamp::now(), response });
        if failed {
            if asker.cut.as_ref() != Some(host) {
                break;
            }
            asker.http1 = None;
        }
        sent.fetch_add(1, Ordering::SeqCst);
    }
    samples
}

/// How a client treats its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// HTTP/1.1, kept until the edge says `Connection: close`.
    Keep,
    /// HTTP/1.1, another connection for each request.
    Fresh,
    /// HTTP/2, kept until the edge says GOAWAY.
    Http2,
}

/// One client.
struct Asker {
    manner: Manner,
    edge: SocketAddr,
    ledger: Ledger,
    /// A request for this host may end without an answer.
    cut: Option<String>,
    http1: Option<Client>,
    http2: Option<Http2>,
}

impl Asker {
    fn new(manner: Manner, edge: SocketAddr, ledger: &Ledger) -> Self {
        Self { manner, edge, ledger: ledger.clone(), cut: None, http1: None, http2: None }
    }

    fn ask(&mut self, host: &str) -> io::Result<Response> {
        if self.manner == Manner::Http2 { self.ask_http2(host) } else { self.ask_http1(host) }
    }

    fn ask_http1(&mut self, host: &str) -> io::Result<Response> {
        let client = match &mut self.http1 {
            Some(client) => client,
            none => none.insert(Client::connect(self.edge, self.ledger.clone())?),
        };
        client.about(host).send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response =
            client.try_response(false)?.ok_or_else(|| io::Error::other("closed without an answer"))?;
        if self.manner == Manner::Fresh || response.field("connection") == Some("close") {
            self.http1 = None;
        }
        Ok(response)
    }

    /// A connection that goes away takes no new stream: nothing was sent, and the next one is tried.
    fn ask_http2(&mut self, host: &str) -> io::Result<Response> {
        for _ in 0..3 {
            let client = match &mut self.http2 {
                Some(client) => client,
                none => none.insert(Http2::connect(self.edge, self.ledger.clone())),
            };
            let head = http::Request::get(format!("http://{host}/")).body(()).unwrap();
            match client.open(head, None) {
                Ok(pending) => return client.finish(pending).map_err(io::Error::other),
                Err(error) if error.reason().is_none_or(|reason| reason == h2::Reason::NO_ERROR) => {
                    self.http2 = None;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Err(io::Error::other("every connection goes away at once"))
    }
}
