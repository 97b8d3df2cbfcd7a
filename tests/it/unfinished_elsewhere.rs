//! Files that are being written where nobody looks for them at first: through links, in directories that come and go.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use crate::harness::writing::while_written;
use crate::harness::{CaseFile, Origin, wait_until};
use crate::unfinished::edge_with_lists;

#[test]
fn a_list_that_is_being_written_under_another_name_is_not_read_either() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let lists = edge.policies().path().join("lists");
    edge.change(|_| {
        fs::hard_link(lists.join("one.txt"), lists.join("hard.txt")).unwrap();
    });
    edge.change(|_| symlink("two.txt", lists.join("soft.txt")).unwrap());
    let linked = CaseFile::new("linked", &[]).key("host_lists = [\"lists/hard.txt\", \"lists/soft.txt\"]");
    edge.change(|policies| policies.write(&linked));
    for (written, host) in [("one.txt", "half-1.example"), ("two.txt", "half-2.example")] {
        let mut file = fs::File::options().append(true).open(lists.join(written)).unwrap();
        write!(file, "{host}").unwrap();
        edge.change(|policies| policies.write(&CaseFile::new(written, &["urgent.example"])));
        edge.get(host).assert_forwarded();
        writeln!(file, "-and-more.test").unwrap();
        drop(file);
        let whole = format!("{host}-and-more.test");
        wait_until("it is complete", || edge.get(&whole).status == 403);
        edge.get(host).assert_forwarded();
    }
}

#[test]
fn a_list_that_is_written_elsewhere_stays_what_it_was_until_it_is_complete() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let feed = edge.home().join("feed.txt");
    fs::write(&feed, "afar.example\n").unwrap();
    edge.change(|policies| symlink(&feed, policies.path().join("lists/afar.txt")).unwrap());
    let afar = CaseFile::new("afar", &[]).key("host_lists = [\"lists/afar.txt\"]");
    edge.change(|policies| policies.write(&afar));
    while_written(&feed, "afar.example\nmore.example\n", || {
        edge.change(|policies| policies.write(&CaseFile::new("urgent", &["urgent.example"])));
        edge.get("urgent.example").assert_blocked(403);
        edge.get("afar.example").assert_blocked(403);
        edge.get("half.example").assert_forwarded();
    });
    wait_until("it is complete", || edge.get("more.example").status == 403);
    edge.get("afar.example").assert_blocked(403);
}

#[test]
fn a_list_in_a_directory_that_was_just_made_is_waited_for() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let watched_before = edge.process().places_watched();
    let new = edge.policies().path().join("lists/new");
    fs::create_dir(&new).unwrap();
    wait_until("it is watched", || edge.process().places_watched() > watched_before);
    let mut writer = fs::File::create(new.join("l.txt")).unwrap();
    writeln!(writer, "half.example").unwrap();
    let listed = CaseFile::new("listed", &["by-name.example"]).key("host_lists = [\"lists/new/l.txt\"]");
    edge.policies().write(&listed);
    wait_until("it is looked at", || edge.process().stderr().contains("is read when it is complete"));
    edge.get("half.example").assert_forwarded();
    writeln!(writer, "whole.example").unwrap();
    drop(writer);
    wait_until("it is complete", || edge.get("whole.example").status == 403);
    edge.get("half.example").assert_blocked(403);
    edge.get("by-name.example").assert_blocked(403);
}

#[test]
fn who_goes_on_writing_in_a_directory_that_was_moved_away_holds_nothing_up() {
    let origin = Origin::start();
    let edge = edge_with_lists(&origin);
    let deep = edge.policies().path().join("lists/deep");
    fs::create_dir(&deep).unwrap();
    edge.change(|_| fs::write(deep.join("l.txt"), "deep.example\n").unwrap());
    while_written(&deep.join("l.txt"), "deep.example\n", || {
        edge.change(|_| fs::rename(&deep, edge.home().join("away")).unwrap());
        edge.change(|policies| policies.write(&CaseFile::new("first", &["other.example"])));
        edge.get("first.example").assert_forwarded();
    });
}
