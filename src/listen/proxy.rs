//! The edge as Pingora's proxy sees it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;
use pingora::{Error, ErrorType, Result};

use super::enforce::{self, Passed};
use super::flight::Flight;
use super::respond;
use super::upload::{self, Upload};
use crate::forward::{Origin, Resolver, Routes};
use crate::gate::{Gate, Ruling};
use crate::limits;

/// Enforces and forwards.
#[derive(Debug)]
pub struct EdgeProxy {
    gate: Arc<Gate>,
    routes: Routes,
    patience: Patience,
    resolver: Resolver,
}

/// How long the others may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// An origin, to accept a connection.
    pub connect: Duration,
    /// An origin, between two pieces of a request or an answer.
    pub silence: Duration,
    /// A client, to take a piece of its answer.
    pub client: Duration,
    /// Octets a second that a client sends of a body at least, on average and beyond `client`; 0 for any.
    pub min_rate: u64,
}

/// One request on its way.
#[derive(Debug, Default)]
pub struct Context {
    /// Given back when the answer begins, so that a long download or an open WebSocket does not keep a
    /// replaced ruleset in memory.
    passed: Option<Passed>,
    /// Origins whose turn has not come.
    origins: VecDeque<Origin>,
    /// Addresses still to be tried. The first is the one in use.
    upstreams: VecDeque<SocketAddr>,
    /// The address that may be connected to: one verdict and one record hold for every attempt at it.
    admitted: Option<SocketAddr>,
    /// How the body of the request comes in.
    upload: Upload,
}

impl EdgeProxy {
    /// An edge that enforces by `gate` and forwards by `routes`.
    #[must_use]
    pub fn new(gate: Arc<Gate>, routes: Routes, patience: Patience) -> Self {
        Self { gate, routes, patience, resolver: Resolver::default() }
    }

    /// Makes sure that there is an address to try, if any is left: an origin's name is resolved when its turn
    /// comes, so that one name that cannot be resolved delays nobody who need not go there.
    async fn find_upstreams(&self, context: &mut Context) {
        while context.upstreams.is_empty() {
            let Some(origin) = context.origins.pop_front() else { return };
            match self.resolver.addresses(&origin).await {
                Ok(addresses) => context.upstreams.extend(addresses),
                Err(error) => tracing::warn!(%error, "an origin has no address"),
            }
        }
    }

    /// Passes over the addresses that a case refuses, up to one that may be connected to. When none is left,
    /// the first refusal is the ruling.
    async fn next_upstream(&self, session: &Session, context: &mut Context) -> Result<Ruling> {
        let mut refusal = None;
        loop {
            self.find_upstreams(context).await;
            let Some(&upstream) = context.upstreams.front() else { break };
            if context.admitted == Some(upstream) {
                return Ok(Ruling::Forward);
            }
            let passed = context.passed()?;
            match enforce::judge_origin(&self.gate, session, passed, upstream) {
                Ruling::Forward => {
                    context.admitted = Some(upstream);
                    return Ok(Ruling::Forward);
                }
                refused @ Ruling::Enforce(_) => {
                    tracing::info!(%upstream, host = %passed.identity().host, "a case refuses this origin");
                    refusal.get_or_insert(refused);
                }
            }
            context.upstreams.pop_front();
        }
        refusal.ok_or_else(|| Error::explain(ErrorType::HTTPStatus(502), "no origin can be reached"))
    }

    /// Finds an origin for the request, or answers it. Returns whether it has been answered.
    async fn route(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let Some(route) = self.routes.find(&context.passed()?.identity().host) else {
            self.gate.metrics().rejected("no-route");
            respond::write_plain(session, 404, "this edge has no route for the name asked for").await?;
            return Ok(true);
        };
        context.origins = route.origins.iter().cloned().collect();
        let ruling = self.next_upstream(session, context).await?;
        enforce::carry_out(session, ruling).await
    }
}

impl Context {
    fn passed(&self) -> Result<&Passed> {
        let unjudged = || Error::explain(ErrorType::InternalError, "a request went on without being judged");
        self.passed.as_ref().ok_or_else(unjudged)
    }
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    /// None: the edge passes bodies through as they are.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        // HTTP/2 streams have no limit of their own for a client that does not take its answer.
        session.as_downstream_mut().set_write_timeout(Some(self.patience.client));
        let Some(passed) = enforce::enforce_request(&self.gate, session).await? else {
            return Ok(true);
        };
        if session.req_header().method == http::Method::CONNECT {
            self.gate.metrics().rejected("connect");
            session.set_keepalive(None);
            respond::write_plain(session, 405, "this edge makes no tunnels").await?;
            return Ok(true);
        }
        context.passed = Some(passed);
        self.route(session, context).await
    }

    /// Called again after a failure: the address that failed has been taken off the front by then.
    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        if let Ruling::Enforce(blocked) = self.next_upstream(session, context).await? {
            // Reached only when a reachable origin failed and the others are refused.
            respond::give(session, blocked.acknowledged().await).await?;
            return Err(enforce::answered());
        }
        let upstream = context
            .upstreams
            .front()
            .ok_or_else(|| Error::explain(ErrorType::HTTPStatus(502), "no origin can be reached"))?;
        let mut peer = HttpPeer::new(*upstream, false, String::new());
        // Of protocol upgrades only a WebSocket passes: an origin that switched to another protocol, such as
        // h2c, could be asked for other names through the same tunnel, unseen.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::default();
        peer.options.connection_timeout = Some(self.patience.connect);
        peer.options.read_timeout = Some(self.patience.silence);
        peer.options.write_timeout = Some(self.patience.silence);
        peer.options.idle_timeout = Some(limits::UPSTREAM_IDLE);
        Ok(Box::new(peer))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        context.upstreams.pop_front();
        let left = context.upstreams.len() + context.origins.len();
        tracing::warn!(%peer, %error, left, "cannot connect to an origin");
        error.set_retry(left > 0);
        error
    }

    /// A body that trickles in keeps a connection to the origin busy, however regularly a piece of it comes.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut Context,
    ) -> Result<()> {
        // Once the answer has begun this is a conversation, and so is gRPC from the start.
        let is_upload = context.passed.is_some() && !upload::is_conversation(session.req_header());
        let octets = body.as_ref().map_or(0, Bytes::len);
        if !is_upload || context.upload.is_in_time(octets, is_end, &self.patience, Instant::now()) {
            return Ok(());
        }
        self.gate.metrics().rejected("slow-body");
        Err(Error::explain(ErrorType::HTTPStatus(408), "the body comes too slowly").into_down())
    }

    /// The origin gets the one canonical name that was judged, whatever the client's spelling of it.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let host = HeaderValue::from_str(&context.passed()?.identity().authority())
            .map_err(|error| Error::because(ErrorType::InternalError, "a canonical name", error))?;
        request.insert_header(header::HOST, host)?;
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let begins = !response.status.is_informational();
        if begins || response.status == http::StatusCode::SWITCHING_PROTOCOLS {
            context.passed = None;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _is_end: bool,
        _context: &mut Context,
    ) -> Result<Option<Duration>> {
        if let (Some(body), Some(flight)) = (body, Flight::current()) {
            flight.sent(body.len());
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Context) -> FailToProxy {
        let status = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(status), _) => *status,
            (ErrorType::ConnectTimedout | ErrorType::ReadTimedout, pingora::ErrorSource::Upstream) => 504,
            (_, pingora::ErrorSource::Upstream) => 502,
            (ErrorType::ReadTimedout, pingora::ErrorSource::Downstream) => 408,
            // The client is gone, or the request has had its answer: there is nobody to tell.
            (
                ErrorType::WriteError
                | ErrorType::WriteTimedout
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed
                | ErrorType::H2Error,
                _,
            ) => 0,
            (_, pingora::ErrorSource::Downstream) => 400,
            _ => 500,
        };
        session.set_keepalive(None);
        if status > 0 && session.response_written().is_none() {
            let reason = match status {
                502 | 504 => "the origin of this site cannot be reached",
                400 => "the request cannot be understood",
                408 => "the request took too long",
                _ => "the request cannot be served",
            };
            // A client that is gone by now gets no answer, and needs none.
            respond::write_plain(session, status, reason).await.ok();
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }
}

/// Pingora's settings, made in code: read from a file, it would pass over keys it does not know.
#[must_use]
pub fn server_conf(threads: usize, stop_grace: Duration) -> ServerConf {
    ServerConf {
        threads,
        // The edge ends as soon as the last connection is done; this is the longest it waits.
        grace_period_seconds: Some(stop_grace.as_secs_f64().ceil() as u64),
        graceful_shutdown_timeout_seconds: Some(1),
        max_retries: limits::UPSTREAMS_TRIED,
        ..ServerConf::default()
    }
}
