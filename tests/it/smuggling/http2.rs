//! The same over HTTP/2, where fields can hold what HTTP/1 would take for structure: the edge writes HTTP/1 to the origin.

use std::net::TcpStream;

use super::notation;
use super::trial::Trial;
use crate::harness::PATIENCE;
use crate::harness::stream::{Ended, Fields, exchange};
use crate::table_cases::{Row, check_all, rows};

#[test]
fn every_case_over_http_2_is_read_alike_by_edge_and_origin_and_ends_as_its_table_says() {
    let mut trial = Trial::start();
    let rows = rows("wire/http2");
    let mut ends = Vec::new();
    for row in &rows {
        let (fields, content) = request(row, trial.next());
        let mut wire = TcpStream::connect(trial.edge.address()).unwrap();
        wire.set_read_timeout(Some(PATIENCE)).unwrap();
        let (ended, answer) = match exchange(&mut wire, &fields, &content) {
            Ended::Answered(response) => (response.status.to_string(), Some(response)),
            Ended::Reset => ("reset".to_owned(), None),
            Ended::Closed => ("closed".to_owned(), None),
        };
        ends.push((row.title.clone(), ended));
        let sent = format!("{fields:?}").into_bytes();
        trial.note(&row.title, sent, answer);
    }
    let findings = trial.finish();
    assert!(findings.wrong.is_empty(), "{}", findings.wrong);
    check_all("wire/http2", |row| {
        let number = ends.iter().position(|(title, _)| *title == row.title).unwrap();
        let (_, at_origin) = findings.reports[number].split_once('\n').unwrap();
        format!("client: {}\n{at_origin}", ends[number].1)
    });
}

/// The fields of a row, one a line, `name = value`, and the pieces of its content, one a file.
fn request(row: &Row, number: usize) -> (Fields, Vec<Vec<u8>>) {
    let text = |content: &[u8]| String::from_utf8(content.to_vec()).unwrap();
    let fields = text(&row.files[0].1);
    let fields = fields.lines().map(|line| {
        let (name, value) = line.split_once(" =").unwrap_or_else(|| panic!("no `=` in `{line}`"));
        let value = value.strip_prefix(' ').unwrap_or(value);
        (notation::bytes(name, number), notation::bytes(value, number))
    });
    let content = row.files[1..].iter().map(|(_, content)| notation::bytes(&text(content), number));
    (fields.collect(), content.collect())
}
