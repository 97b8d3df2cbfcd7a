//! What a hold is, and what it keeps.

use super::*;

fn named(name: &str) -> HoldRequest {
    HoldRequest { name: name.into(), ..HoldRequest::default() }
}

#[test]
fn a_hold_keeps_the_segments_that_may_hold_its_records() {
    for (asked, kept) in [
        (HoldRequest { case: Some("TS-2".into()), ..named("h") }, vec![5]),
        (HoldRequest { host: Some("C.Example.".into()), ..named("h") }, vec![9]),
        (HoldRequest { since: Some(at("2026-10-10T00:00:00Z")), ..named("h") }, vec![5, 9]),
        (HoldRequest { until: Some(at("2026-10-01T00:00:00Z")), ..named("h") }, vec![1]),
        (HoldRequest { case: Some("TS-1".into()), host: Some("b.example".into()), ..named("h") }, vec![]),
        (named("h"), vec![1, 5, 9]),
    ] {
        let mut log = three();
        log.hold(asked.clone()).unwrap();
        let pruned = log.prune(all());
        assert_eq!(pruned.held, kept, "{asked:?}");
        let expected: Vec<u64> = kept.into_iter().chain([13]).collect();
        assert_eq!(log.segments(), expected, "{asked:?}");
        log.assert_verifies();
    }
}

#[test]
fn a_hold_keeps_the_keys_of_the_times_its_segments_touch() {
    let mut log = three().with_keys(&["2026-08", "2026-09", "2026-10", "2026-11", "2026-12"]);
    log.hold(HoldRequest { case: Some("TS-2".into()), ..named("h") }).unwrap();
    let pruned = log.prune(PruneOptions { keys_older_than_s: Some(0), ..PruneOptions::default() });
    // The open segment may hold a record of any case, but none of before December.
    assert_eq!(pruned.keys, ["2026-08", "2026-09", "2026-11"]);
    assert_eq!(pruned.held_keys, ["2026-10"]);
    let expected = [
        "2026-08.destroyed",
        "2026-09.destroyed",
        "2026-10.key",
        "2026-11.destroyed",
        "2026-12.key",
        "periods",
    ];
    assert_eq!(log.names("keys"), expected);
    assert_eq!(log.segments(), [1, 5, 9, 13], "keys go alone");
}

#[test]
fn placing_and_releasing_is_recorded_and_then_done() {
    let mut log = three();
    log.hold(HoldRequest { case: Some("TS-1".into()), ..named("letter-1") }).unwrap();
    assert!(matches!(log.hold(named("letter-1")), Err(RetentionError::Taken(_))));
    let held = log.retention().holds().unwrap();
    assert_eq!((held.len(), held[0].name(), held[0].placed()), (1, "letter-1", now()));
    assert_eq!(held[0].asked().case.as_deref(), Some("TS-1"));

    let retention = log.retention();
    let release = |name: &str| Release { name: name.into(), reason: "the matter is closed".into() };
    let records = &mut log.records;
    let mut record = |kind, detail| {
        records.push((kind, detail));
        Ok(())
    };
    assert!(matches!(retention.release(&release("other"), &mut record), Err(RetentionError::Absent(_))));
    assert!(matches!(retention.release(&release("../x"), &mut record), Err(RetentionError::Hold(_))));
    retention.release(&release("letter-1"), &mut record).unwrap();
    assert!(retention.holds().unwrap().is_empty());
    let kinds: Vec<_> = log.records.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::HoldPlaced, Kind::HoldReleased]);
    for (_, detail) in &log.records {
        assert_eq!((&detail["hold"]["name"], &detail["hold"]["case"]), (&json!("letter-1"), &json!("TS-1")));
    }
    assert_eq!(log.records[1].1["reason"], "the matter is closed");
}

#[test]
fn what_cannot_be_recorded_is_not_done() {
    let log = three();
    let retention = log.retention();
    let mut refuse = |_, _| Err(io::Error::other("the disk is full"));
    let hold = Hold::new(HoldRequest { reason: "r".into(), ..named("h") }, now()).unwrap();
    assert!(matches!(retention.place(&hold, &mut refuse), Err(RetentionError::Record(_))));
    assert!(retention.holds().unwrap().is_empty());
    assert!(matches!(retention.prune(&all(), now(), &mut refuse), Err(RetentionError::Record(_))));
    assert_eq!(log.segments(), [1, 5, 9, 13]);
    retention.place(&hold, &mut |_, _| Ok(())).unwrap();
    let release = Release { name: "h".into(), reason: "r".into() };
    assert!(matches!(retention.release(&release, &mut refuse), Err(RetentionError::Record(_))));
    assert_eq!(retention.holds().unwrap().len(), 1);
}

#[test]
fn a_hold_that_cannot_be_read_stops_all_pruning_until_it_is_released() {
    let mut log = three();
    for (content, name) in
        [("{", "h"), (r#"{"name":"other","reason":"r","placed":"2026-11-23T00:00:00Z"}"#, "h")]
    {
        fs::write(log.path(&format!("{HOLDS}/{name}.json")), content).unwrap();
        let retention = log.retention();
        let refused = retention.prune(&all(), now(), &mut |_, _| Ok(()));
        assert!(matches!(refused, Err(RetentionError::Unreadable { .. })), "{content}");
        assert_eq!(log.segments(), [1, 5, 9, 13]);
    }
    let release = Release { name: "h".into(), reason: "a broken file".into() };
    log.retention().release(&release, &mut |_, _| Ok(())).unwrap();
    assert_eq!(log.prune(all()).runs.len(), 1);
}

#[test]
fn a_hold_that_makes_no_sense_is_refused() {
    let with = |change: fn(&mut HoldRequest)| {
        let mut asked = HoldRequest { reason: "r".into(), ..named("h") };
        change(&mut asked);
        Hold::new(asked, now()).unwrap_err()
    };
    assert!(matches!(with(|asked| asked.name = String::new()), HoldError::Name(_)));
    assert!(matches!(with(|asked| asked.name = "../../etc".into()), HoldError::Name(_)));
    assert!(matches!(with(|asked| asked.name = ".hidden".into()), HoldError::Name(_)));
    assert!(matches!(with(|asked| asked.name = "x".repeat(65)), HoldError::Name(_)));
    assert!(matches!(with(|asked| asked.reason = " ".into()), HoldError::Reason));
    assert!(matches!(with(|asked| asked.reason = "two\nlines".into()), HoldError::Reason));
    assert!(matches!(with(|asked| asked.host = Some("a b".into())), HoldError::Host { .. }));
    assert!(matches!(with(|asked| asked.case = Some(String::new())), HoldError::Case(_)));
    let times = with(|asked| (asked.since, asked.until) = (Some(now()), Some(now())));
    assert!(matches!(times, HoldError::Times { .. }));
}

/// A log whose second segment has records of `b.example` that named `sni.example` as well.
fn named_elsewhere() -> Log {
    Log::of(&[
        ("2026-09-10", "TS-1", "a.example"),
        (
            "2026-10-10",
            "TS-2",
            "b.example\",\"names\":[\"B.example:8443\",\"SNI.example\"],\"matched\":\"sni.example",
        ),
        ("2026-11-10", "TS-3", "c.example"),
    ])
}

#[test]
fn a_hold_by_host_keeps_records_that_named_the_host_beside_another() {
    for host in ["sni.example", "b.example"] {
        let mut log = named_elsewhere();
        log.hold(HoldRequest { host: Some(host.into()), ..named("h") }).unwrap();
        assert_eq!(log.prune(all()).held, [5], "{host}");
        assert_eq!(log.segments(), [5, 13], "{host}");
        log.assert_verifies();
    }
}

#[test]
fn a_hold_by_host_keeps_segments_whose_index_has_not_every_host() {
    let mut log = named_elsewhere();
    let text = fs::read_to_string(log.file(5, "idx")).unwrap();
    // What the first version of the index does not say is in nothing else either.
    fs::write(log.file(5, "idx"), text.replacen("\"version\":2", "\"version\":1", 1)).unwrap();
    log.hold(HoldRequest { host: Some("nowhere.example".into()), ..named("h") }).unwrap();
    assert_eq!(log.prune(all()).held, [5]);
    assert_eq!(log.segments(), [5, 13]);
    log.assert_verifies();
}
