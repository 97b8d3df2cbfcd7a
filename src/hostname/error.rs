//! Why a text is no host, and what to write instead.

use super::{MAX_LABEL_OCTETS, MAX_NAME_OCTETS};

/// The most characters of a refused text that a message repeats.
const EXCERPT_CHARACTERS: usize = 40;

/// Why a text is no host. What is quoted from it is cut and escaped, so that a message stays one short line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Nothing is there, or nothing but a dot.
    #[error("the host is empty")]
    Empty,
    /// The octets are no text.
    #[error("the host is not valid UTF-8")]
    NotUtf8,
    /// The canonical text does not fit a DNS message (RFC 1035 §2.3.4).
    #[error("the name has {octets} octets, at most {MAX_NAME_OCTETS} are allowed")]
    NameTooLong {
        /// The octets without a trailing dot.
        octets: usize,
    },
    /// One label does not fit a DNS message (RFC 1035 §2.3.4).
    #[error("the label `{label}` has {octets} octets, at most {MAX_LABEL_OCTETS} are allowed")]
    LabelTooLong {
        /// How the label begins, as an A-label.
        label: Box<str>,
        /// The octets of the A-label.
        octets: usize,
    },
    /// Two dots in a row, or a dot at the start.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// Something other than a letter, digit, hyphen, underscore or dot.
    #[error("`{}` is not allowed in a host", excerpt(character.encode_utf8(&mut [0; 4])))]
    Character {
        /// The first such character.
        character: char,
    },
    /// `a%2eexample`: some software decodes it, some does not.
    #[error("percent-encoding is not allowed in a host")]
    PercentEncoded,
    /// A label UTS 46 does not allow: unassigned or forbidden characters, broken Punycode, or mixed directions.
    #[error("`{label}` is not a valid internationalized name")]
    Idna {
        /// The label, or the whole name when its labels do not go together.
        label: Box<str>,
    },
    /// `1.2.3`, `256.0.0.1`, `a.0x7f`: a browser takes it for an address, and it is none.
    #[error("a name that ends in the number `{label}` is no address and no name")]
    EndsInNumber {
        /// The last label.
        label: Box<str>,
    },
    /// `010.0.0.1`: octal to some software, decimal to other.
    #[error("the address `{address}` has a number with a leading zero, which may be read as octal")]
    LeadingZero {
        /// The address.
        address: Box<str>,
    },
    /// A colon or bracket, and no IPv6 address.
    #[error("`{text}` is no IPv6 address")]
    Ipv6 {
        /// The text.
        text: Box<str>,
    },
    /// `fe80::1%eth0`: it means something on one machine only (RFC 6874, RFC 9844).
    #[error("an IPv6 address with a zone is no host")]
    Zone,
    /// `2001:db8::1:80` where a port may follow.
    #[error("`{text}` has several colons and no brackets")]
    Unbracketed {
        /// The text.
        text: Box<str>,
    },
    /// `a.example:80` where no port is taken.
    #[error("a port is not a part of a host")]
    Port {
        /// What stands before the port.
        host: Box<str>,
    },
    /// A port that is no number up to 65535.
    #[error("`{port}` is no port")]
    BadPort {
        /// The text after the colon.
        port: Box<str>,
    },
    /// `user@a.example` (RFC 9110 §4.2.4).
    #[error("userinfo is not allowed before a host")]
    Userinfo,
    /// A whole URL.
    #[error("a URL is not a host")]
    Url {
        /// The host in it, unchecked.
        host: Box<str>,
    },
}

impl HostnameError {
    /// What to write instead, for a person who wrote the host into a file or a command line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotUtf8 => "save the file as UTF-8, or write the name in its `xn--` form",
            Self::EmptyLabel => "write one dot between labels and none before the first",
            Self::Character { character } => return hint_for(*character).map(str::to_owned),
            Self::PercentEncoded => "write the characters themselves",
            Self::Idna { label } if label.starts_with("xn--") => {
                "copy the name again: it may have lost a character"
            }
            Self::EndsInNumber { .. } => {
                "an IPv4 address is four numbers from 0 to 255 with dots between them"
            }
            Self::LeadingZero { .. } => "write the numbers of the address without leading zeros",
            Self::Zone => "write the address without `%` and what follows",
            Self::Unbracketed { .. } => "write an IPv6 address in brackets: `[2001:db8::1]:80`",
            Self::Port { host } => return Some(format!("write the host only: `{host}`")),
            Self::BadPort { .. } => "a port is a number from 0 to 65535",
            Self::Userinfo => "write the host only, what follows the `@`",
            Self::Url { host } if !host.is_empty() => return Some(format!("write the host only: `{host}`")),
            Self::Url { .. } => "write the host only",
            Self::Empty
            | Self::NameTooLong { .. }
            | Self::LabelTooLong { .. }
            | Self::Idna { .. }
            | Self::Ipv6 { .. } => return None,
        };
        Some(text.to_owned())
    }
}

/// What a stray character in a host usually means.
fn hint_for(character: char) -> Option<&'static str> {
    match character {
        '/' | '?' => Some("write the host only, without a path"),
        '*' => Some("a wildcard stands alone before the first dot: `*.a.example`"),
        ',' | ';' => Some("write one host at a time"),
        '|' | '^' | '$' => Some("this looks like a filter rule: write the host only"),
        blank if blank.is_whitespace() => Some("write one host at a time, without blanks"),
        _ => None,
    }
}

/// The start of a refused text, fit for a message: cut, and with escapes for what would not show or break the line.
pub(super) fn excerpt(text: &str) -> Box<str> {
    let mut characters = text.chars();
    let mut shown = String::new();
    for character in characters.by_ref().take(EXCERPT_CHARACTERS) {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown.into()
}
