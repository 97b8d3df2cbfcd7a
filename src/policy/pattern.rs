//! Host patterns: `a.example`, `.a.example`, `*.a.example`.

use std::fmt;

use crate::hostname::{Hostname, HostnameError};

/// How much a pattern covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `a.example`: that name only.
    Exact,
    /// `.a.example`: the name and all below it.
    Subtree,
    /// `*.a.example`: all below the name, not itself.
    Below,
}

impl Form {
    /// What is written before the name.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::Subtree => ".",
            Self::Below => "*.",
        }
    }
}

/// A host pattern of a case or list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    /// How much it covers.
    pub form: Form,
    /// The name it is built on; for [`Form::Subtree`] and [`Form::Below`] never an IP literal.
    pub name: Hostname,
}

/// Why a text is no host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The name in it is none.
    #[error(transparent)]
    Hostname(#[from] HostnameError),
    /// `.192.0.2.1` and the like.
    #[error("an address has no names below it")]
    AddressSubtree,
}

impl PatternError {
    /// What to write instead, when there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Hostname(error) => error.hint(),
            Self::AddressSubtree => Some("write the address alone".to_owned()),
        }
    }
}

impl Pattern {
    /// Parses one pattern; surrounding blanks are not taken.
    ///
    /// # Errors
    /// When the name in it is none, or names below an address are asked for.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (form, name) = match (text.strip_prefix("*."), text.strip_prefix('.')) {
            (Some(rest), _) => (Form::Below, rest),
            (None, Some(rest)) => (Form::Subtree, rest),
            (None, None) => (Form::Exact, text),
        };
        let name = Hostname::parse(name)?;
        if form != Form::Exact && name.ip().is_some() {
            return Err(PatternError::AddressSubtree);
        }
        Ok(Self { form, name })
    }

    /// Whether this pattern covers `host`. The index answers the same question for a whole set.
    #[must_use]
    pub fn covers(&self, host: &Hostname) -> bool {
        let below = || host.suffixes().skip(1).any(|suffix| suffix == self.name.as_str());
        match self.form {
            Form::Exact => *host == self.name,
            Form::Subtree => *host == self.name || below(),
            Form::Below => below(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.form.prefix(), self.name)
    }
}
