//! One HTTP/2 connection, frame by frame, with a bound in time on everything.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::notation::CODES;
use crate::harness::PATIENCE;
use crate::harness::tls::Wire;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

/// END_STREAM, and ACK.
pub const FIRST_FLAG: u8 = 1;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came (RFC 9113 §4.1).
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The four octets from `at` on, or zero when they are not there.
    pub fn number(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).map_or(0, |octets| u32::from_be_bytes(octets.try_into().unwrap()))
    }

    /// The code of a GOAWAY; of any other frame one that no case names.
    pub fn go_away(&self) -> u32 {
        if self.kind == GOAWAY { self.number(4) } else { u32::MAX }
    }

    /// Whether END_STREAM, or ACK, is set.
    pub fn has_first_flag(&self) -> bool {
        self.flags & FIRST_FLAG != 0
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = |at| CODES.get(self.number(at) as usize).copied().unwrap_or("an unknown code");
        match self.kind {
            GOAWAY => write!(f, "GOAWAY {}", code(4)),
            RST_STREAM => write!(f, "RST_STREAM {} {}", self.stream, code(0)),
            kind => {
                let Self { flags, stream, payload, .. } = self;
                write!(
                    f,
                    "type {kind} flags {flags:#x} stream {stream} {:02x?}",
                    &payload[..payload.len().min(16)]
                )
            }
        }
    }
}

/// What came next.
pub enum Event {
    Frame(Frame),
    Closed,
    /// Nothing, and the time is up.
    Silence,
}

/// The client's end.
pub struct Link {
    wire: Wire,
    unread: Vec<u8>,
    deadline: Instant,
    /// The longest payload that the peer takes.
    pub frame: usize,
    /// How many streams the peer takes at a time.
    pub streams: Option<u32>,
    /// The identifiers of all settings that the peer has sent.
    pub settings: Vec<u16>,
}

impl Link {
    /// Over a connection that is there; from now on `patience` is the time for everything.
    pub fn over(wire: Wire, patience: Duration) -> Self {
        wire.socket().set_nodelay(true).unwrap();
        wire.socket().set_write_timeout(Some(patience)).unwrap();
        let deadline = Instant::now() + patience;
        Self { wire, unread: Vec::new(), deadline, frame: 16_384, streams: None, settings: Vec::new() }
    }

    /// In cleartext, to an edge that means well.
    #[track_caller]
    pub fn begun(address: SocketAddr) -> Self {
        let mut link = Self::over(Wire::Plain(TcpStream::connect(address).unwrap()), PATIENCE);
        link.begin().unwrap();
        link
    }

    /// Sends octets. A peer that has closed already is noticed when reading.
    pub fn send(&mut self, octets: &[u8]) {
        self.wire.write_all(octets).and_then(|()| self.wire.flush()).ok();
    }

    /// Exchanges prefaces and settings, and waits for the acknowledgement of ours (RFC 9113 §3.4).
    pub fn begin(&mut self) -> Result<(), String> {
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
        self.send(&[PREFACE, &settings].concat());
        let (mut theirs, mut ours) = (false, false);
        while !(theirs && ours) {
            match self.next() {
                Event::Frame(frame) if frame.kind == SETTINGS && frame.has_first_flag() => ours = true,
                Event::Frame(frame) if frame.kind == SETTINGS => {
                    theirs = true;
                    self.take_settings(&frame);
                }
                Event::Frame(_) => {}
                Event::Closed => return Err("closed instead of a beginning".to_owned()),
                Event::Silence => return Err("no beginning in time".to_owned()),
            }
        }
        self.send(&frame(SETTINGS, FIRST_FLAG, 0, &[]));
        Ok(())
    }

    fn take_settings(&mut self, frame: &Frame) {
        for (index, setting) in frame.payload.chunks(6).enumerate() {
            let value = frame.number(6 * index + 2);
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            match id {
                3 => self.streams = Some(value),
                5 => self.frame = value as usize,
                _ => {}
            }
            self.settings.push(id);
        }
    }

    /// The next HEADERS or RST_STREAM, whichever comes first: how the edge has received a request.
    #[track_caller]
    pub fn reply(&mut self) -> Frame {
        loop {
            match self.next() {
                Event::Frame(frame) if matches!(frame.kind, HEADERS | RST_STREAM) => return frame,
                Event::Frame(frame) => assert_ne!(frame.kind, GOAWAY, "{frame}"),
                Event::Closed => panic!("the connection was closed"),
                Event::Silence => panic!("no reply in time"),
            }
        }
    }

    /// The next frame.
    pub fn next(&mut self) -> Event {
        loop {
            if let Some(frame) = self.buffered() {
                return Event::Frame(frame);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Event::Silence;
            }
            self.wire.socket().set_read_timeout(Some(left)).unwrap();
            let mut block = [0; 16 * 1024];
            match self.wire.read(&mut block) {
                Ok(0) => return Event::Closed,
                Ok(count) => self.unread.extend_from_slice(&block[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Event::Closed,
            }
        }
    }

    fn buffered(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.unread.get(..9)?.try_into().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

/// The octets of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}
