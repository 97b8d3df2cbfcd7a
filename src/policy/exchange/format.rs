//! The formats, and what a reader of one may be told beforehand.

use crate::hostname::Hostname;

/// A format of lists that others use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `/etc/hosts` with names that lead nowhere: `0.0.0.0 a.example`.
    Hosts,
    /// One pattern a line, as in the lists of a policy directory.
    Domains,
    /// Filter rules of browsers: `||a.example^`.
    Adblock,
    /// The configuration of dnsmasq: `address=/a.example/`.
    Dnsmasq,
    /// A response policy zone, as a master file (RFC 1035 §5): `a.example CNAME .`.
    Rpz,
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Hosts, Self::Domains, Self::Adblock, Self::Dnsmasq, Self::Rpz];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Domains => "domains",
            Self::Adblock => "adblock",
            Self::Dnsmasq => "dnsmasq",
            Self::Rpz => "rpz",
        }
    }

    /// Whether an exception takes names away from every block, as in filter rules. In the formats of name servers
    /// the more specific line wins instead, whether it blocks or lets pass.
    #[must_use]
    pub const fn exceptions_always_win(self) -> bool {
        matches!(self, Self::Adblock)
    }
}

/// What the file itself does not say.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// In a list of domains, each name stands for itself and all below it.
    pub subdomains: bool,
    /// The name of the response policy zone, as in the configuration of its name server.
    pub zone: Option<Hostname>,
    /// How many skipped entries of each reason are kept with their text; the rest is counted.
    pub samples: usize,
}
