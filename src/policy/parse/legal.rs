//! The order behind a case, and the clients it lets through.

use crate::document::{Table, Text};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{Basis, Exemption, Legal};

use super::KEYS;

/// The `[legal]` table. A legal basis needs it; any other may have it too, when an authority has its part in an own
/// decision: it is shown and limits whom the case concerns as an order does, and makes no status 451.
pub(super) fn legal(top: &Table<'_>, basis: Option<Basis>) -> Option<Legal> {
    let value = top.optional("legal");
    if let (None, Some(basis)) = (value, basis.filter(|basis| basis.is_legal())) {
        top.spot().error_with_hint(
            format_args!("the basis `{}` needs a table `[legal]`", basis.as_str()),
            "add `[legal]` with `authority` and `reference` at the end of the file",
        );
    }
    let table = value?.table()?;
    let line = |key, example| table.required(key, example)?.string()?.line(limits::SHORT_TEXT_CHARS);
    let authority = line("authority", "authority = \"Regional Court of Example\"");
    let reference = line("reference", "reference = \"12 O 345/26\"");
    let url = table.optional("url").and_then(|value| absolute_url(&value.string()?));
    let territory = table.optional("territory");
    if let Some(value) = territory.filter(|value| value.is_empty_list()) {
        value.spot().error_with_hint(
            "`territory` names no network, which could mean everyone or nobody",
            "leave `territory` out when the order holds for everyone",
        );
    }
    let territory = territory.map(|value| value.networks(limits::ITEMS_PER_CASE)).unwrap_or_default();
    table.finish(&KEYS);
    Some(Legal { authority: authority?, reference: reference?, url, territory })
}

/// An absolute `http` or `https` URL that can stand in a `Link` field as it is (RFC 7725 §4, RFC 8288 §3).
pub(crate) fn absolute_url(text: &Text<'_>) -> Option<String> {
    let written = text.as_str();
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| written.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let Some(rest) = scheme.and_then(|scheme| written.get(scheme.len()..)) else {
        let message = format!("`{}` is no absolute URL of the web", text.shown());
        text.spot().error_with_hint(message, "start it with `https://`");
        return None;
    };
    if written.len() > limits::URL_BYTES {
        let message = format!("the URL has {} bytes", written.len());
        text.spot().error_with_hint(message, format_args!("write at most {}", limits::URL_BYTES));
        return None;
    }
    let unsafe_here =
        |c: char| !c.is_ascii_graphic() || matches!(c, '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '|' | '}');
    if let Some(bad) = written.chars().find(|c| unsafe_here(*c)) {
        let message = format!("the URL holds a character that a URL may not: `{}`", bad.escape_debug());
        text.spot().error_with_hint(message, "write it percent-encoded");
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Err(error) = Hostname::parse_authority(authority.as_bytes()) {
        let message = format!("`{}` has no valid host: {error}", text.shown());
        text.spot().error_with_hint(message, "write a URL like `https://example.org/orders/345`");
        return None;
    }
    Some(written.to_owned())
}

/// The `[[exempt]]` tables.
pub(super) fn exemptions(top: &Table<'_>) -> Vec<Exemption> {
    let tables = top.optional("exempt").map(|value| value.tables(limits::ITEMS_PER_CASE)).unwrap_or_default();
    tables.iter().filter_map(exemption).collect()
}

fn exemption(table: &Table<'_>) -> Option<Exemption> {
    let clients = table.required("clients", "clients = [\"192.0.2.0/24\"]");
    if let Some(value) = clients.filter(|value| value.is_empty_list()) {
        value
            .spot()
            .error_with_hint("`clients` names no network", "write at least one, like `[\"192.0.2.0/24\"]`");
    }
    let clients = clients.map(|value| value.networks(limits::ITEMS_PER_CASE));
    let reason = table.required("reason", "reason = \"evidence preservation\"");
    let reason = reason.and_then(|value| value.string()?.line(limits::SHORT_TEXT_CHARS));
    let expires = table.optional("expires").and_then(|value| value.timestamp());
    table.finish(&KEYS);
    Some(Exemption { clients: clients?, reason: reason?, expires })
}
