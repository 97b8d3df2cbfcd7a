//! Closes a full segment: compresses it, indexes it, and lets the plain one go.
//!
//! ```text
//! read `.jsonl`, write `.jsonl.zst.new`, fdatasync      decompress it again and compare with what was sealed, or read
//! `.idx` (draft, fdatasync, rename, fsync segments/)
//! rename to `.jsonl.zst`, fsync segments/               from here on the compressed one is enough
//! unlink `.jsonl`, fsync segments/
//! ```
//!
//! As long as the `.jsonl` is there the job can be done anew, whatever an interrupted one has left.

use std::io::{self, Read};

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::compress_bound;

use super::{
    at::At,
    index::{IndexBuilder, SegmentIndex},
    names::{Form, segment, segment_name},
    place::{invalid, remove},
    sum::{Sum, Summing},
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
/// Text that is compressed at once: a fifth of a millisecond.
const PIECE: usize = 64 * 1024;
/// Audit lines are much alike: higher levels cost more than they give. Level 3 takes up to twice the time of this one,
/// and its output was a tenth smaller for lines of one client and a tenth larger for lines of many.
const LEVEL: i32 = 1;
/// Lines between two offers of the processor: a tenth of a millisecond.
const BREATH: u32 = 64;
pub(super) const OTHER_LINES: &str = "its lines are not those that were sealed";

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
    pub(super) lines: Lines,
}

/// What is known of the lines that were sealed in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lines {
    Unknown,
    /// The hashes that cover them, and their sum, where all of them were sealed by this process. With it they are not
    /// hashed again, which would take half as long as all the rest of the job.
    Sealed(Vec<Hash>, Option<Sum>),
}

impl Lines {
    /// The hashes that hold without being computed again, and the sum that has to be found then.
    fn known(&self) -> Option<(&[Hash], Sum)> {
        match self {
            Self::Sealed(hashes, Some(sum)) => Some((hashes, *sum)),
            Self::Sealed(_, None) | Self::Unknown => None,
        }
    }
}

impl Archive {
    /// Does the job. When it fails the plain segment is still there, and it can be run again.
    ///
    /// # Errors
    /// When the system refuses a step, the lines are not those that were sealed, or what was written does not read
    /// back as what was read.
    pub(in crate::audit) fn run(&self, disk: &dyn Disk) -> io::Result<()> {
        let plain = segment(self.first, Form::Plain);
        let compressed = segment(self.first, Form::Compressed);
        if disk.identity(&plain)?.is_none() && disk.identity(&compressed)?.is_some() {
            return Ok(());
        }
        let draft = format!("{compressed}.new");
        remove(disk, &draft)?;
        let made = self.compress(disk, &plain, &draft).and_then(|(index, bytes)| {
            match self.lines.known() {
                Some((_, sum)) if read_back(disk, &draft)? == Some(sum) => {}
                known => {
                    compare(disk, &plain, &draft, bytes)?;
                    // The draft is what was read, and that is not what was sealed.
                    known.map_or(Ok(()), |_| Err(self.wrong(OTHER_LINES)))?;
                }
            }
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
    fn compress(&self, disk: &dyn Disk, plain: &str, draft: &str) -> io::Result<(SegmentIndex, u64)> {
        let mut lines = Split::new(At::new(disk.open(plain)?));
        let mut frames = Frames::new(disk.create(draft)?)?;
        let mut builder = IndexBuilder::new(self.epoch, self.first);
        let known = self.lines.known();
        let mut range = Range::new(self.leaf);
        let mut breath = Breath::every(BREATH);
        while builder.records() < self.end.saturating_sub(self.first) {
            let Some(line) = lines.next()? else { break };
            if line.length != line.bytes.len() as u64 {
                return Err(self.wrong("a line is longer than a record can be"));
            }
            builder.line(line.bytes);
            if known.is_none() {
                range.push(leaf_hash(line.bytes));
            }
            frames.line(line.bytes)?;
            breath.tick();
        }
        if builder.records() != self.end.saturating_sub(self.first) {
            return Err(self.wrong("records are missing at its end"));
        }
        let hashes = known.map_or(range.hashes(), |(hashes, _)| hashes);
        if matches!(&self.lines, Lines::Sealed(sealed, _) if sealed != hashes) {
            return Err(self.wrong(OTHER_LINES));
        }
        frames.finish()?;
        Ok((builder.finish(hashes), lines.offset()))
    }

    fn wrong(&self, what: &str) -> io::Error {
        invalid(format!("segment {} is left as it is: {what}", self.first))
    }
}

/// Decompresses the draft: the sum of what it holds.
fn read_back(disk: &dyn Disk, draft: &str) -> io::Result<Option<Sum>> {
    let mut found = At::zstd(disk.open(draft)?)?;
    let mut piece = vec![0u8; PIECE];
    let Some(mut summing) = Summing::start() else { return Ok(None) };
    let mut breath = Breath::every(1);
    loop {
        breath.tick();
        let read = fill(&mut found, &mut piece)?;
        if read == 0 {
            return Ok(Some(summing.sum()));
        }
        summing.add(piece.get(..read).unwrap_or_default());
    }
}

/// Decompresses the draft and compares it with the first `bytes` of the plain file.
fn compare(disk: &dyn Disk, plain: &str, draft: &str, bytes: u64) -> io::Result<()> {
    let mut expected = At::new(disk.open(plain)?).take(bytes);
    let mut found = At::zstd(disk.open(draft)?)?;
    let (mut left, mut right) = (vec![0u8; PIECE], vec![0u8; PIECE]);
    let mut breath = Breath::every(1);
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
    encoder: Encoder<'static>,
    /// Text that is not compressed: in pieces, which takes half as long as line by line.
    text: Vec<u8>,
    /// Text of this frame that is.
    taken: usize,
    compressed: Vec<u8>,
    breath: Breath,
}

impl Frames {
    fn new(file: Box<dyn DiskFile>) -> io::Result<Self> {
        let mut encoder = Encoder::new(LEVEL)?;
        encoder.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            file,
            offset: 0,
            encoder,
            text: Vec::with_capacity(PIECE + MAX_LINE),
            taken: 0,
            compressed: Vec::with_capacity(compress_bound(PIECE + MAX_LINE)),
            breath: Breath::every(1),
        })
    }

    /// Adds a line. Frames end with lines.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        if self.taken + self.text.len() >= FRAME_BYTES {
            self.end_frame()
        } else if self.text.len() >= PIECE {
            self.compress()
        } else {
            Ok(())
        }
    }

    fn compress(&mut self) -> io::Result<()> {
        let mut input = InBuffer::around(&self.text);
        while input.pos() < self.text.len() {
            self.compressed.clear();
            self.encoder.run(&mut input, &mut OutBuffer::around(&mut self.compressed))?;
            write(self.file.as_ref(), &self.compressed, &mut self.offset)?;
        }
        self.taken += self.text.len();
        self.text.clear();
        self.breath.tick();
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.compress()?;
        let mut left = usize::MAX;
        while left > 0 {
            self.compressed.clear();
            left = self.encoder.finish(&mut OutBuffer::around(&mut self.compressed), true)?;
            write(self.file.as_ref(), &self.compressed, &mut self.offset)?;
        }
        self.taken = 0;
        self.encoder.reinit()
    }

    /// Ends the last frame, and makes all of them last.
    fn finish(mut self) -> io::Result<()> {
        // An empty segment is one empty frame.
        if self.taken + self.text.len() > 0 || self.offset == 0 {
            self.end_frame()?;
        }
        self.file.sync()
    }
}

fn write(file: &dyn DiskFile, bytes: &[u8], offset: &mut u64) -> io::Result<()> {
    write_all_at(file, bytes, *offset)?;
    *offset += bytes.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::files::RealDisk;

    /// What is in a file of these lines in frames.
    fn framed(lines: &[&[u8]]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::unlocked(directory.path(), "ams-1");
        let mut frames = Frames::new(disk.create("framed").unwrap()).unwrap();
        lines.iter().for_each(|line| frames.line(line).unwrap());
        frames.finish().unwrap();
        std::fs::read(directory.path().join("framed")).unwrap()
    }

    /// The texts of frames, each read by itself, of which every one must have a checksum (RFC 8878 §3.1.1.1.1).
    fn texts(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[4] & 4, 4, "a frame without a checksum");
            let length = zstd::zstd_safe::find_frame_compressed_size(bytes).unwrap();
            let (frame, rest) = bytes.split_at(length);
            texts.push(zstd::stream::decode_all(frame).unwrap());
            bytes = rest;
        }
        texts
    }

    #[test]
    fn a_long_segment_is_several_frames_that_end_with_lines() {
        let lines: Vec<Vec<u8>> =
            (0..9_000_u32).map(|number| number.to_string().repeat(250).into_bytes()).collect();
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let texts = texts(&framed(&lines));
        assert!(texts.len() > 1 && texts.iter().all(|text| text.ends_with(b"\n")), "{} frames", texts.len());
        let (last, whole) = texts.split_last().unwrap();
        assert!(last.len() < FRAME_BYTES);
        assert!(whole.iter().all(|text| (FRAME_BYTES..FRAME_BYTES + MAX_LINE).contains(&text.len())));
        let text: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        assert!(texts.concat() == text);
    }

    #[test]
    fn a_segment_without_lines_is_one_empty_frame() {
        assert_eq!(texts(&framed(&[])), [b""]);
    }

    /// A directory with a plain segment of these lines.
    fn segment_of(lines: &[u8]) -> (tempfile::TempDir, RealDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::unlocked(directory.path(), "ams-1");
        std::fs::create_dir(directory.path().join(SEGMENTS)).unwrap();
        std::fs::write(directory.path().join(segment(1, Form::Plain)), lines).unwrap();
        (directory, disk)
    }

    #[test]
    fn a_segment_whose_hashes_are_not_known_has_to_have_all_its_lines_and_no_more_are_kept() {
        let job = Archive { first: 1, end: 4, epoch: 1, leaf: 0, lines: Lines::Unknown };
        for (lines, expected) in [
            (&b"a\nb\nc\n"[..], Ok(())),
            (b"a\nb\nc\nd\n", Ok(())),
            (b"a\nb\n", Err("segment 1 is left as it is: records are missing at its end")),
            (b"a\nb\nc", Err("segment 1 is left as it is: records are missing at its end")),
        ] {
            let (directory, disk) = segment_of(lines);
            let ran = job.run(&disk).map_err(|error| error.to_string());
            assert_eq!(ran.as_ref().map_err(String::as_str).copied(), expected);
            let there = |form| directory.path().join(segment(1, form)).exists();
            assert_eq!((there(Form::Plain), there(Form::Compressed)), (ran.is_err(), ran.is_ok()));
            if ran.is_ok() {
                let bytes = std::fs::read(directory.path().join(segment(1, Form::Compressed))).unwrap();
                assert_eq!(texts(&bytes), [b"a\nb\nc\n"]);
            }
        }
    }

    #[test]
    fn what_does_not_decompress_to_the_same_is_noticed() {
        let text = vec![b'x'; 200_000];
        let (directory, disk) = segment_of(&text);
        let plain = segment(1, Form::Plain);
        let mut other = text.clone();
        other[150_000] = b'y';
        for (draft, is_same) in [(&text[..], true), (&other, false), (&text[1..], false), (&[], false)] {
            let draft = zstd::encode_all(draft, 1).unwrap();
            std::fs::write(directory.path().join("draft"), draft).unwrap();
            assert_eq!(compare(&disk, &plain, "draft", text.len() as u64).is_ok(), is_same);
            let mut sealed = Summing::start().unwrap();
            sealed.add(&text);
            assert_eq!(read_back(&disk, "draft").unwrap() == Some(sealed.sum()), is_same);
        }
        // The plain file may go on, and the draft must not.
        std::fs::write(directory.path().join("draft"), zstd::encode_all(&text[..], 1).unwrap()).unwrap();
        assert!(compare(&disk, &plain, "draft", text.len() as u64 - 1).is_err());
    }
}
