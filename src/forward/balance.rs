//! Which origin of a route a request goes to. Pure: weights, loads and a key go in, an order comes out.

use smallvec::SmallVec;

/// How a route picks among its origins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other, each as often as its weight says, evenly mixed.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastConnections,
    /// The same one for the same key, as long as it is there.
    ConsistentHash(HashKey),
    /// The first; the others only when it fails.
    InOrder,
}

impl Balance {
    /// Every way there is, for the configuration.
    pub const ALL: [Self; 4] =
        [Self::RoundRobin, Self::LeastConnections, Self::ConsistentHash(HashKey::Client), Self::InOrder];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::ConsistentHash(_) => "consistent-hash",
            Self::InOrder => "in-order",
        }
    }
}

/// What of a request a consistent hash is taken of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HashKey {
    /// The address of the client.
    #[default]
    Client,
    /// The host.
    Host,
    /// The path, with the query.
    Path,
}

impl HashKey {
    /// Every key there is, for the configuration.
    pub const ALL: [Self; 3] = [Self::Client, Self::Host, Self::Path];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Host => "host",
            Self::Path => "path",
        }
    }
}

/// One origin as balancing sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// Its share, at least 1.
    pub weight: u32,
    /// Requests under way to it.
    pub active: usize,
    /// Stands for its name in the consistent hash.
    pub id: u64,
    /// Whether it takes requests at all.
    pub up: bool,
}

/// Positions of origins in the order in which they are to be tried.
pub type Order = SmallVec<[usize; 8]>;

/// Smooth weighted round robin, as nginx does it: each turn adds its weight to every seat, the seat that is highest
/// is taken and pays the sum of all weights. The turns of a heavy seat lie apart, and light ones come between.
#[derive(Debug, Clone, Default)]
pub(super) struct Rounds {
    standings: Vec<i64>,
}

impl Rounds {
    /// Takes a turn among the seats that `takes_part` names; none when there is none.
    fn turn(&mut self, seats: &[Seat], takes_part: impl Fn(usize) -> bool) -> Option<usize> {
        self.standings.resize(seats.len(), 0);
        let mut total = 0;
        let mut highest: Option<(usize, i64)> = None;
        for (at, (standing, seat)) in self.standings.iter_mut().zip(seats).enumerate() {
            if !takes_part(at) {
                continue;
            }
            let weight = i64::from(seat.weight);
            *standing = standing.saturating_add(weight);
            total += weight;
            if highest.is_none_or(|(_, best)| *standing > best) {
                highest = Some((at, *standing));
            }
        }
        let (taken, _) = highest?;
        if let Some(standing) = self.standings.get_mut(taken) {
            *standing = standing.saturating_sub(total);
        }
        Some(taken)
    }
}

/// Every seat that is up, the one to be tried first in front. `key` is the text to hash for
/// [`Balance::ConsistentHash`].
pub(super) fn order(balance: Balance, seats: &[Seat], rounds: &mut Rounds, key: &[u8]) -> Order {
    let is_up = |at: usize| seats.get(at).is_some_and(|seat| seat.up);
    let in_order = (0..seats.len()).filter(|at| is_up(*at));
    match balance {
        Balance::InOrder => in_order.collect(),
        Balance::RoundRobin => starting_with(rounds.turn(seats, is_up), in_order),
        Balance::LeastConnections => {
            let mut order: Order = in_order.collect();
            order.sort_by(|one, other| compare_loads(seats.get(*one), seats.get(*other)));
            let least = order.first().and_then(|at| seats.get(*at));
            // Those that are equally free take turns, or the first would get everything while all are idle.
            let is_least = |at: usize| is_up(at) && compare_loads(seats.get(at), least).is_eq();
            let first = rounds.turn(seats, is_least);
            starting_with(first, order.iter().copied())
        }
        Balance::ConsistentHash(_) => ranked(seats, hash(key)),
    }
}

fn starting_with(first: Option<usize>, others: impl Iterator<Item = usize>) -> Order {
    first.into_iter().chain(others.filter(|at| Some(*at) != first)).collect()
}

/// Requests under way for each unit of weight, without a division.
fn compare_loads(one: Option<&Seat>, other: Option<&Seat>) -> std::cmp::Ordering {
    let (Some(one), Some(other)) = (one, other) else { return std::cmp::Ordering::Equal };
    let scaled = |seat: &Seat, by: &Seat| seat.active as u128 * u128::from(by.weight);
    scaled(one, other).cmp(&scaled(other, one))
}

/// Weighted rendezvous hashing: each seat draws a number from the key and its own name, and the seats are ranked by
/// it. A seat that goes away takes only its own keys with it, and each of them goes to its second.
fn ranked(seats: &[Seat], key: u64) -> Order {
    let mut drawn: SmallVec<[(f64, usize); 8]> = seats
        .iter()
        .enumerate()
        .filter(|(_, seat)| seat.up)
        .map(|(at, seat)| (draw(seat, key), at))
        .collect();
    drawn.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    drawn.into_iter().map(|(_, at)| at).collect()
}

/// `-weight / ln(u)` for a `u` between 0 and 1 is highest for a seat as often as its weight says.
fn draw(seat: &Seat, key: u64) -> f64 {
    let bits = mix(key ^ seat.id) >> 11;
    let between_0_and_1 = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(seat.weight) / between_0_and_1.ln()
}

/// FNV-1a with a finish that spreads the bits: the same on every machine and in every release, so that all edges
/// send a key to one origin. It protects nothing.
pub(super) fn hash(text: &[u8]) -> u64 {
    let fnv = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    mix(fnv)
}

/// The finish of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
