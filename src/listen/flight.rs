//! One request under way, and its end when a swap of rules blocks what it serves.
//!
//! ```text
//! begin (before the ruleset is asked) -> judged -> forwarded ... a change of rules -> judged again -> recorded -> dropped
//! ```
//!
//! The flight listens for changes from before the request is judged, so no swap falls between the two. Dropping the
//! future that serves it closes an HTTP/1 connection, resets an HTTP/2 stream and lets go of the origin.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use smallvec::smallvec;
use tokio::sync::watch;

use super::facts::Connection;
use crate::act::Ask;
use crate::gate::{Asked, Cut, Gate};
use crate::identify::Identity;

tokio::task_local! {
    /// The flight that this task serves.
    static FLIGHT: Arc<Flight>;
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) connection: Arc<Connection>,
    pub(super) identity: Arc<Identity>,
    /// Who asks, for this request: a trusted proxy in front may name another client with each.
    pub(super) client: IpAddr,
    question: Question,
    began: Instant,
    /// Octets of the answer's content that went to the client.
    sent: AtomicU64,
    /// The origin that is asked, once there is one. Written by the proxy.
    upstream: Mutex<Option<SocketAddr>>,
    /// An enforcement has answered, or an earlier cut: there is nothing left to end.
    settled: AtomicBool,
}

/// What was asked, kept for the record of a cut.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) protocol: &'static str,
    pub(super) method: http::Method,
    /// The target; a query is never recorded.
    pub(super) path: Box<[u8]>,
    pub(super) user_agent: Option<Box<[u8]>>,
}

impl Flight {
    pub(super) fn new(
        connection: Arc<Connection>,
        identity: Arc<Identity>,
        client: IpAddr,
        question: Question,
    ) -> Arc<Self> {
        Arc::new(Self {
            connection,
            identity,
            client,
            question,
            began: Instant::now(),
            sent: AtomicU64::new(0),
            upstream: Mutex::default(),
            settled: AtomicBool::new(false),
        })
    }

    /// What an idle connection is about before its first request: the server name of its handshake.
    fn of_handshake(connection: &Arc<Connection>) -> Option<Arc<Self>> {
        let sni = connection.sni()?;
        let identity = Identity {
            host: sni.clone(),
            port: None,
            names: smallvec![sni.clone()],
            seen: smallvec![sni.as_str().as_bytes().to_vec()],
        };
        let question =
            Question { protocol: "", method: http::Method::GET, path: Box::default(), user_agent: None };
        Some(Self::new(Arc::clone(connection), Arc::new(identity), connection.client, question))
    }

    /// The flight that the running task serves; none in a proxy that embeds this crate.
    pub(super) fn current() -> Option<Arc<Self>> {
        FLIGHT.try_with(Arc::clone).ok()
    }

    /// Nothing of this request is left to be cut.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// The request is sent to this origin.
    pub(super) fn leads_to(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(upstream);
    }

    /// Content went to the client.
    pub(super) fn sent(&self, octets: usize) {
        self.sent.fetch_add(octets as u64, Ordering::Relaxed);
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            identity: &self.identity,
            client: self.client,
            listener: self.connection.listener,
            tls: self.connection.tls_version(),
            protocol: self.question.protocol,
            method: self.question.method.as_str(),
            path: &self.question.path,
            user_agent: self.question.user_agent.as_deref(),
            ask: Ask::default(),
        }
    }

    /// Judges again. When the request must not go on, that has been recorded and acknowledged on return.
    async fn is_cut(&self, gate: &Gate, idle: bool) -> bool {
        if self.settled.load(Ordering::Relaxed) && !idle {
            return false;
        }
        let upstream = *self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = Cut {
            upstream: upstream.filter(|_| !idle),
            sent: self.sent.load(Ordering::Relaxed),
            age: if idle { self.connection.opened.elapsed() } else { self.began.elapsed() },
            idle,
        };
        let Some(pending) = gate.judge_again(&self.asked(), &cut) else { return false };
        let _receipt = pending.await;
        self.settle();
        true
    }

    /// Returns when a change of rules blocks this request, and that is on record.
    async fn until_cut(&self, gate: &Gate, changes: &mut watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            if self.is_cut(gate, false).await {
                return;
            }
        }
        // The gate is gone, and with it whoever could change the rules.
        std::future::pending().await
    }

    /// Returns when a change of rules blocks what this connection served last and `idle` has come, and that is on
    /// record.
    async fn until_cut_idle(
        &self,
        gate: &Gate,
        changes: &mut watch::Receiver<u64>,
        idle: impl Future<Output = ()>,
    ) {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        idle.await;
        while !self.is_cut(gate, true).await {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// What a connection is about while it waits for its next request.
///
/// One that has served several hosts is shared, by a proxy in front or by an HTTP/2 client: ending it would disturb
/// the others, and its next request is judged anyway. Only the server name of its handshake is in every request.
#[derive(Debug)]
pub(super) struct Occupation {
    handshake: Option<Arc<Flight>>,
    only: Option<Arc<Flight>>,
    is_shared: bool,
}

impl Occupation {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        Self { handshake: Flight::of_handshake(connection), only: None, is_shared: false }
    }

    /// The connection serves this from now on.
    pub(super) fn note(&mut self, flight: &Arc<Flight>) {
        self.is_shared |= self.only.as_ref().is_some_and(|only| only.identity.host != flight.identity.host);
        self.only = (!self.is_shared).then(|| Arc::clone(flight));
    }

    /// Returns when a change of rules blocks it and `idle` has come, and that is on record.
    pub(super) async fn until_cut(
        &self,
        gate: &Gate,
        mut changes: watch::Receiver<u64>,
        idle: impl Future<Output = ()>,
    ) {
        match self.only.as_ref().or(self.handshake.as_ref()) {
            Some(flight) => flight.until_cut_idle(gate, &mut changes, idle).await,
            None => std::future::pending().await,
        }
    }
}

/// Serves a flight with `serving`, to its end or to its cut; nothing comes back from a cut.
///
/// `changes` must have been asked for before the flight is judged.
pub(super) async fn serve<T>(
    flight: Arc<Flight>,
    gate: &Gate,
    mut changes: watch::Receiver<u64>,
    serving: impl Future<Output = Option<T>>,
) -> Option<T> {
    let under_way = FLIGHT.scope(Arc::clone(&flight), serving);
    tokio::select! {
        biased;
        served = under_way => served,
        () = flight.until_cut(gate, &mut changes) => None,
    }
}
