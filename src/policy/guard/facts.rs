//! What the guard must know of a policy set.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::policy::{CaseId, Form, Pattern};

/// A policy set as the guard sees it. Names are walked through case by case and never held all at once.
pub trait SetFacts {
    /// The cases, sorted by id.
    fn cases(&self) -> &[CaseFacts];

    /// Hands every pattern of the cases that are `wanted`, by their position in [`SetFacts::cases`], to `each`, with
    /// that position. The names of all of them are walked through once, in no order.
    fn each_name(&self, wanted: &[bool], each: &mut dyn FnMut(usize, Form, &str));

    /// Whether a case that [counts](CaseFacts::counts) at `now` has this pattern, or one that covers all of it.
    fn holds(&self, form: Form, name: &str, now: Timestamp) -> bool;

    /// The lists by their path in the policy directory.
    fn lists(&self) -> &BTreeMap<String, ListFacts>;
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
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Names it never touches.
    pub except: Vec<Pattern>,
    /// Networks it closes.
    pub origins: Vec<IpNet>,
}

impl CaseFacts {
    /// Whether its names are counted as blocked: it is carried out, now or later. One that has ended by itself is not
    /// taken out by a swap, and one in shadow mode blocks nothing.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        self.enforced && self.expires.is_none_or(|end| now < end)
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
