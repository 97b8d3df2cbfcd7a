//! Tests of networks.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::{NetworkMap, Networks, canonical_ip, canonical_network, destination};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_mapped_address_and_a_mapped_network_are_ipv4() {
    assert_eq!(canonical_ip(ip("::ffff:192.0.2.7")), ip("192.0.2.7"));
    assert_eq!(canonical_ip(ip("2001:db8::7")), ip("2001:db8::7"));
    assert_eq!(canonical_network(net("::ffff:192.0.2.77/120")), net("192.0.2.0/24"));
    assert_eq!(canonical_network(net("::ffff:0:0/96")), net("0.0.0.0/0"));
    assert_eq!(canonical_network(net("::/0")), net("::/0"));
    assert_eq!(canonical_network(net("203.0.113.99/24")), net("203.0.113.0/24"));
}

#[test]
fn both_spellings_of_an_address_are_in_both_spellings_of_a_network() {
    for network in ["192.0.2.0/24", "::ffff:192.0.2.0/120"] {
        let networks = Networks::from_iter([net(network)]);
        for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(networks.contains(ip(address)), "{address} in {network}");
        }
        assert!(!networks.contains(ip("192.0.3.0")));
        assert!(!networks.contains(ip("::192.0.2.1")));
    }
}

#[test]
fn the_whole_of_a_family_does_not_take_the_other() {
    let v4 = Networks::from_iter([net("0.0.0.0/0")]);
    let v6 = Networks::from_iter([net("::/0")]);
    assert!(v4.contains(ip("255.255.255.255")) && !v4.contains(ip("::1")));
    assert!(v6.contains(ip("ffff::")) && !v6.contains(ip("0.0.0.0")));
    assert!(Networks::default().is_empty() && !Networks::default().contains(ip("0.0.0.0")));
}

#[test]
fn values_come_with_the_longest_network_first() {
    let pairs = [("192.0.2.0/24", 1), ("192.0.2.128/25", 2), ("0.0.0.0/0", 3), ("192.0.2.128/25", 4)];
    let map: NetworkMap<i32> = pairs.into_iter().map(|(text, value)| (net(text), value)).collect();
    let found: Vec<_> = map.holding(ip("::ffff:192.0.2.200")).map(|(net, value)| (net, *value)).collect();
    let expected = [("192.0.2.128/25", 2), ("192.0.2.128/25", 4), ("192.0.2.0/24", 1), ("0.0.0.0/0", 3)];
    assert_eq!(found, expected.map(|(text, value)| (net(text), value)));
    assert_eq!(map.holding(ip("2001:db8::1")).count(), 0);
}

/// Networks and addresses from a small space, so that they often meet; both families, mapped ones too.
fn address() -> impl Strategy<Value = IpAddr> {
    (0..4u8, 0..=255u8, 0..=255u8).prop_map(|(family, high, low)| match family {
        0 | 1 => IpAddr::from([192, 0, high & 3, low]),
        2 => IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, u16::from(high & 3) << 8 | u16::from(low)]),
        _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(low)]),
    })
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0..=12u8).prop_map(|(address, host_bits)| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, bits - host_bits).unwrap()
    })
}

proptest! {
    #[test]
    fn a_set_and_a_map_agree_with_asking_every_network(
        networks in prop::collection::vec(network(), 0..12),
        address in address(),
    ) {
        let inside = |net: &IpNet| canonical_network(*net).contains(&canonical_ip(address));
        let set: Networks = networks.iter().copied().collect();
        prop_assert_eq!(set.contains(address), networks.iter().any(inside));

        let map: NetworkMap<usize> = networks.iter().copied().zip(0..).collect();
        let found: Vec<(IpNet, usize)> = map.holding(address).map(|(net, value)| (net, *value)).collect();
        prop_assert!(found.is_sorted_by(|a, b| a.0.prefix_len() >= b.0.prefix_len()));
        let mut values: Vec<usize> = found.into_iter().map(|(_, value)| value).collect();
        values.sort_unstable();
        let expected: Vec<usize> = (0..networks.len()).filter(|at| inside(&networks[*at])).collect();
        prop_assert_eq!(values, expected);
    }
}

#[test]
fn the_unspecified_address_leads_to_the_machine_itself_and_every_other_where_it_says() {
    for (address, led) in [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::ffff:0.0.0.0", "127.0.0.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(destination(address.parse().unwrap()), led.parse::<IpAddr>().unwrap(), "{address}");
    }
}
