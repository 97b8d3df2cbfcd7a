//! The real edge on ten million names.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::edge::process::cpu_us;
use crate::edge::{Edge, origin, save_list, status, until};
use crate::{LISTS, list};

const STARTS: usize = 7;
const RELOADS: usize = 5;

pub fn measure(count: usize) {
    println!("the edge, {count} names");
    let bare = Edge::start(origin(), |_| ());
    assert_eq!(status(bare.address, "stranger.example"), 200);
    let base = kib(bare.pid(), "VmRSS");
    drop(bare);
    let began = Instant::now();
    let mut edge = Edge::start(origin(), |policies| write_lists(policies, count, ""));
    println!("  first start, lists written by this bench included: {:.1?}", began.elapsed());
    edge.wait_until_kept();
    memory("after the first start", &edge, base, count);
    (0..STARTS).for_each(|_| edge.restart_timed("start from the image", "stranger.example"));
    memory("after a start from the image", &edge, base, count);
    one_more(&edge);
    terminate(&edge);
    let ratios = (0..RELOADS).map(|round| full_reload(&edge, count, &format!("all-new-{round}.example")));
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "  p99 of allowed requests, during to before, median of {RELOADS} reloads: {:.2}",
        ratios[RELOADS / 2]
    );
    wait_until_at_rest(&edge);
    memory("after the reloads, at rest", &edge, base, count);
}

fn write_lists(policies: &Path, count: usize, last: &str) {
    for number in 0..LISTS {
        let mut text = list(number, count / LISTS);
        text.push_str(last);
        save_list(policies, &format!("L-{number}"), &text);
    }
}

fn kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

fn memory(when: &str, edge: &Edge, base: u64, count: usize) {
    let resident = kib(edge.pid(), "VmRSS");
    let a_name = (resident.saturating_sub(base) * 1024) as f64 / count as f64;
    println!("  {when}: {} MiB resident, {a_name:.1} bytes a name above an empty edge", resident / 1024);
}

/// One more case, twenty times: from its file to the first blocked request.
fn one_more(edge: &Edge) {
    let one = |round| edge.block(&format!("N-{round}"), &format!("one-more-{round}.example"));
    let mut times: Vec<Duration> = (0..20).map(one).collect();
    times.sort();
    println!("  one more name, file to first block: median {:.1?}, worst {:.1?}", times[10], times[19]);
}

/// The command, twenty times: wall time from its start until it says that the edge enforces the case, and it is asked.
fn terminate(edge: &Edge) {
    let mut times: Vec<Duration> = (0..20)
        .map(|round| {
            let (id, host) = (format!("T-{round}"), format!("terminated-{round}.example"));
            let began = Instant::now();
            let output = Command::new(env!("CARGO_BIN_EXE_interdict"))
                .args(["terminate", "--id", &id, "--customer", "c", "--basis", "abuse", "--host", &host])
                .arg("--config")
                .arg(edge.home.path().join("edge.toml"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(status(edge.address, &host), 403);
            began.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "  `interdict terminate`, start to first block: median {:.1?}, worst {:.1?}",
        times[10], times[19]
    );
}

/// Every list changes, while allowed traffic goes on; by what its p99 grows. The new lists are there already, as they are
/// when a tool has brought them: each gets the name of the one before.
fn full_reload(edge: &Edge, count: usize, new: &str) -> f64 {
    let next = edge.home.path().join("next");
    write_lists(&next, count, &format!("{new}\n"));
    wait_until_at_rest(edge);
    let before = kib(edge.pid(), "VmRSS");
    let quiet = allowed(edge, &AtomicBool::new(false), Duration::from_secs(5));
    // The high-water mark starts anew (proc(5), clear_refs).
    fs::write(format!("/proc/{}/clear_refs", edge.pid()), "5").unwrap();
    let cpu = cpu_us(edge.pid());
    let done = AtomicBool::new(false);
    let (during, took) = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| allowed(edge, &done, Duration::from_secs(180)));
        let began = Instant::now();
        for list in fs::read_dir(next.join("lists")).unwrap() {
            let list = list.unwrap();
            fs::rename(list.path(), edge.policies().join("lists").join(list.file_name())).unwrap();
        }
        until(edge.address, new, 403, Duration::from_millis(5));
        let took = began.elapsed();
        done.store(true, Ordering::Relaxed);
        (traffic.join().unwrap(), took)
    });
    let peak = kib(edge.pid(), "VmHWM");
    let used = cpu_us(edge.pid());
    println!(
        "  full reload: {took:.1?}, {:.1} s of processor time, peak {} MiB = {:.2} x resident",
        (used.0 + used.1 - cpu.0 - cpu.1) / 1e6,
        peak / 1024,
        peak as f64 / before as f64,
    );
    println!("  allowed requests: p99 {quiet:.2?} before, {during:.2?} during the reload");
    during.as_secs_f64() / quiet.as_secs_f64()
}

/// Until names that were swapped in are merged, and records are compressed.
fn wait_until_at_rest(edge: &Edge) {
    let used = || {
        let (user, system) = cpu_us(edge.pid());
        user + system
    };
    loop {
        let before = used();
        std::thread::sleep(Duration::from_secs(1));
        if used() - before < 50_000.0 {
            return;
        }
    }
}

/// The 99th percentile of allowed requests, one every two milliseconds.
fn allowed(edge: &Edge, done: &AtomicBool, at_most: Duration) -> Duration {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < at_most && !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        assert_eq!(status(edge.address, "stranger.example"), 200);
        times.push(asked.elapsed());
        std::thread::sleep(Duration::from_millis(2).saturating_sub(asked.elapsed()));
    }
    times.sort();
    times[times.len() * 99 / 100]
}
