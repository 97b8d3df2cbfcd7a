//! Files while they are being saved: no moment in between may free a name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::audit::of_kind;
use crate::harness::writing::while_written;
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
        wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
        edge.get("first.example").assert_blocked(403);
        // Whoever asks is told at once.
        let output = edge.command(&["reload"]);
        assert!(output.code == 0 && output.stdout.contains("\"waiting\":true"), "{output:?}");
        let told = edge.status().0["last_reload"].to_string();
        assert!(told.contains("\"waiting\":true") && told.contains("cases/first.toml"), "{told}");
    });
    always_blocked_during(&edge, "first.example", || {
        wait_until("the whole list is in force", || edge.get("other.example").status == 403);
    });
}

#[test]
fn what_has_to_wait_holds_nothing_else_up_and_no_command_pays_for_it() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    while_written(&edge.policies().path().join("lists/one.txt"), "one.example\nfirst.example\n", || {
        // Both free a name, which may be on its way into the list.
        edge.policies().write(&CaseFile::new("first", &["other.example"]));
        edge.policies().write_list("two.txt", "four.example\n");
        // It goes by another name from here on, and another list.
        let both = CaseFile::new("both", &[]).key("host_lists = [\"lists/one.txt\"]");
        edge.policies().write_case("a-new-name", &both.toml());
        edge.policies().remove_case("both");
        wait_until("they are looked at", || edge.process().stderr().contains("is read when it is complete"));
        let blocked = || ["one.example", "two.example", "first.example"].map(|host| edge.get(host).status);
        terminate(&edge, "T-1", "terminated.example");
        edge.change(|policies| policies.write(&CaseFile::new("urgent", &["urgent.example"])));
        edge.get("urgent.example").assert_blocked(403);
        let told = edge.status().0["last_reload"]["warnings"].to_string();
        assert!(told.contains("cases/first.toml") && told.contains("lists/two.txt"), "{told}");
        let listed =
            ["--customer", "c", "--basis", "abuse", "--host", "l.example", "--host-list", "lists/two.txt"];
        let output = edge.command(&[&["terminate", "--id", "T-2"][..], &listed].concat());
        assert_eq!((output.code, edge.get("l.example").status), (0, 403), "{output:?}");
        for (id, host) in [("T-1", "terminated.example"), ("T-2", "l.example")] {
            let output = edge.command(&["reinstate", id, "--reason", "appeal"]);
            assert_eq!((output.code, edge.get(host).status), (0, 200), "{output:?}");
        }
        assert_eq!(blocked(), [403; 3]);
    });
    always_blocked_during(&edge, "first.example", || {
        wait_until("the rest is in force", || edge.get("other.example").status == 403);
    });
    edge.get("two.example").assert_forwarded();
    edge.get("four.example").assert_forwarded();
}

#[test]
fn a_list_that_is_being_written_under_another_name_is_not_read_either() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let lists = edge.policies().path().join("lists");
    edge.change(|_| {
        fs::hard_link(lists.join("one.txt"), lists.join("hard.txt")).unwrap();
    });
    edge.change(|_| symlink("two.txt", lists.join("soft.txt")).unwrap());
    let linked = CaseFile::new("linked", &[]).key("host_lists = [\"lists/hard.txt\", \"lists/soft.txt\"]");
    edge.change(|policies| policies.write(&linked));
    for (written, host) in [("one.txt", "half-1.example"), ("two.txt", "half-2.example")] {
        let mut file = fs::File::options().append(true).open(lists.join(written)).unwrap();
        write!(file, "{host}").unwrap();
        edge.change(|policies| policies.write(&CaseFile::new(written, &["urgent.example"])));
        edge.get(host).assert_forwarded();
        writeln!(file, "-and-more.test").unwrap();
        drop(file);
        let whole = format!("{host}-and-more.test");
        wait_until("it is complete", || edge.get(&whole).status == 403);
        edge.get(host).assert_forwarded();
    }
}

#[test]
fn who_goes_on_writing_in_a_directory_that_was_moved_away_holds_nothing_up() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let deep = edge.policies().path().join("lists/deep");
    fs::create_dir(&deep).unwrap();
    edge.change(|_| fs::write(deep.join("l.txt"), "deep.example\n").unwrap());
    while_written(&deep.join("l.txt"), "deep.example\n", || {
        edge.change(|_| fs::rename(&deep, edge.home().join("away")).unwrap());
        edge.change(|policies| policies.write(&CaseFile::new("first", &["other.example"])));
        edge.get("first.example").assert_forwarded();
    });
}

#[test]
fn what_is_wrong_whatever_is_still_to_come_is_refused_at_once() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    while_written(&edge.policies().path().join("lists/new.txt"), "new.example\n", || {
        let listed = CaseFile::new("listed", &["by-name.example"]).key("host_lists = [\"lists/new.txt\"]");
        edge.policies().write(&listed);
        edge.policies().write(&CaseFile::new("broken", &["a..example"]));
        wait_until("it is refused", || edge.status().last_result() == "rejected");
        let errors = edge.status().last_errors();
        assert!(errors.contains("a..example") && !errors.contains("new.txt"), "{errors}");
        edge.policies().remove_case("broken");
        terminate(&edge, "T-1", "terminated.example");
    });
    wait_until("all is in force", || edge.get("by-name.example").status == 403);
}

#[test]
fn no_decision_waits_for_a_case_that_is_being_written() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    for (name, end) in [
        ("first", CaseFile::new("first", &["first.example", "more-1.example"])),
        ("new", CaseFile::new("new", &["more-2.example"])),
    ] {
        let case = CaseFile::new(&format!("beside-{name}"), &[&format!("beside-{name}.example")]);
        while_written(&edge.policies().case_path(name), &end.toml(), || {
            edge.change(|policies| policies.write(&case));
            edge.get("first.example").assert_blocked(403);
        });
    }
    wait_until("both are in force", || edge.get("more-2.example").status == 403);
    edge.get("more-1.example").assert_blocked(403);
}

#[test]
fn no_decision_waits_for_lists_that_are_unpacked_one_after_the_other() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let lists = edge.policies().path().join("lists");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let unpacking = scope.spawn(|| {
            for number in 0.. {
                fs::write(lists.join(format!("n{}.txt", number % 200)), format!("n{number}.example\n"))
                    .unwrap();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let case = CaseFile::new("urgent", &["urgent.example"]);
        edge.policies().write(&case);
        wait_until("the decision is in force", || edge.get("urgent.example").status == 403);
        assert!(!unpacking.is_finished());
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_restart_or_an_upgrade_beside_a_download_frees_no_name() {
    let origin = Origin::start();
    let mut edge = edge_with_lists(&origin);
    let (home, case) = (edge.policies().path().to_owned(), edge.policies().case_path("first"));
    while_written(&home.join("lists/one.txt"), "one.example\nfirst.example\nthree.example\n", || {
        // It may be on its way into the list.
        fs::write(&case, CaseFile::new("first", &["other.example"]).toml()).unwrap();
        wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
        edge.restart();
        let blocked = || ["one.example", "first.example"].map(|host| edge.get(host).status);
        assert_eq!(blocked(), [403; 2], "after a restart");
        edge.change(|policies| policies.write(&CaseFile::new("urgent", &["urgent.example"])));
        assert_eq!(blocked(), [403; 2], "after a change");
        edge.upgrade();
        let blocked = || ["one.example", "first.example", "urgent.example"].map(|host| edge.get(host).status);
        assert_eq!(blocked(), [403; 3], "after an upgrade");
        wait_until("what is written is noted", || home.parent().unwrap().join("state/unfinished").exists());
        edge.kill9();
        edge.start_again().unwrap();
        let blocked = || ["one.example", "first.example", "urgent.example"].map(|host| edge.get(host).status);
        assert_eq!(blocked(), [403; 3], "after a crash");
    });
    always_blocked_during(&edge, "first.example", || {
        wait_until("the whole list is in force", || edge.get("three.example").status == 403);
    });
    edge.get("one.example").assert_blocked(403);
    edge.get("other.example").assert_blocked(403);
}

#[test]
fn a_change_that_nobody_hears_of_is_found_beside_a_list_that_is_being_written() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let elsewhere = edge.home().join("elsewhere.toml");
    fs::write(&elsewhere, CaseFile::new("linked", &["linked.example"]).toml()).unwrap();
    edge.change(|policies| symlink(&elsewhere, policies.case_path("linked")).unwrap());
    while_written(&edge.policies().path().join("lists/one.txt"), "one.example\n", || {
        let more = CaseFile::new("linked", &["linked.example", "unheard.example"]);
        fs::write(&elsewhere, more.toml()).unwrap();
        wait_until("it is found", || edge.get("unheard.example").status == 403);
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
