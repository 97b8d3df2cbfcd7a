//! The vectors of RFC 6962 and properties against its definitions, written down naively.

use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Distinct leaf hashes.
pub(super) fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(number.to_string().as_bytes())).collect()
}

/// MTH of RFC 6962 §2.1, over leaf hashes.
pub(super) fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(naive_split(leaves.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

/// The largest power of two smaller than `count`.
fn naive_split(count: usize) -> usize {
    (0..).map(|bit| 1 << bit).take_while(|power| *power < count).last().unwrap()
}

/// PATH of RFC 6962 §2.1.1.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 6962 §2.1.2.
fn naive_consistency(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    let (mut path, sibling) = if old <= left.len() {
        (naive_consistency(old, left, whole), naive_root(right))
    } else {
        (naive_consistency(old - left.len(), right, false), naive_root(left))
    };
    path.push(sibling);
    path
}

/// Subtrees computed from all leaves.
pub(super) struct Leaves<'l>(pub(super) &'l [Hash]);

impl Nodes for Leaves<'_> {
    type Error = std::convert::Infallible;

    fn subtree(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let start = (index << level) as usize;
        Ok(naive_root(&self.0[start..start + (1 << level)]))
    }
}

pub(super) fn range_of(start: usize, leaves: &[Hash]) -> Range {
    let mut range = Range::new(start as u64);
    leaves.iter().for_each(|leaf| range.push(*leaf));
    range
}

#[test]
fn the_vectors_of_certificate_transparency_hold() {
    // The eight leaves and roots of certificate-transparency-go and of the drafts of RFC 6962.
    let data: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    assert_eq!(hex(&empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let mut range = Range::new(0);
    let mut frontier = Frontier::new();
    for (data, root) in data.iter().zip(roots) {
        range.push(leaf_hash(data));
        frontier.push(leaf_hash(data), &mut Vec::new());
        assert_eq!(hex(&range.root().unwrap()), root);
        assert_eq!(hex(&frontier.root()), root);
    }
}

#[test]
fn proofs_are_those_of_the_definitions_and_prove_nothing_else() {
    let leaves = leaves(40);
    for size in 1..leaves.len() {
        let tree = &leaves[..size];
        let root = naive_root(tree);
        assert_eq!(root_of(&mut Leaves(tree), size as u64).unwrap(), root);
        for index in 0..size {
            let path = inclusion_proof(&mut Leaves(tree), index as u64, size as u64).unwrap();
            assert_eq!(path, naive_path(index, tree));
            let check = |leaf, index: usize| verify_inclusion(leaf, index as u64, size as u64, &path, &root);
            assert_eq!(check(&tree[index], index), Ok(()));
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(check(&tree[index], other).is_err(), "{index} as {other} of {size}");
            }
            assert_eq!(check(&leaves[size], index), Err(ProofError::Root));
        }
        for old in 0..=size {
            let path = consistency_proof(&mut Leaves(tree), old as u64, size as u64).unwrap();
            let old_root = naive_root(&tree[..old]);
            if old > 0 {
                assert_eq!(path, naive_consistency(old, tree, true));
            }
            let check =
                |old: usize, old_root| verify_consistency(old as u64, old_root, size as u64, &root, &path);
            assert_eq!(check(old, &old_root), Ok(()));
            assert!(check(old, &leaves[size]).is_err());
            assert!(check(size + 1, &old_root).is_err());
        }
    }
}

#[test]
fn a_path_with_a_hash_more_or_less_or_another_one_is_refused() {
    let leaves = leaves(21);
    let root = naive_root(&leaves);
    let good = inclusion_proof(&mut Leaves(&leaves), 7, 21).unwrap();
    let old_root = naive_root(&leaves[..13]);
    let step = consistency_proof(&mut Leaves(&leaves), 13, 21).unwrap();
    for place in 0..good.len().max(step.len()) {
        for (path, other) in [(&good, true), (&step, false)] {
            let mut less = path.clone();
            let mut more = path.clone();
            let mut flipped = path.clone();
            less.remove(place.min(path.len() - 1));
            more.insert(place.min(path.len()), leaves[0]);
            flipped[place.min(path.len() - 1)][31] ^= 1;
            for bad in [less, more, flipped] {
                assert!(match other {
                    true => verify_inclusion(&leaves[7], 7, 21, &bad, &root).is_err(),
                    false => verify_consistency(13, &old_root, 21, &root, &bad).is_err(),
                });
            }
        }
    }
    assert_eq!(verify_inclusion(&leaves[0], 0, 0, &[], &root), Err(ProofError::Index { index: 0, size: 0 }));
    assert!(verify_inclusion(&leaves[0], 0, u64::MAX, &[], &root).is_err());
    assert!(verify_consistency(u64::MAX, &root, u64::MAX, &root, &[]).is_err());
    assert!(inclusion_proof(&mut Leaves(&leaves), 21, 21).unwrap().is_empty());
}

#[test]
fn the_canonical_subtrees_are_the_largest_that_fit() {
    assert_eq!(subtrees(3, 17).collect::<Vec<_>>(), [(0, 3), (2, 1), (3, 1), (0, 16)]);
    assert_eq!(subtrees(0, MAX_SIZE).collect::<Vec<_>>(), [(62, 0)]);
    assert_eq!(subtrees(5, 5).count() + subtrees(7, 3).count(), 0);
    assert_eq!(subtrees(1, u64::MAX).count(), 63 + 63);
}

#[test]
fn ranges_refuse_what_does_not_fit() {
    let leaves = leaves(9);
    let range = range_of(2, &leaves[2..]);
    assert_eq!(Range::from_parts(2, 9, range.hashes().to_vec()).unwrap(), range);
    assert_eq!(range.root(), None);
    let parts = |start, end, count| Range::from_parts(start, end, vec![leaves[0]; count]);
    assert_eq!(parts(2, 9, 2), Err(RangeError::Count { expected: 3, found: 2 }));
    assert_eq!(parts(9, 2, 0), Err(RangeError::Ends { start: 9, end: 2 }));
    assert!(parts(0, u64::MAX, 64).is_err());
    let mut first = range_of(0, &leaves[..3]);
    assert_eq!(first.append(&range), Err(RangeError::Apart { expected: 3, found: 2 }));
    let mut edge = Range::new(u64::MAX);
    edge.push(leaves[0]);
    assert_eq!((edge.start(), edge.end()), (MAX_SIZE, MAX_SIZE));
}

#[test]
fn a_frontier_gives_out_each_tile_once_and_can_be_taken_up_again() {
    let leaves = leaves(256 * 256 + 700);
    let mut frontier = Frontier::new();
    let mut tiles = Vec::new();
    for (count, leaf) in leaves.iter().enumerate() {
        if count % 4099 == 0 || count % 65536 == 0 {
            let mut partials = vec![Vec::new(); 8];
            frontier.partials().for_each(|tile| partials[usize::from(tile.level)] = tile.hashes);
            assert_eq!(Frontier::from_partials(count as u64, partials).unwrap().root(), frontier.root());
        }
        frontier.push(*leaf, &mut tiles);
    }
    assert_eq!(frontier.root(), range_of(0, &leaves).root().unwrap());
    assert_eq!(frontier.size(), leaves.len() as u64);
    let paths: Vec<String> = tiles.iter().map(Tile::path).collect();
    assert_eq!(paths.len(), 258 + 1);
    assert_eq!(paths[..2], ["tile/0/000", "tile/0/001"]);
    assert_eq!(paths[255..258], ["tile/0/255", "tile/1/000", "tile/0/256"]);
    let partials: Vec<String> = frontier.partials().map(|tile| tile.path()).collect();
    assert_eq!(partials, ["tile/0/258.p/188", "tile/1/001.p/2", "tile/2/000.p/1"]);
    assert_eq!(tiles[0].hashes, leaves[..256]);
    assert_eq!(tiles[256].hashes[3], naive_root(&leaves[3 * 256..4 * 256]));
    assert_eq!(tiles[256].root(), Some(naive_root(&leaves[..65536])));
}

#[test]
fn partial_tiles_of_another_size_are_refused() {
    let leaves = leaves(300);
    let parts = |size, widths: &[usize]| {
        let partials = widths.iter().map(|width| leaves[..*width].to_vec()).collect();
        Frontier::from_partials(size, partials)
    };
    assert!(parts(300, &[44, 1]).is_ok());
    assert!(parts(300, &[44, 1, 0, 0]).is_ok());
    for (size, widths) in
        [(300, &[44][..]), (300, &[43, 1]), (300, &[44, 2]), (300, &[44, 1, 1]), (0, &[1]), (u64::MAX, &[])]
    {
        assert!(parts(size, widths).is_err(), "{size} {widths:?}");
    }
    let last = Frontier::from_partials(
        MAX_SIZE,
        vec![Vec::new(); 7].into_iter().chain([leaves[..64].to_vec()]).collect(),
    );
    let mut last = last.unwrap();
    assert_eq!(last.partials().map(|tile| tile.path()).collect::<Vec<_>>(), ["tile/7/000.p/64"]);
    last.push(leaves[0], &mut Vec::new());
    assert_eq!(last.size(), MAX_SIZE);
}

#[test]
fn each_tile_has_one_path() {
    for (level, index, width, path) in [
        (0, 0, 256, "tile/0/000"),
        (1, 1234, 17, "tile/1/x001/234.p/17"),
        (2, 1_234_067, 256, "tile/2/x001/x234/067"),
    ] {
        let name = TileName { level, index, width };
        assert_eq!(name.path(), path);
        assert_eq!(TileName::parse(path), Ok(name));
    }
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/8/000",
        "tile/00/000",
        "tile/+1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/xx01/002",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/000",
    ] {
        assert_eq!(TileName::parse(path), Err(TileError::Path), "{path}");
    }
    assert!(TileName { level: 1, index: 0, width: 2 }.is_within(512));
    assert!(!TileName { level: 1, index: 0, width: 2 }.is_within(511));
    assert!(!TileName { level: 0, index: u64::MAX, width: 2 }.is_within(511));
}

#[test]
fn the_bytes_of_a_tile_are_whole_hashes() {
    let tile = Tile { level: 1, index: 3, hashes: leaves(200) };
    assert_eq!(Tile::from_bytes(1, 3, &tile.to_bytes()), Ok(tile.clone()));
    assert_eq!(tile.root(), None);
    for length in [0, 31, 33, 257 * 32] {
        assert_eq!(Tile::from_bytes(0, 0, &vec![0; length]), Err(TileError::Length(length)));
    }
}

proptest! {
    #[test]
    fn ranges_join_to_the_root_wherever_they_are_cut(cuts in prop::collection::vec(0usize..600, 0..6)) {
        let leaves = leaves(600);
        let mut cuts = cuts;
        cuts.extend([0, 600]);
        cuts.sort_unstable();
        let mut whole = Range::new(0);
        for pair in cuts.windows(2) {
            let part = range_of(pair[0], &leaves[pair[0]..pair[1]]);
            let expected: Vec<Hash> = subtrees(pair[0] as u64, pair[1] as u64)
                .map(|(level, index)| Leaves(&leaves).subtree(level, index).unwrap())
                .collect();
            prop_assert_eq!(part.hashes(), expected);
            whole.append(&part).unwrap();
        }
        prop_assert_eq!(whole.root(), Some(naive_root(&leaves)));
        prop_assert_eq!(whole, range_of(0, &leaves));
    }

    #[test]
    fn no_note_and_no_key_makes_parsing_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let verifier = Signer::from_seed("log", [7; 32]).verifier();
        prop_assert!(verifier.open(&bytes).is_err());
        prop_assert!(Checkpoint::open(text.as_bytes(), &verifier).is_err());
        prop_assert!(Signer::parse(&text).is_err() && Verifier::parse(&text).is_err());
        prop_assert!(TileName::parse(&text).is_err());
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.body(), text);
        }
    }
}
