//! What comes to pass by itself, and what of it was announced although the clock has not reached it: it was set back
//! since.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Kind;

/// Something about one case that comes to pass by itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) at: Timestamp,
    pub(super) case: String,
    pub(super) what: What,
}

/// What comes to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    Effective,
    Expired,
    Exemption,
    Review,
}

impl What {
    /// The kind of its record.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Effective => Kind::CaseEffective,
            Self::Expired => Kind::CaseExpired,
            Self::Exemption => Kind::ExemptionExpired,
            Self::Review => Kind::ReviewOverdue,
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
