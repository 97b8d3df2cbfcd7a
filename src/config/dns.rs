//! `[dns]`: how the names of origins are looked up.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::document::{Table, Text, Value};
use crate::forward::Dns;
use crate::limits;

/// Where name servers listen unless the configuration says otherwise.
const PORT: u16 = 53;

/// The section.
pub(super) fn settle(table: &Table<'_>, upper: &[&'static str]) -> Dns {
    let default = Dns::default();
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let duration =
        |key, range, default| table.optional(key).and_then(|value| value.duration(range)).unwrap_or(default);
    let second = Duration::from_secs(1);
    let dns = Dns {
        resolvers: table.optional("resolvers").map(|value| resolvers(&value)).unwrap_or_default(),
        min_ttl: duration("min_ttl", second..=hours(1), default.min_ttl),
        max_ttl: duration("max_ttl", second..=hours(168), default.max_ttl),
        keep: duration("keep", Duration::ZERO..=hours(720), default.keep),
    };
    if dns.min_ttl > dns.max_ttl
        && let Some(value) = table.optional("min_ttl").or_else(|| table.optional("max_ttl"))
    {
        value.spot().error_with_hint(
            "`min_ttl` is longer than `max_ttl`",
            "write a shorter `min_ttl`, or a longer `max_ttl`",
        );
    }
    table.finish(upper);
    // What is refused is used nowhere; yet the bounds are in order wherever this value goes.
    Dns { max_ttl: dns.max_ttl.max(dns.min_ttl), ..dns }
}

fn resolvers(value: &Value<'_>) -> Vec<SocketAddr> {
    if value.is_empty_list() {
        value.spot().error_with_hint(
            "there is nobody to ask",
            "write at least one name server, or remove `resolvers` for those of the system",
        );
    }
    let mut known: Vec<SocketAddr> = Vec::new();
    for text in value.strings(limits::NAME_SERVERS) {
        let Some(address) = resolver(&text) else { continue };
        if known.contains(&address) {
            text.spot()
                .error_with_hint(format_args!("`{address}` is written twice"), "remove one of the two");
        } else {
            known.push(address);
        }
    }
    known
}

fn resolver(text: &Text<'_>) -> Option<SocketAddr> {
    let written = text.as_str();
    let without_port = || written.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT));
    let known = written.parse().ok().or_else(without_port).filter(|address: &SocketAddr| address.port() != 0);
    if known.is_none() {
        text.spot().error_with_hint(
            format_args!("`{}` is no address of a name server", text.shown()),
            "write an address, with a port if it is not 53, like `192.0.2.53`, `127.0.0.1:5353` or `[2001:db8::53]:53`",
        );
    }
    known
}
