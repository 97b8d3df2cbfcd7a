//! Request smuggling: octets that two servers could read as different requests.
//!
//! Every case is sent raw to a real edge with an origin behind it that reads by the letter of RFC 9112. Whatever the case,
//! client, edge and origin have to agree on how many requests there were, what reaches the origin can be read in one way
//! only, and nothing for a blocked host is in it. The cases in `tests/cases/wire` are of our own making after others'
//! corpora, which each of them names; `mutations` makes many more from a table.

mod canonical;
mod dialects;
mod http2;
mod mutations;
mod notation;
mod origin;
mod trial;

use std::collections::HashMap;
use std::time::Instant;

use self::trial::Trial;
use crate::table_cases::{Row, check_all, rows};

fn text_of(row: &Row) -> String {
    String::from_utf8(row.files[0].1.clone()).unwrap()
}

#[test]
fn every_written_case_is_read_alike_by_edge_and_origin_and_ends_as_its_table_says() {
    let mut trial = Trial::start();
    let rows = rows("wire/http1");
    let mut numbers = HashMap::new();
    for row in &rows {
        let number = trial.next();
        assert!(numbers.insert(row.title.clone(), number).is_none(), "a title twice: {}", row.title);
        trial.send(&row.title, notation::bytes(&text_of(row), number));
    }
    let findings = trial.finish();
    assert!(findings.wrong.is_empty(), "{}", findings.wrong);
    check_all("wire/http1", |row| findings.reports[numbers[&row.title]].clone());
}

#[test]
fn packets_of_one_octet_make_no_difference_to_what_edge_and_origin_agree_on() {
    let mut trial = Trial::start();
    for row in rows("wire/http1") {
        let number = trial.next();
        trial.send_by_octets(&row.title, notation::bytes(&text_of(&row), number));
    }
    let findings = trial.finish();
    assert!(findings.wrong.is_empty(), "{}", findings.wrong);
}

#[test]
fn every_generated_case_is_read_alike_by_edge_and_origin() {
    let began = Instant::now();
    let mut trial = Trial::start();
    let mutations = mutations::all();
    for (title, text) in &mutations {
        let number = trial.next();
        trial.send(title, notation::bytes(text, number));
    }
    let findings = trial.finish();
    let (forwarded, pages, refused) = findings.answers;
    println!(
        "{} cases in {:?}: {forwarded} forwarded, {pages} pages, {refused} refused",
        mutations.len(),
        began.elapsed()
    );
    assert!(findings.wrong.is_empty(), "{}", findings.wrong);
    // The table makes all kinds: a run in which one of them is missing tries nothing.
    assert!(forwarded > 100 && pages > 100 && refused > 1000, "{:?}", findings.answers);
}
