//! What `terminate`, `reinstate` and `rollback` have in common: they change the policy directory while the running edge
//! holds still, and say what came of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};

use super::node::node_of;
use super::{Exit, complain};
use crate::config::Node;
use crate::limits;
use crate::policy::guard::Finding;
use crate::reload::{Note, Rehearsal};
use crate::server::{ControlError, Conversation, ask_about};

/// Between two looks at an edge that is being succeeded by another process.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// That no edge is running is fine: the next start takes it up.
    #[arg(long)]
    offline: bool,
    /// How long to wait for the edge.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

/// A command that changes the policy directory.
pub(super) struct Command<'a> {
    pub(super) args: &'a ChangeArgs,
    pub(super) node: Node,
    note: Note,
    began: Instant,
}

/// What the running edge says of a dry run.
pub(super) struct Foreseen(Value);

/// Whether the running edge holds still.
pub(super) enum Held {
    /// It does, and this is what it says of the case.
    Still(Conversation, Value),
    /// No edge answers where one would.
    Nobody,
    /// One is there, and does not answer in time.
    Silent(String),
}

/// What became of a change.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in force.
    Taken(Value),
    /// The edge refuses the set; the one before stays in force.
    Refused(Value),
    /// A guard holds it back until somebody approves.
    Held(Value),
    /// No edge answers where one would.
    Nobody,
    /// The edge did not say, or not in time.
    Unknown(String),
}

impl<'a> Command<'a> {
    pub(super) fn new(args: &'a ChangeArgs, began: Instant, note: Note) -> Result<Self, Exit> {
        let node = node_of(&args.config)?;
        let note = Note { operator: Some(operator()), ..note };
        Ok(Self { args, node, note, began })
    }

    fn left(&self) -> Duration {
        Duration::from_secs(self.args.timeout).saturating_sub(self.began.elapsed())
    }

    /// Has the running edge hold still.
    pub(super) fn hold(&self) -> Result<Held, Exit> {
        let untouched = |why: String| Err(complain(Exit::Io, &format!("{why}; {UNTOUCHED}")));
        match Conversation::begin(&self.node.policy.state, &self.note, self.left()) {
            Ok((conversation, ready)) if ready.get("ready").is_some() => Ok(Held::Still(conversation, ready)),
            Ok((_, answer)) => untouched(error_in(&answer)),
            Err(error) if error.is_nobody() => Ok(Held::Nobody),
            Err(error) if error.is_silence() => Ok(Held::Silent(error.to_string())),
            Err(error) => untouched(error.to_string()),
        }
    }

    /// Has the edge take up what was changed, and waits until `is_there` finds it in the answer. An edge that is being
    /// succeeded leaves that to its successor, which is asked again.
    pub(super) fn settle(
        &self,
        mut conversation: Conversation,
        hosts: &[String],
        is_there: impl Fn(&Value) -> bool,
    ) -> Outcome {
        loop {
            let answer = match conversation.complete(hosts) {
                Ok(answer) => answer,
                Err(error) => return Outcome::Unknown(error.to_string()),
            };
            match answer.get("result").and_then(Value::as_str) {
                Some("rejected") => return Outcome::Refused(answer),
                Some("held") => return Outcome::Held(answer),
                Some("applied" | "unchanged") if is_there(&answer) => return Outcome::Taken(answer),
                Some("applied" | "unchanged") => {}
                _ => return Outcome::Unknown(error_in(&answer)),
            }
            if self.left().is_zero() {
                return Outcome::Unknown("it has not taken the change up yet".to_owned());
            }
            std::thread::sleep(LOOK_AGAIN);
            conversation = match self.again() {
                Ok(conversation) => conversation,
                Err(error) => return Outcome::Unknown(error.to_string()),
            };
        }
    }

    fn again(&self) -> Result<Conversation, ControlError> {
        let begun = Conversation::begin(&self.node.policy.state, &self.note, self.left());
        begun.map(|(conversation, _)| conversation)
    }

    /// Asks the running edge what its guard would say. That there is none, or no answer, is told and ends nothing: a dry
    /// run shows what it can.
    pub(super) fn foresee(&self, rehearsal: &Rehearsal) -> Foreseen {
        Foreseen(match ask_about(&self.node.policy.state, rehearsal, self.left()) {
            Ok(answer) if answer.get("result").is_some() => answer,
            Ok(answer) => json!({ "result": "unknown", "error": error_in(&answer) }),
            Err(error) if error.is_nobody() => json!({ "result": "offline" }),
            Err(error) => json!({ "result": "unknown", "error": error.to_string() }),
        })
    }

    /// Says how it ended: the fields as JSON, or else the sentence, and what the edge says against it.
    pub(super) fn report(&self, outcome: &Outcome, sentence: &str, fields: Value) -> Exit {
        let (exit, result, answer) = match outcome {
            Outcome::Taken(answer) => (Exit::Fine, "in-force", Some(answer)),
            Outcome::Refused(answer) => (Exit::No, "refused", Some(answer)),
            Outcome::Held(answer) => (Exit::No, "held", Some(answer)),
            Outcome::Nobody if self.args.offline => (Exit::Fine, "offline", None),
            Outcome::Nobody => (Exit::Io, "offline", None),
            Outcome::Unknown(_) => (Exit::Io, "unknown", None),
        };
        let took = self.began.elapsed();
        if self.args.json {
            let mut all = Map::new();
            all.insert("result".to_owned(), result.into());
            all.insert("milliseconds".to_owned(), json!(took.as_secs_f64() * 1e3));
            for key in
                ["revision", "digest", "event", "counted", "errors", "warnings", "still", "passing", "held"]
            {
                if let Some(value) = answer.and_then(|answer| answer.get(key)) {
                    all.insert(key.to_owned(), value.clone());
                }
            }
            if matches!(outcome, Outcome::Nobody) {
                all.insert("judged".to_owned(), false.into());
            }
            all.extend(fields.as_object().cloned().unwrap_or_default());
            say!("{}", Value::Object(all));
        } else if exit == Exit::Fine {
            let nobody = if matches!(outcome, Outcome::Nobody) { UNJUDGED } else { "" };
            let figures = answer.map(|answer| figures(answer, took)).unwrap_or_default();
            say!("{sentence}{figures}{nobody}");
        }
        self.complain_of(outcome, sentence);
        exit
    }

    fn complain_of(&self, outcome: &Outcome, sentence: &str) {
        match outcome {
            Outcome::Taken(_) => {}
            Outcome::Nobody if self.args.offline => {}
            Outcome::Refused(answer) => {
                note!("interdict: {sentence}");
                print_errors(answer);
            }
            Outcome::Held(answer) => {
                // Not `/digest`, which is of the set in force.
                let digest = answer.pointer("/held/digest").and_then(Value::as_str);
                note!("interdict: {sentence}");
                print_errors(answer);
                note!("  to put it in force: interdict approve {}", digest.unwrap_or("DIGEST"));
            }
            Outcome::Nobody => {
                // Nobody has heard of the change, whichever way it goes.
                let yet = match self.note.command.as_str() {
                    "reinstate" => "no edge has let its names through yet",
                    "terminate" => "nobody enforces it yet",
                    _ => "it is in force nowhere yet",
                };
                let state = self.node.policy.state.display();
                note!(
                    "interdict: {sentence}; no edge answers in `{state}`: unless one watches this directory, {yet}{UNJUDGED}"
                )
            }
            Outcome::Unknown(why) => note!("interdict: {sentence}; the edge: {why}"),
        }
    }
}

/// What is said when a command gives up before it has done anything.
pub(super) const UNTOUCHED: &str = "nothing was changed";

/// Without an edge nobody has asked the guard.
const UNJUDGED: &str = "; its signatures and guard rails are judged when an edge starts";

impl Foreseen {
    /// In words.
    pub(super) fn print(&self) {
        let text = |key| self.0.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("result") {
            "taken" => say!("the running edge would take it"),
            "unchanged" => say!("the running edge has just this set in force"),
            "held" => {
                say!("the guard of the running edge would hold it back until somebody approves:");
                for finding in self.0.get("findings").and_then(Value::as_array).into_iter().flatten() {
                    if let Ok(finding) = serde_json::from_value::<Finding>(finding.clone()) {
                        say!("  {finding}");
                    }
                }
            }
            "refused" => {
                say!("the running edge would refuse it:");
                for error in self.0.get("errors").and_then(Value::as_array).into_iter().flatten() {
                    say!("  {}", error.as_str().unwrap_or_default());
                }
            }
            "offline" => say!("no edge answers{UNJUDGED}"),
            _ => say!("the edge does not say what it would do: {}", text("error")),
        }
    }

    /// The same as JSON, under `edge`.
    pub(super) fn add_to(self, all: &mut Value) {
        if let Some(fields) = all.as_object_mut() {
            fields.insert("edge".to_owned(), self.0);
        }
    }
}

/// What the edge says against a set, a finding a line.
fn print_errors(answer: &Value) {
    for error in answer.get("errors").and_then(Value::as_array).into_iter().flatten() {
        note!("{}", error.as_str().unwrap_or_default());
    }
}

/// ` in 12 ms; revision 7, event 0193…`
fn figures(answer: &Value, took: Duration) -> String {
    let number = |key| answer.get(key).map(Value::to_string).unwrap_or_default();
    let event = answer.get("event").and_then(Value::as_str);
    let is_counted = answer.get("counted").and_then(Value::as_bool).unwrap_or(false);
    let event = match event {
        Some(event) => format!(", event {event}"),
        None if is_counted => {
            ", no record: the audit log takes none now and has counted the event".to_owned()
        }
        None => String::new(),
    };
    format!(" after {:.1} ms; revision {}{event}", took.as_secs_f64() * 1e3, number("revision"))
}

fn error_in(answer: &Value) -> String {
    let error = answer.get("error").and_then(Value::as_str);
    error.map_or_else(|| format!("an answer that is none: {answer}"), str::to_owned)
}

/// Whoever runs the command, also behind `sudo`.
pub(super) fn operator() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let named = named.filter(|name| !name.trim().is_empty());
    let name = named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    name.chars().take(limits::SHORT_TEXT_CHARS).collect()
}
