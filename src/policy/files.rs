//! A policy directory in memory. (Stub: the shapes the other modules code against.)

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The files of a policy directory by relative path.
#[derive(Debug, Clone, Default)]
pub struct PolicyFiles {
    /// Path with `/` between its parts, and content.
    pub files: BTreeMap<String, Arc<[u8]>>,
}

/// SHA-256 of a policy set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
