//! Closes a full segment: compresses it, indexes it, and lets the plain one go.
//!
//! ```text
//! read `.jsonl`, write `.jsonl.zst.new`, fdatasync      decompress it again and compare, byte for byte
//! `.idx` (draft, fdatasync, rename, fsync segments/)
//! rename to `.jsonl.zst`, fsync segments/               from here on the compressed one is enough
//! unlink `.jsonl`, fsync segments/
//! ```
//!
//! As long as the `.jsonl` is there the job can be done anew, whatever an interrupted one has left.

use std::io::{self, Read};

use super::{
    at::At,
    index::{IndexBuilder, SegmentIndex},
    names::{Form, segment, segment_name},
    place::{invalid, remove},
    text::Split,
};
use crate::{
    audit::{
        files::{Disk, DiskFile, SEGMENTS, replace, write_all_at},
        merkle::{Hash, Range, leaf_hash},
        record::MAX_LINE,
    },
    background::Breath,
};

/// Text of one zstd frame: damage to one leaves the others readable.
const FRAME_BYTES: usize = 4 * 1024 * 1024;
/// Audit lines are much alike: higher levels cost more than they give. Level 3 takes up to twice the time of this one,
/// and its output was a tenth smaller for lines of one client and a tenth larger for lines of many.
const LEVEL: i32 = 1;
/// Lines between two offers of the processor: a fifth of a millisecond.
const BREATH: u32 = 128;

/// The job to close one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Archive {
    /// The `seq` of its first line.
    pub(super) first: u64,
    /// The `seq` after its last line; whole lines beyond were never sealed and are left out.
    pub(super) end: u64,
    pub(super) epoch: u64,
    /// Its first leaf.
    pub(super) leaf: u64,
    /// The hashes that its lines have to have, if they are known.
    pub(super) hashes: Option<Vec<Hash>>,
}

impl Archive {
    /// Does the job, and lets others go first if it is `is_calm`. When it fails the plain segment is still there, and it can be run again.
    ///
    /// # Errors
    /// When the system refuses a step, the lines are not those that were sealed, or what was written does not read
    /// back as what was read.
    pub(in crate::audit) fn run(&self, disk: &dyn Disk, is_calm: bool) -> io::Result<()> {
        let plain = segment(self.first, Form::Plain);
        let compressed = segment(self.first, Form::Compressed);
        if disk.identity(&plain)?.is_none() && disk.identity(&compressed)?.is_some() {
            return Ok(());
        }
        let draft = format!("{compressed}.new");
        remove(disk, &draft)?;
        let made = self.compress(disk, &plain, &draft, is_calm).and_then(|(index, bytes)| {
            compare(disk, &plain, &draft, bytes, is_calm)?;
            replace(disk, SEGMENTS, &segment_name(self.first, Form::Index), &index.to_bytes())
        });
        if let Err(error) = made {
            disk.remove(&draft).ok();
            return Err(error);
        }
        disk.rename(&draft, &compressed)?;
        disk.sync_folder(SEGMENTS)?;
        disk.remove(&plain)?;
        disk.sync_folder(SEGMENTS)
    }

    /// Writes the compressed draft; returns the index and how many bytes of text it holds.
    fn compress(
        &self,
        disk: &dyn Disk,
        plain: &str,
        draft: &str,
        is_calm: bool,
    ) -> io::Result<(SegmentIndex, u64)> {
        let mut lines = Split::new(At::new(disk.open(plain)?));
        let mut frames = Frames::new(disk.create(draft)?)?;
        let mut builder = IndexBuilder::new(self.epoch, self.first);
        let mut range = Range::new(self.leaf);
        let mut breath = Breath::calm(is_calm, BREATH);
        while builder.records() < self.end.saturating_sub(self.first) {
            let Some(line) = lines.next()? else { break };
            if line.length != line.bytes.len() as u64 {
                return Err(self.wrong("a line is longer than a record can be"));
            }
            builder.line(line.bytes);
            range.push(leaf_hash(line.bytes));
            frames.line(line.bytes)?;
            breath.tick();
        }
        if builder.records() != self.end.saturating_sub(self.first) {
            return Err(self.wrong("records are missing at its end"));
        }
        if self.hashes.as_deref().is_some_and(|hashes| hashes != range.hashes()) {
            return Err(self.wrong("its lines are not those that were sealed"));
        }
        frames.finish()?;
        Ok((builder.finish(range.hashes()), lines.offset()))
    }

    fn wrong(&self, what: &str) -> io::Error {
        invalid(format!("segment {} is left as it is: {what}", self.first))
    }
}

/// Decompresses the draft and compares it with the first `bytes` of the plain file.
fn compare(disk: &dyn Disk, plain: &str, draft: &str, bytes: u64, is_calm: bool) -> io::Result<()> {
    let mut expected = At::new(disk.open(plain)?).take(bytes);
    let mut found = At::zstd(disk.open(draft)?)?;
    let (mut left, mut right) = (vec![0u8; 64 * 1024], vec![0u8; 64 * 1024]);
    let mut breath = Breath::calm(is_calm, 1);
    loop {
        breath.tick();
        let read = fill(&mut expected, &mut left)?;
        if fill(&mut found, &mut right)? != read || left.get(..read) != right.get(..read) {
            return Err(invalid(format!("`{draft}` does not read back as `{plain}`")));
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Reads until `buffer` is full or the stream ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Lines into zstd frames of about [`FRAME_BYTES`], each with its checksum.
struct Frames {
    file: Box<dyn DiskFile>,
    offset: u64,
    compressor: zstd::bulk::Compressor<'static>,
    /// Text of the frame that is filled: compressed at once, which takes half as long as line by line.
    text: Vec<u8>,
    frame: Vec<u8>,
}

impl Frames {
    fn new(file: Box<dyn DiskFile>) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
        Ok(Self {
            file,
            offset: 0,
            compressor,
            text: Vec::with_capacity(FRAME_BYTES + MAX_LINE),
            frame: Vec::new(),
        })
    }

    /// Adds a line. Frames end with lines.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        if self.text.len() >= FRAME_BYTES { self.end_frame() } else { Ok(()) }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(self.text.len()));
        self.compressor.compress_to_buffer(&self.text, &mut self.frame)?;
        write_all_at(self.file.as_ref(), &self.frame, self.offset)?;
        self.offset += self.frame.len() as u64;
        self.text.clear();
        Ok(())
    }

    /// Ends the last frame, and makes all of them last.
    fn finish(mut self) -> io::Result<()> {
        // An empty segment is one empty frame.
        if !self.text.is_empty() || self.offset == 0 {
            self.end_frame()?;
        }
        self.file.sync()
    }
}
