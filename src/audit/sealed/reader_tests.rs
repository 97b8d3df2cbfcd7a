//! Segments as the tools read them.

use std::path::PathBuf;

use super::*;

struct Log(tempfile::TempDir);

impl Log {
    fn new() -> Self {
        let log = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(log.0.path().join(SEGMENTS)).unwrap();
        log
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(SEGMENTS).join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn segments(&self) -> Vec<SegmentFile> {
        segments(self.0.path()).unwrap()
    }
}

fn read(segment: &SegmentFile) -> Result<Vec<(u64, Vec<u8>)>, SegmentError> {
    let mut lines = segment.lines()?;
    let mut found = Vec::new();
    while let Some(line) = lines.next()? {
        found.push((line.offset, line.bytes.to_vec()));
    }
    Ok(found)
}

#[test]
fn segments_are_listed_in_order_and_nothing_else_is() {
    let log = Log::new();
    for name in ["00000000000000000100.jsonl", "00000000000000000100.jsonl.zst", "00000000000000000100.idx"] {
        log.put(name, b"{}\n");
    }
    for name in ["00000000000000000003.jsonl.zst", "00000000000000000003.idx", "00000000000000000500.jsonl"] {
        log.put(name, b"{}\n");
    }
    for name in ["00000000000000000900.jsonl.zst.new", "notes.txt", "00000000000000000901.idx"] {
        log.put(name, b"");
    }
    let found: Vec<_> =
        log.segments().iter().map(|s| (s.first, s.compressed, s.index.is_some(), s.file_bytes)).collect();
    assert_eq!(found, [(3, true, true, 3), (100, false, true, 3), (500, false, false, 3)]);
    assert!(segments(&log.0.path().join("nowhere")).unwrap().is_empty());
}

#[test]
fn plain_and_compressed_lines_are_the_same_over_several_frames() {
    let log = Log::new();
    log.put("00000000000000000001.jsonl", b"one\ntwo\nhalf");
    let frames =
        [zstd::encode_all(&b"one\ntw"[..], 1).unwrap(), zstd::encode_all(&b"o\nhalf"[..], 1).unwrap()];
    log.put("00000000000000000002.jsonl.zst", &frames.concat());
    for segment in log.segments() {
        assert_eq!(read(&segment).unwrap(), [(0, b"one".to_vec()), (4, b"two".to_vec())]);
        let mut lines = segment.lines().unwrap();
        while lines.next().unwrap().is_some() {}
        assert_eq!((lines.offset(), lines.half_line(), lines.file_bytes_read()), (8, 4, segment.file_bytes));
    }
}

#[test]
fn a_damaged_frame_is_an_error_with_its_place() {
    let log = Log::new();
    let text: Vec<u8> = (0..200_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()).collect();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    io::Write::write_all(&mut encoder, &text).unwrap();
    let whole = encoder.finish().unwrap();
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        log.put("00000000000000000001.jsonl.zst", &whole[..cut]);
        let error = read(&log.segments()[0]).unwrap_err();
        assert!(matches!(error, SegmentError::Compressed { at, .. } if at == cut as u64), "{cut}: {error}");
    }
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    log.put("00000000000000000001.jsonl.zst", &flipped);
    let error = read(&log.segments()[0]).unwrap_err();
    assert!(matches!(error, SegmentError::Compressed { .. }), "{error}");
}

#[test]
fn a_file_that_is_gone_says_so() {
    let log = Log::new();
    let path = log.put("00000000000000000001.jsonl", b"one\n");
    let segment = log.segments().remove(0);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(segment.lines(), Err(SegmentError::Io { path: at, .. }) if at == path));
}

#[test]
fn a_listing_has_every_segment_while_segments_are_closed() {
    const SEGMENTS_IN_ALL: u64 = 200;
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join(SEGMENTS);
    std::fs::create_dir(&folder).unwrap();
    let path = |first, form| folder.join(segment_name(first, form));
    (1..=SEGMENTS_IN_ALL).for_each(|first| std::fs::write(path(first, Form::Plain), "x\n").unwrap());
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| {
            for first in 1..=SEGMENTS_IN_ALL {
                let draft = folder.join(format!("{}.new", segment_name(first, Form::Compressed)));
                std::fs::write(&draft, "x").unwrap();
                std::fs::rename(draft, path(first, Form::Compressed)).unwrap();
                std::fs::remove_file(path(first, Form::Plain)).unwrap();
            }
        });
        while !closing.is_finished() {
            let listed: Vec<u64> = segments(directory.path()).unwrap().iter().map(|one| one.first).collect();
            assert_eq!(listed, (1..=SEGMENTS_IN_ALL).collect::<Vec<_>>());
        }
    });
}
