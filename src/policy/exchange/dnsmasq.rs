//! The configuration of dnsmasq. A name between slashes stands for itself and all below it, `*.name` for all below it
//! (from 2.86 on); a `*` anywhere else matches within a label.

use super::comment::without_comment;
use super::importer::Taken;
use super::reason::{Omission, Reason};
use crate::policy::{Form, Pattern};

/// What a line does with its names.
enum Effect {
    Block,
    /// They are asked of the usual servers, though a wider line blocks them.
    Pass,
    /// They lead somewhere, though a wider line denies them.
    Lead(Reason),
    Skip(Reason),
}

pub(super) fn line(text: &str, taken: &mut Taken) {
    let entry = without_comment(text).trim();
    if entry.is_empty() {
        return;
    }
    let Some((setting, value)) = entry.split_once('=') else {
        return taken.skip(entry, Reason::OtherSetting, "");
    };
    let (setting, value) = (setting.trim(), value.trim());
    if !matches!(setting, "address" | "server" | "local") {
        return taken.skip(entry, Reason::OtherSetting, "");
    }
    let Some((names, target)) = value.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) else {
        // `server=192.0.2.1` is for every name; anything else lacks a slash.
        let is_for_all = setting == "server" && !value.starts_with(['/', '"']);
        return taken.skip(entry, if is_for_all { Reason::Resolver } else { Reason::Malformed }, "");
    };
    let effect = effect(setting, target);
    for name in names.split('/') {
        // Of several names, the one that is meant is shown.
        let entry = if names.contains('/') && !name.is_empty() { name } else { entry };
        one(name, &effect, entry, taken);
    }
}

fn effect(setting: &str, target: &str) -> Effect {
    match (setting, target) {
        // `#` stands for the null address.
        ("address", "" | "#" | "0.0.0.0" | "::") | ("server" | "local", "") => Effect::Block,
        // Some lists lead nowhere this way; on a machine with a server it is somewhere.
        ("address", "127.0.0.1" | "::1") => Effect::Skip(Reason::OtherAddress),
        ("address", _) => Effect::Lead(Reason::OtherAddress),
        (_, "#") => Effect::Pass,
        _ => Effect::Lead(Reason::Resolver),
    }
}

fn one(name: &str, effect: &Effect, entry: &str, taken: &mut Taken) {
    match name {
        "" => return taken.skip(entry, Reason::Unqualified, ""),
        "#" => return taken.skip(entry, Reason::Everything, ""),
        _ => {}
    }
    let (form, name) = match (name.strip_prefix("*."), name.strip_prefix('.')) {
        (Some(name), _) => (Form::Below, name),
        // By its manual, `/.a.example/` is `/a.example/`.
        (None, Some(name)) => (Form::Subtree, name),
        (None, None) => (Form::Subtree, name),
    };
    if name.contains('*') {
        return taken.skip(entry, Reason::Wildcard, "");
    }
    let Some(name) = taken.dns_name(name, entry) else { return };
    let pattern = Pattern { form, name };
    match effect {
        Effect::Block => taken.block(pattern, entry),
        Effect::Pass => taken.except(pattern, entry),
        Effect::Skip(reason) => taken.skip(entry, *reason, ""),
        Effect::Lead(reason) => {
            taken.pass(pattern);
            taken.skip(entry, *reason, "");
        }
    }
}

pub(super) fn write(pattern: &Pattern, into: &mut String) -> Result<(), Omission> {
    let star = match pattern.form {
        Form::Exact if pattern.name.ip().is_some() => return Err(Omission::Address),
        Form::Exact => return Err(Omission::Exact),
        Form::Subtree => "",
        Form::Below => "*.",
    };
    into.extend(["local=/", star, pattern.name.as_str(), "/\n"]);
    Ok(())
}
