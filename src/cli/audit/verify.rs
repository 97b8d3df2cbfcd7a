//! `audit verify`: is the log, or a proof of one of its records, what was signed?

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, LogSource, complain};
use crate::audit::merkle::Verifier;
use crate::audit::{self, Report, VerifyOptions};
use crate::cli::plural::some;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    source: LogSource,
    /// The log's public key, kept outside the log; without it that of the directory is taken.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// An older checkpoint, kept outside the log: the log must begin with what it signs.
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    since: Option<PathBuf>,
    /// Verify this proof, made by `audit prove`, instead of a log.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Verify this bundle, made by `audit bundle`, instead of a log.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proof", "since", "directory"])]
    bundle: Option<PathBuf>,
}

pub(super) fn run(args: &VerifyArgs) -> Exit {
    let verified = match (&args.proof, &args.bundle) {
        (Some(proof), _) => verify_proof(args, proof),
        (None, Some(bundle)) => verify_bundle(args, bundle),
        (None, None) => verify_log(args),
    };
    verified.unwrap_or_else(|exit| exit)
}

/// A key that was given must be one.
fn read_key(path: &Path) -> Result<Verifier, Exit> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| complain(Exit::Io, &format_args!("`{name}`: {error}")))?;
    Verifier::parse(&text).map_err(|error| complain(Exit::Usage, &format_args!("`{name}`: {error}")))
}

fn verify_bundle(args: &VerifyArgs, bundle: &Path) -> Result<Exit, Exit> {
    let trusted = args.key.as_deref().map(read_key).transpose()?;
    Ok(super::bundle::verify(bundle, trusted.as_ref()))
}

fn verify_log(args: &VerifyArgs) -> Result<Exit, Exit> {
    let directory = args.source.locate()?;
    let key = args.key.as_deref().map(read_key).transpose()?;
    let options = VerifyOptions { key, since: args.since.clone() };
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = "{bar:40} {percent:>3} %  {binary_bytes_per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let verified = audit::verify(&directory, &options, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    match verified {
        Ok(report) => {
            print(&report);
            Ok(if report.is_sound() { Exit::Fine } else { Exit::No })
        }
        Err(error @ (audit::VerifyError::Io { .. } | audit::VerifyError::Moved { .. })) => {
            Err(complain(Exit::Io, &error))
        }
        Err(error @ audit::VerifyError::Since(_)) => Err(complain(Exit::Usage, &error)),
    }
}

fn print(report: &Report) {
    for finding in &report.findings {
        say!("{finding}");
    }
    if report.left_out > 0 {
        say!("and {} more", report.left_out);
    }
    for epoch in &report.epochs {
        say!(
            "epoch {}: {} from record {} on ({})",
            epoch.epoch,
            some(epoch.size, "record"),
            epoch.first_seq,
            epoch.reason
        );
    }
    for note in &report.notes {
        say!("note: {note}");
    }
    if report.unsealed > 0 {
        say!("note: not sealed yet: {}", some(report.unsealed, "record"));
    }
    let read = format!("{} in {} read", some(report.records, "record"), some(report.segments, "segment"));
    let pruned = match report.pruned_segments {
        0 => String::new(),
        count => format!(", {} by their hashes", some(count, "pruned segment")),
    };
    let verdict = match report.findings.len() as u64 + report.left_out {
        0 => "all is as it was signed".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    say!("{read}{pruned}: {verdict}");
}

/// The key is the given one, or that of the directory if one was given; the proof's own shows only who signed.
fn verify_proof(args: &VerifyArgs, proof: &Path) -> Result<Exit, Exit> {
    let bytes = std::fs::read(proof)
        .map_err(|error| complain(Exit::Io, &format_args!("`{}`: {error}", proof.display())))?;
    let public = args.source.directory.as_ref().map(|directory| directory.join("log.pub"));
    let trusted = args.key.clone().or(public).as_deref().map(read_key).transpose()?;
    match audit::verify_proof(&bytes, trusted.as_ref()) {
        Ok(proven) => {
            say!("{}", proven.record);
            note!(
                "record {} ({}) is in the log `{}` of {}",
                proven.seq,
                proven.id,
                proven.checkpoint.origin,
                some(proven.checkpoint.size, "record")
            );
            if trusted.is_none() {
                note!("signed by the proof's own key; compare it: {}", proven.key.to_text());
            }
            Ok(Exit::Fine)
        }
        Err(error) => Ok(complain(Exit::No, &error)),
    }
}
