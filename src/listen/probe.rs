//! The parsers of what attackers choose, one by one and without a socket: for the fuzzer, and for the same properties
//! in the tests. Nothing else uses this.
//!
//! Bytes come in pieces, as reads would split them. Whatever the pieces, the outcome has to be the same.

use std::time::{Duration, Instant};

use rustls::server::Acceptor;

use super::frames::{FrameLimits, Meter};
use super::head::{Head, Next, Scan, classify};
use super::preamble;
use super::tls::Hello;

/// What became of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// They are the start of something.
    More,
    /// They are nothing.
    Refused,
    /// They are this.
    Read(T),
}

/// A request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadSeen {
    /// Its octets, with the empty line that ends it.
    pub octets: usize,
    /// The values of its `Host` fields.
    pub hosts: Vec<Vec<u8>>,
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: Vec<u8>,
    /// How much of the connection it takes, as the edge sees it.
    pub budget: String,
}

/// Whose name is in a ClientHello, if there is a name in it.
pub fn client_hello<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Reading<Option<String>> {
    let mut acceptor = Acceptor::default();
    for mut piece in pieces {
        while !piece.is_empty() {
            if acceptor.read_tls(&mut piece).is_err() {
                return Reading::Refused;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = Hello::of(&accepted.client_hello());
                    return hello.map_or(Reading::Refused, |hello| Reading::Read(hello.name()));
                }
                Err(_) => return Reading::Refused,
            }
        }
    }
    Reading::More
}

/// The octets of a PROXY protocol header and the client it names.
pub fn proxy_header<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Reading<(usize, Option<String>)> {
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        match preamble::parse(&buffer) {
            Ok(None) => {}
            Ok(Some(header)) => {
                let client = header.client.map(|client| client.to_string());
                return Reading::Read((header.octets, client));
            }
            Err(_) => return Reading::Refused,
        }
    }
    Reading::More
}

/// A request head of at most `max` octets; `None` for the start of HTTP/2.
pub fn head<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, max: usize) -> Reading<Option<HeadSeen>> {
    let (mut buffer, mut scan) = (Vec::new(), Scan::default());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let octets = match classify(&buffer, &mut scan, max) {
            None => continue,
            Some(Next::Head(octets)) => octets,
            Some(Next::Http2) => return Reading::Read(None),
            Some(_) => return Reading::Refused,
        };
        let bytes = buffer.get(..octets).unwrap_or_default();
        let Ok(head) = Head::parse(bytes, crate::limits::HEADER_FIELDS, None) else {
            return Reading::Refused;
        };
        return Reading::Read(Some(HeadSeen {
            octets,
            hosts: head.hosts.iter().map(|host| host.to_vec()).collect(),
            method: head.method.to_owned(),
            target: head.target.to_vec(),
            budget: format!("{:?}", head.budget),
        }));
    }
    Reading::More
}

/// The flood that is found in the bytes of an HTTP/2 connection, all of which come at one moment; `rate` bounds every
/// kind of frame.
pub fn flood<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, rate: u32) -> Option<&'static str> {
    let header_timeout = Duration::from_secs(10);
    let limits = FrameLimits { resets: rate, control: rate, header_list: 1000, header_timeout };
    let (mut meter, now) = (Meter::new(limits), Instant::now());
    pieces.into_iter().find_map(|piece| meter.see(piece, now).err()).map(|flood| flood.0)
}

mod paths;
#[cfg(test)]
mod tests;

pub use paths::{Conversation, Stage};
