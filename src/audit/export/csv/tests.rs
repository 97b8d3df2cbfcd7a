//! The table is one any reader of RFC 4180 gets back, and none computes.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{super::testing::blocked, ExportOptions, Exporter, Format};
use super::{COLUMNS, FORMULA};
use crate::audit::line_of;

fn table(lines: &[Vec<u8>]) -> String {
    let mut out = Vec::new();
    let mut exporter = Exporter::new(Format::Csv, &mut out, ExportOptions::default()).unwrap();
    lines.iter().for_each(|line| exporter.record(line).unwrap());
    exporter.finish().unwrap();
    String::from_utf8(out).unwrap()
}

fn row(record: &Value) -> Map<String, Value> {
    let text = table(&[record.to_string().into_bytes()]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let cells = reader.records().next().unwrap().unwrap();
    header.iter().map(str::to_owned).zip(cells.iter().map(Value::from)).collect()
}

#[test]
fn a_record_becomes_one_row_under_the_fixed_header() {
    let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
    let now: Timestamp = "2026-11-20T22:30:00.000042Z".parse().unwrap();
    let line = blocked("TS-1", b"/a,b\"c", |event| line_of(event, "ams-1", id, 42, now));
    assert_eq!(
        table(&[line]),
        concat!(
            "id,seq,time,edge,kind,case,customer,basis,action,status,host,names,matched,method,path,client,",
            "listener,protocol,tls,user_agent,revision,also,upstream,detail\r\n",
            "01930000-0000-7000-8000-000000000000,42,2026-11-20T22:30:00.000042Z,ams-1,request.blocked,TS-1,",
            "cust-20931,imminent-threat,page,403,forum.example,FORUM.example.,.forum.example,GET,\"/a,b\"\"c\",",
            "192.0.2.1,127.0.0.1:8080,HTTP/1.1,,curl/8.5.0,7,TS-9,,\r\n",
        )
    );
}

#[test]
fn the_header_is_every_field_of_the_documentation_in_its_order() {
    let documents = include_str!("../../../../docs/audit-format.md");
    let table = documents.split("| field | what it is |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(',')).map(str::trim);
    let documented: Vec<&str> =
        names.filter(|name| *name != "others").map(|name| name.trim_matches('`')).collect();
    assert_eq!(COLUMNS[..COLUMNS.len() - 1], documented);
}

#[test]
fn an_empty_export_is_a_table_without_rows() {
    assert_eq!(table(&[]).lines().count(), 1);
}

#[test]
fn no_text_is_taken_for_a_formula() {
    for (text, expected) in [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "\\u0009=1"),
        ("\r=1", "\\u000d=1"),
        ("＝1", "'＝1"),
        ("'=1", "''=1"),
        ("a=1", "a=1"),
    ] {
        let row = row(&json!({ "path": text, "names": [text, "b"], "user_agent": text }));
        assert_eq!(row["path"], expected);
        assert_eq!(row["user_agent"], expected);
        assert_eq!(row["names"], format!("{expected} b"));
    }
}

#[test]
fn lists_keep_their_items_apart_and_the_rest_stands_in_detail() {
    let row = row(&json!({
        "names": ["a b", "c"], "kind": "audit.gap", "missed": 3, "counts": [{"kind": "x", "count": 3}], "seq": 7,
    }));
    assert_eq!(row["names"], "a\\x20b c");
    assert_eq!(row["seq"], "7");
    let detail: Value = serde_json::from_str(row["detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail, json!({"missed": 3, "counts": [{"kind": "x", "count": 3}]}));
}

#[test]
fn what_is_no_record_is_refused_and_leaves_no_half_a_row() {
    let mut out = Vec::new();
    let mut exporter = Exporter::new(Format::Csv, &mut out, ExportOptions::default()).unwrap();
    for line in [&b"[1]"[..], b"", b"{\"a\":", b"\xff"] {
        assert!(exporter.record(line).is_err());
    }
    exporter.record(b"{\"seq\":1}").unwrap();
    exporter.finish().unwrap();
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
}

proptest! {
    #[test]
    fn any_text_is_one_line_and_starts_no_formula(path: String, names: Vec<String>) {
        let record = json!({"path": path, "names": names, "other": path});
        let text = table(&[record.to_string().into_bytes()]);
        prop_assert_eq!(text.matches(['\n', '\u{2028}']).count(), 2);
        for cell in row(&record).values() {
            prop_assert!(!cell.as_str().unwrap().starts_with(FORMULA));
        }
    }
}
