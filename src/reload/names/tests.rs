//! Names on disk: what is kept, and when it is let go of.

use super::super::build::Builder;
use super::*;
use crate::policy::CompileOptions;

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn nothing_is_written_any_more_once_the_directory_was_let_go() {
    let home = tempfile::tempdir().unwrap();
    let (mut keeper, _) = NamesKeeper::open(home.path());
    let (cancelled, ended) = (Arc::clone(&keeper.cancelled), Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&ended);
    keeper.work = Some(std::thread::spawn(move || {
        while check(&cancelled).is_ok() {
            std::thread::yield_now();
        }
        end.store(true, Ordering::SeqCst);
    }));
    keeper.writes = true;
    keeper.let_go();
    assert!(ended.load(Ordering::SeqCst), "it was waited for");
    check(&keeper.cancelled).unwrap();
}

#[test]
fn a_merge_is_cancelled_when_the_directory_is_let_go_and_is_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let (mut keeper, _) = NamesKeeper::open(home.path());
    let (cancelled, (go, wait)) = (Arc::clone(&keeper.cancelled), std::sync::mpsc::channel());
    keeper.work = Some(std::thread::spawn(move || {
        wait.recv().unwrap();
        assert!(cancelled.load(Ordering::Relaxed));
    }));
    keeper.let_go();
    go.send(()).unwrap();
    keeper.work.take().unwrap().join().unwrap();
}

/// A set of one case and its list, and who reads it.
fn listed(home: &Path) -> Builder {
    let policies = home.join("policies");
    fs::create_dir_all(policies.join("cases")).unwrap();
    fs::create_dir_all(policies.join("lists")).unwrap();
    let case = "id = \"a\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
                decided_by = [\"j\"]\nhost_lists = [\"lists/a.txt\"]\n";
    fs::write(policies.join("cases/a.toml"), case).unwrap();
    fs::write(policies.join("lists/a.txt"), "a.example\nb.example\n").unwrap();
    let options = CompileOptions { image_from_names: 1, ..CompileOptions::default() };
    Builder::new(policies, options, home, Restored::default())
}

#[test]
fn a_list_that_is_known_by_its_looks_only_later_is_known_to_the_disk_then() {
    let home = tempfile::tempdir().unwrap();
    let mut builder = listed(home.path());
    let read = |builder: &mut Builder| {
        let built = builder.read(None).0.unwrap_or_else(|errors| panic!("{errors}"));
        Arc::new(builder.settle(built).ruleset)
    };
    // The file has just been written: one more change in the same moment would not show.
    let rules = read(&mut builder);
    assert_eq!(builder.known().len(), 0);
    let (mut keeper, _) = NamesKeeper::open(home.path());
    let mut tend = |rules: &Arc<Ruleset>, builder: &Builder| {
        keeper.tend(rules, builder.book(), builder.known());
        keeper.work.take().map(|work| work.join().unwrap()).is_some()
    };
    assert!(tend(&rules, &builder));
    assert!(!tend(&rules, &builder), "the disk has all there is");
    let on_disk = || NamesKeeper::open(home.path()).1.known.len();
    let image =
        || fs::metadata(home.path().join("names").join(VERSION).join("image")).unwrap().modified().unwrap();
    let written = image();
    assert_eq!(on_disk(), 0);
    // Its time passes: the clock of the file system is what counts.
    while builder.known().is_empty() {
        read(&mut builder);
    }
    assert!(tend(&rules, &builder));
    assert_eq!((on_disk(), image()), (1, written), "and the image is not written again");
    assert!(!tend(&rules, &builder));
}

#[test]
fn names_are_merged_again_when_their_merging_was_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let policies = home.path().join("policies");
    let write = |id: &str| {
        let text = format!(
            "id = \"{id}\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
             decided_by = [\"j\"]\nhosts = [\"{id}.example\"]\n"
        );
        fs::create_dir_all(policies.join("cases")).unwrap();
        fs::write(policies.join(format!("cases/{id}.toml")), text).unwrap();
    };
    let options = CompileOptions { image_from_names: 1, ..CompileOptions::default() };
    let mut builder = Builder::new(policies.clone(), options, home.path(), Restored::default());
    let mut read = |before: Option<&Ruleset>| {
        let built = builder.read(before).0.unwrap_or_else(|errors| panic!("{errors}"));
        builder.settle(built).ruleset
    };
    write("a");
    let first = read(None);
    write("b");
    let rules = Arc::new(read(Some(&first)));
    assert!(rules.merging().is_some(), "two images");
    let (mut keeper, _) = NamesKeeper::open(home.path());
    keeper.cancelled.store(true, Ordering::Relaxed);
    for merged in [false, true] {
        keeper.tend(&rules, builder.book(), builder.known());
        keeper.work.take().unwrap().join().unwrap();
        assert_eq!(keeper.take_merged().is_some(), merged);
        keeper.let_go();
    }
}

#[test]
fn a_draft_is_of_one_process_and_none_stays_when_its_writing_was_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("image");
    fs::write(&path, "before").unwrap();
    let cancelled = AtomicBool::new(false);
    let outcome = write(&path, &cancelled, |to| {
        to.write_all(b"after")?;
        let draft = format!("image.{}.new", std::process::id());
        assert_eq!(names_in(home.path()), ["image".to_owned(), draft]);
        cancelled.store(true, Ordering::Relaxed);
        Ok(())
    });
    outcome.unwrap_err();
    assert_eq!(
        (names_in(home.path()), fs::read(&path).unwrap()),
        (vec!["image".to_owned()], b"before".into())
    );
    cancelled.store(false, Ordering::Relaxed);
    write(&path, &cancelled, |to| to.write_all(b"after")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"after");
    // One that a killed process has left goes with the next writing.
    fs::write(home.path().join("image.1.new"), "half").unwrap();
    sweep(home.path());
    assert_eq!(names_in(home.path()), ["image"]);
}

#[test]
fn names_are_merged_behind_the_requests_and_nothing_else_stands_back() {
    let own = || rustix::process::getpriority_process(None).unwrap();
    let before = own();
    let home = tempfile::tempdir().unwrap();
    let (keeper, _) = NamesKeeper::open(home.path());
    let (said, heard) = std::sync::mpsc::channel();
    let work = keeper.spawn(move || said.send(rustix::process::getpriority_process(None)).unwrap());
    work.unwrap().join().unwrap();
    let there = heard.recv().unwrap().unwrap();
    assert_eq!((there, own()), ((before + limits::MERGE_NICENESS).min(19), before));
}
