//! Reads a list line by line, in pieces as they come.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::distinct::Distinct;
use super::format::{Format, ImportOptions};
use super::reason::Reason;
use super::{adblock, dnsmasq, domains, hosts, rpz};
use crate::diagnostic::excerpt;
use crate::document::BYTE_ORDER_MARK;
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{Form, Pattern};

/// Names of the machine itself and of its network, as hosts files have them. They say nothing about anybody's site.
const LOCAL: [&str; 15] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
];

/// What came of a list.
#[derive(Debug, Default)]
pub struct Imported {
    /// What it blocks, in its own order, each once.
    pub patterns: Vec<Pattern>,
    /// What it lets pass by an exception, each once.
    pub except: Vec<Pattern>,
    /// Lines, comments and blank ones included.
    pub lines: u64,
    /// Entries that were there already.
    pub doubled: u64,
    /// How many entries were skipped, by reason.
    pub counts: BTreeMap<Reason, u64>,
    /// The first of them of each reason.
    pub skipped: Vec<Skipped>,
}

impl Imported {
    /// How many entries were skipped.
    #[must_use]
    pub fn skipped_count(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// An entry that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The line, from 1.
    pub line: u64,
    /// The entry, cut and escaped.
    pub text: String,
    /// Why.
    pub reason: Reason,
    /// Why exactly; empty when the reason says it all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Reads one list of a format.
#[derive(Debug)]
pub struct Importer {
    reader: Reader,
    taken: Taken,
    /// The start of a line whose end has not come yet.
    carry: Vec<u8>,
}

#[derive(Debug)]
enum Reader {
    Hosts,
    Domains { subdomains: bool },
    Adblock(adblock::Reader),
    Dnsmasq,
    Rpz(Box<rpz::Reader>),
}

impl Importer {
    /// A reader at the start of a list.
    #[must_use]
    pub fn new(format: Format, options: &ImportOptions) -> Self {
        let reader = match format {
            Format::Hosts => Reader::Hosts,
            Format::Domains => Reader::Domains { subdomains: options.subdomains },
            Format::Adblock => Reader::Adblock(adblock::Reader::default()),
            Format::Dnsmasq => Reader::Dnsmasq,
            Format::Rpz => Reader::Rpz(Box::new(rpz::Reader::new(options.zone.as_ref()))),
        };
        let taken = Taken { samples: options.samples, ..Taken::default() };
        Self { reader, taken, carry: Vec::new() }
    }

    /// Reads a whole list at once.
    #[must_use]
    pub fn read(format: Format, options: &ImportOptions, bytes: &[u8]) -> Imported {
        let mut importer = Self::new(format, options);
        importer.feed(bytes);
        importer.finish()
    }

    /// Takes the next piece of the list; it may end anywhere.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((line, after)) =
            memchr::memchr(b'\n', rest).and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?)))
        {
            if self.carry.is_empty() {
                self.line(line);
            } else {
                self.carry_on(line);
                let whole = std::mem::take(&mut self.carry);
                self.line(&whole);
            }
            rest = after;
        }
        self.carry_on(rest);
    }

    /// The list has ended.
    #[must_use]
    pub fn finish(mut self) -> Imported {
        if !self.carry.is_empty() {
            let last = std::mem::take(&mut self.carry);
            self.line(&last);
        }
        if let Reader::Rpz(reader) = &mut self.reader {
            reader.finish(&mut self.taken);
        }
        let Taken { line, patterns, except, off, doubled, counts, skipped, .. } = self.taken;
        let (mut patterns, mut except) = (patterns.into_patterns(), except.into_patterns());
        patterns.retain(|pattern| !off.blocks.contains(pattern));
        except.retain(|pattern| !off.exceptions.contains(pattern));
        if matches!(self.reader, Reader::Rpz(_)) {
            (patterns, except) = (rpz::joined(patterns), rpz::joined(except));
        }
        Imported { patterns, except, lines: line, doubled, counts, skipped }
    }

    /// Keeps the start of a line. Of a line that is too long no more is kept than shows that it is.
    fn carry_on(&mut self, part: &[u8]) {
        let room = (limits::IMPORT_LINE_BYTES + 1).saturating_sub(self.carry.len());
        self.carry.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn line(&mut self, line: &[u8]) {
        self.taken.line += 1;
        let line =
            if self.taken.line == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        // Octets that are no text become characters that no name has, and in a comment nobody minds them.
        let shown = String::from_utf8_lossy(line.get(..limits::IMPORT_LINE_BYTES).unwrap_or(line));
        let text = shown.trim_end_matches('\r');
        let taken = &mut self.taken;
        if line.len() > limits::IMPORT_LINE_BYTES {
            let text = text.trim_start();
            taken.skip(text, Reason::TooLong, format!("more than {} bytes", limits::IMPORT_LINE_BYTES));
            return;
        }
        if text.contains('\r') {
            // What stands behind one is a line of its own to whoever wrote it, and part of this one to us.
            let detail = "a carriage return within the line: its lines end in `\\n` or `\\r\\n`";
            return taken.skip(text, Reason::Malformed, detail);
        }
        match &mut self.reader {
            Reader::Hosts => hosts::line(text, taken),
            Reader::Domains { subdomains } => domains::line(text, *subdomains, taken),
            Reader::Adblock(reader) => reader.line(text, taken),
            Reader::Dnsmasq => dnsmasq::line(text, taken),
            Reader::Rpz(reader) => reader.line(text, taken),
        }
    }
}

/// Rules that other rules of the list switch off, wherever they stand.
#[derive(Debug, Default)]
struct SwitchedOff {
    blocks: HashSet<Pattern>,
    exceptions: HashSet<Pattern>,
}

/// What was taken so far; the readers of the formats put it in.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The line that is being read, from 1.
    pub(super) line: u64,
    patterns: Distinct,
    except: Distinct,
    off: SwitchedOff,
    doubled: u64,
    counts: BTreeMap<Reason, u64>,
    skipped: Vec<Skipped>,
    /// How many skipped entries of each reason are kept.
    samples: usize,
}

impl Taken {
    /// A name that is blocked.
    pub(super) fn block(&mut self, pattern: Pattern, text: &str) {
        if self.patterns.len() >= limits::HOSTS_PER_SET {
            self.skip(text, Reason::TooMany, "");
        } else if !self.patterns.insert(pattern) {
            self.doubled += 1;
        }
    }

    /// A name that is let pass. A list of ours has no place for it, so it counts as skipped as well.
    pub(super) fn except(&mut self, pattern: Pattern, text: &str) {
        self.pass(pattern);
        self.skip(text, Reason::Exception, "");
    }

    /// A name that the list itself does not block, though a wider line of it does. Whoever counts it says why.
    pub(super) fn pass(&mut self, pattern: Pattern) {
        if self.except.len() < limits::HOSTS_PER_SET {
            self.except.insert(pattern);
        }
    }

    /// A rule, or an exception, that does not hold.
    pub(super) fn switch_off(&mut self, pattern: Pattern, is_exception: bool, text: &str) {
        let off = if is_exception { &mut self.off.exceptions } else { &mut self.off.blocks };
        if off.len() < limits::HOSTS_PER_SET {
            off.insert(pattern);
        }
        self.skip(text, Reason::SwitchedOff, "");
    }

    pub(super) fn skip(&mut self, text: &str, reason: Reason, detail: impl Into<String>) {
        self.skip_at(self.line, text, reason, detail);
    }

    /// Skips what began on an earlier line.
    pub(super) fn skip_at(&mut self, line: u64, text: &str, reason: Reason, detail: impl Into<String>) {
        let count = self.counts.entry(reason).or_default();
        *count += 1;
        if usize::try_from(*count).is_ok_and(|count| count <= self.samples) {
            self.skipped.push(Skipped { line, text: excerpt(text.trim()), reason, detail: detail.into() });
        }
    }

    /// Reads a name through the one parser of names; what is none, or none of anybody's site, is skipped.
    pub(super) fn name(&mut self, name: &str, entry: &str) -> Option<Hostname> {
        match Hostname::parse(name) {
            Ok(host) if LOCAL.contains(&host.as_str()) => self.skip(entry, Reason::Local, ""),
            Ok(host) => match host.glued_address() {
                Some((_, rest)) => self.skip(entry, Reason::Glued, format!("perhaps `{rest}`")),
                None => return Some(host),
            },
            Err(error) => self.skip(entry, Reason::NoName, error.to_string()),
        }
        None
    }

    /// Reads a name of the DNS, where an address is none.
    pub(super) fn dns_name(&mut self, name: &str, entry: &str) -> Option<Hostname> {
        let host = self.name(name, entry)?;
        if host.ip().is_some() {
            self.skip(entry, Reason::AddressAsName, "");
            return None;
        }
        Some(host)
    }
}

/// A name and all below it; an address has nothing below it, and is meant alone.
pub(super) fn subtree(name: Hostname) -> Pattern {
    let form = if name.ip().is_some() { Form::Exact } else { Form::Subtree };
    Pattern { form, name }
}
