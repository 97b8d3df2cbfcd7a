//! Makes an image: all runs are merged, in two halves at once.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::pack::{PART_NAMES, Waiting};
use super::part::Part;
use super::{Image, Labels};
use crate::policy::names::filter::{Filter, Reach};
use crate::policy::names::hash::{Depths, Seed};
use crate::policy::names::pace::Pace;
use crate::policy::names::posting::{Cases, Chains, IndexFull, Naming};

/// Why no image was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Full(#[from] IndexFull),
    /// Where runs wait.
    #[error("cannot merge the names of the set: {0}")]
    Spool(#[from] io::Error),
    /// Nobody wants it any more.
    #[error("cancelled")]
    Cancelled,
    /// Where runs wait, something else has changed them.
    #[error("cannot compile the names of the set: they are not in order")]
    Disorder,
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

/// Merges names into an image, and counts how many each of `case_count` cases has. It ends early when it is `cancelled`.
pub(in crate::policy::names) fn build(
    sources: &[Box<dyn Source + '_>],
    case_count: usize,
    cancelled: &AtomicBool,
) -> Result<(Image, Vec<u32>), BuildError> {
    let largest = sources.iter().max_by_key(|source| source.len());
    let middle = largest.map(|source| source.middle()).unwrap_or_default();
    let (low, high) = thread::scope(|scope| {
        let low = || half(sources, case_count, (&[], Some(&middle)), Pace::until(cancelled));
        let beside = thread::Builder::new().spawn_scoped(scope, low);
        let high = half(sources, case_count, (&middle, None), Pace::until(cancelled));
        let ended = || BuildError::Spool(io::Error::other("a thread that compiles names ended in a panic"));
        match beside {
            Ok(beside) => (beside.join().unwrap_or_else(|_| Err(ended())), high),
            // Where there is no thread to be had, one half comes after the other.
            Err(_) => (low(), high),
        }
    });
    let (mut low, high) = (low?, high?);
    for (count, more) in low.counts.iter_mut().zip(high.counts) {
        *count = count.saturating_add(more);
    }
    let labels = Labels {
        named: low.labels.named.and(high.labels.named),
        covering: low.labels.covering.and(high.labels.covering),
    };
    low.parts.extend(high.parts);
    let seed = Seed::random();
    let filter = filter(&low.parts, seed, Pace::until(cancelled))?;
    Ok((Image { seed, filter, labels, parts: low.parts }, low.counts))
}

/// The names are walked through once more: to keep the hashes until their number is known would take eight octets a name.
fn filter(parts: &[Part], seed: Seed, mut pace: Pace<'_>) -> Result<Filter, BuildError> {
    let mut filter = Filter::with_room(parts.iter().map(|part| u64::from(part.plan.names)).sum());
    let (mut backwards, mut name) = (Vec::new(), Vec::new());
    for part in parts {
        let mut walk = part.walk();
        while let Some(posting) = walk.advance(&mut backwards) {
            pace.tick()?;
            name.clear();
            name.extend(backwards.iter().rev());
            let mut naming = Naming::new(&part.links, Some(posting));
            let below = naming.any(|(_, forms)| forms.covering(false).is_some());
            filter.insert(seed.of(&name), if below { Reach::Below } else { Reach::Itself });
        }
    }
    Ok(filter)
}

/// The names from `from` on, and before `to`.
fn half(
    sources: &[Box<dyn Source + '_>],
    case_count: usize,
    (from, to): (&[u8], Option<&[u8]>),
    mut pace: Pace<'_>,
) -> Result<Half, BuildError> {
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for source in sources {
        heads.extend(advanced(Head(source.open()?), from, &mut pace)?);
    }
    let mut making = Making::new(case_count, from);
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
        heads.extend(advanced(head, from, &mut pace)?);
    }
    making.add(&name, &mut cases)?;
    making.seal(&[])?;
    Ok(making.made)
}

/// The name that comes next in one source.
struct Head<'r>(Box<dyn Ordered + 'r>);

/// At the next name that does not come before `from`; nothing after the last.
fn advanced<'r>(
    mut head: Head<'r>,
    from: &[u8],
    pace: &mut Pace<'_>,
) -> Result<Option<Reverse<Head<'r>>>, BuildError> {
    while head.0.advance()? {
        pace.tick()?;
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

/// What one thread has made.
struct Half {
    parts: Vec<Part>,
    labels: Labels,
    counts: Vec<u32>,
}

/// One half while it is made.
struct Making {
    /// Where the part begins that is being made.
    from: Vec<u8>,
    waiting: Waiting,
    chains: Chains,
    made: Half,
}

impl Making {
    fn new(case_count: usize, from: &[u8]) -> Self {
        let made = Half { parts: Vec::new(), labels: Labels::default(), counts: vec![0; case_count] };
        Self { from: from.to_vec(), waiting: Waiting::default(), chains: Chains::default(), made }
    }

    /// Adds a name with its cases, which are used up; without cases there is no name yet.
    fn add(&mut self, name: &[u8], cases: &mut Cases) -> Result<(), BuildError> {
        if cases.is_empty() {
            return Ok(());
        }
        if self.waiting.names == PART_NAMES {
            self.seal(name)?;
        }
        settle(cases);
        let labels = Depths::labels_of(name);
        self.made.labels.named = self.made.labels.named.and(labels);
        for (case, forms) in cases.iter() {
            if let Some(count) = self.made.counts.get_mut(*case as usize) {
                *count = count.saturating_add(1);
            }
            if forms.covering(false).is_some() {
                self.made.labels.covering = self.made.labels.covering.and(labels);
            }
        }
        let posting = self.chains.posting(cases)?;
        cases.clear();
        if self.waiting.push(name, posting) { Ok(()) } else { Err(BuildError::Disorder) }
    }

    /// Makes a part of the names that wait; the next one begins at `next`.
    fn seal(&mut self, next: &[u8]) -> Result<(), BuildError> {
        if self.waiting.names > 0 {
            let from = std::mem::replace(&mut self.from, next.to_vec());
            let links = std::mem::take(&mut self.chains).into_links();
            self.made.parts.push(self.waiting.pack(from, links).ok_or(IndexFull)?);
        }
        Ok(())
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
