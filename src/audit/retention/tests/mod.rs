//! Holds and pruning over logs of a few segments.

mod crashes;
mod holds;
mod pruning;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::*;
pub(super) use crate::audit::files::PRUNED;
use crate::audit::{
    merkle::{self, Range},
    sealed::{IndexBuilder, SegmentIndex},
};

pub(super) const LINES: u64 = 4;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn now() -> Timestamp {
    at("2026-12-15T00:00:00Z")
}

/// A log with one closed segment for each of these (day, case, host) and an open one of 15 December.
pub(super) struct Log {
    home: tempfile::TempDir,
    /// Every line ever written.
    pub(super) lines: Vec<Vec<u8>>,
    /// Every event recorded since.
    pub(super) records: Vec<(Kind, Map<String, Value>)>,
}

impl Log {
    pub(super) fn of(segments: &[(&str, &str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut log = Self { home, lines: Vec::new(), records: Vec::new() };
        for folder in ["segments", HOLDS, PRUNED, "keys"] {
            fs::create_dir(log.path(folder)).unwrap();
        }
        fs::set_permissions(log.path("keys"), Permissions::from_mode(0o700)).unwrap();
        fs::write(log.path("keys/periods"), "2026-01-01T00:00:00Z month\n").unwrap();
        for (day, case, host) in segments {
            log.segment(day, case, host, true);
        }
        log.segment("2026-12-15", "TS-NEW", "new.example", false);
        log
    }

    fn segment(&mut self, day: &str, case: &str, host: &str, closed: bool) {
        let first = self.lines.len() as u64 + 1;
        let mut index = IndexBuilder::new(1, first);
        let mut range = Range::new(first - 1);
        let mut text = Vec::new();
        for seq in first..first + LINES {
            let line = format!(
                r#"{{"id":"x","seq":{seq},"time":"{day}T00:00:0{}Z","kind":"request.blocked","case":"{case}","host":"{host}"}}"#,
                seq % 10
            );
            index.line(line.as_bytes());
            range.push(merkle::leaf_hash(line.as_bytes()));
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
            self.lines.push(line.into_bytes());
        }
        if closed {
            let packed = zstd::encode_all(text.as_slice(), 1).unwrap();
            fs::write(self.file(first, "jsonl.zst"), packed).unwrap();
            fs::write(self.file(first, "idx"), index.finish(range.hashes()).to_bytes()).unwrap();
        } else {
            fs::write(self.file(first, "jsonl"), text).unwrap();
        }
    }

    pub(super) fn with_keys(self, labels: &[&str]) -> Self {
        for label in labels {
            let path = self.path(&format!("keys/{label}.key"));
            fs::write(&path, format!("{:032x}\n", 7)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        self
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory().join(path)
    }

    pub(super) fn directory(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn file(&self, first: u64, ending: &str) -> PathBuf {
        self.path(&format!("segments/{first:020}.{ending}"))
    }

    pub(super) fn retention(&self) -> Retention {
        Retention::new(self.directory(), Some(self.path("keys")))
    }

    pub(super) fn prune(&mut self, options: PruneOptions) -> Pruned {
        let retention = self.retention();
        let records = &mut self.records;
        retention
            .prune(&options, now(), &mut |kind, detail| {
                records.push((kind, detail));
                Ok(())
            })
            .unwrap()
    }

    pub(super) fn hold(&mut self, asked: HoldRequest) -> Result<(), RetentionError> {
        let hold = Hold::new(HoldRequest { reason: "a letter".into(), ..asked }, now())?;
        let retention = self.retention();
        let records = &mut self.records;
        retention.place(&hold, &mut |kind, detail| {
            records.push((kind, detail));
            Ok(())
        })
    }

    /// The first `seq` of each segment whose lines are there.
    pub(super) fn segments(&self) -> Vec<u64> {
        let found = crate::audit::sealed::segments(self.directory()).unwrap();
        found.iter().map(|file| file.first).collect()
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        files::names_in(&self.path(folder)).unwrap()
    }

    /// The root of the tree, from the lines that are there and the hashes of those that were pruned, has not changed.
    #[track_caller]
    pub(super) fn assert_verifies(&self) {
        let mut expected = Range::new(0);
        self.lines.iter().for_each(|line| expected.push(merkle::leaf_hash(line)));
        let mut found = Range::new(0);
        let mut segments = crate::audit::sealed::segments(self.directory()).unwrap().into_iter().peekable();
        while found.end() < expected.end() {
            if let Some(segment) = segments.next_if(|segment| segment.first == found.end() + 1) {
                let mut lines = segment.lines().unwrap();
                while let Some(line) = lines.next().unwrap() {
                    found.push(merkle::leaf_hash(line.bytes));
                }
                continue;
            }
            let bytes = fs::read(self.path(&format!("{PRUNED}/{:020}.idx", found.end() + 1))).unwrap();
            let index = SegmentIndex::parse(&bytes).unwrap();
            let (start, end) = (found.end(), found.end() + index.records);
            found.append(&Range::from_parts(start, end, index.range).unwrap()).unwrap();
        }
        assert_eq!(found.root(), expected.root());
    }
}

/// Three months and three cases.
pub(super) fn three() -> Log {
    Log::of(&[
        ("2026-09-10", "TS-1", "a.example"),
        ("2026-10-10", "TS-2", "b.example"),
        ("2026-11-10", "TS-3", "c.example"),
    ])
}

/// Everything that is closed may go.
pub(super) fn all() -> PruneOptions {
    PruneOptions { older_than_s: Some(0), ..PruneOptions::default() }
}
