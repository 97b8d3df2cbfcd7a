//! What a start makes of damage, and when a new epoch begins.

use std::{fs, path::PathBuf};

use super::super::open::Found;
use super::*;

struct Log {
    directory: tempfile::TempDir,
    witness: PathBuf,
    _outside: tempfile::TempDir,
}

impl Log {
    /// A log of 12 events in several segments, closed in order.
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let witness = outside.path().join("witness.json");
        let log = Self { directory: tempfile::tempdir().unwrap(), witness, _outside: outside };
        let mut sealer = log.open();
        for last in 1..=12 {
            sealer.write(last).unwrap();
        }
        sealer.archive().unwrap();
        sealer.close().unwrap();
        log
    }

    fn options(&self) -> SealOptions {
        SealOptions { witness: Some(self.witness.clone()), ..options() }
    }

    fn open(&self) -> Sealer {
        Sealer::open(real(self.directory.path()), self.options()).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn last_segment(&self) -> SegmentFile {
        segments(self.directory.path()).unwrap().pop().unwrap()
    }

    /// The whole directory, to be put back later.
    fn copy(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.directory.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()))
                }
            }
        }
        files
    }

    fn put_back(&self, files: &[(PathBuf, Vec<u8>)]) {
        use std::os::unix::fs::PermissionsExt;
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        for (path, bytes) in files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// A start that finds `damage` and begins epoch 2 after the 12 records; writing goes on there.
    fn begins_anew(&self, reason: &str) -> Found {
        let mut sealer = self.open();
        let found = sealer.found.clone();
        assert!(found.new_epoch.as_ref().is_some_and(|why| why.contains(reason)), "{reason}: {found:?}");
        assert_eq!((found.epoch, sealer.sealed.committed_seq()), (2, 12), "{found:?}");
        sealer.write(13).unwrap();
        sealer.close().unwrap();
        drop(sealer);
        let again = self.open();
        assert_eq!((again.found.new_epoch, again.found.epoch, again.found.last_seq), (None, 2, 13));
        found
    }
}

#[test]
fn a_log_that_was_closed_in_order_goes_on() {
    let log = Log::new();
    let mut sealer = log.open();
    assert_eq!((sealer.found.problems.clone(), sealer.found.new_epoch.clone()), (vec![], None));
    assert_eq!((sealer.found.last_seq, sealer.found.last_revision, sealer.found.torn_bytes), (12, 12, 0));
    assert_eq!(sealer.found.extensions, ["lane 0 12"]);
    sealer.write(14).unwrap();
    check_whole(log.directory.path(), 14);
}

#[test]
fn whole_lines_beyond_the_checkpoint_are_kept_and_half_ones_are_set_aside() {
    let log = Log::new();
    let last = log.last_segment();
    let tail = [line(13, 13), line(14, 14), b"{\"id\":".to_vec()].concat();
    alter(&last.path, |bytes| bytes.extend_from_slice(&tail));
    let mut sealer = log.open();
    assert_eq!(sealer.found.tail_ids, [id(13), id(14)]);
    assert_eq!((sealer.found.torn_bytes, sealer.found.last_seq, sealer.sealed.committed_seq()), (6, 14, 12));
    assert_eq!(sealer.found.problems, []);
    let torn = crate::audit::files::names_in(&log.path("torn")).unwrap();
    assert_eq!(fs::read(log.path("torn").join(&torn[0])).unwrap(), b"{\"id\":");
    sealer.write(15).unwrap();
    check_whole(log.directory.path(), 15);
}

#[test]
fn lines_out_of_sequence_beyond_the_checkpoint_are_set_aside() {
    let log = Log::new();
    let tail = [line(13, 13), line(20, 20), line(14, 14)].concat();
    alter(&log.last_segment().path, |bytes| bytes.extend_from_slice(&tail));
    let mut sealer = log.open();
    assert_eq!(sealer.found.tail_ids, [id(13)]);
    assert_eq!(sealer.found.torn_bytes as usize, line(20, 20).len() + line(14, 14).len());
    sealer.write(14).unwrap();
    check_whole(log.directory.path(), 14);
}

#[test]
fn a_rescue_that_was_interrupted_before_its_last_rename_is_finished() {
    let log = Log::new();
    let path = log.last_segment().path;
    fs::rename(&path, path.with_extension("jsonl.new")).unwrap();
    let sealer = log.open();
    assert_eq!((sealer.found.problems.clone(), sealer.found.last_seq), (vec![], 12));
    check_whole(log.directory.path(), 12);
}

#[test]
fn a_changed_sealed_line_begins_a_new_epoch() {
    let log = Log::new();
    alter(&log.last_segment().path, |bytes| bytes[0] ^= 1);
    let segment = log.last_segment().first;
    let found = log.begins_anew("root");
    assert!(found.problems.contains(&Problem::Damaged { segment, offset: 0 }), "{found:?}");
    assert!(found.problems.contains(&Problem::Root { epoch: 1, size: 12, segment }), "{found:?}");
    assert_eq!(found.extensions, ["lane 0 12"], "they are signed");
}

#[test]
fn sealed_lines_that_are_gone_begin_a_new_epoch() {
    let log = Log::new();
    let last = log.last_segment();
    alter(&last.path, |bytes| bytes.truncate(bytes.len() - 1));
    let found = log.begins_anew("missing");
    assert!(found.problems.contains(&Problem::Cut { sealed: 12, found: 11 }), "{found:?}");
}

#[test]
fn a_missing_or_forged_checkpoint_begins_a_new_epoch() {
    let log = Log::new();
    fs::remove_file(log.path("tree/1/checkpoint")).unwrap();
    let found = log.begins_anew("checkpoint: the checkpoint is missing");
    assert!(has_file_problem(&found.problems, "tree/1/checkpoint"));
    let log = Log::new();
    alter(&log.path("tree/1/checkpoint"), |bytes| *bytes.iter_mut().rev().nth(9).unwrap() ^= 1);
    log.begins_anew("checkpoint: ");
}

#[test]
fn a_checkpoint_that_was_rolled_back_begins_a_new_epoch() {
    let log = Log::new();
    let kept = crate::audit::files::names_in(&log.path("tree/1/checkpoints")).unwrap();
    fs::copy(log.path("tree/1/checkpoints").join(&kept[0]), log.path("tree/1/checkpoint")).unwrap();
    log.begins_anew("older than one that was kept");
    let log = Log::new();
    fs::copy(log.path("tree/1/checkpoints").join(&kept[0]), log.path("tree/1/checkpoint")).unwrap();
    fs::remove_dir_all(log.path("tree/1/checkpoints")).unwrap();
    let sealer = log.open();
    assert!(sealer.found.new_epoch.is_some(), "{:?}", sealer.found);
}

#[test]
fn a_missing_or_damaged_key_begins_a_new_epoch_under_the_same_name() {
    for damage in
        [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| alter(path, |bytes| bytes[0] ^= 1)]
    {
        let log = Log::new();
        let base = String::from_utf8(fs::read(log.path("tree/1/checkpoint")).unwrap()).unwrap();
        let base = base.lines().next().unwrap().to_owned();
        damage(&log.path("log.key"));
        let found = log.begins_anew("the signing key was");
        assert!(has_file_problem(&found.problems, "log.pub"), "{found:?}");
        let note = fs::read_to_string(log.path("tree/2/checkpoint")).unwrap();
        assert_eq!(note.lines().next(), Some(format!("{base}/epoch-2").as_str()));
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let log = Log::new();
    fs::set_permissions(log.path("log.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let error = Sealer::open(real(log.directory.path()), log.options()).err().unwrap();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn damaged_partial_tiles_are_made_from_the_lines() {
    let start = Log::new().last_segment().first - 1;
    for damage in
        [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| alter(path, |bytes| bytes[5] ^= 1)]
    {
        let log = Log::new();
        damage(&log.path(&format!("tree/1/tile/0/000.p/{start}")));
        let mut sealer = log.open();
        assert_eq!(sealer.found.new_epoch, None);
        assert!(!sealer.found.problems.is_empty());
        sealer.write(13).unwrap();
        check_whole(log.directory.path(), 13);
    }
}

#[test]
fn a_damaged_index_or_a_missing_segment_is_a_problem() {
    let log = Log::new();
    let all = segments(log.directory.path()).unwrap();
    alter(all[0].index.as_ref().unwrap(), |bytes| bytes[0] ^= 1);
    let found = log.open().found.clone();
    assert!(has_file_problem(&found.problems, ".idx") && found.new_epoch.is_none(), "{found:?}");
    let log = Log::new();
    let mut sealer = log.open();
    for last in 13..=24 {
        sealer.write(last).unwrap();
    }
    sealer.archive().unwrap();
    drop(sealer);
    let all = segments(log.directory.path()).unwrap();
    fs::remove_file(&all[1].path).unwrap();
    let found = log.open().found.clone();
    assert!(
        found.problems.contains(&Problem::Missing { expected: all[1].first, found: all[2].first }),
        "{found:?}"
    );
}

#[test]
fn an_older_copy_is_known_by_the_witness() {
    let log = Log::new();
    let copy = log.copy();
    let mut sealer = log.open();
    sealer.write(15).unwrap();
    drop(sealer);
    log.put_back(&copy);
    let mut sealer = log.open();
    let found = sealer.found.clone();
    assert!(found.new_epoch.as_ref().is_some_and(|why| why.contains("older copy")), "{found:?}");
    assert_eq!((found.epoch, sealer.sealed.next_seq()), (2, 1_000_016));
    assert!(matches!(found.problems[..], [Problem::OlderCopy(_)]), "{found:?}");
    sealer.write(16).unwrap();
    drop(sealer);
    assert_eq!(log.open().found.new_epoch, None);
}

#[test]
fn another_root_at_the_witnessed_size_is_an_older_copy_too() {
    let log = Log::new();
    let copy = log.copy();
    log.open().write(13).unwrap();
    let witness = fs::read(&log.witness).unwrap();
    log.put_back(&copy);
    fs::remove_file(&log.witness).unwrap();
    let mut other = log.open();
    assert_eq!(other.found.new_epoch, None, "a missing witness is no reason");
    other.queue.push_back(99);
    other.append().unwrap();
    other.commit().unwrap();
    drop(other);
    fs::write(&log.witness, witness).unwrap();
    let found = log.open().found.clone();
    assert!(found.new_epoch.is_some_and(|why| why.contains("another root")), "{:?}", found.problems);
}

#[test]
fn an_empty_directory_beside_a_witness_is_an_older_copy() {
    let log = Log::new();
    log.put_back(&[]);
    let sealer = log.open();
    assert!(sealer.found.new_epoch.as_ref().is_some_and(|why| why.contains("the directory is empty")));
    assert_eq!((sealer.found.epoch, sealer.sealed.next_seq()), (2, 1_000_013));
}

#[test]
fn records_of_before_sealing_stay_and_the_first_epoch_begins_after_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("segments")).unwrap();
    let lines = [line(1, 1), line(2, 2)].concat();
    fs::write(directory.path().join("segments/00000000000000000001.jsonl"), lines).unwrap();
    let mut sealer = Sealer::in_directory(directory.path());
    assert_eq!((sealer.found.epoch, sealer.sealed.next_seq(), sealer.found.last_seq), (1, 3, 2));
    assert!(sealer.found.new_epoch.as_ref().is_some_and(|why| why.contains("not sealed")));
    assert_eq!(sealer.found.tail_ids, [id(1), id(2)]);
    sealer.sealed.append(&line(3, 3), 1, now()).unwrap();
    sealer.sealed.commit(now(), &[]).unwrap();
    assert_eq!(segment_names(directory.path()).len(), 2);
    drop(sealer);
    assert_eq!(Sealed::open(real(directory.path()), options(), now()).unwrap().1.problems, []);
}

#[test]
fn any_bytes_in_any_small_file_are_damage_and_no_panic() {
    for path in
        ["log.key", "log.pub", "epochs/1.json", "tree/1/checkpoint", "segments/00000000000000000001.idx"]
    {
        for bytes in [&b""[..], b"\n", b"\xff\xfe", b"{}", b"{\"version\":1}"] {
            let log = Log::new();
            fs::write(log.path(path), bytes).unwrap();
            let mut sealer = log.open();
            assert!(!sealer.found.problems.is_empty(), "{path} {bytes:?}");
            let next = sealer.sealed.next_seq();
            assert!(next >= 13, "{path}: {next}");
            sealer.sealed.append(&line(13, next), 1, now()).unwrap();
            sealer.sealed.commit(now(), &[]).unwrap();
        }
    }
}
