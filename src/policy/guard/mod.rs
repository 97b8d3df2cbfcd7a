//! Guard rails: what a careless change may not do by accident.
//!
//! Two kinds. A case that touches what is protected, or covers a suffix that many customers share, is an error of the
//! set like any other: see [`violations`]. A change that is larger than usual is *held back* until somebody has looked
//! at the numbers and approved of it: see [`changes_too_large`]. Everything here is pure; what is compared comes in as
//! [`SetFacts`], what is counted elsewhere as [`Reach`].

mod changes;
mod compared;
mod facts;
mod lists;
mod of_cases;
mod pattern;
mod protect;
mod reach;
mod settings;
mod spot;
mod suffix;
#[cfg(test)]
mod tests;
mod wide;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::changes::{Changes, Difference, changed_cases};
pub use self::facts::{CaseFacts, ListFacts, OwnNames, SetFacts};
pub use self::of_cases::{CaseSet, CaseSetView};
pub use self::reach::{Reach, Share};
pub use self::settings::{Protected, Settings};
pub use self::spot::violation_spot;
pub use self::suffix::Suffixes;
use super::CaseId;

/// What a change ran into. The words are stable: records, status and tools use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rail {
    /// A case touches a protected name or network.
    Protect,
    /// A pattern covers a public suffix or a whole shared platform.
    PublicSuffix,
    /// More names are added than one swap may.
    MaxAdded,
    /// More names are taken out than one swap may.
    MaxRemoved,
    /// A case closes a network that is wider than one customer's.
    WideOrigins,
    /// A case lets the clients of a wide network through.
    WideExempt,
    /// A list has lost a large part of its entries.
    ListShrunk,
    /// A list is several times as long as before.
    ListGrew,
    /// Most of a list is no host pattern.
    ListUnparsable,
    /// A list that had entries has none.
    ListEmptied,
    /// A large share of the last hour's requests would be blocked.
    BlastRadiusRequests,
    /// A large share of the hosts that routes name would be blocked.
    BlastRadiusRoutes,
}

impl Rail {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::PublicSuffix => "public-suffix",
            Self::MaxAdded => "max-added",
            Self::MaxRemoved => "max-removed",
            Self::WideOrigins => "wide-origins",
            Self::WideExempt => "wide-exempt",
            Self::ListShrunk => "list-shrunk",
            Self::ListGrew => "list-grew",
            Self::ListUnparsable => "list-unparsable",
            Self::ListEmptied => "list-emptied",
            Self::BlastRadiusRequests => "blast-radius-requests",
            Self::BlastRadiusRoutes => "blast-radius-routes",
        }
    }
}

impl fmt::Display for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit that a change is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which one.
    pub rail: Rail,
    /// What was found, in one line with its numbers.
    pub message: String,
    /// How much: names, entries, requests or hosts; of networks the shortest prefix, in bits.
    pub found: u64,
    /// How much there may be, in the same unit.
    pub limit: u64,
    /// The first names or files concerned.
    pub first: Vec<String>,
    /// The first cases concerned, where cases are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rail, self.message)?;
        for (words, items) in [("first", &self.first), ("in", &self.cases)] {
            if !items.is_empty() {
                write!(f, "; {words} {}", items.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A case that no set may hold, whoever approves of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// [`Rail::Protect`] or [`Rail::PublicSuffix`].
    pub rail: Rail,
    /// The case.
    pub case: CaseId,
    /// Its pattern or network, as it is written.
    pub written: String,
    /// What is wrong with it, in one line.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// The violations of a set: the first ones, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    /// The first [`crate::limits::REPORTED_DIAGNOSTICS`].
    pub first: Vec<Violation>,
    /// All of them.
    pub total: usize,
}

impl Violations {
    fn push(&mut self, violation: impl FnOnce() -> Violation) {
        self.total = self.total.saturating_add(1);
        if self.first.len() < crate::limits::REPORTED_DIAGNOSTICS {
            self.first.push(violation());
        }
    }
}

/// Every case of `set` that touches what is protected or covers what many customers share. A case that is in
/// `checked` with the same names, exceptions and networks was found good before and is not looked at again: that set
/// must have been held against the same settings.
#[must_use]
pub fn violations(
    set: &dyn SetFacts,
    checked: Option<&dyn SetFacts>,
    settings: &Settings,
    suffixes: &Suffixes,
) -> Violations {
    let mut found = Violations::default();
    let known = checked.map(|checked| checked.cases()).unwrap_or_default();
    let protected = protect::Index::new(&settings.protect);
    let is_new = |case: &CaseFacts| {
        // Sorted by id, as the cases of a ruleset are.
        let before = known.binary_search_by(|other| other.id.cmp(&case.id)).ok().and_then(|at| known.get(at));
        !before.is_some_and(|before| before.touches_the_same(case))
    };
    let new: Vec<bool> = set.cases().iter().map(is_new).collect();
    for (case, _) in set.cases().iter().zip(&new).filter(|(_, new)| **new) {
        protected.check_networks(case, &mut found);
    }
    set.each_name(&new, &mut |at, form, name| {
        let Some(case) = set.cases().get(at) else { return };
        protected.check(case, form, name, &mut found);
        suffixes.check(case, form, name, settings, &mut found);
    });
    found
}

/// Where the change from `before` to `after`, whose names are compared in `changes`, is over a limit: the names, networks
/// and lists first, then what it would block.
#[must_use]
pub fn changes_too_large(
    before: &dyn SetFacts,
    after: &dyn SetFacts,
    changes: &Changes,
    reach: &Reach,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Finding> {
    let mut found = changes.findings(settings);
    found.extend(wide::findings(before, after, settings, now));
    found.extend(lists::findings(before.lists(), after.lists(), settings));
    found.extend(reach.findings(settings));
    found
}

/// `part` of `whole` in percent, rounded down; nothing of nothing is nothing.
fn percent(part: u64, whole: u64) -> u64 {
    let share = u128::from(part).saturating_mul(100).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}
