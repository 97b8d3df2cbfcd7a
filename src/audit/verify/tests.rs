//! Sound logs are sound, and what is wrong is told in the right words.

use super::{sample::Sample, *};
use crate::audit::merkle::{Checkpoint, leaf_hash};

pub(super) fn run(sample: &Sample) -> Report {
    verify(sample.path(), &VerifyOptions::default(), &|_, _| {}).unwrap()
}

pub(super) fn told(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_log_closed_in_order_is_sound() {
    for sizes in [&[][..], &[1], &[5, 3], &[300, 1, 255, 256, 40], &[256, 512, 7], &[700, 900]] {
        let mut sample = Sample::new();
        sample.segments(sizes);
        let report = run(&sample);
        assert_eq!(told(&report), [""; 0], "{sizes:?}");
        let records: u64 = sizes.iter().sum();
        assert_eq!((report.records, report.unsealed), (records, 0));
        assert_eq!(report.segments, sizes.len() as u64);
        assert_eq!(report.epochs.len(), 1);
        assert_eq!(report.epochs[0].size, records);
    }
}

#[test]
fn a_large_log_with_full_tiles_is_sound_and_a_flip_is_found_in_its_group() {
    let mut sample = Sample::new();
    sample.segments(&[40_000, 40_000, 100]);
    assert_eq!(told(&run(&sample)), [""; 0]);
    let tile = "tree/1/tile/1/000";
    let mut bytes = std::fs::read(sample.path().join(tile)).unwrap();
    bytes[70] ^= 1;
    sample.write(tile, &bytes);
    assert_eq!(
        told(&run(&sample)),
        [format!("{tile}, bytes 64 to 95: the tile does not hold the hashes of the signed records")]
    );
}

#[test]
fn an_index_of_the_first_version_is_as_sound_as_one_of_now_and_one_of_another_is_told() {
    let mut sample = Sample::new();
    sample.segments(&[10, 5, 3]);
    let name = format!("segments/{:020}.idx", 11);
    let text = std::fs::read_to_string(sample.path().join(&name)).unwrap();
    // The sample's records name no host beside that in `host`.
    sample.write(&name, text.replacen("\"version\":2", "\"version\":1", 1));
    assert_eq!(told(&run(&sample)), [""; 0]);
    sample.write(&name, text.replacen("\"version\":2", "\"version\":3", 1));
    let told = told(&run(&sample));
    assert!(told.len() == 1 && told[0].contains("version 3 of the index is unknown"), "{told:?}");
}

#[test]
fn progress_ends_with_all_bytes() {
    let mut sample = Sample::new();
    sample.segments(&[300, 300, 4]);
    let last = Cell::new((0, 1));
    verify(sample.path(), &VerifyOptions::default(), &|done, total| last.set((done, total))).unwrap();
    assert_eq!(last.get().0, last.get().1);
}

#[test]
fn records_beyond_the_checkpoint_are_counted() {
    let mut sample = Sample::new();
    sample.segments(&[10, 5]);
    sample.append(11, 3);
    let report = run(&sample);
    assert_eq!(told(&report), [""; 0]);
    assert_eq!((report.records, report.unsealed), (15, 3));
}

#[test]
fn a_new_epoch_goes_on_with_its_own_tree() {
    let mut sample = Sample::new();
    sample.segments(&[300, 20]);
    sample.epoch(1_000_400, "the directory was an older copy");
    sample.segments(&[300, 10]);
    let report = run(&sample);
    assert_eq!(told(&report), [""; 0]);
    assert_eq!(report.epochs[1].reason, "the directory was an older copy");
    assert_eq!((report.epochs[1].first_seq, report.epochs[1].size), (1_000_400, 310));
}

#[test]
fn an_epoch_that_is_gone_and_segments_of_none_are_found() {
    let mut sample = Sample::new();
    sample.segments(&[30, 20]);
    sample.epoch(1_000_400, "the directory was an older copy");
    sample.segments(&[30, 10]);
    std::fs::remove_dir_all(sample.path().join("tree/1")).unwrap();
    std::fs::remove_file(sample.path().join("epochs/1.json")).unwrap();
    sample.write("segments/18446744073709551615.jsonl", "?\n");
    assert_eq!(
        told(&run(&sample))[..4],
        [
            "epochs/1.json: the epoch is missing",
            "segments/00000000000000000001.jsonl.zst: the segment belongs to no epoch",
            "segments/00000000000000000031.jsonl: the segment belongs to no epoch",
            "segments/18446744073709551615.jsonl: the segment belongs to no epoch",
        ]
    );
}

#[test]
fn pruned_segments_are_joined_by_their_hashes() {
    let mut sample = Sample::new();
    sample.segments(&[300, 300, 20]);
    let name = "00000000000000000001";
    let path = |folder: &str, suffix: &str| sample.path().join(format!("{folder}/{name}{suffix}"));
    std::fs::rename(path("segments", ".idx"), path("pruned", ".idx")).unwrap();
    std::fs::remove_file(path("segments", ".jsonl.zst")).unwrap();
    let report = run(&sample);
    assert_eq!(told(&report), [""; 0]);
    assert_eq!((report.pruned_segments, report.records), (1, 320));
    let index = std::fs::read_to_string(path("pruned", ".idx")).unwrap();
    let at = index.find("\"range\":[\"").unwrap() + 12;
    let mut bytes = index.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    std::fs::write(path("pruned", ".idx"), bytes).unwrap();
    assert_eq!(
        told(&run(&sample)),
        [format!("pruned/{name}.idx, records 1 to 300: its hashes do not lead to the signed root")]
    );
}

#[test]
fn holes_in_the_ids_must_be_counted_by_gap_records() {
    let mut sample = Sample::new();
    sample.append(1, 4);
    sample.miss(7);
    sample.append(1, 4);
    sample.checkpoint(true);
    sample.partials();
    let report = run(&sample);
    assert_eq!((told(&report), report.missed, report.processes), (vec![], 7, 1));
    sample.lose(2);
    sample.append(1, 1);
    sample.checkpoint(true);
    sample.partials();
    assert_eq!(
        told(&run(&sample)),
        ["segments: process aabbccddee: 9 ids have no record, its gap records count 7 events"]
    );
}

#[test]
fn a_trusted_checkpoint_must_be_a_beginning() {
    let mut sample = Sample::new();
    sample.segments(&[300, 7]);
    sample.append(301, 4);
    sample.checkpoint(false);
    let since = sample.path().join("since");
    let with = |path: &Path| {
        let options = VerifyOptions { since: Some(path.to_owned()), key: Some(sample.signer.verifier()) };
        verify(sample.path(), &options, &|_, _| {})
    };
    std::fs::copy(sample.path().join("tree/1/checkpoint"), &since).unwrap();
    assert_eq!(told(&with(&since).unwrap()), [""; 0]);
    let extensions = vec!["epoch 1".to_owned(), "first-seq 1".to_owned()];
    let root = leaf_hash(b"another");
    let other =
        |size| Checkpoint { origin: sample::ORIGIN.into(), size, root, extensions: extensions.clone() };
    std::fs::write(&since, other(309).sign(&sample.signer)).unwrap();
    let found = with(&since).unwrap();
    assert!(
        told(&found)[0].contains("records 308 to 309: changed since it was signed"),
        "{:?}",
        told(&found)
    );
    std::fs::write(&since, other(312).sign(&sample.signer)).unwrap();
    assert!(told(&with(&since).unwrap())[0].contains("rolled back"));
    std::fs::write(&since, "no note").unwrap();
    assert!(matches!(with(&since), Err(VerifyError::Since(_))));
}

#[test]
fn another_key_is_noticed() {
    let mut sample = Sample::new();
    sample.segments(&[5]);
    let other = Signer::from_seed(sample::ORIGIN, [1; 32]);
    let options = VerifyOptions { key: Some(other.verifier()), since: None };
    let report = verify(sample.path(), &options, &|_, _| {}).unwrap();
    assert_eq!(report.findings[0].to_string(), "log.pub: it is not the key that was given");
    assert!(told(&report).iter().any(|told| told == "tree/1/checkpoint: the note is not signed by this key"));
    assert!(verify(Path::new("/nonexistent"), &options, &|_, _| {}).is_err());
}

/// Takes the lines of a closed segment away, as retention does.
fn prune(sample: &Sample, first: u64) {
    let path = |folder: &str, suffix: &str| sample.path().join(format!("{folder}/{first:020}{suffix}"));
    std::fs::rename(path("segments", ".idx"), path("pruned", ".idx")).unwrap();
    std::fs::remove_file(path("segments", ".jsonl.zst")).unwrap();
}

#[test]
fn ids_that_may_be_in_pruned_segments_are_told_as_such_and_others_are_holes() {
    for pruned in [1, 301] {
        let mut sample = Sample::new();
        sample.segments(&[300, 300, 20]);
        prune(&sample, pruned);
        let report = run(&sample);
        let note = "process aabbccddee: 300 ids have no record here: they may be in pruned segments";
        assert_eq!((told(&report), report.notes), (vec![], vec![note.to_owned()]));
        // What is lost where nothing was pruned is a hole.
        sample.lose(2);
        sample.append(601, 5);
        sample.checkpoint(true);
        sample.partials();
        let hole = "segments: process aabbccddee: 2 ids have no record, its gap records count 0 events, \
                    300 more may be in pruned segments";
        assert_eq!(told(&run(&sample)), [hole]);
    }
}

#[test]
fn more_ids_than_were_pruned_are_a_hole() {
    let mut sample = Sample::new();
    sample.segments(&[300]);
    sample.pack(1);
    sample.lose(4);
    sample.segments(&[300, 20]);
    prune(&sample, 301);
    assert_eq!(
        told(&run(&sample)),
        ["segments: process aabbccddee: 4 ids have no record, its gap records count 0 events, \
          300 more may be in pruned segments"]
    );
}
