//! Sizes, headers, names and words of the source.

use super::{Source, assert_none, rust, sources};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;
const NAMELESS: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

/// Words of work left undone, spelled apart so that this file does not find itself.
const UNDONE: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
];

/// All texts a person reads or writes here.
fn texts() -> Vec<Source> {
    let places = [
        "src",
        "tests",
        "benches",
        "examples",
        "docs",
        "policies",
        "fuzz/fuzz_targets",
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
    ];
    sources(&places, &["rs", "md", "toml", "txt", "html", "sh"])
}

#[test]
fn every_rust_file_says_first_what_it_is_for() {
    let bare = rust().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.path);
    assert_none("files that do not start with `//! `", &bare.collect::<Vec<_>>());
}

#[test]
fn no_file_is_longer_than_the_cap() {
    let mut findings = Vec::new();
    for source in rust() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            findings.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert_none("files over 400 lines", &findings);
}

/// Functions of a file with their lines, by indentation: rustfmt closes a function where it opened it.
fn functions(source: &Source) -> Vec<(usize, usize, String)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let head = text.split('(').next().unwrap_or_default();
        if !head.split(' ').any(|word| word == "fn") || text.starts_with("//") || text.ends_with(';') {
            continue;
        }
        let closes = |line: &&str| {
            line.len() - line.trim_start().len() == indent && line.trim_start().starts_with('}')
        };
        if line.trim_end().ends_with('}') {
            continue;
        }
        if let Some(length) = lines[start + 1..].iter().position(closes) {
            found.push((start + 1, length + 2, head.to_owned()));
        }
    }
    found
}

#[test]
fn no_function_is_longer_than_the_cap() {
    let mut findings = Vec::new();
    for source in rust() {
        for (line, length, head) in functions(&source) {
            if length > FUNCTION_LINES {
                findings.push(format!("{}:{line}: `{head}` has {length} lines", source.path));
            }
        }
    }
    assert_none("functions over 70 lines", &findings);
}

#[test]
fn the_reader_of_functions_measures_them() {
    let text = "fn a() {\n    1;\n}\n\nimpl X {\n    pub const fn b(\n        x: u8,\n    ) -> u8 {\n        x\n    }\n}\n";
    let source = Source { path: String::new(), text: text.to_owned() };
    let lengths: Vec<(usize, usize)> =
        functions(&source).into_iter().map(|(line, length, _)| (line, length)).collect();
    assert_eq!(lengths, [(1, 3), (6, 5)]);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let nameless = |source: &Source| source.path.split(['/', '.']).any(|part| NAMELESS.contains(&part));
    let found: Vec<String> = rust().into_iter().filter(nameless).map(|source| source.path).collect();
    assert_none("modules with names that say nothing", &found);
}

#[test]
fn nothing_is_left_undone() {
    let mut findings = Vec::new();
    for source in texts() {
        for (index, line) in source.text.lines().enumerate() {
            if UNDONE.iter().any(|word| line.contains(word)) {
                findings.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert_none("work left undone", &findings);
}

#[test]
fn no_line_ends_in_a_blank_and_every_file_ends_in_a_line() {
    let mut findings = Vec::new();
    for source in texts() {
        for (index, line) in source.text.split('\n').enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(format!("{}:{}", source.path, index + 1));
            }
        }
        if !source.text.ends_with('\n') {
            findings.push(format!("{}: no line feed at the end", source.path));
        }
    }
    assert_none("stray blanks", &findings);
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = std::fs::read_to_string(super::root().join("Cargo.toml")).unwrap();
    let mut findings = Vec::new();
    let (mut in_dependencies, mut explained) = (false, false);
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && !line.is_empty() && !line.starts_with('#') && !explained {
            findings.push(format!("Cargo.toml:{}: {line}", index + 1));
        }
        explained = line.starts_with('#');
    }
    assert_none("dependencies without a reason", &findings);
}
