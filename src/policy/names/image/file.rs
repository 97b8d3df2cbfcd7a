//! An image on disk.
//!
//! ```text
//! "interdict names 1\n"
//! length of the head, 8 octets, little endian
//! the head, JSON: what the caller has to say (`note`), and the lengths of every part
//! for each part: the automaton, the words of the filter, the links
//! SHA-256 of all of that, 32 octets
//! ```
//!
//! It is read into memory, not mapped: a mapped file that somebody cuts ends the process that looks at it, and an edge
//! that ends blocks nobody. What was read is held against the digest before anything of it is used.

use std::io::{self, Read, Write};

use fst::Map;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Image, Part};
use crate::policy::names::filter::Filter;
use crate::policy::names::posting::Link;

const MAGIC: &[u8; 18] = b"interdict names 1\n";
/// Octets of the digest at the end.
const DIGEST: u64 = 32;
/// A filter is written and read so many octets at a time.
const PIECE: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<N> {
    note: N,
    parts: Vec<Lengths>,
}

/// How many of everything a part has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lengths {
    from: Vec<u8>,
    automaton_bytes: u64,
    filter_words: u64,
    links: u64,
}

impl Lengths {
    fn of(part: &Part) -> Self {
        Self {
            from: part.from.clone(),
            automaton_bytes: part.names.as_fst().as_bytes().len() as u64,
            filter_words: part.filter.words().len() as u64,
            links: part.links.len() as u64,
        }
    }

    fn bytes(&self) -> Option<u64> {
        let words = self.filter_words.checked_add(self.links)?.checked_mul(8)?;
        self.automaton_bytes.checked_add(words)
    }
}

/// Writes an image with a note of the caller's.
pub(in crate::policy::names) fn write(
    image: &Image,
    note: &impl Serialize,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut to = Hashing { inner: to, digest: Sha256::new() };
    let head = serde_json::to_vec(&Head { note, parts: image.parts.iter().map(Lengths::of).collect() })?;
    to.write_all(MAGIC)?;
    to.write_all(&(head.len() as u64).to_le_bytes())?;
    to.write_all(&head)?;
    for part in &image.parts {
        to.write_all(part.names.as_fst().as_bytes())?;
        write_words(part.filter.words().iter().map(|word| word.to_le_bytes()), &mut to)?;
        write_words(part.links.iter().map(|link| link.to_bytes()), &mut to)?;
    }
    let Hashing { inner, digest } = to;
    inner.write_all(&digest.finalize())
}

fn write_words(words: impl Iterator<Item = [u8; 8]>, to: &mut impl Write) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE);
    for word in words {
        piece.extend(word);
        if piece.len() >= PIECE {
            to.write_all(&piece)?;
            piece.clear();
        }
    }
    to.write_all(&piece)
}

/// Reads an image of `length` octets in all, and the note that was written with it.
///
/// # Errors
/// When it is not what [`write`] has written, down to the last bit.
pub(in crate::policy::names) fn read<N: for<'n> Deserialize<'n>>(
    from: &mut dyn Read,
    length: u64,
) -> io::Result<(Image, N)> {
    let mut from = Hashing { inner: from, digest: Sha256::new() };
    let mut rest = length.checked_sub(DIGEST).ok_or_else(damaged)?;
    let magic = read_bytes(&mut from, MAGIC.len() as u64, &mut rest)?;
    if magic != MAGIC {
        return Err(invalid("it is not an image of names this version can read"));
    }
    let head_bytes = read_bytes(&mut from, 8, &mut rest)?;
    let head_bytes = head_bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(damaged)?;
    let head: Head<N> = serde_json::from_slice(&read_bytes(&mut from, head_bytes, &mut rest)?)?;
    let expected = head.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.bytes()?));
    if expected != Some(rest) {
        return Err(damaged());
    }
    let mut raw = Vec::with_capacity(head.parts.len());
    for part in head.parts {
        raw.push(RawPart {
            automaton: read_bytes(&mut from, part.automaton_bytes, &mut rest)?,
            words: read_words(&mut from, part.filter_words, &mut rest, u64::from_le_bytes)?,
            links: read_words(&mut from, part.links, &mut rest, Link::from_bytes)?,
            from: part.from,
        });
    }
    let Hashing { inner, digest } = from;
    let mut written = [0; 32];
    inner.read_exact(&mut written)?;
    if digest.finalize().as_slice() != written.as_slice() {
        return Err(damaged());
    }
    let parts = raw.into_iter().map(RawPart::settle).collect::<io::Result<_>>()?;
    Ok((Image { parts }, head.note))
}

/// A part before its digest was looked at.
struct RawPart {
    from: Vec<u8>,
    automaton: Vec<u8>,
    words: Vec<u64>,
    links: Vec<Link>,
}

impl RawPart {
    fn settle(self) -> io::Result<Part> {
        Ok(Part {
            from: self.from,
            names: Map::new(self.automaton).map_err(|error| invalid(&error.to_string()))?,
            links: self.links,
            filter: Filter::from_words(self.words).ok_or_else(damaged)?,
        })
    }
}

fn read_bytes(from: &mut impl Read, length: u64, rest: &mut u64) -> io::Result<Vec<u8>> {
    *rest = rest.checked_sub(length).ok_or_else(damaged)?;
    // Bounded by the size of the file.
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged())?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_words<T>(
    from: &mut impl Read,
    count: u64,
    rest: &mut u64,
    settle: impl Fn([u8; 8]) -> T,
) -> io::Result<Vec<T>> {
    let mut left = count.checked_mul(8).ok_or_else(damaged)?;
    let mut words = Vec::with_capacity(usize::try_from(count).map_err(|_| damaged())?);
    while left > 0 {
        let piece = left.min(PIECE as u64);
        let bytes = read_bytes(from, piece, rest)?;
        words.extend(bytes.chunks_exact(8).filter_map(|word| Some(settle(*word.first_chunk()?))));
        left -= piece;
    }
    Ok(words)
}

/// Passes octets on and hashes them on the way.
struct Hashing<I> {
    inner: I,
    digest: Sha256,
}

impl Write for Hashing<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Read for Hashing<&mut dyn Read> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.digest.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}

fn damaged() -> io::Error {
    invalid("it is damaged: it was altered or cut")
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
