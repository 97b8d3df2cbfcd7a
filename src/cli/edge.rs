//! `run`, `status`, `reload` and `upgrade`.

use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::{ConfigArgs, Exit, LogFormat, RunArgs, complain};
use crate::config::Config;
use crate::server;

pub(super) fn run(args: &RunArgs) -> Exit {
    start_log(args.log_format);
    match server::run(&args.config.config) {
        Ok(()) => Exit::Fine,
        Err(error) if error.is_configuration() => complain(Exit::Usage, &error),
        Err(error) => complain(Exit::Io, &error),
    }
}

/// Structured log lines on standard error. Pingora's own are shown from warnings upwards.
fn start_log(format: LogFormat) {
    let quiet_by_default = "info,pingora_core=warn,pingora_proxy=warn,pingora_pool=warn,pingora_cache=error";
    let filter =
        EnvFilter::try_from_env("INTERDICT_LOG").unwrap_or_else(|_| EnvFilter::new(quiet_by_default));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

pub(super) fn ask(args: &ConfigArgs, command: &str) -> Exit {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return complain(Exit::Usage, &error),
    };
    match server::ask(&config.policy.state, command) {
        Ok(answer) => {
            print!("{answer}");
            let Ok(answer) = serde_json::from_str::<Value>(&answer) else {
                return complain(Exit::Io, &"the edge went away before it had answered");
            };
            let refused = [Value::from("rejected"), Value::from("held")];
            let rejected = |pointer| answer.pointer(pointer).is_some_and(|result| refused.contains(result));
            let failed = answer.get("error").is_some() || rejected("/result") || rejected("/config/result");
            if failed { Exit::No } else { Exit::Fine }
        }
        Err(error) => complain(Exit::Io, &format!("{error}; is the edge running?")),
    }
}
