//! Makes an image: all runs are merged, in two halves at once.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::thread;

use fst::{Map, MapBuilder};

use super::{Image, Part};
use crate::policy::names::filter::Filter;
use crate::policy::names::hash;
use crate::policy::names::posting::{Cases, Chains, IndexFull};

/// Why no image was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Full(#[from] IndexFull),
    /// Where runs wait.
    #[error("cannot merge the names of the set: {0}")]
    Spool(#[from] io::Error),
    #[error("cannot compile the names of the set: {0}")]
    Automaton(#[from] fst::Error),
}

/// Names in the order of the name backwards, each once, with the cases that name it.
pub(in crate::policy::names) trait Ordered: Send {
    /// Goes to the next name; false after the last.
    fn advance(&mut self) -> io::Result<bool>;
    /// The name it stands at, backwards.
    fn name(&self) -> &[u8];
    /// Adds its cases to `cases`.
    fn cases(&self, cases: &mut Cases);
}

/// Where ordered names come from; they are walked through once for each half.
pub(in crate::policy::names) trait Source: Sync {
    /// How many there are.
    fn len(&self) -> u64;
    /// One of them near the middle, backwards.
    fn middle(&self) -> Vec<u8>;
    /// From the first on.
    fn open(&self) -> io::Result<Box<dyn Ordered + '_>>;
}

/// Merges names into an image, and counts how many each of `case_count` cases has.
pub(in crate::policy::names) fn build(
    sources: &[Box<dyn Source + '_>],
    case_count: usize,
) -> Result<(Image, Vec<u32>), BuildError> {
    let largest = sources.iter().max_by_key(|source| source.len());
    let middle = largest.map(|source| source.middle()).unwrap_or_default();
    let (low, high) = thread::scope(|scope| {
        let low = || half(sources, case_count, &[], Some(&middle));
        let beside = thread::Builder::new().spawn_scoped(scope, low);
        let high = half(sources, case_count, &middle, None);
        let ended = || BuildError::Spool(io::Error::other("a thread that compiles names ended in a panic"));
        match beside {
            Ok(beside) => (beside.join().unwrap_or_else(|_| Err(ended())), high),
            // Where there is no thread to be had, one half comes after the other.
            Err(_) => (low(), high),
        }
    });
    let ((low, mut counts), (high, more)) = (low?, high?);
    for (count, more) in counts.iter_mut().zip(more) {
        *count = count.saturating_add(more);
    }
    Ok((Image { parts: vec![low, high] }, counts))
}

/// The names from `from` on, and before `to`.
fn half(
    sources: &[Box<dyn Source + '_>],
    case_count: usize,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<(Part, Vec<u32>), BuildError> {
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for source in sources {
        heads.extend(advanced(Head(source.open()?), from)?);
    }
    let mut making = Making::new(case_count);
    let mut name = Vec::new();
    let mut cases = Cases::new();
    while let Some(Reverse(head)) = heads.pop() {
        if to.is_some_and(|to| head.0.name() >= to) {
            break;
        }
        if head.0.name() != name.as_slice() {
            making.add(&name, &mut cases)?;
            name.clear();
            name.extend_from_slice(head.0.name());
        }
        head.0.cases(&mut cases);
        heads.extend(advanced(head, from)?);
    }
    making.add(&name, &mut cases)?;
    making.finish(from)
}

/// The name that comes next in one source.
struct Head<'r>(Box<dyn Ordered + 'r>);

/// At the next name that does not come before `from`; nothing after the last.
fn advanced<'r>(mut head: Head<'r>, from: &[u8]) -> io::Result<Option<Reverse<Head<'r>>>> {
    while head.0.advance()? {
        if head.0.name() >= from {
            return Ok(Some(Reverse(head)));
        }
    }
    Ok(None)
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name().cmp(other.0.name())
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

/// A part of the image while it is made.
struct Making {
    names: MapBuilder<Vec<u8>>,
    chains: Chains,
    counts: Vec<u32>,
}

impl Making {
    fn new(case_count: usize) -> Self {
        Self { names: MapBuilder::memory(), chains: Chains::default(), counts: vec![0; case_count] }
    }

    /// Adds a name with its cases, which are used up; without cases there is no name yet.
    fn add(&mut self, name: &[u8], cases: &mut Cases) -> Result<(), BuildError> {
        if cases.is_empty() {
            return Ok(());
        }
        settle(cases);
        for (case, _) in cases.iter() {
            if let Some(count) = self.counts.get_mut(*case as usize) {
                *count = count.saturating_add(1);
            }
        }
        self.names.insert(name, u64::from(self.chains.posting(cases)?.bits()))?;
        cases.clear();
        Ok(())
    }

    fn finish(self, from: &[u8]) -> Result<(Part, Vec<u32>), BuildError> {
        let mut names = self.names.into_inner()?;
        names.shrink_to_fit();
        let names = Map::new(names)?;
        // Walked through once more: to keep the hashes until their number is known would take eight octets a name.
        let mut filter = Filter::with_room(names.len() as u64);
        let mut walk = names.stream();
        while let Some((name, _)) = fst::Streamer::next(&mut walk) {
            filter.insert(hash::of_reversed(name));
        }
        Ok((Part { from: from.to_vec(), names, links: self.chains.into_links(), filter }, self.counts))
    }
}

/// Sorts the cases of a name and keeps each once, with all its forms.
fn settle(cases: &mut Cases) {
    cases.sort_by_key(|(case, _)| *case);
    cases.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 = first.1.and(later.1);
        }
        same
    });
}
