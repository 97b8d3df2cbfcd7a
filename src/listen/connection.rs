//! The connection-level application that wraps Pingora's proxy.
//!
//! For HTTP/1 it reads each head whole and below HTTP, finds out which names the request is about, and hands
//! Pingora exactly one request at a time. HTTP/2 with prior knowledge is recognised by its preface and
//! handed over as it is; each of its streams is judged in the proxy.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::{ALPN, Ssl, Stream};
use pingora::server::ShutdownWatch;

use super::admission::{Admission, Admitted};
use super::begin::{Beginning, Begun, Refusal, begin};
use super::facts::{self, Connection};
use super::fast::{After, Answers, Memory};
use super::flight::{self, Flight, Occupation};
use super::frames::FrameLimits;
use super::head::{Next, await_first_byte, read_head};
use super::leave::Leave;
use super::listeners::Listeners;
use super::live::Live;
use super::respond;
use super::stream::{Budget, EdgeStream};
use super::tls::Outcome;
use super::turnstile::Turnstile;
use super::waiting::Waiting;
use crate::gate::Gate;
use crate::metrics::Metrics;

/// How long a client may take on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For one whole request head, from its first byte.
    pub header: Duration,
    /// Between two requests, and before the first.
    pub idle: Duration,
    /// Between two pieces of a request body.
    pub read: Duration,
    /// For the client to take one piece of an answer.
    pub write: Duration,
}

/// How much clients may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Octets of one HTTP/1 head.
    pub head_bytes: usize,
    /// Header fields of one request; no more than [`crate::limits::HEADER_FIELDS`].
    pub header_fields: usize,
    /// Frames of one HTTP/2 connection.
    pub frames: FrameLimits,
    /// Octets a second that a client takes at least while it is waited for; 0 for any.
    pub min_rate: u64,
    /// Connections.
    pub connections: usize,
    /// Connections of one client network.
    pub connections_per_network: usize,
}

/// Wraps an HTTP application of Pingora's, usually its proxy.
#[derive(Debug)]
pub struct EdgeApp<A> {
    pub(super) inner: Arc<A>,
    pub(super) gate: Arc<Gate>,
    listeners: Listeners,
    live: Arc<Live>,
    pub(super) admission: Arc<Admission>,
    pub(super) metrics: Arc<Metrics>,
    leave: Leave,
    /// Whether blocked requests may be answered below the proxy.
    pub(super) may_be_fast: bool,
    pub(super) turnstile: Arc<Turnstile>,
}

/// Counts a connection for as long as it lives.
struct Counted<'m>(&'m Metrics);

impl<'m> Counted<'m> {
    fn new(metrics: &'m Metrics) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

impl<A> EdgeApp<A> {
    /// How much clients may ask for from now on.
    pub(super) fn bounds(&self) -> Bounds {
        self.live.look(|live| live.bounds)
    }

    /// How long a client may take from now on.
    pub(super) fn timeouts(&self) -> Timeouts {
        self.live.look(|live| live.timeouts)
    }
}

impl<A> EdgeApp<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Wraps `inner`, whose requests pass `gate`.
    #[must_use]
    pub fn new(inner: A, gate: Arc<Gate>, listeners: Listeners, live: Arc<Live>) -> Self {
        let (inner, metrics) = (Arc::new(inner), Arc::clone(gate.metrics()));
        let bounds = live.now().bounds;
        let admission = Admission::new(bounds.connections, bounds.connections_per_network);
        Self {
            inner,
            gate,
            listeners,
            live,
            admission,
            metrics,
            leave: Leave::default(),
            may_be_fast: true,
            turnstile: Turnstile::new(),
        }
    }

    /// How it parts from idle connections when it stops.
    #[must_use]
    pub fn leaving(self, leave: Leave) -> Self {
        Self { leave, ..self }
    }

    /// The same, but that every request goes through the proxy: what the fast path is held to.
    pub(super) fn on_the_full_path(self) -> Self {
        Self { may_be_fast: false, ..self }
    }

    /// What a new connection is, once its handshake is through; nothing when there is nobody left to serve.
    async fn accept(&self, stream: Stream) -> Option<(Box<EdgeStream>, Connection, Admitted)> {
        let socket = stream.get_socket_digest();
        let address = |address: Option<&SocketAddr>| address.and_then(|address| address.as_inet()).copied();
        let peer = address(socket.as_ref().and_then(|socket| socket.peer_addr()));
        let (local, listener) = match self.listeners.only() {
            Some(only) => (only.address, only),
            None => {
                let local = address(socket.as_ref().and_then(|socket| socket.local_addr()))?;
                // A connection that came in on no address of ours cannot be told how it is meant to be served.
                (local, self.listeners.of(local)?)
            }
        };
        let mut connection = Connection::cleartext(peer, Some(local));
        connection.strict_sni = listener.strict_sni;
        connection.front = Arc::clone(&listener.front);
        let mut stream = Box::new(EdgeStream::new(stream, self.pace()));
        let admitted = match self.admit(&mut stream, &mut connection).await {
            Ok(admitted) => admitted,
            Err(label) => {
                self.metrics.rejected(label);
                return None;
            }
        };
        let Some(terminator) = &listener.tls else {
            return Some((stream, connection, admitted));
        };
        stream.admit(Budget::Unlimited);
        let patience = self.timeouts().header;
        // In a box, as are other steps that few connections are in for long: what is idle holds no room for them.
        let listener = connection.listener_text();
        let accept = terminator.accept(stream, connection.client, listener, &self.gate, patience);
        match Box::pin(accept).await {
            Outcome::Done(stream, tls) => {
                connection.tls = Some(tls);
                Some((Box::new(EdgeStream::new(stream, self.pace())), connection, admitted))
            }
            Outcome::Refused => None,
            Outcome::Failed(label) => {
                self.metrics.rejected(label);
                None
            }
        }
    }

    /// HTTP/2 where the handshake agreed on it, else what the first bytes say.
    pub(super) async fn serve_any(
        self: &Arc<Self>,
        mut stream: Box<EdgeStream>,
        connection: &Arc<Connection>,
        shutdown: &ShutdownWatch,
    ) {
        match facts::note(connection) {
            Ok(note) => stream.note(note),
            Err(error) => return tracing::error!(%error, "a connection cannot be noted"),
        }
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            Box::pin(self.serve_http2(stream, connection, shutdown)).await;
        } else {
            self.serve(stream, connection, shutdown).await;
        }
    }

    async fn serve(
        self: &Arc<Self>,
        mut stream: Box<EdgeStream>,
        connection: &Arc<Connection>,
        shutdown: &ShutdownWatch,
    ) {
        let mut occupation = Occupation::new(connection);
        let mut waiting = Waiting::new(self.gate.changes(), shutdown, &self.leave);
        let (mut is_new, mut is_flood) = (true, false);
        let (mut memory, mut answers) = (Memory::default(), Answers::default());
        while let Some(next) = self.next_head(&mut stream, &occupation, &mut waiting).await {
            let Next::Head(head_len) = next else {
                // Whatever it is, what was asked before it gets its answer first.
                answers.send(&mut stream).await.ok();
                return match next {
                    Next::Http2 if is_new => Box::pin(self.serve_http2(stream, connection, shutdown)).await,
                    next => self.turn_away(&mut stream, &next).await,
                };
            };
            is_new = false;
            if is_flood {
                self.turnstile.pass().await;
            }
            let bounds = self.bounds();
            let with = Beginning {
                gate: &self.gate,
                connection,
                most_fields: bounds.header_fields,
                // A stopping edge says so in its answers, which the full path knows how to.
                may_be_fast: self.may_be_fast && !*shutdown.borrow(),
            };
            let flight = match begin(&mut stream, head_len, &with, &mut memory) {
                Ok(Begun::Flight(flight)) => flight,
                Ok(Begun::Blocked(block)) => {
                    occupation.note_answered(&block.host);
                    is_flood = block.is_excess();
                    match answers.give(block, &mut stream, bounds.head_bytes).await {
                        After::Reuse => continue,
                        After::Close => return,
                    }
                }
                Err(Refusal { status, label, reason }) => {
                    answers.send(&mut stream).await.ok();
                    return self.reject(&mut stream, status, label, &reason).await;
                }
            };
            if answers.send(&mut stream).await.is_err() {
                return;
            }
            // Before the full path asks the ruleset: no change of it is missed. One that comes while the request is
            // served is still to be felt by the connection when it waits again.
            waiting.changes.begin();
            occupation.note(&flight);
            let served = self.serve_request(stream, Arc::clone(&flight), &mut waiting, shutdown).await;
            if !flight.is_settled() {
                is_flood = false;
                self.turnstile.note_other();
            }
            match served {
                Some(reusable) => stream = reusable,
                None => return,
            }
        }
    }

    /// The next head of the connection; nothing when the connection is to be closed instead.
    async fn next_head(
        &self,
        stream: &mut EdgeStream,
        occupation: &Occupation,
        waiting: &mut Waiting,
    ) -> Option<Next> {
        let Waiting { changes, idle, stopping } = waiting;
        let owed = changes.is_owed();
        let cut = occupation.until_cut(&self.gate, changes, owed, std::future::ready(()));
        let begun = tokio::select! {
            biased;
            begun = await_first_byte(stream) => begun,
            // A stopping edge closes what is idle; a request that has begun is still served.
            () = stopping.idle() => false,
            cut = cut => {
                let _receipt = cut.await;
                false
            }
            () = idle.over(self.timeouts().idle) => false,
        };
        if !begun {
            return None;
        }
        let (whole, max) = self.live.look(|live| (live.timeouts.header, live.bounds.head_bytes));
        match read_head(stream, whole, max).await {
            Ok(next) => Some(next),
            Err(error) => {
                tracing::debug!(%error, "a client connection broke");
                None
            }
        }
    }

    async fn serve_request(
        &self,
        stream: Box<EdgeStream>,
        flight: Arc<Flight>,
        waiting: &mut Waiting,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<EdgeStream>> {
        let mut session = ServerSession::new_http1(stream);
        let timeouts = self.timeouts();
        session.set_keepalive((!*shutdown.borrow()).then(|| timeouts.idle.as_secs().max(1)));
        session.set_read_timeout(Some(timeouts.read));
        session.set_write_timeout(Some(timeouts.write));
        session.set_total_drain_timeout(Some(timeouts.read));
        // Clients may close their sending side once they have asked (RFC 9112 §9.6).
        session.set_abort_on_close(false);
        let serving = self.inner.process_new_http(session, shutdown);
        let reused = flight::serve(flight, &self.gate, &mut waiting.changes, serving).await?;
        let (stream, _settings) = reused.consume();
        stream.into_any().downcast::<EdgeStream>().ok()
    }

    /// Parts from a client whose next bytes begin no request.
    async fn turn_away(&self, stream: &mut EdgeStream, next: &Next) {
        let (status, label, reason) = match next {
            Next::Head(_) | Next::Broken => return,
            // Whoever stands in front of the edge takes what comes now for requests of HTTP/1.
            Next::Http2 => (400, "malformed", "HTTP/2 begins with the connection (RFC 9113 §3.4)"),
            Next::Slow => (408, "slow", "the request took too long"),
            Next::TooLarge => (431, "head-too-large", "the request head is too large"),
        };
        self.reject(stream, status, label, reason).await;
    }

    async fn reject(&self, stream: &mut EdgeStream, status: u16, label: &str, reason: &str) {
        self.metrics.rejected(label);
        Box::pin(respond::reject(stream, status, reason)).await;
    }
}

#[async_trait]
impl<A> ServerApp for EdgeApp<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _counted = Counted::new(&self.metrics);
        if let Some((stream, connection, _admitted)) = self.accept(stream).await {
            self.serve_any(stream, &Arc::new(connection), shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.inner.http_cleanup().await;
    }
}
