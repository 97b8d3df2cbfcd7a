//! How long one key of the pseudonyms lasts.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, ISOWeekDate, Weekday},
    tz::TimeZone,
};

/// How long one key of the pseudonyms lasts. Periods begin at midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Period {
    /// A key a day: `2026-11-23`.
    Day,
    /// A key an ISO week, which begins on Monday: `2026-W48`.
    Week,
    /// A key a month: `2026-11`.
    #[default]
    Month,
    /// One key for all time: `always`.
    Never,
}

/// One period: what it is called, and when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The name of its key, without the ending.
    pub(crate) label: String,
    /// Its first moment.
    pub(crate) start: Timestamp,
    /// The first moment after it; [`Timestamp::MAX`] when it does not end.
    pub(crate) end: Timestamp,
}

impl Span {
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && (time < self.end || self.end == Timestamp::MAX)
    }

    /// Whether the two have a moment in common.
    pub(crate) fn meets(&self, start: Timestamp, end: Timestamp) -> bool {
        self.start <= end && (start < self.end || self.end == Timestamp::MAX)
    }

    /// Reads the label of a day, a week, a month or of all time.
    pub(super) fn of_label(label: &str) -> Option<Self> {
        let numbers =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let parts: Vec<&str> = label.split('-').collect();
        let (period, date) = match parts.as_slice() {
            ["always"] => return Some(Period::Never.span(Timestamp::UNIX_EPOCH)),
            [year, week] if week.starts_with('W') => {
                let (year, week) = (numbers(year)?, i8::try_from(numbers(week.get(1..)?)?).ok()?);
                (Period::Week, ISOWeekDate::new(year, week, Weekday::Monday).ok()?.date())
            }
            [year, month] => {
                (Period::Month, Date::new(numbers(year)?, i8::try_from(numbers(month)?).ok()?, 1).ok()?)
            }
            [year, month, day] => {
                let (month, day) = (i8::try_from(numbers(month)?).ok()?, i8::try_from(numbers(day)?).ok()?);
                (Period::Day, Date::new(numbers(year)?, month, day).ok()?)
            }
            _ => return None,
        };
        // Only the spelling that we write: no second name for the same key.
        Some(period.span(midnight(date))).filter(|span| span.label == label)
    }
}

impl Period {
    /// Every period there is.
    pub const ALL: &[Self] = &[Self::Day, Self::Week, Self::Month, Self::Never];

    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Never => "never",
        }
    }

    /// The period that holds `time`.
    pub(super) fn span(self, time: Timestamp) -> Span {
        let date = time.to_zoned(TimeZone::UTC).date();
        let (label, first, next) = match self {
            Self::Day => (format!("{date}"), date, date.checked_add(1.day())),
            Self::Week => {
                let week = date.iso_week_date();
                let monday = date.checked_sub(i64::from(week.weekday().to_monday_zero_offset()).days());
                let monday = monday.unwrap_or(Date::MIN);
                (format!("{:04}-W{:02}", week.year(), week.week()), monday, monday.checked_add(7.days()))
            }
            Self::Month => {
                let label = format!("{:04}-{:02}", date.year(), date.month());
                (label, date.first_of_month(), date.first_of_month().checked_add(1.month()))
            }
            Self::Never => {
                return Span { label: "always".to_owned(), start: Timestamp::MIN, end: Timestamp::MAX };
            }
        };
        Span { label, start: midnight(first), end: next.map_or(Timestamp::MAX, midnight) }
    }
}

/// The start of a day in UTC. The first and last days there are have no midnight that can be told.
fn midnight(date: Date) -> Timestamp {
    let zoned = date.to_zoned(TimeZone::UTC);
    let nearest = if date.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    zoned.map_or(nearest, |zoned| zoned.timestamp())
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no period: write `day`, `week`, `month` or `never`")]
pub struct UnknownPeriod(String);

impl FromStr for Period {
    type Err = UnknownPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|period| period.as_str() == text);
        found.copied().ok_or_else(|| UnknownPeriod(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn periods_begin_at_midnight_utc_and_weeks_on_monday() {
        for (period, time, label, start, end) in [
            (Period::Day, "2026-11-23T23:59:59.999999Z", "2026-11-23", "2026-11-23", "2026-11-24"),
            (Period::Day, "2028-02-29T00:00:00Z", "2028-02-29", "2028-02-29", "2028-03-01"),
            (Period::Week, "2026-11-22T23:59:59Z", "2026-W47", "2026-11-16", "2026-11-23"),
            (Period::Week, "2026-11-23T00:00:00Z", "2026-W48", "2026-11-23", "2026-11-30"),
            // ISO 8601: the week belongs to the year of its Thursday.
            (Period::Week, "2027-01-03T12:00:00Z", "2026-W53", "2026-12-28", "2027-01-04"),
            (Period::Month, "2026-12-31T23:59:59Z", "2026-12", "2026-12-01", "2027-01-01"),
        ] {
            let span = period.span(at(time));
            let [start, end] = [start, end].map(|date| at(&format!("{date}T00:00:00Z")));
            assert_eq!(span, Span { label: label.to_owned(), start, end });
            assert_eq!(Span::of_label(label), Some(span.clone()));
            assert!(span.contains(at(time)) && !span.contains(end));
            assert_eq!(period.span(end).start, end);
        }
    }

    #[test]
    fn the_ends_of_time_have_periods_too() {
        for period in Period::ALL {
            for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
                let span = period.span(time);
                assert!(span.contains(time), "{period} at {time}: {span:?}");
            }
        }
    }

    #[test]
    fn a_label_has_one_spelling() {
        for label in [
            "",
            "2026",
            "2026-13",
            "2026-1",
            "2026-W54",
            "2026-W1",
            "2026-11-31",
            "+2026-11",
            "2026-11-1x",
            "a-b",
        ] {
            assert_eq!(Span::of_label(label), None, "{label}");
        }
        assert_eq!(Span::of_label("always"), Some(Period::Never.span(Timestamp::MIN)));
    }
}
