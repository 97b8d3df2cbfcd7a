//! How much memory does a blocked request take from the heap? None, on the fast path: the bench ends with an error if it does.
//!
//! Requests are pipelined on one connection without a socket, in two numbers, so that what the connection itself takes
//! is in both and in no difference. Everything counts: parsing, judging, recording, answering.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench may stop at a surprise")]

use interdict::listen::probe::Stage;
use interdict::server::{Enforcement, Options};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir_all(at("policies/cases")).unwrap();
    let case = "id = \"B-1\"\ncustomer = \"c\"\nbasis = \"abuse\"\ndecided = 2026-01-05T09:00:00Z\n\
                decided_by = [\"j.doe\"]\nsummary = \"s\"\nstatement = \"s\"\nhosts = [\".blocked.example\"]\n";
    std::fs::write(at("policies/cases/b.toml"), case).unwrap();
    // Records are sealed in a thread of its own, which is not asked about here: it stands still behind a large segment.
    let enforcement =
        Enforcement::start(Options::new("bench", at("policies"), at("state"), at("audit"))).unwrap();
    let stage = Stage::new(enforcement.gate()).unwrap();
    let browser = "User-Agent: Mozilla/5.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
                   Accept-Language: de-AT,de;q=0.9\r\nCookie: a=b\r\n";
    let mut is_free = true;
    for (what, line, fields) in [
        ("bare", "GET / HTTP/1.1", ""),
        ("of a browser", "GET /a/b?c=d HTTP/1.1", browser),
        ("with HEAD", "HEAD / HTTP/1.1", ""),
    ] {
        let head = format!("{line}\r\nHost: www.blocked.example\r\n{fields}\r\n");
        let blocks = |count: u64, fast: bool| {
            let before = dhat::HeapStats::get().total_blocks;
            stage.drive(head.as_bytes(), count, fast);
            dhat::HeapStats::get().total_blocks - before
        };
        for fast in [true, false] {
            // What a thread makes once is made before.
            blocks(FEW, fast);
            let per_request = (blocks(MANY, fast) as f64 - blocks(FEW, fast) as f64) / (MANY - FEW) as f64;
            let path = if fast { "fast path" } else { "full path" };
            println!("a blocked request {what}, {path}: {per_request:.3} allocations");
            // The log's own threads are at work meanwhile, a few hundred of them in all.
            is_free &= !fast || per_request < 0.1;
        }
    }
    enforcement.stop();
    assert!(is_free, "a blocked request on the fast path takes memory");
}
