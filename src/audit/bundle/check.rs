//! Checks a bundle with nothing but itself, and a key from elsewhere when there is one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::super::{
    merkle::{Checkpoint, Verifier},
    prove::verify_proof,
};
use super::names::{self, parse_policy};
use super::pack::About;
use super::sums::{self, Sums, hex, sha256};

/// A file that is read whole is no longer than this, in bytes; policies and records are not.
const MAX_WHOLE: u64 = 16 * 1024 * 1024;
/// No line of records or proofs is longer, in bytes.
const MAX_LINE: u64 = 1024 * 1024;

/// Something in a bundle that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The file is no zstd stream of a tar, or ends early; what came before was checked.
    #[error("the archive cannot be read to its end: {0}")]
    Archive(String),
    /// A file has other bytes than the manifest says.
    #[error("`{0}` is not the file of the manifest")]
    Altered(String),
    /// The manifest names a file that is not there.
    #[error("`{0}` is in the manifest and not in the bundle")]
    Missing(String),
    /// A file is there that the manifest does not name, or for the second time.
    #[error("`{0}` is in the bundle and not in the manifest, or twice")]
    Strange(String),
    /// A file is not of its form.
    #[error("`{file}`: {what}")]
    Malformed {
        /// Its name.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The bundle's key is not the one that is trusted.
    #[error("`log.pub` is not the key that is trusted")]
    OtherKey,
    /// A proof does not hold.
    #[error("`{file}`, line {line}: {what}")]
    Proof {
        /// The file it is in.
        file: String,
        /// Its line, from 1.
        line: u64,
        /// Why it does not hold.
        what: String,
    },
    /// Records without a proof that holds.
    #[error("`{file}`: {count} records have no proof that holds")]
    Unproved {
        /// The file they are in.
        file: String,
        /// How many there are.
        count: u64,
    },
    /// Proofs of records that are not in the bundle.
    #[error("{0} proofs are of records that are not in the bundle")]
    Unused(u64),
    /// The files of a policy set are not those that came into force.
    #[error("the policies of revision {0} are not those that its `policy.applied` record names")]
    OtherPolicies(u64),
}

/// What a check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BundleReport {
    /// All that is wrong; empty when the bundle holds.
    pub findings: Vec<Finding>,
    /// Records, those of `applied.jsonl` included.
    pub records: u64,
    /// The origin of the log and the size of its tree, for each checkpoint.
    pub checkpoints: Vec<(String, u64)>,
    /// Whether the key came from elsewhere and not from the bundle.
    pub key_trusted: bool,
    /// Policy sets that a proved record names.
    pub bound_revisions: BTreeSet<u64>,
    /// Policy sets that no record in the bundle names: they are what the manifest says, and no more is known.
    pub unbound_revisions: BTreeSet<u64>,
}

/// Checks the bundle that `archive` reads. `trusted` is the log's key from elsewhere: without it the bundle can only
/// be shown to be whole and of one piece, not whose log it is from.
#[must_use]
pub fn verify_bundle(archive: impl Read, trusted: Option<&Verifier>) -> BundleReport {
    let mut check = Check {
        report: BundleReport::default(),
        hashes: Sums::new(),
        sums: None,
        key: trusted.cloned(),
        trusted: trusted.is_some(),
        checkpoints: HashSet::new(),
        files: BTreeMap::new(),
        proved: HashSet::new(),
        applied: BTreeMap::new(),
        policies: BTreeMap::new(),
    };
    if let Err(error) = check.archive(archive) {
        check.find(Finding::Archive(error.to_string()));
    }
    check.finish()
}

struct Check {
    report: BundleReport,
    /// What the files are, and what the manifest says they are.
    hashes: Sums,
    sums: Option<Sums>,
    key: Option<Verifier>,
    /// Whether the key came from elsewhere.
    trusted: bool,
    /// What each checkpoint signs.
    checkpoints: HashSet<String>,
    /// The SHA-256 of each line of a file of records.
    files: BTreeMap<&'static str, Vec<[u8; 32]>>,
    /// The SHA-256 of each line that has a proof that holds.
    proved: HashSet<[u8; 32]>,
    /// The digest of the policy set that came into force with a revision, from proved records.
    applied: BTreeMap<u64, String>,
    /// The files of each policy set by path.
    policies: BTreeMap<u64, Sums>,
}

/// What ties a policy set to the log.
#[derive(Deserialize)]
struct Applied {
    kind: String,
    revision: Option<u64>,
    digest: Option<String>,
}

impl Check {
    fn find(&mut self, finding: Finding) {
        self.report.findings.push(finding);
    }

    fn malformed(&mut self, file: &str, what: impl ToString) {
        self.find(Finding::Malformed { file: file.to_owned(), what: what.to_string() });
    }

    fn archive(&mut self, archive: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(zstd::stream::read::Decoder::new(archive)?);
        self.entries(&mut archive)?;
        // The checksum of the stream comes at its end, and nothing else does.
        let mut rest = Vec::new();
        archive.into_inner().take(MAX_WHOLE).read_to_end(&mut rest)?;
        if rest.iter().any(|byte| *byte != 0) || rest.len() as u64 == MAX_WHOLE {
            self.find(Finding::Archive("something follows its end".to_owned()));
        }
        Ok(())
    }

    fn entries(&mut self, archive: &mut tar::Archive<impl Read>) -> io::Result<()> {
        for entry in archive.entries()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type() != tar::EntryType::Regular {
                self.find(Finding::Strange(name));
                continue;
            }
            let mut content = Hashed { source: entry, hash: Sha256::new() };
            self.file(&name, &mut content)?;
            io::copy(&mut content, &mut io::sink())?;
            let hash: [u8; 32] = content.hash.finalize().into();
            if let Some((revision, path)) = parse_policy(&name) {
                self.policies.entry(revision).or_default().insert(path.to_owned(), hash);
            }
            if self.hashes.insert(name.clone(), hash).is_some() {
                self.find(Finding::Strange(name));
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, content: &mut impl Read) -> io::Result<()> {
        match name {
            names::SUMS => match sums::parse(&whole(content)?) {
                Some(sums) => self.sums = Some(sums),
                None => self.malformed(name, "not a list of SHA-256 sums, sorted and each name once"),
            },
            names::ABOUT => {
                if let Err(error) = serde_json::from_slice::<About>(&whole(content)?) {
                    self.malformed(name, error);
                }
            }
            names::KEY => self.key(&whole(content)?),
            names::RECORDS => self.records(names::RECORDS, content)?,
            names::APPLIED => self.records(names::APPLIED, content)?,
            names::PROOFS => self.proofs(name, content)?,
            _ if name.starts_with(names::PROOF_FOLDER) => self.proofs(name, content)?,
            _ if name.starts_with(names::CHECKPOINT) => self.checkpoint(name, &whole(content)?),
            _ => {}
        }
        Ok(())
    }

    fn key(&mut self, text: &[u8]) {
        match std::str::from_utf8(text).ok().and_then(|text| Verifier::parse(text.trim_end()).ok()) {
            None => self.malformed(names::KEY, "not a verifier key"),
            Some(key) => match &self.key {
                Some(trusted) if trusted.public_key() != key.public_key() => self.find(Finding::OtherKey),
                Some(_) => {}
                None => self.key = Some(key),
            },
        }
    }

    /// The origin of a later epoch is the name its checkpoints are signed under, with the same key.
    fn checkpoint(&mut self, name: &str, note: &[u8]) {
        let Some(key) = &self.key else { return self.malformed(name, "there is no key before it") };
        let note = String::from_utf8_lossy(note);
        let origin = note.lines().next().unwrap_or_default();
        if !is_epoch_of(origin, key.name()) {
            return self.malformed(name, format!("`{}` is another log", origin.escape_debug()));
        }
        match Checkpoint::open(note.as_bytes(), &key.with_name(origin)) {
            Ok(checkpoint) => {
                self.checkpoints.insert(checkpoint.body());
                self.report.checkpoints.push((checkpoint.origin, checkpoint.size));
            }
            Err(error) => self.malformed(name, error),
        }
    }

    fn records(&mut self, name: &'static str, content: &mut impl Read) -> io::Result<()> {
        let mut hashes = Vec::new();
        each_line(content, |line| hashes.push(sha256(line)))?;
        self.report.records += hashes.len() as u64;
        self.files.insert(name, hashes);
        Ok(())
    }

    fn proofs(&mut self, name: &str, content: &mut impl Read) -> io::Result<()> {
        let mut number = 0;
        each_line(content, |line| {
            number += 1;
            if let Err(what) = self.proof(line) {
                self.find(Finding::Proof { file: name.to_owned(), line: number, what });
            }
        })
    }

    fn proof(&mut self, line: &[u8]) -> Result<(), String> {
        let key = self.key.as_ref().ok_or("there is no key before it")?;
        let proven = verify_proof(line, Some(key)).map_err(|error| error.to_string())?;
        if !self.checkpoints.contains(&proven.checkpoint.body()) {
            return Err("it leads to a checkpoint that is not in the bundle".to_owned());
        }
        self.proved.insert(sha256(proven.record.as_bytes()));
        if let Ok(Applied { kind, revision: Some(revision), digest: Some(digest) }) =
            serde_json::from_str(&proven.record)
            && kind == "policy.applied"
        {
            self.applied.insert(revision, digest);
        }
        Ok(())
    }

    fn finish(mut self) -> BundleReport {
        self.manifest();
        let all: HashSet<[u8; 32]> = self.files.values().flatten().copied().collect();
        for (file, hashes) in std::mem::take(&mut self.files) {
            let count = hashes.iter().filter(|hash| !self.proved.contains(*hash)).count() as u64;
            if count > 0 {
                self.find(Finding::Unproved { file: file.to_owned(), count });
            }
        }
        let unused = self.proved.iter().filter(|hash| !all.contains(*hash)).count() as u64;
        if unused > 0 {
            self.find(Finding::Unused(unused));
        }
        for (revision, files) in std::mem::take(&mut self.policies) {
            match self.applied.get(&revision) {
                None => drop(self.report.unbound_revisions.insert(revision)),
                Some(digest) if *digest == policy_digest(&files) => {
                    self.report.bound_revisions.insert(revision);
                }
                Some(_) => self.find(Finding::OtherPolicies(revision)),
            }
        }
        self.report.key_trusted = self.trusted;
        self.report
    }

    fn manifest(&mut self) {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.remove(names::SUMS);
        let Some(sums) = self.sums.take() else {
            if !self
                .report
                .findings
                .iter()
                .any(|finding| matches!(finding, Finding::Malformed { file, .. } if file == names::SUMS))
            {
                self.find(Finding::Missing(names::SUMS.to_owned()));
            }
            return;
        };
        for (name, hash) in &sums {
            match hashes.remove(name) {
                None => self.find(Finding::Missing(name.clone())),
                Some(found) if found != *hash => self.find(Finding::Altered(name.clone())),
                Some(_) => {}
            }
        }
        hashes.into_keys().for_each(|name| self.find(Finding::Strange(name)));
        for name in [names::README, names::ABOUT, names::KEY, names::RECORDS, names::APPLIED] {
            if !sums.contains_key(name) {
                self.find(Finding::Missing(name.to_owned()));
            }
        }
    }
}

/// Whether an origin is that of a log's first epoch, which its key is named after, or of a later one.
fn is_epoch_of(origin: &str, log: &str) -> bool {
    match origin.strip_prefix(log) {
        Some("") => true,
        Some(rest) => rest.strip_prefix("/epoch-").is_some_and(|epoch| epoch.parse::<u64>().is_ok()),
        None => false,
    }
}

/// The digest of a policy set, as [`crate::policy::PolicyFiles::digest`] makes it, from its files' hashes.
fn policy_digest(files: &Sums) -> String {
    let mut whole = Sha256::new();
    for (path, hash) in files {
        whole.update((path.len() as u64).to_be_bytes());
        whole.update(path.as_bytes());
        whole.update(hash);
    }
    hex(&whole.finalize().into())
}

/// Reads a small file.
fn whole(content: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(MAX_WHOLE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Hands out each line without its newline. One that is too long comes in
/// pieces, none of which has a proof.
fn each_line(content: &mut impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut content = BufReader::new(content);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut content).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match line.split_last() {
            Some((b'\n', rest)) => each(rest),
            _ => each(&line),
        }
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    source: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
