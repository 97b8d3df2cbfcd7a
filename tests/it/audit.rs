//! The audit log against a real kernel: killed processes, a full disk.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use interdict::{
    audit::{self, Audit, ClientPrivacy, Enforcement, Event, Kind, Options, Receipt, RequestFacts},
    clock::SystemClock,
};

/// Tells the test binary to be the process that is killed.
const CHILD: &str = "INTERDICT_TEST_AUDIT_CHILD";

fn open(directory: &Path, segment_bytes: u64) -> (Audit, audit::Recovery) {
    let options =
        Options { segment_bytes, client: ClientPrivacy::Truncated, ..Options::new(directory, "ams-1") };
    Audit::open(options, Arc::new(SystemClock)).unwrap()
}

fn block(audit: &Audit, kind: Kind, case: &str, path: &[u8]) -> Receipt {
    audit
        .record(&Event {
            kind,
            revision: 1,
            enforcement: Some(Enforcement {
                case,
                customer: "cust-1",
                basis: "abuse",
                action: "page",
                status: Some(403),
                matched: "forum.example",
                also: &[],
            }),
            request: Some(RequestFacts {
                host: "forum.example",
                names: &[b"forum.example"],
                method: "GET",
                path,
                client: IpAddr::from([192, 0, 2, 1]),
                listener: "127.0.0.1:8080",
                protocol: "HTTP/1.1",
                tls: None,
                user_agent: None,
                upstream: None,
            }),
            detail: None,
        })
        .wait()
}

/// Not a test by itself: records from several threads and prints each id once its receipt is there.
#[test]
fn child_that_records_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let (audit, recovery) = open(&directory, audit::MIN_SEGMENT_BYTES);
    assert_eq!(recovery.problems, []);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    // Paths of all lengths, so that the kill meets writes within and across pages.
                    for length in (1..2000).step_by(97) {
                        let receipt = block(&audit, Kind::RequestBlocked, "TS-1", &vec![b'/'; length]);
                        assert!(receipt.is_recorded());
                        let line = format!("receipt {}\n", receipt.id());
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn a_process_killed_at_any_moment_has_every_receipt_in_the_log_exactly_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut receipts: HashSet<String> = HashSet::new();
    for round in 0..25u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["audit::child_that_records_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // The number of receipts read before the kill differs from round to round; the moment within a write is the
        // scheduler's.
        let wanted = 1 + (round * 7919) % 1500;
        let mut seen = 0;
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            let mut words = line.split_ascii_whitespace();
            // A line that the kill cut short was not handed over.
            if line.ends_with('\n') && words.next() == Some("receipt") {
                let id = words.next().unwrap().to_owned();
                assert!(receipts.insert(id), "an id was given twice");
                seen += 1;
                if seen == wanted {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        assert!(!child.wait().unwrap().success() && seen >= wanted, "round {round}: {seen} of {wanted}");
        audit::check(directory.path()).unwrap();
    }
    let (audit, recovery) = open(directory.path(), audit::MIN_SEGMENT_BYTES);
    assert_eq!(recovery.problems, []);
    audit.close().unwrap();
    let checked = audit::check(directory.path()).unwrap();
    assert_eq!((checked.first_seq, checked.last_seq), (1, checked.records));
    let mut found = 0;
    let mut ids = HashSet::new();
    for item in audit::records(directory.path()).unwrap() {
        let record = item.unwrap().unwrap();
        assert!(ids.insert(record.id));
        found += usize::from(receipts.contains(&record.id.to_string()));
    }
    assert_eq!(found, receipts.len(), "receipts that are not in the log");
    println!("{found} receipts, {} records", checked.records);
    assert_verifies(directory.path());
}

/// A file system of one mebibyte, unmounted at the end; `None` where mounting is not permitted.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(directory)),
            Ok(output) => {
                println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: mount: {error}");
                None
            }
        }
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("audit")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.path().join("filler")).unwrap();
        for size in [65536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

/// Records until the given number was missed; returns the missed events by case and kind.
fn record_until_missed(audit: &Audit, missed: u64) -> HashMap<(String, String), u64> {
    let mut counts = HashMap::new();
    let mut total = 0;
    let mut number = 0u64;
    while total < missed {
        number += 1;
        let case = format!("TS-{}", number % 5);
        let kind = if number.is_multiple_of(2) { Kind::RequestBlocked } else { Kind::RequestShadowed };
        if !block(audit, kind, &case, b"/full").is_recorded() {
            *counts.entry((case, kind.to_string())).or_default() += 1;
            total += 1;
        }
    }
    counts
}

/// The counts of all gap records.
fn counted(directory: &Path) -> HashMap<(String, String), u64> {
    let mut counts = HashMap::new();
    for record in audit::records(directory).unwrap() {
        let fields = record.unwrap().unwrap().fields().unwrap();
        for count in fields.get("counts").and_then(|counts| counts.as_array()).into_iter().flatten() {
            let text = |name: &str| count[name].as_str().unwrap().to_owned();
            *counts.entry((text("case"), text("kind"))).or_default() += count["count"].as_u64().unwrap();
        }
    }
    counts
}

/// The log is what was signed, told by its own public key.
fn assert_verifies(directory: &Path) {
    let report = audit::verify(directory, &audit::VerifyOptions::default(), &|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[test]
fn on_a_full_disk_events_are_counted_and_the_gap_is_recorded_when_space_returns() {
    let Some(small) = Small::mount("8m") else { return };
    let (audit, _) = open(&small.log(), audit::SEGMENT_BYTES);
    // What an operator deletes in the end.
    let ballast = small.0.path().join("ballast");
    fs::write(&ballast, vec![0; 5 * 1024 * 1024]).unwrap();
    let missed = record_until_missed(&audit, 5000);
    let counters = audit.counters();
    assert_eq!(counters.decided, counters.durable + counters.gap);
    assert_eq!((counters.gap, counters.writing_ok), (5000, false));
    // On a slow machine some of the counts were written down meanwhile, where sealing had made room.
    assert!((1..=5000).contains(&counters.gap_pending), "{counters:?}");
    assert!(counters.last_error.is_some());
    assert!(counters.durable > 500, "{counters:?}");
    fs::remove_file(&ballast).unwrap();
    let (mut recorded, mut lost) = (false, 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !recorded && Instant::now() < deadline {
        recorded = block(&audit, Kind::RequestBlocked, "TS-9", b"/back").is_recorded();
        lost += u64::from(!recorded);
    }
    assert!(recorded, "writing comes back by itself");
    audit.close().unwrap();
    let checked = audit::check(&small.log()).unwrap();
    let counters = audit.counters();
    assert_eq!((checked.decided, checked.missed), (counters.decided, 5000 + lost));
    assert_eq!((checked.durable, counters.gap_pending), (counters.durable, 0));
    let mut found = counted(&small.log());
    found.retain(|(case, _), _| case != "TS-9");
    assert_eq!(found, missed);
    assert_verifies(&small.log());
}

#[test]
fn on_a_disk_that_stays_full_the_gap_is_kept_in_the_journal_on_stop() {
    let Some(small) = Small::mount("1m") else { return };
    let (audit, _) = open(&small.log(), audit::SEGMENT_BYTES);
    assert!(block(&audit, Kind::RequestBlocked, "TS-1", b"/").is_recorded());
    small.fill();
    let missed = record_until_missed(&audit, 300);
    audit.close().unwrap_err();
    let checked = audit::check(&small.log()).unwrap();
    assert_eq!((checked.decided, checked.missed, checked.gaps), (audit.counters().decided, 300, 1));
    assert_eq!(counted(&small.log()), missed);
    drop(audit);
    // The next start, on the same full disk, counts from its first event and comes back when it can.
    let (audit, recovery) = open(&small.log(), audit::SEGMENT_BYTES);
    assert_eq!(recovery.problems, []);
    assert!(!block(&audit, Kind::RequestBlocked, "TS-1", b"/").is_recorded());
    fs::remove_file(small.0.path().join("filler")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !audit.counters().writing_ok && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(block(&audit, Kind::RequestBlocked, "TS-1", b"/").is_recorded());
    audit.close().unwrap();
    let after = audit::check(&small.log()).unwrap();
    assert_eq!((after.missed, after.durable), (301, checked.durable + 1));
    assert_verifies(&small.log());
}

#[test]
fn a_full_disk_under_load_from_many_threads_counts_exactly() {
    let Some(small) = Small::mount("2m") else { return };
    let (audit, _) = open(&small.log(), 256 * 1024);
    let done = AtomicBool::new(false);
    let missed: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut missed = 0u64;
                    while !done.load(Ordering::Relaxed) {
                        missed +=
                            u64::from(!block(&audit, Kind::RequestBlocked, "TS-1", b"/load").is_recorded());
                    }
                    missed
                })
            })
            .collect();
        // Full, a little free, full again: each time by looking at what the log says of itself.
        while audit.counters().gap < 5000 {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // The disk stays full: what does not get sealed is read from the journal.
    audit.close().ok();
    let (counters, checked) = (audit.counters(), audit::check(&small.log()).unwrap());
    assert_eq!((counters.gap, checked.missed), (missed, missed));
    assert_eq!((counters.decided, counters.durable), (checked.decided, checked.durable));
}

#[test]
fn records_are_read_while_they_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = open(directory.path(), audit::MIN_SEGMENT_BYTES);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..5000 {
                assert!(block(&audit, Kind::RequestBlocked, "TS-1", b"/").is_recorded());
            }
        });
        let mut tail = audit::Tail::open(directory.path(), 10_000).unwrap();
        let mut last = None;
        while last != Some(5000) {
            if let Some(item) = tail.next_record().unwrap() {
                let seq = item.unwrap().seq;
                assert!(last.is_none_or(|last| seq == last + 1));
                last = Some(seq);
            }
            let exported = audit::records(directory.path()).unwrap().take(20);
            assert!(
                exported.map(|item| item.unwrap().unwrap().seq).eq(1..=last.unwrap_or(0).min(20))
                    || last < Some(20)
            );
        }
        writer.join().unwrap();
    });
}
