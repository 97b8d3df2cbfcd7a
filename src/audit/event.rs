//! What is recorded: the words callers speak to the audit log.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde_json::{Map, Value};

use super::id::EventId;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What kind of event a record tells of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in the record's `kind` field.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

kinds! {
    /// A request was answered as a case says, or closed without an answer.
    RequestBlocked = "request.blocked",
    /// A case in shadow mode matched; the request went through.
    RequestShadowed = "request.shadowed",
    /// A case matched, its exemption let the client through.
    RequestExempted = "request.exempted",
    /// A TLS handshake was refused for its server name.
    HandshakeRefused = "handshake.refused",
    /// A connection into a case's origin networks was not opened.
    UpstreamRefused = "upstream.refused",
    /// A live connection or stream was ended because its host became blocked.
    ConnectionCut = "connection.cut",
    /// A policy set came into force.
    PolicyApplied = "policy.applied",
    /// A policy set had errors and was refused whole.
    PolicyRejected = "policy.rejected",
    /// A scheduled case started.
    CaseEffective = "case.effective",
    /// A case ended by itself.
    CaseExpired = "case.expired",
    /// This edge started.
    EdgeStarted = "edge.started",
    /// This edge stopped in order.
    EdgeStopped = "edge.stopped",
    /// Events could not be written; the record counts them.
    AuditGap = "audit.gap",
    /// Records were put on hold.
    HoldPlaced = "hold.placed",
    /// A hold was released.
    HoldReleased = "hold.released",
    /// Old segments were removed by retention.
    AuditPruned = "audit.pruned",
    /// An exemption ended by itself.
    ExemptionExpired = "exemption.expired",
    /// The day on which a case was to be looked at again has passed.
    ReviewOverdue = "review.overdue",
}

impl Kind {
    /// The fields that a record of this kind has besides `id`, `seq`, `time`, `edge` and `kind`.
    #[must_use]
    pub const fn required(self) -> &'static [&'static str] {
        match self {
            Self::RequestBlocked | Self::RequestShadowed | Self::RequestExempted => &[
                "case", "customer", "basis", "action", "names", "matched", "method", "client", "listener",
                "protocol", "revision",
            ],
            Self::UpstreamRefused => &[
                "case", "customer", "basis", "action", "matched", "client", "listener", "revision",
                "upstream",
            ],
            Self::HandshakeRefused | Self::ConnectionCut => {
                &["case", "customer", "basis", "action", "matched", "client", "listener", "revision"]
            }
            Self::AuditGap => &["missed", "counts", "first", "last"],
            _ => &[],
        }
    }
}

impl Kind {
    /// Whether the client of an enforced case gets an answer with this kind of event: a handshake that is refused and
    /// a connection that is cut end without one.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        !matches!(self, Self::HandshakeRefused | Self::ConnectionCut)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of event")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or_else(|| UnknownKind(text.chars().take(64).collect()))
    }
}

/// One event, borrowed from whoever saw it; [`super::Audit::record`] copies what it needs.
///
/// Texts over their limit are cut and end with `…`; empty texts and a revision of 0 are not written.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// The revision of the policy set in force; 0 when there is none yet.
    pub revision: u64,
    /// The case behind it, for every kind of enforcement.
    pub enforcement: Option<Enforcement<'a>>,
    /// What the client asked, for every kind that has a client.
    pub request: Option<RequestFacts<'a>>,
    /// Fields of this kind only, written flat at the end; a key that a record has already gets a leading `_`.
    pub detail: Option<&'a Map<String, Value>>,
}

/// The case that was enforced, and how.
#[derive(Debug, Clone, Copy)]
pub struct Enforcement<'a> {
    /// The case's id.
    pub case: &'a str,
    /// The customer it is about.
    pub customer: &'a str,
    /// Its basis, in the words of a case file.
    pub basis: &'a str,
    /// `page` or `refuse`.
    pub action: &'a str,
    /// The HTTP status of the answer; none when there was no answer.
    pub status: Option<u16>,
    /// The pattern or network that matched.
    pub matched: &'a str,
    /// Ids of the other cases that matched.
    pub also: &'a [&'a str],
}

/// What is known of the request. Bytes are as they came from the client: the audit log bounds and escapes them.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The canonical host, empty when there is none.
    pub host: &'a str,
    /// Every name seen, raw: `Host`, `:authority`, the authority of an absolute-form target, the SNI.
    pub names: &'a [&'a [u8]],
    /// The method, empty when there is none.
    pub method: &'a str,
    /// The path or the whole target: cut at the first `?` or `#`, scheme and authority left out.
    pub path: &'a [u8],
    /// The client; it enters a record only as the configured [`super::ClientPrivacy`] allows.
    pub client: IpAddr,
    /// The listener's address or name.
    pub listener: &'a str,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`, or empty.
    pub protocol: &'a str,
    /// The TLS version, when there is TLS.
    pub tls: Option<&'a str>,
    /// The `user-agent` field, raw.
    pub user_agent: Option<&'a [u8]>,
    /// The origin's address, for `upstream.refused`.
    pub upstream: Option<SocketAddr>,
}

/// Proof that an event went through the audit log before its effect; only [`super::Audit`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an enforcement action shows its receipt"]
pub struct Receipt {
    id: EventId,
    recorded: bool,
}

impl Receipt {
    pub(super) fn recorded(id: EventId) -> Self {
        Self { id, recorded: true }
    }

    pub(super) fn missed(id: EventId) -> Self {
        Self { id, recorded: false }
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Whether the record is in the journal; if not, the event is counted in the gap.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }
}

#[cfg(test)]
impl Receipt {
    /// A receipt for tests of what may only be done with one.
    pub(crate) fn for_test(id: u128) -> Self {
        Self::recorded(EventId::from_u128(id))
    }
}
