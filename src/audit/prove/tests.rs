//! Proofs prove what they say and nothing else; others' tools read the exported tiles.

use std::path::Path;

use tlog_tiles::{TileHashReader, TileReader};

use super::*;
use crate::audit::{
    EventId,
    merkle::{Signer, Verifier},
    verify::sample::{ORIGIN, Sample, id},
};

fn id_of(line: &str) -> EventId {
    line[7..43].parse().unwrap()
}

/// All lines of a log, in order.
fn lines(sample: &Sample) -> Vec<String> {
    let mut lines = Vec::new();
    for segment in crate::audit::segments(sample.path()).unwrap() {
        let mut reader = segment.lines().unwrap();
        while let Some(line) = reader.next().unwrap() {
            lines.push(String::from_utf8(line.bytes.to_vec()).unwrap());
        }
    }
    lines
}

#[test]
fn every_record_can_be_proven() {
    let mut sample = Sample::new();
    sample.segments(&[300, 5, 200]);
    sample.epoch(1_000, "an older copy");
    sample.segments(&[7, 1]);
    let key = sample.signer.verifier();
    let lines = lines(&sample);
    let mut prover = Prover::open(sample.path()).unwrap();
    for line in lines.iter().step_by(37).chain(&lines[504..]) {
        let proof = prover.prove(id_of(line)).unwrap();
        let proven = verify_proof(proof.to_json().as_bytes(), Some(&key)).unwrap();
        assert_eq!((proven.record.as_str(), proven.id), (line.as_str(), id_of(line)));
        assert!(line.contains(&format!("\"seq\":{},", proven.seq)));
        let other = Signer::from_seed(ORIGIN, [1; 32]).verifier();
        let refused = verify_proof(proof.to_json().as_bytes(), Some(&other));
        assert!(matches!(refused, Err(ProofFileError::OtherKey { .. })));
    }
    let unknown = id(1, 1 << 20);
    assert!(matches!(prover.prove(unknown), Err(ProveError::NoRecord(found)) if found == unknown));
    assert!(matches!(prover.prove_record(5_000, b""), Err(ProveError::NotSealed(5_000))));
}

#[test]
fn a_proof_with_any_byte_flipped_proves_nothing_else() {
    let mut sample = Sample::new();
    sample.segments(&[3, 4]);
    let line = &lines(&sample)[5];
    let good = prove(sample.path(), id_of(line)).unwrap().to_json();
    let key = sample.signer.verifier();
    for at in 0..good.len() - 1 {
        let mut bad = good.clone().into_bytes();
        bad[at] ^= 1 << (at % 8);
        assert!(verify_proof(&bad, Some(&key)).is_err(), "byte {at}: {}", String::from_utf8_lossy(&bad));
    }
}

#[test]
fn a_record_of_large_trees_is_proven_from_tiles_and_indexes_even_next_to_pruned_ones() {
    let mut sample = Sample::new();
    sample.segments(&[40_000, 30_000, 100, 10]);
    let name = "00000000000000000001";
    let path = |folder: &str, suffix: &str| sample.path().join(format!("{folder}/{name}{suffix}"));
    std::fs::rename(path("segments", ".idx"), path("pruned", ".idx")).unwrap();
    std::fs::remove_file(path("segments", ".jsonl.zst")).unwrap();
    let lines = lines(&sample);
    let mut prover = Prover::open(sample.path()).unwrap();
    for place in [1_000, 29_999, 30_000, 30_109] {
        let proof = prover.prove(id_of(&lines[place])).unwrap();
        assert_eq!(proof.leaf_index, 40_000 + place as u64);
        verify_proof(proof.to_json().as_bytes(), Some(&sample.signer.verifier())).unwrap();
    }
    let gone = export_tiles(sample.path(), &sample.path().join("out"));
    assert!(matches!(gone, Err(ProveError::Gone(1))), "{gone:?}");
}

#[test]
fn a_changed_log_proves_nothing() {
    let mut sample = Sample::new();
    sample.segments(&[5]);
    let line = lines(&sample)[2].clone();
    let file = sample.path().join("segments/00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap().replacen("192.0.2.2", "192.0.2.9", 1);
    std::fs::write(file, text).unwrap();
    assert!(matches!(prove(sample.path(), id_of(&line)), Err(ProveError::Root(1))));
    assert!(matches!(export_tiles(sample.path(), &sample.path().join("out")), Err(ProveError::Root(1))));
}

/// Exported tiles, as others read them.
struct Tiles<'d>(&'d Path);

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // They name the height in the path, which C2SP leaves out.
        let path = |tile: &tlog_tiles::Tile| self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
        Ok(tiles.iter().map(|tile| std::fs::read(path(tile)).unwrap()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn others_read_the_exported_tiles_and_find_the_records_in_the_bundles() {
    let mut sample = Sample::new();
    sample.segments(&[300, 500]);
    let out = tempfile::tempdir().unwrap();
    let done = export_tiles(sample.path(), out.path()).unwrap();
    assert_eq!(done, ExportedTiles { trees: 1, tiles: 3 + 2, bundles: 4, left_out: 0 });
    let tree = out.path().join("1");
    let note = signed_note::Note::from_bytes(&std::fs::read(tree.join("checkpoint")).unwrap()).unwrap();
    let vkey = std::fs::read_to_string(sample.path().join("log.pub")).unwrap();
    Verifier::parse(&vkey).unwrap();
    let verifier = signed_note::StandardVerifier::new(vkey.trim_end()).unwrap();
    note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).unwrap();
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let tiles = Tiles(&tree);
    let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
    let lines = lines(&sample);
    for (index, line) in lines.iter().enumerate().step_by(111) {
        let index = index as u64;
        let path = tlog_tiles::prove_record(800, index, &reader).unwrap();
        let leaf = tlog_tiles::record_hash(line.as_bytes());
        tlog_tiles::check_record(&path, 800, *checkpoint.hash(), index, leaf).unwrap();
    }
    let mut bundle = &std::fs::read(tree.join("tile/entries/003.p/32")).unwrap()[..];
    for line in &lines[768..] {
        let (length, rest) = bundle.split_at(2);
        let (entry, rest) = rest.split_at(u16::from_be_bytes(length.try_into().unwrap()).into());
        assert_eq!(entry, line.as_bytes());
        bundle = rest;
    }
    assert!(bundle.is_empty());
}

#[test]
fn a_record_that_may_be_in_a_segment_that_is_gone_is_not_said_to_be_none() {
    for endings in [&[".jsonl.zst"][..], &[".jsonl.zst", ".idx"]] {
        let mut sample = Sample::new();
        sample.segments(&[30, 5, 20]);
        let lines = lines(&sample);
        for ending in endings {
            std::fs::remove_file(sample.path().join(format!("segments/{:020}{ending}", 31))).unwrap();
        }
        let told = |line: &str| match prove(sample.path(), id_of(line)) {
            Err(ProveError::Missing(missing)) => Some((missing.first, missing.last, missing.segment)),
            _ => None,
        };
        assert_eq!(told(&lines[32]), Some((31, 35, 31)), "{endings:?}");
        // With its index the tree is whole, and the other records are proven as before.
        let whole = endings.len() == 1;
        for place in [0, 29, 35, 54] {
            assert_eq!(prove(sample.path(), id_of(&lines[place])).is_ok(), whole, "{place}");
            assert_eq!(told(&lines[place]), (!whole).then_some((31, 35, 31)), "{place}");
        }
    }
}

#[test]
fn a_record_that_was_pruned_is_none_and_nothing_is_missing() {
    let mut sample = Sample::new();
    sample.segments(&[30, 5]);
    let lines = lines(&sample);
    let path = |folder: &str, suffix: &str| sample.path().join(format!("{folder}/{:020}{suffix}", 1));
    std::fs::rename(path("segments", ".idx"), path("pruned", ".idx")).unwrap();
    std::fs::remove_file(path("segments", ".jsonl.zst")).unwrap();
    assert!(matches!(prove(sample.path(), id_of(&lines[3])), Err(ProveError::NoRecord(_))));
    assert!(prove(sample.path(), id_of(&lines[33])).is_ok());
}
