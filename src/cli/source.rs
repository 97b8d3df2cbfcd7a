//! A policy set that a command reads: where it is, and what it holds.

use std::fmt;
use std::path::PathBuf;

use super::Exit;
use crate::policy::exchange::Concern;
use crate::policy::{self, Case, Pattern, PolicyFiles};
use crate::reload;

/// Where a policy set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SetSource {
    /// A policy directory, as it is now.
    Directory(PathBuf),
}

impl SetSource {
    /// Reads what stands on the command line.
    #[expect(clippy::unnecessary_wraps, reason = "clap asks a parser for a result")]
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::Directory(PathBuf::from(text)))
    }

    /// Reads and checks the set. What is wrong in it goes to standard error, and then there is nothing to tell.
    pub(super) fn load(&self) -> Result<PolicySet, Exit> {
        let Self::Directory(directory) = self;
        let refused = |found: &dyn fmt::Display| {
            eprintln!("{found}");
            eprintln!("interdict: the policy set in `{self}` cannot be taken");
            Exit::Usage
        };
        let snapshot = reload::read(directory).map_err(|error| refused(&error))?;
        let (cases, found) = policy::parse_cases(&snapshot.files);
        if found.has_errors() {
            return Err(refused(&found));
        }
        Ok(PolicySet { files: snapshot.files, cases })
    }
}

impl fmt::Display for SetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
        }
    }
}

/// A policy set without errors.
#[derive(Debug)]
pub(super) struct PolicySet {
    pub(super) files: PolicyFiles,
    pub(super) cases: Vec<Case>,
}

impl PolicySet {
    /// All names a case concerns, those of its lists included, in the order they are written.
    pub(super) fn patterns_of<'s>(&'s self, case: &'s Case) -> impl Iterator<Item = &'s Pattern> {
        case.hosts.iter()
    }

    /// Every case with its names, in the order of the ids.
    pub(super) fn concerns(&self) -> Vec<Concern<'_>> {
        let with_names = |case| Concern { case, hosts: self.patterns_of(case).collect() };
        let mut concerns: Vec<Concern<'_>> = self.cases.iter().map(with_names).collect();
        concerns.sort_by(|a, b| a.case.id.cmp(&b.case.id));
        concerns
    }
}
