//! One hold: which records must not go.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    audit::sealed::{SegmentIndex, Term},
    hostname::{Hostname, HostnameError},
    limits,
};

/// What a hold is asked to be. Of several conditions all have to be met; without any it holds everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Its name: 1 to 64 of `[A-Za-z0-9._-]`, not beginning with a dot.
    pub name: String,
    /// Records of this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Records of this host, in any spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Records of this time and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Records before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in one line.
    pub reason: String,
}

/// A hold as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "File")]
pub struct Hold {
    #[serde(flatten)]
    asked: HoldRequest,
    placed: Timestamp,
}

/// What `holds/<name>.json` holds, not checked yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    case: Option<String>,
    host: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    reason: String,
    placed: Timestamp,
}

impl TryFrom<File> for Hold {
    type Error = HoldError;

    fn try_from(file: File) -> Result<Self, HoldError> {
        let File { name, case, host, since, until, reason, placed } = file;
        Self::new(HoldRequest { name, case, host, since, until, reason }, placed)
    }
}

/// Why a hold is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The name cannot be a file's.
    #[error(
        "`{0}` is no name of a hold: write 1 to 64 letters, digits, `.`, `_` and `-`, not beginning with `.`"
    )]
    Name(String),
    /// There is no reason, or it is too long.
    #[error("a hold needs a reason: one line of 1 to {} characters", limits::SHORT_TEXT_CHARS)]
    Reason,
    /// The case cannot be one.
    #[error("`{0}` is no case")]
    Case(String),
    /// The host cannot be one.
    #[error("`{host}` is no host: {error}")]
    Host {
        /// What was written.
        host: String,
        /// What is wrong with it.
        #[source]
        error: HostnameError,
    },
    /// It ends before it begins.
    #[error("the hold ends at {until}, which is not after {since}: it would hold nothing")]
    Times {
        /// The beginning.
        since: Timestamp,
        /// The end.
        until: Timestamp,
    },
}

impl Hold {
    /// Checks a request and brings its host into the one spelling that records have.
    ///
    /// # Errors
    /// When a field is not what it should be.
    pub fn new(mut asked: HoldRequest, placed: Timestamp) -> Result<Self, HoldError> {
        checked_name(&asked.name)?;
        checked_reason(&asked.reason)?;
        if let Some(case) = &asked.case
            && !is_line(case, limits::ID_CHARS)
        {
            return Err(HoldError::Case(shown(case)));
        }
        if let Some(host) = &mut asked.host {
            let known =
                Hostname::parse(host).map_err(|error| HoldError::Host { host: shown(host), error })?;
            *host = known.as_str().to_owned();
        }
        if let (Some(since), Some(until)) = (asked.since, asked.until)
            && until <= since
        {
            return Err(HoldError::Times { since, until });
        }
        Ok(Self { asked, placed })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.asked.name
    }

    /// What it was asked to be.
    #[must_use]
    pub fn asked(&self) -> &HoldRequest {
        &self.asked
    }

    /// Since when it is in force.
    #[must_use]
    pub fn placed(&self) -> Timestamp {
        self.placed
    }

    pub(super) fn file_name(&self) -> String {
        format!("{}.json", self.asked.name)
    }

    /// Whether a segment may hold a record that is on hold. A segment without any known time may.
    pub(super) fn may_match(&self, index: &SegmentIndex) -> bool {
        let HoldRequest { case, host, since, until, .. } = &self.asked;
        let timed = index.last_time.is_some();
        (!timed || index.may_hold_time(*since, *until))
            && case.as_deref().is_none_or(|case| index.may_hold(Term::Case(case)))
            && host.as_deref().is_none_or(|host| index.may_hold(Term::Host(host)))
    }

    /// Whether it may hold records of `from` or later.
    pub(super) fn reaches(&self, from: Timestamp) -> bool {
        self.asked.until.is_none_or(|until| from < until)
    }
}

/// The name, if it is one.
pub(super) fn checked_name(name: &str) -> Result<&str, HoldError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=limits::ID_CHARS).contains(&name.len()) && !name.starts_with('.');
    if fits && name.bytes().all(allowed) { Ok(name) } else { Err(HoldError::Name(shown(name))) }
}

/// The reason, if it is one.
pub(super) fn checked_reason(reason: &str) -> Result<&str, HoldError> {
    let said = !reason.trim().is_empty() && is_line(reason, limits::SHORT_TEXT_CHARS);
    if said { Ok(reason) } else { Err(HoldError::Reason) }
}

fn is_line(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

fn shown(text: &str) -> String {
    text.chars().take(limits::EXCERPT_CHARS).flat_map(char::escape_debug).collect()
}
