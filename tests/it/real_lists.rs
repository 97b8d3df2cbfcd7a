//! Three public block lists, as they are, in front of ten thousand requests.
//!
//! The lists are not part of this repository. The test looks for them in `$INTERDICT_LISTS`, or else in
//! `../shared/lists`, and says so in one line when they are not there.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use interdict::decide::{Subject, Verdict, decide};
use interdict::hostname::Hostname;
use interdict::policy::{PolicyFiles, Ruleset, parse_cases};
use jiff::Timestamp;

use crate::harness::audit::{Record, of_kind};
use crate::harness::tools::interdict;
use crate::harness::{CaseFile, Edge, Origin, Setup};

const LISTS: [&str; 3] = [
    "phishing-database/phishing-domains-ACTIVE.txt",
    "blocklistproject/redirect-nl.txt",
    "blocklistproject/tracking-nl.txt",
];
const REQUESTS: usize = 10_000;

fn lists_directory() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/lists");
    let directory = std::env::var_os("INTERDICT_LISTS").map_or(beside, PathBuf::from);
    LISTS.iter().all(|list| directory.join(list).is_file()).then_some(directory)
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// The plain names of the lists, found without any code of ours: a second opinion on what is listed.
fn plain_names(directory: &Path) -> Vec<String> {
    let plain = |name: &&str| {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.get(2..4) != Some("--")
        };
        let last_is_word =
            name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()));
        name.contains('.') && name.len() <= 200 && last_is_word && name.split('.').all(label)
    };
    let read = |list: &&str| fs::read_to_string(directory.join(list)).unwrap();
    LISTS
        .iter()
        .map(read)
        .flat_map(|text| text.lines().map(str::trim).filter(plain).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// One request: the canonical name, and the bytes that ask for it in an odd way.
fn odd_request(name: &str, numbers: &mut Numbers) -> String {
    let upper = name.to_ascii_uppercase();
    let (target, host) = match numbers.below(6) {
        0 => ("/".to_owned(), name.to_owned()),
        1 => ("/".to_owned(), upper),
        2 => ("/".to_owned(), format!("{name}.")),
        3 => ("/".to_owned(), format!("{name}:8080")),
        4 => (format!("http://{upper}/"), name.to_owned()),
        _ => (format!("http://{name}.:80/"), format!("{upper}.")),
    };
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn edge_on_lists(directory: &Path, origin: &Origin) -> Edge {
    let setup = Setup::new().origin(origin);
    let mut cases = Vec::new();
    for (number, list) in LISTS.iter().enumerate() {
        let name = format!("{number}.txt");
        fs::copy(directory.join(list), setup.policies().path().join("lists").join(&name)).unwrap();
        let key = format!("host_lists = [\"lists/{name}\"]\non_bad_entry = \"skip\"");
        cases.push(CaseFile::new(&format!("list-{number}"), &[]).key(&key));
    }
    cases.into_iter().fold(setup, Setup::case).start()
}

/// A name asked for, and whether it is listed.
struct Question {
    name: String,
    listed: bool,
}

fn questions(names: &[String], numbers: &mut Numbers) -> Vec<Question> {
    let listed: HashSet<&str> = names.iter().map(String::as_str).collect();
    let one = |index: usize| {
        let drawn = &names[numbers.below(names.len())];
        if index.is_multiple_of(2) {
            return Question { name: drawn.clone(), listed: true };
        }
        // Near misses: a name below a listed one, or one with a further letter.
        let near = if numbers.below(2) == 0 { format!("zz-below.{drawn}") } else { format!("{drawn}x") };
        Question { listed: listed.contains(near.as_str()), name: near }
    };
    (0..REQUESTS).map(one).collect()
}

#[test]
fn ten_thousand_requests_over_three_public_lists_are_judged_without_a_mistake() {
    let Some(directory) = lists_directory() else {
        println!("left out: no public lists in $INTERDICT_LISTS or ../shared/lists");
        return;
    };
    let names = plain_names(&directory);
    assert!(names.len() > 300_000, "{} plain names", names.len());
    let origin = Origin::start();
    let edge = edge_on_lists(&directory, &origin);
    assert!(edge.status().hosts() >= 350_000, "{} hosts", edge.status().hosts());
    let mut numbers = Numbers(2);
    let questions = questions(&names, &mut numbers);
    let mut client = edge.connect();
    for question in &questions {
        let request = odd_request(&question.name, &mut numbers);
        let response = client.about(&question.name).send(&request).response().unwrap();
        let blocked = response.enforcement_id().is_some();
        assert_eq!(blocked, question.listed, "{request:?}: {}", response.status);
        assert_eq!(response.status, if blocked { 403 } else { 200 }, "{request:?}");
    }
    assert_library_agrees(&edge, &questions);
    assert_explain_agrees(&edge, &questions);
    let listed = questions.iter().filter(|question| question.listed).count();
    assert_eq!(origin.requests().len(), REQUESTS - listed);
    let records = edge.finish();
    assert_every_block_is_recorded(&records, &questions, listed);
    println!("{REQUESTS} requests, {listed} blocked and recorded, {} forwarded", REQUESTS - listed);
}

#[track_caller]
fn assert_every_block_is_recorded(records: &[Record], questions: &[Question], listed: usize) {
    let blocked = of_kind(records, "request.blocked");
    assert_eq!(blocked.len(), listed);
    let asked = questions.iter().filter(|question| question.listed).map(|question| question.name.as_str());
    assert!(
        asked.eq(blocked.iter().map(|record| record.text("host"))),
        "the records are not those of the requests"
    );
}

/// What `explain` calls, asked every question.
#[track_caller]
fn assert_library_agrees(edge: &Edge, questions: &[Question]) {
    let rules = load(edge.policies().path());
    for question in questions {
        let names = [Hostname::parse(&question.name).unwrap()];
        let subject = Subject { names: &names, client: [127, 0, 0, 1].into() };
        let verdict = decide(&rules, &subject, Timestamp::now());
        assert_eq!(matches!(verdict, Verdict::Block(_)), question.listed, "{}", question.name);
    }
}

fn load(policies: &Path) -> Ruleset {
    let mut files = PolicyFiles::new();
    for part in ["cases", "lists"] {
        for entry in fs::read_dir(policies.join(part)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{part}/{}", entry.file_name().to_str().unwrap());
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
    let (cases, found) = parse_cases(&files);
    assert!(!found.has_errors(), "{found}");
    Ruleset::compile(cases, &files).unwrap()
}

/// The command loads the whole set each time, so a sample of fifty it is.
#[track_caller]
fn assert_explain_agrees(edge: &Edge, questions: &[Question]) {
    let directory = edge.policies().path().to_str().unwrap();
    for question in questions.iter().step_by(REQUESTS / 50 + 1) {
        let output = interdict(["explain", &question.name, "--json", "--policies", directory]);
        assert_eq!(output.code, 0, "{output:?}");
        let answer: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(answer["verdict"] == "block", question.listed, "{}: {answer}", question.name);
    }
}
