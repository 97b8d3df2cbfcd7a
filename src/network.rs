//! Sets of networks, and the question which of them hold an address.
//!
//! An IPv4 address has two spellings, its own and `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2). Both are the
//! same machine, so everything here works on the shorter one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits of the prefix `::ffff:0:0/96` under which IPv4 addresses are mapped into IPv6.
const MAPPED_BITS: u8 = 96;

/// The address with a v4-mapped IPv6 address written as the IPv4 address it stands for.
#[must_use]
pub fn canonical_ip(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Where a connection to an address leads: the unspecified address is the machine itself to Linux, which connects to its
/// loopback address.
#[must_use]
pub fn destination(address: IpAddr) -> IpAddr {
    match canonical_ip(address) {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

/// The network that a client's address counts for: an IPv4 address is one client, an IPv6 client has a /64 to choose
/// its addresses from (RFC 6177, RFC 4291 §2.5.1).
#[must_use]
pub fn client_network(client: IpAddr) -> IpAddr {
    match canonical_ip(client) {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

/// The network with host bits cleared, and a v4-mapped IPv6 network written as IPv4.
///
/// An IPv6 network wider than `::ffff:0:0/96` stays IPv6: `::/0` means every IPv6 address and no IPv4 one.
#[must_use]
pub fn canonical_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    if let IpNet::V6(v6) = network
        && let Some(address) = v6.addr().to_ipv4_mapped()
        && let Some(bits) = v6.prefix_len().checked_sub(MAPPED_BITS)
        && let Ok(v4) = Ipv4Net::new(address, bits)
    {
        return IpNet::V4(v4);
    }
    network
}

/// A set of networks, held as sorted ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Box<[Range<Ipv4Addr>]>,
    v6: Box<[Range<Ipv6Addr>]>,
}

/// First and last address of a range, both in it.
type Range<A> = (A, A);

impl Networks {
    /// Whether one of the networks holds `address`; O(log n) in the number of networks, no allocation.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match canonical_ip(address) {
            IpAddr::V4(v4) => holds(&self.v4, v4),
            IpAddr::V6(v6) => holds(&self.v6, v6),
        }
    }

    /// Whether every address of `other` is in this set; O(n log m), no allocation.
    #[must_use]
    pub fn holds_all(&self, other: &Self) -> bool {
        let within = |(first, last): &Range<Ipv4Addr>| holds_range(&self.v4, *first, *last);
        let within_v6 = |(first, last): &Range<Ipv6Addr>| holds_range(&self.v6, *first, *last);
        other.v4.iter().all(within) && other.v6.iter().all(within_v6)
    }

    /// Whether the set is empty, so that it holds no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical_network(network) {
                IpNet::V4(net) => v4.push((net.network(), net.broadcast())),
                IpNet::V6(net) => v6.push((net.network(), net.broadcast())),
            }
        }
        let next_v4 = |a: Ipv4Addr| a.to_bits().checked_add(1).map(Ipv4Addr::from_bits);
        let next_v6 = |a: Ipv6Addr| a.to_bits().checked_add(1).map(Ipv6Addr::from_bits);
        Self { v4: disjoint(v4, next_v4), v6: disjoint(v6, next_v6) }
    }
}

fn holds<A: Ord + Copy>(ranges: &[Range<A>], address: A) -> bool {
    holds_range(ranges, address, address)
}

/// Ranges neither overlap nor touch, so that one of them holds the whole of another range or none does.
fn holds_range<A: Ord + Copy>(ranges: &[Range<A>], from: A, to: A) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= from);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| to <= *last)
}

/// Sorts the ranges and joins those that overlap or touch; `next` is `None` after the last address.
fn disjoint<A: Ord + Copy>(mut ranges: Vec<Range<A>>, next: impl Fn(A) -> Option<A>) -> Box<[Range<A>]> {
    ranges.sort_unstable();
    let mut joined: Vec<Range<A>> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|free| first <= free) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined.into_boxed_slice()
}

/// Values that belong to networks, found by an address in them.
///
/// The networks are sorted by prefix length, and a look-up is one binary search for each length that
/// occurs (at most 33 for IPv4 and 129 for IPv6), so ten thousand networks of one length cost 14 steps.
#[derive(Debug, Clone)]
pub struct NetworkMap<T> {
    v4: Vec<Level<Ipv4Net, T>>,
    v6: Vec<Level<Ipv6Net, T>>,
}

/// All networks of one prefix length, sorted.
#[derive(Debug, Clone)]
struct Level<N, T> {
    bits: u8,
    entries: Vec<(N, T)>,
}

impl<T> Default for NetworkMap<T> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

impl<T> NetworkMap<T> {
    /// Every value one of whose networks holds `address`, with that network, longest prefix first.
    ///
    /// A value given for several such networks comes once for each of them.
    pub fn holding(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, &T)> {
        let (v4, v6) = match canonical_ip(address) {
            IpAddr::V4(address) => (Some(address), None),
            IpAddr::V6(address) => (None, Some(address)),
        };
        let in_v4 = v4.into_iter().flat_map(|address| {
            let key = move |bits| Ipv4Net::new(address, bits).ok().map(|net| net.trunc());
            found(&self.v4, key).map(|(net, value)| (IpNet::V4(*net), value))
        });
        let in_v6 = v6.into_iter().flat_map(|address| {
            let key = move |bits| Ipv6Net::new(address, bits).ok().map(|net| net.trunc());
            found(&self.v6, key).map(|(net, value)| (IpNet::V6(*net), value))
        });
        in_v4.chain(in_v6)
    }

    /// Whether there is no network at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl<T> FromIterator<(IpNet, T)> for NetworkMap<T> {
    fn from_iter<I: IntoIterator<Item = (IpNet, T)>>(pairs: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, value) in pairs {
            match canonical_network(network) {
                IpNet::V4(net) => v4.push((net, value)),
                IpNet::V6(net) => v6.push((net, value)),
            }
        }
        Self { v4: levels(v4, Ipv4Net::prefix_len), v6: levels(v6, Ipv6Net::prefix_len) }
    }
}

/// Sorts networks into levels, the longest prefix first.
fn levels<N: Ord + Copy, T>(mut pairs: Vec<(N, T)>, bits: impl Fn(&N) -> u8) -> Vec<Level<N, T>> {
    pairs.sort_by_key(|(net, _)| (std::cmp::Reverse(bits(net)), *net));
    let mut levels: Vec<Level<N, T>> = Vec::new();
    for (net, value) in pairs {
        match levels.last_mut() {
            Some(level) if level.bits == bits(&net) => level.entries.push((net, value)),
            _ => levels.push(Level { bits: bits(&net), entries: vec![(net, value)] }),
        }
    }
    levels
}

/// The entries whose network is what `key` makes of the address at the length of their level.
fn found<'m, N: Ord + 'm, T>(
    levels: &'m [Level<N, T>],
    key: impl Fn(u8) -> Option<N>,
) -> impl Iterator<Item = &'m (N, T)> {
    levels.iter().flat_map(move |level| {
        let equal: &[(N, T)] = key(level.bits).map_or(&[], |key| {
            let start = level.entries.partition_point(|(net, _)| *net < key);
            let rest = level.entries.get(start..).unwrap_or_default();
            rest.get(..rest.partition_point(|(net, _)| *net == key)).unwrap_or_default()
        });
        equal.iter()
    })
}

#[cfg(test)]
mod tests;
