//! HTTP/2 floods: counts the frames a client sends, below the library that reads them.
//!
//! Only the nine octets at the start of each frame are looked at (RFC 9113 §4.1); payloads are stepped over. Whatever
//! costs a client next to nothing and the edge some work has a rate; what a client earns by asking and by being
//! answered, such as giving back its window, is added to it. Pure: bytes and the time come in, a verdict goes out.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::limits;
use crate::rate::{Bucket, Rate};

/// Octets of a frame's head.
const HEAD: usize = 9;
/// Octets of the client connection preface (RFC 9113 §3.4), which comes before the first frame.
const PREFACE: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How many frames of which kind a client may send.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// RST_STREAM a second (CVE-2023-44487, "rapid reset").
    pub resets: u32,
    /// PING, WINDOW_UPDATE, PRIORITY, empty DATA and unknown frames a second, each kind by itself.
    pub control: u32,
    /// Octets of one decoded header list; the encoded ones are bounded by a multiple of it.
    pub header_list: u32,
    /// From the first frame of a header block to its last.
    pub header_timeout: Duration,
}

/// Kinds of frames that have a rate.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Reset,
    Settings,
    Ping,
    WindowUpdate,
    Priority,
    EmptyData,
    Unknown,
}

const KINDS: usize = 7;

/// The client sends more than any that means well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a flood of {0} frames")]
pub(super) struct Flood(pub(super) &'static str);

/// Rung once, from where a connection is read to where it is served.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    flood: OnceLock<Flood>,
    rung: Notify,
}

impl Alarm {
    pub(super) fn ring(&self, flood: Flood) {
        self.flood.get_or_init(|| flood);
        self.rung.notify_one();
    }

    /// Whether the client was found to flood.
    pub(super) fn has_rung(&self) -> bool {
        self.flood.get().is_some()
    }

    /// Returns when the client is found to flood.
    pub(super) async fn heard(&self) -> Flood {
        loop {
            if let Some(flood) = self.flood.get() {
                return *flood;
            }
            self.rung.notified().await;
        }
    }
}

/// A header block that has not ended.
#[derive(Debug, Clone, Copy)]
struct Block {
    began: Instant,
    continuations: u32,
    octets: usize,
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Meter {
    limits: FrameLimits,
    rates: [Rate; KINDS],
    buckets: [Bucket; KINDS],
    /// Octets to step over: what is left of the preface or of a payload.
    skip: u32,
    head: [u8; HEAD],
    /// Octets of the head that have come.
    filled: usize,
    block: Option<Block>,
}

impl Meter {
    pub(super) fn new(limits: FrameLimits) -> Self {
        let seconds = limits::HTTP2_BURST_SECONDS;
        let burst = |rate: u32| Rate::new(rate, rate.saturating_mul(seconds));
        let mut rates = [burst(limits.control); KINDS];
        let (settings, at_once) = limits::HTTP2_SETTINGS;
        for (kind, rate) in
            [(Kind::Reset, burst(limits.resets)), (Kind::Settings, Rate::new(settings, at_once))]
        {
            if let Some(place) = rates.get_mut(kind as usize) {
                *place = rate;
            }
        }
        Self {
            limits,
            rates,
            buckets: [Bucket::default(); KINDS],
            skip: PREFACE,
            head: [0; HEAD],
            filled: 0,
            block: None,
        }
    }

    /// Looks at the next bytes of the connection.
    pub(super) fn see(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        if self.block.is_some_and(|block| now.duration_since(block.began) > self.limits.header_timeout) {
            return Err(Flood("slow CONTINUATION"));
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = bytes.len().min(self.skip as usize);
                // No more than `skip`, which is no more than its type holds.
                self.skip -= step as u32;
                bytes = bytes.get(step..).unwrap_or_default();
                continue;
            }
            let wanted = (HEAD - self.filled).min(bytes.len());
            let (part, rest) = bytes.split_at(wanted);
            if let Some(place) = self.head.get_mut(self.filled..self.filled + wanted) {
                place.copy_from_slice(part);
            }
            self.filled += wanted;
            bytes = rest;
            if self.filled == HEAD {
                self.filled = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    /// Octets went to the client: it may acknowledge them.
    pub(super) fn wrote(&mut self, octets: usize) {
        if octets >= limits::HTTP2_LEAST_ANSWER {
            let count = 1 + octets / limits::HTTP2_EARNED_PER_OCTETS;
            self.earn(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    fn earn(&mut self, count: u32) {
        for kind in [Kind::Ping as usize, Kind::WindowUpdate as usize] {
            if let (Some(bucket), Some(rate)) = (self.buckets.get_mut(kind), self.rates.get(kind)) {
                bucket.earn(rate, count);
            }
        }
    }

    fn take(&mut self, kind: Kind, now: Instant) -> Result<(), Flood> {
        let (Some(bucket), Some(rate)) = (self.buckets.get_mut(kind as usize), self.rates.get(kind as usize))
        else {
            return Ok(());
        };
        if bucket.take(rate, now) { Ok(()) } else { Err(Flood(kind.name())) }
    }

    /// A frame begins.
    fn frame(&mut self, now: Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = length;
        match kind {
            HEADERS => {
                self.earn(limits::HTTP2_EARNED_PER_REQUEST);
                self.block = (flags & END_HEADERS == 0).then_some(Block {
                    began: now,
                    continuations: 0,
                    octets: length as usize,
                });
                Ok(())
            }
            CONTINUATION => self.continuation(length, flags),
            DATA if length > 0 || flags & END_STREAM != 0 => Ok(()),
            DATA => self.take(Kind::EmptyData, now),
            2 => self.take(Kind::Priority, now),
            RST_STREAM => self.take(Kind::Reset, now),
            SETTINGS => self.take(Kind::Settings, now),
            6 => self.take(Kind::Ping, now),
            8 => self.take(Kind::WindowUpdate, now),
            _ => self.take(Kind::Unknown, now),
        }
    }

    fn continuation(&mut self, length: u32, flags: u8) -> Result<(), Flood> {
        // Without a block it is an error that the library ends the connection for.
        let Some(block) = &mut self.block else { return Ok(()) };
        block.continuations += 1;
        block.octets += length as usize;
        let most = (self.limits.header_list as usize).saturating_mul(limits::HTTP2_BLOCK_FACTOR);
        if block.continuations > limits::HTTP2_CONTINUATIONS || block.octets > most {
            return Err(Flood("CONTINUATION"));
        }
        if flags & END_HEADERS != 0 {
            self.block = None;
        }
        Ok(())
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Reset => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::Ping => "PING",
            Self::WindowUpdate => "WINDOW_UPDATE",
            Self::Priority => "PRIORITY",
            Self::EmptyData => "empty DATA",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits =
        FrameLimits { resets: 10, control: 20, header_list: 1000, header_timeout: Duration::from_secs(10) };
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    /// How many of these frames pass before the flood is noticed, of a thousand at one moment.
    fn passed(frame: &[u8]) -> usize {
        let (mut meter, now) = (Meter::new(LIMITS), Instant::now());
        meter.see(PREFACE, now).unwrap();
        (0..1000).take_while(|_| meter.see(frame, now).is_ok()).count()
    }

    #[test]
    fn each_kind_of_cheap_frame_has_its_bound_and_no_other_kind_has() {
        let burst = limits::HTTP2_BURST_SECONDS as usize;
        assert_eq!(passed(&frame(RST_STREAM, 0, &[0; 4])), 10 * burst);
        for (kind, payload) in [(2, 5), (6, 8), (8, 4), (0, 0), (7, 8), (0x42, 3)] {
            assert_eq!(passed(&frame(kind, 0, &vec![0; payload])), 20 * burst, "frame type {kind}");
        }
        assert_eq!(passed(&frame(SETTINGS, 0, &[])), limits::HTTP2_SETTINGS.1 as usize);
        for (kind, flags, payload) in [(DATA, 0, 1), (DATA, END_STREAM, 0), (HEADERS, END_HEADERS, 30)] {
            assert_eq!(passed(&frame(kind, flags, &vec![0; payload])), 1000, "frame type {kind}");
        }
    }

    #[test]
    fn frames_are_told_apart_wherever_reads_split_them() {
        // A payload that looks like frames is none.
        let bait = frame(RST_STREAM, 0, &[0; 4]).repeat(8);
        let mut bytes = PREFACE.to_vec();
        for _ in 0..40 {
            bytes.extend(frame(DATA, 0, &bait));
            bytes.extend(frame(RST_STREAM, 0, &[0; 4]));
        }
        let now = Instant::now();
        for at in 0..bytes.len() {
            let mut meter = Meter::new(LIMITS);
            meter.see(&bytes[..at], now).unwrap();
            meter.see(&bytes[at..], now).unwrap();
            assert!(meter.see(&frame(RST_STREAM, 0, &[0; 4]), now).is_err(), "split at {at}");
        }
        let mut meter = Meter::new(LIMITS);
        bytes.chunks(1).for_each(|octet| meter.see(octet, now).unwrap());
        assert_eq!(meter.see(&frame(RST_STREAM, 0, &[0; 4]), now), Err(Flood("RST_STREAM")));
    }

    #[test]
    fn a_header_block_is_bounded_in_frames_in_octets_and_in_time() {
        let now = Instant::now();
        let begun = || {
            let mut meter = Meter::new(LIMITS);
            meter.see(PREFACE, now).unwrap();
            meter.see(&frame(HEADERS, 0, &[0; 10]), now).unwrap();
            meter
        };
        let of = |payload: usize| frame(CONTINUATION, 0, &vec![0; payload]);
        let mut meter = begun();
        let count = (0..1000).take_while(|_| meter.see(&of(1), now).is_ok()).count();
        assert_eq!(count, limits::HTTP2_CONTINUATIONS as usize);
        let mut meter = begun();
        assert!(meter.see(&of(3990), now).is_ok());
        assert_eq!(meter.see(&of(1), now), Err(Flood("CONTINUATION")));
        let mut meter = begun();
        assert!(meter.see(&of(1), now + Duration::from_secs(9)).is_ok());
        assert!(meter.see(&of(1), now + Duration::from_secs(11)).is_err());
        let mut meter = begun();
        assert!(meter.see(&frame(CONTINUATION, END_HEADERS, &[0; 3990]), now).is_ok());
        assert!(meter.see(&frame(HEADERS, END_HEADERS, &[0; 3990]), now + Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn who_asks_and_who_is_answered_may_acknowledge() {
        let (mut meter, now) = (Meter::new(LIMITS), Instant::now());
        meter.see(PREFACE, now).unwrap();
        for _ in 0..1000 {
            meter.see(&frame(HEADERS, END_HEADERS, &[0; 30]), now).unwrap();
            meter.see(&frame(6, 0, &[0; 8]), now).unwrap();
            meter.wrote(16 * 1024);
            for _ in 0..30 {
                meter.see(&frame(8, 0, &[0; 4]), now).unwrap();
            }
        }
        // An acknowledgement of its own pings earns nothing.
        let mut meter = Meter::new(LIMITS);
        meter.see(PREFACE, now).unwrap();
        let pings = (0..1000).take_while(|_| {
            meter.wrote(HEAD + 8);
            meter.see(&frame(6, 0, &[0; 8]), now).is_ok()
        });
        assert!(pings.count() < 100);
    }
}
