//! Why a request cannot be told a host.

use std::fmt;

use super::{Hostname, HostnameError};

/// A place in a request that names a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The request-target of HTTP/1 in absolute or authority form.
    Target,
    /// The `:authority` pseudo-header field of HTTP/2.
    Authority,
    /// The `Host` field.
    Host,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "the request-target",
            Self::Authority => "`:authority`",
            Self::Host => "`Host`",
        })
    }
}

/// Why a request cannot be told a host. All of them mean status 400 and the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// No `Host` field, and in HTTP/2 no `:authority` either.
    #[error("the request names no host")]
    Missing,
    /// More than one `Host` field.
    #[error("the request has {fields} `Host` fields")]
    Repeated {
        /// How many there are.
        fields: usize,
    },
    /// A place that names a host names none that can be read.
    #[error("{place}: {error}")]
    Unreadable {
        /// Which place.
        place: Place,
        /// What is wrong with it.
        error: HostnameError,
    },
    /// Two places name different hosts.
    #[error("{one} names `{host}`, but {two} names `{other}`")]
    Mismatch {
        /// The place that would decide.
        one: Place,
        /// The host it names.
        host: Hostname,
        /// The place that contradicts it.
        two: Place,
        /// The host that one names.
        other: Hostname,
    },
    /// A request-target in none of the four forms of RFC 9112 §3.2, or in one that its method does not have.
    #[error("the request-target has none of the forms its method may have")]
    TargetForm,
    /// An absolute-form target whose scheme is neither `http` nor `https`.
    #[error("the scheme of the request-target is neither `http` nor `https`")]
    Scheme,
    /// `CONNECT` to a host without a port (RFC 9110 §9.3.6).
    #[error("the target of a tunnel has no port")]
    TunnelWithoutPort,
}

impl IdentifyError {
    /// A short word for counters, the same for every error of a kind.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated { .. } => "repeated",
            Self::Unreadable { .. } => "unreadable",
            Self::Mismatch { .. } => "mismatch",
            Self::TargetForm => "target-form",
            Self::Scheme => "scheme",
            Self::TunnelWithoutPort => "tunnel-without-port",
        }
    }
}
