//! The sections of `edge.toml`, one function each.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Admin, Config, EdgeName, Limits, Listen, Policy, audit};
use crate::diagnostic::Diagnostics;
use crate::document::{self, Table, Text, Value};
use crate::forward::{Origin, Route, Routes};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{Pattern, absolute_url};

/// The keys at the top of the file.
const KEYS: [&str; 7] = ["edge", "listen", "policy", "audit", "route", "admin", "limits"];

impl Config {
    /// Settles the text of a configuration file. `file` is its name in diagnostics; relative paths in it are
    /// taken to be in `base_dir`. An edge without a name is called `edge` here; [`Config::load`] asks the machine.
    ///
    /// # Errors
    /// Everything that is wrong in the text.
    pub fn parse(text: &str, file: &str, base_dir: &Path) -> Result<Self, Diagnostics> {
        Self::settle(text, file, base_dir, EdgeName::default())
    }

    pub(super) fn settle(
        text: &str,
        file: &str,
        base_dir: &Path,
        machine: EdgeName,
    ) -> Result<Self, Diagnostics> {
        let paths = Paths { base_dir };
        let (config, found) = document::read(file, text.as_bytes(), |top| config(top, &paths, machine));
        config.ok_or_else(|| found.sorted())
    }
}

/// Where relative paths lead.
pub(super) struct Paths<'p> {
    base_dir: &'p Path,
}

impl Paths<'_> {
    pub(super) fn or_default(&self, value: Option<Value<'_>>, default: &str) -> PathBuf {
        value.and_then(|value| self.path(&value)).unwrap_or_else(|| self.base_dir.join(default))
    }

    pub(super) fn path(&self, value: &Value<'_>) -> Option<PathBuf> {
        value.string()?.line(4096).map(|path| self.base_dir.join(path))
    }
}

fn config(top: &Table<'_>, paths: &Paths<'_>, machine: EdgeName) -> Option<Config> {
    let edge = top.optional("edge").map_or(Some(machine), |value| edge_name(&value.string()?));
    let listen = listeners(top);
    // A section that is absent is one that is empty.
    let policy = policy(section(top, "policy").as_ref(), paths);
    let audit = audit::settle(section(top, "audit").as_ref(), paths, &policy.state, &KEYS);
    let routes = routes(top);
    let admin_section = section(top, "admin");
    let admin = admin_section.as_ref().and_then(|table| admin(table, paths));
    let limits = section(top, "limits").map(|table| bounds(&table)).unwrap_or_default();
    Some(Config { edge: edge?, listen, policy, audit, routes, admin, limits })
}

fn section<'r>(top: &Table<'r>, key: &'static str) -> Option<Table<'r>> {
    top.optional(key).and_then(|value| value.table())
}

fn edge_name(text: &Text<'_>) -> Option<EdgeName> {
    let name = EdgeName::parse(text.as_str());
    if name.is_none() {
        text.spot().error_with_hint(
            format_args!("`{}` is no name of an edge", text.shown()),
            "write 1 to 64 letters, digits, `.`, `_` and `-`, like `fra-3`",
        );
    }
    name
}

fn listeners(top: &Table<'_>) -> Vec<Listen> {
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
        table.finish(&KEYS);
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

fn socket_address(text: &Text<'_>) -> Option<SocketAddr> {
    let known = text.as_str().parse().ok();
    if known.is_none() {
        text.spot().error_with_hint(
            format_args!("`{}` is no address with a port", text.shown()),
            "write an address and a port, like `127.0.0.1:8080`, `0.0.0.0:80` or `[::]:80`",
        );
    }
    known
}

fn policy(table: Option<&Table<'_>>, paths: &Paths<'_>) -> Policy {
    let value = |key| table.and_then(|table| table.optional(key));
    let debounce_ms = value("debounce_ms").and_then(|value| value.integer(0..=60_000));
    let policy = Policy {
        directory: paths.or_default(value("directory"), "policies"),
        state: paths.or_default(value("state"), "state"),
        debounce: debounce_ms.map_or(limits::SETTLE_QUIET, Duration::from_millis),
        blocked_by: value("blocked_by").and_then(|value| absolute_url(&value.string()?)),
    };
    if let Some(table) = table {
        table.finish(&KEYS);
    }
    policy
}

fn admin(table: &Table<'_>, paths: &Paths<'_>) -> Option<Admin> {
    let token_file = table.optional("token_file").and_then(|value| paths.path(&value));
    let text = table.required("listen", "listen = \"127.0.0.1:9901\"").and_then(|value| value.string());
    let listen = text.and_then(|text| socket_address(&text));
    if let (Some(text), Some(address)) = (text, listen)
        && !address.ip().to_canonical().is_loopback()
        && !table.has("token_file")
    {
        text.spot().error_with_hint(
            format_args!("`{address}` can be reached from other machines"),
            "write `127.0.0.1` or `[::1]`, or add `token_file`",
        );
    }
    table.finish(&KEYS);
    Some(Admin { listen: listen?, token_file })
}

fn bounds(table: &Table<'_>) -> Limits {
    let default = Limits::default();
    let shortest = Duration::from_millis(10);
    let (minutes, hour) = (shortest..=Duration::from_secs(600), Duration::from_secs(3600));
    let duration = |key, range: RangeInclusive<Duration>, default| {
        table.optional(key).and_then(|value| value.duration(range)).unwrap_or(default)
    };
    let head_bytes = table.optional("head_bytes").and_then(|value| value.integer(1024..=1024 * 1024));
    let settled = Limits {
        header_timeout: duration("header_timeout", minutes.clone(), default.header_timeout),
        idle_timeout: duration("idle_timeout", shortest..=hour, default.idle_timeout),
        head_bytes: head_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default.head_bytes),
        client_timeout: duration("client_timeout", shortest..=hour, default.client_timeout),
        connect_timeout: duration("connect_timeout", minutes, default.connect_timeout),
        upstream_timeout: duration("upstream_timeout", shortest..=hour, default.upstream_timeout),
        stop_grace: duration("stop_grace", Duration::ZERO..=hour, default.stop_grace),
    };
    table.finish(&KEYS);
    settled
}

fn routes(top: &Table<'_>) -> Routes {
    let tables =
        top.optional("route").map(|value| value.tables(limits::TABLES_PER_CONFIG)).unwrap_or_default();
    let mut routes = Routes::default();
    for table in &tables {
        let hosts = table.required("hosts", "hosts = [\"*\"]");
        let origins = table.required("origins", "origins = [\"127.0.0.1:9000\"]");
        routes.add(Route { origins: origins.map(|value| origin_list(&value)).unwrap_or_default() });
        if let Some(value) = hosts {
            lead_hosts(&value, &mut routes);
        }
        table.finish(&KEYS);
    }
    routes
}

fn lead_hosts(value: &Value<'_>, routes: &mut Routes) {
    if value.is_empty_list() {
        value.spot().error_with_hint("the route is for no host", "write patterns, or `*` for every host");
    }
    for text in value.strings(limits::HOSTS_PER_CASE_FILE) {
        let pattern = match text.as_str() {
            "*" => None,
            written => match Pattern::parse(written) {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    let hint = error.hint().unwrap_or_else(|| {
                        "write a name, `.a.example` (it and all below), `*.a.example` (all below) or `*`"
                            .to_owned()
                    });
                    let message = format!("`{}` is no host pattern: {error}", text.shown());
                    text.spot().error_with_hint(message, hint);
                    continue;
                }
            },
        };
        if !routes.lead(pattern.as_ref()) {
            let message = format!("`{}` has a route already", text.shown());
            text.spot()
                .error_with_hint(message, "name each pattern once; one route can have several origins");
        }
    }
}

fn origin_list(value: &Value<'_>) -> Vec<Origin> {
    if value.is_empty_list() {
        value
            .spot()
            .error_with_hint("the route leads nowhere", "write at least one origin, like `127.0.0.1:9000`");
    }
    let mut known = Vec::new();
    for text in value.strings(limits::ORIGINS_PER_ROUTE) {
        let Some(origin) = origin(&text) else { continue };
        if known.contains(&origin) {
            text.spot().error_with_hint(format_args!("`{origin}` is written twice"), "remove one of the two");
        } else {
            known.push(origin);
        }
    }
    known
}

fn origin(text: &Text<'_>) -> Option<Origin> {
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
        Ok((host, Some(port))) if port != 0 => Some(Origin { host, port }),
        Ok((_, Some(_))) => refuse("nothing listens on port 0", example),
        Ok((_, None)) => refuse("the port is missing", &format!("write `{}:80`", text.shown())),
        Err(error) => refuse(&error.to_string(), &error.hint().unwrap_or_else(|| example.to_owned())),
    }
}
