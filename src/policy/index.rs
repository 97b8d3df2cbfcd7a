//! The host index: which cases name a host, or a parent of it.
//!
//! All names lie one behind the other in a single buffer, each with four bytes that say which case
//! names it; a hash table of four-byte offsets finds them. A name costs its own length, five bytes in
//! the buffer and six to twelve in the table, and dropping a million of them is freeing two blocks.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::hostname::Hostname;

use super::pattern::{Form, Pattern};

/// Bytes before each name in the buffer: the posting, then the length of the name.
const HEADER: usize = 5;
/// What a posting can count to: cases, or links where several cases share a name.
const POSTING_LIMIT: u32 = 1 << 28;

/// The host index holds no more: 4 GiB of names, or 2^28 cases or shared names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policy set holds more names than the index can address")]
pub(crate) struct IndexFull;

/// The pattern forms in which one case names one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forms(u32);

impl Forms {
    const BITS: u32 = 3;
    const ALL: u32 = (1 << Self::BITS) - 1;

    const fn of(form: Form) -> Self {
        Self(match form {
            Form::Exact => 1,
            Form::Subtree => 2,
            Form::Below => 4,
        })
    }

    const fn has(self, form: Form) -> bool {
        self.0 & Self::of(form).0 != 0
    }

    /// The most specific of these forms that covers the name itself (`whole`), or a name below it.
    pub(crate) const fn covering(self, whole: bool) -> Option<Form> {
        match whole {
            true if self.has(Form::Exact) => Some(Form::Exact),
            _ if self.has(Form::Subtree) => Some(Form::Subtree),
            false if self.has(Form::Below) => Some(Form::Below),
            _ => None,
        }
    }
}

/// What the index says of a name, in 32 bits: the forms, a mark for "several cases", and a number that
/// is the case or, with the mark, the first link of the chain of cases.
#[derive(Debug, Clone, Copy)]
struct Posting(u32);

impl Posting {
    const SHARED: u32 = 1 << Forms::BITS;
    const SHIFT: u32 = Forms::BITS + 1;

    fn case(number: u32, forms: Forms) -> Result<Self, IndexFull> {
        if number < POSTING_LIMIT { Ok(Self(number << Self::SHIFT | forms.0)) } else { Err(IndexFull) }
    }

    fn chain(link: usize) -> Result<Self, IndexFull> {
        let link = u32::try_from(link).ok().filter(|link| *link < POSTING_LIMIT).ok_or(IndexFull)?;
        Ok(Self(link << Self::SHIFT | Self::SHARED))
    }

    const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    const fn number(self) -> u32 {
        self.0 >> Self::SHIFT
    }

    const fn forms(self) -> Forms {
        Forms(self.0 & Forms::ALL)
    }

    const fn is_chain(self) -> bool {
        self.0 & Self::SHARED != 0
    }

    const fn with(self, forms: Forms) -> Self {
        Self(self.0 | forms.0)
    }
}

/// One case of several that name the same host; the chain ends at `None`.
#[derive(Debug, Clone, Copy)]
struct Link {
    posting: Posting,
    next: Option<u32>,
}

/// Names with the numbers of the cases that name them.
///
/// The hasher is seeded anew for each index. The names in it are the operator's, not the visitor's, so
/// nobody outside can choose what collides; the seed costs nothing and covers lists taken from others.
#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    names: Vec<u8>,
    links: Vec<Link>,
}

impl HostIndex {
    /// Room for `names` names of `bytes` octets together, so that inserting them moves nothing.
    pub(crate) fn with_capacity(names: usize, bytes: usize) -> Self {
        Self {
            table: HashTable::with_capacity(names),
            names: Vec::with_capacity(bytes.saturating_add(names.saturating_mul(HEADER))),
            ..Self::default()
        }
    }

    /// Adds a pattern of a case. All patterns of one case must come before those of the next.
    ///
    /// # Errors
    /// When the buffer or the numbers are used up.
    pub(crate) fn insert(&mut self, case: u32, pattern: &Pattern) -> Result<(), IndexFull> {
        let Self { hasher, table, names, links } = self;
        let name = pattern.name.as_str().as_bytes();
        let forms = Forms::of(pattern.form);
        let same = |&offset: &u32| name_at(names, offset) == Some(name);
        let rehash = |&offset: &u32| hasher.hash_one(name_at(names, offset).unwrap_or_default());
        match table.entry(hasher.hash_one(name), same, rehash) {
            Entry::Occupied(entry) => {
                let slot = posting_slot(names, *entry.get()).ok_or(IndexFull)?;
                *slot = joined(links, Posting::from_bytes(*slot), case, forms)?.to_bytes();
            }
            Entry::Vacant(entry) => {
                entry.insert(u32::try_from(names.len()).map_err(|_| IndexFull)?);
                let length = u8::try_from(name.len()).map_err(|_| IndexFull)?;
                names.extend_from_slice(&Posting::case(case, forms)?.to_bytes());
                names.push(length);
                names.extend_from_slice(name);
            }
        }
        Ok(())
    }

    /// Gives back what `with_capacity` took too much.
    pub(crate) fn shrink(&mut self) {
        let Self { hasher, table, names, links } = self;
        table.shrink_to_fit(|&offset| hasher.hash_one(name_at(names, offset).unwrap_or_default()));
        names.shrink_to_fit();
        links.shrink_to_fit();
    }

    /// The cases that name exactly `name`, each once, with the forms in which they do.
    pub(crate) fn naming(&self, name: &str) -> Naming<'_> {
        let name = name.as_bytes();
        let found =
            self.table.find(self.hasher.hash_one(name), |&offset| name_at(&self.names, offset) == Some(name));
        let posting = found.and_then(|&offset| posting_at(&self.names, offset));
        Naming { links: &self.links, posting, next: None }
    }

    /// How many different names are in it.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of memory it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.allocation_size() + self.names.capacity() + self.links.capacity() * size_of::<Link>()
    }
}

/// The cases that name one host; see [`HostIndex::naming`].
#[derive(Debug)]
pub(crate) struct Naming<'i> {
    links: &'i [Link],
    posting: Option<Posting>,
    next: Option<u32>,
}

impl Iterator for Naming<'_> {
    type Item = (u32, Forms);

    fn next(&mut self) -> Option<Self::Item> {
        let at = match self.posting.take() {
            Some(posting) if !posting.is_chain() => return Some((posting.number(), posting.forms())),
            Some(chain) => chain.number(),
            None => self.next?,
        };
        let link = self.links.get(at as usize)?;
        self.next = link.next;
        Some((link.posting.number(), link.posting.forms()))
    }
}

/// The posting of a name after `case` names it as well. A chain grows at its front, so the case that
/// is being inserted is always the first of it.
fn joined(links: &mut Vec<Link>, old: Posting, case: u32, forms: Forms) -> Result<Posting, IndexFull> {
    let next = if old.is_chain() {
        let first = links.get_mut(old.number() as usize).ok_or(IndexFull)?;
        if first.posting.number() == case {
            first.posting = first.posting.with(forms);
            return Ok(old);
        }
        old.number()
    } else {
        if old.number() == case {
            return Ok(old.with(forms));
        }
        let last = Posting::chain(links.len())?.number();
        links.push(Link { posting: old, next: None });
        last
    };
    let chain = Posting::chain(links.len())?;
    links.push(Link { posting: Posting::case(case, forms)?, next: Some(next) });
    Ok(chain)
}

fn name_at(names: &[u8], offset: u32) -> Option<&[u8]> {
    let entry = names.get(offset as usize..)?;
    let (header, rest) = entry.split_first_chunk::<HEADER>()?;
    let [_, _, _, _, length] = *header;
    rest.get(..usize::from(length))
}

fn posting_at(names: &[u8], offset: u32) -> Option<Posting> {
    let bytes = names.get(offset as usize..)?.first_chunk::<4>()?;
    Some(Posting::from_bytes(*bytes))
}

fn posting_slot(names: &mut [u8], offset: u32) -> Option<&mut [u8; 4]> {
    names.get_mut(offset as usize..)?.first_chunk_mut::<4>()
}

/// A set of patterns without cases: the `except` of one case.
#[derive(Debug, Default)]
pub(crate) struct PatternSet(HostIndex);

impl PatternSet {
    /// # Errors
    /// When there are more than the index can address.
    pub(crate) fn new(patterns: &[Pattern]) -> Result<Self, IndexFull> {
        let mut index = HostIndex::default();
        for pattern in patterns {
            index.insert(0, pattern)?;
        }
        index.shrink();
        Ok(Self(index))
    }

    /// Whether one of the patterns covers `host`.
    pub(crate) fn covers(&self, host: &Hostname) -> bool {
        self.0.len() > 0
            && host.suffixes().enumerate().any(|(depth, suffix)| {
                self.0.naming(suffix).any(|(_, forms)| forms.covering(depth == 0).is_some())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{Forms, HostIndex, PatternSet};
    use crate::hostname::Hostname;
    use crate::policy::{Form, Pattern};

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn cases(index: &HostIndex, name: &str) -> Vec<(u32, Forms)> {
        index.naming(name).collect()
    }

    #[test]
    fn several_forms_of_one_case_are_one_entry() {
        let mut index = HostIndex::default();
        for text in ["a.example", "*.a.example", "a.example"] {
            index.insert(7, &pattern(text)).unwrap();
        }
        let [(7, forms)] = cases(&index, "a.example")[..] else { panic!("one case expected") };
        assert_eq!(forms.covering(true), Some(Form::Exact));
        assert_eq!(forms.covering(false), Some(Form::Below));
        assert_eq!(index.len(), 1);
        assert_eq!(cases(&index, "b.example"), []);
        assert_eq!(cases(&index, "example"), []);
    }

    #[test]
    fn every_case_on_one_name_is_found_once() {
        let mut index = HostIndex::with_capacity(2, 20);
        for case in 0..5 {
            for text in [".a.example", "a.example", "b.example", ".a.example"] {
                index.insert(case, &pattern(text)).unwrap();
            }
        }
        index.shrink();
        for name in ["a.example", "b.example"] {
            let mut numbers: Vec<u32> = cases(&index, name).into_iter().map(|(case, _)| case).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2, 3, 4]);
        }
        assert!(
            cases(&index, "a.example").iter().all(|(_, forms)| forms.covering(false) == Some(Form::Subtree))
        );
    }

    #[test]
    fn an_exact_form_does_not_cover_what_is_below_and_below_not_the_name() {
        for (form, whole, below) in [
            (Form::Exact, Some(Form::Exact), None),
            (Form::Subtree, Some(Form::Subtree), Some(Form::Subtree)),
            (Form::Below, None, Some(Form::Below)),
        ] {
            assert_eq!(Forms::of(form).covering(true), whole);
            assert_eq!(Forms::of(form).covering(false), below);
        }
    }

    #[test]
    fn a_pattern_set_covers_what_one_of_its_patterns_covers() {
        let set = PatternSet::new(&[pattern("a.example"), pattern("*.b.example")]).unwrap();
        for (host, covered) in
            [("a.example", true), ("x.a.example", false), ("x.b.example", true), ("b.example", false)]
        {
            assert_eq!(set.covers(&Hostname::parse(host).unwrap()), covered, "{host}");
        }
        assert!(!PatternSet::default().covers(&Hostname::parse("a.example").unwrap()));
    }

    #[test]
    fn the_index_says_no_when_its_numbers_are_used_up() {
        assert!(HostIndex::default().insert(super::POSTING_LIMIT, &pattern("a.example")).is_err());
    }
}
