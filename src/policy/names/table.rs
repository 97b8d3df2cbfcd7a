//! A hash table of names: what a small set, or a change to a large one, is kept in.
//!
//! All names lie one behind the other in a single buffer, each with four bytes that say which case
//! names it; a hash table of four-byte offsets finds them. A name costs its own length, five bytes in
//! the buffer and six to twelve in the table, and dropping a million of them is freeing two blocks.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::posting::{Forms, IndexFull, Link, Naming, Posting};
use crate::hostname::Hostname;
use crate::policy::pattern::Pattern;

/// Bytes before each name in the buffer: the posting, then the length of the name.
const HEADER: usize = 5;
/// Names with the numbers of the cases that name them.
///
/// The hasher is seeded anew for each index. The names in it are the operator's, not the visitor's, so
/// nobody outside can choose what collides; the seed costs nothing and covers lists taken from others.
#[derive(Debug, Default)]
pub(super) struct Table {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    names: Vec<u8>,
    links: Vec<Link>,
}

impl Table {
    /// Room for `names` names of `bytes` octets together, so that inserting them moves nothing.
    pub(crate) fn with_capacity(names: usize, bytes: usize) -> Self {
        Self {
            table: HashTable::with_capacity(names),
            names: Vec::with_capacity(bytes.saturating_add(names.saturating_mul(HEADER))),
            ..Self::default()
        }
    }

    /// Adds a name of a case. All names of one case must come before those of the next. Returns whether the case did
    /// not name it before.
    ///
    /// # Errors
    /// When the buffer or the numbers are used up.
    pub(super) fn insert(&mut self, case: u32, name: &[u8], forms: Forms) -> Result<bool, IndexFull> {
        let Self { hasher, table, names, links } = self;
        let same = |&offset: &u32| name_at(names, offset) == Some(name);
        let rehash = |&offset: &u32| hasher.hash_one(name_at(names, offset).unwrap_or_default());
        match table.entry(hasher.hash_one(name), same, rehash) {
            Entry::Occupied(entry) => {
                let slot = posting_slot(names, *entry.get()).ok_or(IndexFull)?;
                let (posting, is_new) =
                    joined(links, Posting::from_bits(u32::from_le_bytes(*slot)), case, forms)?;
                *slot = posting.bits().to_le_bytes();
                Ok(is_new)
            }
            Entry::Vacant(entry) => {
                entry.insert(u32::try_from(names.len()).map_err(|_| IndexFull)?);
                let length = u8::try_from(name.len()).map_err(|_| IndexFull)?;
                names.extend_from_slice(&Posting::case(case, forms)?.bits().to_le_bytes());
                names.push(length);
                names.extend_from_slice(name);
                Ok(true)
            }
        }
    }

    /// Gives back what `with_capacity` took too much.
    pub(crate) fn shrink(&mut self) {
        let Self { hasher, table, names, links } = self;
        table.shrink_to_fit(|&offset| hasher.hash_one(name_at(names, offset).unwrap_or_default()));
        names.shrink_to_fit();
        links.shrink_to_fit();
    }

    /// The cases that name exactly `name`, each once, with the forms in which they do.
    pub(super) fn naming(&self, name: &[u8]) -> Naming<'_> {
        let found =
            self.table.find(self.hasher.hash_one(name), |&offset| name_at(&self.names, offset) == Some(name));
        let posting = found.and_then(|&offset| posting_at(&self.names, offset));
        Naming::new(&self.links, posting)
    }

    /// Every name with its cases, in the order in which the names were first added.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Naming<'_>)> {
        let mut at = 0_usize;
        std::iter::from_fn(move || {
            let offset = u32::try_from(at).ok()?;
            let (name, posting) = (name_at(&self.names, offset)?, posting_at(&self.names, offset)?);
            at += HEADER + name.len();
            Some((name, Naming::new(&self.links, Some(posting))))
        })
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

/// The posting of a name after `case` names it as well. A chain grows at its front, so the case that
/// is being inserted is always the first of it. With the posting comes whether the case is new in it.
fn joined(
    links: &mut Vec<Link>,
    old: Posting,
    case: u32,
    forms: Forms,
) -> Result<(Posting, bool), IndexFull> {
    let next = if old.is_chain() {
        let first = links.get_mut(old.number() as usize).ok_or(IndexFull)?;
        if first.posting.number() == case {
            first.posting = first.posting.with(forms);
            return Ok((old, false));
        }
        old.number()
    } else {
        if old.number() == case {
            return Ok((old.with(forms), false));
        }
        let last = Posting::chain(links.len())?.number();
        links.push(Link { posting: old, next: None });
        last
    };
    let chain = Posting::chain(links.len())?;
    links.push(Link { posting: Posting::case(case, forms)?, next: Some(next) });
    Ok((chain, true))
}

fn name_at(names: &[u8], offset: u32) -> Option<&[u8]> {
    let entry = names.get(offset as usize..)?;
    let (header, rest) = entry.split_first_chunk::<HEADER>()?;
    let [_, _, _, _, length] = *header;
    rest.get(..usize::from(length))
}

fn posting_at(names: &[u8], offset: u32) -> Option<Posting> {
    let bytes = names.get(offset as usize..)?.first_chunk::<4>()?;
    Some(Posting::from_bits(u32::from_le_bytes(*bytes)))
}

fn posting_slot(names: &mut [u8], offset: u32) -> Option<&mut [u8; 4]> {
    names.get_mut(offset as usize..)?.first_chunk_mut::<4>()
}

/// A set of patterns without cases: the `except` of one case.
#[derive(Debug, Default)]
pub(crate) struct PatternSet(Table);

impl PatternSet {
    /// # Errors
    /// When there are more than the index can address.
    pub(crate) fn new(patterns: &[Pattern]) -> Result<Self, IndexFull> {
        let mut index = Table::default();
        for pattern in patterns {
            index.insert(0, pattern.name.as_str().as_bytes(), Forms::of(pattern.form))?;
        }
        index.shrink();
        Ok(Self(index))
    }

    /// Whether one of the patterns covers `host`.
    pub(crate) fn covers(&self, host: &Hostname) -> bool {
        self.0.len() > 0
            && host.suffixes().enumerate().any(|(depth, suffix)| {
                self.0.naming(suffix.as_bytes()).any(|(_, forms)| forms.covering(depth == 0).is_some())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{Forms, IndexFull, PatternSet, Table};
    use crate::hostname::Hostname;
    use crate::policy::names::posting::POSTING_LIMIT;
    use crate::policy::{Form, Pattern};

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn insert(table: &mut Table, case: u32, text: &str) -> Result<bool, IndexFull> {
        let pattern = pattern(text);
        table.insert(case, pattern.name.as_str().as_bytes(), Forms::of(pattern.form))
    }

    fn cases(index: &Table, name: &str) -> Vec<(u32, Forms)> {
        index.naming(name.as_bytes()).collect()
    }

    #[test]
    fn several_forms_of_one_case_are_one_entry() {
        let mut index = Table::default();
        for text in ["a.example", "*.a.example", "a.example"] {
            insert(&mut index, 7, text).unwrap();
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
        let mut index = Table::with_capacity(2, 20);
        for case in 0..5 {
            for text in [".a.example", "a.example", "b.example", ".a.example"] {
                insert(&mut index, case, text).unwrap();
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
        assert!(insert(&mut Table::default(), POSTING_LIMIT, "a.example").is_err());
    }
}
