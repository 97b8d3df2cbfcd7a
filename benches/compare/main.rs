//! What does the edge cost beside nginx, HAProxy and a bare Pingora proxy, all on one core of the same machine?
//!
//! `make compare`, or `cargo bench --bench compare`. Servers run on one core; clients and the origin on another; all are
//! measured in turns, so that drift hits them alike, and medians are shown. Everything stays on the loopback interface.
//! All parts together write `docs/figures.md`; some alone (`-- blocked tls`) write `figures.md` beside what is built.
//!
//! `INTERDICT_COMPARE_TURNS` (5) and `INTERDICT_COMPARE_SECONDS` (4) say how long; `INTERDICT_COMPARE_LARGE=1` adds ten
//! million names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at a surprise"
)]
#![allow(unreachable_pub, reason = "each part uses the others")]

#[allow(dead_code, reason = "only handshakes are asked for with it here")]
#[path = "../cost/client.rs"]
mod client;
mod crowd;
#[path = "../edge/mod.rs"]
mod edge;
mod flooded;
mod goals;
mod growth;
mod machine;
mod measure;
mod million;
#[path = "../names/mod.rs"]
mod names;
mod origin;
mod requests;
mod servers;
mod swaps;
mod table;
mod tls;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use goals::Goal;
use machine::Cores;
use servers::Yard;
use table::Table;

const PARTS: [&str; 7] = ["blocked", "allowed", "tls", "swaps", "million", "flooded", "growth"];
/// Where blocked requests are not measured, swaps are at this rate.
const SOME_RATE: f64 = 20_000.0;

/// How long, and how much.
pub struct Settings {
    /// How often each is measured.
    pub turns: usize,
    /// What is measured of one turn.
    pub window: Duration,
    /// Whether ten million names are measured too.
    pub large: bool,
}

/// What came of it.
#[derive(Default)]
struct Findings {
    tables: Vec<(&'static str, Table)>,
    goals: Vec<Goal>,
    /// Rates of the parts that run at one.
    rates: Vec<(&'static str, f64)>,
}

fn main() {
    if edge::bare::is_child() {
        return edge::bare::serve();
    }
    if flooded::is_child() {
        return flooded::flood();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Test runs start every bench too, and without this word.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("measures with `make compare` only");
        return;
    }
    let parts: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    if let Some(odd) = parts.iter().find(|part| !PARTS.contains(part)) {
        panic!("`{odd}` is no part: {PARTS:?}");
    }
    let missing = machine::missing();
    assert!(missing.is_empty(), "not installed: {missing:?}; `make compare` installs them from Debian");
    let cores = Cores::find().expect("two cores: one for the servers, one for the clients");
    let settings = Settings {
        turns: number("INTERDICT_COMPARE_TURNS", 5).max(1),
        window: Duration::from_secs(number("INTERDICT_COMPARE_SECONDS", 4).max(1) as u64),
        large: number("INTERDICT_COMPARE_LARGE", 0) > 0,
    };
    let (began, about) = (Instant::now(), machine::describe(cores));
    println!("{about}");
    machine::take_all_files();
    cores.take_client();
    let findings = measure(&Yard::new(cores), &settings, &parts);
    let path = match parts.is_empty() {
        true => Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/figures.md"),
        false => PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("figures.md"),
    };
    let report = report(&findings, &settings, &about, began.elapsed());
    std::fs::write(&path, report).unwrap();
    println!(
        "\n{}\n\nwritten to {} after {:.0?}",
        goals::markdown(&findings.goals),
        path.display(),
        began.elapsed()
    );
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// All parts, or those that are named.
fn measure(yard: &Yard, settings: &Settings, parts: &[&str]) -> Findings {
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut found = Findings::default();
    let mut rate = SOME_RATE;
    if wanted("blocked") {
        let (limit, tails, half) = requests::blocked(yard, settings);
        found.goals.extend(goals::of_blocked(&limit, &tails));
        found.tables.extend([("blocked", limit), ("blocked_tails", tails)]);
        rate = half;
        found.rates.push(("blocked_rate", half));
    }
    if wanted("allowed") {
        let (limit, tails, half) = requests::allowed(yard, settings);
        found.goals.extend(goals::of_allowed(&limit));
        found.tables.extend([("allowed", limit), ("allowed_tails", tails)]);
        found.rates.push(("allowed_rate", half));
    }
    if wanted("tls") {
        let [blocked, refused] = tls::measure(yard, settings);
        found.goals.extend(goals::of_tls(&blocked, &refused));
        found.tables.extend([("h2", blocked), ("refused", refused)]);
    }
    if wanted("swaps") {
        let table = swaps::measure(yard, settings, rate);
        found.goals.extend(goals::of_swaps(&table));
        found.tables.push(("swaps", table));
    }
    if wanted("million") {
        found.tables.push(("million", million::measure(yard, settings)));
    }
    if wanted("flooded") {
        let table = flooded::measure(yard, settings);
        found.goals.extend(goals::of_flooded(&table));
        found.tables.push(("flooded", table));
    }
    if wanted("growth") {
        found.tables.push(("growth", growth::measure(yard, settings)));
    }
    found
}

/// The template with what was found in its places.
fn report(found: &Findings, settings: &Settings, about: &str, took: Duration) -> String {
    let mut text = include_str!("figures.md").to_owned();
    let mut put = |name: &str, value: &str| text = text.replace(&format!("{{{{{name}}}}}"), value);
    put("date", &jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string());
    put("about", about);
    put("turns", &settings.turns.to_string());
    put("seconds", &settings.window.as_secs().to_string());
    put("took", &format!("{:.0}", took.as_secs_f64() / 60.0));
    put("goals", &goals::markdown(&found.goals));
    let raw: Vec<String> = found.tables.iter().map(|(_, table)| table.raw()).collect();
    put("raw", &raw.join("\n\n"));
    for (name, rate) in &found.rates {
        put(name, &table::cell(*rate));
    }
    for (name, table) in &found.tables {
        put(name, &table.markdown());
    }
    // Of parts that were not wanted.
    let parts = ["blocked", "blocked_tails", "allowed", "allowed_tails", "h2", "refused", "swaps", "million"];
    for name in parts.into_iter().chain(["flooded", "growth", "blocked_rate", "allowed_rate"]) {
        put(name, "(not measured)");
    }
    text
}
