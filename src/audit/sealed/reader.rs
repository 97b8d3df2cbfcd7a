//! Reads the segments of a directory for the tools: plain ones and compressed ones alike, in bounded memory.
//!
//! The name of a segment is the end of the one before it; lines there beyond this end were never sealed and do not
//! count, which is for the caller to say since a `seq` is in the line.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    names::{Form, parse_segment, segment_name},
    text::{SegmentLine, Split},
};
use crate::audit::files::{SEGMENTS, names_in};

/// Compressed bytes that are read at a time.
const COMPRESSED_CHUNK: usize = 128 * 1024;
/// Listings of a folder that does not come to rest.
const LISTINGS: u32 = 16;

/// One segment of a directory, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// The `seq` of its first record.
    pub first: u64,
    /// The file with its lines.
    pub path: PathBuf,
    /// Whether it is zstd.
    pub compressed: bool,
    /// Its index; there is none as long as the segment is not closed.
    pub index: Option<PathBuf>,
    /// The length of the file in bytes, as it lies on the disk.
    pub file_bytes: u64,
}

/// Why a segment could not be read further.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The system does not give the bytes.
    #[error("`{}`, byte {at}: {error}", path.display())]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// How many of its bytes were read.
        at: u64,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The bytes are no zstd frames, or end within one.
    #[error("`{}`, byte {at} (byte {offset} of its text): {error}", path.display())]
    Compressed {
        /// The segment's file.
        path: PathBuf,
        /// A place in the file, in bytes, at or up to 128 KiB after the damage.
        at: u64,
        /// Where the first line that cannot be read starts in the uncompressed text, in bytes.
        offset: u64,
        /// What the decoder said.
        #[source]
        error: io::Error,
    },
}

/// The segments of the audit directory `directory`, first to last; none when there is no log. Where a segment is there
/// both plain and compressed, an interrupted archiver has left them, and the plain one counts.
///
/// # Errors
/// When the folder cannot be listed or a file's length cannot be read.
pub fn segments(directory: &Path) -> io::Result<Vec<SegmentFile>> {
    let folder = directory.join(SEGMENTS);
    let mut found: Vec<SegmentFile> = Vec::new();
    // Names are sorted: `.idx`, `.jsonl`, `.jsonl.zst` of one segment follow each other.
    let mut index = None;
    for name in steady_names(&folder)? {
        let path = folder.join(&name);
        match parse_segment(&name) {
            Some((first, Form::Index)) => index = Some((first, path)),
            Some((first, form @ (Form::Plain | Form::Compressed)))
                if found.last().is_none_or(|last| last.first != first) =>
            {
                let file_bytes = match std::fs::metadata(&path) {
                    // The archiver has just taken the plain file away: the compressed one follows.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && form == Form::Plain => {
                        found.extend(compressed_since(&folder, first)?);
                        continue;
                    }
                    other => other?.len(),
                };
                let index = index.take().filter(|(of, _)| *of == first).map(|(_, path)| path);
                found.push(SegmentFile {
                    first,
                    path,
                    compressed: form == Form::Compressed,
                    index,
                    file_bytes,
                });
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The names in a folder, listed until they are the same twice: one listing may have neither the old nor the new name of
/// a file that is renamed meanwhile, and the next one has the new name.
fn steady_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = names_in(folder)?;
    for _ in 0..LISTINGS {
        let again = names_in(folder)?;
        if again == names {
            break;
        }
        names = again;
    }
    Ok(names)
}

/// A segment that was compressed since its folder was listed.
fn compressed_since(folder: &Path, first: u64) -> io::Result<Option<SegmentFile>> {
    let path = folder.join(segment_name(first, Form::Compressed));
    match std::fs::metadata(&path) {
        Ok(metadata) => Ok(Some(SegmentFile {
            first,
            path,
            compressed: true,
            index: Some(folder.join(segment_name(first, Form::Index))),
            file_bytes: metadata.len(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl SegmentFile {
    /// Starts to read its lines.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn lines(&self) -> Result<SegmentLines, SegmentError> {
        let io = |error| SegmentError::Io { path: self.path.clone(), at: 0, error };
        let file = Counted { source: File::open(&self.path).map_err(io)?, read: 0, failed: false };
        let source = if self.compressed { Source::zstd(file).map_err(io)? } else { Source::Plain(file) };
        Ok(SegmentLines { path: self.path.clone(), split: Split::new(source) })
    }
}

/// The lines of one segment, one after the other.
pub struct SegmentLines {
    path: PathBuf,
    split: Split<Source>,
}

impl SegmentLines {
    /// The next whole line, or none at the end. Not an `Iterator`, so that no line is copied.
    ///
    /// # Errors
    /// When no further line can be read, and where.
    #[expect(clippy::should_implement_trait, reason = "the line borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<SegmentLine<'_>>, SegmentError> {
        // What a failure says is copied before the line borrows the reader.
        let offset = self.split.offset();
        let path = &self.path;
        match self.split.next() {
            Ok(line) => Ok(line),
            Err(error) => Err(located(path, offset, error)),
        }
    }

    /// Bytes of the text up to the end of the last line that was handed out.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.split.offset()
    }

    /// Bytes after the last newline, once there is no more line: half a line.
    #[must_use]
    pub fn half_line(&self) -> u64 {
        self.split.rest()
    }

    /// Bytes of the file that were read so far, for progress.
    #[must_use]
    pub fn file_bytes_read(&self) -> u64 {
        self.split.source().file().read
    }
}

/// A failure of the file itself carries its place; any other is the decoder's.
fn located(path: &Path, offset: u64, error: io::Error) -> SegmentError {
    match error.downcast::<Failed>() {
        Ok(Failed { at, error, decoded: false }) => SegmentError::Io { path: path.to_owned(), at, error },
        Ok(Failed { at, error, decoded: true }) => {
            SegmentError::Compressed { path: path.to_owned(), at, offset, error }
        }
        Err(error) => SegmentError::Io { path: path.to_owned(), at: offset, error },
    }
}

/// An error and the place in the file it happened at.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct Failed {
    at: u64,
    error: io::Error,
    decoded: bool,
}

/// A file that knows how far it was read.
struct Counted {
    source: File,
    read: u64,
    failed: bool,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer);
        self.failed = read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        self.read += *read.as_ref().unwrap_or(&0) as u64;
        read
    }
}

enum Source {
    Plain(Counted),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Counted>>>),
}

impl Source {
    fn zstd(file: Counted) -> io::Result<Self> {
        let buffered = BufReader::with_capacity(COMPRESSED_CHUNK, file);
        Ok(Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?)))
    }

    fn file(&self) -> &Counted {
        match self {
            Self::Plain(file) => file,
            Self::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Plain(file) => file.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        };
        read.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => {
                let file = self.file();
                let decoded = matches!(self, Self::Zstd(_)) && !file.failed;
                io::Error::new(kind, Failed { at: file.read, error, decoded })
            }
        })
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
