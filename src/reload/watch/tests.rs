//! What is heard of real directories.

use std::fs::{self, File};
use std::io::Write;

use super::*;

/// A policy directory that is watched, in a runtime that never gets to run.
fn watched(root: &Path) -> (tokio::runtime::Runtime, Watcher) {
    for part in ["cases", "lists"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let watcher = {
        let _entered = runtime.enter();
        Watcher::new(root).unwrap()
    };
    (runtime, watcher)
}

fn heard(watcher: &mut Watcher) -> Vec<Change> {
    let mut heard = Vec::new();
    watcher.hear(|change| heard.push(change));
    heard
}

#[test]
fn what_has_happened_is_heard_at_once_however_busy_the_thread_was() {
    let root = tempfile::tempdir().unwrap();
    let (_runtime, mut watcher) = watched(root.path());
    let list = || "lists/l.txt".to_owned();
    let mut file = File::create(root.path().join(list())).unwrap();
    assert_eq!(heard(&mut watcher), [Change::Begun(list())]);
    writeln!(file, "one.example").unwrap();
    assert_eq!(heard(&mut watcher), [Change::Begun(list())]);
    assert_eq!(heard(&mut watcher), []);
    drop(file);
    assert_eq!(heard(&mut watcher), [Change::Complete(list())]);
    fs::remove_file(root.path().join(list())).unwrap();
    assert_eq!(heard(&mut watcher), [Change::Gone(list())]);
}

#[test]
fn what_belongs_to_no_set_and_what_was_removed_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let (_runtime, mut watcher) = watched(root.path());
    for name in ["cases/a.toml.part", "cases/.a.toml", "lists/.l", "lists/l~", "README.md", "notes"] {
        fs::write(root.path().join(name), "x").unwrap();
        assert_eq!(heard(&mut watcher), [], "{name}");
    }
    let mut file = File::create(root.path().join("lists/l.tmp")).unwrap();
    fs::remove_file(root.path().join("lists/l.tmp")).unwrap();
    let name = || "lists/l.tmp".to_owned();
    let told = heard(&mut watcher);
    // Its count of links has changed as well.
    assert_eq!(told.first(), Some(&Change::Begun(name())));
    assert!(told.contains(&Change::Gone(name())), "{told:?}");
    writeln!(file, "still coming").unwrap();
    drop(file);
    assert!(!heard(&mut watcher).contains(&Change::Begun(name())));
}

#[test]
fn what_is_written_in_a_directory_that_was_just_made_is_heard() {
    let root = tempfile::tempdir().unwrap();
    let (_runtime, mut watcher) = watched(root.path());
    for directory in ["lists/new/deep", "lists/.hidden/deep", "cases/none/deep"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
        heard(&mut watcher);
        let _writer = File::create(root.path().join(directory).join("l.txt")).unwrap();
        let expected = (directory == "lists/new/deep").then(|| Change::Begun("lists/new/deep/l.txt".into()));
        assert_eq!(heard(&mut watcher).first(), expected.as_ref(), "{directory}");
    }
    let afar = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(afar.path(), root.path().join("lists/afar")).unwrap();
    heard(&mut watcher);
    let _writer = File::create(afar.path().join("l.txt")).unwrap();
    assert_eq!(heard(&mut watcher), [Change::Begun("lists/afar/l.txt".into())]);
}

#[test]
fn a_list_that_is_a_link_is_being_written_where_it_stands() {
    let (root, afar) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (root.path().join("lists/l.txt"), afar.path().join("l.txt"));
    fs::create_dir(root.path().join("lists")).unwrap();
    fs::write(&there, "one.example\n").unwrap();
    std::os::unix::fs::symlink(&there, &here).unwrap();
    let (_runtime, mut watcher) = watched(root.path());
    let is_heard = |watcher: &mut Watcher, file: &Path| {
        let writer = File::options().write(true).truncate(true).open(file).unwrap();
        let begun = heard(watcher).contains(&Change::Begun("lists/l.txt".into()));
        drop(writer);
        begun && heard(watcher) == [Change::Complete("lists/l.txt".into())]
    };
    assert!(is_heard(&mut watcher, &there));
    // The link leads somewhere else now.
    let other = afar.path().join("other");
    fs::write(&other, "two.example\n").unwrap();
    std::os::unix::fs::symlink(&other, root.path().join("lists/.new")).unwrap();
    fs::rename(root.path().join("lists/.new"), &here).unwrap();
    heard(&mut watcher);
    assert!(is_heard(&mut watcher, &other));
    fs::write(&there, "one.example\n").unwrap();
    assert_eq!(heard(&mut watcher), []);
    // Another file in its place.
    fs::write(afar.path().join("new"), "three.example\n").unwrap();
    fs::rename(afar.path().join("new"), &other).unwrap();
    let told = heard(&mut watcher);
    assert!(
        told.contains(&Change::Complete("lists/l.txt".into())) && !told.contains(&Change::Unknown),
        "{told:?}"
    );
    assert!(is_heard(&mut watcher, &other));
    watcher.refresh();
    assert!(is_heard(&mut watcher, &other));
    // Removed, and made anew in pieces.
    fs::remove_file(&other).unwrap();
    assert!(heard(&mut watcher).contains(&Change::Gone("lists/l.txt".into())));
    watcher.refresh();
    let mut writer = File::create(&other).unwrap();
    assert_eq!(heard(&mut watcher).last(), Some(&Change::Begun("lists/l.txt".into())));
    writeln!(writer, "four.example").unwrap();
    assert_eq!(heard(&mut watcher), [Change::Begun("lists/l.txt".into())]);
    drop(writer);
    assert_eq!(heard(&mut watcher), [Change::Complete("lists/l.txt".into())]);
    // A file takes the place of the link: who writes where it led has no say any more.
    let mut writer = File::create(&other).unwrap();
    heard(&mut watcher);
    fs::write(root.path().join("lists/.new"), "five.example\n").unwrap();
    fs::rename(root.path().join("lists/.new"), &here).unwrap();
    heard(&mut watcher);
    writeln!(writer, "six.example").unwrap();
    assert_eq!(heard(&mut watcher), []);
}

#[test]
fn a_directory_with_two_paths_tells_of_both_and_no_link_narrows_what_is_heard() {
    let root = tempfile::tempdir().unwrap();
    let (_runtime, mut watcher) = watched(root.path());
    fs::create_dir(root.path().join("lists/real")).unwrap();
    std::os::unix::fs::symlink("real", root.path().join("lists/alias")).unwrap();
    std::os::unix::fs::symlink("../lists", root.path().join("cases/x.toml")).unwrap();
    std::os::unix::fs::symlink("m.txt", root.path().join("lists/l.txt")).unwrap();
    let both = ["lists/real/l.txt", "lists/alias/l.txt"].map(|name| Change::Begun(name.into()));
    for _ in 0..2 {
        heard(&mut watcher);
        let file = File::create(root.path().join("lists/real/l.txt")).unwrap();
        let told = heard(&mut watcher);
        assert!(both.iter().all(|change| told.contains(change)), "{told:?}");
        drop(file);
        heard(&mut watcher);
        let _file = File::create(root.path().join("lists/m.txt")).unwrap();
        let told = heard(&mut watcher);
        for name in ["lists/m.txt", "lists/l.txt"] {
            assert!(told.contains(&Change::Begun(name.into())), "{told:?}");
        }
        assert!(!told.iter().any(|change| format!("{change:?}").contains("x.toml")), "{told:?}");
        watcher.refresh();
    }
}

#[test]
fn a_list_with_two_names_is_being_written_like_any_other() {
    let root = tempfile::tempdir().unwrap();
    let (_runtime, mut watcher) = watched(root.path());
    let (one, two) = (root.path().join("lists/one"), root.path().join("lists/two"));
    fs::write(&one, "one.example\n").unwrap();
    fs::hard_link(&one, &two).unwrap();
    assert!(heard(&mut watcher).contains(&Change::Complete("lists/two".to_owned())));
    let file = File::options().write(true).truncate(true).open(&two).unwrap();
    assert!(heard(&mut watcher).contains(&Change::Begun("lists/two".to_owned())));
    drop(file);
    assert!(heard(&mut watcher).contains(&Change::Complete("lists/two".to_owned())));
}
