//! Everything we link may be linked: the list of `deny.toml`, held here too, since `cargo deny` is not everywhere.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{assert_none, root};

/// What `deny.toml` allows everyone, and what it allows one crate beyond that.
struct Allowed {
    everyone: Vec<String>,
    exceptions: BTreeMap<String, Vec<String>>,
}

impl Allowed {
    fn read() -> Self {
        let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
        let file: toml::Value = toml::from_str(&text).unwrap();
        let names = |list: &toml::Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let licences = &file["licenses"];
        let exception =
            |entry: &toml::Value| (entry["crate"].as_str().unwrap().to_owned(), names(&entry["allow"]));
        let exceptions = licences["exceptions"].as_array().unwrap().iter().map(exception).collect();
        Self { everyone: names(&licences["allow"]), exceptions }
    }

    fn to(&self, name: &str) -> Vec<String> {
        let more = self.exceptions.get(name).into_iter().flatten();
        self.everyone.iter().chain(more).cloned().collect()
    }
}

/// Whether an SPDX expression can be met with allowed licences. `AND` binds closer than `OR`; the old `/` is an `OR`.
fn satisfiable(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = alternatives(&words, &mut at, allowed);
    met && at == words.len()
}

fn alternatives(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = demands(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= demands(words, at, allowed);
    }
    met
}

fn demands(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = licence(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= licence(words, at, allowed);
    }
    met
}

fn licence(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = alternatives(words, at, allowed);
        *at += 1;
        return met;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Name and licence of every package in the tree on this platform, ours left out.
fn packages() -> BTreeMap<String, Option<String>> {
    let version = output("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Offline: all that was built is here, and packages for other platforms are none of ours.
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&output(env!("CARGO"), &arguments)).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages =
        metadata["packages"].as_array().unwrap().iter().filter(|package| package["name"] != "interdict");
    packages.map(|package| (text(&package["name"]).unwrap(), text(&package["license"]))).collect()
}

#[test]
fn every_dependency_may_be_linked() {
    let allowed = Allowed::read();
    let refused = packages().into_iter().filter_map(|(name, licence)| match licence {
        Some(expression) if satisfiable(&expression, &allowed.to(&name)) => None,
        Some(expression) => Some(format!("{name}: {expression}")),
        None => Some(format!("{name}: says no licence")),
    });
    assert_none("licences that deny.toml does not allow", &refused.collect::<Vec<_>>());
}

#[test]
fn every_exception_is_still_needed() {
    let packages = packages();
    let Allowed { everyone, exceptions } = Allowed::read();
    let idle = exceptions.into_keys().filter(|name| {
        packages
            .get(name)
            .and_then(Option::as_ref)
            .is_none_or(|expression| satisfiable(expression, &everyone))
    });
    assert_none("exceptions in deny.toml that nobody needs", &idle.collect::<Vec<_>>());
}

#[test]
fn the_reader_of_licences_knows_its_grammar() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    for met in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "MIT AND ISC",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(satisfiable(met, &allowed), "{met}");
    }
    for unmet in
        ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0", "", "MIT OR (GPL-3.0"]
    {
        assert!(!satisfiable(unmet, &allowed), "{unmet}");
    }
}
