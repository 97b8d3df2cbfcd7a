//! Cases for the unit tests of this crate.

use jiff::Timestamp;

use super::{Action, Basis, Case, CaseId, CompileOptions, Legal, Mode, Pattern, PolicyFiles, Ruleset};

/// A case without a legal basis: an enforced page with status 403.
pub(crate) fn case(id: &str, hosts: &[&str]) -> Case {
    Case {
        id: CaseId::parse(id).unwrap(),
        customer: "cust-20931".to_owned(),
        basis: Basis::TermsOfService,
        decided: second(0),
        decided_by: vec!["j.doe".to_owned()],
        summary: "an internal matter".to_owned(),
        statement: "The service for this site was ended.".to_owned(),
        action: Action::Page,
        status: 403,
        mode: Mode::Enforce,
        effective: None,
        expires: None,
        review: None,
        hosts: patterns(hosts),
        lists: Vec::new(),
        except: Vec::new(),
        origins: Vec::new(),
        page: "default".to_owned(),
        legal: None,
        exempt: Vec::new(),
        edges: Vec::new(),
    }
}

/// A case on a court order: status 451.
pub(crate) fn legal_case(id: &str, hosts: &[&str]) -> Case {
    let legal = Legal {
        authority: "Regional Court of Example".to_owned(),
        reference: "12 O 345/26".to_owned(),
        url: Some("https://example.org/orders/345".to_owned()),
        territory: Vec::new(),
    };
    Case { basis: Basis::CourtOrder, status: 451, legal: Some(legal), ..case(id, hosts) }
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

/// Seconds after the morning of 2026-11-20, UTC.
pub(crate) fn second(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_161_600 + seconds).unwrap()
}

pub(crate) fn rules(cases: Vec<Case>) -> Ruleset {
    Ruleset::compile_with(cases, &PolicyFiles::default(), &CompileOptions::default()).unwrap()
}
