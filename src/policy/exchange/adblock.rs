//! Filter rules of browsers. Only `||name^` is about a host and all below it, whatever is asked of it, and nothing else.

use super::importer::{Taken, subtree};
use super::reason::{Omission, Reason};
use crate::policy::{Form, Pattern};

/// What makes a rule one about parts of a page, with or without names before it.
const COSMETIC: [&str; 8] = ["##", "#@#", "#?#", "#@?#", "#$#", "#@$#", "#%#", "$$"];

/// The rules of one file.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// How many `!#if` are open: what stands in one holds for some browsers only.
    conditions: u32,
}

impl Reader {
    pub(super) fn line(&mut self, text: &str, taken: &mut Taken) {
        let entry = text.trim();
        if let Some(directive) = entry.strip_prefix("!#") {
            self.directive(directive, entry, taken);
        } else if self.conditions > 0 && !is_comment(entry) {
            taken.skip(entry, Reason::Conditional, "");
        } else if !is_comment(entry) {
            rule(entry, taken);
        }
    }

    fn directive(&mut self, directive: &str, entry: &str, taken: &mut Taken) {
        let word = directive.split_ascii_whitespace().next().unwrap_or_default();
        match word {
            "if" => self.conditions = self.conditions.saturating_add(1),
            "endif" => self.conditions = self.conditions.saturating_sub(1),
            "include" => taken.skip(entry, Reason::Include, ""),
            // `!#else` stays within its condition; the rest is no rule.
            _ => {}
        }
    }
}

/// `! …`, `[Adblock Plus 2.0]`, and `# …` as some lists have it; `##.ad` is a rule.
fn is_comment(entry: &str) -> bool {
    let is_header = entry.starts_with('[') && entry.ends_with(']') && !entry.contains("##");
    entry.is_empty() || entry.starts_with('!') || is_header || entry == "#" || entry.starts_with("# ")
}

fn rule(entry: &str, taken: &mut Taken) {
    if COSMETIC.iter().any(|mark| entry.contains(mark)) {
        return taken.skip(entry, Reason::Cosmetic, "");
    }
    let (is_exception, rule) = match entry.strip_prefix("@@") {
        Some(rule) => (true, rule),
        None => (false, entry),
    };
    let pattern = match host_of(rule) {
        Ok(name) => taken.name(name, entry).map(subtree),
        Err(reason) => return taken.skip(entry, reason, ""),
    };
    match pattern {
        Some(pattern) if is_exception => taken.except(pattern, entry),
        Some(pattern) => taken.block(pattern, entry),
        None => {}
    }
}

/// The name of a rule that is about a whole host.
fn host_of(rule: &str) -> Result<&str, Reason> {
    if rule.starts_with('/') && (rule.ends_with('/') || rule.contains("/$")) && rule.len() > 1 {
        return Err(Reason::Regex);
    }
    let (rule, options) = rule.split_once('$').map_or((rule, ""), |(rule, options)| (rule, options));
    // `all` names every kind of request there is, so it leaves none out.
    if !matches!(options, "" | "all") {
        return Err(Reason::Options);
    }
    let Some(rest) = rule.strip_prefix("||") else {
        let is_address = rule.starts_with('|') || rule.contains("://");
        return Err(if is_address { Reason::Scheme } else { Reason::Unanchored });
    };
    let end = rest.find(['^', '/', '*', '?', '|']).unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match after {
        "^" => Ok(name),
        "" => Err(Reason::Unanchored),
        _ if after.starts_with('*') => Err(Reason::Wildcard),
        // After the `^` or in its place there is more of an address.
        _ => Err(Reason::Path),
    }
}

pub(super) fn write(pattern: &Pattern, into: &mut String) -> Result<(), Omission> {
    match pattern.form {
        Form::Below => Err(Omission::Below),
        Form::Exact if pattern.name.ip().is_none() => Err(Omission::Exact),
        Form::Exact | Form::Subtree => {
            into.extend(["||", pattern.name.as_str(), "^\n"]);
            Ok(())
        }
    }
}
