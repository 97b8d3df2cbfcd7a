//! The origins while the edge runs: who is up, who is busy, and whose turn it is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use super::balance::{self, Order, Rounds, Seat};
use super::{HealthCheck, Origin, Route, Routes};
use crate::hostname::Hostname;

/// All routes with the state of their origins. Shared by request threads, health checks and the status page.
#[derive(Debug)]
pub struct Origins {
    routes: Routes,
    /// One for each of [`Routes::all`], in that order.
    pools: Vec<Pool>,
}

/// The origins of one route.
#[derive(Debug)]
pub struct Pool {
    route: Route,
    rounds: Mutex<Rounds>,
    members: Vec<Arc<Member>>,
}

/// One origin of one route.
#[derive(Debug)]
pub struct Member {
    origin: Origin,
    id: u64,
    /// Written by the health check alone.
    up: AtomicBool,
    tally: Mutex<Tally>,
    /// Requests under way.
    active: AtomicUsize,
}

/// Checks in a row that ended alike.
#[derive(Debug, Default)]
struct Tally {
    failures: u32,
    successes: u32,
}

/// A request under way to an origin, counted until this is dropped.
#[derive(Debug)]
pub struct Lease(Arc<Member>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Origins {
    /// Every origin starts as up, with nothing under way.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        let pools = routes.all().iter().map(|route| Pool::new(route.clone())).collect();
        Self { routes, pools }
    }

    /// The route of a host: its position, and its origins.
    #[must_use]
    pub fn find(&self, host: &Hostname) -> Option<(usize, &Pool)> {
        let position = self.routes.position(host)?;
        Some((position, self.pools.get(position)?))
    }

    /// The origins of the route at a position.
    #[must_use]
    pub fn pool(&self, position: usize) -> Option<&Pool> {
        self.pools.get(position)
    }

    /// Every route's origins, in the order of the file.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }
}

impl Pool {
    fn new(route: Route) -> Self {
        let members = route.origins.iter().map(|origin| Arc::new(Member::new(origin.clone()))).collect();
        Self { route, rounds: Mutex::default(), members }
    }

    /// The route's settings.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The origins, in the order of the file.
    #[must_use]
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The positions in [`Pool::members`] a request is to try, best first. Those that are down are left out, unless
    /// all are: then each is tried, since a check that fails everywhere says more about the check.
    #[must_use]
    pub fn order(&self, key: &[u8]) -> Order {
        if self.members.len() == 1 {
            return Order::from_elem(0, 1);
        }
        let mut seats: SmallVec<[Seat; 8]> = self.members.iter().map(|member| member.seat()).collect();
        if seats.iter().all(|seat| !seat.up) {
            seats.iter_mut().for_each(|seat| seat.up = true);
        }
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        balance::order(self.route.balance, &seats, &mut rounds, key)
    }

    /// Counts a request under way to an origin; nothing when it has as many as the route allows.
    #[must_use]
    pub fn lease(&self, member: &Arc<Member>) -> Option<Lease> {
        let before = member.active.fetch_add(1, Ordering::Relaxed);
        let lease = Lease(Arc::clone(member));
        self.route.max_connections.is_none_or(|most| before < most).then_some(lease)
    }
}

impl Member {
    fn new(origin: Origin) -> Self {
        let id = balance::hash(origin.to_string().as_bytes());
        Self { origin, id, up: AtomicBool::new(true), tally: Mutex::default(), active: AtomicUsize::new(0) }
    }

    fn seat(&self) -> Seat {
        Seat { weight: self.origin.weight, active: self.active(), id: self.id, up: self.is_up() }
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether its health checks let requests through to it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Requests under way to it.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Takes in the outcome of a check. Returns whether the origin came up or went down by it.
    pub fn checked(&self, healthy: bool, check: &HealthCheck) -> bool {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally = match healthy {
            true => Tally { failures: 0, successes: tally.successes.saturating_add(1) },
            false => Tally { failures: tally.failures.saturating_add(1), successes: 0 },
        };
        let up = if healthy { tally.successes >= check.successes } else { tally.failures < check.failures };
        let was_up = self.is_up();
        let turns = if was_up { !healthy && !up } else { healthy && up };
        if turns {
            self.up.store(!was_up, Ordering::Relaxed);
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::forward::Balance;

    fn pool(change: impl FnOnce(&mut Route)) -> Pool {
        let origin = |port| Origin { host: Hostname::parse("192.0.2.1").unwrap(), port, weight: 1 };
        let mut route = Route::to(vec![origin(1), origin(2), origin(3)]);
        change(&mut route);
        Pool::new(route)
    }

    fn check(failures: u32, successes: u32) -> HealthCheck {
        let second = Duration::from_secs(1);
        HealthCheck { path: None, host: None, interval: second, timeout: second, failures, successes }
    }

    #[test]
    fn an_origin_goes_down_and_comes_back_after_so_many_checks_in_a_row() {
        let pool = pool(|_| {});
        let member = &pool.members()[0];
        let outcomes = [
            (false, true),
            (true, true),
            (false, true),
            (false, true),
            (false, false),
            (true, false),
            (false, false),
            (true, false),
            (true, true),
        ];
        for (step, (healthy, up)) in outcomes.into_iter().enumerate() {
            let before = member.is_up();
            assert_eq!(member.checked(healthy, &check(3, 2)), before != up, "step {step}");
            assert_eq!(member.is_up(), up, "step {step}");
        }
    }

    #[test]
    fn what_is_down_is_left_out_unless_all_are() {
        let pool = pool(|route| route.balance = Balance::InOrder);
        pool.members()[0].checked(false, &check(1, 1));
        assert_eq!(pool.order(b"").as_slice(), [1, 2]);
        pool.members()[1].checked(false, &check(1, 1));
        pool.members()[2].checked(false, &check(1, 1));
        assert_eq!(pool.order(b"").as_slice(), [0, 1, 2]);
    }

    #[test]
    fn an_origin_takes_as_many_requests_as_it_may_and_more_when_one_ends() {
        let pool = pool(|route| route.max_connections = Some(2));
        let member = &pool.members()[0];
        let (first, second) = (pool.lease(member), pool.lease(member));
        assert!(first.is_some() && second.is_some());
        assert!(pool.lease(member).is_none());
        assert_eq!(member.active(), 2);
        drop(first);
        assert!(pool.lease(member).is_some());
    }
}
