//! `history`: the policy sets that are kept.

use std::path::PathBuf;

use clap::Args;

use super::node::node_of;
use super::plural::some;
use super::{Exit, complain};
use crate::reload::{Entry, history};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// Print one JSON object a revision.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &HistoryArgs) -> Exit {
    let node = match node_of(&args.config) {
        Ok(node) => node,
        Err(exit) => return exit,
    };
    let entries = match history(&node.policy.state) {
        Ok(entries) => entries,
        Err(error) => return complain(Exit::Io, &error),
    };
    for entry in &entries {
        if args.json {
            match serde_json::to_string(entry) {
                Ok(line) => say!("{line}"),
                Err(error) => return complain(Exit::Io, &error),
            }
        } else {
            say!("{}", line_of(entry));
        }
    }
    Exit::Fine
}

/// `7  2026-11-25T22:10:30Z  3f9a1c…  12 cases  +3 -0 names  terminate TS-1 by j.doe`
fn line_of(entry: &Entry) -> String {
    let names =
        entry.names.map_or_else(String::new, |names| format!("  +{} -{} names", names.added, names.removed));
    let digest: String = entry.digest.chars().take(12).collect();
    let Entry { revision, applied, cases, .. } = entry;
    let mut line = format!("{revision}  {applied:.0}  {digest}  {}{names}", some(*cases, "case"));
    for note in &entry.changes {
        line.push_str("  ");
        line.push_str(&note.command);
        for (word, text) in [("", &note.case), ("by ", &note.operator), ("", &note.reason)] {
            if let Some(text) = text {
                line.push_str(&format!(" {word}{text}"));
            }
        }
    }
    line
}
