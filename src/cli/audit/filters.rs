//! Which records: the options that `search`, `export` and `bundle` share.

use std::net::IpAddr;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::audit::{EventId, Kind, Query};
use crate::hostname::Hostname;

/// Each one that is given must hold.
#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Records of this case.
    #[arg(long, value_name = "CASE")]
    case: Option<String>,
    /// Records of this host, in any spelling.
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Option<String>,
    /// Records of this client, as records show it: an address, a network or a pseudonym.
    #[arg(long, value_name = "CLIENT", value_parser = client)]
    client: Option<String>,
    /// Records of this kind, such as request.blocked; may be given more than once.
    #[arg(long, value_name = "KIND")]
    kind: Vec<Kind>,
    /// The record with this id, which is also the answer's `enforcement-id`.
    #[arg(long, value_name = "ID")]
    id: Option<EventId>,
    /// Records of this time or later: 2026-11-20T22:30:00Z, or a day, which starts at 00:00 UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Records before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

impl Filters {
    pub(super) fn query(&self) -> Query {
        Query {
            case: self.case.clone(),
            host: self.host.clone(),
            client: self.client.clone(),
            kinds: self.kind.clone(),
            id: self.id,
            since: self.since,
            until: self.until,
        }
    }
}

/// The canonical spelling, which is the one in records.
fn host(text: &str) -> Result<String, String> {
    let host = Hostname::parse(text).map_err(|error| error.to_string())?;
    Ok(host.as_str().to_owned())
}

/// An address as records show it; anything else is taken as it is.
#[expect(clippy::unnecessary_wraps, reason = "clap takes no other parser")]
fn client(text: &str) -> Result<String, String> {
    Ok(text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_canonical().to_string()))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<Date>().and_then(|day| day.to_zoned(TimeZone::UTC)).map(|day| day.timestamp());
    text.parse::<Timestamp>().or_else(|error| {
        // A time without an offset is a date to the other parser, which would pass over the time.
        if text.len() == "2026-11-20".len() { day() } else { Err(error) }.map_err(|error| error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_what_records_show() {
        assert_eq!(host("FORUM.example.").as_deref(), Ok("forum.example"));
        assert!(host("a b").is_err());
        for (given, shown) in [
            ("2001:DB8:0::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.0/24"),
        ] {
            assert_eq!(client(given).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn a_day_starts_in_utc_and_a_time_needs_its_offset() {
        let expected: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        assert_eq!(time("2026-11-20"), Ok(expected));
        assert_eq!(time("2026-11-20T01:00:00+01:00"), Ok(expected));
        for text in ["", "yesterday", "2026-11-20T22:30:00", "2026-13-40"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
