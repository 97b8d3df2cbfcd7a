//! Tests of host lists.

use super::*;
use crate::policy::MemorySpool;

fn read_list(content: &[u8]) -> HostList {
    let mut files = PolicyFiles::new();
    files.insert("lists/a.txt", content);
    Lists::new(&files, &files, &mut MemorySpool, &Book::default()).load("lists/a.txt").unwrap()
}

fn names(content: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    read_list(content).names.unwrap().for_each(|pattern| names.push(pattern.to_string())).unwrap();
    names
}

#[test]
fn comments_blanks_line_ends_and_a_byte_order_mark_are_no_entries() {
    let content = b"\xEF\xBB\xBF# a list\r\na.example\r\n\r\n  .b.example\t# why\r\n*.c.example #\n#d.example\n\te.example";
    assert_eq!(names(content), ["a.example", ".b.example", "*.c.example", "e.example"]);
    assert_eq!(read_list(content).bad_entries, 0);
}

#[test]
fn an_address_glued_to_a_name_is_reported_and_not_taken() {
    let list = read_list(b"a.example\n0.0.0.0forum.example\n1.2.3.4.example\n");
    assert_eq!(list.entries, 2);
    assert_eq!(list.bad[0].line, 2);
    assert!(list.bad[0].hint.as_ref().unwrap().contains("`forum.example`"));
}

#[test]
fn an_entry_that_is_not_utf_8_is_found_at_its_byte() {
    let list = read_list(b"a.example\n  b\xC3\xBC\xFFc.example\nd.example\n");
    assert_eq!(list.entries, 2);
    assert_eq!((list.bad[0].line, list.bad[0].column), (2, 5));
}

#[test]
fn bad_entries_beyond_the_bound_are_counted_only() {
    let list = read_list(".\n".repeat(390_000).as_bytes());
    assert_eq!(list.bad_entries, 390_000);
    assert_eq!(list.bad.len(), limits::DIAGNOSTICS_KEPT_PER_FILE);
}

#[test]
fn a_line_without_end_is_not_looked_through() {
    let list = read_list(&b"x".repeat(1_000_000));
    assert_eq!(list.bad_entries, 1);
    assert!(list.bad[0].text.len() < 100);
}
