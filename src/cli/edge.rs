//! `run`, `status`, `reload` and `upgrade`.

use serde_json::Value;

use super::node::node_of;
use super::{ConfigArgs, Exit, RunArgs, complain, log};
use crate::server;

pub(super) fn run(args: &RunArgs) -> Exit {
    let log = log::start(args.log_format);
    let ended = server::run(&args.config.config);
    // Its last lines before what is said of the end.
    let is_heard = log.end();
    let Err(error) = ended else { return Exit::Fine };
    let exit = if error.is_configuration() { Exit::Usage } else { Exit::Io };
    if is_heard { complain(exit, &error) } else { exit }
}

pub(super) fn ask(args: &ConfigArgs, command: &str) -> Exit {
    let node = match node_of(&args.config) {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    match server::ask(&node.policy.state, command) {
        Ok(answer) => {
            say_text!("{answer}");
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
