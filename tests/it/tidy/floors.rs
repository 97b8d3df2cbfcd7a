//! A module imports only what stands below it, and the pure ones import no machinery.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, assert_none, sources};

/// The floors from top to bottom; modules on one floor may not import each other unless [`SAME_FLOOR`] says so.
const FLOORS: &[&[&str]] = &[
    &["cli", "main", "embed"],
    &["load"],
    &["server"],
    &["config"],
    &["listen"],
    &["status"],
    &["reload"],
    &["gate"],
    &["forward"],
    &["act"],
    &["audit"],
    &["decide"],
    &["identify", "policy"],
    &[
        "background",
        "hostname",
        "limits",
        "clock",
        "metrics",
        "diagnostic",
        "document",
        "network",
        "pulse",
        "rate",
        "traffic",
    ],
];

/// Imports between neighbours on one floor; they must not form a cycle.
const SAME_FLOOR: &[(&str, &str)] = &[
    ("document", "diagnostic"),
    ("background", "limits"),
    ("background", "clock"),
    ("metrics", "limits"),
    ("metrics", "clock"),
    ("hostname", "limits"),
    ("traffic", "hostname"),
    ("traffic", "limits"),
    ("network", "limits"),
    ("rate", "limits"),
    ("rate", "clock"),
    ("rate", "network"),
    ("document", "limits"),
    ("diagnostic", "limits"),
];

/// Words that only some modules may use: the words, and where they are at home.
const MACHINERY: &[(&[&str], &[&str])] =
    &[(&["pingora", "pingora_core", "pingora_proxy", "pingora_http"], &["listen", "server", "embed"])];

/// Modules without I/O, and the words they do without.
const PURE: &[&str] =
    &["identify", "decide", "policy", "hostname", "network", "diagnostic", "document", "limits", "traffic"];
const IMPURE_WORDS: &[&str] = &[
    "tokio",
    "pingora",
    "std::fs",
    "std::net::TcpStream",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "std::env",
    "std::process",
];

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("the module `{module}` has no floor: give it one in FLOORS"))
}

/// The module a file belongs to: the first name after `src/`.
fn module_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?.split('/').next()?;
    Some(name.strip_suffix(".rs").unwrap_or(name)).filter(|name| *name != "lib")
}

/// The code of a file: no comments, no texts, and nothing from its module of tests on.
fn code(source: &Source) -> Vec<(usize, String)> {
    if source.path.ends_with("tests.rs") || source.path.contains("/tests/") {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    let code = lines[..tests.unwrap_or(lines.len())].iter().map(|line| {
        // Names in texts, such as those of a log filter, are no imports.
        let outside_texts: String = line.split('"').step_by(2).collect();
        outside_texts.split("//").next().unwrap_or_default().to_owned()
    });
    (1..).zip(code).collect()
}

/// The crate's own modules that a line of code names: `crate::x` and `crate::{x, y}`.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').map(top_level_names);
        found.extend(group.unwrap_or_else(|| vec![rest.to_owned()]).iter().map(|text| first_name(text)));
    }
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

/// Splits `a::{b, c}, d}` at the commas that are not inside braces.
fn top_level_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ => {}
        }
        names.last_mut().unwrap().push(character);
    }
    names
}

fn first_name(text: &str) -> String {
    text.trim_start_matches([',', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// `use crate::{` over several lines becomes one line, so that [`imports`] sees the group whole.
fn joined(lines: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in lines {
        if open {
            joined.last_mut().unwrap().1.push_str(&line);
        } else {
            joined.push((number, line));
        }
        open = joined
            .last()
            .is_some_and(|(_, text)| text.trim_start().starts_with("use ") || text.contains(" use "))
            && !joined.last().unwrap().1.contains(';');
    }
    joined
}

#[test]
fn a_module_imports_only_what_stands_below_it() {
    let mut findings = Vec::new();
    for source in sources(&["src"], &["rs"]) {
        let Some(module) = module_of(&source.path) else { continue };
        for (number, line) in joined(code(&source)) {
            for imported in imports(&line).iter().filter(|imported| *imported != module) {
                let below = floor(imported) > floor(module);
                if !below && !SAME_FLOOR.contains(&(module, imported)) {
                    findings.push(format!("{}:{number}: {module} imports {imported}", source.path));
                }
            }
        }
    }
    assert_none("imports that lead up or sideways", &findings);
}

#[test]
fn no_imports_go_round_in_a_circle() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources(&["src"], &["rs"]) {
        let Some(module) = module_of(&source.path) else { continue };
        let imported = joined(code(&source)).into_iter().flat_map(|(_, line)| imports(&line));
        edges.entry(module.to_owned()).or_default().extend(imported.filter(|name| name != module));
    }
    // Takes away modules that import nothing more, until none is left or a circle remains.
    while let Some(leaf) = edges.iter().find(|(_, to)| to.is_empty()).map(|(name, _)| name.clone()) {
        edges.remove(&leaf);
        edges.values_mut().for_each(|to| {
            to.remove(&leaf);
        });
    }
    assert!(edges.is_empty(), "in a circle: {edges:?}");
}

#[test]
fn every_module_in_the_map_is_there_and_has_a_floor() {
    let modules: BTreeSet<String> = sources(&["src"], &["rs"])
        .iter()
        .filter_map(|source| module_of(&source.path).map(str::to_owned))
        .collect();
    let floors: BTreeSet<String> =
        FLOORS.iter().flat_map(|floor| floor.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(modules, floors);
}

fn names_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
}

#[test]
fn pingora_is_known_in_one_place_only() {
    let mut findings = Vec::new();
    for source in sources(&["src"], &["rs"]) {
        let module = module_of(&source.path).unwrap_or("lib");
        for (words, homes) in MACHINERY.iter().filter(|(_, homes)| !homes.contains(&module)) {
            let lines =
                code(&source).into_iter().filter(|(_, line)| words.iter().any(|word| names_word(line, word)));
            findings.extend(lines.map(|(number, line)| {
                format!("{}:{number}: {} (at home in {homes:?})", source.path, line.trim())
            }));
        }
    }
    assert_none("machinery outside its home", &findings);
}

#[test]
fn the_pure_modules_do_no_i_o_and_read_no_clock() {
    let mut findings = Vec::new();
    for source in sources(&["src"], &["rs"]) {
        if !module_of(&source.path).is_some_and(|module| PURE.contains(&module)) {
            continue;
        }
        let lines = code(&source)
            .into_iter()
            .filter(|(_, line)| IMPURE_WORDS.iter().any(|word| names_word(line, word)));
        findings.extend(lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())));
    }
    assert_none("I/O or a clock in a pure module", &findings);
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    assert_eq!(imports("use crate::audit::Receipt;"), ["audit"]);
    assert_eq!(imports("use crate::{audit::{A, B}, clock::Clock, limits};"), ["audit", "clock", "limits"]);
    assert_eq!(imports("let x = crate::limits::NAME + crate::clock::y();"), ["limits", "clock"]);
    assert_eq!(imports("use crate::Thing;"), [""; 0]);
    let lines =
        vec![(1, "use crate::{"), (2, "    audit::A,"), (3, "    clock,"), (4, "};"), (5, "fn f() {}")];
    let lines = lines.into_iter().map(|(number, line)| (number, line.to_owned())).collect();
    assert_eq!(joined(lines).len(), 2);
}
