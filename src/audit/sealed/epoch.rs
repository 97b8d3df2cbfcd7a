//! Epochs: where each tree of a log begins, and why.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    names::{EPOCHS, number},
    place::put,
};
use crate::audit::{files::Disk, problem::Problem};

/// One `epochs/<n>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Epoch {
    #[serde(rename = "epoch")]
    pub(super) number: u64,
    /// The first line of its checkpoints.
    pub(super) origin: String,
    /// The `seq` of its leaf 0.
    pub(super) first_seq: u64,
    pub(super) started: Timestamp,
    pub(super) reason: String,
}

impl Epoch {
    /// The path of its file.
    pub(super) fn path(&self) -> String {
        path(self.number)
    }

    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        put(disk, &self.path(), &self.to_bytes())
    }

    /// What its file holds.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Numbers and texts always become JSON.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The `seq` that follows a tree of `size` leaves.
    pub(super) fn seq_after(&self, size: u64) -> u64 {
        self.first_seq.saturating_add(size)
    }
}

fn path(number: u64) -> String {
    format!("{EPOCHS}/{number}.json")
}

/// The origin line of an epoch of the log `base`.
pub(super) fn origin(base: &str, number: u64) -> String {
    if number == 1 { base.to_owned() } else { format!("{base}/epoch-{number}") }
}

/// The epochs of a directory.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// Those that can be read, first to last.
    pub(super) known: Vec<Epoch>,
    /// The largest number there is, readable or not; 0 when there is none.
    pub(super) largest: u64,
}

impl Epochs {
    pub(super) fn read(disk: &dyn Disk, problems: &mut Vec<Problem>) -> io::Result<Self> {
        let mut epochs = Self::default();
        let names = disk.list(EPOCHS)?;
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|name| number(name.strip_suffix(".json")?)).collect();
        numbers.sort_unstable();
        for number in numbers {
            epochs.largest = number;
            let bytes = disk.read(&path(number))?.unwrap_or_default();
            match serde_json::from_slice::<Epoch>(&bytes) {
                Ok(epoch) if epoch.number == number && (1..u64::MAX / 2).contains(&epoch.first_seq) => {
                    epochs.known.push(epoch);
                }
                Ok(_) => problems.push(problem(number, "the numbers in it cannot be".to_owned())),
                Err(error) => problems.push(problem(number, format!("not an epoch: {error}"))),
            }
        }
        Ok(epochs)
    }

    /// The one that the log is in, if its file can be read.
    pub(super) fn newest(&self) -> Option<&Epoch> {
        self.known.last().filter(|epoch| epoch.number == self.largest)
    }

    /// The epoch that a segment belongs to; 0 when none is known.
    pub(super) fn of(&self, first: u64) -> u64 {
        self.known.iter().rev().find(|epoch| epoch.first_seq <= first).map_or(0, |epoch| epoch.number)
    }

    /// The name of the log, as the epochs know it.
    pub(super) fn base(&self) -> Option<String> {
        self.known.iter().rev().find_map(|epoch| {
            let suffix = origin("", epoch.number);
            epoch.origin.strip_suffix(&suffix).map(str::to_owned)
        })
    }
}

fn problem(number: u64, what: String) -> Problem {
    Problem::File { path: path(number), what }
}
