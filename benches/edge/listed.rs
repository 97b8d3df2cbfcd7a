//! nginx and HAProxy with a list of names to block, each in the way of its manual.

use std::collections::HashSet;
use std::fmt::{Display, Write};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::tempdir;

use super::server::{Haproxy, Nginx, Server};
use super::until;

/// Where the names are, in the directory of the server.
pub const NGINX_LIST: &str = "names.conf";
pub const HAPROXY_LIST: &str = "names.map";

/// A line of [`NGINX_LIST`].
pub fn nginx_line(name: &dyn Display) -> String {
    format!("{name} 1;\n")
}

/// A line of [`HAPROXY_LIST`].
pub fn haproxy_line(name: &dyn Display) -> String {
    format!("{name} 1\n")
}

/// nginx with one worker that answers 451 to the names and 200 to others. Nothing when it is not installed.
pub fn nginx<N: Display>(core: Option<usize>, names: &HashSet<N>) -> Option<Server> {
    let http = |addresses: &[SocketAddr], home: &Path| {
        format!(
            "access_log off; {}\nserver {{ listen {}; if ($blocked) {{ return 451; }} return 200; }}",
            nginx_map(names, home),
            addresses[0]
        )
    };
    let server = Nginx { core, workers: 1, listeners: 1, http: &http }.start(tempdir().unwrap())?;
    Some(at_work(server, names))
}

/// Writes the names into its directory; lines of its `http` block that set `$blocked` for them.
pub fn nginx_map<N: Display>(names: &HashSet<N>, home: &Path) -> String {
    fs::write(home.join(NGINX_LIST), lines(names, nginx_line)).unwrap();
    format!(
        "map_hash_max_size {}; map_hash_bucket_size 128;\n\
         map $host $blocked {{ hostnames; default 0; include {}/{NGINX_LIST}; }}",
        (names.len() * 2).max(1024),
        home.display(),
    )
}

/// The same of HAProxy, with one thread.
pub fn haproxy<N: Display>(core: Option<usize>, names: &HashSet<N>) -> Option<Server> {
    let sections = |addresses: &[SocketAddr], home: &Path| {
        fs::write(home.join(HAPROXY_LIST), lines(names, haproxy_line)).unwrap();
        format!(
            "frontend f\n  bind {}\n\
             \x20 http-request return status 451 if {{ req.hdr(host),map_str({}/{HAPROXY_LIST}) -m found }}\n\
             \x20 http-request return status 200\n",
            addresses[0],
            home.display()
        )
    };
    let server =
        Haproxy { core, listeners: 1, logs: false, sections: &sections }.start(tempdir().unwrap())?;
    Some(at_work(server, names))
}

fn lines<N: Display>(names: &HashSet<N>, line: fn(&dyn Display) -> String) -> String {
    names.iter().fold(String::with_capacity(names.len() * 28), |mut text, name| {
        text.write_str(&line(name)).unwrap();
        text
    })
}

/// A master takes connections before it has a worker, and before it has given back what it read: whoever looked at its
/// memory then would see neither. An answer comes from a worker only.
fn at_work<N: Display>(server: Server, names: &HashSet<N>) -> Server {
    let (host, code) = match names.iter().next() {
        Some(name) => (name.to_string(), 451),
        None => ("nobody.example".to_owned(), 200),
    };
    until(server.addresses[0], &host, code, Duration::from_millis(1));
    server
}
