//! Files while they are being saved: no moment in between may free a name.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

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
pub fn always_blocked_during(edge: &Edge, host: &str, work: impl FnOnce() + Send) {
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
