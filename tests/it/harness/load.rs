//! Constant load on keep-alive connections while something else happens.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;

use super::ledger::Ledger;
use super::{Client, Response, wait_until};

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
    /// Starts `connections` clients. A client ends at the first failure, which its last sample holds.
    pub fn start(edge: SocketAddr, ledger: &Ledger, connections: usize, hosts: &[&str]) -> Self {
        Self::start_cut(edge, ledger, connections, hosts, None)
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
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let worker = |_| {
            let (stop, sent, ledger) = (Arc::clone(&stop), Arc::clone(&sent), ledger.clone());
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            let cut = cut.map(ToOwned::to_owned);
            thread::spawn(move || work(edge, ledger, &hosts, cut.as_deref(), &stop, &sent))
        };
        let workers = (0..connections).map(worker).collect();
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

fn work(
    edge: SocketAddr,
    ledger: Ledger,
    hosts: &[String],
    cut: Option<&str>,
    stop: &AtomicBool,
    sent: &AtomicUsize,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut client = None;
    for host in hosts.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let start = Timestamp::now();
        let response = ask(&mut client, edge, &ledger, host);
        let failed = response.is_err();
        samples.push(Sample { host: host.clone(), sent: start, answered: Timestamp::now(), response });
        if failed {
            if cut != Some(host) {
                break;
            }
            client = None;
        }
        sent.fetch_add(1, Ordering::SeqCst);
    }
    samples
}

fn ask(client: &mut Option<Client>, edge: SocketAddr, ledger: &Ledger, host: &str) -> io::Result<Response> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(edge, ledger.clone())?),
    };
    client.about(host).send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.try_response(false)?.ok_or_else(|| io::Error::other("closed without an answer"))
}
