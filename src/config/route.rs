//! `[[route]]`: which origins serve which hosts.

use std::time::Duration;

use super::origin;
use super::parse::Paths;
use crate::document::{Table, Value};
use crate::forward::{Route, Routes};
use crate::limits;
use crate::policy::Pattern;

/// All routes, which may be none.
pub(super) fn settle(top: &Table<'_>, paths: &Paths<'_>, upper: &[&'static str]) -> Routes {
    let tables =
        top.optional("route").map(|value| value.tables(limits::TABLES_PER_CONFIG)).unwrap_or_default();
    let mut routes = Routes::default();
    for table in &tables {
        let hosts = table.required("hosts", "hosts = [\"*\"]");
        let origins = table.required("origins", "origins = [\"127.0.0.1:9000\"]");
        let origins = origins.map(|value| origin::origins(&value)).unwrap_or_default();
        routes.add(settings(table, paths, Route::to(origins)));
        if let Some(value) = hosts {
            lead_hosts(&value, &mut routes);
        }
        table.finish(upper);
    }
    routes
}

/// What a route says beside its hosts and origins.
fn settings(table: &Table<'_>, paths: &Paths<'_>, default: Route) -> Route {
    let number = |key, range| {
        let written = table.optional(key).and_then(|value| value.integer(range));
        written.and_then(|number| usize::try_from(number).ok())
    };
    let duration = |key, longest| {
        let shortest = Duration::from_millis(10);
        table.optional(key).and_then(|value| value.duration(shortest..=Duration::from_secs(longest)))
    };
    Route {
        balance: origin::balance(table),
        cache: table.optional("cache").and_then(|value| value.boolean()).unwrap_or(default.cache),
        tls: table.optional("tls").and_then(|value| origin::tls(&value, paths)),
        http2: table.optional("http2").and_then(|value| value.boolean()).unwrap_or(default.http2),
        retries: number("retries", 0..=limits::UPSTREAMS_TRIED as u64 - 1).unwrap_or(default.retries),
        connect_timeout: duration("connect_timeout", 600),
        upstream_timeout: duration("upstream_timeout", 3600),
        max_connections: number("max_connections", 1..=1_000_000),
        health: table.optional("health").and_then(|value| origin::health(&value)),
        ..default
    }
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
