//! What the sealed store writes is sound, whatever became of the process that wrote it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{sample::id, tests::told, *};
use crate::audit::{
    files::RealDisk,
    merkle::leaf_hash,
    sealed::{SealOptions, Sealed},
};

pub(super) fn now() -> Timestamp {
    "2026-11-20T22:30:00.25Z".parse().unwrap()
}

pub(super) fn open(directory: &Path) -> Sealed {
    let options = SealOptions {
        edge: "ams-1".to_owned(),
        segment_bytes: 40_000,
        segment_age: SignedDuration::from_hours(1),
        witness: None,
    };
    Sealed::open(Arc::new(RealDisk::unlocked(directory, "ams-1")), options, now()).unwrap().0
}

pub(super) fn append(sealed: &mut Sealed, count: u64) {
    let first = sealed.next_seq();
    let line = |seq: u64| {
        format!(
            "{{\"id\":\"{}\",\"seq\":{seq},\"time\":\"2026-11-20T22:30:00.250000Z\",\"edge\":\"ams-1\",\
             \"kind\":\"request.blocked\",\"case\":\"TS-{seq}\",\"host\":\"h.example\",\"revision\":{seq}}}\n",
            id(0, seq.into())
        )
    };
    let lines: String = (first..first + count).map(line).collect();
    sealed.append(lines.as_bytes(), count, now()).unwrap();
}

pub(super) fn archive(sealed: &mut Sealed, directory: &Path) {
    let disk = RealDisk::unlocked(directory, "ams-1");
    for job in sealed.full_segments() {
        job.run(&disk).unwrap();
    }
}

fn run(directory: &Path) -> Report {
    verify(directory, &VerifyOptions::default(), &|_, _| {}).unwrap()
}

#[test]
fn the_store_is_sound_at_every_commit_and_after_every_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut records = 0;
    for round in 0..4 {
        let mut sealed = open(path);
        assert_eq!(told(&run(path)), [""; 0], "opened, round {round}");
        for step in 0..24 {
            append(&mut sealed, 7 + step);
            records += 7 + step;
            sealed.commit(now(), &["lane aabbccddee 9".to_owned()]).unwrap();
            if step % 8 == 0 {
                assert_eq!(told(&run(path)), [""; 0], "round {round} step {step}");
                archive(&mut sealed, path);
            }
        }
        if round % 2 == 0 {
            sealed.close(now(), &[]).unwrap();
        }
        archive(&mut sealed, path);
        let report = run(path);
        assert_eq!(told(&report), [""; 0], "stopped, round {round}");
        assert_eq!((report.records, report.unsealed), (records, 0));
    }
    assert!(run(path).segments > 4);
}

#[test]
fn what_was_appended_and_not_committed_is_unsealed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealed = open(directory.path());
    append(&mut sealed, 5);
    sealed.commit(now(), &[]).unwrap();
    append(&mut sealed, 3);
    let report = run(directory.path());
    assert_eq!((told(&report), report.records, report.unsealed), (vec![], 5, 3));
}

#[test]
fn records_of_the_store_can_be_proven() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealed = open(directory.path());
    for _ in 0..10 {
        append(&mut sealed, 100);
        sealed.commit(now(), &[]).unwrap();
    }
    sealed.close(now(), &[]).unwrap();
    archive(&mut sealed, directory.path());
    let text = std::fs::read_to_string(directory.path().join("log.pub")).unwrap();
    let key = Verifier::parse(&text).unwrap();
    for seq in [1u128, 256, 999, 1000] {
        let proof = crate::audit::prove(directory.path(), id(0, seq)).unwrap();
        let proven = crate::audit::verify_proof(proof.to_json().as_bytes(), Some(&key)).unwrap();
        assert_eq!(u128::from(proven.seq), seq);
        assert_ne!(leaf_hash(proven.record.as_bytes()), proven.checkpoint.root);
    }
}
