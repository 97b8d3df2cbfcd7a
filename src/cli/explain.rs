//! `explain`: the data plane's own decision about one host.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use jiff::Timestamp;

use super::check::PolicySource;
use super::{Exit, complain};
use crate::decide::{Explanation, Subject};
use crate::hostname::Hostname;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The host, in any spelling a client may use.
    host: String,
    /// The client's address [default: one that is in no network]
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The server name of the TLS handshake, when it differs.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The moment to judge at, as 2026-11-20T22:15:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    source: PolicySource,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExplainArgs) -> Exit {
    let names = match names(args) {
        Ok(names) => names,
        Err(exit) => return exit,
    };
    let (ruleset, _) = match args.source.load() {
        Ok(loaded) => loaded,
        // Without policies there is no answer, neither yes nor no.
        Err(_) => return Exit::Usage,
    };
    let subject = Subject { names: &names, client: args.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) };
    let explanation = Explanation::whole(&ruleset, &subject, args.at.unwrap_or_else(Timestamp::now));
    if args.json {
        match serde_json::to_string(&explanation) {
            Ok(line) => say!("{line}"),
            Err(error) => return complain(Exit::Io, &error),
        }
    } else {
        let asked: Vec<&str> = names.iter().map(Hostname::as_str).collect();
        say!("{}: {explanation}", asked.join(" and "));
        for (number, candidate) in (1..).zip(&explanation.candidates) {
            say!("  {number}. {candidate}");
        }
    }
    Exit::Fine
}

/// The host, and the server name when it is another.
fn names(args: &ExplainArgs) -> Result<Vec<Hostname>, Exit> {
    let refuse = |text: &str, error: &dyn std::fmt::Display| {
        complain(Exit::Usage, &format!("`{}` is no host: {error}", text.escape_debug()))
    };
    let (host, _port) =
        Hostname::parse_authority(args.host.as_bytes()).map_err(|error| refuse(&args.host, &error))?;
    let mut names = vec![host];
    if let Some(text) = &args.sni {
        let sni = Hostname::parse(text).map_err(|error| refuse(text, &error))?;
        if !names.contains(&sni) {
            names.push(sni);
        }
    }
    Ok(names)
}
