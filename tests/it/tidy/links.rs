//! What the documents point at is there.

use std::path::Path;

use super::{Source, assert_none, root, sources};

/// The targets of `[text](target)` in a document, without their anchors.
fn targets(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    after
        .filter_map(|rest| rest.split(')').next())
        .map(|link| link.split('#').next().unwrap_or_default())
        .collect()
}

fn documents() -> Vec<Source> {
    sources(&["README.md", "CHANGELOG.md", "docs"], &["md"])
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut findings = Vec::new();
    for document in documents() {
        let beside = root().join(&document.path);
        let beside = beside.parent().unwrap_or(Path::new("."));
        for target in targets(&document.text) {
            if !target.is_empty() && !target.contains("://") && !beside.join(target).exists() {
                findings.push(format!("{}: {target}", document.path));
            }
        }
    }
    assert_none("links that lead nowhere", &findings);
}

#[test]
fn every_test_the_readme_names_is_there() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let tests: String =
        sources(&["tests/it", "src"], &["rs"]).into_iter().map(|source| source.text).collect();
    let quoted = readme.split('`').skip(1).step_by(2);
    // A test is named as `topic::name`; anything else in backticks is not ours to check.
    let named = quoted.filter_map(|code| code.split_once("::")).filter(|(topic, name)| {
        let word = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        word(topic) && word(name) && name.matches('_').count() >= 3
    });
    let missing: Vec<String> = named
        .filter(|(_, name)| !tests.contains(&format!("fn {name}(")))
        .map(|(topic, name)| format!("{topic}::{name}"))
        .collect();
    assert_none("tests that README.md names and nobody wrote", &missing);
}

#[test]
fn every_example_policy_loads() {
    let output =
        crate::harness::tools::interdict(["check", "--policies", root().join("policies").to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}
