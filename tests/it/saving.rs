//! Files while they are being saved: no moment in between may free a name.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::audit::of_kind;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

fn edge_with_one_case(origin: &Origin) -> Edge {
    Setup::new().origin(origin).case(CaseFile::new("first", &["first.example"])).start()
}

#[test]
fn a_list_that_is_written_slowly_frees_no_name() {
    let origin = Origin::start();
    let case = CaseFile::new("list", &[]).key("host_lists = [\"lists/l.txt\"]");
    let setup = Setup::new().origin(&origin);
    setup.policies().write_list("l.txt", "one.example\ntwo.example\n");
    let edge = setup.case(case).start();
    let path = edge.policies().path().join("lists/l.txt");
    // Cut to nothing and written line by line, as `curl -o` does.
    let mut file = fs::File::create(&path).unwrap();
    writeln!(file, "one.example").unwrap();
    file.flush().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        edge.get("two.example").assert_blocked(403);
        writeln!(file, "# still coming").unwrap();
    }
    writeln!(file, "two.example\nthree.example").unwrap();
    drop(file);
    wait_until("the whole list is in force", || edge.get("three.example").status == 403);
    edge.get("two.example").assert_blocked(403);
}

/// Has `path` written without a pause, as by a download that goes on and on, while `work` is done; then `end` follows.
#[track_caller]
fn while_written(path: &Path, end: &str, work: impl FnOnce()) {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut file = fs::File::create(path).unwrap();
            while !done.load(Ordering::Relaxed) {
                writeln!(file, "# still coming").unwrap();
                begun.store(true, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(5));
            }
            file.write_all(end.as_bytes()).unwrap();
        });
        wait_until("it has begun", || begun.load(Ordering::Relaxed));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let goes_on = !writing.is_finished();
        done.store(true, Ordering::Relaxed);
        writing.thread().unpark();
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
        assert!(goes_on);
    });
}

fn terminate(edge: &Edge, id: &str, host: &str) {
    let who = ["--customer", "c", "--basis", "abuse", "--host", host];
    let output = edge.command(&[&["terminate", "--id", id][..], &who].concat());
    assert_eq!(output.code, 0, "{output:?}");
    edge.get(host).assert_blocked(403);
}

/// A case of two lists, on an edge.
fn edge_with_lists(origin: &Origin) -> Edge {
    let setup = Setup::new().origin(origin);
    setup.policies().write_list("one.txt", "one.example\n");
    setup.policies().write_list("two.txt", "two.example\n");
    let both = CaseFile::new("both", &[]).key("host_lists = [\"lists/one.txt\", \"lists/two.txt\"]");
    setup.case(both).case(CaseFile::new("first", &["first.example"])).start()
}

#[test]
fn no_decision_waits_for_a_list_that_is_being_written() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let list = edge.policies().path().join("lists/one.txt");
    while_written(&list, "one.example\nthree.example\n", || {
        for round in 0..3 {
            let host = format!("urgent-{round}.example");
            edge.policies().write(&CaseFile::new(&format!("urgent-{round}"), &[&host]));
            wait_until("the decision is in force", || edge.get(&host).status == 403);
            edge.get("one.example").assert_blocked(403);
        }
        let told = edge.status().0["last_reload"]["warnings"].to_string();
        assert!(told.contains("lists/one.txt") && told.contains("is being written"), "{told}");
        terminate(&edge, "T-1", "terminated.example");
        // The names of the case are compiled anew: those of the list come from what was kept of it.
        edge.change(|policies| policies.write_list("two.txt", "two.example\nfour.example\n"));
        for host in ["one.example", "two.example", "four.example", "urgent-0.example", "first.example"] {
            edge.get(host).assert_blocked(403);
        }
        assert_ne!(edge.get("three.example").status, 403);
        // A command says what it wants.
        let output = edge.command(&["reinstate", "first", "--reason", "appeal"]);
        assert_eq!(output.code, 0, "{output:?}");
        edge.get("first.example").assert_forwarded();
    });
    wait_until("the whole list is in force", || edge.get("three.example").status == 403);
    edge.get("one.example").assert_blocked(403);
    edge.get("terminated.example").assert_blocked(403);
}

#[test]
fn no_decision_waits_for_a_file_that_no_case_needs() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    for (round, name) in ["lists/new.txt", "lists/new.tmp", "cases/new.toml.part"].iter().enumerate() {
        let host = format!("urgent-{round}.example");
        let case = CaseFile::new(&format!("urgent-{round}"), &[&host]);
        while_written(&edge.policies().path().join(name), "new.example\n", || {
            edge.change(|policies| policies.write(&case));
            edge.get(&host).assert_blocked(403);
        });
        edge.get("one.example").assert_blocked(403);
    }
    assert_eq!(edge.status().last_errors(), "[]");
}

#[test]
fn a_case_waits_for_its_own_list_and_refuses_nothing_meanwhile() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let listed = CaseFile::new("listed", &["by-name.example"]).key("host_lists = [\"lists/new.txt\"]");
    while_written(&edge.policies().path().join("lists/new.txt"), "new.example\n", || {
        edge.policies().write(&listed);
        wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
        edge.get("by-name.example").assert_forwarded();
    });
    wait_until("both are in force", || edge.get("new.example").status == 403);
    edge.get("by-name.example").assert_blocked(403);
    let records = edge.finish();
    assert!(of_kind(&records, "policy.rejected").is_empty());
}

#[test]
fn a_name_on_its_way_into_a_list_that_is_being_written_is_never_free() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    while_written(&edge.policies().path().join("lists/one.txt"), "one.example\nfirst.example\n", || {
        edge.policies().write(&CaseFile::new("first", &["other.example"]));
        wait_until("it is looked at", || edge.process().stderr().contains("is judged when all"));
        edge.get("first.example").assert_blocked(403);
    });
    always_blocked_during(&edge, "first.example", || {
        wait_until("the whole list is in force", || edge.get("other.example").status == 403);
    });
}

#[test]
fn a_list_that_was_cut_to_nothing_is_refused() {
    let origin = Origin::start();
    let case = CaseFile::new("list", &[]).key("host_lists = [\"lists/l.txt\"]");
    let setup = Setup::new().origin(&origin);
    setup.policies().write_list("l.txt", "one.example\n");
    let edge = setup.case(case).start();
    edge.policies().write_list("l.txt", "# nothing\n");
    wait_until("it is refused", || edge.status().last_result() == "rejected");
    assert!(edge.status().last_errors().contains("empty"), "{}", edge.status().last_errors());
    edge.get("one.example").assert_blocked(403);
}

/// Asks for a host until `work` is done, and fails when it is ever free.
#[track_caller]
fn always_blocked_during(edge: &Edge, host: &str, work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        while !working.is_finished() {
            edge.get(host).assert_blocked(403);
        }
    });
    edge.get(host).assert_blocked(403);
}

#[test]
fn an_editor_that_renames_and_writes_anew_frees_no_name() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    let path = edge.policies().case_path("first");
    let backup = path.with_extension("toml~");
    always_blocked_during(&edge, "first.example", || {
        for round in 0..20 {
            let text = CaseFile::new("first", &["first.example", &format!("r{round}.example")]).toml();
            fs::rename(&path, &backup).unwrap();
            fs::write(&path, text).unwrap();
            fs::remove_file(&backup).unwrap();
        }
    });
    wait_until("the last save is in force", || edge.get("r19.example").status == 403);
}

#[test]
fn a_checkout_that_removes_and_writes_three_hundred_files_frees_no_name() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    let policies = edge.policies();
    let text = |number: usize, turn: usize| {
        CaseFile::new(&format!("c{number}"), &["first.example", &format!("t{turn}-{number}.example")]).toml()
    };
    edge.change(|_| (0..300).for_each(|number| policies.write_case(&format!("c{number}"), &text(number, 0))));
    wait_until("all are there", || edge.status().cases() == 301);
    policies.remove_case("first");
    always_blocked_during(&edge, "first.example", || {
        for number in 0..300 {
            let path = policies.case_path(&format!("c{number}"));
            fs::remove_file(&path).unwrap();
            fs::write(&path, text(number, 1)).unwrap();
        }
    });
    wait_until("the last file is in force", || edge.get("t1-299.example").status == 403);
}

#[test]
fn a_new_directory_of_lists_is_watched_from_then_on() {
    let origin = Origin::start();
    let edge = edge_with_one_case(&origin);
    let lists = edge.policies().path().join("lists/deep");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("l.txt"), "one.example\n").unwrap();
    let case = CaseFile::new("list", &[]).key("host_lists = [\"lists/deep/l.txt\"]");
    edge.change(|policies| policies.write(&case));
    edge.get("one.example").assert_blocked(403);
    edge.change(|_| fs::write(lists.join("l.txt"), "one.example\ntwo.example\n").unwrap());
    edge.get("two.example").assert_blocked(403);
}
