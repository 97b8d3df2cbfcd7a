//! A policy set that a command reads: where it is, and what it holds.

use std::fmt;
use std::path::{Path, PathBuf};

use super::node::node_of;
use super::{Exit, complain};
use crate::policy::exchange::Concern;
use crate::policy::{self, Case, Here, Pattern, PolicyFiles};
use crate::reload;

/// Where a policy set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SetSource {
    /// A policy directory, as it is now.
    Directory(PathBuf),
    /// A revision that a state directory keeps.
    Revision {
        /// The state directory.
        state: PathBuf,
        /// The number of the revision.
        number: u64,
    },
}

impl SetSource {
    /// Reads what stands on the command line: a directory, or `revision:7` of those that the edge of `config` keeps.
    ///
    /// # Errors
    /// When the number is none, or there is no configuration that names a state directory.
    pub(super) fn parse(text: &str, config: Option<&Path>) -> Result<Self, Exit> {
        let Some(number) = text.strip_prefix("revision:") else {
            return Ok(Self::Directory(PathBuf::from(text)));
        };
        let Ok(number) = number.parse() else {
            let message =
                format!("`{text}` is no revision; write `revision:7`, or `./{text}` for a directory");
            return Err(complain(Exit::Usage, &message));
        };
        let Some(config) = config else {
            let message = format!("`{text}` needs `--config FILE`, which says where revisions are kept");
            return Err(complain(Exit::Usage, &message));
        };
        Ok(Self::Revision { state: node_of(config)?.policy.state, number })
    }

    fn files(&self) -> Result<PolicyFiles, Exit> {
        match self {
            Self::Directory(directory) => {
                reload::read(directory).map(|snapshot| snapshot.files).map_err(|error| self.refused(&error))
            }
            Self::Revision { state, number } => match reload::kept(state, *number) {
                Ok(Some(kept)) => Ok(kept.files),
                Ok(None) => {
                    Err(self.refused(&format!("revision {number} is not kept; see `interdict history`")))
                }
                Err(error) => Err(complain(Exit::Io, &error)),
            },
        }
    }

    fn refused(&self, found: &dyn fmt::Display) -> Exit {
        note!("{found}");
        note!("interdict: the policy set in `{self}` cannot be taken");
        Exit::Usage
    }

    /// Reads and checks the set. What is wrong in it goes to standard error, and then there is nothing to tell.
    pub(super) fn load(&self) -> Result<PolicySet, Exit> {
        let files = self.files()?;
        let (mut cases, found) = policy::parse_cases(&files);
        if found.has_errors() {
            return Err(self.refused(&found));
        }
        for case in &mut cases {
            let mut hosts = Vec::with_capacity(case.pattern_count());
            let read = case.for_each_pattern(|pattern| hosts.push(pattern));
            read.map_err(|error| complain(Exit::Io, &error))?;
            case.hosts = hosts;
        }
        Ok(PolicySet { files, cases })
    }
}

impl fmt::Display for SetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Revision { number, .. } => write!(f, "revision:{number}"),
        }
    }
}

/// A policy set without errors.
#[derive(Debug)]
pub(super) struct PolicySet {
    pub(super) files: PolicyFiles,
    /// The cases, each with the names of its lists among its own.
    pub(super) cases: Vec<Case>,
}

impl PolicySet {
    /// The cases as one edge carries them out: those of other edges are gone, and `edges` with them. Without the name
    /// of an edge, all stay as they are.
    pub(super) fn at(mut self, here: &Here) -> Self {
        self.cases.retain(|case| here.has(case));
        for case in &mut self.cases {
            case.mode = here.mode(case.mode);
            if here.edge.is_some() {
                case.edges.clear();
            }
        }
        self
    }

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
