//! Cases, lists and pages become one immutable [`Ruleset`]: parse -> check -> compile.
//!
//! Everything here is pure: the files come in as bytes, the time as an argument.

mod files;

mod case;
mod check;
mod list;
mod parse;
mod pattern;

mod compiled;
mod index;
mod page;
mod revision;
mod ruleset;

pub mod compare;
pub mod exchange;

#[cfg(test)]
pub(crate) mod sample;

pub use case::{Action, Basis, Case, CaseId, Exemption, Legal, Mode};
pub use compiled::CompiledCase;
pub use files::{Digest, PolicyFiles};
pub use page::{Body, Page, RenderedPages};
pub(crate) use parse::absolute_url;
pub use parse::parse_cases;
pub use pattern::{Form, Pattern, PatternError};
pub use revision::Revision;
pub use ruleset::{CompileOptions, Ruleset, Transition, TransitionKind};
