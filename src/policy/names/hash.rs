//! One pass over a name gives the hash of the name and of each of its parents.
//!
//! A filter is asked for every parent of a host. Hashed from the end, the hash of a parent is on the way to that of the
//! name below it, so all of them cost no more than one.

use smallvec::SmallVec;

use crate::hostname::Hostname;

/// Part of what the hashes of an image mean: another function needs another version of the image.
const START: u64 = 0x243f_6a88_85a3_08d3;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A name of the subject and its parents, longest first: where each begins, and its hash.
pub(super) type Suffixes = SmallVec<[(usize, u64); 8]>;

fn step(state: u64, byte: u8) -> u64 {
    (state ^ u64::from(byte)).wrapping_mul(STEP).rotate_left(23)
}

/// The bits of the state are not equally good; a filter uses all of them (the finalizer is that of MurmurHash3).
fn finish(mut state: u64) -> u64 {
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^= state >> 33;
    state = state.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}

/// The hash of a name whose octets come last first, as an image keeps them.
pub(super) fn of_reversed(reversed: &[u8]) -> u64 {
    finish(reversed.iter().fold(START, |state, byte| step(state, *byte)))
}

/// The name itself, then each parent; an address has none.
pub(super) fn suffixes(host: &Hostname) -> Suffixes {
    let bytes = host.as_str().as_bytes();
    let has_parents = host.ip().is_none();
    let mut found = Suffixes::new();
    let mut state = START;
    let mut before = bytes.iter().rev().skip(1);
    for (at, byte) in bytes.iter().enumerate().rev() {
        state = step(state, *byte);
        let begins = match before.next() {
            Some(b'.') => has_parents,
            Some(_) => false,
            None => true,
        };
        if begins {
            found.push((at, finish(state)));
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parent_has_the_hash_of_itself_and_comes_where_it_begins() {
        for text in
            ["a.b.example", "example", "192.0.2.1", "[2001:db8::1]", "_x.long-label-of-a-name.co.example"]
        {
            let host = Hostname::parse(text).unwrap();
            let expected: Vec<(usize, u64)> = host
                .suffixes()
                .map(|suffix| {
                    let reversed: Vec<u8> = suffix.bytes().rev().collect();
                    (text.len() - suffix.len(), of_reversed(&reversed))
                })
                .collect();
            assert_eq!(suffixes(&host).to_vec(), expected, "{text}");
        }
    }
}
