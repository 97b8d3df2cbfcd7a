//! Upgrades of an edge under test.

use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use super::setup::TOKEN;
use super::tools::{self, Output};
use super::{Edge, wait_for};

impl Edge {
    /// `interdict upgrade` for this edge, run to its end.
    #[track_caller]
    pub fn try_upgrade(&self) -> Output {
        tools::interdict(["upgrade", "--config", self.config().to_str().unwrap()])
    }

    /// Upgrades it; the process before may still drain. Returns the new process's id.
    #[track_caller]
    pub fn begin_upgrade(&mut self) -> u32 {
        let output = self.try_upgrade();
        assert_eq!(output.code, 0, "{}{}\n{}", output.stdout, output.stderr, self.process().stderr());
        let answer: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(answer["result"], "upgraded", "{answer}");
        let pid = u32::try_from(answer["pid"].as_u64().unwrap()).unwrap();
        self.is_succeeded_by(pid);
        pid
    }

    /// Another process was seen to have taken its place.
    pub fn is_succeeded_by(&mut self, pid: u32) {
        self.process_mut().is_succeeded_by(pid);
        self.note_start();
    }

    /// Upgrades it and waits until the process before has ended.
    #[track_caller]
    pub fn upgrade(&mut self) -> u32 {
        let pid = self.begin_upgrade();
        self.process_mut().wait_for_those_before();
        pid
    }

    /// Starts an upgrade that somebody else has to let go on, and waits until the new process is there.
    #[track_caller]
    pub fn upgrade_beside(&self) -> (JoinHandle<Output>, rustix::process::Pid) {
        let config = self.config();
        let upgrade =
            thread::spawn(move || tools::interdict(["upgrade", "--config", config.to_str().unwrap()]));
        let pid = wait_for("a new process is there", || self.process().children().first().copied());
        (upgrade, pid)
    }
}

/// A token file that lets a start go on only when somebody writes it.
pub struct Turnstile(std::path::PathBuf);

impl Turnstile {
    /// Makes the file.
    pub fn new(path: &Path) -> Self {
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
        Self(path.to_owned())
    }

    /// Lets one start through, now or when it comes.
    pub fn let_one_through(&self) {
        // A process of its own: when nobody comes, it ends with its kill and not with a thread that hangs.
        let path = self.0.clone();
        let mut writer = Command::new("sh")
            .args(["-c", "printf '%s' \"$1\" > \"$2\"", "sh", TOKEN])
            .arg(path)
            .spawn()
            .unwrap();
        thread::spawn(move || writer.wait());
    }
}
