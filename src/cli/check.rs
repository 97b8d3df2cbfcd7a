//! `check`: what the edge would say of a policy directory, before it is asked to take it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, complain};
use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::policy::{self, CompileOptions, Revision, Ruleset};
use crate::reload::{self, SourceError};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: PolicySource,
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
    /// The directory and the operator's own URL.
    pub(super) fn locate(&self) -> Result<(PathBuf, Option<String>), Exit> {
        match (&self.policies, &self.config) {
            (Some(directory), _) => Ok((directory.clone(), None)),
            (None, Some(file)) => match Config::load(file) {
                Ok(config) => Ok((config.policy.directory, config.policy.blocked_by)),
                Err(error) => Err(complain(Exit::Usage, &error)),
            },
            (None, None) => Ok((PathBuf::from("policies"), None)),
        }
    }

    /// Reads and compiles the policies with the edge's own code; what is wrong goes to standard error.
    pub(super) fn load(&self) -> Result<(Ruleset, Diagnostics), Exit> {
        let (directory, blocked_by) = self.locate()?;
        compile(&directory, &CompileOptions { blocked_by }).map_err(|diagnostics| {
            eprint!("{diagnostics}");
            Exit::No
        })
    }
}

fn compile(directory: &Path, options: &CompileOptions) -> Result<(Ruleset, Diagnostics), Diagnostics> {
    let snapshot = reload::read(directory).map_err(|error| match error {
        SourceError::Unreadable(diagnostics, _) => diagnostics,
        SourceError::Unsettled => {
            let mut diagnostics = Diagnostics::default();
            let file = directory.display().to_string();
            diagnostics.push(crate::diagnostic::Diagnostic::error(file, SourceError::Unsettled.to_string()));
            diagnostics
        }
    })?;
    let (cases, diagnostics) = policy::parse_cases(&snapshot.files);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let digest = snapshot.files.digest();
    let ruleset = Ruleset::compile_with(cases, &snapshot.files, options)?;
    Ok((ruleset.with_identity(Revision::default(), digest), diagnostics))
}

pub(super) fn run(args: &CheckArgs) -> Exit {
    match args.source.load() {
        Ok((ruleset, warnings)) => {
            eprint!("{warnings}");
            println!(
                "{} cases with {} host patterns can be taken; digest {}",
                ruleset.cases().len(),
                ruleset.host_count(),
                ruleset.digest()
            );
            Exit::Fine
        }
        Err(exit) => exit,
    }
}
