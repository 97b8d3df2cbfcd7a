//! The image of a large set: sorted names, packed, behind a filter.
//!
//! Sorted by the name read backwards, names share most of what they begin with, and what is left is written in few bits: a
//! name of a real list takes about six octets, posting included. They are searched where they lie. An image can only be
//! made from sorted names, all at once: a change goes into a [table](super::table) beside it, until both are merged.
//!
//! The names are divided into [parts](part) of half a million, each with codes of its own. Two threads make them, and as
//! many as there are processors read them back.

mod build;
mod code;
mod file;
mod finger;
mod pack;
mod part;

use std::slice;

use super::filter::{Filter, Reach};
use super::hash::{Depths, Seed};
use super::posting::{Naming, Posting};
use crate::hostname::{Hostname, MAX_NAME_OCTETS};

pub(crate) use build::BuildError;
pub(super) use build::{Ordered, Source, build};
pub use file::ReadAt;
pub(super) use file::{read, write};
pub(super) use finger::Finger;

use part::{Part, PartWalk};

/// Names with the numbers of the cases that name them, all there from the start.
#[derive(Debug)]
pub(crate) struct Image {
    /// Of the hashes in the filter.
    seed: Seed,
    filter: Filter,
    labels: Labels,
    /// In the order of their names, none of them empty.
    parts: Vec<Part>,
}

/// How many labels the names of an image have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Labels {
    /// All names.
    named: Depths,
    /// Those whose patterns cover names below them: of a host's parents, nothing else covers it.
    covering: Depths,
}

/// What of a host is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Patterns that cover it.
    Covering,
    /// Any that are built on it or a parent of it.
    Any,
}

impl Image {
    /// Which of a host's names may be in it.
    #[inline]
    pub(super) fn may_name(&self, host: &Hostname, sought: Sought) -> Depths {
        let parents = match sought {
            Sought::Covering => self.labels.covering,
            Sought::Any => self.labels.named,
        };
        let mut found = Depths::default();
        self.seed.of_suffixes(host, parents, |depth, hash| {
            // What a parent covers beside the names below it is of no interest to them.
            let any = sought == Sought::Any || depth == Depths::OWN;
            let may =
                if any { self.filter.may_hold_any(hash) } else { self.filter.may_hold(hash, Reach::Below) };
            found = found.and_if(depth, may);
        });
        found
    }

    /// The cases that name exactly `name`.
    pub(super) fn naming(&self, name: &[u8]) -> Naming<'_> {
        self.find(name).unwrap_or_else(|| Naming::new(&[], None))
    }

    fn find(&self, name: &[u8]) -> Option<Naming<'_>> {
        let mut backwards = [0; MAX_NAME_OCTETS];
        let key = backwards.get_mut(..name.len())?;
        key.iter_mut().zip(name.iter().rev()).for_each(|(to, from)| *to = *from);
        let after = self.parts.partition_point(|part| part.plan.from.as_slice() <= &*key);
        let part = self.parts.get(after.checked_sub(1)?)?;
        Some(Naming::new(&part.links, Some(part.find(key)?)))
    }

    /// The same for names that mostly come in its order.
    pub(super) fn finger(&self) -> Finger<'_> {
        Finger::new(self)
    }

    /// How many different names are in it.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.plan.names as usize).sum()
    }

    /// Bytes of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes() + self.parts.iter().map(Part::memory_bytes).sum::<usize>()
    }

    /// Walks through all names, in the order of the name backwards.
    pub(super) fn walk(&self) -> Walk<'_> {
        let mut parts = self.parts.iter();
        let now = parts.next().map(Part::walk);
        Walk { parts, now, name: Vec::with_capacity(MAX_NAME_OCTETS), posting: None }
    }

    /// A name near the middle, backwards.
    pub(super) fn middle(&self) -> Vec<u8> {
        let mut before = 0;
        let middle = self.parts.iter().find(|part| {
            before += part.plan.names as usize;
            before > self.len() / 2
        });
        match self.parts.as_slice() {
            [only] => only.middle(),
            _ => middle.map(|part| part.plan.from.clone()).unwrap_or_default(),
        }
    }
}

/// A walk through an image.
pub(super) struct Walk<'i> {
    parts: slice::Iter<'i, Part>,
    now: Option<PartWalk<'i>>,
    name: Vec<u8>,
    posting: Option<Posting>,
}

impl<'i> Walk<'i> {
    /// Goes to the next name; false after the last.
    pub(super) fn advance(&mut self) -> bool {
        while let Some(now) = &mut self.now {
            self.posting = now.advance(&mut self.name);
            if self.posting.is_some() {
                return true;
            }
            self.now = self.parts.next().map(Part::walk);
        }
        false
    }

    /// The name it stands at, backwards.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The cases of that name.
    pub(super) fn naming(&self) -> Naming<'i> {
        Naming::new(self.now.as_ref().map(PartWalk::links).unwrap_or_default(), self.posting)
    }
}
