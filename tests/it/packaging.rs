//! What is installed agrees with itself: the unit, the package, the image and the configuration they share.

use std::fs;
use std::path::Path;

use interdict::config::Config;

use crate::harness::process::BINARY;
use crate::harness::tools::run;
use crate::tidy::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest() -> toml::Value {
    read("Cargo.toml").parse::<toml::Table>().unwrap()["package"]["metadata"]["deb"].clone()
}

/// Where the package puts each file: from, to, mode.
fn assets() -> Vec<(String, String, String)> {
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let assets = manifest()["assets"].as_array().unwrap().clone();
    assets.iter().map(|asset| (text(&asset[0]), text(&asset[1]), text(&asset[2]))).collect()
}

/// The values of a key of the unit.
fn unit(key: &str) -> Vec<String> {
    let unit = read("examples/packaging/interdict.service");
    let values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

#[test]
fn the_configuration_of_the_package_is_one_and_writes_only_where_the_unit_lets_it() {
    let config = Config::load(&root().join("examples/packaging/etc/edge.toml")).unwrap();
    assert_eq!(unit("StateDirectory"), ["interdict"]);
    assert_eq!(unit("LogsDirectory"), ["interdict"]);
    assert_eq!(config.policy.state, Path::new("/var/lib/interdict"));
    assert!(config.audit.directory.starts_with("/var/log/interdict"));
    assert!(config.policy.directory.ends_with("etc/policies"), "beside the file");
}

#[test]
fn what_the_unit_starts_is_what_the_package_installs() {
    let assets = assets();
    let installed = |path: &str| {
        let path = path.trim_start_matches('/');
        assets.iter().any(|(from, to, _)| {
            let name = Path::new(from).file_name().unwrap().to_str().unwrap();
            to == path || (to.ends_with('/') && format!("{to}{name}") == path)
        })
    };
    for command in unit("ExecStart").into_iter().chain(unit("ExecReload")) {
        let words: Vec<&str> = command.split(' ').collect();
        assert!(installed(words[0]), "{command}");
        assert!(installed(words.last().unwrap()), "{command}");
    }
    for file in manifest()["conf-files"].as_array().unwrap() {
        assert!(installed(file.as_str().unwrap()), "{file:?}");
    }
    assert!(installed("/usr/lib/systemd/system/interdict.service"));
    for (from, _, mode) in &assets {
        assert_eq!(mode == "755", from.starts_with("target/"), "{from}");
        let there = from.trim_end_matches("*.md").trim_end_matches('*');
        assert!(from.starts_with("target/") || root().join(there).exists(), "{from}");
    }
}

#[test]
fn the_unit_gives_the_edge_no_more_than_low_ports() {
    assert_eq!(unit("Type"), ["notify"]);
    assert_eq!(unit("NotifyAccess"), ["main"], "MAINPID is handed on by the main process");
    assert_eq!(unit("User"), ["interdict"]);
    assert_eq!(unit("AmbientCapabilities"), ["CAP_NET_BIND_SERVICE"]);
    assert_eq!(unit("CapabilityBoundingSet"), ["CAP_NET_BIND_SERVICE"]);
    assert_eq!(unit("ProtectSystem"), ["strict"]);
    assert_eq!(unit("NoNewPrivileges"), ["yes"]);
    assert_eq!(unit("WatchdogSec").len(), 1);
    let made = read("examples/packaging/deb/postinst");
    assert!(made.contains("adduser --system --group"), "the package makes the user of the unit");
    assert!(unit("ReadWritePaths").is_empty(), "its state and its log are all it writes");
}

#[test]
fn the_scripts_of_the_package_and_the_image_are_sound_shell() {
    for script in ["deb/postinst", "deb/prerm", "deb/postrm", "rootfs"] {
        let path = root().join("examples/packaging").join(script);
        let output = run("sh", ["-n", path.to_str().unwrap()]);
        assert_eq!(output.code, 0, "{script}: {}", output.stderr);
        let starts = fs::read_to_string(&path).unwrap().starts_with("#!/bin/sh\n");
        assert!(starts, "{script}");
    }
}

#[test]
fn the_image_holds_the_program_and_all_it_is_linked_with() {
    let home = tempfile::tempdir().unwrap();
    let script = root().join("examples/packaging/rootfs");
    let output = run(script.to_str().unwrap(), [BINARY, home.path().to_str().unwrap()]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    // Every library the loader asks for has to be there, and the loader itself.
    let linked = run("ldd", [BINARY]);
    let libraries = linked.stdout.split_whitespace().filter(|word| word.starts_with('/'));
    for library in libraries.chain(["/usr/bin/interdict", "/etc/nsswitch.conf"]) {
        assert!(home.path().join(library.trim_start_matches('/')).exists(), "{library}");
    }
    let image = read("examples/packaging/Dockerfile");
    let user = image.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(!user.starts_with('0') && !user.contains("root"), "{user}");
    assert!(image.lines().any(|line| line == "FROM scratch"), "no shell comes along");
    // The commands of an image without a shell are lists.
    for line in image.lines().filter(|line| line.starts_with("CMD") || line.starts_with("ENTRYPOINT")) {
        assert!(line.contains('['), "{line}");
    }
}
