//! A graceful upgrade: the next process takes over while clients are being served, and nobody notices.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::thread;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::harness::audit::of_kind;
use crate::harness::load::{Load, Manner, Sample};
use crate::harness::succession::Turnstile;
use crate::harness::tools::{Output, interdict};
use crate::harness::writing::while_written;
use crate::harness::{CaseFile, Client, Edge, Origin, Setup, wait_for, wait_until};

fn blocked() -> CaseFile {
    CaseFile::new("TS-1", &["blocked.example"])
}

fn edge(origin: &Origin, grace: &str) -> Setup {
    Setup::new().origin(origin).case(blocked()).table(&format!("[limits]\nstop_grace = \"{grace}\""))
}

#[track_caller]
fn assert_right(samples: &[Sample]) {
    for sample in samples {
        assert_eq!(sample.blocked(), sample.host == "blocked.example", "{sample:?}");
        let status = sample.response.as_ref().unwrap().status;
        assert_eq!(status, if sample.blocked() { 403 } else { 200 }, "{sample:?}");
    }
}

fn config(edge: &Edge) -> String {
    edge.config().to_str().unwrap().to_owned()
}

fn status(edge: &Edge) -> Value {
    let output = interdict(["status", "--config", &config(edge)]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap()
}

/// The upgrade came to nothing, and says why; the edge is the process it was.
#[track_caller]
fn assert_refused(edge: &Edge, output: &Output, reason: &str) {
    assert_eq!(output.code, 1, "{output:?}");
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains(reason), "{error}");
    let pid = status(edge)["pid"].as_i64().unwrap();
    assert_eq!(pid, i64::from(edge.process().pid().as_raw_nonzero().get()));
    assert!(edge.process().children().is_empty(), "the new process is still there");
}

/// Policies are read, numbered and put in force.
#[track_caller]
fn assert_policies_can_change(edge: &Edge, host: &str) {
    edge.change(|policies| policies.write(&CaseFile::new(&host.replace('.', "-"), &[host])));
    edge.get(host).assert_blocked(403);
}

#[test]
fn ten_upgrades_under_load_lose_no_request_and_misjudge_none() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "20s").start();
    let hosts = ["blocked.example", "free.example"];
    let manners = [Manner::Keep, Manner::Fresh, Manner::Http2];
    let loads = manners.map(|manner| Load::with(manner, edge.address(), &edge.ledger(), 2, &hosts));
    let mut pids = HashSet::from([edge.process().pid().as_raw_nonzero().get().unsigned_abs()]);
    for _ in 0..10 {
        loads.iter().for_each(|load| load.wait_for_answers(10));
        let address = edge.address();
        let ledger = edge.ledger();
        let before = origin.requests().len();
        let download = thread::spawn(move || {
            let mut client = Client::connect(address, ledger).unwrap();
            client.get("free.example", "/slow/50").unwrap()
        });
        wait_until("the download has begun", || {
            origin.requests().iter().skip(before).any(|request| request.line().contains("/slow/50"))
        });
        assert!(pids.insert(edge.upgrade()), "the same process again");
        let download = download.join().unwrap();
        assert_eq!((download.status, download.body.len()), (200, 50 * 8), "the download was cut");
    }
    loads.iter().for_each(|load| load.wait_for_answers(10));
    for (load, manner) in loads.into_iter().zip(manners) {
        let samples = load.finish();
        assert!(samples.len() > 100, "{manner:?}: only {} requests", samples.len());
        assert_right(&samples);
    }
    let records = edge.finish();
    assert_eq!(of_kind(&records, "edge.started").len(), 11);
    assert_eq!(of_kind(&records, "edge.stopped").len(), 11);
    assert!(records.iter().all(|record| record.kind() == "edge.started" || record.number("revision") == 1));
}

#[test]
fn the_commands_speak_to_the_new_process_and_policies_are_its_to_change() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "20s").start();
    assert_policies_can_change(&edge, "second.example");
    for round in 0..2 {
        let pid = edge.begin_upgrade();
        assert_eq!(status(&edge)["pid"].as_u64().unwrap(), u64::from(pid));
        let output = interdict(["reload", "--config", &config(&edge)]);
        assert!(output.stdout.contains("\"unchanged\""), "{output:?}");
        assert_eq!(edge.status().revision(), 2 + round, "the set in force keeps its revision");
        assert_policies_can_change(&edge, &format!("later-{round}.example"));
        edge.process_mut().wait_for_those_before();
        assert_eq!(status(&edge)["pid"].as_u64().unwrap(), u64::from(pid), "its socket was taken away");
    }
    let revisions: Vec<u64> =
        of_kind(&edge.finish(), "policy.applied").iter().map(|record| record.number("revision")).collect();
    assert_eq!(revisions, [1, 2, 2, 3, 3, 4], "one new set after the other, each given once");
}

#[test]
fn sigusr2_upgrades_as_the_command_does() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "5s").start();
    edge.process().signal(Signal::USR2);
    let pid = wait_for("another process answers", || {
        let pid = u32::try_from(status(&edge)["pid"].as_u64().unwrap()).unwrap();
        (pid != edge.process().pid().as_raw_nonzero().get().unsigned_abs()).then_some(pid)
    });
    edge.is_succeeded_by(pid);
    edge.process_mut().wait_for_those_before();
    edge.get("blocked.example").assert_blocked(403);
}

#[test]
fn policies_saved_while_the_old_process_drains_reach_its_connections_too() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "20s").start();
    let mut kept = edge.connect();
    kept.about("free.example").send("GET /slow/100 HTTP/1.1\r\nHost: free.example\r\n\r\n");
    wait_until("the download has begun", || origin.requests().len() == 1);
    edge.begin_upgrade();
    assert_policies_can_change(&edge, "late.example");
    // The old process serves this connection to its end. On what comes then it has to know the new set.
    assert_eq!(kept.response().unwrap().body.len(), 100 * 8);
    let answer = kept.get("late.example", "/").expect("an idle connection is heard once more");
    answer.assert_blocked(403);
    assert_eq!(answer.field("connection"), Some("close"));
    edge.process_mut().wait_for_those_before();
    let records = edge.finish();
    let blocks = of_kind(&records, "request.blocked");
    assert_eq!(blocks.len(), 2);
    assert!(blocks.iter().all(|block| block.number("revision") == 2), "{blocks:?}");
    let applied = of_kind(&records, "policy.applied").len();
    assert_eq!(applied, 3, "one at each start, and one by the process whose policies they are");
}

#[test]
fn what_is_decided_beside_a_download_reaches_the_connections_of_the_old_process_too() {
    let origin = Origin::start();
    let setup = edge(&origin, "20s");
    setup.policies().write_list("l.txt", "listed.example\n");
    let mut edge = setup.case(CaseFile::new("list", &[]).key("host_lists = [\"lists/l.txt\"]")).start();
    let mut kept = edge.connect();
    kept.about("free.example").send("GET /slow/100 HTTP/1.1\r\nHost: free.example\r\n\r\n");
    wait_until("the download has begun", || origin.requests().len() == 1);
    edge.begin_upgrade();
    while_written(&edge.policies().path().join("lists/l.txt"), "listed.example\n", || {
        assert_policies_can_change(&edge, "late.example");
        assert_eq!(kept.response().unwrap().body.len(), 100 * 8);
        kept.get("late.example", "/").expect("it is heard once more").assert_blocked(403);
    });
    edge.process_mut().wait_for_those_before();
    edge.get("listed.example").assert_blocked(403);
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_in_place() {
    let origin = Origin::start();
    let edge = edge(&origin, "5s").start();
    let good = fs::read_to_string(edge.config()).unwrap();
    fs::write(edge.config(), good.replace("[policy]", "[policy]\ndirektory = \"x\"")).unwrap();
    // The command reads the file as well, so the running edge is asked past it.
    let copy = edge.home().join("good.toml");
    fs::write(&copy, &good).unwrap();
    let output = interdict(["upgrade", "--config", copy.to_str().unwrap()]);
    fs::write(edge.config(), &good).unwrap();
    assert_refused(&edge, &output, "direktory");
    edge.get("blocked.example").assert_blocked(403);
    assert_policies_can_change(&edge, "second.example");
}

#[test]
fn a_new_process_that_is_killed_as_it_starts_gives_everything_back() {
    let origin = Origin::start();
    let setup = edge(&origin, "5s").admin("token_file = \"token\"");
    let turnstile = Turnstile::new(&setup.home().join("token"));
    turnstile.let_one_through();
    let mut edge = setup.start();
    let (upgrade, new) = edge.upgrade_beside();
    // It waits for its token now, and has the state directory.
    wait_until("the new process has recorded its start", || {
        of_kind(&edge.records(), "edge.started").len() == 2
    });
    edge.policies().write(&CaseFile::new("TS-2", &["meanwhile.example"]));
    let refused = edge.try_upgrade();
    assert!(refused.code == 1 && refused.stdout.contains("under way"), "{refused:?}");
    edge.get("blocked.example").assert_blocked(403);
    kill_process(new, Signal::KILL).unwrap();
    assert_refused(&edge, &upgrade.join().unwrap(), "ended before it served (signal: 9");
    edge.note_start();
    wait_until("what was saved meanwhile is in force", || edge.status().cases() == 2);
    edge.get("meanwhile.example").assert_blocked(403);
    // And the next one goes through.
    turnstile.let_one_through();
    edge.upgrade();
    assert_policies_can_change(&edge, "third.example");
}

#[test]
fn a_stop_during_an_upgrade_stops_both() {
    let origin = Origin::start();
    let setup = edge(&origin, "5s").admin("token_file = \"token\"");
    let turnstile = Turnstile::new(&setup.home().join("token"));
    turnstile.let_one_through();
    let mut edge = setup.start();
    let (upgrade, new) = edge.upgrade_beside();
    wait_until("the new process has recorded its start", || {
        of_kind(&edge.records(), "edge.started").len() == 2
    });
    edge.note_start();
    edge.terminate();
    turnstile.let_one_through();
    wait_until("the new process has ended", || {
        rustix::process::waitpid(Some(new), rustix::process::WaitOptions::NOHANG).unwrap().is_some()
    });
    assert_ne!(upgrade.join().unwrap().code, 0);
    assert_eq!(of_kind(&edge.records(), "edge.stopped").len(), 2);
    turnstile.let_one_through();
    edge.start_again().unwrap();
    edge.get("blocked.example").assert_blocked(403);
}

#[test]
fn an_upgrade_takes_up_listeners_that_were_added_and_drops_those_that_went() {
    let origin = Origin::start();
    let mut edge = edge(&origin, "5s").start();
    let good = fs::read_to_string(edge.config()).unwrap();
    let more = good.replacen("[policy]", "[[listen]]\naddress = \"127.0.0.1:0\"\n\n[policy]", 1);
    fs::write(edge.config(), more).unwrap();
    edge.upgrade();
    edge.get("blocked.example").assert_blocked(403);
    let added = last_address(&edge);
    assert_ne!(added, edge.address());
    let mut client = Client::connect(added, edge.ledger()).unwrap();
    client.get("blocked.example", "/").unwrap().assert_blocked(403);
    drop(client);
    fs::write(edge.config(), good).unwrap();
    edge.upgrade();
    edge.get("blocked.example").assert_blocked(403);
    assert!(Client::connect(added, edge.ledger()).is_err(), "a listener that was dropped still listens");
}

/// The address of the listener that was last said to be served.
fn last_address(edge: &Edge) -> SocketAddr {
    let log = edge.process().stderr();
    let mut served = log
        .lines()
        .filter(|line| line.contains("listening"))
        .filter_map(|line| line.split("address=").nth(1));
    served.next_back().expect("a line of the log for each listener").trim().parse().unwrap()
}
