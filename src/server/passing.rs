//! Which names of a new case are let through all the same: another entry goes before it, or it excepts them itself.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::decide::{Explanation, Subject};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{CompiledCase, Form, Mode, Pattern, Ruleset};

/// Those of the patterns of an enforced case whose names pass, and why it does not stop them: a name of each is judged, for
/// a client that the case concerns, at the moment from which on it is in force.
pub(super) fn passing(
    ruleset: &Ruleset,
    case: &CompiledCase,
    hosts: &[String],
    now: Timestamp,
) -> Vec<Value> {
    if case.mode == Mode::Shadow {
        return Vec::new();
    }
    let territory = case.legal.as_ref().and_then(|legal| legal.territory.first());
    let client = territory.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpNet::addr);
    let at = case.effective.map_or(now, |start| start.max(now));
    let judge = |pattern: Pattern| {
        let names = [name_under(&pattern, case)?];
        let told = Explanation::whole(ruleset, &Subject { names: &names, client }, at);
        if told.verdict == "block" {
            return None;
        }
        let own = told.candidates.iter().find(|one| one.case == case.id.as_str());
        let [name] = &names;
        Some(json!({
            "host": name.as_str(),
            "pattern": pattern.to_string(),
            "verdict": told.verdict,
            "case": told.case,
            "why": own.map(|own| own.why.as_str()),
        }))
    };
    let patterns = hosts.iter().take(limits::CHANGE_HOSTS).filter_map(|host| Pattern::parse(host).ok());
    patterns.filter_map(judge).collect()
}

/// A name that a pattern covers; of those below another, one that the case does not except.
fn name_under(pattern: &Pattern, case: &CompiledCase) -> Option<Hostname> {
    if pattern.form != Form::Below {
        return Some(pattern.name.clone());
    }
    let mut below = ["www", "any"]
        .into_iter()
        .filter_map(|label| Hostname::parse(&format!("{label}.{}", pattern.name)).ok());
    below.find(|name| !case.excepts(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::sample::{case, legal_case, patterns, rules, second};
    use crate::policy::{Case, CaseId};

    fn told(new: Case, others: Vec<Case>) -> Vec<String> {
        let id: CaseId = new.id.clone();
        let hosts: Vec<String> = new.hosts.iter().map(ToString::to_string).collect();
        let rules = rules(std::iter::once(new).chain(others).collect());
        let found = passing(&rules, rules.case(&id).unwrap(), &hosts, second(0));
        found.iter().map(|one| format!("{} {}", one["host"], one["why"]).replace('"', "")).collect()
    }

    #[test]
    fn a_name_that_another_entry_watches_or_the_case_excepts_is_told_with_the_reason() {
        let watched = |hosts: &[&str]| Case { mode: Mode::Shadow, ..case("watch", hosts) };
        assert_eq!(
            told(case("new", &[".a.example", "b.example"]), vec![watched(&["a.example"])]),
            ["a.example less specific than `a.example` of watch"]
        );
        let excepting = Case { except: patterns(&["a.example"]), ..case("new", &["a.example"]) };
        assert_eq!(told(excepting, vec![]), ["a.example an `except` of this case covers the name"]);
        // Blocked is blocked, by whichever case.
        assert!(told(case("new", &[".a.example"]), vec![case("other", &["a.example"])]).is_empty());
        assert!(told(watched(&["a.example"]), vec![]).is_empty());
    }

    #[test]
    fn a_territory_a_later_start_and_an_exception_below_are_no_reason_to_say_that_names_pass() {
        let territory = vec!["198.51.100.0/24".parse().unwrap()];
        let ordered = legal_case("new", &["a.example"]);
        let legal = ordered.legal.clone().map(|legal| crate::policy::Legal { territory, ..legal });
        assert!(told(Case { legal, effective: Some(second(9)), ..ordered }, vec![]).is_empty());
        let below = Case { except: patterns(&["www.a.example"]), ..case("new", &["*.a.example"]) };
        assert!(told(below, vec![]).is_empty());
    }
}
