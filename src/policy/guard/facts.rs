//! What the guard must know of a policy set.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::network::Networks;
use crate::policy::{CaseId, Form, Pattern};

/// A policy set as the guard sees it. Names are walked through case by case and never held all at once.
pub trait SetFacts: Sync {
    /// The cases, sorted by id.
    fn cases(&self) -> &[CaseFacts];

    /// Hands every pattern of the cases that are `wanted`, by their position in [`SetFacts::cases`], to `each`, with
    /// that position. The names of all of them are walked through once, in no order.
    fn each_name(&self, wanted: &[bool], each: &mut dyn FnMut(usize, Form, &str));

    /// Hands every case that has this pattern, or one that covers all of it, to `each`, by its position in
    /// [`SetFacts::cases`]; some may come more than once.
    fn each_covering(&self, form: Form, name: &str, each: &mut dyn FnMut(usize));

    /// Looks names up that come in the order of [`SetFacts::each_name`] of a similar set.
    fn own_names(&self) -> Box<dyn OwnNames + '_>;

    /// The lists by their path in the policy directory.
    fn lists(&self) -> &BTreeMap<String, ListFacts>;
}

/// The names of a set, for names that come in order: a fraction of the cost of a look-up that knows nothing of the last.
pub trait OwnNames {
    /// Hands every case that has this pattern, or a wider one of the very name, to `each`, by its position.
    fn each_covering(&mut self, form: Form, name: &str, each: &mut dyn FnMut(usize));
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFacts {
    /// Its id.
    pub id: CaseId,
    /// Tells the names of one case from those of another: a digest over all patterns in their order.
    pub names_digest: [u8; 32],
    /// How many patterns it has.
    pub names: u64,
    /// Whether it is carried out, and not only watched.
    pub enforced: bool,
    /// When it begins by itself.
    pub effective: Option<Timestamp>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Names it never touches.
    pub except: Vec<Pattern>,
    /// Networks it closes.
    pub origins: Vec<IpNet>,
    /// The clients it concerns; none when it concerns everyone.
    pub territory: Option<Networks>,
    /// The networks whose clients it lets through, and until when.
    pub exempt: Vec<(IpNet, Option<Timestamp>)>,
}

impl CaseFacts {
    /// Whether its names are counted as blocked: it is carried out, now or later. One that has ended by itself is not
    /// taken out by a swap, and one in shadow mode blocks nothing.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        self.enforced && self.expires.is_none_or(|end| now < end)
    }

    /// Whether it has begun.
    pub(super) fn has_begun(&self, now: Timestamp) -> bool {
        self.effective.is_none_or(|start| start <= now)
    }

    /// Whether it concerns every client that `other` does.
    pub(super) fn concerns_all_of(&self, other: &Self) -> bool {
        match (&self.territory, &other.territory) {
            (None, _) => true,
            (Some(ours), Some(theirs)) => ours.holds_all(theirs),
            (Some(_), None) => false,
        }
    }

    /// The networks whose clients it lets through now.
    pub(super) fn exempts(&self, now: Timestamp) -> impl Iterator<Item = IpNet> {
        let running = move |until: &Option<Timestamp>| until.is_none_or(|end| now < end);
        self.exempt.iter().filter(move |(_, until)| running(until)).map(|(network, _)| *network)
    }

    /// Whether both concern the same names and networks.
    pub(super) fn touches_the_same(&self, other: &Self) -> bool {
        self.names_digest == other.names_digest
            && self.names == other.names
            && self.except == other.except
            && self.origins == other.origins
    }
}

/// One list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListFacts {
    /// The SHA-256 of its content.
    pub digest: [u8; 32],
    /// Entries that are host patterns.
    pub entries: u64,
    /// Entries that are none.
    pub bad: u64,
}

#[cfg(test)]
mod tests {
    use super::super::CaseSet;
    use super::*;
    use crate::policy::Case;
    use crate::policy::sample::{case, patterns, rules};

    fn facts(case: Case) -> CaseFacts {
        let ruleset = rules(vec![case]);
        CaseSet::new(&ruleset, &[]).with(&ruleset).cases().first().unwrap().clone()
    }

    #[test]
    fn a_case_touches_something_else_when_its_names_exceptions_or_networks_change() {
        let plain = || Case {
            except: patterns(&["b.a.test"]),
            origins: vec!["192.0.2.0/24".parse().unwrap()],
            ..case("a", &[".a.test"])
        };
        let before = facts(plain());
        let again = Case { summary: "other words".to_owned(), ..plain() };
        assert!(facts(again).touches_the_same(&before));
        for changed in [
            Case { hosts: patterns(&[".a.test", "c.test"]), ..plain() },
            Case { hosts: patterns(&["*.a.test"]), ..plain() },
            Case { except: Vec::new(), ..plain() },
            Case { except: patterns(&["*.b.a.test"]), ..plain() },
            Case { origins: Vec::new(), ..plain() },
            Case { origins: vec!["192.0.2.0/23".parse().unwrap()], ..plain() },
        ] {
            assert!(!facts(changed.clone()).touches_the_same(&before), "{changed:?}");
        }
    }
}
