//! Whom to ask for: names from a file, or drawn from a policy set with the crate's own code.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::plan::{Expect, Host, mixed};
use crate::decide::{Subject, Verdict, decide};
use crate::diagnostic::Diagnostics;
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{self, Action, Case, CompileOptions, Form, Pattern, PolicyFiles, Ruleset};
use crate::reload::{self, SourceError};

/// Why there are no hosts.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The file cannot be read.
    #[error("`{}`: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A line is no name.
    #[error("`{}`:{line}: `{text}` is no host: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// Why it is none.
        cause: String,
    },
    /// More names than are asked for in one run.
    #[error("`{}`: {count} names are more than {} in one run", path.display(), limits::LOAD_HOSTS)]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// The policy directory is still being written.
    #[error("`{}`: {cause}", path.display())]
    Unsettled {
        /// The directory.
        path: PathBuf,
        /// What the reader said.
        cause: String,
    },
    /// The policy set has errors.
    #[error("the policies cannot be taken:\n{0}")]
    Policies(Diagnostics),
    /// No case in force blocks anybody.
    #[error("`{}`: no case in force blocks a host for a client at {client}", path.display())]
    Nobody {
        /// The directory.
        path: PathBuf,
        /// Whom they were judged for.
        client: IpAddr,
    },
}

/// The names in a file, one a line, `#` comments; at most [`limits::LOAD_HOSTS`] of them.
///
/// # Errors
/// When the file cannot be read, a line is no name, or there are more names than that.
pub fn read_hosts(path: &Path) -> Result<Vec<String>, HostsError> {
    let io = |cause| HostsError::Io { path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(io)?;
    let mut hosts = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        match Hostname::parse(text) {
            Ok(host) => hosts.push(host.as_str().to_owned()),
            Err(error) => {
                let (text, cause) = (crate::diagnostic::excerpt(text), error.to_string());
                return Err(HostsError::Line { path: path.to_owned(), line, text, cause });
            }
        }
    }
    match hosts.len() {
        count if count > limits::LOAD_HOSTS => Err(HostsError::TooMany { path: path.to_owned(), count }),
        _ => Ok(hosts),
    }
}

/// Hosts that the policies in `directory` block now for `client`, at most [`limits::LOAD_HOSTS`], chosen by `seed`.
/// Each is judged by the data plane's own code, so that what is expected is what the edge decides.
///
/// # Errors
/// When the policies cannot be read or hold errors, or block nobody.
pub fn draw(directory: &Path, client: IpAddr, seed: u64) -> Result<Vec<Host>, HostsError> {
    let snapshot = reload::read(directory).map_err(|error| match error {
        SourceError::Unreadable(diagnostics, _) => HostsError::Policies(diagnostics),
        unsettled => HostsError::Unsettled { path: directory.to_owned(), cause: unsettled.to_string() },
    })?;
    let (cases, diagnostics) = policy::parse_cases(&snapshot.files);
    if diagnostics.has_errors() {
        return Err(HostsError::Policies(diagnostics));
    }
    let names = sample(&cases, seed);
    let rules = compile(cases, &snapshot.files)?;
    let now = Timestamp::now();
    let hosts: Vec<Host> = names.iter().filter_map(|name| judged(&rules, name, client, now)).collect();
    match hosts.is_empty() {
        true => Err(HostsError::Nobody { path: directory.to_owned(), client }),
        false => Ok(hosts),
    }
}

fn compile(cases: Vec<Case>, files: &PolicyFiles) -> Result<Ruleset, HostsError> {
    Ruleset::compile_with(cases, files, &CompileOptions::default()).map_err(HostsError::Policies)
}

/// Names that the patterns cover, each pattern with the same chance (Vitter's algorithm R).
fn sample(cases: &[Case], seed: u64) -> Vec<Hostname> {
    let mut drawn: Vec<Pattern> = Vec::new();
    let mut count = 0_u64;
    for case in cases {
        let read = case.for_each_pattern(|pattern| {
            if drawn.len() < limits::LOAD_HOSTS {
                drawn.push(pattern);
            } else if let Some(place) = drawn.get_mut((mixed(seed ^ mixed(count)) % (count + 1)) as usize) {
                *place = pattern;
            }
            count += 1;
        });
        if let Err(error) = read {
            tracing::warn!(case = %case.id, %error, "the names of a list are left out");
        }
    }
    let below = |name: &Hostname| Hostname::parse(&format!("www.{name}")).ok();
    let name = |pattern: Pattern| match pattern.form {
        Form::Below => below(&pattern.name),
        Form::Exact | Form::Subtree => Some(pattern.name),
    };
    drawn.into_iter().filter_map(name).collect()
}

fn judged(rules: &Ruleset, name: &Hostname, client: IpAddr, now: Timestamp) -> Option<Host> {
    let names = std::slice::from_ref(name);
    let Verdict::Block(found) = decide(rules, &Subject { names, client }, now) else { return None };
    let expect = match found.case.action {
        Action::Page => Expect::Page,
        Action::Refuse => Expect::Refusal,
    };
    Some(Host { name: name.as_str().to_owned(), expect })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_an_error_and_so_is_dirt_behind_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("names");
        let names =
            |count: usize| (0..count).map(|number| format!("h{number}.example\n")).collect::<String>();
        std::fs::write(&path, names(limits::LOAD_HOSTS)).unwrap();
        assert_eq!(read_hosts(&path).unwrap().len(), limits::LOAD_HOSTS);
        std::fs::write(&path, names(limits::LOAD_HOSTS + 1)).unwrap();
        let error = read_hosts(&path).unwrap_err().to_string();
        assert!(error.contains("100001 names are more than 100000 in one run"), "{error}");
        std::fs::write(&path, names(limits::LOAD_HOSTS) + "not a host\n").unwrap();
        assert!(matches!(read_hosts(&path), Err(HostsError::Line { line: 100_001, .. })));
    }
}
