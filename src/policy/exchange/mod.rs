//! Lists in the formats of others: what a line says exactly becomes a pattern, and what it says in any other way is
//! skipped with the reason. Nothing is guessed, widened or dropped in silence.
//!
//! | format | a line | the pattern |
//! |---|---|---|
//! | hosts | `0.0.0.0 a.example b.example` | `a.example`, `b.example` |
//! | domains | `a.example`, `.a.example`, `*.a.example` | the same |
//! | adblock | `\|\|a.example^` | `.a.example` |
//! | dnsmasq | `address=/a.example/#`, `server=/a.example/`, `local=/*.a.example/` | `.a.example`, `.a.example`, `*.a.example` |
//! | RPZ | `a.example CNAME .`, `*.a.example CNAME .` | `a.example`, `*.a.example` |

mod adblock;
mod comment;
mod distinct;
mod dnsmasq;
mod domains;
mod effective;
mod format;
mod hosts;
mod importer;
mod overlap;
mod reason;
mod rpz;
mod settle;
#[cfg(test)]
mod tests;
mod write;

pub use distinct::Distinct;
pub use effective::{Concern, Effective, Omissions, Omitted, effective};
pub use format::{Format, ImportOptions};
pub use importer::{Imported, Importer, Skipped};
pub use reason::{Omission, Reason};
pub use settle::{Settled, settle};
pub use write::Writer;
