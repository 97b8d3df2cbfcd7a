//! Ages, sizes and times as they are written on a command line.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// An age in seconds: a whole number with `s`, `m`, `h`, `d` or `w`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600), ("w", 7 * 24 * 3600)];
    parse(text, &units)
        .ok_or_else(|| "write a whole number with `s`, `m`, `h`, `d` or `w`, like `90d`".to_owned())
}

/// A size in bytes: a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    parse(text, &units)
        .ok_or_else(|| "write a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`, like `10GiB`".to_owned())
}

/// A moment with its offset, or a day, which begins at midnight UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    // A date parser takes a whole moment as well, and would drop its time.
    let day = if text.len() == "2026-11-23".len() { day() } else { None };
    day.or_else(|| text.parse().ok())
        .ok_or_else(|| "write a day or a moment with its offset, like `2026-11-23T12:00:00Z`".to_owned())
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units_and_times_have_offsets() {
        assert_eq!((seconds("90d"), seconds("2w"), seconds("0s")), (Ok(7_776_000), Ok(1_209_600), Ok(0)));
        assert_eq!((bytes("10GiB"), bytes("1B")), (Ok(10 << 30), Ok(1)));
        for wrong in
            ["", "d", "90", "-1d", "1.5d", "90 d", "90D", "99999999999999999999d", "9999999999999999999w"]
        {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        for wrong in ["10", "10GB", "10gib", "18446744073709551615KiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time("2026-11-23").unwrap(), "2026-11-23T00:00:00Z".parse().unwrap());
        assert_eq!(time("2026-11-23T01:00:00+01:00"), time("2026-11-23"));
        for wrong in ["", "2026-11-23T01:00:00", "2026-13-01", "yesterday"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
