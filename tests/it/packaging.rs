//! What is installed agrees with itself: the unit, the package, the image and the configuration they share.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    // `@system-service` holds `setpriority`, by which names are merged behind the requests.
    let calls = unit("SystemCallFilter");
    assert_eq!(calls, ["@system-service", "~@privileged"], "what takes `@resources` away takes that away");
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
    let authorities = "/etc/ssl/certs/ca-certificates.crt";
    for library in libraries.chain(["/usr/bin/interdict", "/etc/nsswitch.conf", authorities]) {
        assert!(home.path().join(library.trim_start_matches('/')).exists(), "{library}");
    }
    let image = read("examples/packaging/Dockerfile");
    let user = image.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(!user.starts_with('0') && !user.contains("root"), "{user}");
    assert!(image.lines().any(|line| line == "FROM scratch"), "no shell comes along");
    starts_in(home.path());
    // The commands of an image without a shell are lists.
    for line in image.lines().filter(|line| line.starts_with("CMD") || line.starts_with("ENTRYPOINT")) {
        assert!(line.contains('['), "{line}");
    }
}

/// The edge starts where nothing but the image is to be seen.
fn starts_in(image: &Path) {
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root can make a directory the root of a process");
        return;
    }
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n[policy]\ndirectory = \"policies\"\n\
                  state = \"/var/lib/interdict\"\n[audit]\ndirectory = \"/var/log/interdict/audit\"\n\
                  [[route]]\nhosts = [\"*\"]\norigins = [\"127.0.0.1:9\"]\n";
    fs::write(image.join("etc/interdict/edge.toml"), config).unwrap();
    let mut edge = Command::new("chroot")
        .arg(image)
        .args(["/usr/bin/interdict", "run", "--config", "/etc/interdict/edge.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(edge.stdout.take().unwrap()).lines().map_while(Result::ok);
    let is_ready = lines.into_iter().any(|line| line == "ready");
    edge.kill().unwrap();
    let output = edge.wait_with_output().unwrap();
    assert!(is_ready, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_image_and_the_package_put_things_in_the_same_places() {
    let image = read("examples/packaging/Dockerfile");
    let config = Config::load(&root().join("examples/packaging/etc/edge.toml")).unwrap();
    let volumes = image.lines().find_map(|line| line.strip_prefix("VOLUME ")).unwrap();
    let volumes: Vec<PathBuf> = serde_json::from_str(volumes).unwrap();
    assert!(volumes.contains(&config.policy.state), "{volumes:?}");
    assert!(volumes.iter().any(|volume| config.audit.directory.starts_with(volume)), "{volumes:?}");
    let start = unit("ExecStart");
    let words: Vec<&str> = start[0].split(' ').collect();
    let program = format!("ENTRYPOINT [\"{}\"]", words[0]);
    let arguments = format!("CMD {:?}", &words[1..]);
    assert!(image.contains(&program) && image.contains(&arguments), "{program} {arguments}");
    let health = image.lines().find(|line| line.starts_with("HEALTHCHECK ")).unwrap();
    assert!(health.contains(words[0]) && health.contains(words.last().unwrap()), "{health}");
}

#[test]
fn the_package_brings_the_authorities_that_the_edge_does_not_start_without() {
    let depends = manifest()["depends"].as_str().unwrap().to_owned();
    let depends: Vec<&str> = depends.split(", ").collect();
    assert!(depends.contains(&"ca-certificates") && depends.contains(&"$auto"), "{depends:?}");
    assert!(depends.contains(&"adduser"), "the user is made with it");
}

#[test]
fn systemd_understands_every_line_of_the_unit_and_finds_little_exposed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("left out: there is no systemd-analyze here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("interdict.service");
    // With a program that is there.
    fs::write(&path, read("examples/packaging/interdict.service").replace("/usr/bin/interdict", BINARY))
        .unwrap();
    let path = path.to_str().unwrap();
    let output = run("systemd-analyze", ["verify", path]);
    // It looks at the units beside it as well, which are not ours.
    assert!(!output.stderr.contains("interdict.service"), "{}", output.stderr);
    // In tenths of what systemd calls exposure.
    let output = run("systemd-analyze", ["security", "--offline=true", "--threshold=20", path]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}

#[test]
fn every_metric_that_the_documents_name_is_one() {
    let metrics = interdict::metrics::Metrics::new().unwrap();
    // Those with labels show themselves once they have been counted.
    metrics.verdict("request.blocked", "T-1", &Default::default());
    metrics.rejected("slow");
    metrics.reloaded("applied");
    metrics.looked_up(true);
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    let kept: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut named = 0;
    for document in fs::read_dir(root().join("docs")).unwrap() {
        let path = document.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        // `interdict_audit_*` names a family.
        for word in words.filter(|word| word.starts_with("interdict_") && !word.ends_with('_')) {
            let is_package = word.starts_with("interdict_0") || word.ends_with("_amd64");
            assert!(is_package || kept.contains(&word), "{}: {word}", path.display());
            named += usize::from(!is_package);
        }
    }
    assert!(named >= 20, "{named} metrics are named");
}
