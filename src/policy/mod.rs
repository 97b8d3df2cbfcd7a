//! Cases, lists and pages become one immutable ruleset: parse -> check -> compile.
//!
//! Everything here is pure: the files come in as bytes, the time as an argument.

mod case;
mod check;
mod files;
mod list;
mod parse;
mod pattern;

pub use case::{Action, Basis, Case, CaseId, Exemption, Legal, Mode};
pub use files::{Digest, PolicyFiles};
pub use parse::parse_cases;
pub use pattern::{Form, Pattern, PatternError};
