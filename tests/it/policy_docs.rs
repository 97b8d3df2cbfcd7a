//! Every example in `docs/policies.md` is a policy that loads.

use std::fs;
use std::path::Path;

use interdict::policy::{Basis, CompileOptions, PolicyFiles, Ruleset, parse_cases};

/// The fenced blocks of one language, with the line each begins on.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let fence = format!("```{language}");
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (line, number) in text.lines().zip(1..) {
        if is_open && line == "```" {
            is_open = false;
        } else if is_open {
            let (_, block) = found.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        } else if line == fence {
            is_open = true;
            found.push((number, String::new()));
        }
    }
    assert!(!is_open, "a fence is not closed");
    found
}

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md")).unwrap()
}

/// The examples of the document as one policy set, with the lists and pages of `policies/` that they name.
fn example_set(text: &str) -> PolicyFiles {
    let mut files = crate::policy_cases::example_files();
    files.files.retain(|path, _| !path.starts_with("cases/"));
    for (line, block) in blocks(text, "toml") {
        if block.starts_with("id = ") || block.contains("\nid = ") {
            files.insert(format!("cases/line-{line:04}.toml"), block.into_bytes());
        }
    }
    files
}

#[test]
fn every_case_in_the_document_loads_without_a_warning() {
    let text = document();
    let files = example_set(&text);
    let (cases, found) = parse_cases(&files);
    let ours: Vec<String> =
        found.iter().filter(|one| one.file.starts_with("cases/")).map(ToString::to_string).collect();
    assert!(ours.is_empty() && !found.has_errors(), "{found}");
    assert_eq!(cases.len(), files.cases().count());
    Ruleset::compile_with(cases, &files, &CompileOptions::default())
        .unwrap_or_else(|found| panic!("{found}"));
}

#[test]
fn the_document_has_a_section_and_an_example_for_every_basis() {
    let text = document();
    let (cases, _) = parse_cases(&example_set(&text));
    for basis in Basis::ALL {
        let heading = format!("### `{}`\n", basis.as_str());
        assert!(text.contains(&heading), "no section {heading}");
        assert!(cases.iter().any(|case| case.basis == basis), "no example for {}", basis.as_str());
    }
}

#[test]
fn every_other_toml_block_of_the_document_is_toml() {
    for (line, block) in blocks(&document(), "toml") {
        if let Err(error) = block.parse::<toml::Table>() {
            panic!("docs/policies.md:{line}: {error}");
        }
    }
}
