//! Runs: the patterns of one list, sorted by the name read backwards, in as few octets as a merge needs.
//!
//! Read backwards, a name stands beside its parents and its neighbours under one domain, so each entry keeps only what
//! differs from the one before: how many octets they share, how many follow, the forms, then the octets.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use super::posting::Forms;
use crate::background::Breath;
use crate::hostname::MAX_NAME_OCTETS;
use crate::policy::pattern::Pattern;

/// Patterns in the order in which they came, one behind the other in one buffer: forms, length, the name backwards.
#[derive(Debug, Default)]
pub(crate) struct Unsorted {
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<u32>,
}

impl Unsorted {
    /// Adds a pattern. False when the buffer is full: 4 GiB.
    #[must_use]
    pub(crate) fn push(&mut self, pattern: &Pattern) -> bool {
        let name = pattern.name.as_str().as_bytes();
        let (Ok(start), Ok(length)) = (u32::try_from(self.bytes.len()), u8::try_from(name.len())) else {
            return false;
        };
        self.starts.push(start);
        self.bytes.push(Forms::of(pattern.form).to_byte());
        self.bytes.push(length);
        self.bytes.extend(name.iter().rev());
        true
    }

    /// How many were added.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    fn name(bytes: &[u8], start: u32) -> (u8, &[u8]) {
        let entry = bytes.get(start as usize..).and_then(<[u8]>::split_first_chunk::<2>);
        let Some(([forms, length], rest)) = entry else { return (0, &[]) };
        (*forms, rest.get(..usize::from(*length)).unwrap_or_default())
    }

    /// The same patterns as a run, each name once with all its forms.
    pub(crate) fn sorted(self) -> SortedRun {
        let Self { bytes, starts } = self;
        let mut breath = Breath::every(1 << 13);
        let mut sorted: Vec<Begun> = Vec::with_capacity(starts.len());
        for start in starts {
            breath.tick();
            sorted.push(Begun::new(Self::name(&bytes, start).1, start));
        }
        sorted.sort_unstable_by(|a, b| {
            breath.tick();
            let whole = |one: &Begun| Self::name(&bytes, one.start).1;
            a.octets.cmp(&b.octets).then_with(|| whole(a).cmp(whole(b)))
        });
        let mut run = SortedRun::default();
        let middle = sorted.get(sorted.len() / 2).map(|one| Self::name(&bytes, one.start).1.to_vec());
        run.middle = middle.unwrap_or_default();
        let mut previous: &[u8] = &[];
        let mut forms_at = None;
        let mut breath = Breath::every(1 << 11);
        for Begun { start, .. } in sorted {
            breath.tick();
            let (forms, name) = Self::name(&bytes, start);
            // No name is empty, so the first never equals what stands for "none before".
            if name == previous {
                if let Some(written) = forms_at.and_then(|at: usize| run.bytes.get_mut(at)) {
                    *written |= forms;
                }
                continue;
            }
            let shared = name.iter().zip(previous).take_while(|(a, b)| a == b).count();
            let rest = name.get(shared..).unwrap_or_default();
            run.bytes.extend([octet(shared), octet(rest.len()), forms]);
            forms_at = Some(run.bytes.len() - 1);
            run.bytes.extend_from_slice(rest);
            run.names += 1;
            previous = name;
        }
        run
    }
}

/// What a name begins with, backwards, and where it is: most names are told apart without looking there.
struct Begun {
    /// Sixteen octets, the first of them highest, zeros behind a shorter name.
    octets: [u64; 2],
    start: u32,
}

impl Begun {
    fn new(name: &[u8], start: u32) -> Self {
        let mut octets = [[0; 8]; 2];
        octets.as_flattened_mut().iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        Self { octets: octets.map(u64::from_be_bytes), start }
    }
}

fn octet(length: usize) -> u8 {
    // A name has 253 octets at most.
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// A sorted run before it is put away.
#[derive(Debug, Default)]
pub(crate) struct SortedRun {
    /// The entries.
    pub(crate) bytes: Vec<u8>,
    /// How many names it has.
    pub(crate) names: u64,
    /// The name in its middle, backwards: where a merge may be divided in two.
    pub(crate) middle: Vec<u8>,
}

/// Where runs wait until they are merged: in memory, or on a disk when there are many.
pub trait Spool: Send {
    /// Puts octets away.
    ///
    /// # Errors
    /// When the disk refuses.
    fn store(&mut self, bytes: Vec<u8>) -> io::Result<Arc<dyn Spooled>>;
}

/// Octets that were put away, to be read as often as needed.
pub trait Spooled: fmt::Debug + Send + Sync {
    /// Reads from the start.
    ///
    /// # Errors
    /// When the disk refuses.
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// Keeps runs in memory: for small sets, and where there is no disk to use.
#[derive(Debug, Default)]
pub struct MemorySpool;

impl Spool for MemorySpool {
    fn store(&mut self, bytes: Vec<u8>) -> io::Result<Arc<dyn Spooled>> {
        Ok(Arc::new(bytes))
    }
}

impl Spooled for Vec<u8> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Cursor::new(self.as_slice())))
    }
}

/// A run that was put away.
#[derive(Clone)]
pub struct Run {
    pub(super) names: u64,
    pub(super) middle: Arc<[u8]>,
    bytes: Arc<dyn Spooled>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.names)
    }
}

impl Run {
    /// Sorts patterns and puts them away.
    pub(crate) fn new(patterns: Unsorted, spool: &mut dyn Spool) -> io::Result<Self> {
        let SortedRun { bytes, names, middle } = patterns.sorted();
        Ok(Self { names, middle: middle.into(), bytes: spool.store(bytes)? })
    }

    /// The same for runs that are one and the same.
    pub(super) fn identity(&self) -> *const () {
        Arc::as_ptr(&self.bytes).cast()
    }

    pub(super) fn reader(&self) -> io::Result<RunReader<'_>> {
        let name = Vec::with_capacity(MAX_NAME_OCTETS);
        Ok(RunReader { source: self.bytes.open()?, name, left: self.names })
    }

    /// Calls `each` with every pattern of the run; a name with several forms comes several times.
    pub(crate) fn for_each(&self, mut each: impl FnMut(Pattern)) -> io::Result<()> {
        let mut reader = self.reader()?;
        let mut breath = Breath::every(256);
        while let Some(forms) = reader.advance()? {
            breath.tick();
            let Some(name) = forward(reader.name()) else { return Err(damaged()) };
            forms.forms().for_each(|form| each(Pattern { form, name: name.clone() }));
        }
        Ok(())
    }
}

/// The host of a name that is kept backwards.
pub(super) fn forward(reversed: &[u8]) -> Option<crate::hostname::Hostname> {
    let bytes: Vec<u8> = reversed.iter().rev().copied().collect();
    crate::hostname::Hostname::parse_bytes(&bytes).ok()
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a run of names was altered while it waited")
}

/// Walks through a run.
pub(super) struct RunReader<'r> {
    source: Box<dyn Read + Send + 'r>,
    name: Vec<u8>,
    /// How many names are still to come: one that is missing is an error, and no end.
    left: u64,
}

impl RunReader<'_> {
    /// The name it stands at, backwards.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Goes to the next name; `None` after the last.
    pub(super) fn advance(&mut self) -> io::Result<Option<Forms>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let mut head = [0; 3];
        self.source.read_exact(&mut head)?;
        let [shared, rest, forms] = head;
        let shared = usize::from(shared);
        if shared > self.name.len() {
            return Err(damaged());
        }
        self.name.resize(shared + usize::from(rest), 0);
        let tail = self.name.get_mut(shared..).ok_or_else(damaged)?;
        self.source.read_exact(tail)?;
        Forms::from_byte(forms).map(Some).ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_holds_each_name_once_in_the_order_of_the_name_backwards() {
        let mut unsorted = Unsorted::default();
        for text in ["b.example", ".a.example", "example", "a.example", "x.a.example", "*.a.example"] {
            assert!(unsorted.push(&Pattern::parse(text).unwrap()));
        }
        assert_eq!(unsorted.len(), 6);
        let run = Run::new(unsorted, &mut MemorySpool).unwrap();
        assert_eq!(run.names, 4);
        let mut found = Vec::new();
        run.for_each(|pattern| found.push(pattern.to_string())).unwrap();
        assert_eq!(found, ["example", "a.example", ".a.example", "*.a.example", "x.a.example", "b.example"]);
    }

    #[test]
    fn a_run_that_was_altered_or_cut_is_an_error_and_no_name() {
        for bytes in [
            vec![],
            vec![0, 1],
            vec![1, 1, 1, b'a'],
            vec![0, 1, 9, b'a'],
            vec![0, 2, 1, b'a'],
            vec![0, 1, 0, b'a'],
        ] {
            let run = Run { names: 1, middle: Arc::default(), bytes: Arc::new(bytes) };
            assert!(run.for_each(|_| ()).is_err());
        }
    }
}
