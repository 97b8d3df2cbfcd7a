//! What a case may stop, whoever asks: for what is done beside requests, such as keeping copies.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::hostname::Hostname;
use crate::policy::{CompiledCase, Mode, Ruleset};

/// Whether some client may have been blocked from `host` at some moment from `from` to `to`. Territories and
/// exemptions count for nothing here, nor does a shadow case that would win over the one that blocks: a copy that
/// is thrown away without need costs one request to the origin.
#[must_use]
pub fn may_block(rules: &Ruleset, host: &Hostname, from: Timestamp, to: Timestamp) -> bool {
    let mut found = false;
    rules.covering(host, |case, _| found |= enforced(case, from, to) && !case.excepts(host));
    found
}

/// Whether some client's request may have been kept from an origin at this address at some moment from `from` to
/// `to`; as [`may_block`].
#[must_use]
pub fn may_close(rules: &Ruleset, origin: IpAddr, from: Timestamp, to: Timestamp) -> bool {
    rules.closing(origin).any(|(_, case, _)| enforced(case, from, to))
}

fn enforced(case: &CompiledCase, from: Timestamp, to: Timestamp) -> bool {
    let begins = case.effective.is_none_or(|start| start <= to.max(from));
    let lasts = case.expires.is_none_or(|end| from.min(to) < end);
    case.mode == Mode::Enforce && begins && lasts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample::{case, patterns, rules, second};
    use crate::policy::{Case, Exemption};

    fn sample() -> Case {
        let origins = vec!["203.0.113.0/24".parse().unwrap()];
        Case { except: patterns(&["help.a.example"]), origins, ..case("one", &[".a.example"]) }
    }

    fn blocks(case: Case, host: &str, from: i64, to: i64) -> bool {
        may_block(&rules(vec![case]), &Hostname::parse(host).unwrap(), second(from), second(to))
    }

    #[test]
    fn a_host_is_reached_by_the_patterns_of_a_case_and_not_by_its_exceptions() {
        assert!(blocks(sample(), "a.example", 0, 0) && blocks(sample(), "x.a.example", 0, 0));
        assert!(!blocks(sample(), "help.a.example", 0, 0) && !blocks(sample(), "b.example", 0, 0));
        let rules = rules(vec![sample()]);
        let closes = |text: &str| may_close(&rules, text.parse().unwrap(), second(0), second(0));
        assert!(closes("203.0.113.7") && !closes("198.51.100.7"));
    }

    #[test]
    fn a_case_that_came_and_went_in_between_has_reached_its_hosts() {
        let brief = || Case { effective: Some(second(10)), expires: Some(second(20)), ..sample() };
        for (from, to, reached) in
            [(0, 9, false), (0, 10, true), (0, 30, true), (19, 30, true), (20, 30, false)]
        {
            assert_eq!(blocks(brief(), "a.example", from, to), reached, "{from} to {to}");
        }
    }

    #[test]
    fn clients_that_are_let_through_change_nothing_and_a_shadow_case_reaches_nothing() {
        let clients = vec!["0.0.0.0/0".parse().unwrap()];
        let exempt = vec![Exemption { clients, reason: "evidence".to_owned(), expires: None }];
        assert!(blocks(Case { exempt, ..sample() }, "a.example", 0, 0));
        assert!(!blocks(Case { mode: Mode::Shadow, ..sample() }, "a.example", 0, 0));
    }
}
