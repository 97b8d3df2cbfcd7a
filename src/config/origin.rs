//! The keys of `[[route]]` that say where its origins are and how they are spoken to.

use std::time::Duration;

use super::parse::Paths;
use crate::document::{Table, Text, Value};
use crate::forward::{Balance, HashKey, HealthCheck, Origin, OriginTls};
use crate::hostname::Hostname;
use crate::limits;

/// `origins`: texts `host:port`, or tables with `address` and `weight`.
pub(super) fn origins(value: &Value<'_>) -> Vec<Origin> {
    if value.is_empty_list() {
        value
            .spot()
            .error_with_hint("the route leads nowhere", "write at least one origin, like `127.0.0.1:9000`");
    }
    let mut known: Vec<Origin> = Vec::new();
    for entry in value.entries("a list of origins", limits::ORIGINS_PER_ROUTE) {
        let Some((text, origin)) = entry_of(&entry) else { continue };
        if known.iter().any(|one| (&one.host, one.port) == (&origin.host, origin.port)) {
            text.spot().error_with_hint(format_args!("`{origin}` is written twice"), "remove one of the two");
        } else {
            known.push(origin);
        }
    }
    known
}

fn entry_of<'r>(entry: &Value<'r>) -> Option<(Text<'r>, Origin)> {
    if !entry.is_table() {
        let text = entry.string()?;
        return Some((text, origin(&text, 1)?));
    }
    let table = entry.table()?;
    let weight = table.optional("weight").and_then(|value| value.integer(1..=1000));
    let text = table.required("address", "address = \"127.0.0.1:9000\"").and_then(|value| value.string());
    table.finish(&[]);
    let text = text?;
    Some((text, origin(&text, weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1))?))
}

fn origin(text: &Text<'_>, weight: u32) -> Option<Origin> {
    let written = text.as_str();
    let example = "write a host and a port, like `origin.example:80`, `192.0.2.1:80` or `[2001:db8::1]:80`";
    let refuse = |reason: &str, hint: &str| {
        text.spot().error_with_hint(format_args!("`{}` is no origin: {reason}", text.shown()), hint);
        None
    };
    if written.contains("://") {
        return refuse("it is a URL", example);
    }
    if written.parse::<std::net::Ipv6Addr>().is_ok() {
        return refuse("an IPv6 address stands in brackets", example);
    }
    match Hostname::parse_authority(written.as_bytes()) {
        Ok((host, Some(port))) if port != 0 => Some(Origin { host, port, weight }),
        Ok((_, Some(_))) => refuse("nothing listens on port 0", example),
        Ok((_, None)) => refuse("the port is missing", &format!("write `{}:80`", text.shown())),
        Err(error) => refuse(&error.to_string(), &error.hint().unwrap_or_else(|| example.to_owned())),
    }
}

/// `balance`, and `hash` beside it.
pub(super) fn balance(table: &Table<'_>) -> Balance {
    let written = table.optional("balance");
    let balance = written.and_then(|value| value.string()?.choice(&Balance::ALL, Balance::as_str));
    let hash = table.optional("hash");
    let key = hash.and_then(|value| value.string()?.choice(&HashKey::ALL, HashKey::as_str));
    match balance.unwrap_or_default() {
        Balance::ConsistentHash(default) => Balance::ConsistentHash(key.unwrap_or(default)),
        other => {
            if let Some(value) = hash {
                value.key_spot().error_with_hint(
                    "`hash` belongs to another balance",
                    "write `balance = \"consistent-hash\"`, or remove `hash`",
                );
            }
            other
        }
    }
}

/// `tls`: `true`, `false` or a table.
pub(super) fn tls(value: &Value<'_>, paths: &Paths<'_>) -> Option<OriginTls> {
    let plain = OriginTls { name: None, ca: None, verify: true };
    if !value.is_table() {
        return value.boolean()?.then_some(plain);
    }
    let table = value.table()?;
    let name = table.optional("name").and_then(|value| host(&value.string()?));
    let ca = table.optional("ca").and_then(|value| paths.path(&value));
    let verify = table.optional("verify").and_then(|value| value.boolean()).unwrap_or(true);
    if let (false, Some(value)) = (verify, table.optional("ca")) {
        value.key_spot().error_with_hint("`ca` has no effect with `verify = false`", "remove one of the two");
    }
    table.finish(&[]);
    Some(OriginTls { name, ca, verify })
}

fn host(text: &Text<'_>) -> Option<Hostname> {
    match Hostname::parse(text.as_str()) {
        Ok(host) => Some(host),
        Err(error) => {
            let hint = error.hint().unwrap_or_else(|| "write a name like `origin.example`".to_owned());
            text.spot().error_with_hint(format_args!("`{}` is no host: {error}", text.shown()), hint);
            None
        }
    }
}

/// `health`: a table.
pub(super) fn health(value: &Value<'_>) -> Option<HealthCheck> {
    let table = value.table()?;
    let (shortest, hour) = (Duration::from_millis(10), Duration::from_secs(3600));
    let duration = |key, default| {
        table.optional(key).and_then(|value| value.duration(shortest..=hour)).unwrap_or(default)
    };
    let count = |key, default| {
        let written = table.optional(key).and_then(|value| value.integer(1..=100));
        written.and_then(|count| u32::try_from(count).ok()).unwrap_or(default)
    };
    let health = HealthCheck {
        path: table.optional("path").and_then(|value| path(&value.string()?)),
        host: table.optional("host").and_then(|value| host(&value.string()?)),
        interval: duration("interval", limits::HEALTH_INTERVAL),
        timeout: duration("timeout", limits::HEALTH_TIMEOUT),
        failures: count("failures", 3),
        successes: count("successes", 2),
    };
    table.finish(&[]);
    Some(health)
}

fn path(text: &Text<'_>) -> Option<String> {
    let written = text.as_str();
    let known = written.starts_with('/') && http::uri::PathAndQuery::try_from(written).is_ok();
    if !known {
        text.spot()
            .error_with_hint(format_args!("`{}` is no path", text.shown()), "write one like `/healthz`");
    }
    known.then(|| written.to_owned())
}
