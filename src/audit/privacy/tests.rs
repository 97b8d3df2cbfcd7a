//! Pseudonyms over periods, restarts, full disks and destroyed keys.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::*;

const NOVEMBER: &str = "2026-11-23T12:00:00Z";
const DECEMBER: &str = "2026-12-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn load(keys: &Path, period: Period, now: &str) -> Result<Privacy, KeyError> {
    Privacy::load(&ClientPrivacy::Pseudonym(Pseudonyms { keys: keys.to_owned(), period }), at(now))
}

fn monthly(keys: &Path, now: &str) -> Privacy {
    load(keys, Period::Month, now).unwrap()
}

fn client() -> IpAddr {
    "2001:db8::1".parse().unwrap()
}

fn reveal(keys: &Path, text: ClientText, time: &str) -> Result<IpAddr, RevealError> {
    Revealer::open(keys).unwrap().reveal(text, at(time))
}

/// A file that is no key where the key of a period should be made.
fn obstruct(keys: &Path, label: &str) {
    fs::create_dir(keys.join(format!("{label}.key"))).unwrap();
    fs::set_permissions(keys.join(format!("{label}.key")), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_pseudonym_agrees_with_the_published_vectors() {
    for (key, client, expected) in [
        ("0123456789abcdeffedcba9876543210", "0.0.0.0", "bde9:6789:d353:824c:d7c6:f58a:6bd2:26eb"),
        ("2b7e151628aed2a6abf7158809cf4f3c", "192.0.2.1", "1dbd:c1b9:fff1:7586:7d0b:67b4:e76e:4777"),
        ("2b7e151628aed2a6abf7158809cf4f3c", "::ffff:192.0.2.1", "1dbd:c1b9:fff1:7586:7d0b:67b4:e76e:4777"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        let path = directory.path().join("2026-11.key");
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let text = monthly(directory.path(), NOVEMBER).text(client.parse().unwrap(), at(NOVEMBER));
        assert_eq!(text.to_string(), expected);
        let revealed = reveal(directory.path(), text, NOVEMBER).unwrap();
        assert_eq!(revealed, client.parse::<IpAddr>().unwrap().to_canonical());
    }
}

#[test]
fn a_key_is_made_once_a_period_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("state/client.key");
    let privacy = monthly(&keys, NOVEMBER);
    let first = privacy.text(client(), at(NOVEMBER));
    assert_eq!(privacy.text(client(), at("2026-11-30T23:59:59.999999Z")), first);
    assert_eq!(monthly(&keys, NOVEMBER).text(client(), at(NOVEMBER)), first);
    let second = privacy.text(client(), at(DECEMBER));
    assert_ne!(second, first);
    // A record that was under way when the month ended.
    assert_eq!(privacy.text(client(), at(NOVEMBER)), first);
    assert_eq!(fs::metadata(&keys).unwrap().mode() & 0o7777, 0o700);
    let mut names = crate::audit::files::names_in(&keys).unwrap();
    for name in &names {
        assert_eq!(fs::metadata(keys.join(name)).unwrap().mode() & 0o7777, 0o600, "{name}");
    }
    names.sort();
    assert_eq!(names, ["2026-11.key", "2026-12.key", "periods"]);
    assert_eq!(reveal(&keys, first, NOVEMBER).unwrap(), client());
    assert_eq!(reveal(&keys, second, DECEMBER).unwrap(), client());
}

#[test]
fn the_next_key_is_made_before_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let privacy = load(&keys, Period::Day, NOVEMBER).unwrap();
    let next = keys.join("2026-11-24.key");
    privacy.tend(at("2026-11-23T22:59:59Z"));
    assert!(!next.exists());
    privacy.tend(at("2026-11-23T23:00:00Z"));
    assert!(next.exists());
    // It is in memory: the request path does not need the disk any more.
    fs::remove_dir_all(&keys).unwrap();
    privacy.text(client(), at("2026-11-24T00:00:00Z"));
    assert_eq!(privacy.trouble(), None);
}

#[test]
fn while_no_key_can_be_made_records_are_written_and_say_that_nobody_can_reveal_them() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let privacy = monthly(&keys, NOVEMBER);
    obstruct(&keys, "2026-12");
    privacy.tend(at("2026-11-30T23:30:00Z"));
    assert!(privacy.trouble().unwrap().contains("the next key"), "{:?}", privacy.trouble());
    let lost = privacy.text(client(), at(DECEMBER));
    assert_eq!(privacy.text(client(), at(DECEMBER)), lost);
    assert_ne!(privacy.text("192.0.2.1".parse().unwrap(), at(DECEMBER)), lost);
    assert!(privacy.trouble().unwrap().contains("beyond recovery"));
    privacy.tend(at(DECEMBER));
    assert!(privacy.trouble().is_some());
    assert!(matches!(reveal(&keys, lost, DECEMBER), Err(RevealError::Lost(_))));

    fs::remove_dir(keys.join("2026-12.key")).unwrap();
    privacy.tend(at(DECEMBER));
    assert_eq!(privacy.trouble(), None);
    let text = privacy.text(client(), at(DECEMBER));
    assert_eq!(reveal(&keys, text, DECEMBER).unwrap(), client());
    assert!(matches!(reveal(&keys, lost, DECEMBER), Err(RevealError::Lost(_))));
}

#[test]
fn a_start_without_room_for_a_key_is_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    drop(monthly(&keys, NOVEMBER));
    obstruct(&keys, "2026-12");
    let privacy = monthly(&keys, DECEMBER);
    assert!(
        privacy.trouble().is_some() && privacy.text(client(), at(DECEMBER)).to_string().starts_with("100::")
    );
}

#[test]
fn once_its_key_is_destroyed_a_pseudonym_stays_one() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let privacy = monthly(&keys, NOVEMBER);
    let (old, new) = (privacy.text(client(), at(NOVEMBER)), privacy.text(client(), at(DECEMBER)));
    KeyDirectory::read(&keys).unwrap().destroy("2026-11").unwrap();
    let error = reveal(&keys, old, NOVEMBER).unwrap_err();
    assert!(error.to_string().contains("`2026-11` was destroyed"), "{error}");
    assert!(!error.is_io());
    assert_eq!(reveal(&keys, new, DECEMBER).unwrap(), client());
    // A clock that is set back makes no second key that would lead the first one's pseudonyms elsewhere.
    let privacy = monthly(&keys, NOVEMBER);
    assert!(matches!(
        reveal(&keys, privacy.text(client(), at(NOVEMBER)), NOVEMBER),
        Err(RevealError::Lost(_))
    ));
    assert!(!keys.join("2026-11.key").exists());

    fs::remove_file(keys.join("2026-12.key")).unwrap();
    assert!(matches!(reveal(&keys, new, DECEMBER), Err(RevealError::Absent { label }) if label == "2026-12"));
}

#[test]
fn the_one_key_of_an_earlier_version_stays_that_of_everything_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.key");
    fs::write(&path, "2b7e151628aed2a6abf7158809cf4f3c\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let old: ClientText = "1dbd:c1b9:fff1:7586:7d0b:67b4:e76e:4777".parse().unwrap();
    let expected: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(reveal(&path, old, "2026-01-01T00:00:00Z").unwrap(), expected);
    let privacy = monthly(&path, NOVEMBER);
    assert!(path.is_dir() && !directory.path().join("client.key.moving").exists());
    assert_eq!(reveal(&path, old, "2026-01-01T00:00:00Z").unwrap(), expected);
    assert_eq!(reveal(&path, old, "2026-11-23T11:59:59.999999Z").unwrap(), expected);
    let new = privacy.text(expected, at(NOVEMBER));
    assert_ne!(new, old);
    assert_eq!(reveal(&path, new, NOVEMBER).unwrap(), expected);
}

#[test]
fn a_crash_while_the_old_key_is_taken_over_loses_nothing() {
    for step in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let (path, moving) = (directory.path().join("key"), directory.path().join("key.moving"));
        fs::write(&path, "2b7e151628aed2a6abf7158809cf4f3c\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if step > 0 {
            fs::create_dir(&moving).unwrap();
            fs::set_permissions(&moving, Permissions::from_mode(0o700)).unwrap();
        }
        if step > 1 {
            fs::rename(&path, moving.join("single.key")).unwrap();
        }
        drop(monthly(&path, NOVEMBER));
        let old: ClientText = "1dbd:c1b9:fff1:7586:7d0b:67b4:e76e:4777".parse().unwrap();
        let revealed = reveal(&path, old, "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(revealed.to_string(), "192.0.2.1", "after step {step}");
    }
}

#[test]
fn another_period_counts_from_the_start_that_brought_it() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let monthly = monthly(&keys, "2026-11-10T00:00:00Z").text(client(), at("2026-11-20T00:00:00Z"));
    let weekly = load(&keys, Period::Week, "2026-11-25T00:00:00Z").unwrap();
    let weekly = weekly.text(client(), at("2026-11-25T00:00:00Z"));
    let always = load(&keys, Period::Never, "2026-11-26T00:00:00Z").unwrap();
    let always = always.text(client(), at("2036-11-26T00:00:00Z"));
    for (text, time) in [
        (monthly, "2026-11-20T00:00:00Z"),
        (weekly, "2026-11-25T00:00:00Z"),
        (always, "2036-11-26T00:00:00Z"),
    ] {
        assert_eq!(reveal(&keys, text, time).unwrap(), client(), "{time}");
    }
}

#[test]
fn keys_that_others_may_read_or_that_are_none_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    drop(monthly(&keys, NOVEMBER));
    let path = keys.join("2026-11.key");
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let refused = load(&keys, Period::Month, NOVEMBER);
        assert!(matches!(refused, Err(KeyError::Open { mode: found, .. }) if found == mode));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    for content in [
        &b""[..],
        b"00",
        b"+123456789abcdeffedcba9876543210",
        b"0123456789abcdeffedcba98765432100",
        b"\xff\xff",
    ] {
        fs::write(&path, content).unwrap();
        let refused = load(&keys, Period::Month, NOVEMBER);
        assert!(matches!(refused, Err(KeyError::Content { .. })), "{content:?}");
    }
    fs::remove_file(&path).unwrap();
    fs::set_permissions(&keys, Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(load(&keys, Period::Month, NOVEMBER), Err(KeyError::Open { mode: 0o750, .. })));
    assert!(matches!(Revealer::open(&keys), Err(KeyError::Open { .. })));
}

#[test]
fn what_is_no_pseudonym_is_not_revealed() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    drop(monthly(&keys, NOVEMBER));
    for text in ["192.0.2.1", "192.0.2.0/24", "2001:db8::/48"] {
        let error = reveal(&keys, text.parse().unwrap(), NOVEMBER).unwrap_err();
        assert!(matches!(error, RevealError::NoPseudonym(_)), "{error}");
    }
}

#[test]
fn the_client_of_a_record_is_revealed_and_its_line_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let pseudonym = monthly(&keys, NOVEMBER).text(client(), at(NOVEMBER));
    let line = |client: &str| {
        let head = format!(r#"{{"id":"01930000-0000-7000-8000-000000000000","seq":7,"time":"{NOVEMBER}","#);
        format!(r#"{head}"case":"TS-1"{client}}}"#).into_bytes()
    };
    let mut revealer = Revealer::open(&keys).unwrap();
    let with = |text: &str| line(&format!(r#","client":"{text}""#));
    let known = revealer.record(&with(&pseudonym.to_string())).unwrap().unwrap();
    assert_eq!((known.address.unwrap(), known.case.as_deref()), (client(), Some("TS-1")));
    let whole = revealer.record(&with("192.0.2.9")).unwrap().unwrap();
    assert_eq!(whole.address.unwrap().to_string(), "192.0.2.9");
    let network = revealer.record(&with("192.0.2.0/24")).unwrap().unwrap();
    assert!(matches!(network.address, Err(RevealError::NoPseudonym(_))));
    assert!(revealer.record(&line("")).unwrap().is_none());
    for wrong in [&b""[..], b"{}", b"[]", &with("somebody"), b"\xff"] {
        assert!(revealer.record(wrong).is_err(), "{}", wrong.escape_ascii());
    }
}

#[test]
fn threads_that_meet_a_new_period_agree_on_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let (one, other) = (monthly(&keys, NOVEMBER), monthly(&keys, NOVEMBER));
    let texts: Vec<ClientText> = std::thread::scope(|scope| {
        let ask = |index: usize| {
            let privacy = if index.is_multiple_of(2) { &one } else { &other };
            move || privacy.text(client(), at(DECEMBER))
        };
        let threads: Vec<_> = (0..8).map(|index| scope.spawn(ask(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(reveal(&keys, texts[0], DECEMBER).unwrap(), client());
}

#[test]
fn truncation_keeps_the_network_only() {
    for (client, expected) in [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    ] {
        let now = at(NOVEMBER);
        assert_eq!(Privacy::Truncated.text(client.parse().unwrap(), now).to_string(), expected);
        let whole = client.trim_start_matches("::ffff:");
        assert_eq!(Privacy::Full.text(client.parse().unwrap(), now).to_string(), whole);
    }
}
