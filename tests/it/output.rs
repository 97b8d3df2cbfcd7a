//! What the edge logs and what commands say, where nobody takes it: nothing else may suffer.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::harness::audit::of_kind;
use crate::harness::process::{BINARY, LogReader};
use crate::harness::{CaseFile, Edge, Origin, PolicyDir, Setup, wait_until};
use crate::terminate::{answer, terminate};

fn blocks_more(edge: &Edge, round: usize) {
    let host = format!("more-{round}.example");
    edge.get(&host).assert_forwarded();
    edge.policies().write(&CaseFile::new(&format!("more-{round}"), &[&host]));
    wait_until("the edge has read the new case", || edge.get(&host).status == 403);
}

/// Everything that makes a line of the log, and a stop.
fn goes_on(reader: LogReader, level: &str) {
    let origin = Origin::start();
    let setup = Setup::new().route(&["nobody.example"], &["127.0.0.1:1"]).origin(&origin);
    let edge = setup.environment("INTERDICT_LOG", level).log_read_by(reader).start();
    for round in 0..3 {
        blocks_more(&edge, round);
        // An origin that is not there is worth a line too.
        assert_eq!(edge.get("nobody.example").status, 502, "{reader:?}");
    }
    edge.policies().write_case("broken", "id = ");
    wait_until("the broken set is refused", || edge.status().last_result() == "rejected");
    edge.policies().remove_case("broken");
    let told = answer(&terminate(&edge, "TS-1", "new.example", &[]), 0);
    assert_eq!(told["result"], "enforced");
    edge.get("new.example").assert_blocked(403);
    let records = edge.finish();
    assert_eq!(of_kind(&records, "edge.stopped").len(), 1, "{reader:?}");
}

#[test]
fn a_log_whose_reader_has_gone_ends_no_thread() {
    goes_on(LogReader::Gone, "info");
}

#[test]
fn a_log_on_a_full_disk_ends_no_thread() {
    goes_on(LogReader::FullDisk, "info");
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    // Far more than a pipe takes in.
    goes_on(LogReader::Asleep, "trace");
}

#[test]
fn an_edge_that_fails_ends_though_nobody_reads_why() {
    let setup = Setup::new().environment("INTERDICT_LOG", "trace").log_read_by(LogReader::Asleep);
    setup.policies().write_case("broken", "id = ");
    let Err((_home, ended)) = setup.try_start() else { panic!("it has no set to start with") };
    assert_ne!(ended.status.code(), Some(0));
    assert!(ended.status.code().is_some(), "it ended by itself: {}", ended.status);
}

/// How a command ends whose standard output, and standard error if `both`, are not taken.
fn ended(arguments: &[&str], out: impl Fn() -> Stdio, both: bool) -> Option<i32> {
    let errors = if both { out() } else { Stdio::null() };
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::null()).stdout(out()).stderr(errors).status().unwrap().code()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

#[test]
fn commands_whose_answer_nobody_takes_end_as_they_would() {
    let home = tempfile::tempdir().unwrap();
    let policies = PolicyDir::create(home.path().join("policies"));
    policies.write(&CaseFile::new("TS-1", &["a.example"]));
    let path = policies.path().to_str().unwrap();
    let asked: [&[&str]; 4] = [
        &["check", "--policies", path],
        &["explain", "a.example", "--policies", path],
        &["explain", "a.example", "--json", "--policies", path],
        &["case", "list", "--policies", path],
    ];
    for arguments in asked {
        for both in [false, true] {
            assert_eq!(
                ended(arguments, closed, both),
                Some(0),
                "{arguments:?}: a reader that has seen enough"
            );
            assert_eq!(ended(arguments, full, both), Some(3), "{arguments:?}: an answer that is lost");
        }
    }
}

#[test]
fn a_change_whose_answer_nobody_takes_is_made_and_called_done() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).start();
    let config = edge.config();
    let common = ["--customer", "c", "--basis", "terms-of-service", "--decided-by", "j.doe", "--config"];
    let change = |id, host| {
        [&["terminate", "--id", id, "--host", host][..], &common, &[config.to_str().unwrap()]].concat()
    };
    assert_eq!(ended(&change("TS-1", "one.example"), closed, true), Some(0));
    edge.get("one.example").assert_blocked(403);
    assert_eq!(ended(&change("TS-2", "two.example"), full, false), Some(3), "it could not tell the event");
    edge.get("two.example").assert_blocked(403);
}
