//! A part of an image: one stretch of the sorted names, packed.
//!
//! Names lie backwards in blocks of [`BLOCK`]. Of each there is how many octets it shares with the one before, unless it is
//! the first of its block; how many bits follow; and in these its posting and the octets that are left. All of it is
//! written in [codes](super::code) made for the part. A directory says where a block begins: the shortest text that
//! divides it from the block before, plain, in nodes of [`NODE`], of which again the first is whole.
//!
//! ```text
//! the blocks, each from a whole octet on, and eight zeros
//! where each block begins, 4 octets each
//! the directory: octets shared, octets that follow, these octets
//! where each node of it begins, 4 octets each
//! ```

use std::cmp::Ordering;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::code::{Decoder, Lengths, Reader};
use crate::hostname::MAX_NAME_OCTETS;
use crate::policy::names::pages::Pages;
use crate::policy::names::posting::{Link, Posting};

/// Names in a block: in a larger one a name takes less, and longer to find.
pub(super) const BLOCK: usize = 16;
/// Blocks in a node of the directory.
pub(super) const NODE: usize = 16;
/// Says that the number of bits follows, in so many bits.
pub(super) const LONG_SPAN: u16 = 511;
pub(super) const LONG_SPAN_BITS: u32 = 12;

/// What is to know of a part beside its octets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// No name before this one, backwards, is in it.
    pub(super) from: Vec<u8>,
    pub(super) names: u32,
    pub(super) block_bytes: u32,
    pub(super) directory_bytes: u32,
    pub(super) octets: Lengths,
    pub(super) shared: Lengths,
    pub(super) postings: Lengths,
    pub(super) spans: Lengths,
    /// The postings that have a symbol; the one symbol after them stands for all others, which follow in so many bits.
    pub(super) frequent: Vec<u32>,
    pub(super) posting_bits: u32,
}

/// What of the octets of a part is what.
#[derive(Debug)]
struct Layout {
    starts: Range<usize>,
    directory: Range<usize>,
    nodes: Range<usize>,
}

impl Plan {
    fn layout(&self) -> Option<Layout> {
        let blocks = usize::try_from(self.names).ok()?.div_ceil(BLOCK);
        let starts_at = usize::try_from(self.block_bytes).ok()?;
        let directory_at = starts_at.checked_add(blocks.checked_mul(4)?)?;
        let nodes_at = directory_at.checked_add(usize::try_from(self.directory_bytes).ok()?)?;
        let end = nodes_at.checked_add(blocks.div_ceil(NODE).checked_mul(4)?)?;
        Some(Layout {
            starts: starts_at..directory_at,
            directory: directory_at..nodes_at,
            nodes: nodes_at..end,
        })
    }

    /// How many octets the part has.
    pub(super) fn bytes(&self) -> Option<u64> {
        u64::try_from(self.layout()?.nodes.end).ok()
    }
}

/// One stretch of the names.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) plan: Plan,
    layout: Layout,
    bytes: Pages,
    pub(super) links: Vec<Link>,
    octets: Decoder,
    shared: Decoder,
    postings: Decoder,
    spans: Decoder,
    /// What all names begin with.
    common: Vec<u8>,
    /// For each node of the directory, what its first text has behind that.
    keys: Vec<u64>,
}

impl Part {
    /// Nothing when the octets are not those of the plan.
    pub(super) fn new(plan: Plan, bytes: Pages, links: Vec<Link>) -> Option<Self> {
        let layout = plan.layout().filter(|layout| layout.nodes.end == bytes.len())?;
        let valid = plan.posting_bits <= u32::BITS;
        let mut part = Self {
            octets: Decoder::new(&plan.octets)?,
            shared: Decoder::new(&plan.shared)?,
            postings: Decoder::new(&plan.postings).filter(|_| valid)?,
            spans: Decoder::new(&plan.spans)?,
            plan,
            layout,
            bytes,
            links,
            common: Vec::new(),
            keys: Vec::new(),
        };
        let (mut first, mut last) = (Vec::new(), Vec::new());
        part.walk().advance(&mut first);
        let last_block = u32::try_from(part.blocks().checked_sub(1)? * BLOCK).ok()?;
        let mut end = PartWalk { next: last_block, ..part.walk() };
        while end.advance(&mut last).is_some() {}
        first.truncate(first.iter().zip(&last).take_while(|(a, b)| a == b).count());
        part.common = first;
        let key = |node| Some(key(part.head(node)?.get(part.common.len()..).unwrap_or_default()));
        part.keys = (0..part.blocks().div_ceil(NODE)).map(key).collect::<Option<_>>()?;
        Some(part)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
            + self.links.capacity() * size_of::<Link>()
            + self.keys.capacity() * size_of::<u64>()
            + 4 * Decoder::MEMORY
            + size_of::<Self>()
    }

    /// What it says of a name, backwards.
    pub(super) fn find(&self, name: &[u8]) -> Option<Posting> {
        let block = self.block_of(name)?;
        let mut reader = self.reader(block)?;
        // How many octets the entry it stands at shares with the name, which comes later.
        let mut matched = 0;
        for entry in 0..self.names_in(block) {
            let shared = if entry == 0 { 0 } else { usize::from(reader.symbol(&self.shared)) };
            let end = self.end(&mut reader);
            match shared.cmp(&matched) {
                // It differs from the name where the one before did.
                Ordering::Greater => {}
                Ordering::Equal => {
                    let posting = self.posting(&mut reader);
                    match self.compare(&mut reader, end, name, &mut matched) {
                        Ordering::Less => {}
                        Ordering::Equal => return Some(posting),
                        Ordering::Greater => return None,
                    }
                }
                Ordering::Less => return None,
            }
            reader.go(end);
        }
        None
    }

    /// How the rest of an entry compares with a name that agrees with it up to `matched`.
    #[inline]
    fn compare(&self, reader: &mut Reader<'_>, end: usize, name: &[u8], matched: &mut usize) -> Ordering {
        for expected in name.get(*matched..).unwrap_or_default() {
            if reader.at() >= end {
                return Ordering::Less;
            }
            match reader.symbol(&self.octets).cmp(&u16::from(*expected)) {
                Ordering::Equal => *matched += 1,
                differs => return differs,
            }
        }
        if reader.at() >= end { Ordering::Equal } else { Ordering::Greater }
    }

    #[inline]
    fn posting(&self, reader: &mut Reader<'_>) -> Posting {
        let symbol = usize::from(reader.symbol(&self.postings));
        let frequent = self.plan.frequent.get(symbol).copied();
        Posting::from_bits(frequent.unwrap_or_else(|| reader.bits(self.plan.posting_bits)))
    }

    /// Behind which bit an entry ends.
    #[inline]
    fn end(&self, reader: &mut Reader<'_>) -> usize {
        let span = match reader.symbol(&self.spans) {
            LONG_SPAN => reader.bits(LONG_SPAN_BITS),
            bits => u32::from(bits),
        };
        reader.at() + span as usize
    }

    fn blocks(&self) -> usize {
        (self.plan.names as usize).div_ceil(BLOCK)
    }

    fn names_in(&self, block: usize) -> usize {
        (self.plan.names as usize).saturating_sub(block * BLOCK).min(BLOCK)
    }

    fn reader(&self, block: usize) -> Option<Reader<'_>> {
        let start = self.number(&self.layout.starts, block)?;
        Some(Reader::new(&self.bytes, start))
    }

    /// One of the numbers in such a range.
    fn number(&self, of: &Range<usize>, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(of.clone())?.get(at.checked_mul(4)?..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    }

    /// The block that a name would be in.
    fn block_of(&self, name: &[u8]) -> Option<usize> {
        let key = key(name.strip_prefix(self.common.as_slice())?);
        // Nodes whose keys differ are told apart by them; the others, of names under one long domain, by their texts.
        let after = self.keys.partition_point(|of_node| *of_node <= key);
        let (mut low, mut high) = (after.checked_sub(1)?, after);
        if self.keys.get(low) == Some(&key) {
            low = self.keys.partition_point(|of_node| *of_node < key).saturating_sub(1);
        }
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.head(middle)? <= name { low = middle } else { high = middle }
        }
        let mut rest = self.node(low)?;
        let (mut found, mut matched) = (0, 0);
        for entry in 0..NODE {
            let [shared, length, after @ ..] = rest else { break };
            let (tail, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            match usize::from(*shared).cmp(&matched) {
                Ordering::Greater => {}
                Ordering::Equal => {
                    let expected = name.get(matched..).unwrap_or_default();
                    let common = tail.iter().zip(expected).take_while(|(a, b)| a == b).count();
                    if tail.get(common) > expected.get(common) {
                        break;
                    }
                    matched += common;
                }
                Ordering::Less => break,
            }
            found = entry;
        }
        Some(low * NODE + found)
    }

    /// The text that a node begins with; the first begins with nothing, and so before every name.
    fn head(&self, at: usize) -> Option<&[u8]> {
        let [_, length, rest @ ..] = self.node(at)? else { return None };
        rest.get(..usize::from(*length))
    }

    fn node(&self, at: usize) -> Option<&[u8]> {
        let directory = self.bytes.get(self.layout.directory.clone())?;
        directory.get(self.number(&self.layout.nodes, at)?..)
    }

    /// Walks through all names.
    pub(super) fn walk(&self) -> PartWalk<'_> {
        PartWalk { part: self, next: 0, reader: Reader::new(&self.bytes, 0) }
    }

    /// A walk from the block that this name, backwards, would be in.
    pub(super) fn walk_from(&self, name: &[u8]) -> Option<PartWalk<'_>> {
        let next = u32::try_from(self.block_of(name)? * BLOCK).ok()?;
        Some(PartWalk { next, ..self.walk() })
    }

    /// A name near the middle, backwards.
    pub(super) fn middle(&self) -> Vec<u8> {
        let mut name = Vec::new();
        let mut walk = self.walk();
        walk.next = (self.blocks() / 2 * BLOCK).try_into().unwrap_or_default();
        walk.advance(&mut name);
        name
    }
}

/// The first octets of a text, as a number that is in the same order.
fn key(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(octets) => u64::from_be_bytes(*octets),
        None => {
            text.iter().fold(0, |key, octet| key << 8 | u64::from(*octet)) << (64 - 8 * text.len()).min(63)
        }
    }
}

/// A walk through a part.
#[derive(Debug, Clone)]
pub(super) struct PartWalk<'p> {
    part: &'p Part,
    next: u32,
    reader: Reader<'p>,
}

impl<'p> PartWalk<'p> {
    /// Makes the name it came to before the next one, backwards, and says what is known of it; nothing after the last.
    pub(super) fn advance(&mut self, name: &mut Vec<u8>) -> Option<Posting> {
        if self.next >= self.part.plan.names {
            return None;
        }
        let at = self.next as usize;
        self.next += 1;
        let shared = if at.is_multiple_of(BLOCK) {
            self.reader = self.part.reader(at / BLOCK)?;
            0
        } else {
            usize::from(self.reader.symbol(&self.part.shared))
        };
        let end = self.part.end(&mut self.reader);
        let posting = self.part.posting(&mut self.reader);
        name.truncate(shared);
        while self.reader.at() < end && name.len() < MAX_NAME_OCTETS {
            name.extend(u8::try_from(self.reader.symbol(&self.part.octets)));
        }
        Some(posting)
    }

    pub(super) fn links(&self) -> &'p [Link] {
        &self.part.links
    }
}
