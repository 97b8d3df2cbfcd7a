//! One pass over a name gives the hash of the name and of each of its parents.
//!
//! A filter is asked for the parents of a host. Taken from the end, eight octets at a time, what is behind a dot is on the
//! way to the name before it, so that a parent costs one more multiplication and never a pass of its own.
//!
//! A hash belongs to its [`Seed`], and each image has its own: nobody outside can tell which names the filter of an edge
//! lets through to be searched for.

use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;

/// Part of what the hashes of an image mean: another function needs another version of the image. Digits of pi and
/// of the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const END: u64 = 0xa409_3822_299f_31d1;
const FINISH: u64 = 0x082e_fa98_ec4e_6c89;

const DOTS: u64 = u64::from_ne_bytes([b'.'; 8]);
const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);

/// What the hashes of one image begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seed(u64);

/// Names of a subject, by how many labels they have: bit 0 stands for one label. No name has more than 127, which leaves
/// the last bit for the subject's own name, whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Depths(u128);

impl Depths {
    pub(super) const OWN: Self = Self(1 << 127);
    pub(super) const ALL: Self = Self(u128::MAX);

    /// A parent of so many labels.
    pub(super) const fn labels(count: u32) -> Self {
        Self(if count == 0 || count > 127 { 0 } else { 1 << (count - 1) })
    }

    /// As many labels as this name has, read in whichever direction.
    pub(super) fn labels_of(name: &[u8]) -> Self {
        let dots = name.iter().filter(|octet| **octet == b'.').count();
        u32::try_from(dots).map_or(Self(0), |dots| Self::labels(dots.saturating_add(1)))
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[inline]
    pub(super) const fn and_if(self, other: Self, condition: bool) -> Self {
        Self(self.0 | if condition { other.0 } else { 0 })
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn to_words(self) -> [u64; 2] {
        // Each half fits.
        [
            u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or_default(),
            u64::try_from(self.0 >> 64).unwrap_or_default(),
        ]
    }

    pub(super) fn from_words([low, high]: [u64; 2]) -> Self {
        Self(u128::from(low) | u128::from(high) << 64)
    }
}

/// All bits of a product, folded into half as many.
const fn folded(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the product")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

impl Seed {
    /// One that nobody can guess.
    pub(super) fn random() -> Self {
        Self(RandomState::new().hash_one(END))
    }

    /// The hash of a name.
    pub(super) fn of(self, name: &[u8]) -> u64 {
        let mut state = self.0;
        let (first, words) = from_the_end(name);
        for word in words {
            state = step(state, word);
        }
        finish(state, first)
    }

    /// Calls `each` with the hash of the host's own name, and with those of its parents that are wanted; an address has
    /// no parents.
    #[inline]
    pub(super) fn of_suffixes(self, host: &Hostname, parents: Depths, mut each: impl FnMut(Depths, u64)) {
        let name = host.as_str().as_bytes();
        let (first, words) = from_the_end(name);
        let mut state = self.0;
        if parents.is_empty() || host.ip().is_some() {
            for word in words {
                state = step(state, word);
            }
            return each(Depths::OWN, finish(state, first));
        }
        let mut labels = 0;
        let mut parents_in = |word: u64, state: u64, dots: u64| {
            let mut dots = dots;
            while dots != 0 {
                // The parent that ends here begins behind the dot; the dot is hashed with it, as the one before the whole
                // name is.
                let unread = dots.leading_zeros();
                labels += 1;
                if parents.has(Depths::labels(labels)) {
                    each(Depths::labels(labels), finish(state, word >> (56 - unread)));
                }
                dots ^= 1 << (63 - unread);
            }
        };
        for word in words {
            parents_in(word, state, dots_in(word));
            state = step(state, word);
        }
        // The dot that was put before the name begins the name itself.
        let own = dots_in(first);
        parents_in(first, state, own & (own.wrapping_sub(1)));
        each(Depths::OWN, finish(state, first));
    }
}

const fn step(state: u64, word: u64) -> u64 {
    folded(state ^ word, STEP)
}

const fn finish(state: u64, word: u64) -> u64 {
    folded(folded(state ^ word, END), FINISH ^ state)
}

/// The highest bit of each octet that is a dot.
const fn dots_in(word: u64) -> u64 {
    let differs = word ^ DOTS;
    !(((differs & LOW_BITS) + LOW_BITS) | differs | LOW_BITS)
}

/// The whole words of a name, the last of them first; and what is left before them, behind a dot that is put there. No
/// octet of a name is zero, so that two names never give the same words.
#[inline]
fn from_the_end(name: &[u8]) -> (u64, impl Iterator<Item = u64> + '_) {
    let (rest, words) = name.as_rchunks::<8>();
    let first = match name.first_chunk::<8>() {
        // The rest has at most seven octets, and begins the name.
        Some(begin) => {
            let bits = 8 * rest.len();
            (u64::from_le_bytes(*begin) & ((1_u64 << bits) - 1)) << 8
        }
        None => rest.iter().rev().fold(0, |word, octet| word << 8 | u64::from(*octet)) << 8,
    };
    (first | u64::from(b'.'), words.iter().rev().map(|word| u64::from_le_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NAMES: [&str; 7] = [
        "a.b.example",
        "example",
        "192.0.2.1",
        "[2001:db8::1]",
        "_x.long-label-of-a-name.co.example",
        "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p",
        "12345678.12345678.1234567.a23456",
    ];

    #[test]
    fn every_parent_has_the_hash_of_itself() {
        for text in NAMES {
            let (host, seed) = (Hostname::parse(text).unwrap(), Seed::random());
            let mut expected = vec![(Depths::OWN, seed.of(text.as_bytes()))];
            for parent in host.suffixes().skip(1) {
                let labels = u32::try_from(parent.split('.').count()).unwrap();
                expected.push((Depths::labels(labels), seed.of(parent.as_bytes())));
            }
            expected.reverse();
            for wanted in [Depths::ALL, Depths::labels(1), Depths::labels(3), Depths::default()] {
                let mut found = Vec::new();
                seed.of_suffixes(&host, wanted, |depth, hash| found.push((depth, hash)));
                let expected: Vec<_> = expected
                    .iter()
                    .copied()
                    .filter(|(depth, _)| *depth == Depths::OWN || wanted.has(*depth))
                    .collect();
                assert_eq!(found, expected, "{text}");
            }
        }
    }

    #[test]
    fn names_that_differ_in_a_little_have_hashes_that_differ_in_half() {
        let seed = Seed::random();
        let mut all = HashSet::new();
        for length in 1..40 {
            for at in 0..length {
                let mut name = vec![b'a'; length];
                all.insert(seed.of(&name));
                name[at] = b'b';
                let differ = (seed.of(&name) ^ seed.of(&vec![b'a'; length])).count_ones();
                assert!((8..=56).contains(&differ), "{differ} bits");
                all.insert(seed.of(&name));
            }
        }
        assert_eq!(all.len(), 39 + 39 * 40 / 2);
        assert_ne!(seed.of(b"a.example"), Seed(seed.0 ^ 1).of(b"a.example"));
    }

    #[test]
    fn a_name_has_the_hash_it_has_always_had() {
        let found: Vec<u64> = NAMES.iter().map(|name| Seed(7).of(name.as_bytes())).collect();
        assert_eq!(found, PINNED, "{found:#018x?}");
    }

    const PINNED: [u64; NAMES.len()] = [
        0xa8471425b40af11e,
        0xd52568503041fb22,
        0xe3da513e2b869791,
        0xc2a38c010a8788ef,
        0x32bdcc9ce1dd02c9,
        0x147347d416a3c0e7,
        0x38a6c8bd4e206aa4,
    ];

    #[test]
    fn a_name_of_as_many_labels_as_there_can_be_has_all_its_parents() {
        let host = Hostname::parse(&["a"; 127].join(".")).unwrap();
        let mut found = Depths::default();
        let mut count = 0;
        Seed::random().of_suffixes(&host, Depths::ALL, |depth, _| {
            found = found.and(depth);
            count += 1;
        });
        assert_eq!(count, 127);
        assert!(found.has(Depths::OWN) && found.has(Depths::labels(126)) && !found.has(Depths::labels(127)));
        assert_eq!(Depths::from_words(found.to_words()), found);
    }
}
