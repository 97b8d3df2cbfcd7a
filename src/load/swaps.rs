//! Policies that change while requests are under way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::report::Swap;
use crate::server;

/// What a touched case file has at its end, every other time.
const MARK: &str = "\n# touched by `interdict load`\n";

/// How policies are swapped, and how often.
#[derive(Debug, Clone)]
pub struct Swapping {
    /// How often.
    pub every: Duration,
    /// The state directory of the running edge, which is asked to read its policies.
    pub state: Option<PathBuf>,
    /// The policy directory, of which a case file is touched: it gets a comment, and loses it the next time and at the
    /// end. Without it the edge finds nothing that is new.
    pub policies: Option<PathBuf>,
}

impl Swapping {
    /// Swaps until the channel is closed; the times of what it returns count from `from`.
    pub(super) fn swap(&self, from: Instant, stopped: &Receiver<()>) -> Vec<Swap> {
        let mut swaps = Vec::new();
        let mut case = self.policies.as_deref().map(Case::find);
        let mut next = from + self.every;
        let is_going_on = |next: Instant| {
            let waited = stopped.recv_timeout(next.saturating_duration_since(Instant::now()));
            waited == Err(RecvTimeoutError::Timeout)
        };
        while is_going_on(next) {
            next += self.every;
            let began = Instant::now();
            let touched = match &mut case {
                Some(Ok(case)) => case.touch(),
                Some(Err(error)) => Err(io::Error::other(error.to_string())),
                None => Ok(()),
            };
            let result = match (touched, &self.state) {
                (Err(error), _) => error.to_string(),
                (Ok(()), Some(state)) => reload(state),
                (Ok(()), None) => "touched".to_owned(),
            };
            let at_s = began.saturating_duration_since(from).as_secs_f64();
            swaps.push(Swap { at_s, took_ms: began.elapsed().as_secs_f64() * 1e3, result });
        }
        if let Some(Ok(case)) = &case
            && let Err(error) = case.restore()
        {
            swaps.push(Swap {
                at_s: 0.0,
                took_ms: 0.0,
                result: format!("`{}`: {error}", case.path.display()),
            });
        }
        swaps
    }
}

/// Asks the edge, and tells what came of it in its own word.
fn reload(state: &Path) -> String {
    let answer = match server::ask(state, "reload") {
        Ok(answer) => answer,
        Err(error) => return error.to_string(),
    };
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    let word = answer.get("result").or_else(|| answer.get("error")).and_then(Value::as_str);
    word.unwrap_or("no answer").to_owned()
}

/// A case file, and what it was before it was touched.
struct Case {
    path: PathBuf,
    text: String,
    touched: bool,
}

impl Case {
    /// The first one of a policy directory.
    fn find(policies: &Path) -> io::Result<Self> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(policies.join("cases"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort_unstable();
        let path =
            files.into_iter().next().ok_or_else(|| io::Error::other("there is no case file to touch"))?;
        Ok(Self { text: fs::read_to_string(&path)?, path, touched: false })
    }

    fn touch(&mut self) -> io::Result<()> {
        self.touched = !self.touched;
        let mark = if self.touched { MARK } else { "" };
        self.write(&format!("{}{mark}", self.text))
    }

    fn restore(&self) -> io::Result<()> {
        if self.touched { self.write(&self.text) } else { Ok(()) }
    }

    /// Written beside and renamed, so that no reader sees half of it.
    fn write(&self, text: &str) -> io::Result<()> {
        let beside = self.path.with_extension("interdict-load");
        fs::write(&beside, text)?;
        fs::set_permissions(&beside, fs::metadata(&self.path)?.permissions())?;
        fs::rename(&beside, &self.path)
    }
}
