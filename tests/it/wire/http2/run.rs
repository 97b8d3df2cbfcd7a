//! A case, carried out against a peer.

use super::hpack;
use super::link::{self, Event, Frame, Link};
use super::notation::{Accepted, Case, Count, Piece, Step, Value};

/// What the requests of a case are about.
#[derive(Clone, Copy)]
pub struct About {
    pub host: &'static str,
    pub scheme: &'static str,
    /// The status of its answers.
    pub status: u16,
}

/// Does what the case says, and says what was wrong.
pub fn run(case: &Case, link: &mut Link, about: About) -> Result<(), String> {
    // What is sent without waiting goes out at once, so that a case is the same on every machine.
    let mut unsent = Vec::new();
    for step in &case.steps {
        match step {
            Step::Begin => link.begin()?,
            Step::Raw(octets) => unsent.extend_from_slice(octets),
            Step::Await(awaited) => {
                link.send(&std::mem::take(&mut unsent));
                expect(link, std::slice::from_ref(awaited), about)?;
            }
            Step::Send { is_flood, kind, stream, flags, payload } => {
                let payload = render(payload, link, about);
                let more = if *is_flood { link.streams.ok_or("no limit of streams")? } else { 0 };
                for index in 0..=more {
                    unsent.extend(link::frame(*kind, *flags, stream + 2 * index, &payload));
                }
            }
        }
    }
    link.send(&unsent);
    expect(link, &case.accepted, about)
}

fn render(pieces: &[Piece], link: &Link, about: About) -> Vec<u8> {
    let (mut octets, mut padding) = (Vec::new(), 0);
    for piece in pieces {
        match piece {
            Piece::Octets(some) => octets.extend_from_slice(some),
            Piece::Repeated(Count::Exactly(count), some) => octets.extend(some.repeat(*count)),
            Piece::Repeated(Count::Frame(more), some) => octets.extend(some.repeat(link.frame + more)),
            Piece::Host => octets.extend_from_slice(about.host.as_bytes()),
            Piece::Padding(length) => {
                octets.push(*length);
                padding = usize::from(*length);
            }
            Piece::Request(method, range) => {
                let block = request(method, about);
                octets.extend_from_slice(&block[range.start..range.end.min(block.len())]);
            }
            Piece::Field(name, value) => octets.extend(match value {
                Value::Text(text) => hpack::field(name, text),
                Value::Repeated(count, text) => hpack::field(name, &text.repeat(*count)),
                Value::Host => hpack::field(name, about.host.as_bytes()),
            }),
        }
    }
    octets.resize(octets.len() + padding, 0);
    octets
}

fn request(method: &str, about: About) -> Vec<u8> {
    let fields = [(":method", method), (":path", "/"), (":scheme", about.scheme), (":authority", about.host)];
    fields.iter().flat_map(|(name, value)| hpack::field(name, value.as_bytes())).collect()
}

/// Waits for something that is accepted. The first frame of a kind that is named decides.
fn expect(link: &mut Link, accepted: &[Accepted], about: About) -> Result<(), String> {
    let mut seen = Vec::new();
    let mut announced = None;
    let wrong = |what: &str, seen: &[String]| Err(format!("{what}, after [{}]", seen.join("; ")));
    loop {
        match link.next() {
            Event::Frame(frame) if accepted.iter().any(|one| one.is_met_by(&frame, about)) => return Ok(()),
            Event::Frame(frame) if accepted.contains(&Accepted::ClosedAfter(frame.go_away())) => {
                announced = Some(Accepted::ClosedAfter(frame.go_away()));
            }
            Event::Frame(frame) if accepted.iter().any(|one| one.is_decided_by(&frame)) => {
                return wrong(&format!("got {frame}"), &seen);
            }
            Event::Frame(frame) => seen.push(frame.to_string()),
            Event::Closed if accepted.contains(announced.as_ref().unwrap_or(&Accepted::Closed)) => {
                return Ok(());
            }
            Event::Closed => return wrong("closed", &seen),
            Event::Silence => return wrong("nothing came in time", &seen),
        }
    }
}

impl Accepted {
    fn is_met_by(&self, frame: &Frame, about: About) -> bool {
        let Frame { kind, stream, payload, .. } = frame;
        let has_status = |status| hpack::has_status(payload, status);
        match self {
            Self::Closed | Self::ClosedAfter(_) => false,
            Self::GoAway(codes) => *kind == link::GOAWAY && codes.contains(&frame.go_away()),
            Self::Reset(on, codes) => {
                *kind == link::RST_STREAM && stream == on && codes.contains(&frame.number(0))
            }
            Self::Settings { ack } => *kind == link::SETTINGS && frame.has_first_flag() == *ack,
            Self::Ping { ack, data } => {
                let is_as_said = data.as_ref().is_none_or(|data| data == payload);
                *kind == link::PING && is_as_said && (frame.has_first_flag() || !ack)
            }
            Self::Data(on, length) => {
                *kind == link::DATA && stream == on && length.is_none_or(|length| length == payload.len())
            }
            Self::Answer(on) => *kind == link::HEADERS && stream == on && has_status(about.status),
            Self::Status(on, status) => *kind == link::HEADERS && stream == on && has_status(*status),
            Self::End(on) => stream == on && ends(frame),
        }
    }

    /// Whether the frame is of the kind that was waited for. That an answer ends before its request says nothing of either
    /// (RFC 9113 §8.1).
    fn is_decided_by(&self, frame: &Frame) -> bool {
        match self {
            Self::Closed | Self::ClosedAfter(_) => false,
            Self::GoAway(_) => frame.kind == link::GOAWAY,
            Self::Reset(..) => frame.kind == link::RST_STREAM && frame.number(0) != 0,
            Self::Settings { .. } => frame.kind == link::SETTINGS,
            Self::Ping { .. } => frame.kind == link::PING,
            Self::Data(..) => frame.kind == link::DATA,
            Self::Answer(_) | Self::Status(..) => frame.kind == link::HEADERS,
            Self::End(on) => frame.kind == link::RST_STREAM && frame.stream == *on,
        }
    }
}

/// Whether the answer is complete.
fn ends(frame: &Frame) -> bool {
    match frame.kind {
        link::DATA | link::HEADERS => frame.has_first_flag(),
        link::RST_STREAM => frame.number(0) == 0,
        _ => false,
    }
}
