//! Policies that change while requests are under way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mark;
use super::report::Swap;
use crate::{limits, server};

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
        // What a run left that was killed.
        let mut swaps = self.clear(from);
        let mut next = from + self.every;
        let is_going_on = |next: Instant| {
            let waited = stopped.recv_timeout(next.saturating_duration_since(Instant::now()));
            waited == Err(RecvTimeoutError::Timeout)
        };
        while is_going_on(next) {
            next += self.every;
            let began = Instant::now();
            let touched = self.policies.as_deref().map_or(Ok(String::new()), touch);
            let done = touched.and_then(|note| {
                let word = self.state.as_deref().map_or(Ok("touched".to_owned()), reload)?;
                Ok(word + &note)
            });
            swaps.push(swap(from, began, done));
        }
        swaps.extend(self.clear(from));
        swaps
    }

    /// Takes the mark out of whatever has it; what failed.
    fn clear(&self, from: Instant) -> Vec<Swap> {
        let began = Instant::now();
        let problems = self.policies.as_deref().map(mark::sweep).unwrap_or_default();
        let told = |(file, error): (PathBuf, io::Error)| {
            swap(from, began, Err(format!("`{}` keeps its mark: {error}", file.display())))
        };
        problems.into_iter().map(told).collect()
    }
}

fn swap(from: Instant, began: Instant, done: Result<String, String>) -> Swap {
    Swap {
        at_s: began.saturating_duration_since(from).as_secs_f64(),
        took_ms: began.elapsed().as_secs_f64() * 1e3,
        failed: done.is_err(),
        result: done.unwrap_or_else(|problem| problem),
    }
}

/// Gives the first case file that is there its mark, or takes it away; what is to be said beside that.
fn touch(policies: &Path) -> Result<String, String> {
    let told = |path: &Path, error: &io::Error| format!("`{}`: {error}", path.display());
    let cases = mark::cases(policies).map_err(|error| told(&policies.join("cases"), &error))?;
    let mut gone = String::new();
    for case in cases.iter().filter(|case| mark::fits(case)) {
        match mark::turn(case) {
            Ok(_) => return Ok(gone),
            // Ended while it was to be touched: another one does as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                gone = format!(" (`{}` has gone)", case.display());
            }
            Err(error) => return Err(told(case, &error)),
        }
    }
    Err(format!("`{}`: there is no case file to touch", policies.display()))
}

/// Asks the edge, and tells what came of it in its own word; an error when nothing came into force.
fn reload(state: &Path) -> Result<String, String> {
    let answer = server::ask_within(state, "reload", Some(limits::LOAD_RELOAD_PATIENCE))
        .map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    let word = answer.get("result").or_else(|| answer.get("error")).and_then(Value::as_str);
    match word {
        Some(word @ ("applied" | "unchanged")) => Ok(word.to_owned()),
        other => Err(other.unwrap_or("no answer").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_case_that_has_gone_is_not_missed_and_none_at_all_is_a_failure() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("cases")).unwrap();
        assert!(touch(home.path()).unwrap_err().contains("no case file to touch"));
        let [a, b] = ["cases/a.toml", "cases/b.toml"].map(|name| home.path().join(name));
        fs::write(&b, "b = 1\n").unwrap();
        std::os::unix::fs::symlink("nowhere", &a).unwrap();
        touch(home.path()).unwrap();
        assert!(fs::read_to_string(&b).unwrap().contains("touched by"));
        assert!(a.is_symlink() && !a.exists());
    }

    #[test]
    fn no_mark_is_left_whoever_put_it_there() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("cases")).unwrap();
        let case = home.path().join("cases/a.toml");
        fs::write(&case, "a = 1\n# touched by `interdict load`\n").unwrap();
        let swapping =
            Swapping { every: Duration::from_secs(60), state: None, policies: Some(home.path().to_owned()) };
        let (told, stopped) = mpsc::channel();
        drop(told);
        assert!(swapping.swap(Instant::now(), &stopped).is_empty());
        assert_eq!(fs::read_to_string(&case).unwrap(), "a = 1\n");
    }
}
