//! `audit bundle`: records with their proofs and policies in one file, and the check of such a file.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;

use super::filters::Filters;
use super::{Exit, LogSource, complain};
use crate::audit::merkle::Verifier;
use crate::audit::{self, About, BundleError, BundleReport, PackError, ProveError};
use crate::cli::plural::some;
use crate::config::Config;
use crate::policy::PolicyFiles;
use crate::reload;

#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    #[command(flatten)]
    source: LogSource,
    #[command(flatten)]
    filters: Filters,
    /// The file to make; it ends in .tar.zst by custom.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// With a configuration the policy sets are taken from its state directory; a log alone has none.
pub(super) fn run(args: &BundleArgs) -> Exit {
    let (directory, state) = match &args.source.directory {
        Some(directory) => (directory.clone(), None),
        None => match Config::load(&args.source.config) {
            Ok(config) => (config.audit.directory, Some(config.policy.state)),
            Err(error) => return complain(Exit::Usage, &error),
        },
    };
    let mut policies = |revision| state.as_deref().and_then(|state| kept(state, revision));
    match audit::bundle(&directory, &args.filters.query(), &args.out, &mut policies) {
        Ok(about) => {
            print(&about);
            Exit::Fine
        }
        Err(error) => complain(exit_of(&error), &error),
    }
}

/// A set that is damaged is as good as gone, but that is worth a word.
fn kept(state: &Path, revision: u64) -> Option<PolicyFiles> {
    match reload::kept(state, revision) {
        Ok(kept) => kept.map(|kept| kept.files),
        Err(error) => {
            note!("interdict: {error}");
            None
        }
    }
}

fn exit_of(error: &BundleError) -> Exit {
    match error {
        BundleError::Nothing => Exit::No,
        BundleError::Pack(PackError::Io { .. }) | BundleError::Search(_) | BundleError::Incomplete(_) => {
            Exit::Io
        }
        BundleError::Prove(
            ProveError::Io { .. } | ProveError::Segment(_) | ProveError::Gone(_) | ProveError::Missing(_),
        ) => Exit::Io,
        BundleError::Prove(_) | BundleError::NotARecord(_) => Exit::No,
    }
}

fn print(about: &About) {
    let (records, revisions) = (some(about.records, "record"), some(about.revisions.len(), "revision"));
    say!("{records}, policy sets of {revisions}");
    if !about.missing_revisions.is_empty() {
        let missing: Vec<String> = about.missing_revisions.iter().map(u64::to_string).collect();
        say!("note: the policy sets of these revisions are not kept any more: {}", missing.join(", "));
    }
    if about.unsealed > 0 {
        say!("note: not sealed yet and left out: {}", some(about.unsealed, "record"));
    }
}

/// `audit verify --bundle`.
pub(super) fn verify(bundle: &Path, trusted: Option<&Verifier>) -> Exit {
    let file = match File::open(bundle) {
        Ok(file) => BufReader::new(file),
        Err(error) => return complain(Exit::Io, &format_args!("`{}`: {error}", bundle.display())),
    };
    let report = audit::verify_bundle(file, trusted);
    report.findings.iter().for_each(|finding| say!("{finding}"));
    tell(&report);
    let records = some(report.records, "record");
    match report.findings.len() {
        0 => say!("{records}: all is as it was signed"),
        count => say!("{records}: {}", some(count, "finding")),
    }
    if report.findings.is_empty() { Exit::Fine } else { Exit::No }
}

fn tell(report: &BundleReport) {
    for (origin, size) in &report.checkpoints {
        say!("checkpoint: log `{origin}` of {}", some(*size, "record"));
    }
    for revision in &report.bound_revisions {
        say!("revision {revision}: the policies are those that came into force");
    }
    for revision in &report.unbound_revisions {
        say!("note: no record in the bundle says what the policies of revision {revision} are");
    }
    if !report.key_trusted {
        say!("note: the key is the bundle's own; give the log's with --key to know whose log it is");
    }
}
