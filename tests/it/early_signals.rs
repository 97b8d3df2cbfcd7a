//! Signals that come while an edge starts: a reload is done after it, and a stop is orderly.

use std::fs;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::audit;
use crate::harness::notify::ServiceManager;
use crate::harness::process::Ended;
use crate::harness::succession::Turnstile;
use crate::harness::{CaseFile, Edge, Setup, wait_for, wait_until};

/// What becomes of the start; the files stay with it.
type Starting = JoinHandle<Result<Edge, (tempfile::TempDir, Ended)>>;

/// An edge that has read its policies and does not get on with its start, and its process id.
fn at_the_turnstile(setup: Setup, turnstile: &Path) -> (Starting, Pid) {
    assert!(turnstile.exists());
    let log = setup.home().join("audit");
    let starting = thread::spawn(|| setup.try_start());
    wait_until("it has loaded its policies", || {
        log.join("lock").exists() && !audit::of_kind(&audit::export(&log), "policy.applied").is_empty()
    });
    let pid = wait_for("the lock says who has it", || {
        let text = fs::read_to_string(log.join("lock")).unwrap();
        text.strip_prefix("process ")?.split(',').next()?.parse().ok()
    });
    (starting, Pid::from_raw(pid).unwrap())
}

fn setup() -> (Setup, Turnstile) {
    let setup = Setup::new().case(CaseFile::new("a", &["a.example"])).admin("token_file = \"token\"");
    let turnstile = Turnstile::new(&setup.home().join("token"));
    (setup, turnstile)
}

#[test]
fn a_hangup_during_the_start_is_a_reload_after_it() {
    let (setup, turnstile) = setup();
    let mut manager = ServiceManager::listen(&setup.home().join("notify"));
    let setup = setup.environment("NOTIFY_SOCKET", manager.address());
    let token = setup.home().join("token");
    let (starting, pid) = at_the_turnstile(setup, &token);
    kill_process(pid, Signal::HUP).unwrap();
    turnstile.let_one_through();
    let Ok(edge) = starting.join().unwrap() else { panic!("it did not start") };
    manager.wait_for("RELOADING=1", 0);
    assert!(manager.position("READY=1") < manager.position("RELOADING=1"), "{:?}", manager.heard());
    edge.get("a.example").assert_blocked(403);
}

#[test]
fn a_stop_during_the_start_is_orderly_and_on_record() {
    for signal in [Signal::TERM, Signal::INT] {
        let (setup, turnstile) = setup();
        let token = setup.home().join("token");
        let (starting, pid) = at_the_turnstile(setup, &token);
        kill_process(pid, signal).unwrap();
        turnstile.let_one_through();
        let Err((home, ended)) = starting.join().unwrap() else { panic!("it serves") };
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let log = home.path().join("audit");
        let records = audit::export(&log);
        assert_eq!(records.last().map(|record| record.kind()), Some("edge.stopped"));
        audit::assert_verifies(&log);
    }
}
