//! A Bloom filter on the disk: *surely not here*, or *look*.
//!
//! A term is hashed by SipHash-1-3 over its UTF-8 bytes, under the key that the seed is as 16 big-endian bytes; the
//! rest is what the crate `fastbloom` 0.17 derives from these 64 bits. A test holds bits that are written down.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fastbloom::BloomFilter;
use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

/// Fixed, so that every edge and tool agrees: it only has to spread the terms.
const SEED: u64 = 0x696e_7465_7264_6963;
/// How often the filter says *look* in vain.
const FALSE_POSITIVES: f64 = 0.01;
/// A bound on what a damaged file can cost. A filter of one term, which has a whole word, takes 44.
const MAX_HASHES: u32 = 64;

/// See the module.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Filter(BloomFilter);

/// The filter as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    hashes: u32,
    /// 64-bit words, little-endian, in base64.
    bits: String,
    seed: u64,
}

/// Bytes hashed as they are: what the standard library makes of a `str` is not written down anywhere.
struct Bytes<'a>(&'a [u8]);

impl Hash for Bytes<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

/// The hash of a term, for [`Filter::of`] and [`Filter::may_contain`].
pub(super) fn hash(term: &str) -> u64 {
    static HASHER: LazyLock<BloomFilter> =
        LazyLock::new(|| BloomFilter::with_num_bits(64).seed(&u128::from(SEED)).hashes(1));
    HASHER.source_hash(&Bytes(term.as_bytes()))
}

impl Filter {
    /// The filter of these hashes, as large as they need.
    pub(super) fn of(hashes: &HashSet<u64>) -> Self {
        let builder = BloomFilter::with_false_pos(FALSE_POSITIVES).seed(&u128::from(SEED));
        let mut filter = builder.expected_items(hashes.len().max(1));
        for hash in hashes {
            filter.insert_hash(*hash);
        }
        Self(filter)
    }

    pub(super) fn may_contain(&self, hash: u64) -> bool {
        self.0.contains_hash(hash)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter of {} bits", self.0.num_bits())
    }
}

impl From<Filter> for Raw {
    fn from(Filter(filter): Filter) -> Self {
        let words: Vec<u8> = filter.iter().flat_map(u64::to_le_bytes).collect();
        Self { hashes: filter.num_hashes(), bits: STANDARD.encode(words), seed: SEED }
    }
}

impl TryFrom<Raw> for Filter {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        if raw.seed != SEED {
            return Err(format!("seed {} of the filter is unknown", raw.seed));
        }
        if !(1..=MAX_HASHES).contains(&raw.hashes) {
            return Err(format!("{} hashes in the filter: 1 to {MAX_HASHES} are possible", raw.hashes));
        }
        let bytes = STANDARD.decode(raw.bits).map_err(|error| format!("bits of the filter: {error}"))?;
        let (words, rest) = bytes.as_chunks::<8>();
        if words.is_empty() || !rest.is_empty() {
            return Err("bits of the filter: whole words of 64 bits are needed".to_owned());
        }
        let words = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Ok(Self(BloomFilter::from_vec(words).seed(&u128::from(SEED)).hashes(raw.hashes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(terms: impl Iterator<Item = String>) -> Filter {
        Filter::of(&terms.map(|term| hash(&term)).collect())
    }

    #[test]
    fn what_is_in_is_found_and_what_is_not_seldom() {
        let filter = of((0..10_000).map(|n| format!("host:{n}.example")));
        let json = serde_json::to_string(&filter).unwrap();
        let filter: Filter = serde_json::from_str(&json).unwrap();
        assert!((0..10_000).all(|n| filter.may_contain(hash(&format!("host:{n}.example")))));
        let vain = (0..10_000).filter(|n| filter.may_contain(hash(&format!("client:{n}.example")))).count();
        assert!((20..200).contains(&vain), "{vain} of 10,000");
        assert!(!of(std::iter::empty()).may_contain(hash("anything")));
    }

    /// A segment may be closed on a day on which nothing was blocked.
    #[test]
    fn a_filter_of_few_terms_or_none_is_read_back() {
        for count in 0..8 {
            let filter = of((0..count).map(|n| format!("host:{n}.example")));
            let read: Filter = serde_json::from_str(&serde_json::to_string(&filter).unwrap()).unwrap();
            assert_eq!(read, filter, "{count} terms");
            assert!((0..count).all(|n| read.may_contain(hash(&format!("host:{n}.example")))));
        }
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let filter = of(["case:TS-1", "host:a.example", "client:192.0.2.7"].into_iter().map(str::to_owned));
        assert_eq!(hash("case:TS-1"), GOLDEN_HASH);
        assert_eq!(serde_json::to_string(&filter).unwrap(), GOLDEN);
    }

    const GOLDEN_HASH: u64 = 16_995_323_771_171_957_771;
    const GOLDEN: &str = r#"{"hashes":15,"bits":"Q3ZvNb2gDo8=","seed":7597137600480307555}"#;

    #[test]
    fn damage_is_an_error() {
        for json in [
            r#"{"hashes":0,"bits":"AAAAAAAAAAA=","seed":7596551547980605795}"#,
            r#"{"hashes":33,"bits":"AAAAAAAAAAA=","seed":7596551547980605795}"#,
            r#"{"hashes":7,"bits":"","seed":7596551547980605795}"#,
            r#"{"hashes":7,"bits":"AAAA","seed":7596551547980605795}"#,
            r#"{"hashes":7,"bits":"?","seed":7596551547980605795}"#,
            r#"{"hashes":7,"bits":"AAAAAAAAAAA=","seed":1}"#,
        ] {
            assert!(serde_json::from_str::<Filter>(json).is_err(), "{json}");
        }
    }
}
