//! The `Date` of an answer (RFC 9110 §6.6.1), made once a second by each thread.

use std::cell::Cell;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use pingora::protocols::http::date::get_cached_date;

thread_local! {
    static LAST: Cell<Option<(i64, HeaderValue)>> = const { Cell::new(None) };
}

/// The date of an answer to what was judged at this time: where the record has to be on the disk before, the answer leaves
/// that much later.
pub(super) fn date_of(at: Timestamp) -> HeaderValue {
    let second = at.as_second();
    let date = match LAST.take() {
        Some((known, date)) if known == second => date,
        _ => made(at),
    };
    LAST.set(Some((second, date.clone())));
    date
}

fn made(at: Timestamp) -> HeaderValue {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok();
    // A clock that shows no year of four digits is no clock to go by.
    text.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or_else(get_cached_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_that_of_its_second_whichever_was_asked_for_before() {
        let at = |text: &str| date_of(text.parse().unwrap());
        for _ in 0..2 {
            assert_eq!(at("1994-11-06T08:49:37.9Z"), "Sun, 06 Nov 1994 08:49:37 GMT");
            assert_eq!(at("1994-11-06T08:49:38Z"), "Sun, 06 Nov 1994 08:49:38 GMT");
            assert_eq!(at("2026-12-01T00:00:00Z"), "Tue, 01 Dec 2026 00:00:00 GMT");
        }
        assert_eq!(at("-000001-01-01T00:00:00Z").len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    }
}
