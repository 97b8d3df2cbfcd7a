//! The number of a policy set.

use std::fmt;

use serde::Serialize;

/// The number of a policy set on this edge: 1, 2, 3 …, never reused. 0 is a ruleset not yet in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
