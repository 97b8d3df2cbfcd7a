//! Cases, lists and pages become one immutable [`Ruleset`]: parse -> check -> compile.
//!
//! Everything here is pure: the files come in as bytes, the time as an argument.

mod files;

pub mod guard;

mod case;
mod check;
mod draft;
mod here;
mod list;
mod parse;
mod pattern;

mod book;
mod compile;
mod compiled;
mod merged;
mod names;
mod page;
mod revision;
mod ruleset;

pub mod compare;
pub mod exchange;

#[cfg(test)]
pub(crate) mod sample;

pub use book::{Book, ParsedCase, ParsedSet};
pub use case::{Action, Basis, Case, CaseId, Exemption, Legal, Mode};
pub use compile::{CompileError, Compiling};
pub use compiled::CompiledCase;
pub use draft::{CaseDraft, LegalDraft};
pub use files::{Contents, Digest, PolicyFile, PolicyFiles};
pub use here::{EdgePattern, Here};
pub use list::{HostList, NamedList};
pub use merged::{MergedNames, Merging, NamesMark};
pub use names::{MemorySpool, ReadAt, Run, Spool, Spooled};
pub use page::{Body, Heads, Page, RenderedPages};
pub(crate) use parse::absolute_url;
pub use parse::{parse_cases, parse_set};
pub use pattern::{Form, Pattern, PatternError};
pub use revision::Revision;
pub use ruleset::{CompileOptions, Ruleset, Transition, TransitionKind};
