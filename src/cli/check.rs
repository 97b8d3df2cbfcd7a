//! `check`: what the edge would say of a policy directory, before it is asked to take it.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::{Exit, complain};
use crate::config::Config;
use crate::diagnostic::Diagnostics;
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
            note_text!("{diagnostics}");
            Exit::No
        })
    }
}

fn compile(directory: &Path, options: &CompileOptions) -> Result<(Ruleset, Diagnostics), Diagnostics> {
    if let Some(errors) = reload::cut_off(directory) {
        return Err(errors);
    }
    compile_files(&read(directory)?, options)
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
    match args.source.load() {
        Ok((ruleset, warnings)) => {
            note_text!("{warnings}");
            say!("{}", summary(&ruleset));
            try_out(&ruleset, args.against.as_deref())
        }
        Err(exit) => exit,
    }
}

fn summary(ruleset: &Ruleset) -> String {
    let (cases, hosts) = (ruleset.cases().len(), ruleset.host_count());
    format!("{cases} cases with {hosts} host patterns can be taken; digest {}", ruleset.digest())
}

/// What an edge with this configuration would say, its guard included.
fn check_for(config: &Config, against: Option<&Path>) -> Exit {
    let options = options(config);
    let (directory, state) = (&config.policy.directory, &config.policy.state);
    let preview = reload::preview(directory, state, &options, &server::rules(config), Timestamp::now());
    let preview = match preview {
        Ok(preview) => preview,
        Err(diagnostics) => {
            note_text!("{diagnostics}");
            return Exit::No;
        }
    };
    note_text!("{}", preview.warnings);
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
