//! The audit log: no client sees the effect of an enforcement action before its record is in the journal.
//!
//! ```text
//! record:   event -> line (outside the lock) -> id, seq, time -> one write -> receipt
//! trouble:  failed write -> cut back -> counted gap -> retry -> gap record -> next record
//! restart:  lock -> read the last segment -> set a torn tail aside -> go on after the last record
//! ```
//!
//! A directory holds `lock`, `segments/<first seq>.jsonl` and `torn/`. [`Audit::record`] never fails and never
//! waits for the disk's platter: what cannot be written is counted exactly, and the counts are written down as
//! an `audit.gap` record before anything else once writing works again, so that
//! `decided = durable + gap` holds at every moment.

mod acknowledge;
mod announce;
mod archives;
mod batch;
mod beside;
mod bundle;
mod check;
mod event;
mod export;
mod facts;
mod files;
mod gap;
mod handover;
mod hosts;
mod id;
mod journal;
mod line;
mod lock;
mod log;
mod mapping;
pub mod merkle;
mod options;
mod pending;
mod privacy;
mod problem;
mod prove;
mod read;
mod record;
mod recovery;
mod repeated;
mod retention;
mod rewriting;
mod sealed;
mod sealer;
mod sealing;
mod search;
mod spent;
mod state;
mod tail;
mod text;
mod unsealed;
mod verify;
mod worker;

#[cfg(test)]
mod counting;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod meanwhile_tests;
#[cfg(test)]
mod meddling_tests;
#[cfg(test)]
mod platter;
#[cfg(test)]
mod rewriting_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod sealer_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use acknowledge::{Acknowledge, COMMIT_INTERVAL, COMMIT_INTERVALS};
pub use bundle::{About, BundleError, BundleFinding, BundleReport, PackError, Packer, bundle, verify_bundle};
pub use check::{CheckError, Checked, check};
pub use event::{Enforcement, Event, Kind, Receipt, RequestFacts, UnknownKind};
pub use export::{ExportError, ExportOptions, Exporter, Format};
pub use id::{EventId, EventIdError, Nonce};
pub use lock::LockError;
pub use log::{Audit, drafted};
pub use options::{Counters, MIN_SEGMENT_BYTES, OpenError, Options, SEGMENT_BYTES};
pub use pending::Pending;
pub use privacy::{
    ClientPrivacy, ClientText, ClientTextError, KeyError, Period, Pseudonyms, RevealError, Revealed,
    Revealer, UnknownPeriod,
};
pub use problem::Problem;
pub use prove::{
    ExportedTiles, Proof, ProofFileError, ProveError, Proven, Prover, export_tiles, prove, verify_proof,
};
pub use read::{ReadError, Record, Records, export, records};
pub use record::{line_of, line_of_journaled};
pub use recovery::Recovery;
pub use retention::{
    Hold, HoldError, HoldRequest, PruneOptions, Pruned, PrunedRun, Recorder, Release, Retention,
    RetentionError,
};
pub use sealed::{
    Filter, IndexBuilder, IndexError, Missing, SegmentError, SegmentFile, SegmentIndex, SegmentLine,
    SegmentLines, Term, missing, segments,
};
pub use search::{FindError, Query, SearchError, SearchProblem, Searched, find, search};
pub use tail::Tail;
pub use verify::{EpochReport, Finding, Report, VerifyError, VerifyOptions, verify};
