//! Says "surely not here" of nearly every name that is not listed, before anything is searched.

use std::hash::{BuildHasher, Hasher};

use fastbloom::BloomFilter;

/// Nine bits a name and six probes let 1.3 % of the names that are not listed through, for the names themselves to
/// say no. A name takes nine to eleven octets and a half in the map beside it.
const BITS_A_NAME: u64 = 9;
const PROBES: u32 = 6;

/// The filter is given hashes, and never hashes anything itself.
#[derive(Debug, Clone, Copy, Default)]
struct HashesComeFromOutside(u64);

impl BuildHasher for HashesComeFromOutside {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for HashesComeFromOutside {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {}
}

/// A Bloom filter over the hashes of names. Which bits a hash sets is what the crate `fastbloom` 0.17 derives from it;
/// a test holds it, since images on disk depend on it.
#[derive(Debug)]
pub(super) struct Filter(BloomFilter<HashesComeFromOutside>);

impl Filter {
    /// An empty filter for this many names.
    pub(super) fn with_room(names: u64) -> Self {
        let bits = usize::try_from(names.saturating_mul(BITS_A_NAME)).unwrap_or(usize::MAX).max(64);
        Self(BloomFilter::with_num_bits(bits).hasher(HashesComeFromOutside::default()).hashes(PROBES))
    }

    /// The filter with these bits; there is at least one word of them.
    pub(super) fn from_words(words: Vec<u64>) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        Some(Self(BloomFilter::from_vec(words).hasher(HashesComeFromOutside::default()).hashes(PROBES)))
    }

    pub(super) fn insert(&mut self, hash: u64) {
        self.0.insert_hash(hash);
    }

    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.0.contains_hash(hash)
    }

    pub(super) fn words(&self) -> &[u64] {
        self.0.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::names::hash::of_reversed;

    fn names(from: u32, to: u32) -> impl Iterator<Item = u64> {
        (from..to).map(|number| of_reversed(format!("elpmaxe.{number}").as_bytes()))
    }

    #[test]
    fn what_is_in_it_is_never_denied_and_what_is_not_rarely_let_through() {
        let mut filter = Filter::with_room(20_000);
        names(0, 20_000).for_each(|hash| filter.insert(hash));
        let again = Filter::from_words(filter.words().to_vec()).unwrap();
        assert!(names(0, 20_000).all(|hash| filter.may_hold(hash) && again.may_hold(hash)));
        let through = names(20_000, 120_000).filter(|hash| again.may_hold(*hash)).count();
        assert!(through < 2_500, "{through} of 100,000");
    }

    #[test]
    fn a_hash_sets_the_bits_it_has_always_set() {
        let mut filter = Filter::with_room(0);
        [1, 0x0123_4567_89ab_cdef, u64::MAX].into_iter().for_each(|hash| filter.insert(hash));
        assert_eq!(filter.words(), [PINNED], "{:#018x}", filter.words()[0]);
    }

    const PINNED: u64 = 10_421_479_096_550_687_755;
}
