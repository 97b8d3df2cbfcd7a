//! Any bytes as a case file and as the list it names: never a panic, and findings exactly when there is no case.
#![no_main]

use interdict::policy::{PolicyFiles, parse_cases};
use libfuzzer_sys::fuzz_target;

const NAMES_THE_LIST: &str = r#"
id = "fuzz"
customer = "c"
basis = "fraud"
decided = 2026-11-20T22:15:00Z
decided_by = ["j.doe"]
host_lists = ["lists/fuzz.txt"]
"#;

fuzz_target!(|bytes: &[u8]| {
    let mut as_case = PolicyFiles::new();
    as_case.insert("cases/fuzz.toml", bytes);
    as_case.insert("lists/fuzz.txt", b"a.example\n".as_slice());
    let (cases, found) = parse_cases(&as_case);
    assert_eq!(cases.is_empty(), found.has_errors());

    let mut as_list = PolicyFiles::new();
    as_list.insert("cases/fuzz.toml", NAMES_THE_LIST.as_bytes());
    as_list.insert("lists/fuzz.txt", bytes);
    let (cases, found) = parse_cases(&as_list);
    assert_eq!(cases.len(), 1);
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    for finding in found.iter() {
        assert!(usize::try_from(finding.line).is_ok_and(|line| (1..=lines).contains(&line)), "{finding}");
    }
});
