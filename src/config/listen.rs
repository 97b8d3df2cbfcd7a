//! `[[listen]]`: where requests come in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;

use super::parse::{Paths, socket_address};
use crate::document::{Table, Text, Value};
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
    /// Whether connections begin with a PROXY protocol header, version 1 or 2. Default: false.
    pub proxy_protocol: bool,
    /// The field in which proxies in front name the client of each request.
    pub client_header: Option<HeaderName>,
    /// The proxies whose word about their clients is taken. Default: those at the top of the file.
    pub trusted_proxies: Vec<IpNet>,
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
    let trusted = top.optional("trusted_proxies").map(|value| value.networks(limits::TRUSTED_PROXIES));
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
            let (tls, strict_sni) = (tls(table, paths, upper), strict_sni(table));
            let front = front(table, trusted.as_deref().unwrap_or_default());
            known.push(Listen {
                address,
                tls,
                strict_sni,
                proxy_protocol: front.proxy_protocol,
                client_header: front.client_header,
                trusted_proxies: front.trusted,
            });
        }
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

/// What a listener is told of the proxies in front of it.
struct Front {
    proxy_protocol: bool,
    client_header: Option<HeaderName>,
    trusted: Vec<IpNet>,
}

fn front(listen: &Table<'_>, everywhere: &[IpNet]) -> Front {
    let own = listen.optional("trusted_proxies");
    let trusted = own.map_or_else(|| everywhere.to_vec(), |value| value.networks(limits::TRUSTED_PROXIES));
    let is_known = own.map_or(!everywhere.is_empty(), |value| !value.is_empty_list());
    let of_anyone = |value: &Value<'_>, key: &str| {
        if !is_known {
            value.spot().error_with_hint(
                format_args!("`{key}` would be taken from nobody: there is no trusted proxy"),
                "add `trusted_proxies = [\"10.0.0.0/8\"]` with the networks of the proxies in front",
            );
        }
    };
    let protocol = listen.optional("proxy_protocol");
    let proxy_protocol = protocol.and_then(|value| value.boolean()) == Some(true);
    if let Some(value) = protocol.filter(|_| proxy_protocol) {
        of_anyone(&value, "proxy_protocol");
    }
    let header = listen.optional("client_header");
    let client_header = header.and_then(|value| header_name(&value.string()?));
    if let Some(value) = header.filter(|_| client_header.is_some()) {
        of_anyone(&value, "client_header");
    }
    Front { proxy_protocol, client_header, trusted }
}

fn header_name(text: &Text<'_>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_str().as_bytes()).ok();
    if name.is_none() {
        text.spot().error_with_hint(
            format_args!("`{}` is no name of a header field", text.shown()),
            "write `x-forwarded-for`, `forwarded`, or the field of your proxy that holds one address",
        );
    }
    name
}
