//! Health checks: each origin that is to be watched is asked again and again whether it serves.
//!
//! They go through the same door as requests, on nobody's behalf. A network that a case closes is not asked: the
//! door opens no connection, and the origin stays as it was.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use http::header;
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::HttpPeer;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::{Error, ErrorType, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::door;
use super::live::Live;
use super::upstream::Upstream;
use super::way::{Destination, TrustError};
use crate::forward::{HealthCheck, Member};
use crate::limits;

/// Watches the origins of every route that says how.
pub struct HealthChecks {
    live: Arc<Live>,
    connectors: OnceLock<Arc<Connectors>>,
}

/// What checks connect with; requests have their own.
struct Connectors {
    http: Connector,
    /// For checks that ask nothing.
    bare: TransportConnector,
}

impl Connectors {
    fn new() -> Self {
        Self { http: Connector::new(None), bare: TransportConnector::new(None) }
    }
}

impl HealthChecks {
    /// The checks of the origins in use, also when others are later.
    #[must_use]
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, connectors: OnceLock::new() }
    }

    /// Made when the first origin is watched: Pingora reads the authorities of the system three times for them, which
    /// takes some twenty milliseconds, and panics when one has become unusable since the start.
    fn connectors(&self) -> Option<&Arc<Connectors>> {
        if self.connectors.get().is_none() {
            match std::panic::catch_unwind(Connectors::new) {
                Ok(made) => drop(self.connectors.set(Arc::new(made))),
                Err(_) => tracing::error!("no origin is watched: {}", TrustError::System),
            }
        }
        self.connectors.get()
    }

    /// Begins to watch the origins of `upstream`. The watch ends with the set.
    fn begin(&self, upstream: &Arc<Upstream>) -> JoinSet<()> {
        let mut watches = JoinSet::new();
        for (route, pool) in upstream.origins.pools().iter().enumerate() {
            let Some(check) = &pool.route().health else { continue };
            let Some(connectors) = self.connectors() else { continue };
            for member in pool.members() {
                let watch = Watch {
                    upstream: Arc::clone(upstream),
                    connectors: Arc::clone(connectors),
                    route,
                    member: Arc::clone(member),
                    check: check.clone(),
                };
                watches.spawn(watch.run());
            }
        }
        watches
    }
}

#[async_trait]
impl BackgroundService for HealthChecks {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut changes = self.live.changes();
        loop {
            changes.mark_unchanged();
            let mut watches = self.begin(&self.live.now().upstream);
            let goes_on = tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                // A stopping edge asks nobody any more; an error means that it is gone already.
                _ = shutdown.wait_for(|stopping| *stopping) => false,
            };
            watches.shutdown().await;
            if !goes_on {
                return;
            }
        }
    }
}

/// The watch over one origin.
struct Watch {
    upstream: Arc<Upstream>,
    connectors: Arc<Connectors>,
    route: usize,
    member: Arc<Member>,
    check: HealthCheck,
}

/// What became of one check.
enum Outcome {
    Healthy,
    Unhealthy(String),
    /// Nobody was asked: a case closes every address of the origin.
    Closed,
}

impl Watch {
    async fn run(self) {
        let mut turn = interval(self.check.interval);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            let (healthy, reason) = match self.ask().await {
                Outcome::Closed => continue,
                Outcome::Healthy => (true, String::new()),
                Outcome::Unhealthy(reason) => (false, reason),
            };
            if self.member.checked(healthy, &self.check) {
                let origin = self.member.origin();
                match healthy {
                    true => tracing::info!(%origin, "an origin is back"),
                    false => tracing::warn!(%origin, %reason, "an origin is down"),
                }
            }
        }
    }

    /// One check: the addresses of the origin in turn, as a request would try them.
    async fn ask(&self) -> Outcome {
        let addresses = match self.upstream.resolver.addresses(self.member.origin()).await {
            Ok(addresses) => addresses,
            Err(error) => return Outcome::Unhealthy(error.to_string()),
        };
        let Some(way) = self.upstream.way(self.route) else { return Outcome::Closed };
        let mut outcome = Outcome::Closed;
        for address in addresses.into_iter().take(limits::UPSTREAMS_TRIED) {
            let to = Destination {
                origin: self.member.origin(),
                address,
                host: self.check.host.as_ref().unwrap_or(&self.member.origin().host),
                client: None,
                upgrade: false,
            };
            let peer = way.peer(&self.upstream.door, &to);
            match timeout(self.check.timeout, self.ask_at(&peer)).await {
                Ok(Ok(())) => return Outcome::Healthy,
                Ok(Err(error)) if door::is_refusal(&error) => {}
                Ok(Err(error)) => outcome = Outcome::Unhealthy(error.to_string()),
                Err(_) => outcome = Outcome::Unhealthy("it did not answer in time".to_owned()),
            }
        }
        outcome
    }

    async fn ask_at(&self, peer: &HttpPeer) -> Result<()> {
        let Some(path) = &self.check.path else {
            // The origin takes a connection, and shows its certificate where a request would ask for it.
            return self.connectors.bare.new_stream(peer).await.map(drop);
        };
        let (mut session, _) = self.connectors.http.get_http_session(peer).await?;
        session.set_read_timeout(Some(self.check.timeout));
        session.set_write_timeout(Some(self.check.timeout));
        session.write_request_header(Box::new(self.request(path)?)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |response| response.status.as_u16());
        if !(200..400).contains(&status) {
            return Err(Error::explain(ErrorType::HTTPStatus(status), "an unhealthy status"));
        }
        let mut taken = 0;
        while let Some(part) = session.read_response_body().await? {
            taken += part.len();
            if taken > limits::HEALTH_BODY_BYTES {
                break;
            }
        }
        Ok(())
    }

    fn request(&self, path: &str) -> Result<RequestHeader> {
        let origin = self.member.origin();
        let host = self.check.host.as_ref().map_or_else(|| origin.to_string(), ToString::to_string);
        let mut request = RequestHeader::build(http::Method::GET, path.as_bytes(), Some(3))?;
        request.insert_header(header::HOST, host)?;
        request.insert_header(header::USER_AGENT, "interdict-health")?;
        Ok(request)
    }
}
