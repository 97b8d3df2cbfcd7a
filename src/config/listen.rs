//! `[[listen]]`: where requests come in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::parse::{Paths, socket_address};
use crate::document::Table;
use crate::limits;

/// One `[[listen]]`: HTTP/1 and HTTP/2, in cleartext (with prior knowledge) or over TLS (by ALPN).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address and port; port 0 takes any free one.
    pub address: SocketAddr,
    /// Ends TLS; cleartext without.
    pub tls: Option<Tls>,
    /// Whether a request for another name than the server name is answered with 421. Default: false.
    pub strict_sni: bool,
}

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The directory of `NAME.crt` and `NAME.key`, in PEM.
    pub certificates: PathBuf,
    /// The pair shown to clients that ask for no name, or for one that is not held. Without it they are refused.
    pub default: Option<String>,
}

/// The listeners; at least one.
pub(super) fn settle(top: &Table<'_>, paths: &Paths<'_>, upper: &[&'static str]) -> Vec<Listen> {
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
            known.push(Listen { address, tls: tls(table, paths, upper), strict_sni: strict_sni(table) });
        }
        not_yet(table);
        table.finish(upper);
    }
    known
}

/// `tls = { certificates = "certs", default = "NAME" }`.
fn tls(listen: &Table<'_>, paths: &Paths<'_>, upper: &[&'static str]) -> Option<Tls> {
    let table = listen.optional("tls")?.table()?;
    let directory = table.required("certificates", "certificates = \"certs\"");
    let default = table.optional("default").and_then(|value| value.string());
    let default = default.and_then(|text| {
        let name = text.line(255)?;
        if name.contains('/') {
            let message = format_args!("`{}` is a path", text.shown());
            text.spot().error_with_hint(message, "write the name of the pair, without `.crt` and `.key`");
        }
        Some(name)
    });
    table.finish(upper);
    Some(Tls { certificates: paths.path(&directory?)?, default })
}

fn strict_sni(listen: &Table<'_>) -> bool {
    let Some(value) = listen.optional("strict_sni") else { return false };
    let strict = value.boolean() == Some(true);
    if strict && !listen.has("tls") {
        let message = "`strict_sni` is for `tls` only: there is no server name without";
        value.spot().error_with_hint(message, "add `tls`, or write `strict_sni = false`");
    }
    strict
}

/// What the configuration knows and this version does not do is an error, never ignored.
fn not_yet(listen: &Table<'_>) {
    let Some(value) = listen.optional("proxy_protocol") else { return };
    if value.boolean() == Some(true) {
        let message = "`proxy_protocol` is not supported by this version";
        value.spot().error_with_hint(message, "remove it, or write `proxy_protocol = false`");
    }
}
