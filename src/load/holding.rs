//! The ids that came, held against the log: none may be missing there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{self, FindError, Kind, Query};

/// The log is read from a little before the run: its clock may be another one. An id is the same id whatever the time.
const BEFORE: Duration = Duration::from_secs(5);
/// Refusals have no id, and only their time and host say whose they are. Clocks are read this far from each other.
const GRAIN: Duration = Duration::from_millis(10);
/// Missing ids that are told.
const EXAMPLES: usize = 5;

/// Why the log could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// It cannot be read.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A part of it cannot be read.
    #[error("`{}`: {problem}", directory.display())]
    Damaged {
        /// The log.
        directory: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// What the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The audit directory.
    pub directory: String,
    /// Ids that came with answers.
    pub ids: u64,
    /// Those without a record.
    pub missing: u64,
    /// Those with more than one.
    pub twice: u64,
    /// Some of the missing.
    pub examples: Vec<String>,
    /// Refusals that came; they carry no id.
    pub refusals: u64,
    /// Records of refusals of the hosts that were to be refused, between the first request and the last answer.
    pub refusal_records: u64,
    /// Events that the log owns up to have missed in that time.
    pub gaps: u64,
}

impl Holding {
    /// Whether everything that came is on record, once.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.missing == 0 && self.twice == 0 && self.refusals <= self.refusal_records
    }
}

/// What a run leaves in the log.
#[derive(Debug)]
pub struct Sought<'a> {
    /// Ids, sorted and each once.
    pub ids: &'a [u128],
    /// Refusals; they carry no id.
    pub refusals: u64,
    /// Hosts that were to be refused.
    pub refused_hosts: HashSet<&'a str>,
    /// When the first request was due.
    pub began: Timestamp,
    /// When the last answer was in.
    pub ended: Timestamp,
}

impl Sought<'_> {
    /// Nothing, to see whether a log can be read.
    #[must_use]
    pub fn nothing() -> Self {
        let now = Timestamp::now();
        Self { ids: &[], refusals: 0, refused_hosts: HashSet::new(), began: now, ended: now }
    }

    fn from(&self) -> Timestamp {
        self.began.checked_sub(GRAIN).unwrap_or(self.began)
    }

    /// Whether a record of this time may be one of the run.
    fn covers(&self, time: Timestamp) -> bool {
        let to = self.ended.checked_add(GRAIN).unwrap_or(self.ended);
        (self.from()..=to).contains(&time)
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    time: Timestamp,
    #[serde(borrow, default)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    action: Option<Cow<'a, str>>,
    #[serde(default)]
    missed: u64,
}

/// Looks up what a run leaves in the log in `directory`.
///
/// # Errors
/// When a part of the log cannot be read: then neither yes nor no is true.
pub fn hold(directory: &Path, sought: &Sought<'_>) -> Result<Holding, HoldError> {
    let kinds = vec![Kind::RequestBlocked, Kind::UpstreamRefused, Kind::HandshakeRefused, Kind::AuditGap];
    let since = sought.began.checked_sub(BEFORE).unwrap_or(sought.began);
    let query = Query { kinds, since: Some(since), ..Query::default() };
    let ids = sought.ids;
    let mut seen = vec![0_u8; ids.len()];
    let (mut refusal_records, mut gaps) = (0, 0);
    let searched = audit::find(directory, &query, &mut |line| {
        if let Ok(line) = serde_json::from_slice::<Line<'_>>(line) {
            let is_ours = sought.covers(line.time);
            // A gap is written down when the log takes records again, which may be later.
            gaps += if line.time >= sought.from() { line.missed } else { 0 };
            let refused = line.kind == "handshake.refused" || line.action.as_deref() == Some("refuse");
            let asked = line.host.as_deref().is_some_and(|host| sought.refused_hosts.contains(host));
            refusal_records += u64::from(refused && asked && is_ours);
            let id = line.id.parse::<audit::EventId>().ok();
            let place = id.and_then(|id| ids.binary_search(&id.as_u128()).ok());
            if let Some(count) = place.and_then(|place| seen.get_mut(place)) {
                *count = count.saturating_add(1);
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(problem) = searched.problems.first() {
        return Err(HoldError::Damaged { directory: directory.to_owned(), problem: problem.to_string() });
    }
    let absent = || ids.iter().zip(&seen).filter(|(_, count)| **count == 0);
    Ok(Holding {
        directory: directory.display().to_string(),
        ids: ids.len() as u64,
        missing: absent().count() as u64,
        twice: seen.iter().filter(|count| **count > 1).count() as u64,
        examples: absent().take(EXAMPLES).map(|(id, _)| uuid::Uuid::from_u128(*id).to_string()).collect(),
        refusals: sought.refusals,
        refusal_records,
        gaps,
    })
}
