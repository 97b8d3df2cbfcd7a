//! The verdict against a naive oracle: a plain loop over all cases and patterns.

use std::cmp::Reverse;
use std::net::IpAddr;

use interdict::decide::{Reason, Subject, Verdict, chain, decide, judge_origin};
use interdict::hostname::Hostname;
use interdict::policy::{
    Action, Basis, Case, CaseId, Exemption, Form, Legal, Mode, Pattern, PolicyFiles, Ruleset,
};
use ipnet::IpNet;
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// How a case concerns a subject: exact or not, length, and how often the oracle saw that very degree.
type Degree = (bool, usize);

/// A verdict in comparable form: word, winner, how it matched, the others in order.
#[derive(Debug, PartialEq)]
struct Judged {
    verdict: &'static str,
    ids: Vec<String>,
    matched: Option<String>,
}

impl Judged {
    fn by_the_code(verdict: &Verdict<'_>) -> Self {
        let found = verdict.found();
        let ids =
            found.into_iter().flat_map(|found| std::iter::once(found.case).chain(found.also.iter().copied()));
        Self {
            verdict: verdict.as_str(),
            ids: ids.map(|case| case.id.to_string()).collect(),
            matched: found.map(|found| found.matched.to_string()),
        }
    }

    /// Ranks every case that has a degree and lets the first that does not exempt the client win.
    fn by_the_book(concerned: Vec<(&Case, Degree, String)>, client: IpAddr, now: Timestamp) -> Self {
        let mut ranked = concerned;
        ranked.sort_by_key(|(case, degree, _)| {
            (Reverse(*degree), case.mode == Mode::Shadow, case.action == Action::Page, case.id.as_str())
        });
        let standing = ranked.iter().position(|(case, ..)| !exempts(case, client, now));
        if ranked.is_empty() {
            return Self { verdict: "allow", ids: Vec::new(), matched: None };
        }
        // Every case before the one that stands exempts the client.
        let waived = ranked[..standing.unwrap_or(0)].iter().position(|(case, ..)| case.mode == Mode::Enforce);
        let (verdict, at) = match standing.map(|at| (at, ranked[at].0.mode)) {
            None => ("exempt", 0),
            Some((at, Mode::Enforce)) => ("block", at),
            Some((at, Mode::Shadow)) => waived.map_or(("shadow", at), |waived| ("exempt", waived)),
        };
        let winner = ranked.remove(at);
        let ids = std::iter::once(&winner).chain(&ranked).map(|(case, ..)| case.id.to_string()).collect();
        Self { verdict, ids, matched: Some(winner.2) }
    }
}

fn exempts(case: &Case, client: IpAddr, now: Timestamp) -> bool {
    case.exempt
        .iter()
        .filter(|one| one.expires.is_none_or(|end| now < end))
        .any(|one| one.clients.iter().any(|net| inside(net, client)))
}

fn concerns(case: &Case, client: IpAddr, now: Timestamp) -> bool {
    let territory = case.legal.as_ref().map(|legal| &legal.territory[..]).unwrap_or_default();
    case.in_force(now) && (territory.is_empty() || territory.iter().any(|net| inside(net, client)))
}

/// Compares addresses as IPv6, IPv4 ones mapped: another way than the code takes.
fn inside(net: &IpNet, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let host_bits = net.max_prefix_len() - net.prefix_len();
    bits(net.addr()).checked_shr(host_bits.into()).unwrap_or(0)
        == bits(address).checked_shr(host_bits.into()).unwrap_or(0)
}

/// The most specific way in which a case covers any of the names; the first name counts among equals, and
/// of one name `.a` counts before `*.a`.
fn covering(case: &Case, names: &[Hostname]) -> Option<(Degree, String)> {
    let mut best: Option<(Degree, Form, String)> = None;
    for name in names {
        if case.except.iter().any(|except| except.covers(name)) {
            continue;
        }
        let mut of_name: Option<(Degree, Form, String)> = None;
        for pattern in case.hosts.iter().filter(|pattern| pattern.covers(name)) {
            let exact = pattern.form == Form::Exact;
            let degree = (exact, if exact { 0 } else { pattern.name.as_str().len() });
            let better = |(old, form, _): &(Degree, Form, String)| {
                (degree, Reverse(pattern.form)) > (*old, Reverse(*form))
            };
            if of_name.as_ref().is_none_or(better) {
                of_name = Some((degree, pattern.form, pattern.to_string()));
            }
        }
        if let Some(found) = of_name
            && best.as_ref().is_none_or(|best| found.0 > best.0)
        {
            best = Some(found);
        }
    }
    best.map(|(degree, _, text)| (degree, text))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_161_600 + second).unwrap()
}

/// One to four labels of three words, so that names often meet and nest.
fn host() -> impl Strategy<Value = Hostname> {
    let label = prop::sample::select(vec!["a", "b", "cc"]);
    vec(label, 1..=4).prop_map(|labels| Hostname::parse(&labels.join(".")).unwrap())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let form = prop::sample::select(vec![Form::Exact, Form::Subtree, Form::Below]);
    (form, host()).prop_map(|(form, name)| Pattern { form, name })
}

fn address() -> impl Strategy<Value = IpAddr> {
    (0..3u8, 0..16u8).prop_map(|(family, low)| match family {
        0 => IpAddr::from([192, 0, 2, low]),
        1 => IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0200 | u16::from(low)]),
        _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(low)]),
    })
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0..=4u8).prop_map(|(address, host_bits)| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, bits - host_bits).unwrap()
    })
}

fn moment() -> impl Strategy<Value = Option<Timestamp>> {
    option::weighted(0.3, (0..4i64).prop_map(at))
}

fn exemption() -> impl Strategy<Value = Exemption> {
    (vec(network(), 1..3), moment()).prop_map(|(clients, expires)| Exemption {
        clients,
        reason: "evidence".to_owned(),
        expires,
    })
}

fn legal() -> impl Strategy<Value = Option<Legal>> {
    option::weighted(
        0.4,
        vec(network(), 0..4).prop_map(|territory| Legal {
            authority: "Regional Court of Example".to_owned(),
            reference: "12 O 345/26".to_owned(),
            url: None,
            territory,
        }),
    )
}

/// A case; its id is set when it is put into a set.
fn case() -> impl Strategy<Value = Case> {
    let names = (vec(pattern(), 0..6), option::weighted(0.3, vec(pattern(), 0..3)));
    let times = (moment(), moment());
    let networks = (vec(network(), 0..3), option::weighted(0.3, vec(exemption(), 1..3)));
    (names, times, networks, legal(), any::<bool>(), any::<bool>()).prop_map(
        |((hosts, except), (effective, expires), (origins, exempt), legal, shadow, refuse)| Case {
            id: CaseId::parse("unset").unwrap(),
            customer: "cust-1".to_owned(),
            basis: if legal.is_some() { Basis::CourtOrder } else { Basis::Abuse },
            decided: at(0),
            decided_by: Vec::new(),
            summary: String::new(),
            statement: "ended".to_owned(),
            action: if refuse { Action::Refuse } else { Action::Page },
            status: 403,
            mode: if shadow { Mode::Shadow } else { Mode::Enforce },
            effective,
            expires,
            review: None,
            hosts,
            lists: Vec::new(),
            except: except.unwrap_or_default(),
            origins,
            page: "default".to_owned(),
            legal,
            exempt: exempt.unwrap_or_default(),
            edges: Vec::new(),
        },
    )
}

/// Up to eight cases in an order that is not that of their ids.
fn set() -> impl Strategy<Value = Vec<Case>> {
    vec(case(), 0..8).prop_map(|cases| {
        let ids = ["TS-5", "TS-1", "TS-10", "TS-2", "b", "A", "a", "TS-1.1"];
        let named = cases.into_iter().zip(ids);
        named.map(|(case, id)| Case { id: CaseId::parse(id).unwrap(), ..case }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_judged_as_a_plain_loop_over_all_patterns_would(
        cases in set(),
        names in vec(host(), 0..4),
        client in address(),
        second in 0..4i64,
    ) {
        let now = at(second);
        let rules = Ruleset::compile(cases.clone(), &PolicyFiles::default()).unwrap();
        let concerned = cases.iter().filter(|case| concerns(case, client, now)).filter_map(|case| {
            covering(case, &names).map(|(degree, text)| (case, degree, text))
        });
        let expected = Judged::by_the_book(concerned.collect(), client, now);
        let subject = Subject { names: &names, client };
        let verdict = decide(&rules, &subject, now);
        prop_assert_eq!(Judged::by_the_code(&verdict), expected);
        // The chain that `explain` prints tells of the same race: one case decides, the others run, and every case that
        // covers a name is in it.
        let chain = chain(&rules, &subject, now, &verdict);
        let deciding = chain.iter().filter(|one| one.reason == Reason::Decides).map(|one| &one.case);
        let winner = verdict.found().map(|found| found.case.id.to_string());
        prop_assert_eq!(deciding.cloned().collect::<Vec<_>>(), winner.into_iter().collect::<Vec<_>>());
        let out = [Reason::NotYet, Reason::Ended, Reason::Territory, Reason::Excepted];
        let running = chain.iter().filter(|one| !out.contains(&one.reason)).count();
        prop_assert_eq!(running, verdict.found().map_or(0, |found| 1 + found.also.len()));
        let naming = |case: &&Case| names.iter().any(|name| case.hosts.iter().any(|host| host.covers(name)));
        prop_assert_eq!(chain.len(), cases.iter().filter(naming).count());
    }

    #[test]
    fn an_origin_is_judged_as_a_plain_loop_over_all_networks_would(
        cases in set(),
        origin in address(),
        client in address(),
        second in 0..4i64,
    ) {
        let now = at(second);
        let rules = Ruleset::compile(cases.clone(), &PolicyFiles::default()).unwrap();
        let concerned = cases.iter().filter(|case| concerns(case, client, now)).filter_map(|case| {
            let networks = case.origins.iter().filter(|net| inside(net, origin));
            // Host bits left, so that mapped and plain spellings of one network compare equal.
            let narrowest = networks.min_by_key(|net| net.max_prefix_len() - net.prefix_len())?;
            let free = usize::from(narrowest.max_prefix_len() - narrowest.prefix_len());
            Some((case, (false, 128 - free), plain(narrowest)))
        });
        let expected = Judged::by_the_book(concerned.collect(), client, now);
        prop_assert_eq!(Judged::by_the_code(&judge_origin(&rules, origin, client, now)), expected);
    }
}

/// The text of a network, host bits cleared, a mapped one as IPv4.
fn plain(net: &IpNet) -> String {
    let net = net.trunc();
    match net.addr().to_canonical() {
        IpAddr::V4(v4) if net.addr().is_ipv6() => format!("{v4}/{}", net.prefix_len() - 96),
        _ => net.to_string(),
    }
}
