//! A hundred swaps in a row while clients are at work.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::harness::audit::{Record, of_kind};
use crate::harness::load::{Load, Sample};
use crate::harness::{CaseFile, Origin, Setup};

const BLOCKED: &str = "blocked.example";
const ALLOWED: &str = "allowed.example";
const FLIPPING: &str = "flipping.example";
const SWAPS: u64 = 100;

/// How far the record of a swap and the swap itself may lie apart when both are put on one time line.
const SLACK: SignedDuration = SignedDuration::from_millis(50);

#[test]
fn a_hundred_swaps_under_load_fail_no_request_and_misjudge_none() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("always", &[BLOCKED])).start();
    let hosts = [BLOCKED, ALLOWED, FLIPPING];
    let load = Load::start_cut(edge.address(), &edge.ledger(), 6, &hosts, Some(FLIPPING));
    for swap in 0..SWAPS {
        edge.change(|policies| match swap % 2 {
            0 => policies.write(&CaseFile::new("flip", &[FLIPPING])),
            _ => policies.remove_case("flip"),
        });
        // Every revision is asked about, else it would prove nothing.
        load.wait_for_answers(3);
    }
    let samples = load.finish();
    assert!(edge.status().revision() > SWAPS);
    let records = edge.finish();
    let history = History::read(&records);
    println!("{} requests over {} revisions", samples.len(), history.revisions.len());
    let mut blocked_flips = 0;
    // A request under way when its host was blocked may end without an answer, and each such end is on record.
    let cut = samples.iter().filter(|sample| sample.host == FLIPPING && sample.response.is_err()).count();
    let cuts = of_kind(&records, "connection.cut");
    assert!(
        cut <= cuts.len() && cuts.iter().all(|record| record.text("host") == FLIPPING),
        "{cut} of {cuts:?}"
    );
    for sample in samples.iter().filter(|sample| sample.host != FLIPPING || sample.response.is_ok()) {
        // `blocked` fails for a request that failed, so a connection that was dropped shows here.
        let blocked = sample.blocked();
        match sample.host.as_str() {
            BLOCKED => assert!(blocked, "{sample:?}"),
            ALLOWED => assert!(!blocked, "{sample:?}"),
            _ => {
                history.assert_some_revision_agrees(sample, blocked);
                blocked_flips += usize::from(blocked);
            }
        }
    }
    assert!(blocked_flips > 0 && blocked_flips < samples.len() / 3, "the flipping host flipped");
    history.assert_blocks_were_right(&records);
}

/// Which revision was in force when, and whether it had the flipping case.
struct History {
    revisions: Vec<(Timestamp, u64, bool)>,
}

impl History {
    fn read(records: &[Record]) -> Self {
        let entry = |record: &&Record| {
            let time = record.text("time").parse().unwrap();
            (time, record.number("revision"), record.number("cases") == 2)
        };
        Self { revisions: of_kind(records, "policy.applied").iter().map(entry).collect() }
    }

    /// Some revision in force between question and answer would have judged as the edge did.
    #[track_caller]
    fn assert_some_revision_agrees(&self, sample: &Sample, blocked: bool) {
        let (from, to) = (sample.sent - SLACK, sample.answered + SLACK);
        let ends = self.revisions.iter().skip(1).map(|(start, ..)| *start).chain([Timestamp::MAX]);
        let agrees = |((start, _, flips), end): (&(Timestamp, u64, bool), Timestamp)| {
            *start <= to && end >= from && *flips == blocked
        };
        assert!(self.revisions.iter().zip(ends).any(agrees), "no revision in force judged so: {sample:?}");
    }

    /// Every block of the flipping host names a revision that had the case.
    #[track_caller]
    fn assert_blocks_were_right(&self, records: &[Record]) {
        let had_case: HashMap<u64, bool> =
            self.revisions.iter().map(|(_, number, flips)| (*number, *flips)).collect();
        for record in of_kind(records, "request.blocked") {
            if record.text("host") == FLIPPING {
                assert_eq!(had_case.get(&record.number("revision")), Some(&true), "{}", record.0);
            }
        }
    }
}

#[test]
fn a_swap_leaves_downloads_and_http_2_streams_of_others_alone() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("always", &[BLOCKED])).start();
    let mut one = edge.connect();
    one.send(format!("GET /slow/30 HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"));
    let mut two = edge.connect_h2();
    let request = http::Request::get(format!("http://{ALLOWED}/slow/30")).body(()).unwrap();
    let pending = two.open(request, None).unwrap();
    for swap in 0..5 {
        edge.change(|policies| {
            policies.write(&CaseFile::new(&format!("s{swap}"), &[&format!("s{swap}.example")]))
        });
    }
    assert_eq!(one.response().unwrap().assert_forwarded().body.len(), 30 * 8);
    assert_eq!(two.finish(pending).unwrap().assert_forwarded().body.len(), 30 * 8);
}
