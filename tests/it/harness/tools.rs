//! Programs that tests run: our own command line, and clients written by others.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::process::BINARY;

/// What a program said.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `interdict` with these arguments.
#[track_caller]
pub fn interdict<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    run(BINARY, arguments)
}

/// Runs `interdict` with these arguments and answers on its standard input.
#[track_caller]
pub fn interdict_with_input<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, input: &str) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that ends before it has read all of it is no failure of the test.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run `{program}` (`make tools` installs it): {error}"));
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs curl against an edge for a host, with further arguments.
#[track_caller]
pub fn curl(edge: SocketAddr, host: &str, arguments: &[&str]) -> Output {
    let resolve = format!("{host}:{}:{}", edge.port(), edge.ip());
    let url = format!("http://{host}:{}/", edge.port());
    let fixed = ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--resolve", &resolve];
    run("curl", fixed.iter().chain(arguments).copied().chain([url.as_str()]))
}

/// What h2load counted.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requests with a whole answer.
    pub done: u64,
    /// Requests that got none. (What h2load calls failed includes every 4xx.)
    pub errored: u64,
    /// Answers with 4xx.
    pub blocked: u64,
}

/// Runs h2load for a host: `--h1` or cleartext HTTP/2, over eight connections.
#[track_caller]
pub fn h2load(edge: SocketAddr, host: &str, requests: u32, http1: bool) -> Counts {
    let (url, there) = (format!("http://{host}/"), format!("--connect-to={edge}"));
    let count = requests.to_string();
    let mut arguments = vec!["-n", &count, "-c", "8", "-t", "1", &there];
    arguments.extend(if http1 { &["--h1"][..] } else { &["-m", "10"] });
    arguments.push(&url);
    let output = run("h2load", arguments);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let number = |line: &str, label: &str| {
        let line = output.stdout.lines().find(|text| text.starts_with(line));
        let mut counts = line.into_iter().flat_map(|line| line.split([':', ',']));
        let count = counts.find_map(|count| count.trim().strip_suffix(label));
        count.unwrap_or_else(|| panic!("no `{label}` in {}", output.stdout)).trim().parse().unwrap()
    };
    Counts {
        done: number("requests:", " done"),
        errored: number("requests:", " errored"),
        blocked: number("status codes:", " 4xx"),
    }
}
