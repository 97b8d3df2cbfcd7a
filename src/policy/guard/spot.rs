//! Where in the files a case that breaks a rail stands.

use super::{Rail, Violation};
use crate::diagnostic::Diagnostic;
use crate::policy::{Contents, PolicyFiles};

/// The violation as an error of the set, at the line that says it: in the file of its case, or in a list. The search
/// is for a message only; what cannot be found is told by its case alone.
#[must_use]
pub fn violation_spot(violation: &Violation, files: &PolicyFiles, contents: &dyn Contents) -> Diagnostic {
    let Violation { rail, case, written, message, hint } = violation;
    let quoted = [format!("\"{written}\""), format!("'{written}'")];
    let mut cases = files.cases().filter_map(|(path, file)| Some((path, contents.content(path, file).ok()?)));
    let of_case = cases.find(|(_, content)| is_of(content, case.as_str()));
    let in_case = of_case.as_ref().and_then(|(path, content)| {
        let place = quoted.iter().find_map(|text| place_of(content, text))?;
        Some((*path, place.0, place.1 + 1))
    });
    let in_list = || {
        files.under("lists/").find_map(|(path, file)| {
            let content = contents.content(path, file).ok()?;
            let lines = content.split(|byte| *byte == b'\n').zip(1_u32..);
            let mut lines = lines.filter(|(line, _)| first_word(line) == written.as_bytes());
            lines.next().map(|(_, line)| (path, line, 1))
        })
    };
    let whole = of_case.as_ref().map_or("cases", |(path, _)| *path);
    let (file, line, column) = in_case.or_else(in_list).unwrap_or((whole, 1, 1));
    let word = match rail {
        Rail::Protect | Rail::PublicSuffix => format!("{message} (guard rail `{rail}`)"),
        _ => message.clone(),
    };
    Diagnostic::error(file, word).at(line, column).with_text(written).with_hint(hint)
}

/// Whether a case file is the one of this id.
fn is_of(content: &[u8], id: &str) -> bool {
    let text = String::from_utf8_lossy(content);
    text.lines().any(|line| {
        let value = line.trim_start().strip_prefix("id").map(str::trim_start);
        let value = value.and_then(|rest| rest.strip_prefix('=')).map(str::trim_start);
        value.is_some_and(|value| {
            let quoted = value.split(['"', '\'']).nth(1);
            value.starts_with(['"', '\'']) && quoted == Some(id)
        })
    })
}

/// The line and column of a text, both from 1.
fn place_of(content: &[u8], text: &str) -> Option<(u32, u32)> {
    let content = String::from_utf8_lossy(content);
    let (before, _) = content.split_once(text)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

fn first_word(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    line.split(blank).find(|word| !word.is_empty()).unwrap_or_default()
}
