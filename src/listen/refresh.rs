//! A refresh of the cache: a request that no client waits for, made while one was given a stale answer.
//!
//! It is judged by the facts of the request it is made for. Pingora runs it in a task of its own, which nobody can end
//! from outside; so it is watched beside it: when a change of rules blocks it, it loses its connection to the origin.
//! One on a connection that others share is stopped at the next piece of its answer. What it fetched is not kept
//! either way, and since nobody was given anything there is nothing to record.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::Result;
use pingora::proxy::Session;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::door;
use super::enforce::{self, Passed};
use super::facts::{self, Connection};
use super::flight::{Flight, Question};
use crate::gate::Gate;

/// One refresh under way. The watch over it ends with it.
#[derive(Debug)]
pub(super) struct Refresh {
    flight: Arc<Flight>,
    watch: JoinHandle<()>,
}

/// Judges a refresh, and watches over one that passes.
pub(super) fn begin(gate: &Arc<Gate>, session: &Session) -> Option<(Passed, Option<Refresh>)> {
    // Before the ruleset is asked: no change of it is missed.
    let changes = gate.changes();
    let passed = enforce::enforce_in_background(gate, session)?;
    let connection = facts::shared(session);
    let refresh = connection.map(|connection| Refresh::new(gate, changes, session, connection, &passed));
    Some((passed, refresh))
}

/// One that is blocked by now takes no more of its answer.
pub(super) fn may_go_on(refresh: Option<&Refresh>) -> Result<()> {
    match refresh {
        Some(refresh) if refresh.flight.is_bereft() => Err(door::refusal("a case blocks it".to_owned())),
        _ => Ok(()),
    }
}

impl Refresh {
    fn new(
        gate: &Arc<Gate>,
        changes: watch::Receiver<u64>,
        session: &Session,
        connection: Arc<Connection>,
        passed: &Passed,
    ) -> Self {
        let request = session.req_header();
        let question =
            Question::new(enforce::version(request), request.method.clone(), request.raw_path(), None);
        let identity = passed.shared_identity();
        let flight = Flight::new(connection, identity, enforce::asker(session), question);
        let watch = tokio::spawn(watch(Arc::clone(&flight), Arc::clone(gate), changes));
        Self { flight, watch }
    }

    pub(super) fn flight(&self) -> Arc<Flight> {
        Arc::clone(&self.flight)
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(flight: Arc<Flight>, gate: Arc<Gate>, mut changes: watch::Receiver<u64>) {
    while changes.changed().await.is_ok() {
        if must_end(&flight, &gate) {
            tracing::info!(host = %flight.identity.host, "a refresh of the cache ends: a case blocks it now");
            flight.strand();
            return;
        }
    }
}

fn must_end(flight: &Flight, gate: &Gate) -> bool {
    let closed = |upstream: SocketAddr| gate.closes(upstream.ip(), Some(flight.client));
    enforce::is_blocked(gate, &flight.identity, flight.client) || flight.upstream().is_some_and(closed)
}
