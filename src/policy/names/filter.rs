//! Says "surely not here" of nearly every name that is not listed, before anything is searched.
//!
//! All bits of a name lie in one line of the processor's cache, so that a name that is not listed costs one look at the
//! memory: one bit in each of the eight words of a line. Which bits these are depends on how far the name reaches: a
//! parent that is listed by itself alone says nothing of the names below it, and they are not searched for its sake.

use super::pages::Pages;

/// Twelve bits a name let about 0.5 % of the names that are not listed through, for the names themselves to say no.
const BITS_A_NAME: u64 = 12;
const WORDS: usize = 8;
/// Spread the bits that chose the line over those that choose the bits in it, for each [`Reach`].
const SPREAD: u64 = 0xd131_0ba6_98df_b5ad;
const SPREAD_BELOW: u64 = 0x9216_d5d9_8979_fb1b;

/// What the patterns on a name cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The name alone.
    Itself,
    /// Names below it, and perhaps itself.
    Below,
}

/// A Bloom filter over the hashes of names. Which bits a hash sets is part of the format of images; a test holds it.
///
/// It lies in memory as it does on disk, each word with its least significant octet first. Its pages are handed out as they
/// are touched: whoever fills it from a disk touches each of them once, on as many processors as there are.
#[derive(Debug)]
pub(super) struct Filter {
    /// Pages, so that each line of the filter lies in one line of the cache.
    octets: Pages,
    lines: usize,
}

impl Filter {
    /// Octets of a line.
    pub(super) const LINE: usize = WORDS * size_of::<u64>();

    /// An empty filter for this many names.
    pub(super) fn with_room(names: u64) -> Self {
        let lines = names.saturating_mul(BITS_A_NAME).div_ceil(8 * Self::LINE as u64);
        Self::with_lines(usize::try_from(lines).unwrap_or(usize::MAX).max(1))
    }

    /// An empty filter of so many lines, to be [filled](Self::octets_mut) with what [`Self::octets`] has given.
    pub(super) fn with_lines(lines: usize) -> Self {
        Self { octets: Pages::zeroed(lines.saturating_mul(Self::LINE)), lines }
    }

    /// All of it, line by line.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(super) fn octets_mut(&mut self) -> &mut [u8] {
        &mut self.octets
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Bytes of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.octets.memory_bytes()
    }

    /// Adds a name that reaches so far. It takes the same room however far that is.
    pub(super) fn insert(&mut self, hash: u64, reach: Reach) {
        let at = Self::LINE * place(hash, self.lines);
        let line = self.octets.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<{ Self::LINE }>);
        let words = line.into_iter().flat_map(|line| line.as_chunks_mut().0);
        for (word, bit) in words.zip(bits(hash, reach)) {
            *word = (u64::from_le_bytes(*word) | 1 << bit).to_le_bytes();
        }
    }

    /// Whether a name may be in it that was added with this reach.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64, reach: Reach) -> bool {
        let at = Self::LINE * place(hash, self.lines);
        // An empty filter has lines as well; one without any knows nothing.
        let Some(line) = self.octets.get(at..).and_then(<[u8]>::first_chunk::<{ Self::LINE }>) else {
            return true;
        };
        // About half of all bits are set, so that the first half says no of nearly every name that is not listed.
        let mut bits = bits(hash, reach);
        let mut has_all = |half: &[u8; Self::LINE / 2]| {
            let words = half.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            words.zip(&mut bits).fold(true, |all, (word, bit)| all & (word & 1 << bit != 0))
        };
        line.as_chunks().0.iter().all(&mut has_all)
    }

    /// Whether a name may be in it, however far it reaches.
    #[inline]
    pub(super) fn may_hold_any(&self, hash: u64) -> bool {
        self.may_hold(hash, Reach::Itself) || self.may_hold(hash, Reach::Below)
    }
}

/// The line of a hash.
#[inline]
fn place(hash: u64, lines: usize) -> usize {
    let at = (u128::from(hash) * lines as u128) >> 64;
    // Below the number of lines.
    usize::try_from(at).unwrap_or_default()
}

/// The bit in each word of it.
#[inline]
fn bits(hash: u64, reach: Reach) -> impl Iterator<Item = u64> {
    let spread = hash.wrapping_mul(match reach {
        Reach::Itself => SPREAD,
        Reach::Below => SPREAD_BELOW,
    });
    (0..WORDS).map(move |word| (spread >> (16 + 6 * word)) & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::names::hash::Seed;

    fn names(seed: Seed, from: u32, to: u32) -> impl Iterator<Item = u64> {
        (from..to).map(move |number| seed.of(format!("{number}.example").as_bytes()))
    }

    #[test]
    fn what_is_in_it_is_never_denied_and_what_is_not_rarely_let_through() {
        let seed = Seed::random();
        let mut filter = Filter::with_room(20_000);
        let reach = |number: usize| if number.is_multiple_of(3) { Reach::Below } else { Reach::Itself };
        names(seed, 0, 20_000).enumerate().for_each(|(number, hash)| filter.insert(hash, reach(number)));
        let mut again = Filter::with_lines(filter.lines());
        again.octets_mut().copy_from_slice(filter.octets());
        assert_eq!(
            again.octets().as_ptr().align_offset(Filter::LINE),
            0,
            "a line lies in one line of the cache"
        );
        let mut other_reach = 0;
        for (number, hash) in names(seed, 0, 20_000).enumerate() {
            assert!(again.may_hold(hash, reach(number)) && again.may_hold_any(hash));
            let other = if reach(number) == Reach::Below { Reach::Itself } else { Reach::Below };
            other_reach += usize::from(again.may_hold(hash, other));
        }
        assert!(other_reach < 400, "{other_reach} of 20,000 seem to reach as far as they do not");
        for reach in [Reach::Itself, Reach::Below] {
            let through = names(seed, 20_000, 220_000).filter(|hash| again.may_hold(*hash, reach)).count();
            assert!(through < 2_000, "{through} of 200,000");
        }
        let (empty, none) = (Filter::with_room(0), Filter::with_lines(0));
        assert!(!empty.may_hold_any(1) && none.may_hold(1, Reach::Itself) && none.may_hold(1, Reach::Below));
    }

    #[test]
    fn a_hash_sets_the_bits_it_has_always_set() {
        let mut filter = Filter::with_room(100);
        [1, 0x0123_4567_89ab_cdef, u64::MAX].into_iter().for_each(|hash| filter.insert(hash, Reach::Itself));
        [2, 0xfedc_ba98_7654_3210].into_iter().for_each(|hash| filter.insert(hash, Reach::Below));
        assert_eq!(crate::policy::Digest::of(filter.octets()).to_string(), PINNED);
    }

    const PINNED: &str = "e54ef9658b453b4118e42aa2b4e88b50af75da2afdb4d078e19044dda6f15164";
}
