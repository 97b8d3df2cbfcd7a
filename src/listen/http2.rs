//! One HTTP/2 connection: each stream is a flight of its own, judged and cut by itself.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use pingora::apps::HttpServerApp;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl, Stream};
use pingora::server::ShutdownWatch;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::connection::EdgeApp;
use super::enforce;
use super::facts::Connection;
use super::fast::{self, Block, Memory};
use super::flight::{self, Flight, Occupation, Question};
use super::frames::{Alarm, Flood};
use super::stream::{Budget, EdgeStream, Hold};
use super::waiting::{Armed, Idle, Standing};
use crate::audit::Pending;
use crate::hostname::Hostname;
use crate::identify::{Identity, RequestParts};
use crate::limits;

/// The streams that are being served.
#[derive(Debug, Default)]
struct Active {
    count: AtomicUsize,
    /// Rings when the last one ends.
    none: Notify,
}

/// Why a connection is ended from this side.
enum End {
    Flood(Flood),
    /// It has been idle for too long, or it is cut, with the record of that.
    Useless(Option<Pending>),
}

/// A connection whose prefaces are exchanged.
struct Begun {
    http2: h2::server::Connection<Stream, Bytes>,
    digest: Arc<Digest>,
    alarm: Arc<Alarm>,
    hold: Arc<Hold>,
}

/// What a stream is about.
enum Served {
    Flight(Arc<Flight>),
    /// It was blocked, and its answer is on its way.
    Answered {
        host: Hostname,
        /// Its client's network asks more often than it gets whole answers.
        is_excess: bool,
    },
    Nothing,
}

/// Counts one stream for as long as it is served.
struct Counted(Arc<Active>);

impl Counted {
    fn new(active: &Arc<Active>) -> Self {
        active.count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(active))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl Active {
    fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    async fn until_idle(&self) {
        loop {
            let rung = self.none.notified();
            if self.is_idle() {
                return;
            }
            rung.await;
        }
    }
}

/// What tells that a connection is of no use any more, kept from one stream to the next.
struct Use {
    active: Arc<Active>,
    changes: Standing,
    /// Waits until the streams end that are under way.
    streams: Option<Armed<()>>,
    idle: Idle,
}

impl Use {
    fn new(changes: watch::Receiver<u64>, active: &Arc<Active>) -> Self {
        let (changes, active) = (Standing::new(changes), Arc::clone(active));
        Self { active, changes, streams: None, idle: Idle::default() }
    }
}

/// Returns when the edge stops. It is told of it, or nobody is left who could.
async fn stops(mut shutdown: ShutdownWatch) {
    shutdown.wait_for(|stopping| *stopping).await.ok();
}

impl<A> EdgeApp<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Serves the connection to its end.
    pub(super) async fn serve_http2(
        self: &Arc<Self>,
        stream: Box<EdgeStream>,
        connection: &Arc<Connection>,
        shutdown: &ShutdownWatch,
    ) {
        let Some(Begun { mut http2, digest, alarm, hold }) = self.begin_http2(stream).await else { return };
        let mut is_stopping = false;
        let mut rejected = 0;
        let mut occupation = Occupation::new(connection);
        let active = Arc::new(Active::default());
        let mut memory = Memory::default();
        // For the whole connection, as are the changes: one that is waiting for the streams to end outlasts the next
        // stream.
        let mut stopping = Armed::new(Box::pin(stops(shutdown.clone())));
        let mut flooded = Armed::new(Box::pin(async move { alarm.heard().await }));
        let mut use_ends = Use::new(self.gate.changes(), &active);
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopping.ready(), if !is_stopping => {
                    http2.graceful_shutdown();
                    is_stopping = true;
                    continue;
                }
                flood = flooded.ready() => Err(End::Flood(flood)),
                accepted = hold.while_busy(HttpSession::from_h2_conn(&mut http2, Arc::clone(&digest))) => {
                    Ok(accepted)
                }
                cut = self.until_useless(&occupation, &mut use_ends) => Err(End::Useless(cut)),
            };
            let accepted = match accepted {
                Ok(accepted) => accepted,
                Err(End::Useless(cut)) => {
                    if let Some(cut) = cut {
                        let _receipt = cut.await;
                    }
                    return;
                }
                Err(End::Flood(flood)) => {
                    tracing::debug!(%flood, client = %connection.client, "an HTTP/2 connection is ended");
                    return self.calm(http2, digest, &hold).await;
                }
            };
            match accepted {
                Ok(Some(H2Accept::Session(session)))
                    if session.req_header().headers.len() > self.bounds().header_fields =>
                {
                    self.metrics.rejected("head-too-large");
                    refuse_head(session);
                    rejected += 1;
                }
                Ok(Some(H2Accept::Session(session))) => {
                    match self.serve_stream(session, connection, &mut memory, &active, shutdown) {
                        Served::Flight(flight) => occupation.note(&flight),
                        Served::Answered { host, is_excess } => {
                            occupation.note_answered(&host);
                            if is_excess {
                                self.turnstile.pass().await;
                            }
                        }
                        Served::Nothing => {}
                    }
                }
                // Pingora has answered or reset the stream: its head was malformed.
                Ok(Some(H2Accept::Rejected)) => {
                    self.metrics.rejected("malformed");
                    rejected += 1;
                }
                Ok(None) => return,
                Err(error) => return self.note_end(&error),
            }
            if rejected > limits::HTTP2_MALFORMED_STREAMS {
                return self.calm(http2, digest, &hold).await;
            }
        }
    }

    /// Exchanges the prefaces, all of it within the deadline of a request head; nothing when the client does not.
    async fn begin_http2(&self, mut stream: Box<EdgeStream>) -> Option<Begun> {
        stream.admit(Budget::Unlimited);
        let hold = stream.gather();
        let alarm = stream.count_frames(self.bounds().frames);
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let handshake = handshake(stream, self.inner.h2_options());
        match timeout(self.timeouts().header, handshake).await {
            Ok(Ok(http2)) => return Some(Begun { http2, digest, alarm, hold }),
            Ok(Err(error)) => tracing::debug!(%error, "an HTTP/2 connection did not begin"),
            Err(_) => self.metrics.rejected("slow"),
        }
        None
    }

    /// Ends the connection of a client that floods, and tells it so (RFC 9113 §10.5).
    async fn calm(&self, mut http2: h2::server::Connection<Stream, Bytes>, digest: Arc<Digest>, hold: &Hold) {
        hold.release();
        self.metrics.rejected("http2-flood");
        http2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        // A client that does not take this is left without.
        timeout(limits::LINGER, HttpSession::from_h2_conn(&mut http2, digest)).await.ok();
    }

    /// The library has bounds of its own, for what only it can see.
    fn note_end(&self, error: &pingora::Error) {
        let cause = error.root_cause().downcast_ref::<h2::Error>();
        if cause.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM) {
            self.metrics.rejected("http2-flood");
        }
        tracing::debug!(%error, "an HTTP/2 connection broke");
    }

    /// Serves one stream beside the others.
    fn serve_stream(
        self: &Arc<Self>,
        session: HttpSession,
        connection: &Arc<Connection>,
        memory: &mut Memory,
        active: &Arc<Active>,
        shutdown: &ShutdownWatch,
    ) -> Served {
        let identify = |parts: &RequestParts<'_>| memory.identify(parts);
        let identity = enforce::with_parts(session.req_header(), connection.sni(), identify);
        let counted = Counted::new(active);
        if self.may_be_fast
            && let Ok(identity) = &identity
            && let Some(block) = fast::block_stream(&self.gate, &session, identity, connection)
        {
            return self.answer_stream(session, block, counted);
        }
        let mut changes = self.gate.changes();
        let (app, shutdown) = (Arc::clone(&self.inner), shutdown.clone());
        let session = ServerSession::new_http2(session);
        let Ok(identity) = identity else {
            // The proxy finds the same, and answers with what is wrong.
            spawn(async move {
                let _counted = counted;
                app.process_new_http(session, &shutdown).await;
            });
            return Served::Nothing;
        };
        let flight = self.flight(&session, connection, identity);
        let (served, gate, turnstile) =
            (Arc::clone(&flight), Arc::clone(&self.gate), Arc::clone(&self.turnstile));
        spawn(async move {
            let _counted = counted;
            let serving = app.process_new_http(session, &shutdown);
            flight::serve(Arc::clone(&served), &gate, &mut changes, serving).await;
            if !served.is_settled() {
                turnstile.note_other();
            }
        });
        Served::Flight(flight)
    }

    /// Answers a blocked request at once where its record is acknowledged and the client has room for the answer, and
    /// beside the other streams where it has to wait.
    fn answer_stream(&self, mut session: HttpSession, block: Block, counted: Counted) -> Served {
        session.set_write_timeout(Some(self.timeouts().write));
        let (host, is_excess) = (block.host.clone(), block.is_excess());
        let mut answering = Box::pin(async move {
            let _counted = counted;
            block.answer_stream(session).await;
        });
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        if answering.as_mut().poll(&mut nobody).is_pending() {
            spawn(answering);
        }
        Served::Answered { host, is_excess }
    }

    fn flight(
        &self,
        session: &ServerSession,
        connection: &Arc<Connection>,
        identity: Arc<Identity>,
    ) -> Arc<Flight> {
        let request = session.req_header();
        let user_agent = request.headers.get(http::header::USER_AGENT).map(|value| value.as_bytes());
        let version = enforce::version(request);
        let question = Question::new(version, request.method.clone(), request.raw_path(), user_agent);
        let client = enforce::named_in(connection, request);
        Flight::new(Arc::clone(connection), identity, client, question)
    }

    /// Returns when the connection has been idle for too long, or when a change of rules blocks what it served last, with the
    /// record of its cut. Streams under way are cut by themselves.
    async fn until_useless(&self, occupation: &Occupation, use_ends: &mut Use) -> Option<Pending> {
        let Use { active, changes, streams, idle } = use_ends;
        let owed = changes.is_owed();
        let idle = async {
            if !active.is_idle() {
                let waiting = streams.get_or_insert_with(|| {
                    let active = Arc::clone(active);
                    Armed::new(Box::pin(async move { active.until_idle().await }))
                });
                waiting.ready().await;
            }
            *streams = None;
            idle.over(self.timeouts().idle).await;
        };
        tokio::select! {
            () = idle => None,
            // Each stream under way has its own cut or answer first.
            cut = occupation.until_cut(&self.gate, changes, owed, active.until_idle()) => Some(cut),
        }
    }
}

/// Answers a request with more header fields than are allowed, and lets go of them at once (RFC 6585 §5).
fn refuse_head(mut session: HttpSession) {
    let answer = ResponseHeader::build(http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, None);
    let written = answer.and_then(|answer| session.write_response_header(Box::new(answer), true));
    if let Err(error) = written {
        tracing::debug!(%error, "a stream was gone before its answer");
    }
}

fn spawn(serving: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(serving);
}
