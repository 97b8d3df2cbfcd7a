//! `diff`: what differs between two policy sets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::source::{PolicySet, SetSource};
use super::{Exit, complain};
use crate::diagnostic::excerpt;
use crate::policy::Case;
use crate::policy::compare::{
    FieldChange, Listed, NameChange, PageChanges, Tally, compare_names, compare_pages, fields_changed,
};

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The set before: a policy directory, or `revision:7` with `--config`.
    #[arg(value_name = "A")]
    before: String,
    /// The set after.
    #[arg(value_name = "B")]
    after: String,
    /// The configuration file of the edge whose revisions are meant.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name every name, not only how many.
    #[arg(long)]
    full: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// All that differs.
#[derive(Debug, Default, Serialize)]
struct Difference {
    same: bool,
    names: Numbers,
    cases: CaseChanges,
    pages: PageChanges,
    /// Every name that differs, with `--full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Named>>,
}

#[derive(Debug, Default, Serialize)]
struct Numbers {
    added: u64,
    removed: u64,
    changed: u64,
}

#[derive(Debug, Default, Serialize)]
struct CaseChanges {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<ChangedCase>,
}

#[derive(Debug, Serialize)]
struct ChangedCase {
    id: String,
    names_added: u64,
    names_removed: u64,
    fields: Vec<FieldChange>,
}

/// One name, with the cases that hold it.
#[derive(Debug, Serialize)]
struct Named {
    name: String,
    change: &'static str,
    before: Vec<Holder>,
    after: Vec<Holder>,
}

#[derive(Debug, Serialize)]
struct Holder {
    case: String,
    action: &'static str,
    mode: &'static str,
}

impl Holder {
    fn of(case: &&Case) -> Self {
        Self { case: case.id.to_string(), action: case.action.as_str(), mode: case.mode.as_str() }
    }

    fn words(holders: &[&Case]) -> String {
        let each: Vec<String> = holders
            .iter()
            .map(|case| format!("{} ({}, {})", case.id, case.action.as_str(), case.mode.as_str()))
            .collect();
        each.join(", ")
    }
}

pub(super) fn run(args: &DiffArgs) -> Exit {
    let load = |text: &str| SetSource::parse(text, args.config.as_deref())?.load();
    let (before, after) = match load(&args.before).and_then(|before| Ok((before, load(&args.after)?))) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    match tell(args, &before, &after) {
        Ok(true) => Exit::Fine,
        Ok(false) => Exit::No,
        Err(error) => complain(Exit::Io, &format!("cannot write what differs: {error}")),
    }
}

/// Whether the sets are the same, after all that differs has been told.
fn tell(args: &DiffArgs, before: &PolicySet, after: &PolicySet) -> io::Result<bool> {
    let mut out = BufWriter::new(io::stdout().lock());
    let (old, new) = (before.concerns(), after.concerns());
    let (old, new) = (Listed::new(&old), Listed::new(&new));
    let mut changes = Vec::new();
    let tally = compare_names(&old, &new, |change| -> io::Result<()> {
        match (args.full, args.json) {
            (false, _) => {}
            (true, true) => changes.push(named(change)),
            // A line a name, written as it is found: there may be millions.
            (true, false) => writeln!(out, "{}", line(change))?,
        }
        Ok(())
    })?;
    let difference = Difference {
        names: Numbers { added: tally.added, removed: tally.removed, changed: tally.changed },
        cases: compare_cases(&before.cases, &after.cases, &tally),
        pages: compare_pages(&before.files, &after.files),
        changes: (args.full && args.json).then_some(changes),
        same: false,
    }
    .settled();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&difference)?)?;
    } else {
        out.write_all(difference.text().as_bytes())?;
    }
    out.flush()?;
    Ok(difference.same)
}

fn kind(change: &NameChange<'_>) -> (&'static str, char) {
    match (change.before.is_empty(), change.after.is_empty()) {
        (true, _) => ("added", '+'),
        (_, true) => ("removed", '-'),
        _ => ("changed", '~'),
    }
}

fn line(change: &NameChange<'_>) -> String {
    let (before, after) = (Holder::words(&change.before), Holder::words(&change.after));
    let arrow = if before.is_empty() || after.is_empty() { "" } else { " -> " };
    format!("{} {}: {before}{arrow}{after}", kind(change).1, change.pattern)
}

fn named(change: &NameChange<'_>) -> Named {
    Named {
        name: change.pattern.to_string(),
        change: kind(change).0,
        before: change.before.iter().map(Holder::of).collect(),
        after: change.after.iter().map(Holder::of).collect(),
    }
}

fn compare_cases<'c>(before: &'c [Case], after: &'c [Case], tally: &Tally<'_>) -> CaseChanges {
    let by_id = |cases: &'c [Case]| cases.iter().map(|case| (&case.id, case)).collect::<BTreeMap<_, _>>();
    let (before, after) = (by_id(before), by_id(after));
    let mut changes = CaseChanges::default();
    changes.added.extend(after.keys().filter(|id| !before.contains_key(*id)).map(ToString::to_string));
    for (id, old) in before {
        let Some(new) = after.get(id) else {
            changes.removed.push(id.to_string());
            continue;
        };
        let fields = fields_changed(old, new);
        let (names_added, names_removed) = tally.by_case.get(id).copied().unwrap_or_default();
        if !fields.is_empty() || names_added + names_removed > 0 {
            changes.changed.push(ChangedCase { id: id.to_string(), names_added, names_removed, fields });
        }
    }
    changes
}

impl Difference {
    /// Says whether there is none.
    fn settled(mut self) -> Self {
        let Self { names, cases, pages, .. } = &self;
        let no_name = names.added == 0 && names.removed == 0 && names.changed == 0;
        let no_case = cases.added.is_empty() && cases.removed.is_empty() && cases.changed.is_empty();
        self.same = no_name && no_case && pages.is_empty();
        self
    }

    fn text(&self) -> String {
        let Self { same, names, cases, pages, .. } = self;
        if *same {
            return "nothing differs\n".to_owned();
        }
        let Numbers { added, removed, changed } = names;
        let mut text =
            format!("names: {added} added, {removed} removed, {changed} under another case or action\n");
        for (mark, list) in [('+', &cases.added), ('-', &cases.removed)] {
            list.iter().for_each(|id| text.push_str(&format!("{mark} case {id}\n")));
        }
        for ChangedCase { id, names_added, names_removed, fields } in &cases.changed {
            // Writing into a String cannot fail.
            writeln!(text, "~ case {id}: {names_added} names added, {names_removed} removed").ok();
            for FieldChange { field, before, after } in fields {
                writeln!(text, "    {field}: {} -> {}", shown(before), shown(after)).ok();
            }
        }
        for (mark, list) in [('+', &pages.added), ('-', &pages.removed), ('~', &pages.changed)] {
            list.iter().for_each(|path| text.push_str(&format!("{mark} {}\n", excerpt(path))));
        }
        text
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "nothing".to_owned() } else { format!("`{}`", excerpt(value)) }
}
