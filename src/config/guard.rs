//! `[guard]`: how large a change of policies may be that nobody has approved of.

use std::ops::RangeInclusive;

use super::{Verifier, keys};
use crate::document::{Table, Value};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::Pattern;
use crate::policy::guard::{Protected, Settings};

/// `[guard]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The rails.
    pub settings: Settings,
    /// So many have to approve of a set that is held back: `approvals`, 1 to 64. Default: 1.
    pub approvals: usize,
    /// Whose approvals count: `keys`. Default: none, and whoever may use the control socket approves.
    pub keys: Vec<Verifier>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { settings: Settings::default(), approvals: 1, keys: Vec::new() }
    }
}

/// The section.
pub(super) fn settle(table: &Table<'_>, upper: &[&'static str]) -> Guard {
    let default = Settings::default();
    let number = |key, range: RangeInclusive<u64>, default| {
        table.optional(key).and_then(|value| value.integer(range)).unwrap_or(default)
    };
    let (names, growth) = (0..=limits::HOSTS_PER_SET as u64, 0..=1_000_000);
    let percent = 0..=100;
    let settings = Settings {
        protect: table.optional("protect").map(|value| protected(&value)).unwrap_or_default(),
        allow_suffixes: table.optional("allow_suffixes").map(|value| suffixes(&value)).unwrap_or_default(),
        max_added: number("max_added", names.clone(), default.max_added),
        max_added_percent: number("max_added_percent", growth, default.max_added_percent),
        max_removed: number("max_removed", names.clone(), default.max_removed),
        max_removed_percent: number("max_removed_percent", percent.clone(), default.max_removed_percent),
        widest_origins_v4: number("widest_origins_v4", 0..=32, default.widest_origins_v4),
        widest_origins_v6: number("widest_origins_v6", 0..=128, default.widest_origins_v6),
        widest_exempt_v4: number("widest_exempt_v4", 0..=32, default.widest_exempt_v4),
        widest_exempt_v6: number("widest_exempt_v6", 0..=128, default.widest_exempt_v6),
        list_shrink_percent: number("list_shrink_percent", 1..=100, default.list_shrink_percent),
        list_growth: number("list_growth", 2..=1_000_000, default.list_growth),
        list_bad_percent: number("list_bad_percent", 1..=100, default.list_bad_percent),
        max_blocked_requests_percent: number(
            "max_blocked_requests_percent",
            percent.clone(),
            default.max_blocked_requests_percent,
        ),
        max_blocked_routes_percent: number(
            "max_blocked_routes_percent",
            percent,
            default.max_blocked_routes_percent,
        ),
        floor: number("floor", names, default.floor),
    };
    let keys = table.optional("keys").map(|value| keys::keys(&value)).unwrap_or_default();
    let approvals = keys::needed(table.optional("approvals"), &keys, true);
    table.finish(upper);
    Guard { settings, approvals, keys }
}

fn protected(value: &Value<'_>) -> Protected {
    let mut protected = Protected::default();
    for text in value.strings(limits::HOSTS_PER_CASE_FILE) {
        let written = text.as_str();
        // An address is a network of one, so that it is protected as an origin as well as by name.
        if written.contains('/') || written.parse::<std::net::IpAddr>().is_ok() {
            protected.networks.extend(text.network());
            continue;
        }
        match Pattern::parse(written) {
            Ok(pattern) => protected.names.push(pattern),
            Err(error) => text.spot().error_with_hint(
                format_args!("`{}` is neither a name nor a network: {error}", text.shown()),
                "write `www.example`, `.example` (it and all below), `*.example` or `192.0.2.0/24`",
            ),
        }
    }
    protected
}

fn suffixes(value: &Value<'_>) -> Vec<Hostname> {
    let mut known = Vec::new();
    for text in value.strings(limits::ITEMS_PER_CASE) {
        match Hostname::parse(text.as_str()) {
            Ok(name) => known.push(name),
            Err(error) => text.spot().error_with_hint(
                format_args!("`{}` is no name: {error}", text.shown()),
                "write the suffix without a dot before it, like `github.io`",
            ),
        }
    }
    known
}
