//! Records that are not sealed yet are found as well, and none twice.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::{Audit, Options, files::RealDisk, testing::*};
use super::*;
use crate::clock::SystemClock;

#[test]
fn every_record_is_found_once_while_the_log_is_written_and_rotates() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = Audit::open(options(directory.path()), Arc::new(SystemClock)).unwrap();
    let mut given = HashSet::new();
    for number in 0..900 {
        let receipt = blocked(&format!("TS-{}", number % 2), b"/a", |event| audit.record(event));
        given.insert(receipt.id().to_string());
        // The last part of the log is in the journal, in both, or sealed: whatever the sealer has come to.
        if number % 60 == 59 {
            assert_eq!(found(directory.path(), &Query::default()), given, "after {number}");
        }
    }
    let query = Query { case: Some("TS-1".to_owned()), ..Query::default() };
    assert_eq!(found(directory.path(), &query).len(), 450);
    audit.close().unwrap();
    assert_eq!(found(directory.path(), &Query::default()), given);
}

fn found(directory: &Path, query: &Query) -> HashSet<String> {
    let (mut ids, mut count) = (HashSet::new(), 0);
    let searched = find(directory, query, &mut |line| {
        count += 1;
        ids.insert(String::from_utf8(line[7..43].to_vec()).unwrap());
        ControlFlow::Continue(())
    });
    let searched = searched.unwrap();
    assert!(searched.problems.is_empty(), "{:?}", searched.problems);
    assert_eq!((count, searched.found), (ids.len(), ids.len() as u64), "none twice");
    ids
}

#[test]
fn an_id_that_is_found_is_all_there_is_though_a_segment_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Audit::open(options(directory.path()), Arc::new(SystemClock)).unwrap().0;
    let audit = open();
    (0..500).for_each(|_| drop(blocked("TS-1", b"/a", |event| audit.record(event))));
    audit.close().unwrap();
    let gone = super::super::segments(directory.path()).unwrap().remove(0);
    let paths = [Some(gone.path), gone.index];
    paths.into_iter().flatten().for_each(|path| std::fs::remove_file(path).unwrap());
    let audit = open();
    let id = blocked("TS-1", b"/b", |event| audit.record(event)).id();
    let problems = |query: &Query| {
        let searched = find(directory.path(), query, &mut |_| ControlFlow::Continue(())).unwrap();
        (searched.found, searched.problems.len())
    };
    // Whether it is sealed already or not.
    assert_eq!(problems(&Query { id: Some(id), ..Query::default() }), (1, 0));
    let (found, missing) = problems(&Query { case: Some("TS-1".to_owned()), ..Query::default() });
    assert!(found < 501 && missing == 1, "{found} {missing}");
    audit.close().unwrap();
}

/// A segment is made before its first line is in it, and that may take long on a disk that is full.
#[test]
fn what_is_in_the_journal_is_found_though_the_last_segment_has_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let succeeding = || Options { succeed: true, ..options(path) };
    let open = || Audit::open(succeeding(), Arc::new(SystemClock)).unwrap().0;
    let record = |audit: &Audit| blocked("TS-1", b"/a", |event| audit.record(event)).id().to_string();
    let audit = open();
    let mut given: HashSet<String> = (0..300).map(|_| record(&audit)).collect();
    audit.close().unwrap();
    let sealed = super::super::records(path).unwrap().count();
    // Somebody else has the directory: what is recorded now is not sealed.
    let disk = RealDisk::open(path, "ams-1").unwrap();
    let audit = open();
    given.extend((0..100).map(|_| record(&audit)));
    std::fs::write(path.join(format!("segments/{:020}.jsonl", sealed + 1)), "").unwrap();
    assert_eq!(found(path, &Query::default()), given);
    let seqs: Vec<u64> =
        super::super::records(path).unwrap().map(|item| item.unwrap().unwrap().seq).collect();
    assert_eq!(seqs, (1..=given.len() as u64).collect::<Vec<_>>());
    let mut tail = super::super::Tail::open(path, 1).unwrap();
    assert_eq!(tail.next_record().unwrap().unwrap().unwrap().seq, given.len() as u64);
    drop(disk);
    audit.close().unwrap();
    assert_eq!(found(path, &Query::default()), given);
}
