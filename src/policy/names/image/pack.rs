//! Packs sorted names into [parts](super::part).

use hashbrown::HashMap;

use super::code::{Encoder, Lengths, MOST_SYMBOLS, Writer};
use super::part::{BLOCK, LONG_SPAN, LONG_SPAN_BITS, NODE, Part, Plan};
use crate::background::Breath;
use crate::hostname::MAX_NAME_OCTETS;
use crate::policy::names::pages::Pages;
use crate::policy::names::posting::{Link, Posting};

/// So many names make a part: enough that its codes fit it, few enough that they can wait until the codes are known. Tests
/// have few names, and more than one part of them.
pub(super) const PART_NAMES: u32 = if cfg!(test) { 10 } else { 1 << 19 };
/// So many postings of a part have a symbol at most; one more stands for all others.
const FREQUENT: usize = 255;
/// Octets before the rest of a waiting name: shared, how many follow, the posting.
const HEADER: usize = 6;

const _: () = assert!(FREQUENT < MOST_SYMBOLS && (LONG_SPAN as usize) < MOST_SYMBOLS);

/// Names that wait until there are enough for a part, each without what it shares with the one before.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    pub(super) names: u32,
    last: Vec<u8>,
}

impl Waiting {
    /// Adds a name, backwards; false when it does not come after all before it, or is no name.
    #[must_use]
    pub(super) fn push(&mut self, name: &[u8], posting: Posting) -> bool {
        let shared = common(name, &self.last);
        let rest = name.get(shared..).unwrap_or_default();
        let sorted = self.names == 0 || rest.first() > self.last.get(shared);
        let (Ok(octets), Ok(follow)) = (u8::try_from(shared), u8::try_from(rest.len())) else { return false };
        if !sorted || rest.is_empty() || rest.contains(&0) || name.len() > MAX_NAME_OCTETS {
            return false;
        }
        self.bytes.extend([octets, follow]);
        self.bytes.extend(posting.bits().to_le_bytes());
        self.bytes.extend_from_slice(rest);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        self.names += 1;
        true
    }

    /// The names as a part that begins at `from`; nothing waits any more. Nothing comes of it when the numbers are used up.
    pub(super) fn pack(&mut self, from: Vec<u8>, links: Vec<Link>) -> Option<Part> {
        let codes = Codes::of(self)?;
        let octets = Encoder::new(&codes.octets)?;
        let shared = Encoder::new(&codes.shared)?;
        let postings = Encoder::new(&codes.postings)?;
        let spans = Encoder::new(&codes.spans)?;
        let (mut blocks, mut starts, mut directory) = (Writer::default(), Vec::new(), Directory::default());
        let mut entries = self.entries();
        while let Some(entry) = entries.next() {
            if entry.begins_block {
                starts.extend(u32::try_from(blocks.align()).ok()?.to_le_bytes());
                directory.push(entry.name, entry.shared)?;
            } else {
                blocks.symbol(&shared, entry.shared.into());
            }
            let bits = codes.bits(&entry, &octets, &postings);
            blocks.symbol(&spans, span(bits));
            if span(bits) == LONG_SPAN {
                blocks.bits(bits, LONG_SPAN_BITS);
            }
            let symbol = codes.symbol(entry.posting);
            blocks.symbol(&postings, symbol);
            if codes.is_rare(symbol) {
                blocks.bits(entry.posting, codes.posting_bits);
            }
            entry.written().iter().for_each(|octet| blocks.symbol(&octets, u16::from(*octet)));
        }
        let mut bytes = blocks.finish(starts.len() + directory.bytes.len() + directory.nodes.len());
        let plan = Plan {
            from,
            names: self.names,
            block_bytes: u32::try_from(bytes.len()).ok()?,
            directory_bytes: u32::try_from(directory.bytes.len()).ok()?,
            octets: codes.octets,
            shared: codes.shared,
            postings: codes.postings,
            spans: codes.spans,
            frequent: codes.frequent,
            posting_bits: codes.posting_bits,
        };
        bytes.extend(starts);
        bytes.extend(directory.bytes);
        bytes.extend(directory.nodes);
        self.bytes.clear();
        self.last.clear();
        self.names = 0;
        Part::new(plan, Pages::holding(&bytes), links)
    }

    fn entries(&self) -> Entries<'_> {
        Entries { rest: &self.bytes, name: Vec::new(), next: 0, breath: Breath::every(1 << 11) }
    }
}

/// The symbol of so many bits.
fn span(bits: u32) -> u16 {
    u16::try_from(bits).unwrap_or(LONG_SPAN).min(LONG_SPAN)
}

/// How many octets two names begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A walk through the names that wait.
struct Entries<'w> {
    rest: &'w [u8],
    name: Vec<u8>,
    next: usize,
    breath: Breath,
}

/// A name that waits, as it will be packed.
struct Entry<'w> {
    name: &'w [u8],
    /// What it has in common with the one before.
    shared: u8,
    posting: u32,
    begins_block: bool,
}

impl Entries<'_> {
    fn next(&mut self) -> Option<Entry<'_>> {
        self.breath.tick();
        let ([shared, follow, posting @ ..], rest) = self.rest.split_first_chunk::<HEADER>()?;
        let (tail, rest) = rest.split_at_checked(usize::from(*follow))?;
        self.rest = rest;
        self.name.truncate(usize::from(*shared));
        self.name.extend_from_slice(tail);
        let begins_block = self.next.is_multiple_of(BLOCK);
        self.next += 1;
        Some(Entry { name: &self.name, shared: *shared, posting: u32::from_le_bytes(*posting), begins_block })
    }
}

impl<'w> Entry<'w> {
    /// The octets that are written out.
    fn written(&self) -> &'w [u8] {
        let from = if self.begins_block { 0 } else { usize::from(self.shared) };
        self.name.get(from..).unwrap_or_default()
    }
}

/// The codes that fit the names of one part.
struct Codes {
    octets: Lengths,
    shared: Lengths,
    postings: Lengths,
    spans: Lengths,
    frequent: Vec<u32>,
    symbols: HashMap<u32, u16>,
    posting_bits: u32,
}

impl Codes {
    fn of(names: &Waiting) -> Option<Self> {
        let (mut octets, mut shared) = ([0_u64; 256], [0_u64; 256]);
        // No octet of a name is zero. With it there are two at least, so that none takes no bits.
        octets[0] = 1;
        let mut postings: HashMap<u32, u64> = HashMap::new();
        let mut largest = 0;
        let count = |counts: &mut [u64; 256], at: u8| {
            if let Some(slot) = counts.get_mut(usize::from(at)) {
                *slot += 1;
            }
        };
        let mut entries = names.entries();
        while let Some(entry) = entries.next() {
            if !entry.begins_block {
                count(&mut shared, entry.shared);
            }
            entry.written().iter().for_each(|octet| count(&mut octets, *octet));
            *postings.entry(entry.posting).or_default() += 1;
            largest = largest.max(entry.posting);
        }
        let mut by_count: Vec<(u32, u64)> = postings.into_iter().collect();
        by_count.sort_unstable_by_key(|(posting, count)| (std::cmp::Reverse(*count), *posting));
        let rare = by_count.iter().skip(FREQUENT).map(|(_, count)| count).sum();
        by_count.truncate(FREQUENT);
        let counts = by_count.iter().map(|(_, count)| *count).chain([rare]);
        let mut codes = Self {
            octets: Lengths::of(&octets),
            shared: Lengths::of(&shared),
            postings: Lengths::of(&counts.collect::<Vec<_>>()),
            spans: Lengths::of(&[]),
            symbols: (0..).zip(&by_count).map(|(symbol, (posting, _))| (*posting, symbol)).collect(),
            frequent: by_count.into_iter().map(|(posting, _)| posting).collect(),
            posting_bits: u32::BITS - largest.leading_zeros(),
        };
        codes.spans = codes.spans_of(names)?;
        Some(codes)
    }

    /// The code of how many bits a posting and the octets behind it take.
    fn spans_of(&self, names: &Waiting) -> Option<Lengths> {
        let (octets, postings) = (Encoder::new(&self.octets)?, Encoder::new(&self.postings)?);
        let mut counts = [0_u64; MOST_SYMBOLS];
        let mut entries = names.entries();
        while let Some(entry) = entries.next() {
            *counts.get_mut(usize::from(span(self.bits(&entry, &octets, &postings))))? += 1;
        }
        Some(Lengths::of(&counts))
    }

    fn bits(&self, entry: &Entry<'_>, octets: &Encoder, postings: &Encoder) -> u32 {
        let symbol = self.symbol(entry.posting);
        let rare = if self.is_rare(symbol) { self.posting_bits } else { 0 };
        let octets = entry.written().iter().map(|octet| octets.bits_of(u16::from(*octet)));
        octets.sum::<u32>() + postings.bits_of(symbol) + rare
    }

    /// Whether the symbol stands for all postings that have none.
    fn is_rare(&self, symbol: u16) -> bool {
        usize::from(symbol) == self.frequent.len()
    }

    fn symbol(&self, posting: u32) -> u16 {
        let rare = u16::try_from(self.frequent.len()).unwrap_or(u16::MAX);
        self.symbols.get(&posting).copied().unwrap_or(rare)
    }
}

/// Where blocks begin, in the order of the names.
#[derive(Default)]
struct Directory {
    bytes: Vec<u8>,
    nodes: Vec<u8>,
    last: Vec<u8>,
    blocks: usize,
}

impl Directory {
    /// A block begins with `name`, which has `shared` octets in common with the last name of the block before.
    fn push(&mut self, name: &[u8], shared: u8) -> Option<()> {
        // One octet more divides the two; before the first block there is nothing.
        let divides = if self.blocks == 0 { &[] } else { name.get(..=usize::from(shared))? };
        let shared = if self.blocks.is_multiple_of(NODE) {
            self.nodes.extend(u32::try_from(self.bytes.len()).ok()?.to_le_bytes());
            0
        } else {
            common(divides, &self.last)
        };
        let tail = divides.get(shared..)?;
        self.bytes.extend([u8::try_from(shared).ok()?, u8::try_from(tail.len()).ok()?]);
        self.bytes.extend_from_slice(tail);
        self.last.clear();
        self.last.extend_from_slice(divides);
        self.blocks += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Names that share much, and some as long as a name can be.
    fn names() -> impl Strategy<Value = BTreeMap<Vec<u8>, u32>> {
        let label = prop::sample::select(vec!["a", "b", "ab", "example", "x-1", "moc", "com"]);
        let short = prop::collection::vec(label, 1..7).prop_map(|labels| labels.join(".").into_bytes());
        let long = (0_u8..40, 200..=MAX_NAME_OCTETS).prop_map(|(octet, length)| vec![b'a' + octet; length]);
        let name = prop_oneof![40 => short, 1 => long];
        let posting = prop_oneof![3 => Just(17), 1 => any::<u32>(), 1 => 0_u32..400];
        prop::collection::btree_map(name, posting, 1..1_500)
    }

    fn packed(names: &BTreeMap<Vec<u8>, u32>) -> Part {
        let mut waiting = Waiting::default();
        for (name, posting) in names {
            assert!(waiting.push(name, Posting::from_bits(*posting)));
        }
        let part = waiting.pack(Vec::new(), Vec::new()).unwrap();
        assert_eq!((waiting.names, waiting.bytes.len()), (0, 0));
        part
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_part_holds_its_names_and_no_others(names in names(), others in names()) {
            let part = packed(&names);
            let strangers = others.keys().chain(names.keys()).flat_map(|name| {
                let mut longer = name.clone();
                longer.push(b'a');
                [name.clone(), longer, name[..name.len() - 1].to_vec(), name[1..].to_vec()]
            });
            for name in names.keys().cloned().chain(strangers) {
                let found = part.find(&name).map(Posting::bits);
                prop_assert_eq!(found, names.get(&name).copied(), "{:?}", String::from_utf8_lossy(&name));
            }
            let (mut walk, mut name) = (part.walk(), Vec::new());
            for (expected, posting) in &names {
                prop_assert_eq!(walk.advance(&mut name).map(Posting::bits), Some(*posting));
                prop_assert_eq!(&name, expected);
            }
            prop_assert_eq!(walk.advance(&mut name), None);
            prop_assert!(names.contains_key(&part.middle()));
        }

        /// The digests tell that octets have changed. Were they wrong, a part would say something, and end.
        #[test]
        fn octets_that_changed_are_answered_and_never_a_panic(
            names in names(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        ) {
            let part = packed(&names);
            let mut bytes = part.bytes().to_vec();
            for (at, octet) in changes {
                let at = at.index(bytes.len());
                bytes[at] = octet;
            }
            if let Some(part) = Part::new(part.plan.clone(), Pages::holding(&bytes), Vec::new()) {
                names.keys().for_each(|name| { std::hint::black_box(part.find(name)); });
                let (mut walk, mut name) = (part.walk(), Vec::new());
                while walk.advance(&mut name).is_some() {
                    assert!(name.len() <= MAX_NAME_OCTETS);
                }
            }
        }
    }

    #[test]
    fn what_is_not_in_order_or_no_name_is_not_taken() {
        for (first, second) in [("b", "a"), ("a", "a"), ("ab", "a"), ("a", "a\0"), ("a", "")] {
            let mut waiting = Waiting::default();
            assert!(waiting.push(first.as_bytes(), Posting::from_bits(1)));
            assert!(!waiting.push(second.as_bytes(), Posting::from_bits(1)), "{second:?}");
            assert_eq!(waiting.names, 1);
        }
        assert!(!Waiting::default().push(b"", Posting::from_bits(1)));
        assert!(!Waiting::default().push(&[b'a'; MAX_NAME_OCTETS + 1], Posting::from_bits(1)));
    }
}
