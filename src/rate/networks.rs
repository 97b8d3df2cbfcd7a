//! A rate for each client network, kept without a lock.
//!
//! Each network has a place in a table of atomics, found by a keyed hash: whoever asks for it looks at a few places in a
//! row and changes one number. A place is never given up, only taken over: by another network, once the one that had it
//! could have its whole burst again, which is what a new one has as well.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Rate;
use crate::clock::nanoseconds;
use crate::limits;
use crate::network::client_network;

/// Places in one part of the table.
const PLACES: usize = limits::RATE_NETWORKS / limits::RATE_PARTS;
/// No network: [`number`] makes it of none.
const NOBODY: u64 = u64::MAX;

/// One bucket for each client network, of which there are a bounded number.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    hasher: RandomState,
    /// What times are counted from.
    start: Instant,
    /// Each made when somebody needs it.
    parts: Box<[OnceLock<Box<[Place]>>]>,
}

#[derive(Debug)]
struct Place {
    network: AtomicU64,
    /// When all that has happened would have been due, in nanoseconds.
    due: AtomicU64,
}

impl Rates {
    /// Buckets of this rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let parts = (0..limits::RATE_PARTS).map(|_| OnceLock::new()).collect();
        Self { rate, hasher: RandomState::new(), start: Instant::now(), parts }
    }

    /// Takes one for the network of `client`, and tells whether it came within the rate. Waits for nobody, but for the first
    /// client of a part, for which its memory is asked for.
    ///
    /// When no place is left where a network may be found, because others that are above nothing have them all, it is
    /// over its rate: that many at once are one flood from many places.
    pub fn take(&self, client: IpAddr, now: Instant) -> bool {
        let network = number(client_network(client));
        let hash = self.hasher.hash_one(network);
        let part = self.parts.get(hash as usize % limits::RATE_PARTS);
        let Some(places) = part.map(|part| part.get_or_init(Place::row)) else { return false };
        let now = nanoseconds(now.saturating_duration_since(self.start));
        let first = (hash >> 32) as usize;
        // Another thread may take the place that was found: then there is one less to look for.
        for _ in 0..limits::RATE_PROBES {
            let Some(place) = find(places, first, network, now) else { return false };
            if place.belongs_to(network, now) {
                return place.take(&self.rate, now);
            }
        }
        false
    }
}

/// The place of a network: its own, or the first one it may have.
fn find(places: &[Place], first: usize, network: u64, now: u64) -> Option<&Place> {
    let mut free = None;
    for step in 0..limits::RATE_PROBES {
        let place = places.get(first.wrapping_add(step) % PLACES)?;
        match place.network.load(Ordering::Relaxed) {
            known if known == network => return Some(place),
            // Behind a place that nobody ever had there is nobody.
            NOBODY => return free.or(Some(place)),
            _ if free.is_none() && place.is_quiet(now) => free = Some(place),
            _ => {}
        }
    }
    free
}

impl Place {
    fn row() -> Box<[Self]> {
        let free = || Self { network: AtomicU64::new(NOBODY), due: AtomicU64::new(0) };
        std::iter::repeat_with(free).take(PLACES).collect()
    }

    /// Whether whoever has it could have the whole burst.
    fn is_quiet(&self, now: u64) -> bool {
        self.due.load(Ordering::Relaxed) <= now
    }

    /// Whether the place is this network's, or becomes so now.
    fn belongs_to(&self, network: u64, now: u64) -> bool {
        let known = self.network.load(Ordering::Relaxed);
        if known == network {
            return true;
        }
        // A place that nobody ever had is quiet as well.
        self.is_quiet(now)
            && self
                .network
                .compare_exchange(known, network, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|other| other == network, |_| true)
    }

    /// Should the place be taken over meanwhile, the one counts for the other network: it had its whole burst, and has
    /// one less of it.
    fn take(&self, rate: &Rate, now: u64) -> bool {
        let next = |due: u64| {
            let ahead = rate.take(Duration::from_nanos(due.saturating_sub(now)))?;
            Some(now.saturating_add(nanoseconds(ahead)))
        };
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// A client network as a number: of an IPv6 network the 64 bits that name it. IPv4 addresses become numbers of networks in
/// `0:1::/32`, none of which is given to anybody. Nor is the last network there is, which shares a number with its neighbour.
fn number(network: IpAddr) -> u64 {
    match network {
        IpAddr::V4(address) => 1 << 32 | u64::from(address.to_bits()),
        IpAddr::V6(address) => ((address.to_bits() >> 64) as u64).min(NOBODY - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    fn client(n: usize) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from_bits(n as u32))
    }

    #[test]
    fn neighbours_share_a_bucket_and_strangers_do_not() {
        let (rates, now) = (Rates::new(Rate::new(1, 2)), Instant::now());
        let take = |client: &str| rates.take(client.parse().unwrap(), now);
        assert!(take("192.0.2.1") && take("::ffff:192.0.2.1") && !take("192.0.2.1"));
        assert!(take("192.0.2.2"));
        assert!(take("2001:db8::1") && take("2001:db8::2:0:0:1") && !take("2001:db8::3"));
        assert!(take("2001:db8:0:1::1"));
        assert!(take("::1"));
    }

    #[test]
    fn a_network_comes_back_to_its_burst_as_time_passes() {
        let (rates, start) = (Rates::new(Rate::new(10, 25)), Instant::now());
        let taken = |at: Instant| (0..1000).take_while(|_| rates.take(client(1), at)).count();
        assert_eq!(taken(start), 25);
        assert_eq!(taken(start + Duration::from_millis(50)), 0);
        assert_eq!(taken(start + Duration::from_millis(1000)), 10);
        assert_eq!(taken(start + Duration::from_secs(3600)), 25);
    }

    #[test]
    fn more_networks_than_are_kept_are_over_their_rate_until_others_have_been_quiet() {
        let (rates, now) = (Rates::new(Rate::new(1, 2)), Instant::now());
        let within = (0..2 * limits::RATE_NETWORKS).filter(|n| rates.take(client(*n), now)).count();
        assert!(within <= limits::RATE_NETWORKS, "{within} networks are kept");
        assert!(within > limits::RATE_NETWORKS * 9 / 10, "{within} networks have a place");
        let later = now + Duration::from_secs(60);
        assert!(rates.take(client(3 * limits::RATE_NETWORKS), later));
    }

    #[test]
    fn a_quarter_of_the_networks_that_are_kept_find_a_place_each_and_none_has_two() {
        let (rates, now) = (Rates::new(Rate::new(1, 2)), Instant::now());
        let all = || 0..limits::RATE_NETWORKS / 4;
        let taken = || all().filter(|n| rates.take(client(*n), now)).count();
        assert_eq!(taken(), all().len());
        assert_eq!(taken(), all().len());
        assert_eq!(taken(), 0);
    }

    #[test]
    fn a_place_that_was_taken_over_is_the_new_networks_alone() {
        let (rates, now) = (Rates::new(Rate::new(1, 2)), Instant::now());
        let within = (0..2 * limits::RATE_NETWORKS).filter(|n| rates.take(client(*n), now)).count();
        assert!(within < 2 * limits::RATE_NETWORKS, "every place is taken");
        let later = now + Duration::from_secs(60);
        let newcomer = client(5 * limits::RATE_NETWORKS);
        assert!(rates.take(newcomer, later) && rates.take(newcomer, later) && !rates.take(newcomer, later));
    }

    #[test]
    fn threads_that_take_at_once_take_no_more_than_there_is() {
        const THREADS: usize = 4;
        const MOST: u32 = 200_000;
        let (rates, now) = (Rates::new(Rate::new(1, MOST)), Instant::now());
        let together = Barrier::new(THREADS);
        let taken = || {
            together.wait();
            (0..MOST / 2).filter(|_| rates.take(client(1), now)).count()
        };
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(taken)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(all, MOST as usize);
    }

    #[test]
    fn networks_of_both_kinds_have_numbers_of_their_own_and_none_is_nobody() {
        let number = |text: &str| number(text.parse().unwrap());
        let all = [
            "0.0.0.0",
            "192.0.2.1",
            "255.255.255.255",
            "::",
            "64:ff9b::",
            "2001:db8::",
            "ffff:ffff:ffff:ffff::",
        ];
        let numbers: BTreeSet<u64> = all.into_iter().map(number).collect();
        assert_eq!(numbers.len(), all.len());
        assert!(!numbers.contains(&NOBODY));
    }
}
