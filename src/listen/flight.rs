//! One request under way, and its end when a swap of rules blocks what it serves.
//!
//! ```text
//! begin (before the ruleset is asked) -> judged -> forwarded ... a change of rules -> judged again -> recorded -> cut
//! ```
//!
//! A request whose answer has not begun loses its origin and gets the answer of its case instead; every other ends
//! where it is.
//!
//! The flight listens for changes from before the request is judged, so no swap falls between the two. Dropping the
//! future that serves it closes an HTTP/1 connection, resets an HTTP/2 stream and lets go of the origin.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use smallvec::smallvec;
use tokio::time::{sleep, timeout};

use super::door::Use;
use super::facts::Connection;
use super::waiting::Changes;
use crate::act::Ask;
use crate::audit::Pending;
use crate::gate::{Asked, Cut, Gate};
use crate::hostname::Hostname;
use crate::identify::{Identity, Version};
use crate::limits;

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
    /// The connection on which it waits for an answer, where it is alone on it. Written by the proxy.
    waits_on: Mutex<Option<Use>>,
    /// It is on a connection to an origin, or was.
    out: AtomicBool,
    /// The answer has begun.
    begun: AtomicBool,
    /// It has lost its origin to a cut.
    bereft: AtomicBool,
    /// An enforcement has answered, or an earlier cut: there is nothing left to end.
    settled: AtomicBool,
}

/// What was asked, kept for the record of a cut.
#[derive(Debug)]
pub(super) struct Question {
    protocol: &'static str,
    method: http::Method,
    /// The target, of so many octets, and the `User-Agent` behind it when there is one. A query is never recorded.
    text: Box<[u8]>,
    path_len: usize,
    has_agent: bool,
}

impl Question {
    pub(super) fn new(
        version: Version,
        method: http::Method,
        path: &[u8],
        user_agent: Option<&[u8]>,
    ) -> Self {
        let text = [path, user_agent.unwrap_or_default()].concat().into_boxed_slice();
        let (path_len, has_agent) = (path.len(), user_agent.is_some());
        Self { protocol: version.as_str(), method, text, path_len, has_agent }
    }

    /// What an idle connection has not asked yet.
    fn none() -> Self {
        let (method, text) = (http::Method::GET, Box::default());
        Self { protocol: "", method, text, path_len: 0, has_agent: false }
    }

    fn path(&self) -> &[u8] {
        self.text.get(..self.path_len).unwrap_or_default()
    }

    fn user_agent(&self) -> Option<&[u8]> {
        self.text.get(self.path_len..).filter(|_| self.has_agent)
    }
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
            waits_on: Mutex::default(),
            out: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            bereft: AtomicBool::new(false),
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
        Some(Self::new(Arc::clone(connection), Arc::new(identity), connection.client, Question::none()))
    }

    /// The flight that the running task serves; none in a proxy that embeds this crate.
    pub(super) fn current() -> Option<Arc<Self>> {
        FLIGHT.try_with(Arc::clone).ok()
    }

    /// Looks at that flight, without holding on to it.
    pub(super) fn with_current<T>(look: impl FnOnce(&Self) -> T) -> Option<T> {
        FLIGHT.try_with(|flight| look(flight)).ok()
    }

    /// Nothing of this request is left to be cut.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Whether an enforcement has answered, or a cut.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// The request is sent to this origin.
    pub(super) fn leads_to(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(upstream);
    }

    /// Where it leads, if it has come that far.
    pub(super) fn upstream(&self) -> Option<SocketAddr> {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request has gone out on a connection that is its own for now; `None` when it has left that one.
    pub(super) fn waits_on(&self, connection: Option<Use>) {
        *self.waits_on.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// The request has had its whole answer, or will have no more of one: its connection is idle if it is there still.
    pub(super) fn has_ended(&self) {
        if let Some(connection) = self.waits_on.lock().unwrap_or_else(PoisonError::into_inner).take() {
            connection.is_over(&self.identity);
        }
    }

    /// The request goes out on a connection. False when it must not: a cut came first.
    pub(super) fn goes_out(&self) -> bool {
        self.out.store(true, Ordering::Relaxed);
        !self.is_bereft()
    }

    /// The answer begins. False when it must not: the origin it comes from was cut off.
    pub(super) fn begin_answer(&self) -> bool {
        self.begun.store(true, Ordering::Relaxed);
        !self.is_bereft()
    }

    /// Whether a cut has taken the origin away, and the answer of the case is what is left.
    pub(super) fn is_bereft(&self) -> bool {
        self.bereft.load(Ordering::Relaxed)
    }

    /// Takes the origin away from a request whose answer has not begun: the connection that it waits on, or the leave to go
    /// out on one. False when neither can be taken, and the request has to end where it is.
    fn bereave(&self) -> bool {
        if self.begun.load(Ordering::Relaxed) {
            return false;
        }
        let connection = self.waits_on.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_out = self.out.load(Ordering::Relaxed);
        if connection.is_none() && is_out {
            return false;
        }
        self.bereft.store(true, Ordering::Relaxed);
        connection.map_or(!is_out, |connection| connection.end())
    }

    /// Takes the origin away whatever has come of the answer. What is on a connection of its own ends at once.
    pub(super) fn strand(&self) {
        self.bereft.store(true, Ordering::Relaxed);
        let connection = self.waits_on.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that has ended already needs no end.
        if let Some(connection) = connection {
            connection.end();
        }
    }

    /// Content went to the client.
    pub(super) fn sent(&self, octets: usize) {
        self.sent.fetch_add(octets as u64, Ordering::Relaxed);
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            identity: &self.identity,
            client: self.client,
            listener: self.connection.listener_text(),
            tls: self.connection.tls_version(),
            protocol: self.question.protocol,
            method: self.question.method.as_str(),
            path: self.question.path(),
            user_agent: self.question.user_agent(),
            ask: Ask::default(),
        }
    }

    /// Judges again. What comes back when it must not go on is the record of its cut: whoever has it carries it out
    /// as soon as it is acknowledged.
    fn judge_again(&self, gate: &Gate, idle: bool) -> Option<Pending> {
        if self.is_settled() {
            return None;
        }
        let cut = Cut {
            upstream: self.upstream().filter(|_| !idle),
            sent: self.sent.load(Ordering::Relaxed),
            age: if idle { self.connection.opened.elapsed() } else { self.began.elapsed() },
            idle,
        };
        let pending = gate.judge_again(&self.asked(), &cut)?;
        self.settle();
        Some(pending)
    }

    /// Returns when a change of rules blocks this request, with the record of its cut.
    async fn until_cut(&self, gate: &Gate, changes: &mut impl Changes) -> Pending {
        while changes.next().await {
            if self.begun.load(Ordering::Relaxed) {
                // An answer of a few octets ends by itself; torn in the middle it would only look like a fault.
                sleep(limits::CUT_GRACE).await;
            }
            if let Some(pending) = self.judge_again(gate, false) {
                return pending;
            }
        }
        // The gate is gone, and with it whoever could change the rules.
        std::future::pending().await
    }

    /// Returns when a change of rules blocks what this connection served last and `idle` has come, with the record of
    /// its cut.
    async fn until_cut_idle(
        &self,
        gate: &Gate,
        changes: &mut impl Changes,
        owed: bool,
        idle: impl Future<Output = ()>,
    ) -> Pending {
        let mut goes_on = owed || changes.next().await;
        idle.await;
        while goes_on {
            if let Some(pending) = self.judge_again(gate, true) {
                return pending;
            }
            goes_on = changes.next().await;
        }
        std::future::pending().await
    }
}

/// What a connection is about while it waits for its next request.
///
/// One that has served several hosts is shared, by a proxy in front or by an HTTP/2 client: ending it would disturb
/// the others, and its next request is judged anyway. Only the server name of its handshake is in every request.
#[derive(Debug)]
pub(super) struct Occupation {
    handshake: Option<Arc<Flight>>,
    only: Option<Last>,
    is_shared: bool,
}

/// What a connection served last.
#[derive(Debug)]
enum Last {
    Flight(Arc<Flight>),
    /// A request for this host that got the answer of a case: nothing of it is left to be cut.
    Answered(Hostname),
}

impl Last {
    fn host(&self) -> &Hostname {
        match self {
            Self::Flight(flight) => &flight.identity.host,
            Self::Answered(host) => host,
        }
    }
}

impl Occupation {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        Self { handshake: Flight::of_handshake(connection), only: None, is_shared: false }
    }

    /// The connection serves this from now on.
    pub(super) fn note(&mut self, flight: &Arc<Flight>) {
        self.is_shared |= self.only.as_ref().is_some_and(|only| *only.host() != flight.identity.host);
        self.only = (!self.is_shared).then(|| Last::Flight(Arc::clone(flight)));
    }

    /// The connection has answered a blocked request for this host.
    pub(super) fn note_answered(&mut self, host: &Hostname) {
        if matches!(&self.only, Some(Last::Answered(known)) if known == host) {
            return;
        }
        self.is_shared |= self.only.as_ref().is_some_and(|only| only.host() != host);
        self.only = (!self.is_shared).then(|| Last::Answered(host.clone()));
    }

    /// Returns when a change of rules blocks it and `idle` has come, with the record of its cut; `owed` when there has
    /// been one by which it was not judged.
    pub(super) async fn until_cut(
        &self,
        gate: &Gate,
        changes: &mut impl Changes,
        owed: bool,
        idle: impl Future<Output = ()>,
    ) -> Pending {
        let served = match &self.only {
            Some(Last::Flight(flight)) => Some(flight),
            Some(Last::Answered(_)) => None,
            None => self.handshake.as_ref(),
        };
        match served {
            Some(flight) => flight.until_cut_idle(gate, changes, owed, idle).await,
            None => std::future::pending().await,
        }
    }
}

/// Serves a flight with `serving`, to its end or to its cut.
///
/// `changes` must have been asked for before the flight is judged.
pub(super) async fn serve<T>(
    flight: Arc<Flight>,
    gate: &Gate,
    changes: &mut impl Changes,
    serving: impl Future<Output = Option<T>>,
) -> Option<T> {
    let mut under_way = std::pin::pin!(FLIGHT.scope(Arc::clone(&flight), serving));
    let cut = tokio::select! {
        biased;
        served = &mut under_way => return served,
        cut = flight.until_cut(gate, changes) => cut,
    };
    // Until the record is safe the request stands still: it goes no further, and its cut is not seen.
    let _receipt = cut.await;
    // The proxy notices that the origin is gone, and gives the answer of the case.
    if flight.bereave() { timeout(limits::CUT_ANSWER, under_way).await.ok().flatten() } else { None }
}
