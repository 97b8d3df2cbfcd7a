//! `reinstate`: a case taken back. Its file is moved to `ended/`, which belongs to no policy set, and never deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{ChangeArgs, Command, Held, Outcome, UNTOUCHED};
use super::check::read;
use super::preview::Preview;
use super::terminate::ended_name;
use super::{Exit, complain};
use crate::limits;
use crate::policy::{CompileOptions, PolicyFiles};
use crate::reload::{Moved, Note, Rehearsal};

#[derive(Debug, Args)]
pub(super) struct ReinstateArgs {
    /// The id of the case.
    id: String,
    /// Why, for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &ReinstateArgs) -> Exit {
    let began = Instant::now();
    if args.reason.trim().is_empty() || args.reason.chars().count() > limits::SHORT_TEXT_CHARS {
        let most = limits::SHORT_TEXT_CHARS;
        return complain(Exit::Usage, &format!("`--reason` takes 1 to {most} characters"));
    }
    let note = Note {
        command: "reinstate".to_owned(),
        case: Some(args.id.clone()),
        reason: Some(args.reason.clone()),
        ..Note::default()
    };
    let command = match Command::new(&args.change, began, note) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    let outcome = find(&command.node.policy.directory, &args.id).and_then(|found| {
        let reinstatement = Reinstatement { args, command, found };
        if args.change.dry_run { reinstatement.rehearse() } else { reinstatement.carry_out() }
    });
    outcome.unwrap_or_else(|exit| exit)
}

/// The file of a case, found by what it says and not by its name.
struct Found {
    /// Its path in the policy directory.
    name: String,
    path: PathBuf,
    /// The patterns written into it; those of its lists are not read.
    hosts: Vec<String>,
}

/// As much of a case file as has to be read, also of one with errors in the rest.
#[derive(Deserialize)]
struct Named {
    id: String,
    #[serde(default)]
    hosts: Vec<String>,
}

fn find(directory: &Path, id: &str) -> Result<Found, Exit> {
    let cases = directory.join("cases");
    let failed =
        |error: std::io::Error| complain(Exit::Io, &format!("cannot read `{}`: {error}", cases.display()));
    // Most files are named after their case; when it is this one, no other is opened.
    let likely = Some(format!("{id}.toml")).filter(|name| PolicyFiles::belongs(&format!("cases/{name}")));
    if let Some(found) = likely.and_then(|name| read_as(&cases, &name, id)) {
        return Ok(found);
    }
    for entry in fs::read_dir(&cases).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if PolicyFiles::belongs(&format!("cases/{name}"))
            && let Some(found) = read_as(&cases, &name, id)
        {
            return Ok(found);
        }
    }
    let id = id.escape_debug();
    Err(complain(Exit::No, &format!("no file in `{}` holds a case `{id}`", cases.display())))
}

fn read_as(cases: &Path, name: &str, id: &str) -> Option<Found> {
    let path = cases.join(name);
    if fs::metadata(&path).ok()?.len() > limits::CASE_FILE_BYTES {
        return None;
    }
    let Named { id: written, hosts } = toml::from_str(&fs::read_to_string(&path).ok()?).ok()?;
    (written == id).then(|| Found { name: format!("cases/{name}"), path, hosts })
}

struct Reinstatement<'a> {
    args: &'a ReinstateArgs,
    command: Command<'a>,
    found: Found,
}

impl Reinstatement<'_> {
    fn rehearse(&self) -> Result<Exit, Exit> {
        let policy = &self.command.node.policy;
        let refuse = |errors| {
            note!("{errors}");
            Exit::No
        };
        let before = read(&policy.directory).map_err(refuse)?;
        let mut after = before.clone();
        after.files.remove(&self.found.name);
        let options = CompileOptions { blocked_by: policy.blocked_by.clone(), ..CompileOptions::default() };
        let preview = Preview::of(&before, &after, &options).map_err(refuse)?;
        let hosts = &self.found.hosts;
        let foreseen = self.command.foresee(&Rehearsal::Without { file: self.found.name.clone() });
        if self.args.change.json {
            let mut all = json!({ "result": "dry-run", "case": self.args.id, "file": self.found.name });
            if let (Some(all), Value::Object(more)) = (all.as_object_mut(), preview.to_json(hosts)) {
                all.extend(more);
            }
            foreseen.add_to(&mut all);
            say!("{all}");
        } else {
            say!("`{}` would be moved to `ended/`", self.found.name);
            preview.print(hosts);
            foreseen.print();
            say!("nothing was changed");
        }
        Ok(Exit::Fine)
    }

    fn carry_out(&self) -> Result<Exit, Exit> {
        let held = self.command.hold()?;
        let to = ended_name(&self.args.id, Timestamp::now());
        let moved = Moved::to(&self.found.path, &self.command.node.policy.directory.join(&to));
        let moved = moved.map_err(|error| {
            let name = &self.found.name;
            complain(Exit::Io, &format!("cannot move `{name}` to `{to}`: {error}; {UNTOUCHED}"))
        })?;
        let unheard = match held {
            Held::Still(conversation, _) => Ok(conversation),
            Held::Nobody => Err(Outcome::Nobody),
            // It reads the directory by itself when it listens again.
            Held::Silent(why) => Err(Outcome::Unknown(why)),
        };
        let conversation = match unheard {
            Ok(conversation) => conversation,
            Err(outcome) => {
                self.sync(&moved);
                return Ok(self.report(&outcome, &to));
            }
        };
        let is_gone = |answer: &Value| answer.get("case").is_none_or(Value::is_null);
        let outcome = std::thread::scope(|scope| {
            let syncing = scope.spawn(|| self.sync(&moved));
            let outcome = self.command.settle(conversation, &self.found.hosts, is_gone);
            syncing.join().ok();
            outcome
        });
        if let Outcome::Refused(_) = &outcome
            && let Err(error) = moved.undo()
        {
            note!("interdict: cannot move `{to}` back to `{}`: {error}", self.found.name);
        }
        Ok(self.report(&outcome, &to))
    }

    fn sync(&self, moved: &Moved) {
        if let Err(error) = moved.sync() {
            note!("interdict: `{}` may come back after a crash of the machine: {error}", self.found.name);
        }
    }

    fn report(&self, outcome: &Outcome, to: &str) -> Exit {
        let (id, name) = (&self.args.id, &self.found.name);
        let sentence = match outcome {
            Outcome::Taken(_) => format!("{id} has ended, its file is `{to}`,"),
            Outcome::Refused(_) => {
                format!("the edge refuses the set without {id}; `{name}` is back in its place")
            }
            Outcome::Held(_) => {
                format!(
                    "the guard holds this back: what is in force stays so, {id} with it if it was; its file is `{to}`"
                )
            }
            Outcome::Nobody => format!("{id} has ended, its file is `{to}`"),
            Outcome::Unknown(_) => {
                format!("the file of {id} is `{to}`; whether it is still enforced is not known")
            }
        };
        let exit = self.command.report(outcome, &sentence, json!({ "case": id, "file": to }));
        if let (Outcome::Taken(answer), false) = (outcome, self.args.change.json) {
            for held in answer.get("still").and_then(Value::as_array).into_iter().flatten() {
                let text = |key| held.get(key).and_then(Value::as_str).unwrap_or_default();
                say!("  `{}`: still {} by {}", text("host"), held_word(text("verdict")), text("case"));
            }
        }
        exit
    }
}

fn held_word(verdict: &str) -> &str {
    match verdict {
        "block" => "blocked",
        "shadow" => "watched",
        other => other,
    }
}
