//! Why a policy set was changed, in the words of whoever changed it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::diagnostic::excerpt_of;
use crate::gate::object;
use crate::limits;

/// What a command says of the change that it makes. It goes into the `policy.applied` record of that change, under
/// `changes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The command: `terminate`, `reinstate` or `rollback`.
    pub command: String,
    /// The case that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who, as the command says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Who, as the system says: the user id of the process on the other end of the control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

impl Note {
    /// The same with every text cut and escaped for a record, and signed by the system.
    #[must_use]
    pub fn signed(self, uid: Option<u32>) -> Self {
        let short = |text: String| excerpt_of(&text, limits::SHORT_TEXT_CHARS);
        Self {
            command: short(self.command),
            case: self.case.map(short),
            reason: self.reason.map(short),
            operator: self.operator.map(short),
            uid,
        }
    }
}

/// What those who wait for a reload have said.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// For the record.
    pub(super) notes: Vec<Note>,
    /// The cases that somebody ends by a command, and waits for it.
    pub(super) ended: BTreeSet<String>,
}

/// What a record says of those who asked for a change.
pub(super) fn changes(notes: &[Note]) -> Map<String, Value> {
    if notes.is_empty() { Map::new() } else { object(json!({ "changes": notes })) }
}

/// The same beside what else a record says.
pub(super) fn with_changes(mut detail: Map<String, Value>, notes: &[Note]) -> Map<String, Value> {
    detail.append(&mut changes(notes));
    detail
}
