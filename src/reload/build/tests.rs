//! From files to rules: what is remembered, who compiles, and lists that are being written.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;
use serde_json::json;

use super::super::partial::InForce;
use super::super::store::Store;
use super::*;
use crate::policy::Digest;

/// A policy directory with one case and one list.
fn policies(home: &Path, list: &str) -> PathBuf {
    let policies = home.join("policies");
    for (name, text) in [
        (
            "cases/a.toml",
            "id = \"a\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
             decided_by = [\"j\"]\nhost_lists = [\"lists/l.txt\"]\n",
        ),
        ("lists/l.txt", list),
    ] {
        let path = policies.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    policies
}

fn read(builder: &mut Builder) -> Built {
    builder.read(None).0.unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_kept_set_is_compiled_from_what_is_remembered_of_its_lists() {
    let home = tempfile::tempdir().unwrap();
    let policies = policies(home.path(), "one.example\ntwo.example\n");
    let restored = Restored::default();
    let mut builder = Builder::new(policies, CompileOptions::default(), home.path(), restored);
    let built = read(&mut builder);
    let mut kept = built.files.clone();
    builder.settle(built);
    // Nobody could read the list.
    let list = kept.files.get_mut("lists/l.txt").unwrap();
    list.content = None;
    let (ruleset, _) = builder.compile_kept(&kept).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(ruleset.host_count(), 2);
    // A list that it does not know is not taken for one that it does.
    kept.files.get_mut("lists/l.txt").unwrap().digest = Digest::of(b"something else");
    assert!(builder.compile_kept(&kept).is_err());
    let mut other = builder.snapshot(&mut Unheard).unwrap().files;
    other.insert("lists/l.txt", b"three.example\n".to_vec());
    let (ruleset, _) = builder.compile_kept(&other).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(ruleset.host_count(), 1);
}

#[test]
fn long_lists_that_are_new_are_compiled_by_a_thread_that_stands_back_and_not_by_the_keeper() {
    let own = || rustix::process::getpriority_process(None).unwrap();
    let before = own();
    let home = tempfile::tempdir().unwrap();
    let long: String = (0..50_000).map(|number| format!("{number}.long-list.example\n")).collect();
    let policies = policies(home.path(), &long);
    let restored = Restored::default();
    let mut builder = Builder::new(policies, CompileOptions::default(), home.path(), restored);
    let built = read(&mut builder);
    assert!(builder.is_much(&built.files));
    assert_eq!((built.ruleset.host_count(), own()), (50_000, before));
    let files = built.files.clone();
    builder.settle(built);
    assert!(!builder.is_much(&files), "the list is known");
    let mut small = files;
    small.insert("lists/l.txt", b"one.example\n".to_vec());
    assert!(!builder.is_much(&small));
}

#[test]
fn a_wrong_mark_of_a_list_refuses_no_set_from_then_on() {
    let home = tempfile::tempdir().unwrap();
    let policies = policies(home.path(), "one.example\ntwo.example\n");
    // What an earlier process has left: the list looks as it does, and is said to hold something else.
    let there = fs::metadata(policies.join("lists/l.txt")).unwrap();
    let known = json!({ "lists/l.txt": {
        "mark": {
            "device": there.dev(),
            "inode": there.ino(),
            "bytes": there.size(),
            "modified": [there.mtime(), there.mtime_nsec()],
            "changed": [there.ctime(), there.ctime_nsec()],
        },
        "sha256": Digest::of(b"something else").to_string(),
    }});
    let restored = Restored { book: Book::default(), known: serde_json::from_value(known).unwrap() };
    let mut builder = Builder::new(policies, CompileOptions::default(), home.path(), restored);
    let files = builder.snapshot(&mut Unheard).unwrap().files;
    let mark = files.files.get("lists/l.txt").unwrap().digest;
    assert_eq!(mark, Digest::of(b"something else"), "the mark is believed");
    for _ in 0..2 {
        let (built, _) = builder.read(None);
        let built = built.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(built.ruleset.host_count(), 2);
        assert!(builder.known().is_empty(), "and then it is not");
    }
}

/// Somebody is writing this list.
struct Writing(&'static str);

impl Writers for Writing {
    fn at_work(&mut self) -> BTreeSet<String> {
        [self.0.to_owned()].into()
    }

    fn is_heard(&self) -> bool {
        true
    }
}

#[test]
fn what_is_being_written_is_not_compiled_and_can_be_completed_from_the_set_in_force() {
    let home = tempfile::tempdir().unwrap();
    let policies = policies(home.path(), "one.example\ntwo.example\n");
    let options = CompileOptions::default();
    let mut builder = Builder::new(policies.clone(), options, home.path(), Restored::default());
    let built = read(&mut builder);
    let store = Store::open(home.path()).unwrap();
    store.keep_from(1, &built.files, builder.contents(), Timestamp::UNIX_EPOCH).unwrap();
    let digest = built.files.digest();
    for name in ["lists/l.txt", "lists/new.txt"] {
        fs::write(policies.join(name), "one.example\n").unwrap();
    }
    let mut completed = |writing: &'static str| {
        let Reading::Incomplete(snapshot) = builder.read_beside(None, &mut Writing(writing)) else {
            panic!("{writing}")
        };
        assert_eq!(snapshot.unfinished, [writing.to_owned()].into());
        InForce::find(home.path(), digest).unwrap().completed(&snapshot)
    };
    // What the directory holds of it is half of it.
    let (mut files, warnings) = completed("lists/l.txt").unwrap();
    assert!(warnings.to_string().contains("stays what it was"), "{warnings}");
    assert_eq!(files.files.remove("lists/new.txt").map(|file| file.bytes), Some(12));
    assert_eq!(files.digest(), digest);
    let (files, _) = completed("cases/a.toml").unwrap();
    assert_ne!(files.digest(), digest, "both lists are complete");
    let (files, warnings) = completed("lists/new.txt").unwrap();
    assert!(!files.has("lists/new.txt") && warnings.to_string().contains("belongs to no set"), "{warnings}");
    // Who signs a set signs all of it.
    assert!(completed("manifest").is_none());
    assert!(InForce::find(home.path(), Digest::of(b"another")).is_none());
    // What was kept of it is lost: it has to be waited for.
    fs::remove_dir_all(home.path().join("objects")).unwrap();
    assert!(completed("lists/l.txt").is_none());
}
