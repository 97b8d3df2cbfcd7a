//! `[[route]]`: which origins serve which hosts.

use super::parse::Paths;
use crate::document::{Table, Text, Value};
use crate::forward::{Origin, Route, Routes};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::Pattern;

/// All routes, which may be none.
pub(super) fn settle(top: &Table<'_>, _paths: &Paths<'_>, upper: &[&'static str]) -> Routes {
    let tables =
        top.optional("route").map(|value| value.tables(limits::TABLES_PER_CONFIG)).unwrap_or_default();
    let mut routes = Routes::default();
    for table in &tables {
        let hosts = table.required("hosts", "hosts = [\"*\"]");
        let origins = table.required("origins", "origins = [\"127.0.0.1:9000\"]");
        let cache = table.optional("cache").and_then(|value| value.boolean()).unwrap_or(true);
        routes.add(Route { origins: origins.map(|value| origin_list(&value)).unwrap_or_default(), cache });
        if let Some(value) = hosts {
            lead_hosts(&value, &mut routes);
        }
        table.finish(upper);
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
