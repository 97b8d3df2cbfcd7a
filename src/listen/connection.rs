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
use super::facts::{self, Connection};
use super::flight::{self, Flight, Occupation, Question};
use super::frames::FrameLimits;
use super::head::{Head, HeadError, Next, await_first_byte, read_head, with_target};
use super::leave::Leave;
use super::listeners::Listeners;
use super::live::Live;
use super::respond;
use super::stream::{Budget, EdgeStream};
use super::tls::Outcome;
use super::waiting::Waiting;
use crate::gate::Gate;
use crate::identify::{RequestParts, Target, Version};
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
        Self { inner, gate, listeners, live, admission, metrics, leave: Leave::default() }
    }

    /// How it parts from idle connections when it stops.
    #[must_use]
    pub fn leaving(self, leave: Leave) -> Self {
        Self { leave, ..self }
    }

    /// What a new connection is, once its handshake is through; nothing when there is nobody left to serve.
    async fn accept(&self, stream: Stream) -> Option<(Box<EdgeStream>, Connection, Admitted)> {
        let socket = stream.get_socket_digest();
        let address = |address: Option<&SocketAddr>| address.and_then(|address| address.as_inet()).copied();
        let peer = address(socket.as_ref().and_then(|socket| socket.peer_addr()));
        let local = address(socket.as_ref().and_then(|socket| socket.local_addr()));
        let mut connection = Connection::cleartext(peer, local);
        // A connection that came in on no address of ours cannot be told how it is meant to be served.
        let listener = self.listeners.of(local?)?;
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
        let accept = terminator.accept(stream, connection.client, local, &self.gate, patience);
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
    async fn serve_any(
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
        let mut is_new = true;
        while let Some(next) = self.next_head(&mut stream, &occupation, &mut waiting).await {
            let head_len = match next {
                Next::Head(length) => length,
                Next::Http2 if is_new => {
                    return Box::pin(self.serve_http2(stream, connection, shutdown)).await;
                }
                // Whoever stands in front of the edge takes what comes now for requests of HTTP/1.
                Next::Http2 => {
                    let reason = "HTTP/2 begins with the connection (RFC 9113 §3.4)";
                    return self.reject(&mut stream, 400, "malformed", reason).await;
                }
                Next::Broken => return,
                Next::Slow => {
                    return self.reject(&mut stream, 408, "slow", "the request took too long").await;
                }
                Next::TooLarge => {
                    let reason = "the request head is too large";
                    return self.reject(&mut stream, 431, "head-too-large", reason).await;
                }
            };
            is_new = false;
            // Before the ruleset is asked: no change of it is missed. One that comes while the request is served is
            // still to be felt by the connection when it waits again.
            waiting.changes.begin();
            let flight = match prepare(&mut stream, head_len, connection, self.bounds().header_fields) {
                Ok(flight) => flight,
                Err(refusal) => {
                    let Refusal { status, label, reason } = refusal;
                    return self.reject(&mut stream, status, label, &reason).await;
                }
            };
            occupation.note(&flight);
            match self.serve_request(stream, flight, &mut waiting, shutdown).await {
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

    async fn reject(&self, stream: &mut EdgeStream, status: u16, label: &str, reason: &str) {
        self.metrics.rejected(label);
        Box::pin(respond::reject(stream, status, reason)).await;
    }
}

/// A request that cannot be taken: which status to send, and why.
struct Refusal {
    status: u16,
    label: &'static str,
    reason: String,
}

/// Finds out what the buffered head asks for, and opens the gate for this one request.
fn prepare(
    stream: &mut EdgeStream,
    head_len: usize,
    connection: &Arc<Connection>,
    most_fields: usize,
) -> Result<Arc<Flight>, Refusal> {
    let bytes = stream.buffered().get(..head_len).unwrap_or_default();
    let head = Head::parse(bytes, most_fields, connection.client_header()).map_err(|error| Refusal {
        status: error.status(),
        label: if error == HeadError::TooManyFields { "head-too-large" } else { "malformed" },
        reason: error.to_string(),
    })?;
    let parts = RequestParts {
        version: if head.http10 { Version::Http10 } else { Version::Http11 },
        method: head.method,
        target: head.target,
        authority: None,
        hosts: &head.hosts,
        sni: connection.sni(),
    };
    let identity = connection.identity(&parts).map_err(|error| Refusal {
        status: 400,
        label: "no-identity",
        reason: error.to_string(),
    })?;
    if !has_clean_target(&head) {
        let reason = "the request target holds characters that do not belong there".to_owned();
        return Err(Refusal { status: 400, label: "malformed", reason });
    }
    // A method that is none for the `http` crate is refused by Pingora in a moment.
    let method = http::Method::from_bytes(head.method.as_bytes()).unwrap_or_default();
    let question = Question::new(parts.version, method, head.target, head.user_agent);
    let client = connection.client_of(head.forwarded.iter().copied());
    let (budget, rewritten) = (head.budget, in_origin_form(bytes, &head));
    drop(head);
    match rewritten {
        Some(rewritten) => {
            stream.admit(budget.resized(head_len, rewritten.len()));
            stream.replace_head(head_len, &rewritten);
        }
        None => stream.admit(budget),
    }
    Ok(Flight::new(Arc::clone(connection), identity, client, question))
}

/// Whether Pingora will take the target (RFC 3986 §3.3): what it would refuse is refused here, and counted.
fn has_clean_target(head: &Head<'_>) -> bool {
    // Nearly every target is of these, of which no order is refused: nothing has to be copied to find out.
    let is_plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"/-._~%?=&+,".contains(octet);
    let is_short = head.target.len() < usize::from(u16::MAX);
    let is_origin_form = head.method != "CONNECT" && head.target.starts_with(b"/");
    if is_short && is_origin_form && head.target.iter().all(is_plain) {
        return true;
    }
    let target =
        Target::parse(head.method, head.target).ok().and_then(|target| target.for_origin(head.method));
    match target.as_deref().map(std::str::from_utf8) {
        Some(Ok(target)) => http::uri::PathAndQuery::try_from(target).is_ok(),
        // A tunnel has no path, and a path that is no text is passed on as it is.
        Some(Err(_)) | None => true,
    }
}

/// The head with its absolute-form target put into origin-form; nothing when it has none.
fn in_origin_form(bytes: &[u8], head: &Head<'_>) -> Option<Vec<u8>> {
    let target = Target::parse(head.method, head.target).ok()?;
    if !matches!(target, Target::Absolute { .. }) {
        return None;
    }
    with_target(bytes, head.target, &target.for_origin(head.method)?)
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
