//! A settled case: what a case file means once it has been parsed and checked.

use std::fmt;
use std::io;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;

use super::files::Digest;
use super::here::EdgePattern;
use super::list::NamedList;
use super::pattern::Pattern;

/// The id of a case, `[A-Za-z0-9._-]{1,64}`, unique in a policy set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(Arc<str>);

impl CaseId {
    /// Takes a text that is a valid id, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// The id as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a service was ended. The first four are legal bases and need a `[legal]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// A court ordered it.
    CourtOrder,
    /// A regulator ordered it.
    RegulatorOrder,
    /// Sanctions law forbids the service.
    Sanctions,
    /// A copyright notice or ruling.
    Copyright,
    /// Lives are threatened.
    ImminentThreat,
    /// The customer broke the terms of service.
    TermsOfService,
    /// The service was used for abuse.
    Abuse,
    /// The service was used for fraud.
    Fraud,
    /// Bills were not paid.
    NonPayment,
    /// The customer asked for it.
    CustomerRequest,
}

impl Basis {
    /// Every basis, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::CourtOrder,
        Self::RegulatorOrder,
        Self::Sanctions,
        Self::Copyright,
        Self::ImminentThreat,
        Self::TermsOfService,
        Self::Abuse,
        Self::Fraud,
        Self::NonPayment,
        Self::CustomerRequest,
    ];

    /// The word used in case files and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CourtOrder => "court-order",
            Self::RegulatorOrder => "regulator-order",
            Self::Sanctions => "sanctions",
            Self::Copyright => "copyright",
            Self::ImminentThreat => "imminent-threat",
            Self::TermsOfService => "terms-of-service",
            Self::Abuse => "abuse",
            Self::Fraud => "fraud",
            Self::NonPayment => "non-payment",
            Self::CustomerRequest => "customer-request",
        }
    }

    /// Whether the law, not the company, decided: status 451 and a `[legal]` table.
    #[must_use]
    pub const fn is_legal(self) -> bool {
        matches!(self, Self::CourtOrder | Self::RegulatorOrder | Self::Sanctions | Self::Copyright)
    }
}

/// What happens to a request of a blocked subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Answer with a block page.
    Page,
    /// Give no answer: close the connection or reset the stream.
    Refuse,
}

impl Action {
    /// The word used in case files and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Refuse => "refuse",
        }
    }
}

/// Whether a case is carried out or only watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Decide, record and act.
    Enforce,
    /// Decide and record, but let through.
    Shadow,
}

impl Mode {
    /// The word used in case files and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// Who ordered a block by law, and where it holds (RFC 7725 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legal {
    /// The court, regulator or rights holder.
    pub authority: String,
    /// Its reference number.
    pub reference: String,
    /// Where the order can be read; an absolute `http` or `https` URL.
    pub url: Option<String>,
    /// Only clients in these networks are concerned; empty means everyone.
    pub territory: Vec<IpNet>,
}

/// Clients that a case lets through, each one recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// The networks of these clients.
    pub clients: Vec<IpNet>,
    /// Why they are let through.
    pub reason: String,
    /// When this ends by itself.
    pub expires: Option<Timestamp>,
}

/// One decision about one customer, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The id, unique in its set.
    pub id: CaseId,
    /// The customer, in the operator's own words.
    pub customer: String,
    /// Why.
    pub basis: Basis,
    /// When it was decided.
    pub decided: Timestamp,
    /// Who decided.
    pub decided_by: Vec<String>,
    /// Internal text: audit and tools only, never shown to a visitor.
    pub summary: String,
    /// Public text, shown on the block page.
    pub statement: String,
    /// What happens.
    pub action: Action,
    /// The HTTP status of the page: 403, 410 or 451.
    pub status: u16,
    /// Whether it is carried out.
    pub mode: Mode,
    /// In force from here on (inclusive); from the start when absent.
    pub effective: Option<Timestamp>,
    /// In force until here (exclusive); without end when absent.
    pub expires: Option<Timestamp>,
    /// When it is to be looked at again.
    pub review: Option<Date>,
    /// The names it concerns, as its file says; more are in its lists.
    pub hosts: Vec<Pattern>,
    /// The lists of further names.
    pub lists: Vec<NamedList>,
    /// Names it never touches.
    pub except: Vec<Pattern>,
    /// Networks no upstream connection may lead into.
    pub origins: Vec<IpNet>,
    /// The name of its block page: `pages/NAME.html`.
    pub page: String,
    /// The order behind it, when the basis is a legal one.
    pub legal: Option<Legal>,
    /// Clients let through.
    pub exempt: Vec<Exemption>,
    /// The edges it is carried out on; empty means every one.
    pub edges: Vec<EdgePattern>,
}

impl Case {
    /// How many host patterns it has, those of its lists included and doubles counted.
    #[must_use]
    pub fn pattern_count(&self) -> usize {
        self.hosts.len() + self.lists.iter().map(|named| named.list.entries).sum::<usize>()
    }

    /// Calls `each` with every host pattern, those of its lists included.
    ///
    /// # Errors
    /// When the names of a list are not at hand any more: they are while a set is being read, until it is compiled.
    pub fn for_each_pattern(&self, mut each: impl FnMut(Pattern)) -> io::Result<()> {
        self.hosts.iter().cloned().for_each(&mut each);
        for named in &self.lists {
            let gone = || io::Error::other(format!("the names of `{}` are not at hand", named.list.path));
            named.list.names().ok_or_else(gone)?.for_each(&mut each)?;
        }
        Ok(())
    }

    /// The digest of all its names: it changes when they do, and with nothing else of the case.
    pub(super) fn names_digest(&self) -> Digest {
        let mut hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.sort_unstable();
        let mut lists: Vec<Digest> = self.lists.iter().map(|named| named.list.digest).collect();
        lists.sort_unstable();
        let mut all = hosts.join("\n").into_bytes();
        all.push(0);
        lists.iter().for_each(|digest| all.extend(digest.as_bytes()));
        Digest::of(&all)
    }

    /// Whether the case is in force at `now`: `effective <= now < expires`.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.effective.is_none_or(|start| start <= now) && self.expires.is_none_or(|end| now < end)
    }
}
