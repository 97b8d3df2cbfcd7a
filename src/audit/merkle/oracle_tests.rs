//! Others' signed notes, checkpoints, tiles and proofs: we verify theirs, and they verify ours.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use sha2::Sha256;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{TileHashReader, TileReader};

use super::{
    tests::{Leaves, leaves, naive_root},
    *,
};

const NAME: &str = "interdict/edge-1/0123456789abcdef";

fn theirs(verifier: &Verifier) -> VerifierList {
    VerifierList::new(vec![Box::new(StandardVerifier::new(&verifier.to_text()).unwrap())])
}

fn checkpoint(leaves: &[Hash]) -> Checkpoint {
    Checkpoint {
        origin: NAME.to_owned(),
        size: leaves.len() as u64,
        root: naive_root(leaves),
        extensions: vec!["epoch 1".to_owned(), "first-seq 1".to_owned()],
    }
}

#[test]
fn the_note_of_the_specification_is_read_and_written_alike() {
    let key = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let body = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    let note = format!(
        "{body}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    );
    let signer = Signer::parse(key).unwrap();
    assert_eq!(signer.to_text(), key);
    assert_eq!(signer.verifier(), Verifier::parse(vkey).unwrap());
    assert_eq!(signer.verifier().to_text(), vkey);
    assert_eq!(signer.sign(body), note);
    assert_eq!(signer.verifier().open(note.as_bytes()).unwrap(), body);
}

#[test]
fn they_open_our_checkpoint_and_we_open_theirs() {
    let signer = Signer::from_seed(NAME, [9; 32]);
    let checkpoint = checkpoint(&leaves(5));
    let ours = checkpoint.sign(&signer);
    let note = Note::from_bytes(ours.as_bytes()).unwrap();
    let (verified, unverified) = note.verify(&theirs(&signer.verifier())).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.hash().0), (NAME, 5, checkpoint.root));
    assert_eq!(read.extension(), "epoch 1\nfirst-seq 1\n");

    let mut note = Note::new(checkpoint.body().as_bytes(), &[]).unwrap();
    let other = Signer::from_seed("witness", [3; 32]);
    for key in [&other, &signer] {
        note.add_sigs(&[&StandardSigner::new(&key.to_text()).unwrap()]).unwrap();
    }
    assert_eq!(Checkpoint::open(&note.to_bytes(), &signer.verifier()).unwrap(), checkpoint);
    assert!(matches!(
        Checkpoint::open(&note.to_bytes(), &other.verifier()),
        Err(CheckpointError::Origin { .. })
    ));
}

#[test]
fn every_flipped_byte_and_every_cut_of_a_note_is_refused() {
    let signer = Signer::from_seed(NAME, [9; 32]);
    let note = checkpoint(&leaves(5)).sign(&signer).into_bytes();
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bad = note.clone();
            bad[at] ^= 1 << bit;
            assert!(Checkpoint::open(&bad, &signer.verifier()).is_err(), "byte {at} bit {bit}");
        }
        assert!(Checkpoint::open(&note[..at], &signer.verifier()).is_err(), "cut at {at}");
    }
    let renamed = signer.with_name("interdict/edge-2/0123456789abcdef").verifier();
    assert!(matches!(Checkpoint::open(&note, &renamed), Err(CheckpointError::Note(NoteError::NotSigned))));
}

#[test]
fn every_flipped_byte_of_a_key_is_refused() {
    let signer = Signer::from_seed(NAME, [9; 32]);
    assert_eq!(Signer::from_seed("a b+c\n", [9; 32]).name(), "a-b-c-");
    for (text, private) in [(signer.to_text(), true), (signer.verifier().to_text(), false)] {
        for at in 0..text.len() {
            for bit in 0..7 {
                let mut bad = text.clone().into_bytes();
                bad[at] ^= 1 << bit;
                let bad = String::from_utf8(bad).unwrap();
                assert!(
                    if private { Signer::parse(&bad).is_err() } else { Verifier::parse(&bad).is_err() },
                    "{bad}"
                );
            }
        }
    }
}

#[test]
fn another_implementation_agrees_on_roots_and_proofs() {
    let mut tree = MemoryBackedTree::<Sha256, String>::new();
    let leaves = leaves(70);
    let mut roots: Vec<RootHash<Sha256>> = Vec::new();
    for size in 1..=leaves.len() {
        tree.push((size - 1).to_string());
        let root = tree.root();
        let ours = naive_root(&leaves[..size]);
        assert_eq!(<[u8; 32]>::from(*root.as_bytes()), ours);
        let nodes = &mut Leaves(&leaves[..size]);
        for (index, leaf) in leaves.iter().enumerate().take(size) {
            let path = inclusion_proof(nodes, index as u64, size as u64).unwrap();
            let proof = InclusionProof::<Sha256>::from_bytes(path.concat());
            root.verify_inclusion(&index.to_string(), index as u64, &proof).unwrap();
            let theirs = tree.prove_inclusion(index).as_bytes().as_chunks().0.to_vec();
            verify_inclusion(leaf, index as u64, size as u64, &theirs, &ours).unwrap();
        }
        for (old, old_root) in (1..).zip(&roots) {
            let path = consistency_proof(nodes, old, size as u64).unwrap();
            let proof = ConsistencyProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
            root.verify_consistency(old_root, &proof).unwrap();
            let theirs = tree.prove_consistency(size - old as usize).as_bytes().as_chunks().0.to_vec();
            let before = naive_root(&leaves[..old as usize]);
            verify_consistency(old, &before, size as u64, &ours, &theirs).unwrap();
        }
        roots.push(root);
    }
}

/// Our tiles, as others read them.
struct Tiles(std::collections::HashMap<String, Vec<u8>>);

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0[&c2sp_path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Their paths name the height as Go's checksum database does; C2SP leaves it out.
fn c2sp_path(tile: &tlog_tiles::Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

#[test]
fn they_read_our_tiles_by_their_paths_and_prove_records_from_them() {
    let leaves = leaves(256 * 256 + 300);
    let size = leaves.len() as u64;
    let mut frontier = Frontier::new();
    let mut tiles = Vec::new();
    for leaf in &leaves {
        frontier.push(*leaf, &mut tiles);
    }
    tiles.extend(frontier.partials());
    let tiles = Tiles(tiles.iter().map(|tile| (tile.path(), tile.to_bytes())).collect());
    let root = tlog_tiles::Hash(frontier.root());
    let reader = TileHashReader::new(size, root, &tiles);
    for index in [0, 255, 256, 65535, 65536, size - 1] {
        let path = tlog_tiles::prove_record(size, index, &reader).unwrap();
        let leaf = leaves[index as usize];
        tlog_tiles::check_record(&path, size, root, index, tlog_tiles::Hash(leaf)).unwrap();
        let path: Vec<Hash> = path.iter().map(|hash| hash.0).collect();
        verify_inclusion(&leaf, index, size, &path, &root.0).unwrap();
    }
    for old in [1, 255, 256, 65536, 65600] {
        let path = tlog_tiles::prove_tree(size, old, &reader).unwrap();
        let before = Range::root(&super::tests::range_of(0, &leaves[..old as usize])).unwrap();
        tlog_tiles::check_tree(&path, size, root, old, tlog_tiles::Hash(before)).unwrap();
        let path: Vec<Hash> = path.iter().map(|hash| hash.0).collect();
        verify_consistency(old, &before, size, &root.0, &path).unwrap();
    }
}

#[test]
fn tile_paths_are_theirs() {
    for index in [0, 5, 999, 1000, 1_234_067, 999_999_999] {
        for width in [1, 17, 256u16] {
            let theirs = tlog_tiles::Tile::new(8, 1, index, width.into(), false);
            assert_eq!(TileName { level: 1, index, width }.path(), c2sp_path(&theirs));
        }
    }
}
