//! Starts and ends that were announced although the clock has not reached them: it was set back since.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::{Transition, TransitionKind};

/// One start or end of one case at one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) at: Timestamp,
    case: String,
    ends: bool,
}

impl Turn {
    pub(super) fn of(transition: &Transition) -> Self {
        Self {
            at: transition.at,
            case: transition.case.id.to_string(),
            ends: transition.kind == TransitionKind::Expired,
        }
    }
}

/// What the state directory holds of them; nothing when it holds nothing that can be read.
pub(super) fn read(root: &Path) -> BTreeSet<Turn> {
    let text = fs::read(root.join("announced.ahead")).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes them down for the next start.
pub(super) fn write(root: &Path, turns: &BTreeSet<Turn>) {
    let path = root.join("announced.ahead");
    let draft = path.with_extension("ahead.new");
    let written = if turns.is_empty() {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    } else {
        let text = serde_json::to_vec(turns).map_err(std::io::Error::from);
        text.and_then(|text| fs::write(&draft, text)).and_then(|()| fs::rename(&draft, &path))
    };
    if let Err(error) = written {
        tracing::warn!(%error, "a restart may announce the start or end of a case once more");
    }
}
