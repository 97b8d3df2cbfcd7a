//! Cases, lists and pages become one immutable [`Ruleset`]: parse -> check -> compile.
//!
//! Everything here is pure: the files come in as bytes, the time as an argument.

mod case;
mod pattern;

pub use case::{Action, Basis, Case, CaseId, Exemption, Legal, Mode};
pub use pattern::{Form, Pattern, PatternError};
