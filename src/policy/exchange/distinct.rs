//! Patterns in the order they came, each once.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::policy::Pattern;

/// Patterns in the order they came, each once. A pattern is held once and found by its number, since lists have
/// millions of them.
#[derive(Debug, Default)]
pub struct Distinct {
    patterns: Vec<Pattern>,
    /// Positions in `patterns`, by the hash of the pattern.
    seen: HashTable<u32>,
    hasher: RandomState,
}

impl Distinct {
    /// Takes a pattern; false when it is there already.
    pub fn insert(&mut self, pattern: Pattern) -> bool {
        let Self { patterns, seen, hasher } = self;
        let hash = hasher.hash_one(&pattern);
        let at = |number: &u32| usize::try_from(*number).ok().and_then(|at| patterns.get(at));
        if seen.find(hash, |number| at(number) == Some(&pattern)).is_some() {
            return false;
        }
        // Lists are bounded far below 2^32 patterns, and one over it would only be kept twice.
        let number = u32::try_from(patterns.len()).unwrap_or(u32::MAX);
        seen.insert_unique(hash, number, |number| at(number).map_or(0, |known| hasher.hash_one(known)));
        patterns.push(pattern);
        true
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns, in the order they came.
    #[must_use]
    pub fn into_patterns(self) -> Vec<Pattern> {
        self.patterns
    }
}
