//! Prefix codes: what is frequent takes few bits (D. A. Huffman, 1952), in the canonical form, which its lengths alone
//! describe.
//!
//! Bits are filled into octets from the lowest on. What is read is bounded by whoever reads: octets that were never
//! written by a [`Writer`] give symbols without meaning, and no more of them than were asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// No code is longer, so that one look at a table of this many bits tells a symbol.
const LONGEST: u32 = 10;
const TABLE: usize = 1 << LONGEST;

/// How many symbols a code has at most, so that all of them fit even when all are equally frequent.
pub(super) const MOST_SYMBOLS: usize = 1 << 9;

/// The lengths of a code by symbol: all there is to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lengths(Vec<(u16, u8)>);

impl Lengths {
    /// The best code for symbols that occur so often; those that never occur have no code. One that is alone takes no
    /// bits. There may be [`MOST_SYMBOLS`].
    pub(super) fn of(counts: &[u64]) -> Self {
        let mut counts: Vec<(u16, u64)> =
            (0_u16..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
        loop {
            let lengths = optimal(&counts);
            if lengths.iter().all(|length| u32::from(*length) <= LONGEST) {
                let mut lengths: Vec<(u16, u8)> =
                    counts.iter().map(|(symbol, _)| *symbol).zip(lengths).collect();
                lengths.sort_unstable_by_key(|(symbol, length)| (*length, *symbol));
                return Self(lengths);
            }
            // The rarest become more equal to the others, until the longest code is short enough.
            counts.iter_mut().for_each(|(_, count)| *count = *count / 2 + 1);
        }
    }

    /// Every symbol with its code, the first bit lowest; nothing when these are the lengths of no code.
    fn codes(&self) -> Option<Vec<(u16, u8, u16)>> {
        let mut codes = Vec::with_capacity(self.0.len());
        let (mut next, mut before) = (0_u32, 0);
        for (symbol, length) in &self.0 {
            let longer = u32::from(*length).checked_sub(before)?;
            next = next.checked_shl(longer)?;
            before = u32::from(*length);
            if before > LONGEST || next >> before != 0 {
                return None;
            }
            let code = if before == 0 { 0 } else { next.reverse_bits() >> (32 - before) };
            codes.push((*symbol, *length, u16::try_from(code).ok()?));
            next += 1;
        }
        Some(codes)
    }
}

/// The depths of an optimal tree over these counts.
fn optimal(counts: &[(u16, u64)]) -> Vec<u8> {
    let mut parents: Vec<usize> = vec![usize::MAX; counts.len()];
    let mut roots: BinaryHeap<Reverse<(u64, usize)>> =
        (0..).zip(counts).map(|(at, (_, count))| Reverse((*count, at))).collect();
    while let (Some(Reverse((few, one))), Some(Reverse((more, other)))) = (roots.pop(), roots.pop()) {
        let parent = parents.len();
        for child in [one, other] {
            if let Some(slot) = parents.get_mut(child) {
                *slot = parent;
            }
        }
        parents.push(usize::MAX);
        roots.push(Reverse((few.saturating_add(more), parent)));
    }
    // A parent stands behind its children.
    let mut depths: Vec<u8> = vec![0; parents.len()];
    for (at, parent) in parents.iter().enumerate().rev() {
        let above = depths.get(*parent).copied().map_or(0, |depth| depth.saturating_add(1));
        if let Some(depth) = depths.get_mut(at) {
            *depth = above;
        }
    }
    depths.truncate(counts.len());
    depths
}

/// The codes by symbol.
pub(super) struct Encoder(Vec<(u16, u8)>);

impl Encoder {
    /// Nothing when these are the lengths of no code.
    pub(super) fn new(lengths: &Lengths) -> Option<Self> {
        let codes = lengths.codes()?;
        let symbols = codes.iter().map(|(symbol, ..)| usize::from(*symbol) + 1).max().unwrap_or_default();
        let mut by_symbol = vec![(0, 0); symbols];
        for (symbol, length, code) in codes {
            *by_symbol.get_mut(usize::from(symbol))? = (code, length);
        }
        Some(Self(by_symbol))
    }

    fn code(&self, symbol: u16) -> (u16, u8) {
        self.0.get(usize::from(symbol)).copied().unwrap_or_default()
    }

    /// How many bits a symbol takes.
    pub(super) fn bits_of(&self, symbol: u16) -> u32 {
        self.code(symbol).1.into()
    }
}

/// Tells symbols by the bits that come next.
#[derive(Debug)]
pub(super) struct Decoder(Box<[u16; TABLE]>);

impl Decoder {
    /// Nothing when these are the lengths of no code.
    pub(super) fn new(lengths: &Lengths) -> Option<Self> {
        let mut table = Box::new([0; TABLE]);
        for (symbol, length, code) in lengths.codes()? {
            if usize::from(symbol) >= MOST_SYMBOLS {
                return None;
            }
            let entry = symbol << 4 | u16::from(length);
            // Whatever follows the code leads to its symbol.
            table.iter_mut().skip(usize::from(code)).step_by(1 << length).for_each(|slot| *slot = entry);
        }
        Some(Self(table))
    }

    /// Octets of memory it holds.
    pub(super) const MEMORY: usize = size_of::<[u16; TABLE]>();
}

/// Puts bits into octets.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    bits: u64,
    filled: u32,
}

impl Writer {
    /// The lowest `count` bits of `bits`, at most 32.
    pub(super) fn bits(&mut self, bits: u32, count: u32) {
        self.bits |= (u64::from(bits) & ((1 << count) - 1)) << self.filled;
        self.filled += count;
        if self.filled >= 32 {
            let [a, b, c, d, ..] = self.bits.to_le_bytes();
            self.bytes.extend([a, b, c, d]);
            self.bits >>= 32;
            self.filled -= 32;
        }
    }

    pub(super) fn symbol(&mut self, encoder: &Encoder, symbol: u16) {
        let (code, length) = encoder.code(symbol);
        self.bits(u32::from(code), u32::from(length));
    }

    /// Goes on with a whole octet: tells which.
    pub(super) fn align(&mut self) -> usize {
        let octets = self.filled.div_ceil(8);
        self.bytes.extend(self.bits.to_le_bytes().iter().take(octets as usize));
        (self.bits, self.filled) = (0, 0);
        self.bytes.len()
    }

    /// The octets, as many behind them as a [`Reader`] looks ahead, and room for `more`.
    pub(super) fn finish(mut self, more: usize) -> Vec<u8> {
        self.align();
        let mut bytes = Vec::with_capacity(self.bytes.len() + 8 + more);
        bytes.append(&mut self.bytes);
        bytes.extend([0; 8]);
        bytes
    }
}

/// Takes bits out of octets; behind the last of them there are zeros without end.
#[derive(Debug, Clone)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    /// Which bit is next.
    at: usize,
    /// The next `left` bits, at hand.
    bits: u64,
    left: u32,
}

impl<'b> Reader<'b> {
    /// At an octet.
    pub(super) fn new(bytes: &'b [u8], octet: usize) -> Self {
        Self { bytes, at: octet.saturating_mul(8), bits: 0, left: 0 }
    }

    /// Which bit is next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes to a bit.
    #[inline]
    pub(super) fn go(&mut self, to: usize) {
        (self.at, self.left) = (to, 0);
    }

    /// Has at least 57 bits at hand afterwards.
    #[inline]
    fn load(&mut self) {
        let next = self.bytes.get(self.at >> 3..).and_then(<[u8]>::first_chunk::<8>);
        let into = u32::from(self.at.to_le_bytes()[0] & 7);
        self.bits = next.map_or(0, |next| u64::from_le_bytes(*next)) >> into;
        self.left = 64 - into;
    }

    #[inline]
    fn take(&mut self, count: u32) {
        self.bits >>= count;
        self.left -= count;
        self.at += count as usize;
    }

    #[inline]
    pub(super) fn symbol(&mut self, decoder: &Decoder) -> u16 {
        if self.left < LONGEST {
            self.load();
        }
        #[expect(clippy::cast_possible_truncation, reason = "the bits that tell a symbol")]
        let at = self.bits as usize % TABLE;
        let entry = decoder.0.get(at).copied().unwrap_or_default();
        self.take(u32::from(entry & 15));
        entry >> 4
    }

    /// The next `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: u32) -> u32 {
        if self.left < count {
            self.load();
        }
        let bits = self.bits & ((1 << count) - 1);
        self.take(count);
        u32::try_from(bits).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            counts in prop::collection::vec(prop_oneof![Just(0), 1_u64..4, any::<u64>()], 1..MOST_SYMBOLS),
            drawn in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>(), 0_u32..=32, any::<bool>()), 0..200),
        ) {
            let lengths = Lengths::of(&counts);
            let (encoder, decoder) = (Encoder::new(&lengths).unwrap(), Decoder::new(&lengths).unwrap());
            let used: Vec<u16> = lengths.0.iter().map(|(symbol, _)| *symbol).collect();
            prop_assert_eq!(used.len(), counts.iter().filter(|count| **count > 0).count());
            let (mut writer, mut starts) = (Writer::default(), vec![0]);
            for (symbol, bits, count, align) in &drawn {
                if !used.is_empty() {
                    writer.symbol(&encoder, *symbol.get(&used));
                }
                writer.bits(*bits, *count);
                if *align {
                    starts.push(writer.align());
                }
            }
            let bytes = writer.finish(0);
            let mut starts = starts.into_iter();
            let mut reader = Reader::new(&bytes, starts.next().unwrap());
            for (symbol, bits, count, align) in &drawn {
                if !used.is_empty() {
                    prop_assert_eq!(reader.symbol(&decoder), *symbol.get(&used));
                }
                prop_assert_eq!(u64::from(reader.bits(*count)), u64::from(*bits) & ((1 << *count) - 1));
                if *align {
                    reader = Reader::new(&bytes, starts.next().unwrap());
                }
            }
        }

        #[test]
        fn octets_that_nobody_wrote_are_read_without_end_and_lengths_of_no_code_are_told(
            lengths in prop::collection::vec((0_u16..600, 0_u8..14), 0..20), bytes in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let lengths = Lengths(lengths);
            if let Some(decoder) = Decoder::new(&lengths) {
                let mut reader = Reader::new(&bytes, 0);
                (0..500).for_each(|_| { reader.symbol(&decoder); reader.bits(7); });
            }
            Encoder::new(&lengths);
        }
    }

    #[test]
    fn the_lengths_are_those_of_an_optimal_code() {
        let lengths = |counts: &[u64]| Lengths::of(counts).0;
        assert_eq!(lengths(&[]), []);
        assert_eq!(lengths(&[0, 7, 0]), [(1, 0)]);
        assert_eq!(lengths(&[8, 1, 0, 3, 1]), [(0, 1), (3, 2), (1, 3), (4, 3)]);
        let steep: Vec<u64> = (0..60).map(|power| 1 << power).collect();
        assert!(lengths(&steep).iter().all(|(_, length)| u32::from(*length) <= LONGEST));
        assert_eq!(lengths(&[1; MOST_SYMBOLS]), (0..512).map(|symbol| (symbol, 9)).collect::<Vec<_>>());
        assert_eq!(Lengths(vec![(0, 1), (1, 1), (2, 1)]).codes(), None);
        assert_eq!(Lengths(vec![(0, 2), (1, 1)]).codes(), None);
    }
}
