//! One archive that an investigator can check alone: records, their proofs, and the policies they were made under.
//!
//! ```text
//! SHA256SUMS                     the manifest: the SHA-256 of every other file, as `sha256sum -c` reads it
//! README.md                      what this is, and how to check it with this tool and with others
//! bundle.json                    what was asked for, how much was found, what could not be had
//! log.pub                        the log's verifier key (C2SP signed-note)
//! checkpoint, checkpoint-2, …    every checkpoint that a proof leads to (C2SP tlog-checkpoint)
//! records.jsonl                  the records, as they stand in the log
//! applied.jsonl                  the `policy.applied` records of the revisions these name
//! proofs/<id>.json               an inclusion proof for each record; `proofs.jsonl` when there are many
//! policies/<revision>/<path>     the policy sets, as far as the edge still kept them
//! ```
//!
//! The archive is a tar (POSIX) in one zstd stream. The same content gives the same bytes: no time of packing, no
//! owner, one order. What ties it together: a proof leads from a record to a signed checkpoint, a record names its
//! revision, and the `policy.applied` record of that revision has the digest of its policy set.

mod check;
mod collect;
mod names;
mod pack;
mod spool;
mod sums;

#[cfg(test)]
mod tests;

pub use check::{BundleReport, Finding as BundleFinding, verify_bundle};
pub use collect::{BundleError, bundle};
pub use pack::{About, PackError, Packer};
