//! Any history of policy sets, compiled with what is left of the ones before, judges as a loop over all patterns does.
//!
//! Each set is a handful of cases whose hosts are drawn from the input; between sets, layers are folded, merged, written
//! and read back.

#![no_main]

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;

use interdict::decide::{Subject, Verdict, decide};
use interdict::hostname::Hostname;
use interdict::policy::{
    Book, CompileOptions, Compiling, MemorySpool, MergedNames, Pattern, PolicyFiles, Ruleset, parse_set,
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const LABELS: [&str; 4] = ["a", "b", "example", "xn--bcher-kva"];
const CASES: usize = 4;

fn name(byte: u8) -> String {
    let labels = (0..1 + usize::from(byte >> 6)).map(|at| LABELS[usize::from(byte >> (2 * at)) % LABELS.len()]);
    labels.collect::<Vec<_>>().join(".")
}

fn pattern(form: u8, byte: u8) -> Pattern {
    let form = ["", ".", "*."][usize::from(form) % 3];
    Pattern::parse(&format!("{form}{}", name(byte))).expect("these are patterns")
}

fn file(id: usize, patterns: &[Pattern]) -> Vec<u8> {
    let hosts: Vec<String> = patterns.iter().map(|one| format!("\"{one}\"")).collect();
    let text = format!(
        "id = \"c{id}\"\ncustomer = \"c\"\nbasis = \"fraud\"\ndecided = 2026-11-20T22:15:00Z\n\
         decided_by = [\"j\"]\nhosts = [{}]\n",
        hosts.join(", ")
    );
    text.into_bytes()
}

fn agree(rules: &Ruleset, cases: &[Vec<Pattern>; CASES]) {
    for byte in 0..=u8::MAX {
        let names = [Hostname::parse(&name(byte)).expect("these are names")];
        let subject = Subject { names: &names, client: IpAddr::from([192, 0, 2, 1]) };
        let blocked = matches!(decide(rules, &subject, Timestamp::UNIX_EPOCH), Verdict::Block(_));
        let listed = cases.iter().flatten().any(|one| one.covers(&names[0]));
        assert_eq!(blocked, listed, "{}", names[0]);
    }
}

fuzz_target!(|input: &[u8]| {
    let mut cases: [Vec<Pattern>; CASES] = Default::default();
    let (mut book, mut before) = (Book::default(), None::<Ruleset>);
    for step in input.chunks(8) {
        let [head, drawn @ ..] = step else { return };
        cases[usize::from(*head) % CASES] =
            drawn.chunks_exact(2).map(|pair| pattern(pair[0], pair[1])).collect();
        let mut files = PolicyFiles::new();
        for (id, patterns) in cases.iter().enumerate().filter(|(_, patterns)| !patterns.is_empty()) {
            files.insert(format!("cases/{id}.toml"), file(id, patterns));
        }
        let set = parse_set(&files, &files, &book, &mut MemorySpool);
        assert!(!set.found.has_errors(), "{}", set.found);
        let options =
            CompileOptions { image_from_names: u64::from(*head >> 4), ..CompileOptions::default() };
        let with = Compiling { options: &options, before: before.as_ref(), book: &book, spool: &mut MemorySpool };
        let Ok(mut rules) = Ruleset::compile_set(&set.cases, &files, with) else { panic!("a sound set") };
        agree(&rules, &cases);
        if let Some(merging) = rules.merging() {
            let merged = merging.merge(&AtomicBool::new(false)).expect("a few names").expect("it was not cancelled");
            let mut bytes = Vec::new();
            let merged = match merged.write(&mut bytes).expect("memory takes all") {
                true => MergedNames::read(&bytes.as_slice(), bytes.len() as u64).expect("as written"),
                false => merged,
            };
            rules = rules.with_merged(&merged).expect("of the same set");
            agree(&rules, &cases);
        }
        book = Book::of(&set.cases, &rules);
        before = Some(rules);
    }
});
