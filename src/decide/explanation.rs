//! A verdict in words, for `explain`.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::policy::{Action, Basis, Mode, Ruleset};

use super::{Subject, Verdict, Weighed, chain, decide};

/// A verdict as `explain` prints it: serialised for `--json`, displayed for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `block`, `shadow`, `exempt` or `allow`.
    pub verdict: &'static str,
    /// The id of the case that won.
    pub case: Option<String>,
    /// The pattern or network that matched.
    pub matched: Option<String>,
    /// `page` or `refuse`.
    pub action: Option<&'static str>,
    /// The HTTP status of the page; null for `refuse`, which has none.
    pub status: Option<u16>,
    /// The ids of the other cases, best first.
    pub also: Vec<String>,
    /// Every case that names the subject, whether it has a say or not, the strongest first.
    pub candidates: Vec<Weighed>,
    #[serde(skip)]
    basis: Option<Basis>,
    #[serde(skip)]
    mode: Option<Mode>,
}

impl Explanation {
    /// What the data plane does with a subject, and the whole chain that leads there.
    #[must_use]
    pub fn whole(rules: &Ruleset, subject: &Subject<'_>, now: Timestamp) -> Self {
        let verdict = decide(rules, subject, now);
        Self { candidates: chain(rules, subject, now, &verdict), ..Self::of(&verdict) }
    }

    /// Puts a verdict of [`decide`](super::decide()) or [`judge_origin`](super::judge_origin) into words.
    #[must_use]
    pub fn of(verdict: &Verdict<'_>) -> Self {
        let found = verdict.found();
        let case = found.map(|found| found.case);
        Self {
            verdict: verdict.as_str(),
            case: case.map(|case| case.id.to_string()),
            matched: found.map(|found| found.matched.to_string()),
            action: case.map(|case| case.action.as_str()),
            status: case.filter(|case| case.action == Action::Page).map(|case| case.status),
            also: found.iter().flat_map(|found| &found.also).map(|case| case.id.to_string()).collect(),
            candidates: Vec::new(),
            basis: case.map(|case| case.basis),
            mode: case.map(|case| case.mode),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(case), Some(matched)) = (&self.case, &self.matched) else {
            return write!(f, "{}: no case in force concerns this request", self.verdict);
        };
        write!(f, "{}: case {case}", self.verdict)?;
        if let (Some(basis), Some(mode)) = (self.basis, self.mode) {
            write!(f, " ({}, {})", basis.as_str(), mode.as_str())?;
        }
        write!(f, " matched `{matched}`; ")?;
        match self.verdict {
            "shadow" => f.write_str("recorded and let through; enforced it would be ")?,
            "exempt" => f.write_str("this client is exempt, recorded and let through; others are ")?,
            _ => {}
        }
        match self.status {
            Some(status) => write!(f, "answered with a page, status {status}")?,
            None => f.write_str("refused without an answer")?,
        }
        if !self.also.is_empty() {
            write!(f, "; also {}", self.also.join(", "))?;
        }
        Ok(())
    }
}
