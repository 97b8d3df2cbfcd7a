//! `terminate`: a new case, written whole and in force when the command ends.
//!
//! What is checked, where: the new file by the code that reads every case file, before anything is written; whether the
//! set as a whole can be taken, by the running edge, which has all of it in memory. Without an edge the whole directory
//! is read here.

mod args;
mod flags;

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use self::args::TerminateArgs;
use super::change::{Command, Held, Outcome, UNTOUCHED};
use super::check::{compile_files, read};
use super::preview::Preview;
use super::{Exit, complain};
use crate::diagnostic::Diagnostics;
use crate::policy::{CaseId, CompileOptions, EdgePattern, PolicyFiles, parse_cases};
use crate::reload::{Draft, Note, Rehearsal, sync_directory};

pub(super) fn run(args: &TerminateArgs) -> Exit {
    let began = Instant::now();
    let note = Note { command: "terminate".to_owned(), case: Some(args.id.clone()), ..Note::default() };
    let command = match Command::new(&args.change, began, note) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    let termination = Termination::new(args, command);
    let outcome = if args.change.dry_run { termination.rehearse() } else { termination.carry_out() };
    outcome.unwrap_or_else(|exit| exit)
}

/// One new case on its way.
struct Termination<'a> {
    args: &'a TerminateArgs,
    command: Command<'a>,
    /// The path of the file in the policy directory.
    name: String,
    toml: String,
}

impl<'a> Termination<'a> {
    fn new(args: &'a TerminateArgs, command: Command<'a>) -> Self {
        Self {
            name: format!("cases/{}.toml", file_stem(&args.id)),
            toml: args.draft().to_toml(),
            args,
            command,
        }
    }

    fn directory(&self) -> &Path {
        &self.command.node.policy.directory
    }

    fn file(&self) -> PathBuf {
        self.directory().join(&self.name)
    }

    fn options(&self) -> CompileOptions {
        CompileOptions {
            blocked_by: self.command.node.policy.blocked_by.clone(),
            ..CompileOptions::default()
        }
    }

    /// Reads the new file as the edge will, with what it refers to: that lists and pages are there is looked up, what
    /// they say is not read. Millions of names would have to be, for a case of one.
    fn check_alone(&self) -> Result<(), Exit> {
        if let Some(end) = self.args.expires.filter(|end| *end <= Timestamp::now()) {
            let said = format!(
                "`--expires {end}` has passed: the case would never be in force; give a later moment"
            );
            return Err(complain(Exit::Usage, &said));
        }
        let mut files = PolicyFiles::new();
        files.insert(self.name.clone(), self.toml.as_bytes());
        for list in &self.args.host_lists {
            if PolicyFiles::belongs(list) && self.directory().join(list).is_file() {
                files.insert(list.clone(), b"unread.invalid".as_slice());
            }
        }
        if let Some(page) = self.args.page.as_ref().map(|page| format!("pages/{page}.html"))
            && PolicyFiles::belongs(&page)
            && self.directory().join(&page).is_file()
        {
            files.insert(page, Vec::new());
        }
        let (_, found) = parse_cases(&files);
        let told = flags::told(&found, &self.name, &self.toml);
        if found.has_errors() {
            note!("{told}");
            return Err(Exit::Usage);
        }
        // With lists that were not read, a warning may be wrong; the edge gives its own.
        if self.args.host_lists.is_empty() && !found.is_empty() {
            note!("{told}");
        }
        if self.file().symlink_metadata().is_ok() {
            return Err(self.exists());
        }
        Ok(())
    }

    fn exists(&self) -> Exit {
        let id = &self.args.id;
        complain(
            Exit::No,
            &format!(
                "there is a case `{id}`, or its file `{}`; give the new one an id of its own",
                self.name
            ),
        )
    }

    /// The whole directory, without the new case and with it.
    fn whole(&self) -> Result<(PolicyFiles, PolicyFiles), Exit> {
        let before = read(self.directory()).map_err(|errors| refuse(&errors))?;
        let mut after = before.clone();
        after.insert(self.name.clone(), self.toml.as_bytes());
        Ok((before, after))
    }

    fn rehearse(&self) -> Result<Exit, Exit> {
        self.check_alone()?;
        let (before, after) = self.whole()?;
        let preview = Preview::of(&before, &after, &self.options()).map_err(|errors| refuse(&errors))?;
        if !preview.warnings.is_empty() {
            note!("{}", preview.warnings);
        }
        let rehearsal = Rehearsal::With { file: self.name.clone(), content: self.toml.clone() };
        let foreseen = self.command.foresee(&rehearsal);
        if self.args.change.json {
            let mut all =
                json!({ "result": "dry-run", "case": self.args.id, "file": self.name, "toml": self.toml });
            if let (Some(all), Value::Object(more)) = (all.as_object_mut(), preview.to_json(&self.args.hosts))
            {
                all.extend(more);
            }
            foreseen.add_to(&mut all);
            say!("{all}");
        } else {
            say!("{} would say:\n\n{}", self.name, self.toml);
            preview.print(&self.args.hosts);
            foreseen.print();
            say!("nothing was written");
        }
        Ok(Exit::Fine)
    }

    fn carry_out(&self) -> Result<Exit, Exit> {
        self.check_alone()?;
        let draft = Draft::write(&self.file(), self.toml.as_bytes());
        let draft = draft.map_err(|error| self.failed(&error))?;
        let (conversation, ready) = match self.command.hold()? {
            Held::Still(conversation, ready) => (conversation, ready),
            Held::Nobody => return self.leave_for_later(draft, &Outcome::Nobody),
            Held::Silent(why) => return self.leave_for_later(draft, &Outcome::Unknown(why)),
        };
        if ready.get("case").is_some_and(|case| !case.is_null()) {
            return Err(self.exists());
        }
        self.place(draft)?;
        // The edge need not wait for the disk, and this command does not end before it.
        let (outcome, synced) = std::thread::scope(|scope| {
            let syncing = scope.spawn(|| sync_directory(&self.file()));
            let is_there = |answer: &Value| {
                self.is_elsewhere() || answer.get("case").is_some_and(|case| !case.is_null())
            };
            let outcome = self.command.settle(conversation, &self.args.hosts, is_there);
            (outcome, syncing.join())
        });
        if let Ok(Err(error)) = synced {
            note!("interdict: `{}` may not outlast a crash of the machine: {error}", self.name);
        }
        if let Outcome::Refused(_) = &outcome {
            self.take_back();
        }
        Ok(self.report(&outcome))
    }

    /// No edge listens: the set is checked whole here, since nobody else does before it is taken up.
    fn leave_for_later(&self, draft: Draft, outcome: &Outcome) -> Result<Exit, Exit> {
        let (_, after) = self.whole()?;
        let (_, warnings) = compile_files(&after, &self.options()).map_err(|errors| refuse(&errors))?;
        if !warnings.is_empty() {
            note!("{warnings}");
        }
        self.place(draft)?;
        sync_directory(&self.file()).map_err(|error| self.failed(&error))?;
        Ok(self.report(outcome))
    }

    fn place(&self, draft: Draft) -> Result<(), Exit> {
        match draft.place() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(self.exists()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn take_back(&self) {
        let file = self.file();
        if let Err(error) = std::fs::remove_file(&file).and_then(|()| sync_directory(&file)) {
            note!("interdict: cannot remove `{}`: {error}; remove it", file.display());
        }
    }

    fn failed(&self, error: &std::io::Error) -> Exit {
        complain(Exit::Io, &format!("cannot write `{}`: {error}; {UNTOUCHED}", self.file().display()))
    }

    /// Whether the case is for other edges only, so that this one takes its file up and does not have the case.
    fn is_elsewhere(&self) -> bool {
        let edge = self.command.node.edge.to_string();
        let mut named = self.args.edges.iter().filter_map(|text| EdgePattern::parse(text));
        !self.args.edges.is_empty() && !named.any(|pattern| pattern.covers(&edge))
    }

    fn report(&self, outcome: &Outcome) -> Exit {
        let (id, name) = (&self.args.id, &self.name);
        let from = self.args.effective.filter(|start| *start > Timestamp::now());
        let is_shadow = matches!(outcome, Outcome::Taken(answer)
            if answer.pointer("/case/mode") == Some(&"shadow".into()));
        let is_elsewhere = self.is_elsewhere();
        let passing = passing(outcome);
        let sentence = match (outcome, from) {
            (Outcome::Taken(_), _) if is_elsewhere => format!("{id} is taken up, and not for this edge,"),
            (Outcome::Taken(_), Some(from)) => format!("{id} is in force from {from} on; known to the edge"),
            (Outcome::Taken(_), None) if is_shadow => format!("{id} is watched, not enforced,"),
            (Outcome::Taken(_), None) if !passing.is_empty() => {
                format!("{id} is in force, and names of it are let through,")
            }
            (Outcome::Taken(_), None) => format!("{id} is enforced"),
            (Outcome::Refused(_), _) => {
                format!("the edge refuses the set with {id}; `{name}` was taken back")
            }
            (Outcome::Held(_), _) => {
                format!("the guard holds {id} back; `{name}` is written and not enforced")
            }
            (Outcome::Nobody, _) => format!("{id} is written to `{name}`"),
            (Outcome::Unknown(_), _) => format!("`{name}` is written; whether it is enforced is not known"),
        };
        let result = match (outcome, from) {
            (Outcome::Taken(_), _) if is_elsewhere => Some("elsewhere"),
            (Outcome::Taken(_), _) if !passing.is_empty() => Some("partly"),
            (Outcome::Taken(_), Some(_)) => Some("scheduled"),
            (Outcome::Taken(_), None) => Some(if is_shadow { "watched" } else { "enforced" }),
            _ => None,
        };
        let mut fields = json!({ "case": id, "file": name, "effective": from });
        if let (Some(fields), Some(result)) = (fields.as_object_mut(), result) {
            fields.insert("result".to_owned(), result.into());
        }
        let exit = self.command.report(outcome, &sentence, fields);
        for one in passing {
            let text = |key| one.get(key).and_then(Value::as_str).unwrap_or_default();
            let what = if text("verdict") == "shadow" { "watched and let through" } else { "let through" };
            note!("  `{}` is {what}: {}", text("host"), text("why"));
        }
        if exit == Exit::Fine && !passing.is_empty() { Exit::No } else { exit }
    }
}

/// The names that the edge lets through although the case has them.
fn passing(outcome: &Outcome) -> &[Value] {
    let Outcome::Taken(answer) = outcome else { return &[] };
    answer.get("passing").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn refuse(errors: &Diagnostics) -> Exit {
    note!("{errors}");
    Exit::No
}

/// The name of a case's file without its ending: a file whose name begins with a dot is hidden and belongs to no set.
/// What is no id at all, and could lead elsewhere, is refused later, by the code that reads case files.
fn file_stem(id: &str) -> String {
    match CaseId::parse(id) {
        Some(id) if id.as_str().starts_with('.') => format!("_{id}"),
        Some(id) => id.to_string(),
        None => "new".to_owned(),
    }
}

/// The place of a case that has ended, under the policy directory and part of no set.
pub(super) fn ended_name(id: &str, at: Timestamp) -> String {
    let moment: String = at.strftime("%Y-%m-%dT%H%M%SZ").to_string();
    format!("ended/{}.{moment}.toml", file_stem(id))
}
