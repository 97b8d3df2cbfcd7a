//! What is kept comes back whole, and revisions are given once.

use super::*;

fn set(text: &str) -> PolicyFiles {
    let mut files = PolicyFiles::new();
    files.insert("cases/a.toml", text.as_bytes());
    files
}

#[test]
fn a_kept_set_comes_back_and_its_revision_is_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let revision = store.take_revision();
    store.keep(revision, &set("one"), Timestamp::UNIX_EPOCH).unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let (kept, problems) = store.last_good().unwrap();
    assert!(problems.is_empty());
    let Kept { manifest, files } = kept.unwrap();
    assert_eq!((manifest.revision, files.files), (1, set("one").files));
    assert_eq!(store.next_revision(), 2);
}

#[test]
fn a_damaged_set_is_passed_over_for_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    for text in ["one", "two"] {
        let revision = store.take_revision();
        store.keep(revision, &set(text), Timestamp::UNIX_EPOCH).unwrap();
    }
    let damaged = store.root.join("objects").join(Digest::of("two".as_bytes()).to_string());
    fs::write(&damaged, "twp").unwrap();
    let (kept, problems) = store.last_good().unwrap();
    assert_eq!(kept.unwrap().manifest.revision, 1);
    assert_eq!(problems.len(), 1);
    assert_eq!(store.next_revision(), 3);
}

#[test]
fn an_object_that_was_damaged_is_written_anew_with_the_next_set() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let object = store.root.join("objects").join(Digest::of("same".as_bytes()).to_string());
    for _ in 0..2 {
        let revision = store.take_revision();
        store.keep(revision, &set("same"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(store.last_good().unwrap().0.unwrap().manifest.revision, revision);
        fs::write(&object, "sane").unwrap();
    }
}

#[test]
fn a_revision_whose_set_could_not_be_kept_is_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.take_revision(), 1);
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap().next_revision(), 2);
}

#[test]
fn a_damaged_counter_never_makes_revisions_start_again() {
    let home = tempfile::tempdir().unwrap();
    let next = |counter: &str| {
        std::fs::write(home.path().join("revision"), counter).unwrap();
        Store::open(home.path()).unwrap().take_revision()
    };
    assert_eq!(next("6"), 7);
    // What the log and the kept sets say of it is added by whoever opens it.
    let too_long = format!("{}9", " ".repeat(100));
    for damaged in ["", "-1", "1.5", "18446744073709551615", "9007199254740991", &too_long] {
        assert_eq!(next(damaged), 1, "{damaged}");
    }
    let mut store = Store::open(home.path()).unwrap();
    store.seen(u64::MAX);
    assert_eq!(store.take_revision(), 2);
    drop(store);
    assert_eq!(next("9007199254740990\n"), 9_007_199_254_740_991);
}

#[test]
fn a_kept_set_is_read_beside_the_edge_that_holds_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let revision = store.take_revision();
    store.keep(revision, &set("one"), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(kept(directory.path(), revision).unwrap().unwrap().files.files, set("one").files);
    assert!(kept(directory.path(), revision + 1).unwrap().is_none());
    fs::write(store.root.join("objects").join(Digest::of("one".as_bytes()).to_string()), "onf").unwrap();
    assert!(matches!(kept(directory.path(), revision), Err(StoreError::Damaged(_))));
}

#[test]
fn old_sets_are_dropped_with_the_files_only_they_had() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    for number in 0..limits::KEPT_REVISIONS + 3 {
        let revision = store.take_revision();
        store.keep(revision, &set(&number.to_string()), Timestamp::UNIX_EPOCH).unwrap();
    }
    assert_eq!(store.revisions().unwrap().len(), limits::KEPT_REVISIONS);
    assert_eq!(fs::read_dir(store.root.join("objects")).unwrap().count(), limits::KEPT_REVISIONS);
}

#[test]
fn two_edges_do_not_share_a_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Store::open(directory.path()).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::InUse(_))));
}

#[test]
fn a_manifest_whose_names_lead_out_of_the_policy_directory_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let read_back = |name: &str| {
        let mut files = PolicyFiles::new();
        files.insert(name, "one".as_bytes());
        // Sound in all else, as somebody writes it who can make digests.
        store.keep(1, &files, Timestamp::UNIX_EPOCH).unwrap();
        kept(directory.path(), 1)
    };
    assert!(read_back("cases/a.toml").unwrap().is_some());
    for name in ["/etc/cron.d/x", "lists/../../x", "../x", "ended/x.toml", "cases/.hidden.toml"] {
        assert!(matches!(read_back(name), Err(StoreError::Damaged(_))), "{name}");
    }
}
