//! Texts that many records share, made once.

use hashbrown::HashMap;
use jiff::Timestamp;

use super::privacy::ClientText;

/// Clients whose text is kept: when there are more, all are forgotten.
const CLIENTS: usize = 1024;

/// The second and the clients that were written last, as texts; and what the record before was about, as it is in most
/// records of a flood.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    second: Option<i64>,
    time: String,
    clients: HashMap<[u8; 18], Box<[u8]>>,
    terms: Made<Option<u16>>,
    subject: Made<()>,
}

/// A text, and the bytes and the value that it was made of.
#[derive(Debug, Default)]
struct Made<V> {
    of: Option<(Vec<u8>, V)>,
    text: Vec<u8>,
}

impl<V: PartialEq> Made<V> {
    fn text(&mut self, bytes: &[u8], value: V, make: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        match &mut self.of {
            Some((known, of)) if known == bytes && *of == value => {}
            of => {
                let mut known = of.take().map(|(known, _)| known).unwrap_or_default();
                known.clear();
                known.extend_from_slice(bytes);
                *of = Some((known, value));
                self.text.clear();
                make(&mut self.text);
            }
        }
        &self.text
    }
}

impl Repeated {
    /// `now` as records show it: RFC 3339 in UTC with six fractional digits. Moments before 1970 are shown as its start.
    pub(super) fn time(&mut self, now: Timestamp) -> &str {
        use std::fmt::Write;
        let now = now.max(Timestamp::UNIX_EPOCH);
        if self.second != Some(now.as_second()) {
            self.second = Some(now.as_second());
            self.time.clear();
            // Writing into a text cannot fail.
            write!(self.time, "{:.0}", now).ok();
            self.time.pop();
        }
        self.time.truncate(19);
        self.time.push('.');
        let micros = now.subsec_microsecond().unsigned_abs();
        for place in [100_000, 10_000, 1_000, 100, 10, 1] {
            self.time.push(char::from(b'0' + (micros / place % 10) as u8));
        }
        self.time.push('Z');
        &self.time
    }

    /// The fields that `make` writes of a decision with these terms and status.
    pub(super) fn terms(
        &mut self,
        terms: &[u8],
        status: Option<u16>,
        make: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        self.terms.text(terms, status, make)
    }

    /// The fields that `make` writes of a host and its names.
    pub(super) fn subject(&mut self, subject: &[u8], make: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.subject.text(subject, (), make)
    }

    /// A client as a JSON string.
    pub(super) fn client(&mut self, client: ClientText) -> &[u8] {
        let key = client.to_bytes();
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&key) {
            self.clients.clear();
        }
        self.clients.entry(key).or_insert_with(|| format!("\"{client}\"").into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_six_digits_and_none_is_before_1970() {
        let mut repeated = Repeated::default();
        for (time, expected) in [
            ("2026-11-20T22:30:00.0000429Z", "2026-11-20T22:30:00.000042Z"),
            ("2026-11-20T22:30:00.999999999Z", "2026-11-20T22:30:00.999999Z"),
            ("2026-11-20T22:30:00Z", "2026-11-20T22:30:00.000000Z"),
            ("2026-11-20T22:30:01.12Z", "2026-11-20T22:30:01.120000Z"),
            ("1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(repeated.time(time.parse().unwrap()), expected);
        }
    }

    #[test]
    fn every_client_has_its_own_text_however_many_there_are() {
        let mut repeated = Repeated::default();
        for round in 0..3 {
            for last in 0..2 * CLIENTS {
                let text = match last % 3 {
                    0 => format!("2001:db8::{last:x}"),
                    1 => format!("2001:db8:{last:x}::/48"),
                    _ => format!("10.0.{}.{}", last / 256, last % 256),
                };
                let client: ClientText = text.parse().unwrap();
                assert_eq!(repeated.client(client), format!("\"{client}\"").as_bytes(), "{round}");
            }
            assert!(repeated.clients.len() <= CLIENTS);
        }
    }

    #[test]
    fn clients_that_differ_in_one_thing_are_not_taken_for_each_other() {
        let mut repeated = Repeated::default();
        for text in [
            "10.0.0.1",
            "11.0.0.1",
            "10.1.0.1",
            "10.0.0.2",
            "10.0.0.0",
            "10.0.0.0/8",
            "10.0.0.0/24",
            // The same octets, as those of an IPv6 address.
            "a00:1::",
            "a00::",
            "a00::/24",
            "a00::1",
            "0.0.0.0",
            "::",
        ] {
            assert_eq!(repeated.client(text.parse().unwrap()), format!("\"{text}\"").as_bytes());
        }
    }
}
