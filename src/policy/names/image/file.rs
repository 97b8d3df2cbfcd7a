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
//! that ends blocks nobody. Every section is held against its digest before anything of it is used, on all processors
//! while the next ones are read.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::thread::{self, ScopedJoinHandle};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::part::{Part, Plan};
use super::{Image, Labels};
use crate::policy::Digest;
use crate::policy::names::filter::Filter;
use crate::policy::names::hash::{Depths, Seed};
use crate::policy::names::posting::Link;

const MAGIC: &[u8; 18] = b"interdict names 3\n";
/// Octets of a digest.
const DIGEST: u64 = 32;
/// The filter is divided into sections of so many octets.
const FILTER_SECTION: usize = 1 << 20;

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
        let sha256 = Sha256::new().chain_update(part.bytes()).chain_update(links).finalize();
        PartHead {
            plan: part.plan.clone(),
            section: Section { bytes, sha256: Digest::from_bytes(sha256.into()) },
        }
    };
    let head = serde_json::to_vec(&Head {
        note,
        seed: image.seed,
        named: image.labels.named.to_words(),
        covering: image.labels.covering.to_words(),
        parts: image.parts.iter().map(head_of).collect(),
        filter_lines: image.filter.lines(),
        filter: image.filter.bytes(FILTER_SECTION).map(|bytes| Section::of(&bytes)).collect(),
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
    for bytes in image.filter.bytes(FILTER_SECTION) {
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads an image of `length` octets in all, and the note that was written with it.
///
/// # Errors
/// When it is not what [`write`] has written, down to the last bit.
pub(in crate::policy::names) fn read<N: for<'n> Deserialize<'n>>(
    from: &mut dyn Read,
    length: u64,
) -> io::Result<(Image, N)> {
    let mut rest = length;
    let mut begin = read_bytes(from, MAGIC.len() as u64 + 8, &mut rest)?;
    let head_bytes = begin.strip_prefix(MAGIC).and_then(|length| length.first_chunk());
    let head_bytes =
        head_bytes.ok_or_else(|| invalid("it is not an image of names this version can read"))?;
    let head_bytes = u64::from_le_bytes(*head_bytes);
    let head = read_bytes(from, head_bytes, &mut rest)?;
    begin.extend_from_slice(&head);
    if read_bytes(from, DIGEST, &mut rest)? != Digest::of(&begin).as_bytes() {
        return Err(damaged());
    }
    let Head { note, seed, named, covering, parts, filter_lines, filter } = serde_json::from_slice(&head)?;
    let sections: Vec<Section> = parts.iter().map(|part| &part.section).chain(&filter).cloned().collect();
    let expected = sections.iter().try_fold(0_u64, |sum, section| sum.checked_add(section.bytes));
    if expected != Some(rest) {
        return Err(damaged());
    }
    let mut sections = read_sections(from, &sections, &mut rest)?.into_iter();
    let parts = parts.into_iter().zip(sections.by_ref()).map(|(part, bytes)| settle(part.plan, bytes));
    let parts = parts.collect::<Option<Vec<Part>>>().ok_or_else(damaged)?;
    let mut made =
        Filter::to_fill(filter_lines.min(usize::try_from(length).unwrap_or_default() / Filter::LINE));
    sections.for_each(|bytes| made.push(&bytes));
    if made.lines() != filter_lines || filter_lines == 0 {
        return Err(damaged());
    }
    let labels = Labels { named: Depths::from_words(named), covering: Depths::from_words(covering) };
    Ok((Image { seed, filter: made, labels, parts }, note))
}

/// A part and the links behind it.
fn settle(plan: Plan, mut bytes: Vec<u8>) -> Option<Part> {
    let own = usize::try_from(plan.bytes()?).ok()?;
    let (links, rest) = bytes.get(own..)?.as_chunks::<{ Link::BYTES }>();
    let links = links.iter().map(|link| Link::from_bytes(*link)).collect();
    if !rest.is_empty() {
        return None;
    }
    bytes.truncate(own);
    Part::new(plan, bytes, links)
}

/// Reads one section after the other, while other threads hold those that were read against their digests.
fn read_sections(from: &mut dyn Read, sections: &[Section], rest: &mut u64) -> io::Result<Vec<Vec<u8>>> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let (mut sound, mut checked) = (Vec::with_capacity(sections.len()), VecDeque::new());
        for section in sections {
            if checked.len() >= at_once {
                sound.extend(checked.pop_front().map(ended).transpose()?);
            }
            let bytes = read_bytes(from, section.bytes, rest)?;
            let check = move || (Digest::of(&bytes) == section.sha256).then_some(bytes);
            checked.push_back(thread::Builder::new().spawn_scoped(scope, check)?);
        }
        for checked in checked {
            sound.push(ended(checked)?);
        }
        Ok(sound)
    })
}

fn ended(checked: ScopedJoinHandle<'_, Option<Vec<u8>>>) -> io::Result<Vec<u8>> {
    checked.join().ok().flatten().ok_or_else(damaged)
}

fn read_bytes(from: &mut dyn Read, length: u64, rest: &mut u64) -> io::Result<Vec<u8>> {
    *rest = rest.checked_sub(length).ok_or_else(damaged)?;
    // Bounded by the size of the file.
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged())?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged() -> io::Error {
    invalid("it is damaged: it was altered or cut")
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
