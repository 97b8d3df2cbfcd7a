//! Damage the example files in thousands of ways: never a panic, and every finding points into a file.

use interdict::config::Config;
use interdict::diagnostic::{Diagnostic, Diagnostics};
use interdict::policy::{PolicyFiles, parse_cases};

use crate::policy_cases::example_files;

/// A generator of numbers that are the same on every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides.max(1)).unwrap()).unwrap()
    }
}

fn damage(content: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = content.to_vec();
    if bytes.is_empty() {
        return vec![0xFF];
    }
    let at = dice.roll(bytes.len());
    match dice.roll(8) {
        0 => bytes[at] ^= 1 << dice.roll(8),
        1 => bytes.truncate(at),
        2 => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
        3 => drop(bytes.remove(at)),
        4 => bytes.insert(at, b"\"'[]{}=#\n\r\\\0,."[dice.roll(14)]),
        5 => {
            let line =
                |from: usize| bytes[from..].iter().position(|byte| *byte == b'\n').map(|end| from + end + 1);
            let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = line(at).unwrap_or(bytes.len());
            bytes.drain(start..end);
        }
        6 => {
            let end = (at + dice.roll(80)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = dice.roll(bytes.len());
            bytes.splice(to..to, copy);
        }
        _ => bytes.splice(at..at, "\u{202e}\u{0}ü\u{1F512}".bytes()).for_each(drop),
    }
    bytes
}

fn assert_points_into(diagnostic: &Diagnostic, content: &[u8]) {
    let lines = 1 + content.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..=lines).contains(&usize::try_from(diagnostic.line).unwrap()), "{diagnostic}");
    let line =
        content.split(|byte| *byte == b'\n').nth(usize::try_from(diagnostic.line - 1).unwrap()).unwrap();
    let width = String::from_utf8_lossy(line).chars().count();
    assert!((1..=width + 1).contains(&usize::try_from(diagnostic.column).unwrap()), "{diagnostic}");
    assert!(!diagnostic.message.is_empty());
    assert!(!diagnostic.to_string().contains(['\u{202e}', '\0', '\r']), "{diagnostic:?}");
}

fn assert_found_in(found: &Diagnostics, content_of: impl Fn(&str) -> Vec<u8>) {
    for diagnostic in found.iter() {
        assert_points_into(diagnostic, &content_of(&diagnostic.file));
    }
}

#[test]
fn damaged_policy_files_never_panic_and_every_finding_points_into_a_file() {
    let examples = example_files();
    let paths: Vec<_> = examples.files.keys().filter(|path| !path.starts_with("pages/")).cloned().collect();
    let mut dice = Dice(2026);
    let mut refused = 0;
    for _ in 0..10_000 {
        let mut files = examples.clone();
        for _ in 0..=dice.roll(3) {
            let path = &paths[dice.roll(paths.len())];
            let damaged = damage(files.get(path).unwrap(), &mut dice);
            files.insert(path.as_str(), damaged);
        }
        if dice.roll(20) == 0 {
            files.files.remove(&paths[dice.roll(paths.len())]);
        }
        let (_, found) = parse_cases(&files);
        assert_found_in(&found, |path| files.get(path).unwrap_or_else(|| panic!("no file {path}")).to_vec());
        refused += usize::from(found.has_errors());
    }
    assert!(
        (2_500..10_000).contains(&refused),
        "damage is mostly noticed, and comments can take some: {refused}"
    );
}

#[test]
fn a_damaged_configuration_never_panics_and_every_finding_points_into_it() {
    let example = include_str!("../cases/config/full.toml");
    let mut dice = Dice(451);
    for _ in 0..4000 {
        let damaged = damage(example.as_bytes(), &mut dice);
        let Ok(text) = String::from_utf8(damaged) else { continue };
        if let Err(found) = Config::parse(&text, "edge.toml", std::path::Path::new("/etc/interdict")) {
            assert!(found.has_errors());
            assert_found_in(&found, |_| text.clone().into_bytes());
        }
    }
}

#[test]
fn hostile_sizes_are_answered_in_bounded_time() {
    let mut files = PolicyFiles::new();
    files.insert("cases/brackets.toml", "[".repeat(1_000_000).into_bytes());
    files.insert("cases/deep.toml", format!("a = {}", "[".repeat(500_000)).into_bytes());
    files.insert("cases/dots.toml", format!("{}a = 1", "a.".repeat(400_000)).into_bytes());
    files.insert(
        "cases/keys.toml",
        (0..100_000).map(|n| format!("k{n}=1\n")).collect::<String>().into_bytes(),
    );
    files.insert("cases/wide.toml", format!("hosts = [{}]", "\"\",".repeat(300_000)).into_bytes());
    files.insert("cases/key.toml", format!("{} = 1", "k".repeat(1_000_000)).into_bytes());
    let (cases, found) = parse_cases(&files);
    assert!(cases.is_empty());
    for path in files.files.keys() {
        assert!(found.errors().any(|error| &error.file == path), "{path}");
    }
}
