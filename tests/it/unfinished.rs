//! Decisions beside files that are being written for a long time: none waits, and no name is free in between.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::audit::of_kind;
use crate::harness::writing::while_written;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};
use crate::saving::always_blocked_during;

pub fn terminate(edge: &Edge, id: &str, host: &str) {
    let who = ["--customer", "c", "--basis", "abuse", "--host", host];
    let output = edge.command(&[&["terminate", "--id", id][..], &who].concat());
    assert_eq!(output.code, 0, "{output:?}");
    edge.get(host).assert_blocked(403);
}

/// A case of two lists, on an edge.
pub fn edge_with_lists(origin: &Origin) -> Edge {
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
fn what_the_guard_refuses_or_holds_back_stops_no_other_decision_beside_a_download() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).guard("protect = [\".bank.example\"]").guard("max_added = 3");
    setup.policies().write_list("one.txt", "one.example\n");
    let edge = setup.case(CaseFile::new("list", &[]).key("host_lists = [\"lists/one.txt\"]")).start();
    while_written(&edge.policies().path().join("lists/one.txt"), "one.example\n", || {
        edge.policies().write(&CaseFile::new("protected", &["www.bank.example"]));
        let many: Vec<String> = (0..9).map(|number| format!("{number}.many.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        edge.policies().write(&CaseFile::new("large", &many));
        wait_until("they are looked at", || edge.process().stderr().contains("is read when it is complete"));
        for number in 0..2 {
            terminate(&edge, &format!("T-{number}"), &format!("t{number}.example"));
        }
        edge.get("www.bank.example").assert_forwarded();
        edge.get("0.many.example").assert_forwarded();
    });
}

#[test]
fn what_another_case_takes_over_is_not_free_in_between() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    edge.change(|policies| policies.write(&CaseFile::new("other", &["other.example"])));
    let list = edge.policies().path().join("lists/one.txt");
    while_written(&list, "one.example\n", || {
        edge.policies().write(&CaseFile::new("other", &["first.example"]));
        wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
        let reinstate = ["reinstate", "first", "--reason", "merged", "--timeout", "1"];
        assert_eq!(edge.command(&reinstate).code, 3, "it has to wait");
        edge.get("first.example").assert_blocked(403);
        // And once it has given up, its word counts no more, whatever becomes of the other case.
        edge.policies().write(&CaseFile::new("other", &["other.example"]));
        terminate(&edge, "T-0", "t0.example");
        edge.get("first.example").assert_blocked(403);
        edge.policies().write(&CaseFile::new("other", &["first.example"]));
        edge.policies().write(&CaseFile::new("first", &["another.example"]));
        terminate(&edge, "T-1", "terminated.example");
        edge.get("first.example").assert_blocked(403);
    });
    always_blocked_during(&edge, "first.example", || {
        wait_until("the rest is in force", || edge.get("another.example").status == 403);
    });
}

#[test]
fn no_closed_network_opens_beside_a_download() {
    let origin = Origin::start();
    let networks = "origins = [\"127.0.0.0/8\"]";
    let edge = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"]).key(networks)).start();
    assert_ne!(edge.get("free.example").status, 200);
    let moved = CaseFile::new("b", &["b.example"]).key(networks);
    while_written(&edge.policies().case_path("b"), &moved.toml(), || {
        edge.policies().write(&CaseFile::new("a", &["a.example"]));
        wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
        assert_ne!(edge.get("free.example").status, 200);
    });
    wait_until("both are in force", || edge.get("b.example").status == 403);
    assert_ne!(edge.get("free.example").status, 200);
}

#[test]
fn a_case_waits_for_lists_that_nobody_has_begun_yet() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    while_written(&edge.policies().path().join("lists/one.txt"), "one.example\n", || {
        let next = CaseFile::new("next", &["next.example"]).key("host_lists = [\"lists/next.txt\"]");
        edge.policies().write(&next);
        terminate(&edge, "T-1", "terminated.example");
        assert_eq!(edge.status().last_errors(), "[]");
    });
    edge.policies().write_list("next.txt", "listed.example\n");
    wait_until("it is in force", || edge.get("listed.example").status == 403);
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
