//! The log that `audit hold` and `audit prune` change.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::LogSource;
use crate::audit::{ReadError, Tail};
use crate::cli::{Exit, complain};
use crate::config::Config;
use crate::server::KeptLog;

/// Where the log is, and what its configuration says beside that. An edge that runs on it is asked to make the change, and
/// is found by its configuration only.
#[derive(Debug, Args)]
pub(super) struct KeptSource {
    #[command(flatten)]
    source: LogSource,
    /// With --directory, the edge that the record of this names [default: the edge of the newest record]
    #[arg(long, value_name = "NAME", requires = "directory")]
    edge: Option<String>,
    /// With --directory, the second directory of the log (`spare`), if it has one.
    #[arg(long, value_name = "DIR", requires = "directory")]
    spare: Option<PathBuf>,
}

impl KeptSource {
    pub(super) fn locate(&self) -> Result<KeptLog, Exit> {
        self.locate_with_keys(None)
    }

    /// The same with a directory of keys, which the configuration would name.
    pub(super) fn locate_with_keys(&self, keys: Option<&Path>) -> Result<KeptLog, Exit> {
        let Some(directory) = &self.source.directory else {
            let config = Config::load(&self.source.config).map_err(|error| complain(Exit::Usage, &error))?;
            return Ok(KeptLog::of(&config));
        };
        let found = newest_edge(directory).map_err(|error| complain(Exit::Io, &error))?;
        let Some(edge) = self.edge.clone().or(found) else {
            let said =
                format!("no record in `{}` names an edge: say which with `--edge`", directory.display());
            return Err(complain(Exit::Usage, &said));
        };
        Ok(KeptLog::in_directory(directory, &edge, keys.map(Path::to_owned), self.spare.clone()))
    }

    /// Whether the directory alone is known.
    pub(super) fn is_directory(&self) -> bool {
        self.source.directory.is_some()
    }
}

/// The edge of the newest record.
fn newest_edge(directory: &Path) -> Result<Option<String>, ReadError> {
    let mut tail = Tail::open(directory, 1)?;
    let mut edge = None;
    while let Some(item) = tail.next_record()? {
        let record = item.ok().and_then(|record| serde_json::from_slice::<Value>(&record.line).ok());
        let named = record.as_ref().and_then(|record| record.get("edge")).and_then(Value::as_str);
        edge = named.map(str::to_owned).or(edge);
    }
    Ok(edge)
}
