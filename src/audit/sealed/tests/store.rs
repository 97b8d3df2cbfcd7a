//! Appending and committing, and what somebody else may do to the open segment.

use std::fs;

use super::*;
use crate::audit::files::SEGMENTS;

#[test]
fn a_new_log_has_a_key_an_epoch_and_an_empty_checkpoint() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let sealer = Sealer::in_directory(directory.path());
    assert_eq!((sealer.found.epoch, sealer.found.new_epoch.as_ref()), (1, None));
    assert_eq!((sealer.sealed.next_seq(), sealer.sealed.committed_seq()), (1, 0));
    let note = fs::read_to_string(directory.path().join("tree/1/checkpoint")).unwrap();
    let mut lines = note.lines();
    let origin = lines.next().unwrap();
    let (base, random) = origin.rsplit_once('/').unwrap();
    assert_eq!((base, random.len()), ("interdict/ams-1", 16));
    assert_eq!(lines.nth(1), Some("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), "the root of no leaves");
    let extensions: Vec<&str> = lines.take(3).collect();
    assert_eq!(extensions, ["epoch 1", "first-seq 1", "time 2026-11-20T22:30:00.250000Z"]);
    for key in ["log.key", "log.pub"] {
        assert_eq!(fs::metadata(directory.path().join(key)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(check(directory.path()).events, [0u64; 0]);
}

#[test]
fn lines_are_sealed_by_the_commit_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    sealer.offer(3);
    sealer.append().unwrap();
    assert_eq!((sealer.sealed.next_seq(), sealer.sealed.committed_seq()), (4, 0));
    assert_eq!(check(directory.path()).size, 0);
    assert_eq!(sealer.commit().unwrap(), 3);
    assert_eq!((sealer.sealed.next_seq(), sealer.sealed.committed_seq()), (4, 3));
    check_whole(directory.path(), 3);
    assert!(sealer.sealed.append(b"no end", 1, now()).is_err());
    assert!(sealer.sealed.append(b"a\nb\n", 1, now()).is_err());
    assert!(sealer.sealed.commit(now(), &["two\nlines".to_owned()]).is_err());
    check_whole(directory.path(), 3);
}

#[test]
fn a_commit_without_news_leaves_the_checkpoint_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    sealer.write(2).unwrap();
    let path = directory.path().join("tree/1/checkpoint");
    let before = fs::read(&path).unwrap();
    sealer.commit_at(after(5)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    sealer.sealed.commit(after(5), &["lane 0 2".to_owned(), "lane 1 0".to_owned()]).unwrap();
    assert_ne!(fs::read(&path).unwrap(), before, "other extensions are news");
}

#[test]
fn segments_end_when_full_or_old_and_keep_their_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    for last in 1..=20 {
        sealer.write(last).unwrap();
    }
    let full = segments(directory.path()).unwrap();
    assert!(full.len() >= 2 && full[0].file_bytes >= 1500 && full[0].file_bytes < 1800, "{full:?}");
    let kept =
        fs::read(directory.path().join(format!("tree/1/checkpoints/{:020}", full[1].first - 1))).unwrap();
    assert!(String::from_utf8(kept).unwrap().lines().nth(1) == Some(&(full[1].first - 1).to_string()));
    sealer.commit_at(after(3599)).unwrap();
    assert_eq!(segments(directory.path()).unwrap().len(), full.len());
    sealer.commit_at(after(3600)).unwrap();
    assert_eq!(segments(directory.path()).unwrap().last().unwrap().first, 21, "old lines are closed");
    sealer.commit_at(after(9999)).unwrap();
    assert_eq!(segments(directory.path()).unwrap().len(), full.len() + 1, "an empty segment does not age");
    check_whole(directory.path(), 20);
}

#[test]
fn only_the_newest_partial_tiles_are_kept_and_full_ones_of_level_1_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let big = SealOptions { segment_bytes: 4_000_000, ..options() };
    let mut sealer = Sealer::open(real(directory.path()), big).unwrap();
    for last in [20_000, 40_000, 66_000, 66_001] {
        sealer.write(last).unwrap();
    }
    sealer.close().unwrap();
    let tile = fs::read(directory.path().join("tree/1/tile/1/000")).unwrap();
    assert_eq!(tile.len(), 256 * 32);
    assert!(!directory.path().join("tree/1/tile/0/000").exists(), "the lines hash to them");
    let start = segments(directory.path()).unwrap().last().unwrap().first - 1;
    let mut partials: Vec<String> = fs::read_dir(directory.path().join("tree/1/tile/0"))
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    partials.sort();
    let mut expected = vec![(start % 256).to_string(), (66_001 % 256).to_string()];
    expected.sort();
    assert_eq!(partials, expected);
    drop(sealer);
    let mut again = Sealer::in_directory(directory.path());
    assert_eq!(again.found.problems, []);
    again.write(66_002).unwrap();
    check_whole(directory.path(), 66_002);
}

#[test]
fn a_deleted_segment_is_put_back_and_its_unsealed_lines_are_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    sealer.write(4).unwrap();
    sealer.offer(6);
    sealer.append().unwrap();
    fs::remove_file(directory.path().join(SEGMENTS).join("00000000000000000001.jsonl")).unwrap();
    assert!(sealer.commit().is_err());
    assert_eq!(sealer.queue, [5, 6]);
    sealer.write(7).unwrap();
    check_whole(directory.path(), 7);
    assert_eq!(sealer.sealed.disturbed(), 1);
    assert_eq!(segment_names(directory.path()), ["00000000000000000001.jsonl", "00000000000000000005.jsonl"]);
    sealer.archive().unwrap();
    check_whole(directory.path(), 7);
}

#[test]
fn a_replaced_segment_is_put_back_and_the_impostor_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    sealer.write(4).unwrap();
    let path = directory.path().join(SEGMENTS).join("00000000000000000001.jsonl");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "impostor").unwrap();
    sealer.commit().unwrap();
    assert_eq!(
        fs::read(directory.path().join("torn/00000000000000000001.jsonl.aside.0")).unwrap(),
        b"impostor"
    );
    sealer.write(5).unwrap();
    check_whole(directory.path(), 5);
}

#[test]
fn a_deleted_directory_is_the_same_log_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    sealer.write(4).unwrap();
    let key = fs::read(directory.path().join("log.key")).unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    sealer.commit().unwrap();
    sealer.write(6).unwrap();
    assert_eq!(fs::read(directory.path().join("log.key")).unwrap(), key);
    check_whole(directory.path(), 6);
    drop(sealer);
    assert_eq!(Sealer::in_directory(directory.path()).found.new_epoch, None);
}

#[test]
fn a_changed_line_is_never_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    sealer.write(2).unwrap();
    sealer.offer(4);
    sealer.append().unwrap();
    let path = directory.path().join(SEGMENTS).join("00000000000000000001.jsonl");
    alter(&path, |bytes| *bytes.iter_mut().rev().nth(10).unwrap() ^= 1);
    let error = sealer.commit().unwrap_err();
    assert!(error.to_string().contains("not what was written"), "{error}");
    assert_eq!(sealer.queue, [3, 4]);
    sealer.write(4).unwrap();
    check_whole(directory.path(), 4);
}
