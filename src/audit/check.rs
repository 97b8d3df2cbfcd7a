//! Checks a whole log against its promises; the tests end with it.

use std::{collections::HashSet, path::Path};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    event::Kind,
    problem::Problem,
    read::{Cursor, ReadError, Record},
};

/// Problems that are told one by one.
const MAX_PROBLEMS: usize = 100;

/// What a sound log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Records, gap records included.
    pub records: u64,
    /// The `seq` of the first record; 0 when there is none.
    pub first_seq: u64,
    /// The `seq` of the last record; 0 when there is none.
    pub last_seq: u64,
    /// Gap records.
    pub gaps: u64,
    /// Events that gap records count: together with `durable` all that was decided.
    pub missed: u64,
    /// Events that have a record of their own.
    pub durable: u64,
    /// `durable + missed`.
    pub decided: u64,
    /// How often a record's time lies before that of the record it follows: the clock was set back.
    pub steps_back: u64,
}

/// Why a log is not sound.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is damaged; the first problems are listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

/// Checks that `seq` runs from 1 without holes, ids are unique and valid, every line is a record with all fields of
/// its kind and a time in the right form, and that gap records add up.
///
/// # Errors
/// When the log cannot be read or one of these does not hold.
pub fn check(directory: &Path) -> Result<Checked, CheckError> {
    let mut cursor = Cursor::open(directory, 0)?;
    let mut checked = Checked::default();
    let mut problems = Vec::new();
    let mut ids = HashSet::new();
    let mut last_time = Timestamp::MIN;
    while let Some(item) = cursor.next()? {
        match item {
            Err(problem) => problems.push(problem),
            Ok(record) => {
                let mut wrong = |what: String| problems.push(Problem::Record { seq: record.seq, what });
                if !ids.insert(record.id.as_u128()) {
                    wrong(format!("the id {} is not its own", record.id));
                }
                if let Err(what) = count(&record, &mut checked) {
                    wrong(what);
                }
                checked.steps_back += u64::from(record.time < last_time);
                last_time = record.time;
            }
        }
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
    }
    checked.decided = checked.durable + checked.missed;
    if problems.is_empty() { Ok(checked) } else { Err(CheckError::Problems(problems)) }
}

fn count(record: &Record, checked: &mut Checked) -> Result<(), String> {
    checked.records += 1;
    if checked.first_seq == 0 {
        checked.first_seq = record.seq;
    }
    checked.last_seq = record.seq;
    let fields = record.fields().map_err(|error| error.to_string())?;
    let kind: Kind = text(&fields, "kind")?.parse().map_err(|error| format!("{error}"))?;
    text(&fields, "edge")?;
    let time = text(&fields, "time")?;
    if time.len() != 27 || !time.ends_with('Z') {
        return Err(format!("the time `{time}` is not RFC 3339 with six digits"));
    }
    for field in kind.required() {
        if !fields.contains_key(*field) {
            return Err(format!("`{field}` is missing in a record of kind {kind}"));
        }
    }
    if kind == Kind::AuditGap {
        checked.gaps += 1;
        checked.missed += gap(&fields)?;
    } else {
        checked.durable += 1;
    }
    Ok(())
}

/// Events that a gap record counts.
fn gap(fields: &Map<String, Value>) -> Result<u64, String> {
    let missed = fields.get("missed").and_then(Value::as_u64).unwrap_or(0);
    let counts = fields.get("counts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sum = counts.iter().filter_map(|count| count.get("count")?.as_u64()).sum::<u64>();
    if missed == 0 || sum != missed {
        return Err(format!("the gap of {missed} does not add up: its counts are {sum}"));
    }
    Ok(missed)
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` is missing or not a text"))
}
