//! Writes patterns in a format, each exactly or not at all.

use super::format::Format;
use super::overlap::Overlap;
use super::reason::Omission;
use super::{adblock, dnsmasq, domains, hosts, rpz};
use crate::policy::Pattern;

/// Writes a list of one format.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    format: Format,
    /// The serial number of a zone (RFC 1035 §3.3.13).
    serial: u32,
}

impl Writer {
    /// A writer; `serial` is that of a zone, which has to grow from one to the next.
    #[must_use]
    pub fn new(format: Format, serial: u32) -> Self {
        Self { format, serial }
    }

    /// The lines before the first pattern, with `remarks` as comments.
    #[must_use]
    pub fn head(&self, remarks: &[String]) -> String {
        let (mark, before, after) = match self.format {
            Format::Hosts | Format::Domains | Format::Dnsmasq => ("#", String::new(), String::new()),
            Format::Adblock => ("!", "[Adblock Plus 2.0]\n".to_owned(), String::new()),
            Format::Rpz => (";", String::new(), rpz::head(self.serial)),
        };
        let remarks: String = remarks.iter().map(|remark| format!("{mark} {remark}\n")).collect();
        format!("{before}{remarks}{after}")
    }

    /// Writes one pattern.
    ///
    /// # Errors
    /// When the format cannot say exactly that; then nothing is written.
    pub fn write(&self, pattern: &Pattern, into: &mut String) -> Result<(), Omission> {
        match self.format {
            Format::Hosts => hosts::write(pattern, into),
            Format::Domains => domains::write(pattern, into),
            Format::Adblock => adblock::write(pattern, into),
            Format::Dnsmasq => dnsmasq::write(pattern, into),
            Format::Rpz => rpz::write(pattern, into),
        }
    }

    /// Leaves out what wider patterns say already, where it would change the meaning of those: in a zone, a name that
    /// is there keeps a wildcard above it from what is below (RFC 4592 §2.2.1).
    #[must_use]
    pub fn without_covered<'p>(&self, mut patterns: Vec<&'p Pattern>) -> Vec<&'p Pattern> {
        if self.format == Format::Rpz {
            let all = Overlap::of(patterns.iter().copied());
            patterns.retain(|pattern| !all.has_wider(pattern));
        }
        patterns
    }
}
