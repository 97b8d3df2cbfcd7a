//! Many names: a change costs its own size, a start does not read them again, and no verdict is another one for it.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

/// Enough for an image.
const NAMES: usize = 66_000;

fn list(of: &str, names: usize) -> String {
    (0..names).fold(String::new(), |mut text, number| {
        writeln!(text, "n{number}.{of}.example").unwrap();
        text
    })
}

fn listed(id: &str) -> CaseFile {
    CaseFile::new(id, &[]).key(&format!("host_lists = [\"lists/{id}.txt\"]"))
}

fn edge_on_a_long_list(origin: &Origin) -> Edge {
    let setup = Setup::new().origin(origin);
    setup.policies().write_list("long.txt", &list("long", NAMES));
    setup.case(listed("long")).start()
}

fn lists_read(edge: &Edge) -> u64 {
    edge.status().0.pointer("/index/lists_read").unwrap().as_u64().unwrap()
}

/// Where the compiled names are kept, once they are.
fn image(edge: &Edge) -> PathBuf {
    let directory = edge.home().join("state/names").join(env!("CARGO_PKG_VERSION"));
    let path = directory.join("image");
    wait_until("the compiled names are kept", || path.exists());
    path
}

fn assert_the_long_list_holds(edge: &Edge) {
    edge.get(&format!("n{}.long.example", NAMES - 1)).assert_blocked(403);
    edge.get("n0.long.example").assert_blocked(403);
    edge.get(&format!("n{NAMES}.long.example")).assert_forwarded();
    edge.get("www.n0.long.example").assert_forwarded();
    edge.get("long.example").assert_forwarded();
}

#[test]
fn a_change_reads_no_list_that_has_not_changed() {
    let origin = Origin::start();
    let edge = edge_on_a_long_list(&origin);
    assert_the_long_list_holds(&edge);
    assert_eq!(lists_read(&edge), 1);
    // A file that was written a moment ago is hashed again, but its lines are known by their digest.
    let status =
        edge.change(|policies| policies.write(&CaseFile::new("one", &["one.example", "n5.long.example"])));
    assert_eq!((status.cases(), status.hosts()), (2, NAMES as u64 + 2));
    edge.get("one.example").assert_blocked(403);
    edge.change(|policies| policies.write(&CaseFile::new("one", &[".two.example"])));
    edge.get("one.example").assert_forwarded();
    edge.get("www.two.example").assert_blocked(403);
    edge.change(|policies| policies.remove_case("one"));
    edge.get("www.two.example").assert_forwarded();
    // The same names under another review.
    let restated = listed("long").key("review = 2090-01-01");
    edge.change(|policies| policies.write(&restated));
    assert_eq!(lists_read(&edge), 1);
    assert_the_long_list_holds(&edge);
}

#[test]
fn a_list_that_changed_is_read_and_a_name_taken_out_is_free() {
    let origin = Origin::start();
    let edge = edge_on_a_long_list(&origin);
    let shorter = list("long", NAMES).replace("\nn7.long.example\n", "\nn7.other.example\n");
    edge.change(|policies| policies.write_list("long.txt", &shorter));
    edge.get("n7.long.example").assert_forwarded();
    edge.get("n7.other.example").assert_blocked(403);
    assert_eq!(lists_read(&edge), 2);
    assert_the_long_list_holds(&edge);
}

#[test]
fn a_start_on_the_compiled_names_reads_no_list_and_blocks_all_the_same() {
    let origin = Origin::start();
    let mut edge = edge_on_a_long_list(&origin);
    image(&edge);
    let revision = edge.status().revision();
    edge.restart();
    assert_the_long_list_holds(&edge);
    assert_eq!((edge.status().revision(), lists_read(&edge)), (revision, 0));
    // What changes while nobody looks is seen.
    edge.stop();
    let other = list("long", NAMES).replace("\nn7.long.example\n", "\nn7.other.example\n");
    edge.policies().write_list("long.txt", &other);
    edge.start_again().unwrap();
    edge.get("n7.long.example").assert_forwarded();
    edge.get("n7.other.example").assert_blocked(403);
    assert_eq!(lists_read(&edge), 1);
}

#[test]
fn compiled_names_that_are_damaged_or_cut_are_made_anew_from_the_lists() {
    let origin = Origin::start();
    let mut edge = edge_on_a_long_list(&origin);
    let image = image(&edge);
    edge.stop();
    let whole = fs::read(&image).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [flipped, whole[..whole.len() / 3].to_vec(), Vec::new()] {
        fs::write(&image, bytes).unwrap();
        edge.start_again().unwrap();
        assert_the_long_list_holds(&edge);
        assert_eq!(lists_read(&edge), 1);
        edge.stop();
    }
    fs::write(image.with_file_name("lists.json"), "{}").unwrap();
    edge.start_again().unwrap();
    assert_the_long_list_holds(&edge);
}

#[test]
fn compiled_names_of_an_earlier_format_are_made_anew_from_the_lists() {
    let origin = Origin::start();
    let mut edge = edge_on_a_long_list(&origin);
    let image = image(&edge);
    edge.stop();
    let whole = fs::read(&image).unwrap();
    let mut earlier = whole.clone();
    let version = "interdict names ".len();
    earlier[version] = b'1';
    assert_ne!(earlier, whole);
    fs::write(&image, earlier).unwrap();
    edge.start_again().unwrap();
    assert_the_long_list_holds(&edge);
    assert_eq!(lists_read(&edge), 1);
    wait_until("the edge says so", || {
        edge.process().stderr().contains("it is not an image of names this version can read")
    });
    wait_until("the compiled names are kept again", || fs::read(&image).unwrap()[version] == whole[version]);
    edge.restart();
    assert_the_long_list_holds(&edge);
    assert_eq!(lists_read(&edge), 0);
}

#[test]
fn names_that_came_later_are_merged_beside_the_traffic() {
    let origin = Origin::start();
    let edge = edge_on_a_long_list(&origin);
    edge.change(|policies| {
        policies.write_list("more.txt", &list("more", NAMES));
        policies.write(&listed("more"));
    });
    edge.get("n1.more.example").assert_blocked(403);
    // The first list goes, and what is left of it is merged away.
    edge.change(|policies| policies.remove_case("long"));
    edge.get("n1.long.example").assert_forwarded();
    wait_until("the names are merged", || edge.process().stderr().contains("the names were merged"));
    edge.get("n1.more.example").assert_blocked(403);
    edge.get("n1.long.example").assert_forwarded();
    edge.change(|policies| policies.write(&listed("long")));
    assert_the_long_list_holds(&edge);
    edge.get("n1.more.example").assert_blocked(403);
}
