//! Closing segments.

use std::fs;

use super::super::archive::Lines;
use super::*;

fn log(directory: &Path, events: u64) -> Sealer {
    let mut sealer = Sealer::in_directory(directory);
    for last in 1..=events {
        sealer.write(last).unwrap();
    }
    sealer
}

#[test]
fn a_closed_segment_is_compressed_and_indexed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = log(directory.path(), 12);
    let before = segments(directory.path()).unwrap();
    let text = fs::read(&before[0].path).unwrap();
    sealer.archive().unwrap();
    let closed = segments(directory.path()).unwrap().remove(0);
    assert!(closed.compressed && !before[0].path.exists());
    assert_eq!(zstd::decode_all(fs::File::open(&closed.path).unwrap()).unwrap(), text);
    let index = SegmentIndex::parse(&fs::read(closed.index.unwrap()).unwrap()).unwrap();
    let lines = before[1].first - 1;
    assert_eq!((index.epoch, index.first_seq, index.records, index.bytes), (1, 1, lines, text.len() as u64));
    assert_eq!((index.last_revision, index.end_seq()), (lines, before[1].first));
    assert!((1..=lines).all(|event| index.may_hold(Term::Host(&format!("{event}.example")))));
    let missed =
        (lines + 1..1000).filter(|event| index.may_hold(Term::Host(&format!("{event}.example")))).count();
    assert!(missed < 50, "{missed}");
    check_whole(directory.path(), 12);
    drop(sealer);
    let again = Sealer::in_directory(directory.path());
    assert_eq!((again.found.problems, again.found.last_revision), (vec![], 12));
}

#[test]
fn an_interrupted_archive_is_done_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = log(directory.path(), 12);
    let path = segments(directory.path()).unwrap().remove(0).path;
    let text = fs::read(&path).unwrap();
    sealer.archive().unwrap();
    fs::write(&path, &text).unwrap();
    let draft = path.with_extension("jsonl.zst.new");
    fs::write(&draft, "half").unwrap();
    drop(sealer);
    let mut again = Sealer::in_directory(directory.path());
    assert_eq!(again.found.problems, []);
    assert!(!draft.exists());
    again.archive().unwrap();
    assert!(!path.exists());
    check_whole(directory.path(), 12);
}

#[test]
fn a_segment_that_is_not_what_was_sealed_is_left_as_it_is() {
    for change in [|bytes: &mut Vec<u8>| bytes[100] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(400)] {
        // Sealed by one process, or by two: then no checksum of all of it is at hand.
        for interrupted in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            if interrupted {
                drop(log(directory.path(), 2));
            }
            let mut sealer = Sealer::in_directory(directory.path());
            for last in 1 + 2 * u64::from(interrupted)..=12 {
                sealer.write(last).unwrap();
            }
            let path = segments(directory.path()).unwrap().remove(0).path;
            alter(&path, change);
            let job = sealer.sealed.full_segments().remove(0);
            assert_eq!(matches!(job.lines, Lines::Sealed(_, Some(_))), !interrupted);
            let error = job.run(sealer.disk.as_ref()).unwrap_err();
            assert!(error.to_string().starts_with("segment 1 is left as it is"), "{error}");
            let names = segment_names(directory.path());
            assert!(path.exists() && names.iter().all(|name| name.ends_with(".jsonl")), "{names:?}");
        }
    }
}
