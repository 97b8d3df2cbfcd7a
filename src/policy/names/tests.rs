//! The layers against a map and a loop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::hash::Depths;
use super::image::Sought;
use super::*;
use crate::background::offers;
use crate::hostname::Hostname;
use crate::policy::{CaseId, Digest, Form, Pattern};

/// A few labels make names that meet often.
fn pattern() -> impl Strategy<Value = Pattern> {
    let label = prop::sample::select(vec!["a", "b", "example", "xn--bcher-kva", "_x"]);
    let name = prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."));
    let text = prop_oneof![
        8 => (prop::sample::select(vec!["", ".", "*."]), name).prop_map(|(form, name)| format!("{form}{name}")),
        1 => prop::sample::select(vec!["192.0.2.1", "[2001:db8::1]"]).prop_map(str::to_owned),
    ];
    text.prop_map(|text| Pattern::parse(&text).unwrap())
}

fn cases() -> impl Strategy<Value = Vec<Vec<Pattern>>> {
    prop::collection::vec(prop::collection::vec(pattern(), 1..12), 1..8)
}

fn key(number: usize, version: u8) -> NamesKey {
    NamesKey { case: CaseId::parse(&format!("c{number}")).unwrap(), names: Digest::from_bytes([version; 32]) }
}

fn names_of(number: usize, version: u8, patterns: &[Pattern]) -> NamesOf {
    let mut unsorted = Unsorted::default();
    patterns.iter().for_each(|pattern| assert!(unsorted.push(pattern)));
    let run = Run::new(unsorted, &mut MemorySpool).unwrap();
    NamesOf { key: key(number, version), runs: vec![run] }
}

/// What the layers say of a host: the case, and how it names the host.
fn found(layers: &Layers, host: &Hostname) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    layers.covering(host, |one| found.push((one.position, format!("{}{}", one.form.prefix(), one.name))));
    found.sort();
    found
}

/// The same by looking at every pattern: of those on one name, the most specific that covers the host.
fn expected(cases: &[Vec<Pattern>], host: &Hostname) -> Vec<(u32, String)> {
    let mut expected = Vec::new();
    for (position, patterns) in cases.iter().enumerate() {
        let mut covering: Vec<&Pattern> = patterns.iter().filter(|one| one.covers(host)).collect();
        covering.sort_by_key(|one| (one.name.clone(), one.form));
        covering.dedup_by_key(|one| one.name.clone());
        expected.extend(covering.iter().map(|one| (u32::try_from(position).unwrap(), one.to_string())));
    }
    expected.sort();
    expected
}

fn hosts(cases: &[Vec<Pattern>]) -> Vec<Hostname> {
    let mut hosts: Vec<Hostname> = cases.iter().flatten().map(|pattern| pattern.name.clone()).collect();
    for text in ["a", "c.example", "a.b", "a.a.example", "b.b.b.b", "192.0.2.2", "2.0.192.in-addr.arpa"] {
        hosts.push(Hostname::parse(text).unwrap());
    }
    let below = hosts.iter().filter_map(|host| Hostname::parse(&format!("c.{host}")).ok());
    let below: Vec<Hostname> = below.collect();
    hosts.extend(below);
    hosts
}

/// What names exactly this host, by one look-up.
fn named(layers: &Layers, host: &Hostname) -> Vec<(usize, u8)> {
    let mut named = Vec::new();
    layers.naming_all(host, |_, own, position, forms| {
        if own {
            named.push((position as usize, forms.to_byte()));
        }
    });
    named.sort_unstable();
    named
}

/// The same by fingers, which stand where the host before has left them.
fn fingered(fingers: &mut Fingers<'_>, host: &Hostname) -> Vec<(usize, u8)> {
    let mut named = Vec::new();
    fingers.naming(host.as_str(), |position, forms| named.push((position, forms.to_byte())));
    named.sort_unstable();
    named
}

#[test]
fn fingers_find_what_a_look_up_finds_in_whatever_order_names_come() {
    let host = |n: usize| Hostname::parse(&format!("n{}.x{}.example", n * 7 % 5_003, n % 41)).unwrap();
    let patterns = |numbers: std::ops::Range<usize>| -> Vec<Pattern> {
        numbers.map(|n| Pattern::parse(&format!("{}{}", [".", "", "*."][n % 3], host(n))).unwrap()).collect()
    };
    let names = [names_of(0, 0, &patterns(0..3_000)), names_of(1, 0, &patterns(2_000..4_000))];
    let layers = [(names.get(..1).unwrap(), 0), (names.get(1..).unwrap(), 0)];
    let layers = layers.map(|(names, image_from)| Arc::new(Layer::new(names, image_from).unwrap()));
    let keys: Vec<NamesKey> = names.iter().map(|one| one.key.clone()).collect();
    let layers = Layers::place(&keys, layers.to_vec()).unwrap();
    // Every name, in the order of the images, with strangers between.
    let mut hosts: Vec<Hostname> = (0..5_000).map(host).collect();
    hosts.extend((0..50).map(|n| Hostname::parse(&format!("stranger{n}.x{n}.example")).unwrap()));
    let backwards = |host: &Hostname| -> Vec<u8> { host.as_str().bytes().rev().collect() };
    hosts.sort_by_key(backwards);
    for step in [1, 2, 31, 700] {
        let mut fingers = layers.fingers();
        for host in hosts.iter().step_by(step) {
            assert_eq!(fingered(&mut fingers, host), named(&layers, host), "{host}, every {step}");
        }
        // And on from there backwards, and across.
        for host in hosts.iter().rev().step_by(step).chain(hosts.iter().skip(3).step_by(997)) {
            assert_eq!(fingered(&mut fingers, host), named(&layers, host), "{host} after all of them");
        }
    }
    assert!(hosts.iter().filter(|host| named(&layers, host).len() == 2).count() > 100);
}

fn agree(layers: &Layers, cases: &[Vec<Pattern>]) -> Result<(), TestCaseError> {
    for host in hosts(cases) {
        prop_assert_eq!(found(layers, &host), expected(cases, &host), "{}", host);
    }
    let mut fingers = layers.fingers();
    for host in hosts(cases) {
        prop_assert_eq!(fingered(&mut fingers, &host), named(layers, &host), "{}", host);
    }
    let counted: Vec<u32> = cases
        .iter()
        .map(|patterns| {
            let mut names: Vec<&Hostname> = patterns.iter().map(|one| &one.name).collect();
            names.sort();
            names.dedup();
            u32::try_from(names.len()).unwrap()
        })
        .collect();
    prop_assert_eq!(layers.counts(cases.len()), counted);
    Ok(())
}

proptest! {
    #[test]
    fn one_layer_says_what_a_loop_over_all_patterns_says(cases in cases(), image in any::<bool>()) {
        let image_from = if image { 0 } else { u64::MAX };
        let names: Vec<NamesOf> = cases.iter().enumerate().map(|(n, one)| names_of(n, 0, one)).collect();
        let layer = Layer::new(&names, image_from).unwrap();
        prop_assert_eq!(layer.is_image(), image);
        let keys: Vec<NamesKey> = names.into_iter().map(|one| one.key).collect();
        agree(&Layers::place(&keys, vec![Arc::new(layer)]).unwrap(), &cases)?;
    }

    /// Cases come, go, change and come back, while layers are folded and merged at any moment.
    #[test]
    fn any_history_of_changes_says_what_a_loop_over_all_patterns_says(
        steps in prop::collection::vec((0_usize..5, prop::collection::vec(pattern(), 0..8), any::<bool>()), 1..12),
        image_from in prop::sample::select(vec![0, 4, 12, u64::MAX]),
    ) {
        let mut cases: Vec<(NamesKey, Vec<Pattern>)> = Vec::new();
        let mut layers: Vec<Arc<Layer>> = Vec::new();
        for (version, (number, patterns, merge)) in (1..).zip(steps) {
            cases.retain(|(key, _)| key.case.as_str() != format!("c{number}"));
            if !patterns.is_empty() {
                let fresh = names_of(number, version, &patterns);
                cases.push((fresh.key.clone(), patterns));
                let keys: Vec<NamesKey> = cases.iter().map(|(key, _)| key.clone()).collect();
                let fresh = Layer::new(&[fresh], image_from).unwrap();
                layers = Layers::folded(fresh, layers, |key| keys.contains(key), image_from).unwrap();
            }
            let keys: Vec<NamesKey> = cases.iter().map(|(key, _)| key.clone()).collect();
            let mut placed = Layers::place(&keys, layers).unwrap();
            if merge {
                let merged = Arc::new(placed.merged(image_from, &AtomicBool::new(false)).unwrap());
                placed = Layers::place(&keys, vec![merged]).unwrap();
                prop_assert!(!placed.wants_merging(image_from.max(1_000)));
            }
            layers = placed.shared().collect();
            let patterns: Vec<Vec<Pattern>> = cases.iter().map(|(_, patterns)| patterns.clone()).collect();
            agree(&placed, &patterns)?;
        }
    }

    #[test]
    fn an_image_reads_back_as_it_was_written_and_not_when_a_bit_of_it_changed(
        cases in cases(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let names: Vec<NamesOf> = cases.iter().enumerate().map(|(n, one)| names_of(n, 0, one)).collect();
        let mut bytes = Vec::new();
        prop_assert!(Layer::new(&names, 0).unwrap().write(&mut bytes).unwrap());
        let read = |bytes: &[u8]| Layer::read(&bytes, bytes.len() as u64);
        let keys: Vec<NamesKey> = names.into_iter().map(|one| one.key).collect();
        agree(&Layers::place(&keys, vec![Arc::new(read(&bytes).unwrap())]).unwrap(), &cases)?;
        let at = at.index(bytes.len());
        prop_assert!(read(&bytes[..at]).is_err());
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert!(read(&longer).is_err());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn an_image_of_an_earlier_version_is_told() {
    let one = names_of(1, 0, &[Pattern::parse("a.example").unwrap()]);
    let mut bytes = Vec::new();
    assert!(Layer::new(&[one], 0).unwrap().write(&mut bytes).unwrap());
    assert!(bytes.starts_with(b"interdict names 3\n"));
    for version in [b'1', b'2'] {
        bytes["interdict names ".len()] = version;
        let refused = Layer::read(&bytes.as_slice(), bytes.len() as u64).unwrap_err();
        assert_eq!(refused.to_string(), "it is not an image of names this version can read");
    }
}

#[test]
fn an_image_is_as_sure_of_deep_names_and_addresses_as_of_others() {
    let deep = ["a"; 127].join(".");
    let patterns = [".example", "*.b.example", "192.0.2.1", "[2001:db8::1]", &deep, "c.d.example"];
    let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    let names = names_of(0, 0, &patterns);
    let keys = [names.key.clone()];
    let layers = Layers::place(&keys, vec![Arc::new(Layer::new(&[names], 0).unwrap())]).unwrap();
    for text in [&deep, &deep[2..], "192.0.2.1", "192.0.2.2", "[2001:db8::1]", "x.b.example", "x.c.d.example"]
    {
        let host = Hostname::parse(text).unwrap();
        assert_eq!(found(&layers, &host), expected(std::slice::from_ref(&patterns), &host), "{text}");
        let mut all = Vec::new();
        layers.naming_all(&host, |name, _, _, _| all.push(name.to_owned()));
        let built: Vec<&str> =
            host.suffixes().filter(|name| patterns.iter().any(|one| one.name.as_str() == *name)).collect();
        assert_eq!(all, built, "{text}");
    }
}

/// Most of a real list are names alone, and most of what is asked for are names below them.
#[test]
fn a_parent_that_covers_nothing_below_it_is_not_searched_for() {
    let texts = (0..2_000).map(|number| match number % 4 {
        0 => format!(".n{number}.example"),
        1 => format!("*.n{number}.example"),
        _ => format!("n{number}.example"),
    });
    let patterns: Vec<Pattern> = texts.map(|text| Pattern::parse(&text).unwrap()).collect();
    let layer = Layer::new(&[names_of(0, 0, &patterns)], 0).unwrap();
    let mut searched = 0;
    for pattern in &patterns {
        let below = Hostname::parse(&format!("www.{}", pattern.name)).unwrap();
        let parent = Depths::labels(2);
        assert!(layer.may_name(&below, Sought::Any).has(parent), "{below}");
        assert!(layer.may_name(&pattern.name, Sought::Covering).has(Depths::OWN), "{pattern}");
        let covering = layer.may_name(&below, Sought::Covering).has(parent);
        if pattern.form == Form::Exact {
            searched += usize::from(covering)
        } else {
            assert!(covering, "{below}")
        }
    }
    assert!(searched < 50, "{searched} of 1,000 parents are searched for in vain");
}

#[test]
fn a_case_whose_names_are_nowhere_is_told_and_a_layer_without_cases_is_let_go() {
    let one = names_of(1, 0, &[Pattern::parse("a.example").unwrap()]);
    let layer = Arc::new(Layer::new(&[one], 0).unwrap());
    let missing = Layers::place(&[key(1, 0), key(2, 0), key(1, 1)], vec![Arc::clone(&layer)]);
    assert_eq!(missing.map(|_| ()).unwrap_err(), [1, 2]);
    assert_eq!(Layers::place(&[], vec![layer]).unwrap().shared().count(), 0);
}

#[test]
fn a_merge_that_was_cancelled_makes_nothing() {
    let patterns = [Pattern::parse("a.example").unwrap(), Pattern::parse("b.example").unwrap()];
    let one = names_of(1, 0, &patterns);
    let keys = [one.key.clone()];
    let layers = Layers::place(&keys, vec![Arc::new(Layer::new(&[one], 0).unwrap())]).unwrap();
    let cancelled = AtomicBool::new(true);
    assert!(matches!(layers.merged(0, &cancelled), Err(BuildError::Cancelled)));
    assert_eq!(layers.merged(0, &AtomicBool::new(false)).unwrap().len(), 2);
}

#[test]
fn a_merge_offers_the_processor_on_its_way() {
    let patterns: Vec<Pattern> =
        (0..5_000).map(|number| Pattern::parse(&format!("n{number}.example")).unwrap()).collect();
    let one = names_of(1, 0, &patterns);
    let keys = [one.key.clone()];
    let layers = Layers::place(&keys, vec![Arc::new(Layer::new(&[one], 0).unwrap())]).unwrap();
    let merge = || assert_eq!(layers.merged(0, &AtomicBool::new(false)).unwrap().len(), 5_000);
    let offered = offers(merge);
    // This thread moves half of the names, walks past the others, and puts all into the filter.
    assert!(offered >= 2 * (5_000 / 1024), "{offered}");
}

#[test]
fn many_single_changes_make_few_layers() {
    let mut layers: Vec<Arc<Layer>> = Vec::new();
    for number in 0..1_000 {
        let one = names_of(number, 0, &[Pattern::parse(&format!("{number}.example")).unwrap()]);
        let fresh = Layer::new(&[one], u64::MAX).unwrap();
        layers = Layers::folded(fresh, layers, |_| true, u64::MAX).unwrap();
        assert!(layers.len() <= 10, "{} layers", layers.len());
    }
    let keys: Vec<NamesKey> = (0..1_000).map(|number| key(number, 0)).collect();
    assert_eq!(Layers::place(&keys, layers).unwrap().names(), 1_000);
}
