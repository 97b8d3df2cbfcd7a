//! The store as a whole: a sealer that follows its contract, a checker that knows nothing of it but the files.

mod archive;
mod faults;
mod faulty;
mod recovery;
mod store;

use std::{collections::VecDeque, path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::open::Found;
use super::*;
use crate::audit::{
    EventId,
    files::{Disk, RealDisk},
    merkle::{Checkpoint, Frontier, Verifier, leaf_hash},
    problem::Problem,
};

pub(super) fn now() -> Timestamp {
    "2026-11-20T22:30:00.25Z".parse().unwrap()
}

pub(super) fn after(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

pub(super) fn id(event: u64) -> EventId {
    EventId::from_u128((1_795_213_800_123u128 << 80) | (7 << 76) | (2 << 62) | u128::from(event))
}

pub(super) fn event(id: EventId) -> u64 {
    (id.as_u128() & 0xffff_ffff) as u64
}

/// The record of an event.
pub(super) fn line(event: u64, seq: u64) -> Vec<u8> {
    format!(
        "{{\"id\":\"{}\",\"seq\":{seq},\"time\":\"2026-11-20T22:30:00.250000Z\",\"edge\":\"ams-1\",\
         \"kind\":\"request.blocked\",\"case\":\"TS-{event}\",\"host\":\"{event}.example\",\"revision\":{event}}}\n",
        id(event)
    )
    .into_bytes()
}

pub(super) fn options() -> SealOptions {
    SealOptions {
        edge: "ams 1".to_owned(),
        segment_bytes: 1500,
        segment_age: SignedDuration::from_hours(1),
        witness: None,
    }
}

pub(super) fn real(directory: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::unlocked(directory, "ams-1"))
}

/// A sealer: numbers events, appends and commits them, and after an error does what the contract says.
pub(super) struct Sealer {
    pub(super) sealed: Sealed,
    pub(super) found: Found,
    disk: Arc<dyn Disk>,
    /// Events that are not in the store.
    pub(super) queue: VecDeque<u64>,
    /// Events that are in the store and not sealed.
    placed: VecDeque<u64>,
    committed: u64,
    /// The last event that is sealed.
    pub(super) last_sealed: u64,
}

impl Sealer {
    pub(super) fn open(disk: Arc<dyn Disk>, options: SealOptions) -> std::io::Result<Self> {
        let (sealed, found) = Sealed::open(Arc::clone(&disk), options, now())?;
        let committed = sealed.committed_seq();
        let lane = found.extensions.iter().find_map(|line| line.strip_prefix("lane 0 "));
        let mut last_sealed = lane.map_or(0, |last| last.parse().unwrap());
        let mut placed: VecDeque<u64> = found.tail_ids.iter().map(|id| event(*id)).collect();
        if found.new_epoch.is_some() {
            // They stay where they are, in the epoch that ended.
            last_sealed = placed.drain(..).max().unwrap_or(0).max(last_sealed);
        }
        Ok(Self { sealed, found, disk, queue: VecDeque::new(), placed, committed, last_sealed })
    }

    pub(super) fn in_directory(directory: &Path) -> Self {
        Self::open(real(directory), options()).unwrap()
    }

    /// Takes the events up to `last` that are not there yet.
    pub(super) fn offer(&mut self, last: u64) {
        let known = self.queue.back().or(self.placed.back()).copied().unwrap_or(self.last_sealed);
        self.queue.extend(known + 1..=last);
    }

    pub(super) fn append(&mut self) -> std::io::Result<()> {
        let first = self.sealed.next_seq();
        let lines: Vec<u8> =
            self.queue.iter().zip(first..).flat_map(|(event, seq)| line(*event, seq)).collect();
        let result = self.sealed.append(&lines, self.queue.len() as u64, now());
        if result.is_ok() {
            self.placed.append(&mut self.queue);
        }
        self.settle();
        result
    }

    pub(super) fn commit_at(&mut self, now: Timestamp) -> std::io::Result<u64> {
        let last = self.placed.back().copied().unwrap_or(self.last_sealed);
        let result = self.sealed.commit(now, &[format!("lane 0 {last}")]);
        self.settle();
        result
    }

    pub(super) fn commit(&mut self) -> std::io::Result<u64> {
        self.commit_at(now())
    }

    pub(super) fn write(&mut self, last: u64) -> std::io::Result<u64> {
        self.offer(last);
        self.append()?;
        self.commit()
    }

    pub(super) fn archive(&mut self) -> std::io::Result<()> {
        self.sealed.full_segments().iter().try_for_each(|job| job.run(self.disk.as_ref()))
    }

    pub(super) fn close(&mut self) -> std::io::Result<()> {
        let last = self.placed.back().copied().unwrap_or(self.last_sealed);
        let result = self.sealed.close(now(), &[format!("lane 0 {last}")]);
        self.settle();
        result
    }

    /// What is sealed is done with; what is not in the store any more is to be appended anew.
    fn settle(&mut self) {
        let committed = self.sealed.committed_seq();
        for _ in self.committed..committed {
            self.last_sealed = self.placed.pop_front().expect("only what was appended is sealed");
        }
        self.committed = committed;
        let there = (self.sealed.next_seq() - committed - 1) as usize;
        while self.placed.len() > there {
            self.queue.push_front(self.placed.pop_back().unwrap());
        }
        assert_eq!(self.placed.len(), there);
    }
}

/// What the files of a log with one epoch say.
pub(super) struct Checked {
    /// The events of all lines that count, in order.
    pub(super) events: Vec<u64>,
    /// Leaves under the checkpoint.
    pub(super) size: u64,
}

/// Checks that the lines are in sequence, and that the checkpoint is signed and has their root.
pub(super) fn check(directory: &Path) -> Checked {
    let vkey = std::fs::read_to_string(directory.join("log.pub")).unwrap();
    let note = std::fs::read(directory.join("tree/1/checkpoint")).unwrap();
    let checkpoint = Checkpoint::open(&note, &Verifier::parse(&vkey).unwrap()).unwrap();
    let (mut events, mut tree, mut tiles) = (Vec::new(), Frontier::new(), Vec::new());
    let mut root = (checkpoint.size == 0).then(|| tree.root());
    let all = segments(directory).unwrap();
    for (place, segment) in all.iter().enumerate() {
        assert_eq!(segment.first, events.len() as u64 + 1, "segments follow each other");
        let end = all.get(place + 1).map_or(u64::MAX, |next| next.first);
        let mut lines = segment.lines().unwrap();
        while let Some(text) = lines.next().unwrap() {
            let fields: serde_json::Value = match serde_json::from_slice(text.bytes) {
                Ok(fields) => fields,
                // What a failed write left at the end of a segment that was given up, or of the open one.
                Err(_) => break,
            };
            let seq = fields["seq"].as_u64().unwrap();
            if seq >= end || seq != events.len() as u64 + 1 {
                break;
            }
            events.push(event(fields["id"].as_str().unwrap().parse().unwrap()));
            tree.push(leaf_hash(text.bytes), &mut tiles);
            if tree.size() == checkpoint.size {
                root = Some(tree.root());
            }
        }
    }
    assert_eq!(root, Some(checkpoint.root), "{} sealed, {} there", checkpoint.size, tree.size());
    Checked { events, size: checkpoint.size }
}

/// Checks that the events 1 to `last` are sealed, each once and in order.
pub(super) fn check_whole(directory: &Path, last: u64) {
    let checked = check(directory);
    assert_eq!(checked.events, (1..=last).collect::<Vec<_>>());
    assert_eq!(checked.size, last);
}

/// The bytes of a file in the directory, changed by `change`.
pub(super) fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

pub(super) fn segment_names(directory: &Path) -> Vec<String> {
    crate::audit::files::names_in(&directory.join("segments")).unwrap()
}

pub(super) fn has_file_problem(problems: &[Problem], part: &str) -> bool {
    problems.iter().any(|problem| matches!(problem, Problem::File { path, .. } if path.contains(part)))
}
