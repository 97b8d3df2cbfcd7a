//! A bundle that was packed holds; one that was changed anywhere does not.

use std::convert::Infallible;
use std::fs;

use jiff::Timestamp;
use serde_json::{Map, json};
use tempfile::TempDir;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::super::merkle::{Checkpoint, Hash, Nodes, Range, Signer, inclusion_proof, leaf_hash, root_of};
use super::super::{EventId, Proof, line_of, testing::blocked};
use super::sums::{self, Sums, sha256};
use super::*;
use crate::policy::PolicyFiles;

const ORIGIN: &str = "interdict/ams-1/0011223344556677";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, [7; 32])
}

fn policies() -> PolicyFiles {
    let mut files = PolicyFiles::new();
    files.insert("cases/ts-1.toml", b"case".as_slice());
    files.insert("pages/long.html", vec![b'x'; 70_000]);
    files
}

fn id(seq: u64) -> EventId {
    format!("01930000-0000-7000-8000-{seq:012x}").parse().unwrap()
}

/// The first record applies revision 7, the others were made under it.
fn line(seq: u64) -> Vec<u8> {
    if seq == 1 {
        let digest = policies().digest();
        return format!(
            r#"{{"id":"{}","seq":1,"time":"2026-11-20T22:30:00.000000Z","edge":"e","kind":"policy.applied","revision":7,"digest":"{digest}"}}"#,
            id(1)
        )
        .into_bytes();
    }
    let line = blocked("TS-1", b"/a", |event| line_of(event, "e", id(seq), seq, Timestamp::UNIX_EPOCH));
    line.trim_ascii_end().to_vec()
}

struct Leaves(Vec<Hash>);

impl Nodes for Leaves {
    type Error = Infallible;

    fn subtree(&mut self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let start = (index << level) as usize;
        let mut range = Range::new(0);
        self.0[start..start + (1 << level)].iter().for_each(|leaf| range.push(*leaf));
        Ok(range.root().unwrap())
    }
}

/// A log of `size` records with its checkpoint; gives out proofs in a form of the test's own.
struct Log {
    leaves: Leaves,
    note: String,
}

impl Log {
    fn new(size: u64) -> Self {
        let mut leaves = Leaves((1..=size).map(|seq| leaf_hash(&line(seq))).collect());
        let root = root_of(&mut leaves, size).unwrap();
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root, extensions: Vec::new() };
        Self { leaves, note: checkpoint.sign(&signer()) }
    }

    fn proof(&mut self, seq: u64) -> Proof {
        let size = self.leaves.0.len() as u64;
        let path = inclusion_proof(&mut self.leaves, seq - 1, size).unwrap();
        let path: Vec<String> = path.iter().map(|hash| BASE64.encode(hash)).collect();
        let proof = json!({
            "version": 1, "record": String::from_utf8(line(seq)).unwrap(), "leaf_index": seq - 1, "path": path,
            "checkpoint": self.note, "key": signer().verifier().to_text(),
        });
        serde_json::from_value(proof).unwrap()
    }
}

/// A bundle of records 2 to `last` of a log of `last` + 5.
fn packed(last: u64) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("bundle.tar.zst");
    let mut log = Log::new(last + 5);
    let query = json!({"case": "TS-1"}).as_object().cloned().unwrap();
    let mut packer = Packer::new(&target, query).unwrap();
    for seq in 2..=last {
        packer.record(id(seq), &log.proof(seq)).unwrap();
    }
    packer.applied(id(1), &log.proof(1)).unwrap();
    packer.policies(7, Some(&policies()));
    packer.policies(3, None);
    let about = packer.finish(&signer().verifier().to_text()).unwrap();
    assert_eq!((about.records, about.missing_revisions.len()), (last - 1, 1));
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read(target).unwrap()
}

fn check(bundle: &[u8]) -> BundleReport {
    verify_bundle(bundle, Some(&signer().verifier()))
}

type Files = Vec<(String, Vec<u8>)>;

fn unpack(bundle: &[u8]) -> Files {
    let text = zstd::decode_all(bundle).unwrap();
    let mut archive = tar::Archive::new(text.as_slice());
    let file = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    archive.entries().unwrap().map(file).collect()
}

/// Packs changed files again with a manifest that agrees with them.
fn forge(mut files: Files) -> Vec<u8> {
    let sums: Sums = files
        .iter()
        .filter(|(name, _)| name != "SHA256SUMS")
        .map(|(name, bytes)| (name.clone(), sha256(bytes)))
        .collect();
    if let Some((_, manifest)) = files.iter_mut().find(|(name, _)| name == "SHA256SUMS") {
        *manifest = sums::text(&sums).into_bytes();
    }
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    zstd::encode_all(archive.into_inner().unwrap().as_slice(), 1).unwrap()
}

fn changed(change: impl FnOnce(&mut Files)) -> Vec<BundleFinding> {
    let mut files = unpack(&packed(9));
    change(&mut files);
    check(&forge(files)).findings
}

fn file<'f>(files: &'f mut Files, name: &str) -> &'f mut Vec<u8> {
    &mut files.iter_mut().find(|(found, _)| found == name).unwrap().1
}

#[test]
fn a_bundle_holds_whether_its_proofs_are_few_or_many() {
    for last in [9, 150] {
        let report = check(&packed(last));
        assert_eq!(report.findings, []);
        assert_eq!((report.records, report.key_trusted), (last, true));
        assert_eq!(report.checkpoints, [(ORIGIN.to_owned(), last + 5)]);
        assert_eq!(report.bound_revisions.into_iter().collect::<Vec<_>>(), [7]);
    }
    let names = |last| unpack(&packed(last)).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert!(names(9).contains(&format!("proofs/{}.json", id(4))));
    assert!(names(150).contains(&"proofs.jsonl".to_owned()));
}

#[test]
fn without_a_trusted_key_it_holds_and_says_so() {
    let report = verify_bundle(packed(9).as_slice(), None);
    assert!(report.findings.is_empty() && !report.key_trusted);
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    assert_eq!(packed(9), packed(9));
}

#[test]
fn every_flipped_byte_and_every_cut_is_found() {
    let bundle = packed(3);
    let text = zstd::decode_all(bundle.as_slice()).unwrap();
    let mut idle = 0;
    for at in 0..bundle.len() {
        let mut broken = bundle.clone();
        broken[at] ^= 1;
        if check(&broken).findings.is_empty() {
            // The size of the decoder's window, say: no byte of any file depends on it.
            assert_eq!(zstd::decode_all(broken.as_slice()).unwrap(), text, "byte {at}");
            idle += 1;
        }
        assert!(!check(&bundle[..at]).findings.is_empty(), "cut at {at}");
    }
    assert!(idle <= 8, "{idle} bytes do not count");
    assert!(!check(&[bundle.as_slice(), b"x"].concat()).findings.is_empty());
}

#[test]
fn a_record_that_was_changed_has_no_proof_even_when_the_manifest_agrees() {
    let findings = changed(|files| {
        let text = String::from_utf8(file(files, "records.jsonl").clone()).unwrap();
        *file(files, "records.jsonl") = text.replacen("/a", "/b", 1).into_bytes();
    });
    let unproved = BundleFinding::Unproved { file: "records.jsonl".into(), count: 1 };
    assert_eq!(findings, [unproved.clone(), BundleFinding::Unused(1)]);
    let findings = changed(|files| file(files, "records.jsonl").extend_from_slice(b"{}\n"));
    assert_eq!(findings, [unproved]);
}

#[test]
fn a_proof_that_is_gone_or_altered_is_missed() {
    let name = format!("proofs/{}.json", id(4));
    let unproved = BundleFinding::Unproved { file: "records.jsonl".into(), count: 1 };
    let gone = changed(|files| files.retain(|(found, _)| *found != name));
    assert_eq!(gone.as_slice(), std::slice::from_ref(&unproved));
    let findings = changed(|files| {
        let text = String::from_utf8(file(files, &name).clone()).unwrap();
        *file(files, &name) = text.replace("\"leaf_index\":3", "\"leaf_index\":4").into_bytes();
    });
    assert!(
        matches!(findings.as_slice(), [BundleFinding::Proof { .. }, found] if *found == unproved),
        "{findings:?}"
    );
}

#[test]
fn another_key_does_not_pass_for_the_trusted_one() {
    let other = Signer::from_seed(ORIGIN, [8; 32]).verifier();
    let findings = changed(|files| *file(files, "log.pub") = other.to_text().into_bytes());
    assert_eq!(findings, [BundleFinding::OtherKey]);
    let report = verify_bundle(packed(9).as_slice(), Some(&other));
    assert!(report.findings.contains(&BundleFinding::OtherKey));
    assert!(report.checkpoints.is_empty());
}

#[test]
fn a_checkpoint_of_another_log_is_refused_even_under_the_same_key() {
    let signer = signer().with_name("another");
    let note = Checkpoint { origin: "another".into(), size: 0, root: [0; 32], extensions: Vec::new() };
    let findings = changed(|files| *file(files, "checkpoint") = note.sign(&signer).into_bytes());
    assert!(
        findings.iter().any(|found| found.to_string().contains("`another` is another log")),
        "{findings:?}"
    );
}

#[test]
fn policies_are_those_that_came_into_force() {
    let findings = changed(|files| file(files, "policies/7/cases/ts-1.toml").push(b'x'));
    assert_eq!(findings, [BundleFinding::OtherPolicies(7)]);
    let findings = changed(|files| files.push(("policies/7/cases/more.toml".into(), Vec::new())));
    assert_eq!(findings, [BundleFinding::OtherPolicies(7)]);
    let mut files = unpack(&packed(9));
    files.push(("policies/8/cases/a.toml".into(), Vec::new()));
    let report = check(&forge(files));
    assert!(report.findings.is_empty());
    assert_eq!(report.unbound_revisions.into_iter().collect::<Vec<_>>(), [8]);
}

#[test]
fn the_manifest_is_held_against_the_files() {
    let altered = |change: &dyn Fn(&mut Files)| {
        let mut files = unpack(&packed(9));
        let manifest = file(&mut files, "SHA256SUMS").clone();
        change(&mut files);
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let bytes = if name == "SHA256SUMS" { manifest.clone() } else { bytes };
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        check(&zstd::encode_all(archive.into_inner().unwrap().as_slice(), 1).unwrap()).findings
    };
    assert_eq!(altered(&|_| {}), []);
    let readme = "README.md".to_owned();
    assert_eq!(altered(&|files| file(files, &readme).push(b'x')), [BundleFinding::Altered(readme.clone())]);
    assert_eq!(
        altered(&|files| files.retain(|(name, _)| *name != readme)),
        [BundleFinding::Missing(readme.clone())]
    );
    assert_eq!(
        altered(&|files| files.push(("more".into(), Vec::new()))),
        [BundleFinding::Strange("more".into())]
    );
    let twice = altered(&|files| files.push((readme.clone(), b"other".to_vec())));
    assert!(twice.contains(&BundleFinding::Strange(readme.clone())));
    assert_eq!(
        altered(&|files| files.retain(|(name, _)| name != "SHA256SUMS")),
        [BundleFinding::Missing("SHA256SUMS".into())]
    );
}

#[test]
fn a_bundle_that_cannot_be_written_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    assert!(Packer::new(&folder.path().join("no/such.tar.zst"), Map::new()).is_err());
    let target = folder.path().join("taken");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("file"), "").unwrap();
    assert!(Packer::new(&target, Map::new()).unwrap().finish("key").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
