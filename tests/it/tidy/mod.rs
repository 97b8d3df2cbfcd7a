//! The shape of the house: what a reader may rely on without looking.

mod floors;
mod licences;
mod links;
mod reasons;
mod shape;

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of this repository.
pub struct Source {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Where the repository is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with one of these endings under one of these directories or files.
pub fn sources(places: &[&str], endings: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for place in places {
        collect(&root().join(place), &mut paths);
    }
    paths.sort();
    let ending =
        |path: &PathBuf| path.extension().and_then(|e| e.to_str()).is_some_and(|e| endings.contains(&e));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Source { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text }
    };
    paths.into_iter().filter(ending).map(read).collect()
}

/// The Rust files of the product, its tests, benches, examples and fuzz targets.
pub fn rust() -> Vec<Source> {
    sources(&["src", "tests", "benches", "examples", "fuzz/fuzz_targets"], &["rs"])
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_file() {
        into.push(path.to_owned());
    } else if let Ok(entries) = fs::read_dir(path) {
        entries.for_each(|entry| collect(&entry.unwrap().path(), into));
    }
}

/// Fails with one line a finding.
#[track_caller]
pub fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}
