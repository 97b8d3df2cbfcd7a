//! Tells text that this process sealed from any other, for a quarter of what hashing its lines again costs.
//!
//! SipHash-1-3 with 128 bits, under a key that is drawn once for a process and never leaves it: whoever changes a
//! segment between its seal and its compression cannot make the sum fit. It is kept nowhere. What lasts, and proves
//! something to others, is the tree.

use std::{hash::Hasher, sync::LazyLock};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::audit::privacy::fill_random;

/// None when the kernel gave no random bytes: then lines are hashed again.
static KEY: LazyLock<Option<[u8; 16]>> = LazyLock::new(|| {
    let mut key = [0; 16];
    fill_random(&mut key).ok().map(|()| key)
});

/// A text as far as it was taken in.
#[derive(Clone)]
pub(super) struct Summing {
    hasher: SipHasher13,
    bytes: u64,
}

/// What a text was, for the process that sealed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    bytes: u64,
    hash: u128,
}

impl Summing {
    /// An empty text; nothing where there is no key.
    pub(super) fn start() -> Option<Self> {
        KEY.as_ref().map(|key| Self { hasher: SipHasher13::new_with_key(key), bytes: 0 })
    }

    /// Takes in what comes next, in pieces of any size.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.hasher.write(text);
        self.bytes += text.len() as u64;
    }

    /// The sum so far.
    pub(super) fn sum(&self) -> Sum {
        Sum { bytes: self.bytes, hash: self.hasher.finish128().as_u128() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_the_text_and_not_of_its_pieces() {
        let text: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        let of = |pieces: &[&[u8]]| {
            let mut summing = Summing::start().unwrap();
            pieces.iter().for_each(|piece| summing.add(piece));
            summing.sum()
        };
        let whole = of(&[&text]);
        for at in [0, 1, 7, 8, 63, 999, 1000] {
            let (left, right) = text.split_at(at);
            assert_eq!(of(&[left, &[], right]), whole, "{at}");
        }
        for at in [0, 500, 999] {
            let mut other = text.clone();
            other[at] ^= 1;
            assert_ne!(of(&[&other]), whole, "{at}");
        }
        assert_ne!(of(&[&text, &[0]]), whole);
        assert_ne!(of(&[&text[..999]]), whole);
        assert_ne!(of(&[]), of(&[&[0]]));
    }
}
