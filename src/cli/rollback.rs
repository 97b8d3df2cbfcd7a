//! `rollback`: the policy directory put back to a set that is kept, as a new revision.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::change::{ChangeArgs, Command, Held, Outcome, UNTOUCHED};
use super::check::{compile_files, read, snapshot};
use super::preview::Preview;
use super::{Exit, complain};
use crate::diagnostic::Diagnostics;
use crate::limits;
use crate::policy::{CompileOptions, PolicyFiles};
use crate::reload::{Kept, Note, Plan, Prepared, Rehearsal, is_unchanged, kept};

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The revision to go back to; `interdict history` lists those that are kept.
    revision: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &RollbackArgs) -> Exit {
    let began = Instant::now();
    let reason = Some(format!("rollback of {}", args.revision));
    let note = Note { command: "rollback".to_owned(), reason, ..Note::default() };
    let command = match Command::new(&args.change, began, note) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    let rollback = Rollback { args, command };
    let wanted = rollback.wanted();
    let outcome = wanted.and_then(|wanted| {
        if args.change.dry_run { rollback.rehearse(&wanted) } else { rollback.carry_out(&wanted) }
    });
    outcome.unwrap_or_else(|exit| exit)
}

struct Rollback<'a> {
    args: &'a RollbackArgs,
    command: Command<'a>,
}

fn refuse(errors: &Diagnostics) -> Exit {
    note!("{errors}");
    Exit::No
}

impl Rollback<'_> {
    fn options(&self) -> CompileOptions {
        CompileOptions {
            blocked_by: self.command.node.policy.blocked_by.clone(),
            ..CompileOptions::default()
        }
    }

    /// The kept set, which this program must be able to take as well: it may have been another one that did.
    fn wanted(&self) -> Result<Kept, Exit> {
        let revision = self.args.revision;
        let read =
            || kept(&self.command.node.policy.state, revision).map_err(|error| complain(Exit::Io, &error));
        let mut kept = read()?;
        if kept.is_none() {
            // A set is in force before it is kept. An edge that holds still has kept what it has put in force.
            drop(self.command.hold()?);
            kept = read()?;
        }
        let Some(kept) = kept else {
            let message =
                format!("revision {revision} is not kept; `interdict history` lists those that are");
            return Err(complain(Exit::No, &message));
        };
        compile_files(&kept.files, &self.options()).map_err(|errors| refuse(&errors))?;
        Ok(kept)
    }

    fn directory(&self) -> &Path {
        &self.command.node.policy.directory
    }

    fn plan(&self, there: &PolicyFiles, wanted: &PolicyFiles) -> Plan {
        Plan::between(self.directory(), there, wanted)
    }

    fn rehearse(&self, wanted: &Kept) -> Result<Exit, Exit> {
        let there = read(self.directory()).map_err(|errors| refuse(&errors))?;
        let plan = self.plan(&there, &wanted.files);
        let (writes, removals) = plan.paths();
        let preview =
            Preview::of(&there, &wanted.files, &self.options()).map_err(|errors| refuse(&errors))?;
        let foreseen = self.command.foresee(&Rehearsal::Revision(self.args.revision));
        if self.args.change.json {
            let mut all = json!({ "result": "dry-run", "of": self.args.revision, "written": writes, "taken_out": removals });
            if let (Some(all), Value::Object(more)) = (all.as_object_mut(), preview.to_json(&[])) {
                all.extend(more);
            }
            foreseen.add_to(&mut all);
            say!("{all}");
        } else {
            for path in writes {
                say!("write    {path}");
            }
            for path in removals {
                say!("take out {path}");
            }
            preview.print(&[]);
            foreseen.print();
            say!("nothing was changed");
        }
        Ok(Exit::Fine)
    }

    fn carry_out(&self, wanted: &Kept) -> Result<Exit, Exit> {
        for _ in 0..limits::SOURCE_ATTEMPTS {
            // Large sets take their time to read and to write: the edge holds still for the last steps only.
            let there = snapshot(self.directory()).map_err(|errors| refuse(&errors))?;
            let prepared = self.plan(&there.files, &wanted.files).prepare();
            let prepared = prepared.map_err(|error| complain(Exit::Io, &error))?;
            let held = match self.command.hold()? {
                Held::Silent(why) => return Err(complain(Exit::Io, &format!("{why}; {UNTOUCHED}"))),
                held => held,
            };
            if is_unchanged(self.directory(), &there) {
                return self.go(prepared, held, wanted, &there.files);
            }
        }
        Err(complain(
            Exit::Io,
            &"the policy directory changes all the time; nothing was changed by this command",
        ))
    }

    fn go(&self, prepared: Prepared, held: Held, wanted: &Kept, there: &PolicyFiles) -> Result<Exit, Exit> {
        self.put(prepared)?;
        let Held::Still(conversation, _) = held else { return Ok(self.report(&Outcome::Nobody)) };
        let digest = wanted.manifest.digest.as_str();
        let is_there = |answer: &Value| answer.get("digest").and_then(Value::as_str) == Some(digest);
        let outcome = self.command.settle(conversation, &[], is_there);
        if let Outcome::Refused(_) = &outcome {
            let back = self.plan(&wanted.files, there).prepare();
            self.put(back.map_err(|error| complain(Exit::Io, &error))?)?;
        }
        Ok(self.report(&outcome))
    }

    fn put(&self, prepared: Prepared) -> Result<(), Exit> {
        let moment = Timestamp::now().strftime("%Y-%m-%dT%H%M%S%.6fZ").to_string();
        let archive = self.directory().join(format!("ended/rollback-{moment}"));
        prepared.carry_out(&archive).map_err(|error| complain(Exit::Io, &error))
    }

    fn report(&self, outcome: &Outcome) -> Exit {
        let revision = self.args.revision;
        let sentence = match outcome {
            Outcome::Taken(_) => format!("the set of revision {revision} is in force again"),
            Outcome::Refused(_) => {
                format!("the edge refuses the set of revision {revision}; the directory is as it was")
            }
            Outcome::Held(_) => {
                format!("the guard holds the set of revision {revision} back; the directory holds it")
            }
            Outcome::Nobody => format!("the directory holds the set of revision {revision}"),
            Outcome::Unknown(_) => {
                format!(
                    "the directory holds the set of revision {revision}; whether it is in force is not known"
                )
            }
        };
        self.command.report(outcome, &sentence, json!({ "of": revision }))
    }
}
