//! The client of a record, revealed.

use std::{borrow::Cow, net::IpAddr};

use jiff::Timestamp;
use serde::Deserialize;

use super::{ClientText, RevealError, Revealer};
use crate::audit::{EventId, Problem};

/// What one record says of its client.
#[derive(Debug)]
pub struct Revealed {
    /// The record's id.
    pub id: EventId,
    /// Its time.
    pub time: Timestamp,
    /// Its case, if it has one.
    pub case: Option<String>,
    /// The client as it stands in the record.
    pub client: String,
    /// Who it was, or why nobody can tell.
    pub address: Result<IpAddr, RevealError>,
}

#[derive(Deserialize)]
struct Facts<'a> {
    seq: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    time: Timestamp,
    #[serde(borrow)]
    case: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
}

impl Revealer {
    /// Reveals the client of a record, given as its line; none when it has no client. An address that was recorded
    /// as it is comes back as it is.
    ///
    /// # Errors
    /// When the line is no record.
    pub fn record(&mut self, line: &[u8]) -> Result<Option<Revealed>, Problem> {
        let none = |seq, what: &str| Problem::Record { seq, what: what.to_owned() };
        let facts: Facts<'_> =
            serde_json::from_slice(line).map_err(|_| none(0, "the line is not a record"))?;
        let Some(client) = facts.client else { return Ok(None) };
        let id = facts.id.parse().map_err(|_| none(facts.seq, "its id is none"))?;
        let text: ClientText = client.parse().map_err(|_| none(facts.seq, "its client is no address"))?;
        let address = match (text.address(), self.reveal(text, facts.time)) {
            (Some(whole @ IpAddr::V4(_)), _) => Ok(whole),
            (_, outcome) => outcome,
        };
        let case = facts.case.map(Cow::into_owned);
        Ok(Some(Revealed { id, time: facts.time, case, client: client.into_owned(), address }))
    }
}
