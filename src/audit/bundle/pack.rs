//! Makes a bundle.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::{id::EventId, prove::Proof};
use super::names;
use super::spool::Spool;
use super::sums::{self, Sums, sha256};
use crate::policy::{PolicyFile, PolicyFiles};

/// Proofs up to this number are files of their own.
const FEW: usize = 64;
/// More compression costs more time than it saves bytes: proofs are hashes.
const LEVEL: i32 = 9;

const README_TEXT: &str = include_str!("README.md");

/// Why a bundle was not made. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The system refused.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The bundle.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// `bundle.json`: what the bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The version of this format: 1.
    pub version: u32,
    /// What made it, and in which version.
    pub tool: String,
    /// What was asked for: the filters by their names; empty when everything was.
    pub query: Map<String, Value>,
    /// Records in `records.jsonl`.
    pub records: u64,
    /// Revisions whose policy set is here.
    pub revisions: BTreeSet<u64>,
    /// Records that were found and are under no checkpoint yet: they cannot be proved and are not here.
    pub unsealed: u64,
    /// Revisions that records name and whose policy set the edge did not keep any more.
    pub missing_revisions: BTreeSet<u64>,
}

/// Gathers records and writes the bundle.
pub struct Packer {
    target: PathBuf,
    records: Spool,
    applied: Spool,
    proofs: Spool,
    /// The records that are proved, and the first of them in order.
    proved: HashSet<EventId>,
    first: Vec<EventId>,
    checkpoints: Vec<String>,
    policies: Vec<(String, Arc<[u8]>)>,
    about: About,
}

impl Packer {
    /// Starts a bundle that will be `target`; nothing has that name before [`Packer::finish`].
    ///
    /// # Errors
    /// When no file can be made in its folder.
    pub fn new(target: &Path, query: Map<String, Value>) -> Result<Self, PackError> {
        let spool = |what| Spool::beside(target, what).map_err(|error| failed(target, error));
        let tool = concat!("interdict ", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(Self {
            records: spool("records")?,
            applied: spool("applied")?,
            proofs: spool("proofs")?,
            target: target.to_owned(),
            proved: HashSet::new(),
            first: Vec::new(),
            checkpoints: Vec::new(),
            policies: Vec::new(),
            about: About { version: 1, tool, query, ..About::default() },
        })
    }

    /// Takes in a record with its proof.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub fn record(&mut self, id: EventId, proof: &Proof) -> Result<(), PackError> {
        self.about.records += 1;
        let taken = self.records.line(proof.record.as_bytes()).and_then(|()| self.proof(id, proof));
        taken.map_err(|error| failed(&self.target, error))
    }

    /// Takes in the `policy.applied` record of a revision that records name.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub fn applied(&mut self, id: EventId, proof: &Proof) -> Result<(), PackError> {
        let taken = self.applied.line(proof.record.as_bytes()).and_then(|()| self.proof(id, proof));
        taken.map_err(|error| failed(&self.target, error))
    }

    /// One proof is enough for a record that stands in both files.
    fn proof(&mut self, id: EventId, proof: &Proof) -> io::Result<()> {
        if !self.proved.insert(id) {
            return Ok(());
        }
        if self.first.len() < FEW {
            self.first.push(id);
        }
        if !self.checkpoints.contains(&proof.checkpoint) {
            self.checkpoints.push(proof.checkpoint.clone());
        }
        self.proofs.line(proof.to_json().trim_end().as_bytes())
    }

    /// Notes that a record was found that cannot be proved yet.
    pub fn unsealed(&mut self) {
        self.about.unsealed += 1;
    }

    /// Takes a policy set in, or notes that it is gone.
    pub fn policies(&mut self, revision: u64, files: Option<&PolicyFiles>) {
        let Some(set) = files else {
            self.about.missing_revisions.insert(revision);
            return;
        };
        if self.about.revisions.insert(revision) {
            let file = |(path, file): (&String, &PolicyFile)| {
                let content = file.content.clone()?;
                Some((format!("{}{revision}/{path}", names::POLICY_FOLDER), content))
            };
            // What is read back from the store is at hand whole.
            self.policies.extend(set.files.iter().filter_map(file));
        }
    }

    /// Writes the bundle: to a draft, synced, and then under its name.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub fn finish(self, key: &str) -> Result<About, PackError> {
        let target = self.target.clone();
        let mut draft = target.as_os_str().to_owned();
        draft.push(format!(".{}.new", std::process::id()));
        let draft = PathBuf::from(draft);
        let made = self.write(&draft, key).and_then(|about| {
            fs::rename(&draft, &target)?;
            Ok(about)
        });
        made.map_err(|error| {
            // What is left of it is of no use, and the first error says why.
            fs::remove_file(&draft).ok();
            failed(&target, error)
        })
    }

    fn write(self, draft: &Path, key: &str) -> io::Result<About> {
        let about = serde_json::to_vec_pretty(&self.about)?;
        let mut files = vec![
            Part::text(names::README, README_TEXT),
            Part::bytes(names::ABOUT, [about.as_slice(), b"\n"].concat()),
            Part::text(names::KEY, format!("{}\n", key.trim_end())),
        ];
        for (place, checkpoint) in self.checkpoints.iter().enumerate() {
            files.push(Part::text(&names::checkpoint(place), checkpoint.as_str()));
        }
        files.push(Part::spool(names::RECORDS, self.records)?);
        files.push(Part::spool(names::APPLIED, self.applied)?);
        if self.proved.len() > FEW {
            files.push(Part::spool(names::PROOFS, self.proofs)?);
        } else {
            files.extend(proofs(self.proofs, &self.first)?);
        }
        let policies = self.policies.into_iter();
        files.extend(policies.map(|(name, bytes)| Part::bytes(&name, bytes)));
        let sums: Sums = files.iter().map(|part| (part.name.clone(), part.hash)).collect();
        files.insert(0, Part::text(names::SUMS, sums::text(&sums)));
        archive(draft, files)?;
        Ok(self.about)
    }
}

/// Few proofs become a file each.
fn proofs(spool: Spool, ids: &[EventId]) -> io::Result<Vec<Part>> {
    let lines = BufReader::new(spool.finish()?.0).split(b'\n');
    let part = |(id, line): (&EventId, io::Result<Vec<u8>>)| {
        let mut line = line?;
        line.push(b'\n');
        Ok(Part::bytes(&format!("{}{id}.json", names::PROOF_FOLDER), line))
    };
    ids.iter().zip(lines).map(part).collect()
}

/// One file of the archive.
struct Part {
    name: String,
    bytes: u64,
    hash: [u8; 32],
    content: Box<dyn Read>,
}

impl Part {
    fn bytes(name: &str, bytes: impl AsRef<[u8]> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.as_ref().len() as u64,
            hash: sha256(bytes.as_ref()),
            content: Box::new(io::Cursor::new(bytes)),
        }
    }

    fn text(name: &str, text: impl Into<Vec<u8>>) -> Self {
        Self::bytes(name, text.into())
    }

    fn spool(name: &str, spool: Spool) -> io::Result<Self> {
        let (file, bytes, hash) = spool.finish()?;
        Ok(Self { name: name.to_owned(), bytes, hash, content: Box::new(file) })
    }
}

fn archive(draft: &Path, files: Vec<Part>) -> io::Result<()> {
    let file = File::options().write(true).create_new(true).open(draft)?;
    let mut out = zstd::stream::write::Encoder::new(BufWriter::new(file), LEVEL)?;
    out.include_checksum(true)?;
    let mut archive = tar::Builder::new(out);
    for part in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(part.bytes);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, &part.name, part.content)?;
    }
    let mut out = archive.into_inner()?.finish()?;
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn failed(path: &Path, error: io::Error) -> PackError {
    PackError::Io { path: path.to_owned(), error }
}
