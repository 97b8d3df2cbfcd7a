//! What is wrong with a case that is not written yet, told by the flags it was made from: there is no file to look into.

use crate::diagnostic::{Diagnostic, Diagnostics};

/// The findings, a line each and a hint below it. `toml` is what the file `name` would say; findings in other files
/// keep their place.
pub(super) fn told(found: &Diagnostics, name: &str, toml: &str) -> String {
    let tell = |one: &Diagnostic| match flag(one, toml).filter(|_| one.file == name) {
        None => one.to_string(),
        Some(flag) if missing(one).is_some() => format!("{flag}: {}: it is missing", one.severity.as_str()),
        Some(flag) => {
            let hint = one.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            format!("{flag}: {}: {}{hint}", one.severity.as_str(), one.message)
        }
    };
    found.iter().map(tell).collect::<Vec<_>>().join("\n")
}

/// The flag whose key a finding is about.
fn flag(found: &Diagnostic, toml: &str) -> Option<String> {
    if found.message.contains("needs a table `[legal]`") {
        return Some("--authority, --reference".to_owned());
    }
    if found.message.starts_with("the case concerns nothing") {
        return Some("--host, --host-list, --origin".to_owned());
    }
    // A long list has its entries on lines of their own, below its key.
    let through = usize::try_from(found.line).ok()?;
    let keys = toml.lines().take(through).filter(|line| !line.starts_with(' '));
    let at = || keys.filter_map(|line| line.split_once(" = ")).last().map(|(key, _)| key);
    let key = missing(found).or_else(at)?;
    // What may be given several times is a list of its own name in the file.
    let one = match key {
        "hosts" | "host_lists" | "origins" | "edges" => key.trim_end_matches('s'),
        key => key,
    };
    Some(format!("--{}", one.replace('_', "-")))
}

/// The key that is missing, when that is the matter.
fn missing(found: &Diagnostic) -> Option<&str> {
    found.message.strip_prefix("missing key `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_flag_and_one_in_another_file_its_place() {
        let toml = "id = \"A\"\nhost_lists = [\n    \"x\",\n]\n\n[legal]\nauthority = \"Court\"\n";
        let found = [
            Diagnostic::error("cases/A.toml", "no path of a list").at(3, 5).with_hint("write one"),
            Diagnostic::error("cases/A.toml", "missing key `reference` in `[legal]`").at(6, 1),
            Diagnostic::error("lists/x.txt", "no host pattern").at(3, 1),
        ];
        let mut all = Diagnostics::new();
        found.into_iter().for_each(|one| all.push(one));
        assert_eq!(
            told(&all, "cases/A.toml", toml),
            "--host-list: error: no path of a list\n  hint: write one\n--reference: error: it is missing\n\
             lists/x.txt:3:1: error: no host pattern"
        );
    }
}
