//! `load`: how fast the edge blocks and passes, and whether it does so rightly.

mod amounts;
mod interrupt;
mod outputs;
mod progress;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use self::amounts::Target;
use self::outputs::Outputs;
use super::{Exit, complain};
use crate::config::Config;
use crate::hostname::Hostname;
use crate::load::{self, Bound, Expect, Host, Plan, Protocol, Report, Run, RunError, Sought, Stop, Swapping};

const CODES: &str = "\
Exit codes:
  0  every answer was as it should be, and every id is on record
  1  one was not, a swap of policies failed, the run was interrupted, or no rate was found
  2  usage, configuration, policies, or a report that is none
  3  disk or network of the generator itself, or a log that cannot be read";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = CODES)]
pub(super) struct LoadArgs {
    #[command(subcommand)]
    command: Option<LoadCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum LoadCommand {
    /// Show two reports beside each other: 1 when in one of them not everything was right, or the second does not hold
    /// --at-most.
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// A report that --json wrote.
    before: PathBuf,
    /// Another one.
    after: PathBuf,
    /// How many times as long a percentile may be in the second one, as p99=1.2
    #[arg(long, value_name = "PERCENTILE=RATIO", value_parser = amounts::ratio)]
    at_most: Option<(f64, f64)>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Where the edge listens: 127.0.0.1:8080 or https://127.0.0.1:8443; certificates are not checked [default: the
    /// first listener in --config that fits, or 127.0.0.1:8080]
    #[arg(value_parser = amounts::target)]
    target: Option<Target>,
    /// A host that has to be blocked with a page; with `--protocol handshake`, refused.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    host: Vec<String>,
    /// A file of such hosts, one a line.
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// A host that has to be refused.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    refused: Vec<String>,
    /// Draw hosts that are blocked or refused from this policy directory.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// A host that has to pass.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    allowed: Vec<String>,
    /// The part of the requests that is for blocked hosts [default: 50% when there are hosts of both sorts]
    #[arg(long, value_name = "PERCENT", value_parser = amounts::share)]
    blocked: Option<f64>,
    /// How the edge is spoken to [default: h1, or tls-h1 for https://]
    #[arg(long, value_enum)]
    protocol: Option<ProtocolArg>,
    /// The path that is asked for.
    #[arg(long, default_value = "/")]
    path: String,
    /// The server name of TLS connections [default: the first allowed host, or the first one]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Connections, or handshakes at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Streams at a time of one HTTP/2 connection.
    #[arg(long, default_value_t = 10)]
    streams: usize,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Requests a second, as 20000 or 20k/s; with --find-rate the first that is tried.
    #[arg(long, default_value = "1000", value_parser = amounts::rate)]
    rate: f64,
    /// Search for the highest rate within --bound.
    #[arg(long)]
    find_rate: bool,
    /// What --find-rate has to hold, as p99=5ms
    #[arg(long, value_name = "PERCENTILE=LATENCY", default_value = "p99=5ms", value_parser = amounts::bound)]
    bound: Bound,
    /// How long is measured.
    #[arg(long, default_value = "10s", value_parser = amounts::duration)]
    duration: Duration,
    /// How long is sent before that.
    #[arg(long, default_value = "2s", value_parser = amounts::duration)]
    warm_up: Duration,
    /// For one answer.
    #[arg(long, default_value = "10s", value_parser = amounts::duration)]
    timeout: Duration,
    /// Have policies swapped so often meanwhile: a case file of --policies is touched, the edge of --config is asked.
    #[arg(long, value_name = "DURATION", value_parser = amounts::duration)]
    reload_every: Option<Duration>,
    /// Hold the ids that came against the log in this directory [default: the one in --config]
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// The configuration of the edge on this machine.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the report, histograms included.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Which hosts in which order: the same seed, the same requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Allow a target that is not this machine. Load on what is not yours is an attack.
    #[arg(long)]
    i_own_this_target: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProtocolArg {
    /// Cleartext HTTP/1.1.
    H1,
    /// Cleartext HTTP/2.
    H2,
    /// HTTP/1.1 over TLS.
    TlsH1,
    /// HTTP/2 over TLS.
    TlsH2,
    /// TLS handshakes that are refused.
    Handshake,
}

impl From<ProtocolArg> for Protocol {
    fn from(protocol: ProtocolArg) -> Self {
        match protocol {
            ProtocolArg::H1 => Self::H1,
            ProtocolArg::H2 => Self::H2,
            ProtocolArg::TlsH1 => Self::TlsH1,
            ProtocolArg::TlsH2 => Self::TlsH2,
            ProtocolArg::Handshake => Self::Handshake,
        }
    }
}

pub(super) fn run(args: &LoadArgs) -> Exit {
    let done = match &args.command {
        Some(LoadCommand::Compare(args)) => compare(args),
        None => args.run.run(),
    };
    done.unwrap_or_else(|exit| exit)
}

fn compare(args: &CompareArgs) -> Result<Exit, Exit> {
    let read = |path: &Path| Report::read(path).map_err(|error| complain(Exit::Usage, &error));
    let compared = load::compare(&read(&args.before)?, &read(&args.after)?, args.at_most);
    say_text!("{}", compared.text);
    Ok(if compared.holds { Exit::Fine } else { Exit::No })
}

impl RunArgs {
    fn run(&self) -> Result<Exit, Exit> {
        let config = self.config.as_deref().map(Config::load).transpose();
        let config = config.map_err(|error| complain(Exit::Usage, &error))?;
        let plan = self.plan(config.as_ref())?;
        plan.check().map_err(|error| complain(Exit::Usage, &error))?;
        let swapping = self.swapping(config.as_ref())?;
        let log = self.log(config.as_ref());
        if let Some(directory) = &log {
            // Found out now, and not when all has been sent.
            load::hold(directory, &Sought::nothing()).map_err(|error| complain(Exit::Io, &error))?;
        }
        let outputs = Outputs::open(self.json.as_deref(), self.html.as_deref())?;
        let stop = Stop::default();
        interrupt::heed(&stop).map_err(|error| complain(Exit::Io, &error))?;
        let (run, mut report) =
            self.carry_out(&plan, swapping.as_ref(), &stop).map_err(|error| match error {
                RunError::Io(_) | RunError::Files { .. } | RunError::Panicked => complain(Exit::Io, &error),
                RunError::Plan(_) | RunError::Host { .. } => complain(Exit::Usage, &error),
            })?;
        match log.map(|directory| load::hold(&directory, &run.sought())) {
            Some(Ok(held)) => report.audit = Some(held),
            // What was measured is told all the same.
            Some(Err(error)) => report.audit_problem = Some(error.to_string()),
            None => {}
        }
        say_text!("{}", report.text());
        outputs.write(&report)?;
        Ok(match (&report.audit_problem, report.is_sound()) {
            (Some(problem), _) => complain(Exit::Io, problem),
            (None, true) => Exit::Fine,
            (None, false) => Exit::No,
        })
    }

    fn carry_out(
        &self,
        plan: &Plan,
        swapping: Option<&Swapping>,
        stop: &Stop,
    ) -> Result<(Run, Report), RunError> {
        let bar = progress::Bar::new();
        let mut once = |plan: &Plan| {
            bar.begin(plan);
            let run = load::run_until(plan, swapping, stop, &mut |progress| bar.show(progress));
            bar.end();
            run
        };
        if self.find_rate {
            return load::find(plan, self.bound, &mut once);
        }
        let run = once(plan)?;
        let report = run.report();
        Ok((run, report))
    }

    fn plan(&self, config: Option<&Config>) -> Result<Plan, Exit> {
        let (target, protocol) = self.target(config)?;
        let blocked = self.blocked_hosts(target.address.ip(), protocol)?;
        let allowed = hosts(&self.allowed, Expect::Pass)?;
        let share = match (blocked.is_empty(), allowed.is_empty()) {
            (false, false) => 0.5,
            (_, allowed) => f64::from(u8::from(allowed)),
        };
        let server_name =
            self.sni.clone().or_else(|| allowed.iter().chain(&blocked).next().map(|host| host.name.clone()));
        Ok(Plan {
            target: target.address,
            protocol,
            blocked_share: self.blocked.unwrap_or(share),
            blocked,
            allowed,
            path: self.path.clone(),
            server_name,
            connections: self.connections,
            streams: self.streams,
            threads: self.threads.min(self.connections),
            rate: self.rate,
            duration: self.duration,
            warm_up: self.warm_up,
            timeout: self.timeout,
            seed: self.seed,
            keep_ids: true,
        })
    }

    /// Where to, and how; only this machine, unless it was said that the target is one's own.
    fn target(&self, config: Option<&Config>) -> Result<(Target, Protocol), Exit> {
        let asked = self.protocol.map(Protocol::from);
        let usage = |text: &str| complain(Exit::Usage, &text);
        let target = match (self.target, config) {
            (Some(target), _) => target,
            (None, Some(config)) => {
                let tls = asked.is_some_and(Protocol::is_tls);
                let listen = config
                    .listen
                    .iter()
                    .find(|listen| listen.tls.is_some() == tls && listen.address.port() != 0);
                let address = listen.map(|listen| listen.address);
                let none = || usage("no listener in --config fits --protocol: name the target");
                Target { address: address.ok_or_else(none)?, tls: Some(tls) }
            }
            (None, None) => Target { address: ([127, 0, 0, 1], 8080).into(), tls: None },
        };
        if !amounts::is_loopback(target.address.ip()) && !self.i_own_this_target {
            let text = format!(
                "`{}` is not this machine: load on what is not yours is an attack; --i-own-this-target says that it is yours",
                target.address
            );
            return Err(usage(&text));
        }
        let default = if target.tls == Some(true) { Protocol::TlsH1 } else { Protocol::H1 };
        let protocol = asked.unwrap_or(default);
        if target.tls.is_some_and(|tls| tls != protocol.is_tls()) {
            let text = format!("--protocol {} does not fit the scheme of the target", protocol.as_str());
            return Err(usage(&text));
        }
        Ok((target, protocol))
    }

    /// Hosts by name, from a file and from a policy set. Handshakes are for refused hosts alone.
    fn blocked_hosts(&self, client: std::net::IpAddr, protocol: Protocol) -> Result<Vec<Host>, Exit> {
        let handshake = protocol == Protocol::Handshake;
        if handshake && !self.allowed.is_empty() {
            return Err(complain(
                Exit::Usage,
                &"--protocol handshake is for hosts that are refused: leave --allowed out",
            ));
        }
        let expect = if handshake { Expect::Refusal } else { Expect::Page };
        let mut blocked = hosts(&self.host, expect)?;
        blocked.extend(hosts(&self.refused, Expect::Refusal)?);
        let usage = |error: &load::HostsError| complain(Exit::Usage, error);
        if let Some(path) = &self.hosts {
            let names = load::read_hosts(path).map_err(|error| usage(&error))?;
            blocked.extend(names.into_iter().map(|name| Host { name, expect }));
        }
        if let Some(directory) = &self.policies {
            let mut drawn = load::draw(directory, client, self.seed).map_err(|error| usage(&error))?;
            drawn.retain(|host| !handshake || host.expect == Expect::Refusal);
            blocked.extend(drawn);
        }
        Ok(blocked)
    }

    fn swapping(&self, config: Option<&Config>) -> Result<Option<Swapping>, Exit> {
        let Some(every) = self.reload_every else { return Ok(None) };
        let (state, policies) = (config.map(|config| config.policy.state.clone()), self.policies.clone());
        if state.is_none() && policies.is_none() {
            return Err(complain(Exit::Usage, &"--reload-every needs --policies, --config or both"));
        }
        if every.is_zero() {
            return Err(complain(Exit::Usage, &"--reload-every has to be longer than nothing"));
        }
        Ok(Some(Swapping { every, state, policies }))
    }

    fn log(&self, config: Option<&Config>) -> Option<PathBuf> {
        self.audit.clone().or_else(|| config.map(|config| config.audit.directory.clone()))
    }
}

/// Names in their canonical form, as they are sent.
fn hosts(names: &[String], expect: Expect) -> Result<Vec<Host>, Exit> {
    let one = |name: &String| match Hostname::parse(name) {
        Ok(host) => Ok(Host { name: host.as_str().to_owned(), expect }),
        Err(error) => {
            Err(complain(Exit::Usage, &format_args!("`{}` is no host: {error}", name.escape_debug())))
        }
    };
    names.iter().map(one).collect()
}
