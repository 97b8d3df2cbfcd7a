//! Tests of the balancing: shares, and what moves when an origin goes.

use proptest::prelude::*;

use super::*;

fn seats(weights: &[u32]) -> Vec<Seat> {
    let seat = |(at, weight): (usize, &u32)| Seat {
        weight: *weight,
        active: 0,
        id: hash(format!("192.0.2.{at}:80").as_bytes()),
        up: true,
    };
    weights.iter().enumerate().map(seat).collect()
}

fn firsts(balance: Balance, seats: &[Seat], count: usize) -> Vec<usize> {
    let mut rounds = Rounds::default();
    (0..count).map(|turn| order(balance, seats, &mut rounds, &turn.to_be_bytes())[0]).collect()
}

fn share(firsts: &[usize], at: usize) -> usize {
    firsts.iter().filter(|first| **first == at).count()
}

#[test]
fn heavy_turns_lie_apart() {
    assert_eq!(firsts(Balance::RoundRobin, &seats(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn the_first_stays_the_first_in_order() {
    let mut rounds = Rounds::default();
    for _ in 0..3 {
        assert_eq!(order(Balance::InOrder, &seats(&[1, 9, 1]), &mut rounds, b"").as_slice(), [0, 1, 2]);
    }
}

#[test]
fn the_freest_origin_for_its_weight_is_taken() {
    let mut busy = seats(&[1, 4, 1]);
    for (seat, active) in busy.iter_mut().zip([2, 7, 3]) {
        seat.active = active;
    }
    // 2 for 1, 7 for 4, 3 for 1.
    let mut rounds = Rounds::default();
    assert_eq!(order(Balance::LeastConnections, &busy, &mut rounds, b"").as_slice(), [1, 0, 2]);
    busy[1].active = 9;
    assert_eq!(order(Balance::LeastConnections, &busy, &mut rounds, b"").as_slice(), [0, 1, 2]);
}

#[test]
fn idle_origins_take_turns() {
    let taken = firsts(Balance::LeastConnections, &seats(&[1, 1, 1]), 9);
    assert_eq!((share(&taken, 0), share(&taken, 1), share(&taken, 2)), (3, 3, 3));
}

#[test]
fn what_is_down_gets_no_turn() {
    let mut some = seats(&[2, 5, 1]);
    some[1].up = false;
    for balance in Balance::ALL {
        let taken = firsts(balance, &some, 300);
        assert_eq!(share(&taken, 1), 0, "{balance:?}");
    }
    assert_eq!(firsts(Balance::RoundRobin, &some, 3), [0, 2, 0]);
}

#[test]
fn a_hash_is_the_same_everywhere() {
    assert_eq!(hash(b"192.0.2.1"), hash(b"192.0.2.1"));
    // Written down: another number here sends every client to another origin on an upgrade.
    assert_eq!(hash(b""), mix(0xcbf2_9ce4_8422_2325));
    assert_ne!(hash(b"192.0.2.1"), hash(b"192.0.2.2"));
}

proptest! {
    #[test]
    fn in_one_round_each_origin_has_exactly_its_weight(weights in prop::collection::vec(1u32..20, 1..8)) {
        let total: u32 = weights.iter().sum();
        let taken = firsts(Balance::RoundRobin, &seats(&weights), total as usize);
        for (at, weight) in weights.iter().enumerate() {
            prop_assert_eq!(share(&taken, at), *weight as usize);
        }
    }

    #[test]
    fn every_order_names_every_origin_once(
        weights in prop::collection::vec(1u32..20, 0..8),
        key in any::<u64>(),
        balance in prop::sample::select(Balance::ALL.to_vec()),
    ) {
        let mut order = order(balance, &seats(&weights), &mut Rounds::default(), &key.to_be_bytes());
        order.sort_unstable();
        prop_assert!(order.iter().copied().eq(0..weights.len()));
    }

    #[test]
    fn keys_follow_the_weights(weights in prop::collection::vec(1u32..6, 2..6)) {
        let total: u32 = weights.iter().sum();
        let taken = firsts(Balance::ConsistentHash(HashKey::Client), &seats(&weights), 8000);
        for (at, weight) in weights.iter().enumerate() {
            let expected = 8000.0 * f64::from(*weight) / f64::from(total);
            let deviation = (share(&taken, at) as f64 - expected).abs();
            // Six standard deviations of a fair draw.
            prop_assert!(deviation < 6.0 * expected.sqrt(), "{at}: {} for {expected}", share(&taken, at));
        }
    }

    #[test]
    fn an_origin_that_goes_moves_its_own_keys_and_no_others(
        weights in prop::collection::vec(1u32..6, 2..7),
        gone in any::<prop::sample::Index>(),
        key in any::<u64>(),
    ) {
        let all = seats(&weights);
        let gone = gone.index(all.len());
        let mut rest = all.clone();
        rest[gone].up = false;
        let hashed = Balance::ConsistentHash(HashKey::Client);
        let before = order(hashed, &all, &mut Rounds::default(), &key.to_be_bytes());
        let after = order(hashed, &rest, &mut Rounds::default(), &key.to_be_bytes());
        prop_assert!(before.iter().filter(|at| **at != gone).eq(after.iter()));
    }
}
