//! Table-driven cases as files: input files, a line of dashes, what is expected.
//!
//! ```text
//! === a title, as a sentence
//! ==> cases/a.toml
//! id = "…"
//! ==> lists/a.txt (crlf, bom, escaped, unended)
//! a\xFF.example
//! ----
//! cases/a.toml:1:1: error: …
//! ```
//!
//! `crlf` and `bom` write the file as some editors do, `escaped` turns `\xNN` into bytes, `unended` leaves the
//! last line without its end. With `INTERDICT_BLESS=1` in the environment the expected parts are rewritten
//! with what came out; read the difference before you commit it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One set of input files and what is expected of it.
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    input: String,
    expected: String,
}

/// Runs every row of every file in `tests/cases/<topic>` and compares what `run` prints.
pub(crate) fn check_all(topic: &str, run: impl Fn(&Row) -> String) {
    let bless = std::env::var_os("INTERDICT_BLESS").is_some();
    let mut failures = String::new();
    let mut rows = 0;
    for path in &paths(topic) {
        let text = fs::read_to_string(path).unwrap();
        let mut blessed = String::new();
        for row in parse(&text) {
            rows += 1;
            let actual = run(&row);
            let expected = row.expected.trim_end();
            if actual.trim_end() != expected {
                let name = path.file_name().unwrap().to_string_lossy();
                write!(failures, "\n{name}: {}\n-- expected\n{expected}\n-- actual\n{actual}\n", row.title)
                    .unwrap();
            }
            write!(blessed, "=== {}\n{}----\n{}\n\n", row.title, row.input, actual.trim_end()).unwrap();
        }
        if bless {
            fs::write(path, format!("{}\n", blessed.trim_end())).unwrap();
        }
    }
    assert!(rows > 0, "no rows in tests/cases/{topic}");
    assert!(bless || failures.is_empty(), "{failures}");
}

/// Every row of every file in `tests/cases/<topic>`, for a run that takes all of them at once before any is compared.
pub(crate) fn rows(topic: &str) -> Vec<Row> {
    let texts = paths(topic).into_iter().map(|path| fs::read_to_string(path).unwrap());
    texts.flat_map(|text| parse(&text)).collect()
}

fn paths(topic: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(topic);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    paths
}

fn parse(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for part in text.split("=== ").skip(1) {
        let (title, rest) = part.split_once('\n').unwrap();
        let (input, expected) = rest.split_once("----\n").unwrap_or_else(|| panic!("no dashes: {title}"));
        let files = input.split("==> ").skip(1).map(file).collect();
        rows.push(Row {
            title: title.to_owned(),
            files,
            input: input.to_owned(),
            expected: expected.to_owned(),
        });
    }
    rows
}

fn file(part: &str) -> (String, Vec<u8>) {
    let (head, content) = part.split_once('\n').unwrap();
    let (path, options) = head.split_once(" (").unwrap_or((head, ""));
    let has = |option: &str| options.contains(option);
    let mut content = content.to_owned();
    if has("unended") {
        content = content.trim_end_matches('\n').to_owned();
    }
    if has("crlf") {
        content = content.replace('\n', "\r\n");
    }
    let mut bytes = if has("escaped") { unescape(&content) } else { content.into_bytes() };
    if has("bom") {
        bytes.splice(0..0, *b"\xEF\xBB\xBF");
    }
    (path.to_owned(), bytes)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
