//! Filter rules of browsers. Only `||name^` is about a host and all below it, whatever is asked of it, and nothing else.

use super::importer::{Taken, subtree};
use super::reason::{Omission, Reason};
use crate::hostname::Hostname;
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
    if is_regex(rule) {
        return taken.skip(entry, if is_exception { Reason::PartException } else { Reason::Regex }, "");
    }
    let (address, options) = rule.split_once('$').unwrap_or((rule, ""));
    let mut options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    let with_all = options.len();
    options.retain(|option| *option != "badfilter");
    let switches_off = options.len() < with_all;
    let pattern = if is_exception { passed(address, &options) } else { blocked(address, &options) };
    match pattern {
        Err(reason) if switches_off => taken.skip(entry, Reason::SwitchedOff, reason.meaning()),
        Err(reason) => taken.skip(entry, reason, ""),
        Ok((form, name)) => {
            let Some(name) = taken.name(name, entry) else { return };
            let Some(pattern) = of_form(form, name) else {
                return taken.skip(entry, Reason::AddressAsName, "");
            };
            if switches_off {
                taken.switch_off(pattern, is_exception, entry);
            } else if is_exception {
                taken.except(pattern, entry);
            } else {
                taken.block(pattern, entry);
            }
        }
    }
}

/// An address has nothing below it.
fn of_form(form: Form, name: Hostname) -> Option<Pattern> {
    match form {
        Form::Below if name.ip().is_some() => None,
        Form::Below => Some(Pattern { form, name }),
        Form::Exact | Form::Subtree => Some(subtree(name)),
    }
}

fn is_regex(rule: &str) -> bool {
    rule.starts_with('/') && (rule.ends_with('/') || rule.contains("/$")) && rule.len() > 1
}

/// The name of a rule that blocks a whole host.
fn blocked<'r>(address: &'r str, options: &[&str]) -> Result<(Form, &'r str), Reason> {
    // `all` names every kind of request there is, so it leaves none out.
    if !matches!(options, [] | ["all"]) {
        return Err(Reason::Options);
    }
    let Some(rest) = address.strip_prefix("||") else {
        let is_address = address.starts_with('|') || address.contains("://");
        return Err(if is_address { Reason::Scheme } else { Reason::Unanchored });
    };
    let (name, after) = split_name(rest);
    match after {
        "^" => Ok((Form::Subtree, name)),
        "" => Err(Reason::Unanchored),
        _ if after.starts_with('*') => Err(Reason::Wildcard),
        // After the `^` or in its place there is more of an address.
        _ => Err(Reason::Path),
    }
}

/// The name that an exception lets pass. More is taken for one than for a block: a name that its own list opens to whoever
/// asks for its first page is nobody's to block by it.
fn passed<'r>(address: &'r str, options: &[&str]) -> Result<(Form, &'r str), Reason> {
    if options.iter().any(|option| !WHOLE.contains(option)) {
        return Err(Reason::PartException);
    }
    let rest = address.trim_start_matches('|');
    let rest =
        ["https://", "http://", "://"].iter().find_map(|scheme| rest.strip_prefix(scheme)).unwrap_or(rest);
    let (form, rest) = match rest.strip_prefix("*.") {
        Some(rest) => (Form::Below, rest),
        None => (Form::Subtree, rest),
    };
    let (name, after) = split_name(rest);
    let is_whole = matches!(after, "" | "^" | "*" | "^*" | "/" | "/*") && name.contains('.');
    if is_whole { Ok((form, name)) } else { Err(Reason::PartException) }
}

/// Options of an exception that leave no request out which a visitor of the name makes.
const WHOLE: [&str; 4] = ["all", "important", "document", "doc"];

/// What stands before the end of the name, and the rest.
fn split_name(rest: &str) -> (&str, &str) {
    let end = rest.find(['^', '/', '*', '?', '|']).unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, ""))
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
