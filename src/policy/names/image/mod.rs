//! The image of a large set: sorted names as an automaton, behind a filter.
//!
//! An automaton (the crate `fst`) shares what names begin and end with, so that a name of a real list takes nine
//! to ten octets, posting included; it is searched where it lies. It can only be made from sorted names, all at once:
//! a change goes into a [table](super::table) beside it, until both are merged.
//!
//! An image has two parts, divided by the order of the names, so that two threads make it.

mod build;
mod file;

use std::cmp::Ordering;
use std::slice;

use fst::{Map, map};

use super::filter::Filter;
use super::posting::{Link, Naming, Posting};
use crate::hostname::MAX_NAME_OCTETS;

pub(crate) use build::BuildError;
pub(super) use build::{Ordered, Source, build};
pub(super) use file::{read, write};

/// One stretch of the names.
#[derive(Debug)]
struct Part {
    /// No name before this one, backwards, is in it.
    from: Vec<u8>,
    names: Map<Vec<u8>>,
    links: Vec<Link>,
    filter: Filter,
}

/// Names with the numbers of the cases that name them, all there from the start.
#[derive(Debug)]
pub(crate) struct Image {
    /// In the order of their names; the first begins with the first name there can be.
    parts: Vec<Part>,
}

impl Image {
    /// The cases that name exactly `name`, whose hash is `hash`.
    pub(super) fn naming(&self, name: &[u8], hash: u64) -> Naming<'_> {
        let found = self.part_for(name).and_then(|part| Some((part, part.find(name, hash)?)));
        match found {
            Some((part, posting)) => Naming::new(&part.links, Some(posting)),
            None => Naming::new(&[], None),
        }
    }

    fn part_for(&self, name: &[u8]) -> Option<&Part> {
        let begins_after = |part: &&Part| name.iter().rev().cmp(&part.from) == Ordering::Less;
        self.parts.iter().rev().find(|part| !begins_after(part))
    }

    /// How many different names are in it.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.names.len()).sum()
    }

    /// Bytes of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_part = |part: &Part| {
            part.names.as_fst().as_bytes().len()
                + size_of_val(part.filter.words())
                + part.links.capacity() * size_of::<Link>()
        };
        self.parts.iter().map(of_part).sum()
    }

    /// Walks through all names, in the order of the name backwards.
    pub(super) fn walk(&self) -> Walk<'_> {
        let mut parts = self.parts.iter();
        let now = parts.next().map(|part| (part, part.names.stream()));
        Walk { parts, now, name: Vec::new(), posting: None }
    }

    /// The name where the second part begins, backwards.
    pub(super) fn middle(&self) -> Vec<u8> {
        self.parts.last().map(|part| part.from.clone()).unwrap_or_default()
    }
}

/// A walk through an image.
pub(super) struct Walk<'i> {
    parts: slice::Iter<'i, Part>,
    now: Option<(&'i Part, map::Stream<'i>)>,
    name: Vec<u8>,
    posting: Option<Posting>,
}

impl<'i> Walk<'i> {
    /// Goes to the next name; false after the last.
    pub(super) fn advance(&mut self) -> bool {
        while let Some((_, names)) = &mut self.now {
            if let Some((name, bits)) = fst::Streamer::next(names) {
                self.name.clear();
                self.name.extend_from_slice(name);
                self.posting = Some(posting(bits));
                return true;
            }
            self.now = self.parts.next().map(|part| (part, part.names.stream()));
        }
        false
    }

    /// The name it stands at, backwards.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The cases of that name.
    pub(super) fn naming(&self) -> Naming<'i> {
        let links = self.now.as_ref().map(|(part, _)| part.links.as_slice()).unwrap_or_default();
        Naming::new(links, self.posting)
    }
}

impl Part {
    fn find(&self, name: &[u8], hash: u64) -> Option<Posting> {
        if !self.filter.may_hold(hash) {
            return None;
        }
        let mut backwards = [0; MAX_NAME_OCTETS];
        let key = backwards.get_mut(..name.len())?;
        for (to, from) in key.iter_mut().zip(name.iter().rev()) {
            *to = *from;
        }
        self.names.get(key).map(posting)
    }
}

/// An image holds postings of 32 bits; a wider value is no posting of ours, and says nothing.
fn posting(bits: u64) -> Posting {
    Posting::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))
}
