//! `IdnaTestV2.txt`, the conformance vectors of UTS 46, as the `idna` package carries them in its own tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use interdict::hostname::{Hostname, MAX_LABEL_OCTETS, MAX_NAME_OCTETS};
use serde_json::Value;

/// One line: what is written, and what non-transitional `ToASCII` makes of it.
struct Vector {
    source: String,
    unicode: String,
    ascii: String,
    statuses: Vec<String>,
}

#[test]
fn every_unicode_vector_is_read_as_unicode_says() {
    let text = std::fs::read_to_string(vectors_file()).unwrap();
    let (mut taken, mut refused, mut stricter, mut newer) = (0, 0, 0, 0);
    for vector in text.lines().filter_map(vector) {
        let found = Hostname::parse(&vector.source);
        let context = format!("`{}` {:?}: {found:?}", vector.source.escape_debug(), vector.statuses);
        if !is_permitted(&vector) {
            assert!(found.is_err(), "{context}");
            refused += 1;
        } else if vector.unicode.contains(is_newer) {
            newer += 1;
        } else if is_host(without_root(&vector.ascii)) {
            assert_eq!(found.expect(&context).as_str(), without_root(&vector.ascii), "{context}");
            taken += 1;
        } else {
            assert!(found.is_err(), "{context}");
            stricter += 1;
        }
    }
    // Less than these, or more of the last, would mean that the file was not read as it is meant.
    let is_plausible = taken >= 650 && refused >= 5600 && stricter >= 1 && newer <= 30;
    assert!(
        is_plausible,
        "{taken} taken, {refused} refused, {stricter} refused by rules of ours, {newer} skipped"
    );
}

/// Whether a character was assigned after Unicode 16, the version of the vectors, which hold it for unassigned: CJK
/// Extension J of Unicode 17 and the Seal script of Unicode 18. Our tables may know it.
fn is_newer(character: char) -> bool {
    matches!(character, '\u{323b0}'..='\u{33479}' | '\u{3d000}'..='\u{3fc3f}')
}

/// Whether no status is left but those of rules that we set aside:
///
/// * `V2`, `V3`: hyphens may stand anywhere in a label, as in browsers (`CheckHyphens` is false).
/// * `U1`: the underscore is allowed beside letters, digits and hyphen; anything else still is an error.
/// * `V7`: an unassigned character, if it has been assigned since. Such a vector is left out.
/// * `A4_1`, `A4_2`: one dot at the end is the root and is taken off before lengths are checked.
fn is_permitted(vector: &Vector) -> bool {
    let name = without_root(&vector.ascii);
    vector.statuses.iter().all(|status| match status.as_str() {
        "V2" | "V3" => true,
        "V7" => vector.unicode.contains(is_newer),
        "U1" => name.bytes().all(is_allowed),
        "A4_1" | "A4_2" => fits(name),
        _ => false,
    })
}

/// Whether a result of `ToASCII` is a name by the rules that are ours: alphabet, lengths, and no number at the end.
fn is_host(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap();
    let is_decimal = last.bytes().all(|byte| byte.is_ascii_digit());
    let is_hexadecimal = last.starts_with("0x") && last[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
    name.bytes().all(is_allowed) && fits(name) && !is_decimal && !is_hexadecimal
}

fn fits(name: &str) -> bool {
    let label_fits = |label: &str| (1..=MAX_LABEL_OCTETS).contains(&label.len());
    name.len() <= MAX_NAME_OCTETS && name.split('.').all(label_fits)
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
}

fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Reads a line by the rules in the head of the file: an empty column repeats the one before it of its kind.
fn vector(line: &str) -> Option<Vector> {
    let line = line.split('#').next()?;
    let columns: Vec<&str> = line.split(';').map(str::trim).collect();
    let [source, unicode, unicode_statuses, ascii, ascii_statuses, ..] = columns[..] else { return None };
    let source = unescape(source);
    let unicode = if unicode.is_empty() { source.clone() } else { unescape(unicode) };
    let ascii = if ascii.is_empty() { unicode.clone() } else { unescape(ascii) };
    let statuses = if ascii_statuses.is_empty() { unicode_statuses } else { ascii_statuses };
    let statuses = statuses.trim_matches(['[', ']']).split(',').map(str::trim);
    let statuses = statuses.filter(|status| !status.is_empty()).map(str::to_owned).collect();
    Some(Vector { source, unicode, ascii, statuses })
}

/// Puts `\uXXXX` and `\x{XXXX}` into full, and `""`, which stands for nothing. A lone surrogate is no text, and what
/// it stands in is an error with or without it.
fn unescape(text: &str) -> String {
    if text == "\"\"" {
        return String::new();
    }
    let Some((before, rest)) = text.split_once('\\') else { return text.to_owned() };
    let (digits, after) = match rest.strip_prefix("x{") {
        Some(braced) => braced.split_once('}').unwrap(),
        None => rest.strip_prefix('u').unwrap().split_at(4),
    };
    let number = u32::from_str_radix(digits, 16).unwrap();
    let character = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    format!("{before}{character}{}", unescape(after))
}

/// Asks cargo where the sources of `idna` are. Only the packages for this machine are sure to be there.
fn vectors_file() -> PathBuf {
    let version = cargo(&["--version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let options = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&cargo(&options)).unwrap();
    let package =
        metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "idna").unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("tests").join("IdnaTestV2.txt")
}

fn cargo(arguments: &[&str]) -> String {
    let manifest_directory = env!("CARGO_MANIFEST_DIR");
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(manifest_directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
