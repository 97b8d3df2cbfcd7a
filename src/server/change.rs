//! A change of the policy directory over the control socket.
//!
//! ```text
//! command                         edge
//!   change {"command":…} -------->     the keeper holds still
//!             <---------- {"ready":true,"case":…}
//!   moves its files
//!   done {"hosts":[…]} ---------->     reads the directory, records, swaps
//!             <---------- what came of it
//! ```
//!
//! The command moves the files, since an edge may well be allowed to read its policies and nothing more. When it goes
//! away before it is done, the edge goes on as if it had not been asked.

use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::control::{ControlError, Desk, line_of};
use super::passing::passing;
use crate::decide::{Subject, Verdict, decide};
use crate::gate::Gate;
use crate::limits;
use crate::policy::{CaseId, Form, Pattern, Ruleset};
use crate::reload::{Changes, Note, Rehearsal, RehearsalRequest, request_rehearsal};

/// How the control socket reaches the keeper of the policies, and what is in force.
pub(super) struct KeeperLine {
    pub(super) gate: Arc<Gate>,
    pub(super) changes: Changes,
    pub(super) rehearsals: mpsc::Sender<RehearsalRequest>,
}

/// What a command asks once it has moved its files.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    /// Host patterns of which it wants to know whether they are blocked by now, or still.
    #[serde(default)]
    hosts: Vec<String>,
}

/// Whether a line on the control socket begins such a conversation.
pub(super) fn is_change(line: &str) -> bool {
    line.starts_with("change ")
}

/// The edge's part.
pub(super) async fn converse(
    line: &str,
    uid: Option<u32>,
    reader: &mut BufReader<Take<OwnedReadHalf>>,
    writer: &mut OwnedWriteHalf,
    desk: &Desk,
) -> io::Result<Vec<u8>> {
    let error = |text: &str| Ok(line_of(&json!({ "error": text })));
    let note = match serde_json::from_str::<Note>(line.trim_start_matches("change ")) {
        Ok(note) => note.signed(uid),
        Err(cause) => return error(&format!("no note of a change: {cause}")),
    };
    let case = note.case.as_deref().and_then(CaseId::parse);
    let ends_service = note.command == "terminate";
    let Some(change) = desk.keeper.changes.begin(note).await else { return error("the edge is stopping") };
    let ready = json!({ "ready": true, "case": case_of(&desk.keeper.gate.ruleset(), case.as_ref()) });
    writer.write_all(&line_of(&ready)).await?;
    reader.get_mut().set_limit(limits::CHANGE_LINE_BYTES);
    let mut line = String::new();
    timeout(limits::CHANGE_AT_MOST, reader.read_line(&mut line)).await??;
    let done = line.trim().strip_prefix("done").map(|text| serde_json::from_str::<Done>(text.trim()));
    let Some(Ok(done)) = done else { return error("the change was not completed") };
    let report = tokio::select! {
        report = change.complete() => report,
        // The command has given up. What it has changed is read all the same, and is not its word any more.
        () = gone(reader) => return error("nobody waits"),
    };
    let Some(report) = report else {
        return error(
            "the change took too long, or the edge is stopping; what was changed is read in a moment",
        );
    };
    let ruleset = desk.keeper.gate.ruleset();
    let mut answer = json!(report);
    if let Some(fields) = answer.as_object_mut() {
        let now = desk.keeper.gate.clock().now();
        fields.insert("case".to_owned(), case_of(&ruleset, case.as_ref()));
        match case.as_ref().and_then(|id| ruleset.case(id)).filter(|_| ends_service) {
            Some(case) => {
                fields.insert("passing".to_owned(), passing(&ruleset, case, &done.hosts, now).into())
            }
            None => fields.insert("still".to_owned(), still(&ruleset, &done.hosts, now)),
        };
    }
    Ok(line_of(&answer))
}

/// Waits until the other side has hung up.
async fn gone(reader: &mut BufReader<Take<OwnedReadHalf>>) {
    let mut more = String::new();
    // It has nothing more to say: whatever comes is the end.
    reader.read_line(&mut more).await.ok();
}

/// What would come of a change that a dry run thinks of; it is told in a line of its own, since it may hold a case file.
pub(super) async fn rehearse(
    reader: &mut BufReader<Take<OwnedReadHalf>>,
    desk: &Desk,
) -> io::Result<Vec<u8>> {
    reader.get_mut().set_limit(limits::REHEARSAL_LINE_BYTES);
    let mut line = String::new();
    timeout(limits::CONTROL_PATIENCE, reader.read_line(&mut line)).await??;
    let rehearsal = match serde_json::from_str::<Rehearsal>(line.trim()) {
        Ok(rehearsal) => rehearsal,
        Err(cause) => return Ok(line_of(&json!({ "error": format!("no change to think of: {cause}") }))),
    };
    let answer = request_rehearsal(&desk.keeper.rehearsals, rehearsal).await;
    Ok(line_of(&answer.unwrap_or_else(|| json!({ "error": "the edge is stopping" }))))
}

/// A case as it is in the set in force; null when it is not.
fn case_of(ruleset: &Ruleset, id: Option<&CaseId>) -> Value {
    let Some(case) = id.and_then(|id| ruleset.case(id)) else { return Value::Null };
    json!({
        "id": case.id.as_str(),
        "mode": case.mode.as_str(),
        "action": case.action.as_str(),
        "effective": case.effective,
        "expires": case.expires,
        "hosts": case.host_count,
    })
}

/// Which of these patterns are not simply let through: a name of each is judged, for a client in no network.
fn still(ruleset: &Ruleset, hosts: &[String], now: Timestamp) -> Value {
    let client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let patterns = hosts.iter().take(limits::CHANGE_HOSTS).filter_map(|host| Pattern::parse(host).ok());
    let held = patterns.filter_map(|pattern| {
        let name = match pattern.form {
            Form::Below => crate::hostname::Hostname::parse(&format!("www.{}", pattern.name)).ok()?,
            Form::Exact | Form::Subtree => pattern.name.clone(),
        };
        let names = [name];
        let verdict = decide(ruleset, &Subject { names: &names, client }, now);
        let case = match &verdict {
            Verdict::Allow => return None,
            verdict => verdict.found()?.case.id.to_string(),
        };
        Some(json!({ "host": pattern.to_string(), "verdict": verdict.as_str(), "case": case }))
    });
    held.collect()
}

/// The command's part: the edge holds still as long as this lives, ten seconds at most.
#[derive(Debug)]
pub struct Conversation {
    stream: io::BufReader<std::os::unix::net::UnixStream>,
    path: std::path::PathBuf,
}

impl Conversation {
    /// Has the edge that uses the state directory `state` hold still. Returns what it says as well.
    ///
    /// # Errors
    /// When no edge answers within `patience`.
    pub fn begin(state: &Path, note: &Note, patience: Duration) -> Result<(Self, Value), ControlError> {
        let path = state.join("control.sock");
        let failed = |cause| ControlError { path: path.clone(), cause };
        let line = serde_json::to_string(note).map_err(|error| failed(error.into()))?;
        let stream = std::os::unix::net::UnixStream::connect(&path).map_err(failed)?;
        // A span of zero would be refused.
        let patience = patience.max(Duration::from_millis(1));
        stream.set_read_timeout(Some(patience)).map_err(failed)?;
        stream.set_write_timeout(Some(patience)).map_err(failed)?;
        let mut conversation = Self { stream: io::BufReader::new(stream), path: path.clone() };
        let answer = conversation.say(&format!("change {line}\n"))?;
        Ok((conversation, answer))
    }

    /// Has the edge read what is there now, and says which of these patterns are still blocked after it.
    ///
    /// # Errors
    /// When the edge does not answer in time; it may take the change up all the same.
    pub fn complete(mut self, hosts: &[String]) -> Result<Value, ControlError> {
        let hosts = that_fit(hosts);
        let line = serde_json::to_string(&Done { hosts }).unwrap_or_default();
        self.say(&format!("done {line}\n"))
    }

    fn say(&mut self, line: &str) -> Result<Value, ControlError> {
        let mut talk = || {
            self.stream.get_mut().write_all(line.as_bytes())?;
            let mut answer = String::new();
            self.stream.by_ref().take(limits::CHANGE_ANSWER_BYTES).read_line(&mut answer)?;
            if answer.is_empty() {
                return Err(io::Error::other("the edge went away before it had answered"));
            }
            Ok(serde_json::from_str(&answer)?)
        };
        talk().map_err(|cause| ControlError { path: self.path.clone(), cause })
    }
}

/// Asks the edge that uses the state directory `state` what would come of a change.
///
/// # Errors
/// When no edge answers within `patience`.
pub fn ask_about(state: &Path, rehearsal: &Rehearsal, patience: Duration) -> Result<Value, ControlError> {
    let path = state.join("control.sock");
    let talk = || {
        let line = serde_json::to_string(rehearsal)?;
        let mut stream = std::os::unix::net::UnixStream::connect(&path)?;
        let patience = patience.max(Duration::from_millis(1));
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(format!("rehearse\n{line}\n").as_bytes())?;
        let mut answer = String::new();
        stream.take(limits::CHANGE_ANSWER_BYTES).read_to_string(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    talk().map_err(|cause| ControlError { path: path.clone(), cause })
}

/// The first of these patterns, as many as one line can surely hold.
fn that_fit(hosts: &[String]) -> Vec<String> {
    // The other half is for what JSON makes of them, which is at most twice as long.
    const AROUND: usize = "done {\"hosts\":[]}\n".len();
    const AROUND_EACH: usize = "\"\",".len();
    let half = usize::try_from(limits::CHANGE_LINE_BYTES / 2).unwrap_or(usize::MAX);
    let mut left = half.saturating_sub(AROUND);
    let fits = |host: &&String| {
        let room = left.checked_sub(host.len() + AROUND_EACH);
        left = room.unwrap_or_default();
        room.is_some()
    };
    hosts.iter().take(limits::CHANGE_HOSTS).take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_asks_about_fits_into_one_line_however_long_the_names_are() {
        for length in [1, 100, 253, 255, 16_000, 40_000] {
            let hosts = vec!["\"".repeat(length); 2 * limits::CHANGE_HOSTS];
            let asked = Done { hosts: that_fit(&hosts) };
            let line = format!("done {}\n", serde_json::to_string(&asked).unwrap());
            assert!(line.len() as u64 <= limits::CHANGE_LINE_BYTES, "{length}: {}", line.len());
            assert_eq!(asked.hosts.is_empty(), length == 40_000, "{length}");
        }
    }
}
