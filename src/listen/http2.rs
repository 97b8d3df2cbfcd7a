//! One HTTP/2 connection: each stream is a flight of its own, judged and cut by itself.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl};
use pingora::server::ShutdownWatch;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::connection::EdgeApp;
use super::enforce;
use super::facts::Connection;
use super::flight::{self, Flight, Occupation, Question};
use super::stream::{Budget, EdgeStream};
use crate::identify::Identity;
use crate::limits;

/// The streams that are being served.
#[derive(Debug, Default)]
struct Active {
    count: AtomicUsize,
    /// Rings when the last one ends.
    none: Notify,
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

impl<A> EdgeApp<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Serves the connection to its end.
    pub(super) async fn serve_http2(
        self: &Arc<Self>,
        mut stream: EdgeStream,
        connection: &Arc<Connection>,
        shutdown: &ShutdownWatch,
    ) {
        stream.admit(Budget::Unlimited);
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let mut http2 = match handshake(Box::new(stream), self.inner.h2_options()).await {
            Ok(http2) => http2,
            Err(error) => return tracing::debug!(%error, "an HTTP/2 connection did not begin"),
        };
        let mut stopping = shutdown.clone();
        let mut is_stopping = false;
        let mut rejected = 0;
        let mut occupation = Occupation::new(connection);
        let active = Arc::new(Active::default());
        loop {
            let changes = self.gate.changes();
            let accepted = tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping), if !is_stopping => {
                    http2.graceful_shutdown();
                    is_stopping = true;
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut http2, Arc::clone(&digest)) => accepted,
                () = self.until_useless(&occupation, &active, changes) => return,
            };
            match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    if let Some(flight) = self.serve_stream(session, connection, &active, shutdown) {
                        occupation.note(&flight);
                    }
                }
                // Pingora has answered or reset the stream: its head was malformed.
                Ok(Some(H2Accept::Rejected)) => {
                    self.metrics.rejected("malformed");
                    rejected += 1;
                    if rejected > limits::HTTP2_MALFORMED_STREAMS {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => return tracing::debug!(%error, "an HTTP/2 connection broke"),
            }
        }
    }

    /// Serves one stream beside the others. Returns what it is about.
    fn serve_stream(
        self: &Arc<Self>,
        session: HttpSession,
        connection: &Arc<Connection>,
        active: &Arc<Active>,
        shutdown: &ShutdownWatch,
    ) -> Option<Arc<Flight>> {
        let changes = self.gate.changes();
        let (app, shutdown, counted) = (Arc::clone(&self.inner), shutdown.clone(), Counted::new(active));
        let identity = enforce::identify(session.req_header(), connection.sni());
        let session = ServerSession::new_http2(session);
        let Ok(identity) = identity else {
            // The proxy finds the same, and answers with what is wrong.
            spawn(async move {
                let _counted = counted;
                app.process_new_http(session, &shutdown).await;
            });
            return None;
        };
        let flight = self.flight(&session, connection, identity);
        let (served, gate) = (Arc::clone(&flight), Arc::clone(&self.gate));
        spawn(async move {
            let _counted = counted;
            flight::serve(served, &gate, changes, app.process_new_http(session, &shutdown)).await;
        });
        Some(flight)
    }

    fn flight(
        &self,
        session: &ServerSession,
        connection: &Arc<Connection>,
        identity: Identity,
    ) -> Arc<Flight> {
        let request = session.req_header();
        let question = Question {
            protocol: enforce::version(request).as_str(),
            method: request.method.clone(),
            path: request.raw_path().into(),
            user_agent: request.headers.get(http::header::USER_AGENT).map(|value| value.as_bytes().into()),
        };
        Flight::new(Arc::clone(connection), Arc::new(identity), connection.client, question)
    }

    /// Returns when the connection has been idle for too long, or when a change of rules blocks what it served last:
    /// that is on record then. Streams under way are cut by themselves.
    async fn until_useless(&self, occupation: &Occupation, active: &Active, changes: watch::Receiver<u64>) {
        let idle = async {
            active.until_idle().await;
            sleep(self.timeouts.idle).await;
        };
        tokio::select! {
            () = idle => {}
            // Each stream under way has its own cut or answer first.
            () = occupation.until_cut(&self.gate, changes, active.until_idle()) => {}
        }
    }
}

fn spawn(serving: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(serving);
}
