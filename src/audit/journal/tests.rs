//! Lanes on a real file system: what is written is read, whatever was cut off after it.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use proptest::prelude::*;

use super::{header::HEADER, lane::Lane, *};
use crate::audit::{
    Kind,
    files::{Disk, RealDisk},
    id::{EventId, Ids},
    privacy::Privacy,
    testing::blocked,
};

fn disk(directory: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(directory, "ams-1").unwrap())
}

fn lane(disk: &Arc<dyn Disk>, ids: &Ids) -> Lane {
    let header = Header { nonce: ids.nonce(), first: ids.last() + 1, edge: "ams-1".into() };
    let path = Header::path(header.nonce, 1);
    Prepared::draft(disk, "draft", 0, false).unwrap().named(&path, false).unwrap().begin(&header).unwrap()
}

fn record(ids: &mut Ids, path: &[u8]) -> (EventId, Vec<u8>) {
    let now = "2026-11-20T22:30:00.5Z".parse().unwrap();
    let mut draft = Draft::default();
    blocked("TS-1", path, |event| draft.facts(event, &Privacy::Full, now));
    let id = ids.next(now);
    (id, draft.stamp(id, now).to_vec())
}

/// The ids of all records that a reader finds.
fn ids_in(reader: &mut LaneReader, file: &LaneFile) -> Vec<EventId> {
    let mut found = Vec::new();
    while reader.look(file.file.as_ref()).unwrap() {
        found.push(reader.entry().unwrap().id);
        reader.advance();
    }
    found
}

#[test]
fn a_reader_follows_what_is_written_and_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, mut ids) = (disk(directory.path()), Ids::from_kernel().unwrap());
    let mut lane = lane(&disk, &ids);
    let file = lane.file().clone();
    let mut reader = LaneReader::open(file.file.as_ref()).unwrap().unwrap();
    assert_eq!(reader.header().nonce, ids.nonce());
    assert_eq!(&*reader.header().edge, "ams-1");
    let start = reader.position();
    let mut written = Vec::new();
    for round in 0..3 {
        assert!(!reader.look(file.file.as_ref()).unwrap());
        for _ in 0..round * 20 {
            let (id, bytes) = record(&mut ids, b"/some/path");
            lane.append(&bytes).unwrap();
            written.push(id);
        }
        reader.rewind(start);
        assert_eq!(ids_in(&mut reader, &file), written);
    }
    assert!(reader.remainder(file.file.as_ref()).unwrap().is_empty());
}

#[test]
fn a_full_file_takes_no_more_and_its_slots_stay_free_for_the_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, mut ids) = (disk(directory.path()), Ids::from_kernel().unwrap());
    let mut lane = lane(&disk, &ids);
    let file = lane.file().clone();
    let mut written = Vec::new();
    loop {
        let (id, bytes) = record(&mut ids, &[b'/'; 2048]);
        if !lane.has_room(bytes.len()) {
            assert!(lane.append(&bytes).is_err());
            break;
        }
        lane.append(&bytes).unwrap();
        written.push(id);
    }
    let reader = LaneReader::open(file.file.as_ref()).unwrap().unwrap();
    assert_eq!(reader.kept_gap(file.file.as_ref(), 0).unwrap(), None);
    let mut kept = Draft::default();
    let mut last = ids.last();
    for missed in 1..4u64 {
        let id = ids.next(Timestamp::UNIX_EPOCH);
        kept.fields(Kind::AuditGap, |out| out.extend_from_slice(format!(",\"missed\":{missed}").as_bytes()));
        lane.keep_gap(kept.stamp(id, Timestamp::UNIX_EPOCH)).unwrap();
        let found = reader.kept_gap(file.file.as_ref(), last).unwrap().unwrap();
        assert_eq!(decode(&found).unwrap().id, id, "the newest of two slots");
        last = id.ordinal();
        assert_eq!(reader.kept_gap(file.file.as_ref(), last).unwrap(), None, "it was written already");
    }
    // A gap that grows is kept under one id.
    let id = ids.next(Timestamp::UNIX_EPOCH);
    for second in 1..4 {
        let now = Timestamp::from_second(second).unwrap();
        kept.fields(Kind::AuditGap, |out| out.extend_from_slice(b",\"missed\":1"));
        lane.keep_gap(kept.stamp(id, now)).unwrap();
        let found = reader.kept_gap(file.file.as_ref(), last).unwrap().unwrap();
        assert_eq!(decode(&found).unwrap().time, now, "the newest of two snapshots");
    }
    let mut reader = LaneReader::open(file.file.as_ref()).unwrap().unwrap();
    assert_eq!(ids_in(&mut reader, &file), written);
}

#[test]
fn a_record_cut_off_at_any_byte_is_none_and_those_before_it_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, mut ids) = (disk(directory.path()), Ids::from_kernel().unwrap());
    let (first, whole) = record(&mut ids, b"/whole");
    let (_, torn) = record(&mut ids, b"/torn");
    let mut lane = lane(&disk, &ids);
    lane.append(&whole).unwrap();
    let file = lane.file().clone();
    // What the file holds beyond is zeros, so that a record which lacks only zeros lacks nothing.
    let meant = torn.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for length in 1..meant {
        file.file.write_at(&torn[..length], (HEADER + whole.len()) as u64).unwrap();
        let mut reader = LaneReader::open(file.file.as_ref()).unwrap().unwrap();
        assert_eq!(ids_in(&mut reader, &file), [first], "{length} bytes");
        let rest = reader.remainder(file.file.as_ref()).unwrap();
        let meant = torn[..length].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        assert_eq!(rest, torn[..meant], "{length} bytes");
    }
}

#[test]
fn records_that_a_later_file_holds_as_well_are_no_torn_tail() {
    for (end, torn) in [(3, false), (4, true)] {
        let directory = tempfile::tempdir().unwrap();
        let (disk, mut ids) = (disk(directory.path()), Ids::from_kernel().unwrap());
        let mut lane = lane(&disk, &ids);
        (0..4).for_each(|_| lane.append(&record(&mut ids, b"/").1).unwrap());
        let LaneFile { disk, file, path, .. } = lane.file().clone();
        let mut reader = LaneReader::open(file.as_ref()).unwrap().unwrap();
        for _ in 0..2 {
            assert!(reader.look(file.as_ref()).unwrap());
            reader.advance();
        }
        let committed = reader.position();
        let source = Source { disk, file, path, reader, committed, end: 0, complete: true };
        let mut problems = Vec::new();
        assert_eq!(source.leave(2, end, &mut problems).unwrap() > 0, torn);
        assert_eq!(source.disk.list("torn").unwrap().len(), usize::from(torn));
        assert_eq!(source.disk.list("journal").unwrap(), Vec::<String>::new());
    }
}

#[test]
fn of_two_files_that_begin_alike_the_one_made_later_counts() {
    for order in [[1, 2], [2, 1]] {
        let directory = tempfile::tempdir().unwrap();
        let (disk, mut ids) = (disk(directory.path()), Ids::from_kernel().unwrap());
        let records: Vec<Vec<u8>> = (0..3).map(|_| record(&mut ids, b"/").1).collect();
        let mut state = LaneState::default();
        for number in order {
            let header = Header { nonce: ids.nonce(), first: 1, edge: "ams-1".into() };
            let made = Prepared::draft(&disk, "draft", 0, false).unwrap();
            let named = made.named(&Header::path(header.nonce, number), false).unwrap();
            let mut lane = named.begin(&header).unwrap();
            // What the earlier one holds beyond is not in its copy.
            records.iter().take(if number == 1 { 3 } else { 2 }).for_each(|one| lane.append(one).unwrap());
            let LaneFile { disk, file, path, .. } = lane.file().clone();
            let reader = LaneReader::open(file.as_ref()).unwrap().unwrap();
            let committed = reader.position();
            state.add(Source { disk, file, path, reader, committed, end: 0, complete: false });
        }
        let mut found = Vec::new();
        while state.peek(u64::MAX).unwrap().is_some() {
            let source = &mut state.files[state.current];
            found.push((state.current, source.reader.entry().unwrap().id.ordinal()));
            source.reader.advance();
        }
        assert_eq!(found, [(1, 1), (1, 2)]);
    }
}

#[test]
fn a_file_that_begins_with_anything_else_is_none_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, ids) = (disk(directory.path()), Ids::from_kernel().unwrap());
    let file = lane(&disk, &ids).file().clone();
    let mut head = [0; HEADER];
    file.file.read_at(&mut head, 0).unwrap();
    for at in 0..HEADER {
        let mut damaged = head;
        damaged[at] ^= 0x20;
        file.file.write_at(&damaged, 0).unwrap();
        assert!(LaneReader::open(file.file.as_ref()).unwrap().is_none(), "byte {at}");
    }
    file.file.truncate(100).unwrap();
    assert!(LaneReader::open(file.file.as_ref()).unwrap().is_none());
    assert_eq!(Header::parse_name("00000000ff-00000000000000000007.wal").unwrap().1, 7);
    for name in [
        "",
        "x.wal",
        "00000000ff-7.wal",
        "00000000ff-00000000000000000007",
        "00000000FF-00000000000000000007.wal",
    ] {
        assert!(Header::parse_name(name).is_none(), "{name}");
    }
}

proptest! {
    #[test]
    fn a_changed_byte_or_any_bytes_are_no_record(flip in 0usize..4000, bit in 0u8..8, junk in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut ids = Ids::from_kernel().unwrap();
        let (id, mut bytes) = record(&mut ids, b"/a/path?and=query");
        prop_assert_eq!(decode(&bytes).unwrap().id, id);
        let at = flip % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes).is_none(), "byte {} changed", at);
        prop_assert!(decode(&junk).is_none());
    }
}
