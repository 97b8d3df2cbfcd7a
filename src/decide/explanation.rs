//! A verdict in words, for `explain`.

use std::fmt;

use serde::Serialize;

use crate::policy::{Action, Basis, Mode};

use super::Verdict;

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
    #[serde(skip)]
    basis: Option<Basis>,
    #[serde(skip)]
    mode: Option<Mode>,
}

impl Explanation {
    /// Puts a verdict of [`decide`](super::decide()) or [`judge_origin`](super::judge_origin) into words.
    #[must_use]
    pub fn of(verdict: &Verdict<'_>) -> Self {
        let found = verdict.found();
        let case = found.map(|found| found.case);
        Self {
            verdict: verdict.as_str(),
            case: case.map(|case| case.id.to_string()),
            matched: found.map(|found| found.matched.clone()),
            action: case.map(|case| case.action.as_str()),
            status: case.filter(|case| case.action == Action::Page).map(|case| case.status),
            also: found.iter().flat_map(|found| &found.also).map(|case| case.id.to_string()).collect(),
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
