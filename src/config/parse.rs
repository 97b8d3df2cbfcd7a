//! The sections of `edge.toml`, one function each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Admin, Config, EdgeName, Node, Policy, audit, cache, dns, guard, keys, limits, listen, route};
use crate::diagnostic::Diagnostics;
use crate::document::{self, Table, Text, Value};
use crate::limits::{KEPT_REVISIONS, SETTLE_QUIET, THREADS};
use crate::policy::absolute_url;

/// The keys at the top of the file.
const KEYS: [&str; 12] = [
    "edge",
    "threads",
    "trusted_proxies",
    "listen",
    "policy",
    "guard",
    "audit",
    "route",
    "dns",
    "admin",
    "cache",
    "limits",
];

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

impl Node {
    pub(super) fn settle(
        text: &str,
        file: &str,
        base_dir: &Path,
        machine: EdgeName,
    ) -> Result<Self, Diagnostics> {
        let paths = Paths { base_dir };
        let (node, found) = document::read_part(file, text.as_bytes(), |top| {
            let edge = edge(top, machine);
            // Nowhere is it looked for by default: where the section is may be what is wrong.
            let table = top.required("policy", "[policy]").and_then(|value| value.table())?;
            table.required("directory", "directory = \"policies\"")?;
            table.required("state", "state = \"state\"")?;
            Some(Self { edge: edge?, policy: policy(Some(&table), &paths) })
        });
        node.ok_or_else(|| found.sorted())
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
    let edge = edge(top, machine);
    let threads = top.optional("threads").and_then(|value| value.integer(1..=THREADS));
    let threads = threads.and_then(|threads| usize::try_from(threads).ok());
    let listen = listen::settle(top, paths, &KEYS);
    // A section that is absent is one that is empty.
    let policy = policy(section(top, "policy").as_ref(), paths);
    let guard = section(top, "guard").map(|table| guard::settle(&table, &KEYS)).unwrap_or_default();
    let audit = audit::settle(section(top, "audit").as_ref(), paths, &policy.state, &KEYS);
    let routes = route::settle(top, paths, &KEYS);
    let dns = section(top, "dns").map(|table| dns::settle(&table, &KEYS)).unwrap_or_default();
    let admin_section = section(top, "admin");
    let admin = admin_section.as_ref().and_then(|table| admin(table, paths));
    let cache = section(top, "cache").map(|table| cache::settle(&table, &KEYS));
    let limits = section(top, "limits").map(|table| limits::settle(&table, &KEYS)).unwrap_or_default();
    Some(Config { edge: edge?, threads, listen, policy, guard, audit, routes, dns, admin, cache, limits })
}

fn section<'r>(top: &Table<'r>, key: &'static str) -> Option<Table<'r>> {
    top.optional(key).and_then(|value| value.table())
}

fn edge(top: &Table<'_>, machine: EdgeName) -> Option<EdgeName> {
    top.optional("edge").map_or(Some(machine), |value| edge_name(&value.string()?))
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

pub(super) fn socket_address(text: &Text<'_>) -> Option<SocketAddr> {
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
    let keep_revisions = value("keep_revisions").and_then(|value| value.integer(1..=1_000));
    let keep_revisions = keep_revisions.and_then(|kept| usize::try_from(kept).ok());
    let keys = value("keys").map(|value| keys::keys(&value)).unwrap_or_default();
    let policy = Policy {
        directory: paths.or_default(value("directory"), "policies"),
        state: paths.or_default(value("state"), "state"),
        debounce: debounce_ms.map_or(SETTLE_QUIET, Duration::from_millis),
        keep_revisions: keep_revisions.unwrap_or(KEPT_REVISIONS),
        blocked_by: value("blocked_by").and_then(|value| absolute_url(&value.string()?)),
        threshold: keys::needed(value("threshold"), &keys, false),
        keys,
        shadow: value("shadow").and_then(|value| value.boolean()).unwrap_or(false),
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
