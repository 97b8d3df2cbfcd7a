//! What may go and what stays, decided without touching anything.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    hold::Hold,
    stock::{Closed, Content, Part},
};
use crate::audit::privacy::Span;

/// What may be pruned. Without any limit nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneOptions {
    /// Segments whose latest record is older than this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_s: Option<u64>,
    /// The oldest segments, until all of them take no more than this many bytes on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Keys of periods that ended more than this many seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_older_than_s: Option<u64>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What goes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Runs of segments that follow each other, oldest first.
    pub(super) runs: Vec<Vec<Closed>>,
    /// First `seq` of the segments that would go but for a hold.
    pub(super) held: Vec<u64>,
    /// Labels of keys.
    pub(super) keys: Vec<String>,
    /// Labels of the keys that would go but for a hold.
    pub(super) held_keys: Vec<String>,
    /// What all segments take afterwards, in bytes.
    pub(super) bytes_left: u64,
}

impl Plan {
    pub(super) fn new(
        parts: Vec<Part>,
        holds: &[Hold],
        keys: &[Span],
        options: &PruneOptions,
        now: Timestamp,
    ) -> Self {
        let mut plan = Self { bytes_left: parts.iter().map(|part| part.bytes).sum(), ..Self::default() };
        plan.choose_keys(&parts, holds, keys, options, now);
        let before = options.older_than_s.map(|age| ago(now, age));
        let mut goes_on = false;
        for part in parts {
            let Content::Closed(closed) = part.content else {
                goes_on = false;
                continue;
            };
            let old = before.zip(closed.last_time).is_some_and(|(before, last)| last < before);
            let much = options.max_bytes.is_some_and(|most| plan.bytes_left > most);
            if !(old || much) || closed.held {
                plan.held.extend((old || much).then_some(part.first));
                goes_on = false;
                continue;
            }
            plan.bytes_left = plan.bytes_left.saturating_sub(part.bytes);
            // What is missing between two segments does not go with them.
            let follows = |run: &&mut Vec<Closed>| run.last().is_some_and(|last| last.end == closed.first);
            match plan.runs.last_mut().filter(|_| goes_on).filter(follows) {
                Some(run) => run.push(closed),
                None => plan.runs.push(vec![closed]),
            }
            goes_on = true;
        }
        plan
    }

    /// A key goes when its period ended long enough ago and no segment on hold has records of it.
    fn choose_keys(
        &mut self,
        parts: &[Part],
        holds: &[Hold],
        keys: &[Span],
        options: &PruneOptions,
        now: Timestamp,
    ) {
        let Some(before) = options.keys_older_than_s.map(|age| ago(now, age)) else { return };
        let held_times: Vec<_> = parts.iter().filter_map(|part| held_time(part, holds)).collect();
        let mut seen = BTreeSet::new();
        for key in keys.iter().filter(|key| key.end <= before && key.end <= now) {
            let held = held_times.iter().any(|(first, last)| key.meets(*first, *last));
            if seen.insert(&key.label) {
                let list = if held { &mut self.held_keys } else { &mut self.keys };
                list.push(key.label.clone());
            }
        }
    }
}

/// The times of a segment's records, when one of them may be on hold.
fn held_time(part: &Part, holds: &[Hold]) -> Option<(Timestamp, Timestamp)> {
    match &part.content {
        Content::Closed(closed) => closed.held.then(|| {
            (closed.first_time.unwrap_or(Timestamp::MIN), closed.last_time.unwrap_or(Timestamp::MAX))
        }),
        Content::Unknown { since } => {
            holds.iter().any(|hold| hold.reaches(*since)).then_some((*since, Timestamp::MAX))
        }
    }
}

/// The time so many seconds before `now`, or the beginning of time.
fn ago(now: Timestamp, seconds: u64) -> Timestamp {
    let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}
