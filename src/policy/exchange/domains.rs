//! Lists of domains: one pattern a line, in the three forms of a case file, as the lists of a policy directory have them.

use super::comment::without_comment;
use super::importer::{Taken, subtree};
use super::reason::{Omission, Reason};
use crate::policy::{Form, Pattern};

pub(super) fn line(text: &str, subdomains: bool, taken: &mut Taken) {
    let entry = without_comment(text).trim();
    if entry.is_empty() {
        return;
    }
    let (form, name) = match (entry.strip_prefix("*."), entry.strip_prefix('.')) {
        (Some(name), _) => (Form::Below, name),
        (None, Some(name)) => (Form::Subtree, name),
        (None, None) => (Form::Exact, entry),
    };
    let Some(name) = taken.name(name, entry) else { return };
    if form == Form::Exact && subdomains {
        taken.block(subtree(name), entry);
    } else if form != Form::Exact && name.ip().is_some() {
        taken.skip(entry, Reason::NoName, "an address has no names below it");
    } else {
        taken.block(Pattern { form, name }, entry);
    }
}

pub(super) fn write(pattern: &Pattern, into: &mut String) -> Result<(), Omission> {
    into.extend([pattern.form.prefix(), pattern.name.as_str(), "\n"]);
    Ok(())
}
