//! `[audit]`: where and how records are kept.

use std::path::{Path, PathBuf};

use super::{Audit, parse::Paths};
use crate::audit::{
    Acknowledge, COMMIT_INTERVAL, COMMIT_INTERVALS, ClientPrivacy, MIN_SEGMENT_BYTES, Period, Pseudonyms,
    SEGMENT_BYTES,
};
use crate::document::{Table, Value};

/// The largest segment, in bytes.
const MAX_SEGMENT_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// The section, which may be absent. `state` is where the keys are unless it says otherwise.
pub(super) fn settle(
    table: Option<&Table<'_>>,
    paths: &Paths<'_>,
    state: &Path,
    upper: &[&'static str],
) -> Audit {
    let keys = Keys { table };
    let directory = paths.or_default(keys.value("directory"), "audit");
    let range = MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES;
    let segment_bytes = keys.value("segment_bytes").and_then(|value| value.integer(range));
    let (acknowledge, commit_interval) = keys.acknowledge();
    let audit = Audit {
        client: keys.client(paths, state),
        acknowledge,
        commit_interval,
        spare: keys.spare(paths, &directory),
        segment_bytes: segment_bytes.unwrap_or(SEGMENT_BYTES),
        directory,
    };
    if let Some(table) = table {
        table.finish(upper);
    }
    audit
}

struct Keys<'t, 'r> {
    table: Option<&'t Table<'r>>,
}

impl<'r> Keys<'_, 'r> {
    fn value(&self, key: &'static str) -> Option<Value<'r>> {
        self.table?.optional(key)
    }

    fn acknowledge(&self) -> (Acknowledge, std::time::Duration) {
        let word = self.value("acknowledge").and_then(|value| value.string());
        let acknowledge = word.and_then(|text| text.choice(Acknowledge::ALL, Acknowledge::as_str));
        let acknowledge = acknowledge.unwrap_or_default();
        let interval = self.value("commit_interval");
        if let (Some(value), Acknowledge::Process) = (&interval, acknowledge) {
            value.key_spot().error_with_hint(
                "`commit_interval` is for `acknowledge = \"disk\"` only",
                "remove it, or write `acknowledge = \"disk\"`",
            );
        }
        let interval = interval.and_then(|value| value.duration(COMMIT_INTERVALS));
        (acknowledge, interval.unwrap_or(COMMIT_INTERVAL))
    }

    fn client(&self, paths: &Paths<'_>, state: &Path) -> ClientPrivacy {
        let (key, period) = (self.value("key"), self.value("client_period"));
        let keys = key.and_then(|value| paths.path(&value)).unwrap_or_else(|| state.join("client.key"));
        let word = period.and_then(|value| value.string()?.choice(Period::ALL, Period::as_str));
        let words = ["full", "truncated", "pseudonym"];
        let client = match self.value("client").and_then(|value| value.string()?.choice(&words, |word| word))
        {
            Some("full") => ClientPrivacy::Full,
            Some("truncated") => ClientPrivacy::Truncated,
            _ => ClientPrivacy::Pseudonym(Pseudonyms { keys, period: word.unwrap_or_default() }),
        };
        if !matches!(client, ClientPrivacy::Pseudonym(_)) {
            for (name, value) in [("key", key), ("client_period", period)] {
                let Some(value) = value else { continue };
                value.key_spot().error_with_hint(
                    format_args!("`{name}` is for pseudonyms only"),
                    "remove it, or write `client = \"pseudonym\"`",
                );
            }
        }
        client
    }

    fn spare(&self, paths: &Paths<'_>, directory: &Path) -> Option<PathBuf> {
        let value = self.value("spare")?;
        let spare = paths.path(&value)?;
        // Both are relative to the same place, so that components tell; links are found when the log is opened.
        if spare.components().eq(directory.components()) {
            value.spot().error_with_hint(
                "`spare` is the audit directory itself",
                "name a directory on another disk, or remove it",
            );
            return None;
        }
        Some(spare)
    }
}
