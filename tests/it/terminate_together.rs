//! `interdict terminate` beside others: other commands, an upgrade, its own sudden end.

use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::harness::audit::of_kind;
use crate::harness::process::BINARY;
use crate::harness::{CaseFile, Edge, Origin, wait_until};
use crate::terminate::{PLAIN, answer, edge, record, terminate};

#[test]
fn two_at_once_both_land_and_of_two_with_one_id_one_does() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let run = |id: &str, host: &str| (terminate(&edge, id, host, &[]), host.to_owned());
    let outputs = thread::scope(|scope| {
        let jobs: Vec<_> = (0..6)
            .map(|number| {
                let (id, host) = (format!("TS-{}", number / 2), format!("h{number}.example"));
                let run = &run;
                let id = if number < 4 { format!("{id}-{number}") } else { id };
                scope.spawn(move || run(&id, &host))
            })
            .collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect::<Vec<_>>()
    });
    for (output, host) in &outputs[..4] {
        answer(output, 0);
        edge.get(host).assert_blocked(403);
    }
    let mut codes: Vec<i32> = outputs[4..].iter().map(|(output, _)| output.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{outputs:?}");
    for (output, host) in &outputs[4..] {
        let response = edge.get(host);
        if output.code == 0 {
            response.assert_blocked(403);
        } else {
            response.assert_forwarded();
        }
    }
    assert_eq!(edge.status().cases(), 6);
    let events: Vec<Value> =
        outputs[..4].iter().map(|(output, _)| answer(output, 0)["event"].clone()).collect();
    let records = edge.finish();
    for (event, number) in events.iter().zip(0..) {
        let applied = record(&records, event);
        assert_eq!(
            applied.0["changes"][0]["case"],
            format!("TS-{}-{number}", number / 2),
            "its own swap: {}",
            applied.0
        );
    }
}

/// Starts `terminate` and kills it after a while.
fn terminate_and_kill(edge: &Edge, id: &str, host: &str, after_us: u64) {
    let mut child = Command::new(BINARY)
        .args(PLAIN)
        .args([id, "--host", host, "--config"])
        .arg(edge.config())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // How far it gets is what varies here; nothing waits for the time to pass.
    thread::sleep(std::time::Duration::from_micros(after_us));
    child.kill().ok();
    child.wait().unwrap();
}

#[test]
fn a_command_killed_at_any_moment_leaves_a_whole_case_or_none_and_an_edge_that_goes_on() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for round in 0..24 {
        terminate_and_kill(&edge, &format!("K-{round}"), &format!("k{round}.example"), round * 700);
    }
    let told = answer(&terminate(&edge, "TS-1", "new.example", &[]), 0);
    assert_eq!(told["result"], "enforced");
    edge.get("new.example").assert_blocked(403);
    let placed: Vec<String> =
        edge.policies().names("cases").into_iter().filter(|name| name.starts_with("K-")).collect();
    for name in &placed {
        let number = name.trim_start_matches("K-").trim_end_matches(".toml");
        edge.get(&format!("k{number}.example")).assert_blocked(403);
    }
    let check = edge.command(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert_eq!(edge.status().cases(), 2 + placed.len() as u64);
    assert!(of_kind(&edge.finish(), "policy.rejected").is_empty(), "no half of a file was ever read");
}

#[test]
fn a_caller_that_holds_the_edge_still_and_goes_away_holds_nothing_up() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixStream;
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut silent = UnixStream::connect(edge.home().join("state/control.sock")).unwrap();
    silent.write_all(b"change {\"command\":\"terminate\",\"case\":\"x\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(&silent).read_line(&mut line).unwrap();
    assert!(line.contains("\"ready\":true"), "{line}");
    // What comes now is not read before the hold is over.
    edge.policies().write(&CaseFile::new("second", &["second.example"]));
    edge.get("second.example").assert_forwarded();
    drop(silent);
    wait_until("the change is in force", || edge.get("second.example").status == 403);
    let told = answer(&terminate(&edge, "TS-1", "new.example", &[]), 0);
    assert_eq!(told["result"], "enforced");
    for line in ["change nonsense", "change {\"command\":\"x\",\"more\":1}"] {
        let mut stream = UnixStream::connect(edge.home().join("state/control.sock")).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains("error"), "{answer}");
    }
}

#[test]
fn during_an_upgrade_the_case_is_enforced_by_whoever_serves_when_the_command_ends() {
    let origin = Origin::start();
    let mut edge = edge(&origin);
    for round in 0..2 {
        let (id, host) = (format!("TS-{round}"), format!("u{round}.example"));
        let pid = thread::scope(|scope| {
            let upgrade = scope.spawn(|| edge.try_upgrade());
            let told = answer(&terminate(&edge, &id, &host, &[]), 0);
            assert_eq!(told["result"], "enforced");
            let output = upgrade.join().unwrap();
            assert_eq!(output.code, 0, "{output:?}");
            let answer: Value = serde_json::from_str(&output.stdout).unwrap();
            u32::try_from(answer["pid"].as_u64().unwrap()).unwrap()
        });
        edge.is_succeeded_by(pid);
        edge.get(&host).assert_blocked(403);
        edge.process_mut().wait_for_those_before();
        edge.get(&host).assert_blocked(403);
    }
}
