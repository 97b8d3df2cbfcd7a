//! Values with a meaning of their own: moments, dates and durations.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use toml::de::DeValue;

use super::Value;
use crate::diagnostic::excerpt;

impl Value<'_> {
    /// A moment: a TOML offset date-time. One without offset is an error, because it names a different
    /// moment on every machine.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        let example = "write a moment like `2026-11-20T22:15:00Z`";
        let written = match self.value {
            DeValue::Datetime(written) => written,
            DeValue::String(_) => {
                self.wrong_type_with_hint("a moment", &format!("{example}, without quotes"));
                return None;
            }
            _ => {
                self.wrong_type_with_hint("a moment", example);
                return None;
            }
        };
        let message = match (written.date, written.time, written.offset) {
            (Some(_), Some(_), Some(_)) => match moment(&written.to_string()) {
                Ok(moment) => return Some(moment),
                Err(_) => format!("`{}` is no moment of the calendar", self.key),
            },
            (Some(_), Some(_), None) => {
                let hint = format!("add `Z` for UTC, or an offset: `{written}Z`");
                self.spot.error_with_hint(format_args!("`{}` has no offset from UTC", self.key), hint);
                return None;
            }
            (Some(date), None, _) => {
                let hint = format!("add a time: `{date}T00:00:00Z`");
                self.spot.error_with_hint(format_args!("`{}` has no time of day", self.key), hint);
                return None;
            }
            _ => format!("`{}` has no date", self.key),
        };
        self.spot.error_with_hint(message, example);
        None
    }

    /// A day: a TOML local date.
    #[must_use]
    pub fn date(&self) -> Option<Date> {
        let example = "write a date like `2026-12-20`, without quotes";
        let DeValue::Datetime(written) = self.value else {
            self.wrong_type_with_hint("a date", example);
            return None;
        };
        let (Some(date), None) = (written.date, written.time) else {
            let hint = written.date.map_or_else(|| example.to_owned(), |date| format!("write `{date}`"));
            self.spot.error_with_hint(format_args!("`{}` is a date without a time of day", self.key), hint);
            return None;
        };
        let known = date.to_string().parse().ok();
        if known.is_none() {
            self.spot.error_with_hint(format_args!("`{}` is no day of the calendar", self.key), example);
        }
        known
    }

    /// A span of time as text: `"500ms"`, `"10s"`, `"5m"`, `"1h"`.
    #[must_use]
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let bounds = format!("from \"{}\" to \"{}\"", written(*range.start()), written(*range.end()));
        let fine = *range.start() > Duration::ZERO && *range.start() < Duration::from_millis(1);
        let units = if fine { "`us`, `ms`" } else { "`ms`, `s`, `m`, `h`" };
        let DeValue::String(text) = self.value else {
            let hint = format!("write a number with a unit ({units}), {bounds}");
            self.wrong_type_with_hint("a duration", &hint);
            return None;
        };
        let Some(known) = parse_duration(text) else {
            let message = format!("`{}` is no duration: `{}`", self.key, excerpt(text));
            let hint = format!("write a whole number with a unit ({units}), {bounds}");
            self.spot.error_with_hint(message, hint);
            return None;
        };
        if !range.contains(&known) {
            let message = format!("`{}` is out of range: `{}`", self.key, excerpt(text));
            self.spot.error_with_hint(message, format_args!("write a duration {bounds}"));
            return None;
        }
        Some(known)
    }
}

/// Reads a moment, `2026-11-20T22:15:00Z`. The last two days of the year 9999, which many write for `never`, are partly
/// beyond the last moment there is, so that an offset never leads out of the calendar; they are that last moment.
///
/// # Errors
/// When the text is none.
pub fn moment(text: &str) -> Result<Timestamp, jiff::Error> {
    text.parse().or_else(|error| match text.split_at_checked("9999-12-31".len()) {
        // The time and the offset must be right all the same: those of an earlier day are read.
        Some(("9999-12-30" | "9999-12-31", time)) => {
            let earlier: Result<Timestamp, _> = format!("9999-12-29{time}").parse();
            earlier.map(|_| Timestamp::MAX)
        }
        _ => Err(error),
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// A duration as one would write it in a file.
fn written(duration: Duration) -> String {
    match (duration.as_millis(), duration.as_secs()) {
        _ if !duration.subsec_micros().is_multiple_of(1000) => format!("{}us", duration.as_micros()),
        (ms, _) if ms % 1000 != 0 => format!("{ms}ms"),
        (_, s) if s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        (_, s) if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        (_, s) => format!("{s}s"),
    }
}
