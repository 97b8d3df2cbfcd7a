//! What an edge tells the service manager, and when.

use std::fs;
use std::thread;

use rustix::process::Signal;

use crate::harness::audit;
use crate::harness::notify::ServiceManager;
use crate::harness::succession::Turnstile;
use crate::harness::tools::interdict;
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

/// An edge under a service manager whose watchdog bites after 400 ms.
fn watched(origin: &Origin) -> (Setup, ServiceManager) {
    let setup = Setup::new().origin(origin).case(CaseFile::new("TS-1", &["blocked.example"]));
    let manager = ServiceManager::listen(&setup.home().join("notify"));
    let setup = setup.environment("NOTIFY_SOCKET", manager.address()).environment("WATCHDOG_USEC", "400000");
    (setup, manager)
}

fn reload(edge: &Edge) {
    let output = interdict(["reload", "--config", edge.config().to_str().unwrap()]);
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn an_edge_is_ready_when_it_serves_and_not_before() {
    let origin = Origin::start();
    let (setup, mut manager) = watched(&origin);
    let setup = setup.admin("token_file = \"token\"");
    let turnstile = Turnstile::new(&setup.home().join("token"));
    let log = setup.home().join("audit");
    let starting = thread::spawn(|| setup.start());
    wait_until("it has loaded its policies", || {
        log.join("lock").exists() && !audit::of_kind(&audit::export(&log), "policy.applied").is_empty()
    });
    assert_eq!(manager.heard(), [""; 0], "nothing is ready yet");
    turnstile.let_one_through();
    manager.wait_for("READY=1", 0);
    let mut edge = starting.join().unwrap();
    edge.get("blocked.example").assert_blocked(403);
    edge.get("free.example").assert_forwarded();
    manager.wait_for("WATCHDOG=1", 3);
    assert_eq!(manager.count("STOPPING=1"), 0);
    edge.stop();
    manager.wait_for("STOPPING=1", 0);
    assert_eq!((manager.count("READY=1"), manager.count("STOPPING=1")), (1, 1));
}

#[test]
fn a_reload_is_announced_and_ends() {
    let origin = Origin::start();
    let (setup, mut manager) = watched(&origin);
    let edge = setup.start();
    manager.wait_for("READY=1", 0);
    for ask in [&reload as &dyn Fn(&Edge), &|edge: &Edge| edge.process().signal(Signal::HUP)] {
        manager.forget();
        ask(&edge);
        manager.wait_for("READY=1", 0);
        let (begun, ended) = (manager.position("RELOADING=1"), manager.position("READY=1"));
        assert!(begun < ended);
        // systemd asks for the time of it, to tell this reload from an earlier one.
        assert!(manager.heard()[begun + 1].starts_with("MONOTONIC_USEC="));
    }
}

#[test]
fn at_an_upgrade_the_new_process_is_the_one_to_watch() {
    let origin = Origin::start();
    let (setup, mut manager) = watched(&origin);
    let mut edge = setup.start();
    manager.wait_for("READY=1", 0);
    manager.forget();
    let pid = edge.upgrade();
    manager.wait_for("READY=1", 0);
    let named = manager.position(&format!("MAINPID={pid}"));
    assert!(named < manager.position("READY=1"), "systemd heeds the main process alone");
    assert_eq!(manager.count("STOPPING=1"), 0, "the service does not stop");
    // The one before has ended, so that these are of the new one.
    let before = manager.count("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1", before + 1);
    edge.stop();
    manager.wait_for("STOPPING=1", 0);
}

#[test]
fn an_upgrade_that_fails_leaves_the_service_manager_with_the_process_it_knows() {
    let origin = Origin::start();
    let (setup, mut manager) = watched(&origin);
    let edge = setup.start();
    manager.wait_for("READY=1", 0);
    let good = fs::read_to_string(edge.config()).unwrap();
    let copy = edge.home().join("good.toml");
    fs::write(&copy, &good).unwrap();
    fs::write(edge.config(), format!("{good}nonsense = 1\n")).unwrap();
    let output = interdict(["upgrade", "--config", copy.to_str().unwrap()]);
    assert_eq!(output.code, 1, "{output:?}");
    fs::write(edge.config(), &good).unwrap();
    let before = manager.count("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1", before);
    let named = manager.heard().iter().filter(|heard| heard.starts_with("MAINPID=")).count();
    assert_eq!((named, manager.count("STOPPING=1")), (0, 0));
}
