//! The parts of a case that say which names and networks it concerns.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Set;
use crate::diagnostic::nearest;
use crate::document::{Spot, Table, Text, Value};
use crate::limits;
use crate::policy::check;
use crate::policy::list::{BadEntries, NamedList};
use crate::policy::{Pattern, PolicyFiles};

/// What a case concerns.
pub(super) struct Reach {
    pub(super) hosts: Vec<Pattern>,
    pub(super) lists: Vec<NamedList>,
    pub(super) except: Vec<Pattern>,
    pub(super) origins: Vec<IpNet>,
}

/// A pattern written into a case file, and where.
pub(in crate::policy) struct Written<'r> {
    pub(in crate::policy) pattern: Pattern,
    pub(in crate::policy) spot: Spot<'r>,
}

/// What is wrong in it has been reported and is left out.
pub(super) fn reach(top: &Table<'_>, set: &mut Set<'_>) -> Reach {
    let named = patterns(top.optional("hosts"));
    let except = patterns(top.optional("except"));
    let origins = origins(top);
    let on_bad = top.optional("on_bad_entry");
    let lists_value = top.optional("host_lists");
    if let Some(value) = on_bad.filter(|_| lists_value.is_none()) {
        value
            .key_spot()
            .warning("`on_bad_entry` has no effect without `host_lists`", "remove it, or add `host_lists`");
    }
    let on_bad = on_bad.and_then(|value| value.string()?.choice(&BadEntries::ALL, BadEntries::as_str));
    let hosts: Vec<Pattern> = named.iter().map(|written| written.pattern.clone()).collect();
    let mut room = set.has_room_for(hosts.len());
    let on_bad = on_bad.unwrap_or(BadEntries::Refuse);
    let mut named_lists = Vec::new();
    for text in lists_value.map(|value| lists(&value)).unwrap_or_default() {
        if let Some(path) = list_path(&text, set.files)
            && let Some(named) = set.lists.named(path, text.spot().file(), on_bad)
        {
            room = set.has_room_for(named.list.entries) && room;
            named_lists.push(named);
        }
    }
    if !room {
        let message =
            format!("with this case, the policy set has more than {} host patterns", limits::HOSTS_PER_SET);
        top.spot().error_with_hint(message, "write `.a.example` for a name and all below it");
    }
    let empty = |key| top.optional(key).is_none_or(|value| value.is_empty_list());
    if empty("hosts") && empty("host_lists") && empty("origins") {
        let hint = "add `hosts = [\"forum.example\"]`, `host_lists` or `origins`";
        top.spot().error_with_hint("the case concerns nothing: no hosts, no lists, no origins", hint);
    }
    check::hosts_taken_away(&named, &except);
    if !except.is_empty() {
        named_lists = named_lists.iter().map(|named| set.lists.with_names(named)).collect();
    }
    check::idle_exceptions(&hosts, &named_lists, &except);
    let except = except.into_iter().map(|written| written.pattern).collect();
    Reach { hosts, lists: named_lists, except, origins }
}

fn patterns<'r>(value: Option<Value<'r>>) -> Vec<Written<'r>> {
    let texts = value.map(|value| value.strings(limits::HOSTS_PER_CASE_FILE)).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut known = Vec::with_capacity(texts.len());
    for text in texts {
        let spot = text.spot();
        match Pattern::parse(text.as_str()) {
            Ok(pattern) if seen.insert(pattern.clone()) => known.push(Written { pattern, spot }),
            Ok(pattern) => {
                spot.warning(format_args!("`{pattern}` is written twice"), "remove one of the two")
            }
            Err(error) => {
                let hint = error.hint().unwrap_or_else(|| {
                    "write a name, `.a.example` (it and all below) or `*.a.example` (all below)".to_owned()
                });
                spot.error_with_hint(format_args!("`{}` is no host pattern: {error}", text.shown()), hint);
            }
        }
    }
    known
}

fn origins(top: &Table<'_>) -> Vec<IpNet> {
    let Some(value) = top.optional("origins") else { return Vec::new() };
    let mut known: Vec<IpNet> = Vec::new();
    for text in value.strings(limits::ITEMS_PER_CASE) {
        let Some(network) = text.network() else { continue };
        if network.prefix_len() == 0 {
            let hint = "write the networks of this customer's servers";
            text.spot().warning(format_args!("`{network}` is every address, other customers' too"), hint);
        }
        known.push(network);
    }
    known
}

/// The lists a case names, each once.
fn lists<'r>(value: &Value<'r>) -> Vec<Text<'r>> {
    let mut seen = BTreeSet::new();
    let mut known = value.strings(limits::ITEMS_PER_CASE);
    known.retain(|text| {
        let first = seen.insert(text.as_str());
        if !first {
            text.spot().warning(format_args!("`{}` is named twice", text.shown()), "remove one of the two");
        }
        first
    });
    known
}

/// The path of a list of the set; what is no such path, or no such list, is an error.
fn list_path<'r>(text: &Text<'r>, files: &PolicyFiles) -> Option<&'r str> {
    let path = text.as_str();
    let problem = if path.starts_with('/') {
        "it is absolute"
    } else if path.contains('\\') {
        "it holds a backslash"
    } else if path.split('/').any(|part| part == ".." || part == ".") {
        "it holds `.` or `..`"
    } else if path.chars().count() > limits::PATH_CHARS || path.chars().any(char::is_control) {
        "it is too long or holds a control character"
    } else if !path.starts_with("lists/") {
        "it is not under `lists/`"
    } else if !PolicyFiles::belongs(path) {
        "it is a hidden file, a copy of an editor or no file at all"
    } else if files.has(path) {
        return Some(path);
    } else {
        let known = files.under("lists/").map(|(known, _)| known);
        let message = format!("there is no list `{}`", text.shown());
        match nearest(path, known) {
            Some(near) => text.spot().error_with_hint(message, format_args!("did you mean `{near}`?")),
            None => text.spot().error_with_hint(message, "add that file to the policy directory"),
        }
        return None;
    };
    let hint = "write a path below the policy directory, like `lists/forum-mirrors.txt`";
    text.spot().error_with_hint(format_args!("`{}` is no path of a list: {problem}", text.shown()), hint);
    None
}
