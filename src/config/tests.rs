//! Tests of configurations.

use std::path::Path;

use super::*;
use crate::audit::{Period, Pseudonyms};
use crate::forward::{Balance, HashKey, HealthCheck, Origin, OriginTls, Route};
use crate::hostname::Hostname;
use crate::policy::Pattern;
use crate::policy::guard::{Protected, Settings};

const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";

fn parse(text: &str) -> Config {
    Config::parse(&format!("{LISTEN}{text}"), "edge.toml", Path::new("/etc/interdict")).unwrap()
}

fn pseudonyms(keys: &str, period: Period) -> ClientPrivacy {
    ClientPrivacy::Pseudonym(Pseudonyms { keys: keys.into(), period })
}

fn port_for(routes: &Routes, host: &str) -> Option<u16> {
    let route = routes.find(&Hostname::parse(host).unwrap())?;
    route.origins.first().map(|origin| origin.port)
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let patterns = ["*", ".example", "*.a.example", ".a.example", "a.example", "192.0.2.1"];
    let text = |order: &[usize]| -> String {
        let route = |index: &usize| {
            let pattern = patterns[*index];
            format!("[[route]]\nhosts = [\"{pattern}\"]\norigins = [\"127.0.0.1:{}\"]\n", 9000 + index)
        };
        order.iter().map(route).collect()
    };
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]] {
        let routes = parse(&text(&order)).routes;
        assert_eq!(port_for(&routes, "a.example"), Some(9004));
        assert_eq!(port_for(&routes, "x.a.example"), Some(9002));
        assert_eq!(port_for(&routes, "b.example"), Some(9001));
        assert_eq!(port_for(&routes, "example"), Some(9001));
        assert_eq!(port_for(&routes, "b.test"), Some(9000));
        assert_eq!(port_for(&routes, "192.0.2.1"), Some(9005));
        assert_eq!(port_for(&routes, "192.0.2.2"), Some(9000));
    }
}

#[test]
fn without_a_route_there_is_none() {
    assert_eq!(port_for(&parse("").routes, "a.example"), None);
    let routes = parse("[[route]]\nhosts = [\"*.a.example\"]\norigins = [\"127.0.0.1:9000\"]\n").routes;
    assert_eq!(port_for(&routes, "a.example"), None);
    assert_eq!(port_for(&routes, "b.a.example"), Some(9000));
}

fn full_route() -> Route {
    let host = |name| Hostname::parse(name).unwrap();
    let origin = |name, port, weight| Origin { host: host(name), port, weight };
    Route {
        cache: false,
        balance: Balance::ConsistentHash(HashKey::Path),
        tls: Some(OriginTls {
            name: Some(host("origin.example")),
            ca: Some("/etc/interdict/secrets/origin-ca.pem".into()),
            verify: true,
        }),
        http2: true,
        retries: 1,
        connect_timeout: Some(Duration::from_secs(2)),
        upstream_timeout: Some(Duration::from_secs(30)),
        max_connections: Some(1000),
        health: Some(HealthCheck {
            path: Some("/healthz".to_owned()),
            host: Some(host("health.example")),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failures: 2,
            successes: 1,
        }),
        ..Route::to(vec![origin("origin.example", 8080, 1), origin("192.0.2.7", 8443, 3)])
    }
}

fn full_dns() -> Dns {
    let servers = ["192.0.2.53:53", "127.0.0.1:5353", "[2001:db8::53]:5353", "[2001:db8::54]:53"];
    Dns {
        resolvers: servers.map(|server| server.parse().unwrap()).into(),
        min_ttl: Duration::from_secs(5),
        max_ttl: Duration::from_secs(600),
        keep: Duration::from_secs(48 * 3600),
    }
}

fn full_guard(keys: Vec<Verifier>) -> Guard {
    let names = [".edge.example", "www.operator.example"].map(|name| Pattern::parse(name).unwrap());
    let networks = ["198.51.100.0/24", "2001:db8::1/128"].map(|network| network.parse().unwrap());
    let settings = Settings {
        protect: Protected { names: names.into(), networks: networks.into() },
        allow_suffixes: vec![Hostname::parse("github.io").unwrap()],
        max_added: 50_000,
        max_added_percent: 20,
        max_removed: 5_000,
        max_removed_percent: 10,
        widest_origins_v4: 20,
        widest_origins_v6: 40,
        widest_exempt_v4: 12,
        widest_exempt_v6: 28,
        list_shrink_percent: 30,
        list_growth: 3,
        list_bad_percent: 5,
        max_blocked_requests_percent: 10,
        max_blocked_routes_percent: 15,
        floor: 100,
    };
    Guard { settings, approvals: 2, keys }
}

#[test]
fn every_key_of_the_full_example_is_taken() {
    let full = include_str!("../../tests/cases/config/full.toml");
    let config = Config::parse(full, "edge.toml", Path::new("/etc/interdict")).unwrap();
    assert_eq!(config.edge.as_str(), "fra-3");
    assert_eq!(config.listen.len(), 3);
    let trusted = |at: usize| -> Vec<String> {
        config.listen[at].trusted_proxies.iter().map(ToString::to_string).collect()
    };
    assert_eq!((trusted(0), trusted(2)), (vec!["10.0.0.0/8".to_owned()], vec!["192.0.2.1/32".to_owned()]));
    assert!(config.listen[2].proxy_protocol && !config.listen[0].proxy_protocol);
    assert_eq!(config.listen[2].client_header.as_ref().map(|name| name.as_str()), Some("x-forwarded-for"));
    assert_eq!(config.policy.debounce, Duration::from_millis(20));
    assert_eq!((config.policy.keys.len(), config.policy.threshold, config.policy.shadow), (2, 2, true));
    assert_eq!(config.guard, full_guard(config.policy.keys.clone()));
    assert_eq!(config.audit.client, pseudonyms("/etc/interdict/secrets/client.key", Period::Week));
    assert_eq!(config.audit.acknowledge, Acknowledge::Disk);
    assert_eq!(config.audit.commit_interval, Duration::from_micros(2500));
    assert_eq!(config.audit.spare.as_deref(), Some(Path::new("/mnt/spare/audit")));
    assert_eq!(config.audit.segment_bytes, 1_048_576);
    let admin = config.admin.unwrap();
    assert_eq!(admin.token_file.as_deref(), Some(Path::new("/etc/interdict/secrets/admin.token")));
    let origins: Vec<_> = config.routes.all()[0].origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["127.0.0.1:9000", "[2001:db8::1]:80"]);
    let cache = Cache {
        bytes: 536_870_912,
        object_bytes: 1_048_576,
        default_ttl: Some(Duration::from_secs(60)),
        lock_timeout: Duration::from_secs(2),
    };
    assert_eq!(config.cache, Some(cache));
    assert_eq!(config.dns, full_dns());
    assert_eq!(config.routes.all().iter().map(|route| route.cache).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(config.routes.all()[1], full_route());
    let short = &config.routes.all()[2];
    let tls = OriginTls { name: None, ca: None, verify: true };
    assert_eq!((short.tls.as_ref(), short.balance), (Some(&tls), Balance::LeastConnections));
    assert_eq!(
        short.health.as_ref().map(|health| (health.failures, health.path.as_deref())),
        Some((3, None))
    );
    let limits = Limits {
        client_timeout: Duration::from_secs(45),
        header_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_secs(120),
        head_bytes: 16 * 1024,
        header_fields: 64,
        min_rate: 0,
        connections: 50_000,
        connections_per_network: 200,
        blocked_rate: 10,
        http2_streams: 50,
        http2_header_list_bytes: 8 * 1024,
        http2_resets: 20,
        http2_control_frames: 100,
        connect_timeout: Duration::from_secs(3),
        upstream_timeout: Duration::from_secs(3600),
        stop_grace: Duration::ZERO,
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn relative_paths_are_relative_to_the_file_and_absolute_ones_stay() {
    let config = parse("[policy]\ndirectory = \"p\"\nstate = \"/var/lib/interdict\"\n");
    assert_eq!(config.policy.directory, Path::new("/etc/interdict/p"));
    assert_eq!(config.policy.state, Path::new("/var/lib/interdict"));
    assert_eq!(config.audit.directory, Path::new("/etc/interdict/audit"));
    assert_eq!(config.audit.client, pseudonyms("/var/lib/interdict/client.key", Period::Month));
}

#[test]
fn a_file_is_read_from_disk_and_the_edge_gets_the_name_of_the_machine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.toml");
    std::fs::write(&path, LISTEN).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.policy.directory, directory.path().join("policies"));
    assert!(EdgeName::parse(config.edge.as_str()).is_some());
}

#[test]
fn commands_find_their_edge_in_a_file_that_is_wrong_elsewhere_and_guess_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.toml");
    let node = |text: &str| {
        std::fs::write(&path, text).unwrap();
        assert!(Config::load(&path).is_err(), "{text}");
        Node::load(&path)
    };
    for wrong in ["lisen = 1", "threads = 0", "[[route]]\nhosts = 1", "[audit]\nclient = \"x\"", "[cash]"] {
        let text = format!("edge = \"fra-3\"\n{wrong}\n[policy]\ndirectory = \"p\"\nstate = \"s\"\n");
        let found = node(&text).unwrap_or_else(|error| panic!("{wrong}: {error}"));
        assert_eq!((found.edge.as_str(), found.policy.directory), ("fra-3", directory.path().join("p")));
        assert_eq!(found.policy.state, directory.path().join("s"));
    }
    // Where the policies are is not guessed: a case that is written elsewhere is enforced by nobody.
    for wrong in [
        "[polcy]\ndirectory = \"p\"",
        "[policy]\ndirectry = \"p\"",
        "[policy]\ndirectory = \"p\"\nthreshold = 2",
        "policy = 1",
        "edge = \"a b\"\n[policy]\ndirectory = \"p\"",
        "threads = 0\n[policy]\ndirectory = \"p",
        "[policy]\ndirectory = \"p\"\n[policy]\ndirectory = \"q\"",
        "",
    ] {
        assert!(matches!(node(wrong), Err(ConfigError::Invalid(_))), "{wrong}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_no_wrong_file() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Config::load(&directory.path().join("edge.toml")).unwrap_err();
    assert!(matches!(missing, ConfigError::Read { .. }), "{missing}");
    let not_a_file = Config::load(directory.path()).unwrap_err();
    assert!(matches!(not_a_file, ConfigError::Read { .. }), "{not_a_file}");

    let path = directory.path().join("huge.toml");
    std::fs::write(&path, "# ".repeat(1024 * 1024)).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Invalid(_))));
    std::fs::write(&path, b"edge = \"\xFF\"").unwrap();
    let Err(ConfigError::Invalid(found)) = Config::load(&path) else { panic!("bytes that are no text") };
    let first = found.errors().next().unwrap();
    assert_eq!((first.line, first.column), (1, 9));
}

#[test]
fn the_largest_object_fits_into_the_cache_whatever_its_size() {
    let cache = parse("[cache]\nbytes = 1_048_576\n").cache.unwrap();
    assert_eq!((cache.bytes, cache.object_bytes), (1_048_576, 1_048_576));
    assert_eq!(parse("").cache, None);
}
