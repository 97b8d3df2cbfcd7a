//! Builds sealed directories for tests, file by file as docs/audit.md describes them.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::signed::{EpochFile, origin};
use crate::audit::{
    EventId, IndexBuilder,
    merkle::{Checkpoint, Frontier, Range, Signer, leaf_hash},
};

/// The origin of sample logs.
pub(in crate::audit) const ORIGIN: &str = "interdict/edge-1/0123456789abcdef";
/// The nonce of their only process.
pub(in crate::audit) const NONCE: u128 = 0xaa_bbcc_ddee;

/// A log that is being built.
pub(in crate::audit) struct Sample {
    pub(in crate::audit) directory: TempDir,
    pub(in crate::audit) signer: Signer,
    epoch: u64,
    first_seq: u64,
    next_seq: u64,
    ordinal: u128,
    missed: u64,
    tree: Frontier,
}

pub(in crate::audit) fn id(seconds: u64, ordinal: u128) -> EventId {
    let millis = u128::from(1_795_213_800_000 + seconds * 1000);
    let bits = millis << 80
        | 7 << 76
        | (ordinal >> 22 & 0xfff) << 64
        | 2 << 62
        | (ordinal & 0x3f_ffff) << 40
        | NONCE;
    EventId::from_u128(bits)
}

impl Sample {
    /// A log without records.
    pub(in crate::audit) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["segments", "epochs", "pruned"] {
            std::fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let signer = Signer::from_seed(ORIGIN, [42; 32]);
        let mut sample = Self {
            directory,
            signer,
            epoch: 0,
            first_seq: 1,
            next_seq: 1,
            ordinal: 0,
            missed: 0,
            tree: Frontier::new(),
        };
        sample.write("log.key", format!("{}\n", sample.signer.to_text()));
        sample.write("log.pub", format!("{}\n", sample.signer.verifier().to_text()));
        sample.epoch(1, "first start");
        sample
    }

    pub(in crate::audit) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(in crate::audit) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Begins a new epoch.
    pub(in crate::audit) fn epoch(&mut self, first_seq: u64, reason: &str) {
        self.epoch += 1;
        (self.first_seq, self.next_seq) = (first_seq, first_seq);
        self.tree = Frontier::new();
        let file = EpochFile {
            epoch: self.epoch,
            origin: origin(ORIGIN, self.epoch),
            first_seq,
            started: "2026-11-20T22:30:00.000000Z".to_owned(),
            reason: reason.to_owned(),
        };
        self.write(&format!("epochs/{}.json", self.epoch), serde_json::to_string(&file).unwrap() + "\n");
        self.checkpoint(false);
    }

    /// One record's line, without its newline.
    pub(in crate::audit) fn line(&mut self) -> String {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.ordinal += 1;
        let kind = if self.missed > 0 {
            format!(
                r#""kind":"audit.gap","missed":{},"counts":[{{"kind":"request.blocked","count":{0}}}]"#,
                self.missed
            )
        } else {
            let (case, host) = (seq % 3, seq % 17);
            format!(
                r#""kind":"request.blocked","case":"TS-{case}","host":"h{host}.example","path":"/\"{seq}\\","client":"192.0.2.{host}","revision":{}"#,
                1 + seq / 100
            )
        };
        self.missed = 0;
        let time = format!("2026-11-20T22:{:02}:{:02}.{:06}Z", seq / 60 % 60, seq % 60, seq % 1_000_000);
        format!(r#"{{"id":"{}","seq":{seq},"time":"{time}","edge":"edge-1",{kind}}}"#, id(seq, self.ordinal))
    }

    /// Events of which the next record counts that they were missed.
    pub(in crate::audit) fn miss(&mut self, events: u64) {
        self.ordinal += u128::from(events);
        self.missed += events;
    }

    /// Events that no record counts.
    pub(in crate::audit) fn lose(&mut self, events: u64) {
        self.ordinal += u128::from(events);
    }

    /// Appends records to the open segment `first`.
    pub(in crate::audit) fn append(&mut self, first: u64, count: u64) {
        let name = format!("segments/{first:020}.jsonl");
        let mut text = std::fs::read_to_string(self.path().join(&name)).unwrap_or_default();
        let mut full = Vec::new();
        for _ in 0..count {
            let line = self.line();
            self.tree.push(leaf_hash(line.as_bytes()), &mut full);
            text += &line;
            text.push('\n');
        }
        self.write(&name, text);
        for tile in full.iter().filter(|tile| tile.level > 0) {
            self.write(&format!("tree/{}/{}", self.epoch, tile.path()), tile.to_bytes());
        }
    }

    /// Compresses the segment `first` and writes its index.
    pub(in crate::audit) fn pack(&self, first: u64) {
        let plain = self.path().join(format!("segments/{first:020}.jsonl"));
        let text = std::fs::read(&plain).unwrap();
        let mut builder = IndexBuilder::new(self.epoch, first);
        let mut range = Range::new(first - self.first_seq);
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            builder.line(line);
            range.push(leaf_hash(line));
        }
        self.write(&format!("segments/{first:020}.idx"), builder.finish(range.hashes()).to_bytes());
        let mut packed = Vec::new();
        for part in text.chunks(40_000) {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            std::io::Write::write_all(&mut encoder, part).unwrap();
            packed.extend(encoder.finish().unwrap());
        }
        self.write(&format!("segments/{first:020}.jsonl.zst"), packed);
        std::fs::remove_file(plain).unwrap();
    }

    /// Signs what is there; kept are the checkpoints at the end of a segment and at an orderly stop.
    pub(in crate::audit) fn checkpoint(&self, keep: bool) {
        let file = std::fs::read(self.path().join(format!("epochs/{}.json", self.epoch))).unwrap();
        let origin = origin(ORIGIN, self.epoch);
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size: self.tree.size(),
            root: self.tree.root(),
            extensions: vec![
                format!("epoch {}", self.epoch),
                format!("first-seq {}", self.first_seq),
                "time 2026-11-20T22:30:00.123456Z".to_owned(),
                format!("epoch-file {}", BASE64.encode(Sha256::digest(file))),
            ],
        };
        let note = checkpoint.sign(&self.signer.with_name(&origin));
        self.write(&format!("tree/{}/checkpoint", self.epoch), &note);
        if keep {
            self.write(&format!("tree/{}/checkpoints/{:020}", self.epoch, self.tree.size()), &note);
        }
    }

    /// Writes the partial tiles at the start of a segment, and removes those of before.
    pub(in crate::audit) fn begin(&self) {
        let root = self.path().join(format!("tree/{}", self.epoch));
        for name in super::layout::partial_tiles(self.path(), self.epoch).unwrap() {
            std::fs::remove_file(root.join(name.path())).unwrap();
        }
        self.partials();
    }

    /// Writes the partial tiles as an orderly stop does.
    pub(in crate::audit) fn partials(&self) {
        for tile in self.tree.partials() {
            self.write(&format!("tree/{}/{}", self.epoch, tile.path()), tile.to_bytes());
        }
    }

    /// Segments of these sizes, all but the last compressed, closed in order.
    pub(in crate::audit) fn segments(&mut self, sizes: &[u64]) {
        for (number, size) in sizes.iter().enumerate() {
            let first = self.next_seq;
            self.begin();
            self.append(first, *size);
            self.partials();
            self.checkpoint(true);
            if number + 1 < sizes.len() {
                self.pack(first);
            }
        }
    }
}
