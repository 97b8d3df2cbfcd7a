//! Networks that are wider than one customer's: `/2` is soon written for `/24`.

use ipnet::IpNet;
use jiff::Timestamp;

use super::facts::{CaseFacts, SetFacts};
use super::{Finding, Rail, Settings};
use crate::limits;
use crate::network::canonical_network;

/// The wide networks that are new: `origins` that no case closed before, and exemptions that the case did not have.
pub(super) fn findings(
    before: &dyn SetFacts,
    after: &dyn SetFacts,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Finding> {
    let widest = [settings.widest_origins_v4, settings.widest_origins_v6];
    let mut origins = Wide::new(Rail::WideOrigins, "`origins`", widest);
    let mut exempt =
        Wide::new(Rail::WideExempt, "exemptions", [settings.widest_exempt_v4, settings.widest_exempt_v6]);
    let closed: Vec<IpNet> = before
        .cases()
        .iter()
        .filter(|case| case.counts(now))
        .flat_map(|case| origins.among(case.origins.iter().copied()))
        .collect();
    for case in after.cases().iter().filter(|case| case.counts(now)) {
        for network in origins.among(case.origins.iter().copied()) {
            if !closed.iter().any(|known| known.contains(&network)) {
                origins.note(case, network);
            }
        }
        let wide = exempt.among(case.exempts(now));
        if wide.is_empty() {
            continue;
        }
        let known = exempted(before, case, now);
        for network in wide {
            if !known.iter().any(|known| known.contains(&network)) {
                exempt.note(case, network);
            }
        }
    }
    origins.findings().chain(exempt.findings()).collect()
}

/// What the same case let through before: the one of this id, or one with just these names.
fn exempted(before: &dyn SetFacts, case: &CaseFacts, now: Timestamp) -> Vec<IpNet> {
    let same = |other: &&CaseFacts| other.id == case.id || other.names_digest == case.names_digest;
    let same = before.cases().iter().filter(same).filter(|other| other.counts(now));
    same.flat_map(|other| other.exempts(now)).map(canonical_network).collect()
}

/// The wide networks of one kind, IPv4 and IPv6 apart.
struct Wide {
    rail: Rail,
    what: &'static str,
    /// The shortest prefixes that may be.
    widest: [u64; 2],
    found: [Vec<(IpNet, String)>; 2],
}

impl Wide {
    fn new(rail: Rail, what: &'static str, widest: [u64; 2]) -> Self {
        Self { rail, what, widest, found: [Vec::new(), Vec::new()] }
    }

    /// Those that are too wide, in their shorter spelling: a v4-mapped network is one of IPv4.
    fn among(&self, networks: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
        let [v4, v6] = self.widest;
        let is_wide = |network: &IpNet| match network {
            IpNet::V4(network) => u64::from(network.prefix_len()) < v4,
            IpNet::V6(network) => u64::from(network.prefix_len()) < v6,
        };
        networks.map(canonical_network).filter(is_wide).collect()
    }

    fn note(&mut self, case: &CaseFacts, network: IpNet) {
        let [v4, v6] = &mut self.found;
        let found = if matches!(network, IpNet::V4(_)) { v4 } else { v6 };
        found.push((network, case.id.to_string()));
    }

    fn findings(self) -> impl Iterator<Item = Finding> {
        let Self { rail, what, widest, found } = self;
        let families = found.into_iter().zip(widest).filter(|(found, _)| !found.is_empty());
        families.map(move |(mut found, limit)| {
            found.sort_by_key(|(network, _)| network.prefix_len());
            let bits = found.first().map(|(network, _)| u64::from(network.prefix_len())).unwrap_or_default();
            let message = format!(
                "{} new networks in {what} are wider than /{limit}, the widest is /{bits}",
                found.len()
            );
            let told = found.iter().take(limits::GUARD_NAMES_TOLD);
            let first = told.map(|(network, _)| network.to_string()).collect();
            let mut cases: Vec<String> = found.into_iter().map(|(_, case)| case).collect();
            cases.dedup();
            cases.truncate(limits::GUARD_NAMES_TOLD);
            Finding { rail, message, found: bits, limit, first, cases }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::CaseSet;
    use super::*;
    use crate::policy::sample::{case, rules, second};
    use crate::policy::{Case, Exemption, Mode};

    /// The rails and widest networks that a change from one case to another runs into.
    fn found(before: Case, after: Case) -> Vec<(Rail, u64)> {
        let [before, after] = [before, after].map(|case| {
            let ruleset = rules(vec![case]);
            (CaseSet::new(&ruleset, &[]), ruleset)
        });
        let (before, after) = (before.0.with(&before.1), after.0.with(&after.1));
        let findings = findings(&before, &after, &Settings::default(), second(0));
        findings.into_iter().map(|finding| (finding.rail, finding.found)).collect()
    }

    fn closing(network: &str) -> Case {
        Case { origins: vec![network.parse().unwrap()], ..case("a", &["a.test"]) }
    }

    fn exempting(networks: &[&str], expires: Option<i64>) -> Case {
        let clients = networks.iter().map(|network| network.parse().unwrap()).collect();
        let exemption = Exemption { clients, reason: "evidence".to_owned(), expires: expires.map(second) };
        Case { exempt: vec![exemption], ..case("a", &["a.test"]) }
    }

    fn shadow(case: Case) -> Case {
        Case { mode: Mode::Shadow, ..case }
    }

    #[test]
    fn what_only_watches_or_has_ended_closes_nothing_and_lets_nobody_through() {
        let plain = case("a", &["a.test"]);
        for (wide, rail) in
            [(closing("64.0.0.0/2"), Rail::WideOrigins), (exempting(&["64.0.0.0/2"], None), Rail::WideExempt)]
        {
            let over = Case { expires: Some(second(0)), ..wide.clone() };
            for idle in [shadow(wide.clone()), over] {
                assert_eq!(found(plain.clone(), idle.clone()), [], "{rail}");
                assert_eq!(found(idle, wide.clone()), [(rail, 2)], "nothing of it is known yet");
            }
            assert_eq!(found(wide.clone(), wide.clone()), []);
        }
    }

    #[test]
    fn an_exemption_is_known_while_it_runs_by_what_covers_all_of_it() {
        let wide = exempting(&["64.0.0.0/2"], None);
        // A part of it was let through before: the rest is new.
        let part = exempting(&["64.0.0.0/16", "127.0.0.0/8"], None);
        assert_eq!(found(part, wide.clone()), [(Rail::WideExempt, 2)]);
        assert_eq!(found(wide.clone(), exempting(&["96.0.0.0/3"], None)), []);
        // One that is over has to be looked at again before it is renewed, one that runs may go on.
        assert_eq!(found(exempting(&["64.0.0.0/2"], Some(0)), wide.clone()), [(Rail::WideExempt, 2)]);
        assert_eq!(found(exempting(&["64.0.0.0/2"], Some(1)), wide.clone()), []);
        assert_eq!(found(case("a", &["a.test"]), exempting(&["64.0.0.0/2"], Some(0))), []);
        // Another spelling of the same clients.
        assert_eq!(found(wide.clone(), exempting(&["::ffff:64.0.0.0/98"], None)), []);
        assert_eq!(found(exempting(&["::ffff:64.0.0.0/98"], None), wide), []);
    }

    #[test]
    fn an_exemption_goes_along_with_the_names_of_its_case_and_to_no_other() {
        let named = |id: &str, host: &str| {
            let other = case(id, &[host]);
            Case { id: other.id, hosts: other.hosts, ..exempting(&["64.0.0.0/2"], None) }
        };
        assert_eq!(found(named("a", "a.test"), named("b", "a.test")), [], "another id");
        assert_eq!(found(named("a", "a.test"), named("a", "b.test")), [], "another name");
        assert_eq!(found(named("a", "a.test"), named("b", "b.test")), [(Rail::WideExempt, 2)]);
    }
}
