//! A search finds what a plain look at every record finds, and opens only what it has to.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::super::super::{IndexBuilder, Kind, line_of, testing::blocked};
use super::*;

const RECORDS: u64 = 120;
const IN_SEGMENT: u64 = 25;

fn start() -> Timestamp {
    "2026-11-20T22:30:00Z".parse().unwrap()
}

fn id(seq: u64) -> String {
    let millis = u64::try_from(start().as_millisecond()).unwrap() + seq * 1000;
    format!("{:08x}-{:04x}-7000-8000-{seq:012x}", millis >> 16, millis & 0xffff)
}

/// Record `seq`: one a second, cases in runs of forty, seven hosts, three clients.
fn line(seq: u64) -> Vec<u8> {
    let host = format!("{}.example", seq % 7);
    blocked(&format!("TS-{}", seq / 40), b"/", |event| {
        let mut event = *event;
        event.kind = if seq.is_multiple_of(10) { Kind::RequestShadowed } else { Kind::RequestBlocked };
        let request = event.request.as_mut().unwrap();
        request.host = &host;
        request.client = [192, 0, 2, (seq % 3) as u8].into();
        line_of(&event, "ams-1", id(seq).parse().unwrap(), seq, time(seq))
    })
}

fn time(seq: u64) -> Timestamp {
    start() + SignedDuration::from_secs(i64::try_from(seq).unwrap())
}

/// A log whose segments are compressed and indexed, save the last.
fn log() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("segments");
    fs::create_dir(&folder).unwrap();
    let mut first = 1;
    while first <= RECORDS {
        let end = (first + IN_SEGMENT).min(RECORDS + 1);
        let lines: Vec<Vec<u8>> = (first..end).map(line).collect();
        let name = folder.join(format!("{first:020}.jsonl"));
        if end > RECORDS {
            fs::write(name, lines.concat()).unwrap();
        } else {
            let mut index = IndexBuilder::new(1, first);
            lines.iter().for_each(|line| index.line(line.trim_ascii_end()));
            fs::write(name.with_extension("idx"), index.finish(&[]).to_bytes()).unwrap();
            let text = zstd::encode_all(lines.concat().as_slice(), 1).unwrap();
            fs::write(name.with_extension("jsonl.zst"), text).unwrap();
        }
        first = end;
    }
    directory
}

fn found(directory: &Path, query: &Query) -> (Vec<u64>, Searched) {
    let mut seqs = Vec::new();
    let searched = search(directory, query, &mut |line| {
        let fields: Map<String, Value> = serde_json::from_slice(line).unwrap();
        seqs.push(fields["seq"].as_u64().unwrap());
        ControlFlow::Continue(())
    });
    (seqs, searched.unwrap())
}

#[test]
fn everything_comes_out_in_order() {
    let log = log();
    let (seqs, searched) = found(log.path(), &Query::default());
    assert_eq!(seqs, (1..=RECORDS).collect::<Vec<_>>());
    assert_eq!((searched.found, searched.last_seq, searched.read), (RECORDS, RECORDS, 5));
    assert!(searched.problems.is_empty() && !searched.stopped);
}

#[test]
fn segments_that_cannot_answer_are_not_opened() {
    let log = log();
    // Whoever opens the first segment meets this.
    fs::write(log.path().join(format!("segments/{:020}.jsonl.zst", 1)), "no frame").unwrap();
    let query = Query { case: Some("TS-2".into()), ..Query::default() };
    let (seqs, searched) = found(log.path(), &query);
    assert_eq!(seqs, (80..120).collect::<Vec<_>>());
    assert!(searched.problems.is_empty());
    assert!(searched.skipped >= 2, "{searched:?}");
    let (_, searched) = found(log.path(), &Query { case: Some("TS-0".into()), ..Query::default() });
    assert!(matches!(searched.problems.as_slice(), [SearchProblem::Segment(_)]), "{searched:?}");
}

#[test]
fn an_id_is_found_where_it_was_given_and_nowhere_else_is_looked() {
    let log = log();
    fs::write(log.path().join(format!("segments/{:020}.jsonl.zst", 1)), "no frame").unwrap();
    let query = Query { id: Some(id(60).parse().unwrap()), ..Query::default() };
    let (seqs, searched) = found(log.path(), &query);
    assert_eq!(seqs, [60]);
    assert!(searched.problems.is_empty() && searched.read <= 2, "{searched:?}");
}

#[test]
fn a_record_whose_id_is_ahead_of_its_time_is_found_all_the_same() {
    let log = log();
    let path = log.path().join(format!("segments/{:020}.jsonl.zst", 26));
    let text = String::from_utf8(zstd::decode_all(fs::File::open(&path).unwrap()).unwrap()).unwrap();
    let text = text.replace(&id(30), &id(9_999_999));
    fs::write(&path, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    let query = Query { id: Some(id(9_999_999).parse().unwrap()), ..Query::default() };
    assert_eq!(found(log.path(), &query).0, [30]);
}

#[test]
fn a_missing_or_broken_index_hides_nothing() {
    let log = log();
    let index = |first: u64| log.path().join(format!("segments/{first:020}.idx"));
    fs::remove_file(index(1)).unwrap();
    fs::write(index(26), "{}").unwrap();
    fs::copy(index(76), index(51)).unwrap();
    let (seqs, _) = found(log.path(), &Query { case: Some("TS-1".into()), ..Query::default() });
    assert_eq!(seqs, (40..80).collect::<Vec<_>>());
}

#[test]
fn lines_beyond_the_next_segments_name_and_half_lines_do_not_count() {
    let log = log();
    let path = log.path().join(format!("segments/{:020}.jsonl", 101));
    let mut text = fs::read(&path).unwrap();
    text.extend_from_slice(&line(121));
    text.extend_from_slice(br#"{"id":"half"#);
    fs::write(&path, &text).unwrap();
    fs::write(log.path().join(format!("segments/{:020}.jsonl", 121)), line(121)).unwrap();
    let (seqs, searched) = found(log.path(), &Query::default());
    assert_eq!(seqs, (1..=121).collect::<Vec<_>>());
    assert!(searched.problems.is_empty());
}

#[test]
fn damage_is_told_with_its_place_and_the_search_goes_on() {
    let log = log();
    let path = log.path().join(format!("segments/{:020}.jsonl", 101));
    let mut text = fs::read(&path).unwrap();
    let at = line(101).len();
    text.splice(at..at, *b"damage\n");
    fs::write(&path, &text).unwrap();
    let (seqs, searched) = found(log.path(), &Query::default());
    assert_eq!(seqs.len() as u64, RECORDS);
    let [SearchProblem::Damaged { offset, .. }] = searched.problems.as_slice() else {
        panic!("{searched:?}");
    };
    assert_eq!(*offset, at as u64);
}

#[test]
fn a_caller_who_has_seen_enough_ends_the_search() {
    let log = log();
    let mut seen = 0;
    let searched = search(log.path(), &Query::default(), &mut |_| {
        seen += 1;
        if seen < 30 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let searched = searched.unwrap();
    assert_eq!((seen, searched.found), (30, 30));
    assert!(searched.stopped);
}

#[test]
fn an_empty_log_has_no_records_and_a_missing_one_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(found(directory.path(), &Query::default()).1.found, 0);
    let missing = directory.path().join("missing");
    let error = search(&missing, &Query::default(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("missing"));
}

#[test]
fn heads_are_read_as_they_are_written() {
    assert_eq!(seq_of(&line(17)), Some(17));
    let long = format!(r#"{{"id":"{}","seq":18446744073709551616,"time":""#, id(1));
    for bad in [&b""[..], b"{\"id\":\"", b"{\"id\":\"x\",\"seq\":1,\"time\":\"", long.as_bytes()] {
        assert_eq!(seq_of(bad), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_search_finds_what_looking_at_every_record_finds(
        case in proptest::option::of(0..4u64),
        host in proptest::option::of(0..8u64),
        client in proptest::option::of(0..4u64),
        shadowed: Option<bool>,
        since in proptest::option::of(0..130u64),
        until in proptest::option::of(0..130u64),
    ) {
        let log = log();
        let query = Query {
            case: case.map(|case| format!("TS-{case}")),
            host: host.map(|host| format!("{host}.example")),
            client: client.map(|client| format!("192.0.2.{client}")),
            kinds: shadowed.map(|yes| if yes { Kind::RequestShadowed } else { Kind::RequestBlocked }).into_iter().collect(),
            id: None,
            since: since.map(time),
            until: until.map(time),
        };
        let expected: Vec<u64> = (1..=RECORDS)
            .filter(|seq| case.is_none_or(|case| seq / 40 == case))
            .filter(|seq| host.is_none_or(|host| seq % 7 == host))
            .filter(|seq| client.is_none_or(|client| seq % 3 == client))
            .filter(|seq| shadowed.is_none_or(|yes| seq.is_multiple_of(10) == yes))
            .filter(|seq| since.is_none_or(|since| *seq >= since) && until.is_none_or(|until| *seq < until))
            .collect();
        let (seqs, searched) = found(log.path(), &query);
        prop_assert_eq!(seqs, expected);
        prop_assert!(searched.problems.is_empty());
        prop_assert_eq!(searched.last_seq, RECORDS);
    }
}

fn missing(searched: &Searched) -> Vec<(u64, u64, bool)> {
    let tell = |problem: &SearchProblem| match problem {
        SearchProblem::Missing { missing, .. } => (missing.first, missing.last, missing.is_cut),
        other => panic!("{other}"),
    };
    searched.problems.iter().map(tell).collect()
}

#[test]
fn a_segment_that_is_gone_is_told_and_the_others_are_searched() {
    let log = log();
    let path = |first: u64, ending: &str| log.path().join(format!("segments/{first:020}.{ending}"));
    let of = |case: &str| Query { case: Some(case.into()), ..Query::default() };
    fs::remove_file(path(51, "jsonl.zst")).unwrap();
    // Its index is left, and says that the records are those of TS-1.
    let (seqs, searched) = found(log.path(), &of("TS-1"));
    assert_eq!(seqs, (40..51).chain(76..80).collect::<Vec<_>>());
    assert_eq!(missing(&searched), [(51, 75, false)]);
    let (seqs, searched) = found(log.path(), &of("TS-0"));
    assert_eq!((seqs.len(), missing(&searched)), (39, vec![]), "it cannot have any of these");
    fs::remove_file(path(51, "idx")).unwrap();
    for query in [of("TS-0"), of("TS-1"), Query::default()] {
        let (_, searched) = found(log.path(), &query);
        assert_eq!(missing(&searched), [(51, 75, false)], "{query:?}");
    }
    // An id that is found is all there is; one that is not may be among the missing.
    let of = |seq| Query { id: Some(id(seq).parse().unwrap()), ..Query::default() };
    assert!(missing(&found(log.path(), &of(60)).1) == [(51, 75, false)]);
    let (seqs, searched) = found(log.path(), &of(30));
    assert_eq!((seqs, missing(&searched)), (vec![30], vec![]));
    fs::remove_file(path(1, "jsonl.zst")).unwrap();
    let (_, searched) = found(log.path(), &Query::default());
    assert_eq!(missing(&searched), [(1, 25, false), (51, 75, false)]);
}

#[test]
fn whoever_has_seen_enough_hears_of_what_was_missing_until_then_alone() {
    let log = log();
    for first in [26, 76] {
        fs::remove_file(log.path().join(format!("segments/{first:020}.jsonl.zst"))).unwrap();
    }
    for (most, expected) in
        [(25, vec![]), (26, vec![(26, 50, false)]), (60, vec![(26, 50, false), (76, 100, false)])]
    {
        let mut seen = 0;
        let searched = search(log.path(), &Query::default(), &mut |_| {
            seen += 1;
            if seen < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert_eq!(missing(&searched.unwrap()), expected, "{most}");
    }
}

#[test]
fn records_that_are_missing_within_a_segment_or_at_its_end_are_told() {
    let log = log();
    let path = log.path().join(format!("segments/{:020}.jsonl.zst", 26));
    let rewrite = |seqs: &[u64]| {
        let text: Vec<u8> = seqs.iter().flat_map(|seq| line(*seq)).collect();
        fs::write(&path, zstd::encode_all(text.as_slice(), 1).unwrap()).unwrap();
        missing(&found(log.path(), &Query::default()).1)
    };
    let all: Vec<u64> = (26..=50).collect();
    assert_eq!(rewrite(&all), []);
    assert_eq!(rewrite(&all[2..]), [(26, 27, true)]);
    assert_eq!(rewrite(&[&all[..5], &all[6..]].concat()), [(31, 31, true)]);
    assert_eq!(rewrite(&all[..20]), [(46, 50, true)]);
}
