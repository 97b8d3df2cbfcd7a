//! Which period was in force when: the key of a record is that of its time, also after the period was changed.

use std::{fmt::Write, io, path::Path};

use jiff::Timestamp;

use super::{
    key::{self, KeyError, Place},
    period::{Period, Span},
};

/// The name of the file. A line a change, in the order of time: `2026-11-23T23:25:48Z month`.
pub(super) const FILE: &str = "periods";
/// The label of the one key of earlier versions.
pub(super) const SINGLE: &str = "single";
/// A whole history is shorter, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// What gives a key its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The key of earlier versions, for everything before its replacement.
    Single,
    By(Period),
}

impl Rule {
    fn as_str(self) -> &'static str {
        match self {
            Self::Single => SINGLE,
            Self::By(period) => period.as_str(),
        }
    }
}

/// The changes, in the order of time. What lies before the first is under the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct History {
    changes: Vec<(Timestamp, Rule)>,
}

impl History {
    /// Reads the history of a key directory; an empty one when there is none.
    pub(super) fn read(directory: &Path) -> Result<Self, KeyError> {
        let path = directory.join(FILE);
        let text = match read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(KeyError::io(&path))?,
        };
        let mut changes: Vec<(Timestamp, Rule)> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let change = change(text).filter(|(at, _)| changes.last().is_none_or(|(last, _)| last <= at));
            changes.push(change.ok_or_else(|| KeyError::History { path: path.clone(), line })?);
        }
        Ok(Self { changes })
    }

    /// Puts the history in the place of the one there is.
    pub(super) fn write(&self, directory: &Path) -> Result<(), KeyError> {
        let path = directory.join(FILE);
        let mut text = String::new();
        for (at, rule) in &self.changes {
            // Writing to a string cannot fail.
            writeln!(text, "{at} {}", rule.as_str()).ok();
        }
        key::publish(&path, text.as_bytes(), Place::Replace).map_err(KeyError::io(&path))
    }

    /// Notes that the key of an earlier version is there, and was in force until now.
    pub(super) fn begin_with_single(&mut self) {
        if self.changes.is_empty() {
            self.changes.push((Timestamp::UNIX_EPOCH, Rule::Single));
        }
    }

    /// Notes the period in force from `now` on; false when nothing changes.
    pub(super) fn note(&mut self, period: Period, now: Timestamp) -> bool {
        match self.changes.last() {
            Some((_, Rule::By(last))) if *last == period => return false,
            // A clock that was set back does not change what was.
            Some((last, _)) => self.changes.push((now.max(*last), Rule::By(period))),
            None => self.changes.push((now, Rule::By(period))),
        }
        true
    }

    /// The key that `time` is under, and for how long; none when nothing is known.
    pub(super) fn span(&self, time: Timestamp) -> Option<Span> {
        let next = self.changes.partition_point(|(at, _)| *at <= time);
        let (start, rule) = self.changes.get(next.saturating_sub(1))?;
        let start = if next <= 1 { Timestamp::MIN } else { *start };
        // Before the first change, the second one is the first that ends anything.
        let end = self.changes.get(next.max(1)).map_or(Timestamp::MAX, |(at, _)| *at);
        Some(match rule {
            Rule::Single => Span { label: SINGLE.to_owned(), start, end },
            Rule::By(period) => {
                let span = period.span(time);
                Span { start: span.start.max(start), end: span.end.min(end), ..span }
            }
        })
    }

    /// When the last record under this label can have been written: the end of its period, or sooner.
    pub(super) fn end_of(&self, label: &str) -> Option<Span> {
        if label != SINGLE && label != "always" {
            return Span::of_label(label);
        }
        let of_rule = |rule: &Rule| match rule {
            Rule::Single => label == SINGLE,
            Rule::By(period) => *period == Period::Never && label == "always",
        };
        let first = self.changes.iter().position(|(_, rule)| of_rule(rule))?;
        let last = self.changes.iter().rposition(|(_, rule)| of_rule(rule))?;
        let start = if first == 0 { Timestamp::MIN } else { self.changes.get(first)?.0 };
        let end = self.changes.get(last + 1).map_or(Timestamp::MAX, |(at, _)| *at);
        Some(Span { label: label.to_owned(), start, end })
    }
}

fn change(line: &str) -> Option<(Timestamp, Rule)> {
    let (at, word) = line.split_once(' ')?;
    let rule = if word == SINGLE { Rule::Single } else { Rule::By(word.parse().ok()?) };
    Some((at.parse().ok()?, rule))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn label(history: &History, time: &str) -> String {
        history.span(at(time)).unwrap().label
    }

    #[test]
    fn each_time_has_the_key_of_the_period_that_was_in_force_then() {
        let mut history = History::default();
        assert_eq!(history.span(Timestamp::UNIX_EPOCH), None);
        history.begin_with_single();
        assert!(history.note(Period::Month, at("2026-11-10T12:00:00Z")));
        assert!(!history.note(Period::Month, at("2026-11-11T12:00:00Z")));
        assert!(history.note(Period::Week, at("2026-12-01T08:00:00Z")));
        // The clock was set back: the change counts from the last one on.
        assert!(history.note(Period::Never, at("2026-11-30T08:00:00Z")));
        assert!(history.note(Period::Day, at("2026-12-24T08:00:00Z")));
        for (time, expected) in [
            ("1960-01-01T00:00:00Z", "single"),
            ("2026-11-10T11:59:59.999999Z", "single"),
            ("2026-11-10T12:00:00Z", "2026-11"),
            ("2026-12-01T07:59:59Z", "2026-12"),
            ("2026-12-01T08:00:00Z", "always"),
            ("2026-12-24T08:00:00Z", "2026-12-24"),
        ] {
            assert_eq!(label(&history, time), expected, "{time}");
            let span = history.span(at(time)).unwrap();
            assert!(span.contains(at(time)), "{time}: {span:?}");
        }
        assert_eq!(history.end_of("single").unwrap().end, at("2026-11-10T12:00:00Z"));
        assert_eq!(history.end_of("always").unwrap().end, at("2026-12-24T08:00:00Z"));
        assert_eq!(history.end_of("2026-11").unwrap().end, at("2026-12-01T00:00:00Z"));
        assert_eq!(history.end_of("nonsense"), None);
    }

    #[test]
    fn a_span_ends_where_the_period_was_changed() {
        let mut history = History::default();
        history.note(Period::Month, at("2026-11-10T12:00:00Z"));
        history.note(Period::Day, at("2026-11-20T12:00:00Z"));
        let before = history.span(at("2026-11-01T00:00:00Z")).unwrap();
        assert_eq!((before.label.as_str(), before.end), ("2026-11", at("2026-11-20T12:00:00Z")));
        let after = history.span(before.end).unwrap();
        assert_eq!((after.label.as_str(), after.start), ("2026-11-20", before.end));
    }

    #[test]
    fn a_history_is_read_back_and_a_damaged_one_names_the_line() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(History::read(directory.path()).unwrap(), History::default());
        let mut history = History::default();
        history.begin_with_single();
        history.note(Period::Week, at("2026-11-10T12:00:00.000001Z"));
        history.write(directory.path()).unwrap();
        assert_eq!(History::read(directory.path()).unwrap(), history);
        for (text, bad) in [
            ("2026-11-10T12:00:00Z month\nx\n", 2),
            ("2026-11-10T12:00:00Z year\n", 1),
            ("2026-11-10T12:00:00Z month\n2026-11-09T12:00:00Z day\n", 2),
            ("\n", 1),
        ] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let error = History::read(directory.path()).unwrap_err();
            assert!(matches!(error, KeyError::History { line, .. } if line == bad), "{text:?}: {error}");
        }
    }
}
