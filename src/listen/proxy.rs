//! The edge as Pingora's proxy sees it.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::cache::key::HashBinary;
use pingora::cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::server::configuration::ServerConf;
use pingora::{Error, ErrorType, Result};

use super::cache::{self, Cache, Lookup};
use super::chunks::BrokenChunks;
use super::enforce;
use super::flight::Flight;
use super::interim;
use super::live::{Live, Settings};
use super::refresh;
use super::respond;
use super::returning;
use super::trip::Trip;
use super::upload::{self, Upload};
use super::upstream;
use crate::gate::Gate;
use crate::limits;

/// Enforces and forwards.
#[derive(Debug)]
pub struct EdgeProxy {
    gate: Arc<Gate>,
    live: Arc<Live>,
    cache: Option<&'static Cache>,
}

/// How long the others may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug)]
pub struct Context {
    /// What held when the request began.
    settings: Arc<Settings>,
    trip: Trip,
    /// What the request has to do with the cache; nothing where there is none.
    lookup: Option<Lookup>,
    /// How the body of the request comes in.
    upload: Upload,
}

impl EdgeProxy {
    /// An edge that enforces by `gate` and forwards as the settings say.
    #[must_use]
    pub fn new(gate: Arc<Gate>, live: Arc<Live>) -> Self {
        Self { gate, live, cache: None }
    }

    /// Keeps answers in `cache`.
    #[must_use]
    pub fn with_cache(mut self, cache: Option<&'static Cache>) -> Self {
        self.cache = cache;
        self
    }
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context { settings: self.live.now(), trip: Trip::default(), lookup: None, upload: Upload::default() }
    }

    /// None: the edge passes bodies through as they are.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        // HTTP/2 streams have no limit of their own for a client that does not take its answer.
        session.as_downstream_mut().set_write_timeout(Some(context.settings.patience.client));
        interim::begin(session);
        context.lookup = self.cache.map(Cache::begin);
        let passed = if cache::is_background(session) {
            let (passed, refresh) = refresh::begin(&self.gate, session).unzip();
            context.trip.refresh = refresh.flatten();
            passed
        } else {
            enforce::enforce_request(&self.gate, session).await?
        };
        let Some(passed) = passed else { return Ok(true) };
        if session.req_header().method == http::Method::CONNECT {
            self.gate.metrics().rejected("connect");
            session.set_keepalive(None);
            Box::pin(respond::write_plain(session, 405, "this edge makes no tunnels")).await?;
            return Ok(true);
        }
        context.trip.passed = Some(passed);
        // An origin is looked for once it is needed, and its place is not taken while the cache answers.
        Ok(false)
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        context.settings.upstream.peer(session, &mut context.trip).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        context.settings.upstream.could_not_connect(peer, &mut context.trip, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let error = error.more_context(format!("Peer: {peer}"));
        context.settings.upstream.broke_off(session, &mut context.trip, error, client_reused)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        connection: RawFd,
        _digest: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        context.settings.upstream.goes_out(session, &context.trip, peer, connection)?;
        if let (Some(cache), Some(lookup)) = (self.cache, context.lookup.as_mut()) {
            cache.on_connected(lookup, peer);
        }
        Ok(())
    }

    /// A body that trickles in keeps a connection to the origin busy, however regularly a piece of it comes.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut Context,
    ) -> Result<()> {
        if is_end {
            return Ok(());
        }
        // Once the answer has begun this is a conversation, and so is gRPC from the start.
        let is_upload = context.trip.passed.is_some() && !upload::is_conversation(session.req_header());
        let octets = body.as_ref().map_or(0, Bytes::len);
        if !is_upload || context.upload.is_in_time(octets, is_end, &context.settings.patience, Instant::now())
        {
            return Ok(());
        }
        self.gate.metrics().rejected("slow-body");
        Err(Error::explain(ErrorType::HTTPStatus(408), "the body comes too slowly").into_down())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        context.settings.upstream.prepare_head(session, request, &context.trip)?;
        interim::settle(session, request).await
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        refresh::may_go_on(context.trip.refresh.as_ref())?;
        upstream::expect_no_switch(session, response)?;
        if !response.status.is_informational() || response.status == http::StatusCode::SWITCHING_PROTOCOLS {
            context.trip.passed = None;
        }
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Context,
    ) -> Result<()> {
        returning::prepare_trailers(trailers);
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        refresh::may_go_on(context.trip.refresh.as_ref())?;
        if !is_end {
            cache::end_when_given(session, body.as_ref())?;
        }
        if let Some(body) = body {
            Flight::with_current(|flight| flight.sent(body.len()));
        }
        Ok(None)
    }

    fn suppress_error_log(&self, _: &Session, _: &Context, error: &Error) -> bool {
        cache::is_given(error)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Context) -> FailToProxy {
        if enforce::answer_bereft(&self.gate, session).await {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let status = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(status), _) => *status,
            _ if BrokenChunks::caused(error) => {
                self.gate.metrics().rejected("malformed");
                400
            }
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
        if status > 0 && !enforce::has_answer(session) {
            // A client that is gone by now gets no answer, and needs none.
            respond::write_failure(session, status).await.ok();
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    fn request_cache_filter(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        if let (Some(cache), Some(lookup), Some(passed)) =
            (self.cache, context.lookup.as_mut(), context.trip.passed.as_ref())
        {
            let wanted = context.settings.upstream.keeps_answers(&passed.identity().host);
            cache.look_up(session, lookup, passed, wanted);
        }
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, context: &mut Context) -> Result<CacheKey> {
        context.lookup.as_mut().ok_or_else(unlooked)?.key()
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        hit: &mut HitHandler,
        _is_fresh: bool,
        context: &mut Context,
    ) -> Result<Option<ForcedFreshness>> {
        let cache = self.cache.ok_or_else(unlooked)?;
        Ok(cache.on_hit(session, meta, hit, context.trip.passed()?))
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _: &mut Context,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        cache::variance(meta, request)
    }

    fn should_serve_stale(&self, _: &mut Session, _: &mut Context, error: Option<&Error>) -> bool {
        cache::serves_stale(error)
    }

    /// The cache has no answer: an origin has to be found. What is fetched for nobody is fetched for the cache, or
    /// not at all.
    async fn proxy_upstream_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        cache::on_miss(session, context.lookup.as_ref());
        if cache::is_background(session) && !session.cache.enabled() {
            return Ok(false);
        }
        let answered = context.settings.upstream.route(session, &mut context.trip).await?;
        if answered && session.response_written().is_none() {
            // Refused without a byte, which Pingora would make up for.
            return Err(enforce::answered());
        }
        Ok(!answered)
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, _: &mut Context) {
        cache::at_the_end(session);
        Flight::with_current(Flight::has_ended);
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        context: &mut Context,
    ) -> Result<RespCacheable> {
        let lookup = context.lookup.as_ref().ok_or_else(unlooked)?;
        Ok(self.cache.ok_or_else(unlooked)?.on_answer(session, lookup, response))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        returning::prepare(session, response);
        if let (Some(cache), Some(lookup)) = (self.cache, context.lookup.as_mut()) {
            cache.on_departure(session, lookup, response);
        }
        // An answer from the cache begins here, and nowhere else.
        let is_interim =
            response.status.is_informational() && response.status != http::StatusCode::SWITCHING_PROTOCOLS;
        interim::on_head(session, is_interim);
        if !response.status.is_informational() {
            context.trip.passed = None;
        }
        let may_begin = |flight: &Flight| {
            if is_interim { !flight.is_bereft() } else { flight.begin_answer() }
        };
        if Flight::with_current(may_begin) == Some(false) {
            // It was on its way when the origin was cut off: not one byte of it goes out.
            return Err(Error::explain(ErrorType::ConnectionClosed, "the request was cut"));
        }
        Ok(())
    }
}

fn unlooked() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "no cache was asked for")
}

/// Pingora's settings, made in code: read from a file, it would pass over keys it does not know.
#[must_use]
pub fn server_conf(threads: usize, stop_grace: Duration) -> ServerConf {
    ServerConf {
        threads,
        // One thread has nobody to share its work with, and a simpler scheduler costs less. More threads share theirs: a
        // connection to an origin that waits in the pool may be taken by any of them.
        work_stealing: threads > 1,
        // The edge ends as soon as the last connection is done; this is the longest it waits.
        grace_period_seconds: Some(stop_grace.as_secs_f64().ceil() as u64),
        graceful_shutdown_timeout_seconds: Some(1),
        max_retries: limits::UPSTREAMS_TRIED,
        ..ServerConf::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_that_are_not_alone_share_their_work() {
        for (threads, shares) in [(1, false), (2, true), (64, true)] {
            let conf = server_conf(threads, Duration::from_millis(1500));
            assert_eq!((conf.threads, conf.work_stealing), (threads, shares));
            assert_eq!(conf.grace_period_seconds, Some(2), "no shorter than was asked for");
        }
    }
}
