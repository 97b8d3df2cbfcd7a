//! What do ten million names cost: memory, look-up, compiling, starting, reloading, and one more name?
//!
//! `INTERDICT_SCALE_NAMES` sets another number, `INTERDICT_LISTS` a directory of real lists (`../shared/lists` by itself).
//! The look-ups are measured in this process; the rest on the real edge, beside HAProxy and nginx on the same names when
//! they are installed (`INTERDICT_SCALE_PEERS`, one million names by itself: they take gigabytes for ten).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]
#![allow(unreachable_pub, reason = "each part uses the others")]

#[path = "../edge/mod.rs"]
mod edge;
#[path = "../names/mod.rs"]
mod names;
mod node;
mod peers;

use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use interdict::decide::{Subject, Verdict, decide};
use interdict::hostname::Hostname;
use interdict::policy::{PolicyFiles, Ruleset, parse_cases};
use jiff::Timestamp;

use names::dice::Dice;
use names::worded::Worded;

const LISTS: usize = 10;

fn main() {
    let count = number("INTERDICT_SCALE_NAMES", 10_000_000);
    look_up("generated", generated(count));
    if let Some(real) = real_lists() {
        look_up("real lists", real);
    }
    node::measure(count);
    peers::measure(number("INTERDICT_SCALE_PEERS", 1_000_000));
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// One list of a set: its text.
pub fn list(number: usize, names: usize) -> String {
    let mut source = Worded::new(number as u64 + 1);
    let mut text = String::with_capacity(names * 24);
    (0..names).for_each(|_| source.line(&mut text));
    text
}

fn generated(count: usize) -> Vec<String> {
    (0..LISTS).map(|number| list(number, count / LISTS)).collect()
}

/// All plain lists there are, one text each.
fn real_lists() -> Option<Vec<String>> {
    let root =
        std::env::var_os("INTERDICT_LISTS").map_or_else(|| PathBuf::from("../shared/lists"), PathBuf::from);
    let mut texts = Vec::new();
    collect(&root, &mut texts);
    (!texts.is_empty()).then_some(texts)
}

fn collect(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), texts);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            texts.push(text);
        }
    }
}

/// Compiles the lists as one case each, and asks for names that are listed and that are not.
fn look_up(what: &str, texts: Vec<String>) {
    let mut files = PolicyFiles::new();
    for (number, text) in texts.into_iter().enumerate() {
        let lines = format!("host_lists = [\"lists/{number}.txt\"]\non_bad_entry = \"skip\"");
        files.insert(format!("cases/{number}.toml"), edge::case(&format!("L-{number}"), &lines).into_bytes());
        files.insert(format!("lists/{number}.txt"), text.into_bytes());
    }
    let began = Instant::now();
    let (cases, found) = parse_cases(&files);
    assert!(!found.has_errors(), "{found}");
    let parsed = began.elapsed();
    let rules = Ruleset::compile(cases, &files).unwrap();
    let whole = began.elapsed();
    let names = rules.host_count();
    println!("{what}: {names} names");
    println!("  compiled from text in {whole:.1?} (reading and sorting the lists {parsed:.1?})");
    println!("  index {:.2} bytes a name", rules.index_bytes() as f64 / names as f64);
    for (how, count, shuffled) in [
        ("1,000 names in turn, all in the cache", 1_000, false),
        ("100,000 names in turn", 100_000, false),
        ("2,000,000 names in random order, none in the cache", 2_000_000, true),
    ] {
        let mut listed = sample(&files, names, count);
        if shuffled {
            // The same way each time.
            Dice::new(1).shuffle(&mut listed);
        }
        let strangers: Vec<Hostname> =
            listed.iter().filter_map(|name| Hostname::parse(&format!("x{name}")).ok()).collect();
        let (hit, miss) = (each(&rules, &listed), each(&rules, &strangers));
        println!("  hit {hit:.0} ns, miss {miss:.0} ns (whole verdict, median of nine; {how})");
    }
}

/// About so many names, evenly out of the lists.
fn sample(files: &PolicyFiles, names: usize, count: usize) -> Vec<Hostname> {
    let texts = files.under("lists/").filter_map(|(path, _)| std::str::from_utf8(files.get(path)?).ok());
    let lines = texts.flat_map(str::lines).step_by((names / count).max(1));
    lines.filter_map(|line| Hostname::parse(line).ok()).collect()
}

fn each(rules: &Ruleset, subjects: &[Hostname]) -> f64 {
    let client = IpAddr::from([192, 0, 2, 1]);
    let rounds = (400_000 / subjects.len()).max(1);
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            for name in (0..rounds).flat_map(|_| subjects) {
                let subject = Subject { names: std::slice::from_ref(name), client };
                let verdict = decide(rules, black_box(&subject), Timestamp::UNIX_EPOCH);
                black_box(matches!(verdict, Verdict::Block(_)));
            }
            began.elapsed().as_nanos() as f64 / (rounds * subjects.len()) as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[4]
}
