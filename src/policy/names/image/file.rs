//! An image on disk.
//!
//! ```text
//! "interdict names 3\n"
//! length of the head, 8 octets, little endian
//! the head, JSON: what the caller has to say (`note`), the seed, what there is to know of every part, and the SHA-256 of
//!   every section
//! SHA-256 of all of that, 32 octets
//! the sections: each part with its links behind it, then the lines of the filter, a mebibyte at a time
//! ```
//!
//! It is read into memory, not mapped: a mapped file that somebody cuts ends the process that looks at it, and an edge
//! that ends blocks nobody. All processors read sections, each straight to its place, and hash every piece while the cache
//! still has it. Nothing is used before every section has its digest. What a start waits for is mostly the system, which
//! finds and clears the memory: that is shared among the processors as well.

use std::io::{self, Write};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::part::{Part, Plan};
use super::{Image, Labels};
use crate::background::breathe;
use crate::policy::Digest;
use crate::policy::names::filter::Filter;
use crate::policy::names::hash::{Depths, Seed};
use crate::policy::names::pages::Pages;
use crate::policy::names::posting::Link;

const MAGIC: &[u8; 18] = b"interdict names 3\n";
/// Octets of a digest.
const DIGEST: u64 = 32;
/// The filter is divided into sections of so many octets.
const FILTER_SECTION: usize = 1 << 20;
/// So many octets are read at once: few enough that they are still in the cache when they are hashed.
const PIECE: usize = 256 << 10;

/// Octets that are read from any place in them, by several threads: a file, or memory.
pub trait ReadAt: Sync {
    /// Fills `bytes` with what begins at the octet `at`.
    ///
    /// # Errors
    /// When the disk refuses, or there are fewer.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<N> {
    note: N,
    seed: Seed,
    /// How many labels names have, as bits; see [`Labels`].
    named: [u64; 2],
    covering: [u64; 2],
    parts: Vec<PartHead>,
    filter_lines: usize,
    filter: Vec<Section>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartHead {
    plan: Plan,
    section: Section,
}

/// Octets that were hashed together.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    bytes: u64,
    sha256: Digest,
}

impl Section {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Digest::of(bytes) }
    }
}

/// Writes an image with a note of the caller's.
pub(in crate::policy::names) fn write(
    image: &Image,
    note: &impl Serialize,
    to: &mut dyn Write,
) -> io::Result<()> {
    let links = |part: &Part| -> Vec<u8> { part.links.iter().flat_map(|link| link.to_bytes()).collect() };
    let head_of = |part: &Part| {
        let links = links(part);
        let bytes = (part.bytes().len() + links.len()) as u64;
        let mut hash = Sha256::new();
        for piece in part.bytes().chunks(PIECE) {
            hash.update(piece);
            breathe();
        }
        let sha256 = Digest::from_bytes(hash.chain_update(links).finalize().into());
        PartHead { plan: part.plan.clone(), section: Section { bytes, sha256 } }
    };
    let head = serde_json::to_vec(&Head {
        note,
        seed: image.seed,
        named: image.labels.named.to_words(),
        covering: image.labels.covering.to_words(),
        parts: image.parts.iter().map(head_of).collect(),
        filter_lines: image.filter.lines(),
        filter: image.filter.octets().chunks(FILTER_SECTION).map(Section::of).collect(),
    })?;
    let mut begin = MAGIC.to_vec();
    begin.extend((head.len() as u64).to_le_bytes());
    begin.extend(head);
    to.write_all(&begin)?;
    to.write_all(Digest::of(&begin).as_bytes())?;
    for part in &image.parts {
        to.write_all(part.bytes())?;
        to.write_all(&links(part))?;
    }
    image.filter.octets().chunks(FILTER_SECTION).try_for_each(|octets| to.write_all(octets))
}

/// Reads an image of `length` octets in all, and the note that was written with it.
///
/// # Errors
/// When it is not what [`write`] has written, down to the last bit.
pub(in crate::policy::names) fn read<N: for<'n> Deserialize<'n>>(
    from: &dyn ReadAt,
    length: u64,
) -> io::Result<(Image, N)> {
    let (head, at) = read_head(from, length)?;
    let Head { note, seed, named, covering, parts, filter_lines, filter } = serde_json::from_slice(&head)?;
    let in_filter = sum(filter.iter())?;
    let in_parts = sum(parts.iter().map(|part| &part.section))?;
    let lines = filter_lines as u64;
    // All sizes are bounded by that of the file, from here on.
    if length.checked_sub(at) != in_parts.checked_add(in_filter)
        || lines == 0
        || lines.checked_mul(Filter::LINE as u64) != Some(in_filter)
    {
        return Err(damaged());
    }
    let mut made = Filter::with_lines(filter_lines);
    let mut octets = Vec::with_capacity(parts.len());
    for part in &parts {
        octets.push(Pages::zeroed(usize::try_from(part.section.bytes).map_err(|_| damaged())?));
    }
    let mut tasks = Tasks { at, tasks: Vec::with_capacity(parts.len() + filter.len()) };
    for (part, octets) in parts.iter().zip(&mut octets) {
        tasks.add(&part.section, octets);
    }
    for (section, octets) in filter.iter().zip(made.octets_mut().chunks_mut(FILTER_SECTION)) {
        tasks.add(section, octets);
    }
    tasks.carry_out(from)?;
    let parts = parts.into_iter().zip(octets).map(|(part, octets)| settle(part.plan, octets));
    let parts = parts.collect::<Option<Vec<Part>>>().ok_or_else(damaged)?;
    let labels = Labels { named: Depths::from_words(named), covering: Depths::from_words(covering) };
    Ok((Image { seed, filter: made, labels, parts }, note))
}

/// How many octets sections have together.
fn sum<'s>(mut sections: impl Iterator<Item = &'s Section>) -> io::Result<u64> {
    sections.try_fold(0_u64, |sum, section| sum.checked_add(section.bytes)).ok_or_else(damaged)
}

/// The head, held against its digest, and where the sections begin.
fn read_head(from: &dyn ReadAt, length: u64) -> io::Result<(Vec<u8>, u64)> {
    const BEGIN: u64 = MAGIC.len() as u64 + 8;
    let bytes = |at: u64, count: u64| {
        if at.checked_add(count).is_none_or(|end| end > length) {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| damaged())?];
        from.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    };
    let mut begin = bytes(0, BEGIN)?;
    let head_bytes = begin.strip_prefix(MAGIC).and_then(|length| length.first_chunk());
    let head_bytes =
        head_bytes.ok_or_else(|| invalid("it is not an image of names this version can read"))?;
    let head_bytes = u64::from_le_bytes(*head_bytes);
    let head = bytes(BEGIN, head_bytes)?;
    begin.extend_from_slice(&head);
    // Both are in the file.
    let digest_at = BEGIN + head_bytes;
    if bytes(digest_at, DIGEST)? != Digest::of(&begin).as_bytes() {
        return Err(damaged());
    }
    Ok((head, digest_at + DIGEST))
}

/// A part and the links behind it.
fn settle(plan: Plan, mut bytes: Pages) -> Option<Part> {
    let own = usize::try_from(plan.bytes()?).ok()?;
    let (links, rest) = bytes.get(own..)?.as_chunks::<{ Link::BYTES }>();
    let links = links.iter().map(|link| Link::from_bytes(*link)).collect();
    if !rest.is_empty() {
        return None;
    }
    bytes.truncate(own);
    Part::new(plan, bytes, links)
}

/// A section that is to be read.
struct Task<'t> {
    at: u64,
    section: &'t Section,
    to: &'t mut [u8],
}

impl Task<'_> {
    /// Reads and hashes it, a piece at a time.
    fn carry_out(self, from: &dyn ReadAt) -> io::Result<()> {
        let (mut hash, mut at) = (Sha256::new(), self.at);
        let is_whole = self.to.len() as u64 == self.section.bytes;
        for piece in self.to.chunks_mut(PIECE) {
            from.read_exact_at(piece, at)?;
            hash.update(&*piece);
            at += piece.len() as u64;
        }
        let is_sound = is_whole && hash.finalize().as_slice() == self.section.sha256.as_bytes();
        if is_sound { Ok(()) } else { Err(damaged()) }
    }
}

/// What is to be read, one section behind the other.
struct Tasks<'t> {
    /// Where the next one begins.
    at: u64,
    tasks: Vec<Task<'t>>,
}

impl<'t> Tasks<'t> {
    fn add(&mut self, section: &'t Section, to: &'t mut [u8]) {
        self.tasks.push(Task { at: self.at, section, to });
        // The sum of all is in the file.
        self.at = self.at.saturating_add(section.bytes);
    }

    /// Reads all of them, on as many threads as there are processors.
    fn carry_out(self, from: &dyn ReadAt) -> io::Result<()> {
        let at_once = thread::available_parallelism().map_or(1, NonZero::get).min(self.tasks.len());
        let tasks = Mutex::new(self.tasks.into_iter());
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(task) = next() {
                task.carry_out(from)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            // Where there is no thread to be had, fewer do the same.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let beside: Vec<_> = (1..at_once).filter_map(spawn).collect();
            let own = work();
            beside.into_iter().fold(own, |all, one| all.and(one.join().unwrap_or_else(|_| Err(damaged()))))
        })
    }
}

fn damaged() -> io::Error {
    invalid("it is damaged: it was altered or cut")
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
