//! `[[listen]]`: where requests come in.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::parse::{Paths, socket_address};
use crate::document::Table;
use crate::limits;

/// One `[[listen]]`: cleartext HTTP/1 and HTTP/2 (prior knowledge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address and port; port 0 takes any free one.
    pub address: SocketAddr,
}

/// The listeners; at least one.
pub(super) fn settle(top: &Table<'_>, _paths: &Paths<'_>, upper: &[&'static str]) -> Vec<Listen> {
    let Some(value) = top.required("listen", "[[listen]]` with `address = \"127.0.0.1:8080\"") else {
        return Vec::new();
    };
    let tables = value.tables(limits::TABLES_PER_CONFIG);
    if value.is_empty_list() {
        value
            .spot()
            .error_with_hint("`listen` names no address", "write `[[listen]]` and an `address` below it");
    }
    let mut taken = BTreeSet::new();
    let mut known = Vec::new();
    for table in &tables {
        let text = table.required("address", "address = \"127.0.0.1:8080\"").and_then(|value| value.string());
        if let Some((text, address)) = text.and_then(|text| Some((text, socket_address(&text)?))) {
            if address.port() != 0 && !taken.insert(address) {
                let message = format!("`{address}` is listened on twice");
                text.spot().error_with_hint(message, "remove one of the two");
            }
            known.push(Listen { address });
        }
        not_yet(table);
        table.finish(upper);
    }
    known
}

/// What the configuration knows and this version does not do is an error, never ignored.
fn not_yet(listen: &Table<'_>) {
    if let Some(value) = listen.optional("tls") {
        let message = "`tls` is not supported by this version: the listener would speak cleartext";
        value.key_spot().error_with_hint(message, "remove `tls`, and end TLS in front of this edge");
    }
    let flags = [
        ("proxy_protocol", "`proxy_protocol` is not supported by this version"),
        ("strict_sni", "`strict_sni` needs `tls`, which is not supported by this version"),
    ];
    for (key, message) in flags {
        let Some(value) = listen.optional(key) else { continue };
        if value.boolean() == Some(true) {
            value.spot().error_with_hint(message, format_args!("remove it, or write `{key} = false`"));
        }
    }
}
