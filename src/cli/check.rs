//! `check`: what the edge would say of a policy directory, before it is asked to take it.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::plural::some;
use super::{Exit, complain};
use crate::config::Config;
use crate::diagnostic::{Diagnostics, Severity};
use crate::policy::guard::{self, CaseSet, Suffixes, violation_spot};
use crate::policy::{self, CompileOptions, Here, PolicyFiles, Revision, Ruleset};
use crate::reload::{self, Snapshot, SourceError};
use crate::server;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: PolicySource,
    /// Tell what the set would do to the requests of a log: an audit directory, or a file with one request a line, a
    /// JSON object with `host` and `client`, or the host and the client.
    #[arg(long, value_name = "LOG")]
    against: Option<PathBuf>,
}

/// Where the policies are: given, or named in a configuration file.
#[derive(Debug, Args)]
pub(super) struct PolicySource {
    /// The policy directory [default: the one in --config, or `policies`]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// A configuration file that names the policy directory.
    #[arg(long, value_name = "FILE", conflicts_with = "policies")]
    config: Option<PathBuf>,
}

impl PolicySource {
    /// The directory, and what the edge of the configuration would make of it; without one, of every edge's cases.
    pub(super) fn locate(&self) -> Result<(PathBuf, CompileOptions), Exit> {
        match (&self.policies, &self.config) {
            (Some(directory), _) => Ok((directory.clone(), CompileOptions::default())),
            (None, Some(file)) => match Config::load(file) {
                Ok(config) => Ok((config.policy.directory.clone(), options(&config))),
                Err(error) => Err(complain(Exit::Usage, &error)),
            },
            (None, None) => Ok((PathBuf::from("policies"), CompileOptions::default())),
        }
    }

    /// Reads and compiles the policies with the edge's own code; what is wrong goes to standard error.
    pub(super) fn load(&self) -> Result<(Ruleset, Diagnostics), Exit> {
        let (directory, options) = self.locate()?;
        compile(&directory, &options).map_err(|diagnostics| {
            tell(&diagnostics);
            Exit::No
        })
    }
}

fn compile(directory: &Path, options: &CompileOptions) -> Result<(Ruleset, Diagnostics), Diagnostics> {
    compile_files(&read_whole(directory)?.files, options)
}

/// The files of a policy directory that nobody is changing.
fn read_whole(directory: &Path) -> Result<Snapshot, Diagnostics> {
    match reload::cut_off(directory) {
        Some(errors) => Err(errors),
        None => snapshot(directory),
    }
}

/// Findings on standard error, each on lines of its own.
fn tell(found: &Diagnostics) {
    if !found.is_empty() {
        note_text!("{found}\n");
    }
}

/// The files of a policy directory as they are now.
pub(super) fn read(directory: &Path) -> Result<PolicyFiles, Diagnostics> {
    snapshot(directory).map(|snapshot| snapshot.files)
}

/// The same, with what tells whether it has changed since.
pub(super) fn snapshot(directory: &Path) -> Result<Snapshot, Diagnostics> {
    reload::read(directory).map_err(|error| match error {
        SourceError::Unreadable(diagnostics, _) => diagnostics,
        SourceError::Unsettled => {
            let file = directory.display().to_string();
            crate::diagnostic::Diagnostic::error(file, SourceError::Unsettled.to_string()).into()
        }
    })
}

/// Compiles files with the edge's own code.
pub(super) fn compile_files(
    files: &PolicyFiles,
    options: &CompileOptions,
) -> Result<(Ruleset, Diagnostics), Diagnostics> {
    let (cases, diagnostics) = policy::parse_cases(files);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let digest = files.digest();
    let ruleset = Ruleset::compile_with(cases, files, options)?;
    Ok((ruleset.with_identity(Revision::default(), digest), diagnostics))
}

pub(super) fn run(args: &CheckArgs) -> Exit {
    if let Some(file) = &args.source.config {
        return match Config::load(file) {
            Ok(config) => check_for(&config, args.against.as_deref()),
            Err(error) => complain(Exit::Usage, &error),
        };
    }
    check_alone(args).unwrap_or_else(|exit| exit)
}

/// What every edge would say, whatever its configuration, and what one with the default guard would say beside that.
fn check_alone(args: &CheckArgs) -> Result<Exit, Exit> {
    let (directory, options) = args.source.locate()?;
    let refuse = |errors: Diagnostics| {
        tell(&errors);
        Exit::No
    };
    let Snapshot { files, warnings, .. } = read_whole(&directory).map_err(refuse)?;
    let (ruleset, mut found) = compile_files(&files, &options).map_err(refuse)?;
    found.extend(warnings);
    found.extend(unguarded(&ruleset, &files));
    tell(&found);
    say!("{}", summary(&ruleset));
    Ok(try_out(&ruleset, args.against.as_deref()))
}

/// What the default guard refuses. Another one may allow it, so that it is no error here.
fn unguarded(ruleset: &Ruleset, files: &PolicyFiles) -> Diagnostics {
    let facts = CaseSet::new(ruleset, &[]);
    let settings = guard::Settings::default();
    let violations = guard::violations(&facts.with(ruleset), None, &settings, &Suffixes::default());
    let mut found = Diagnostics::new();
    for violation in &violations.first {
        let mut one = violation_spot(violation, files, files);
        one.severity = Severity::Warning;
        one.message.push_str("; an edge with the default `[guard]` refuses the set");
        found.push(one);
    }
    found.count(Severity::Warning, violations.total.saturating_sub(violations.first.len()));
    found
}

fn summary(ruleset: &Ruleset) -> String {
    let (cases, hosts) = (some(ruleset.cases().len(), "case"), some(ruleset.host_count(), "host pattern"));
    format!("{cases} with {hosts} can be taken; digest {}", ruleset.digest())
}

/// What an edge with this configuration would say, its guard included.
fn check_for(config: &Config, against: Option<&Path>) -> Exit {
    let options = options(config);
    let (directory, state) = (&config.policy.directory, &config.policy.state);
    let preview = reload::preview(directory, state, &options, &server::rules(config), Timestamp::now());
    let preview = match preview {
        Ok(preview) => preview,
        Err(diagnostics) => {
            tell(&diagnostics);
            return Exit::No;
        }
    };
    tell(&preview.warnings);
    if preview.refusal.has_errors() {
        note!("{}", preview.refusal);
        return Exit::No;
    }
    say!("{}", summary(&preview.ruleset));
    match preview.against {
        Some(revision) if !preview.findings.is_empty() => {
            say!("it would be held back until it is approved, beside revision {revision}:");
            preview.findings.iter().for_each(|finding| say!("  {finding}"));
        }
        _ => {}
    }
    try_out(&preview.ruleset, against)
}

fn try_out(ruleset: &Ruleset, against: Option<&Path>) -> Exit {
    against.map_or(Exit::Fine, |log| super::against::run(ruleset, log, Timestamp::now()))
}

fn options(config: &Config) -> CompileOptions {
    let here = Here { edge: Some(config.edge.to_string()), shadow: config.policy.shadow };
    CompileOptions { blocked_by: config.policy.blocked_by.clone(), here, ..CompileOptions::default() }
}
