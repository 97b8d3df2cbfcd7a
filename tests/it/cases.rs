//! What cases mean at the edge: time, shadow, exemptions, territory, precedence, and the record of each.

use jiff::{SignedDuration, Timestamp};

use crate::harness::audit::{of_kind, only};
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

/// In two seconds, to the millisecond that a case file holds.
fn soon() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond() + 2000).unwrap()
}

fn is_blocked(edge: &Edge, host: &str) -> bool {
    edge.get(host).enforcement_id().is_some()
}

/// Polls until `host` is blocked, or no longer, and says when the last other answer was asked for and when this one
/// was in: the change happened in between.
fn moment_of_change(edge: &Edge, host: &str, to_blocked: bool) -> (Timestamp, Timestamp) {
    let mut before = Timestamp::now();
    let mut after = before;
    wait_until("the case took its turn", || {
        let asked = Timestamp::now();
        let changed = is_blocked(edge, host) == to_blocked;
        after = Timestamp::now();
        if !changed {
            before = asked;
        }
        changed
    });
    (before, after)
}

#[test]
fn a_case_takes_effect_by_itself_and_on_time() {
    let origin = Origin::start();
    let at = soon();
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("later", &["later.example"]).effective(at)).start();
    assert!(!is_blocked(&edge, "later.example"));
    let (before, after) = moment_of_change(&edge, "later.example", true);
    assert!(after >= at, "early: blocked at {after}, due {at}");
    assert!(before < at + SignedDuration::from_millis(200), "late: still allowed at {before}, due {at}");
    assert_eq!(edge.status().revision(), 1, "it took no reload");
    wait_until("the turn is recorded", || !of_kind(&edge.records(), "case.effective").is_empty());
    let records = edge.finish();
    assert_eq!(only(&records, "case.effective").text("case"), "later");
}

#[test]
fn a_case_expires_by_itself_and_on_time_and_says_so() {
    let origin = Origin::start();
    let at = soon();
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("brief", &["brief.example"]).expires(at)).start();
    assert!(is_blocked(&edge, "brief.example"));
    let (before, after) = moment_of_change(&edge, "brief.example", false);
    assert!(after >= at, "early: allowed at {after}, due {at}");
    assert!(before < at + SignedDuration::from_millis(200), "late: still blocked at {before}, due {at}");
    assert_eq!(edge.status().revision(), 1, "it took no reload");
    wait_until("the end is recorded", || !of_kind(&edge.records(), "case.expired").is_empty());
    let records = edge.finish();
    assert_eq!(only(&records, "case.expired").text("case"), "brief");
}

#[test]
fn a_case_that_expired_long_ago_blocks_nothing() {
    let origin = Origin::start();
    let past = Timestamp::now() - SignedDuration::from_hours(1);
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("old", &["old.example"]).expires(past)).start();
    edge.get("old.example").assert_forwarded();
}

#[test]
fn an_overdue_review_never_ends_a_case() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("overdue", &["overdue.example"]).key("review = 2026-01-06"))
        .start();
    edge.get("overdue.example").assert_blocked(403);
}

#[test]
fn a_shadow_case_lets_through_and_records() {
    let origin = Origin::start();
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("watch", &["watched.example"]).shadow()).start();
    edge.get("watched.example").assert_forwarded();
    let records = edge.finish();
    let record = only(&records, "request.shadowed");
    assert_eq!((record.text("case"), record.text("host")), ("watch", "watched.example"));
    assert!(of_kind(&records, "request.blocked").is_empty());
}

#[test]
fn an_exempt_client_is_let_through_and_recorded() {
    let origin = Origin::start();
    let exempt = "[[exempt]]\nclients = [\"127.0.0.0/8\"]\nreason = \"evidence preservation\"";
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("mild", &["mild.example"]).table(exempt)).start();
    edge.get("mild.example").assert_forwarded();
    let records = edge.finish();
    assert_eq!(only(&records, "request.exempted").text("case"), "mild");
}

#[test]
fn an_exemption_ends_by_itself() {
    let origin = Origin::start();
    let at = soon();
    let exempt = format!("[[exempt]]\nclients = [\"127.0.0.0/8\"]\nreason = \"evidence\"\nexpires = {at:.3}");
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("mild", &["mild.example"]).table(&exempt)).start();
    assert!(!is_blocked(&edge, "mild.example"));
    let (_, after) = moment_of_change(&edge, "mild.example", true);
    assert!(after >= at);
}

#[test]
fn an_exemption_in_one_case_opens_no_other() {
    let origin = Origin::start();
    let exempt = "[[exempt]]\nclients = [\"127.0.0.0/8\"]\nreason = \"evidence preservation\"";
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("a-mild", &["www.mild.example"]).table(exempt))
        .case(CaseFile::new("b-strict", &[".mild.example"]).key("status = 410"))
        .start();
    edge.get("www.mild.example").assert_blocked(410);
    let records = edge.finish();
    let record = only(&records, "request.blocked");
    assert_eq!((record.text("case"), record.texts("also")), ("b-strict", vec!["a-mild"]));
}

#[test]
fn a_client_that_is_not_exempt_is_blocked() {
    let origin = Origin::start();
    let exempt = "[[exempt]]\nclients = [\"192.0.2.0/24\"]\nreason = \"evidence preservation\"";
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("mild", &["mild.example"]).table(exempt)).start();
    edge.get("mild.example").assert_blocked(403);
}

#[test]
fn a_territory_concerns_its_own_clients_only() {
    let origin = Origin::start();
    let ordered = |id, host, territory: &str| {
        CaseFile::new(id, &[host]).by_court_order().table(&format!("territory = [\"{territory}\"]"))
    };
    let edge = Setup::new()
        .origin(&origin)
        .case(ordered("here", "here.example", "127.0.0.0/8"))
        .case(ordered("there", "there.example", "198.51.100.0/24"))
        .start();
    edge.get("here.example").assert_blocked(451);
    edge.get("there.example").assert_forwarded();
}

#[test]
fn the_three_pattern_forms_cover_what_they_say() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("forms", &["exact.example", ".subtree.example", "*.below.example"]))
        .start();
    let expected = [
        ("exact.example", true),
        ("www.exact.example", false),
        ("notexact.example", false),
        ("subtree.example", true),
        ("www.subtree.example", true),
        ("a.b.subtree.example", true),
        ("notsubtree.example", false),
        ("below.example", false),
        ("www.below.example", true),
        ("a.b.below.example", true),
        ("subtree.example.other.test", false),
    ];
    for (host, blocked) in expected {
        assert_eq!(is_blocked(&edge, host), blocked, "{host}");
    }
}

#[test]
fn an_excepted_name_is_never_touched_by_its_case() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("forum", &[".forum.example"]).key("except = [\"help.forum.example\"]"))
        .case(CaseFile::new("wide", &["*.wide.example"]).key("except = [\".help.wide.example\"]"))
        .start();
    edge.get("forum.example").assert_blocked(403);
    edge.get("help.forum.example").assert_forwarded();
    edge.get("www.help.forum.example").assert_blocked(403);
    edge.get("www.help.wide.example").assert_forwarded();
}

#[test]
fn a_list_of_hosts_counts_like_hosts_in_the_case() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    setup.policies().write_list("mirrors.txt", "# mirrors\nmirror.example\n\n*.cdn.example  # the rest\n");
    let case = CaseFile::new("listed", &[]).key("host_lists = [\"lists/mirrors.txt\"]");
    let edge = setup.case(case).start();
    edge.get("mirror.example").assert_blocked(403);
    edge.get("a.cdn.example").assert_blocked(403);
    edge.get("cdn.example").assert_forwarded();
    assert_eq!(edge.status().hosts(), 2);
}

/// Two cases over one host: which wins, in the words of the design.
#[test]
fn precedence_is_specific_then_enforce_then_refuse_then_lower_id() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("a-wide", &[".one.example", ".two.example"]))
        .case(CaseFile::new("b-exact", &["www.one.example"]).key("status = 410"))
        .case(CaseFile::new("c-longer", &[".www.two.example"]).key("status = 410"))
        .case(CaseFile::new("d-shadow", &["three.example"]).shadow())
        .case(CaseFile::new("e-enforce", &["three.example"]))
        .case(CaseFile::new("f-page", &["four.example"]))
        .case(CaseFile::new("g-refuse", &["four.example"]).refuse())
        .case(CaseFile::new("i-second", &["five.example"]))
        .case(CaseFile::new("h-first", &["five.example"]).key("status = 410"))
        .start();
    edge.get("www.one.example").assert_blocked(410);
    edge.get("a.www.two.example").assert_blocked(410);
    edge.get("three.example").assert_blocked(403);
    assert!(edge.connect().get("four.example", "/").is_none());
    edge.get("five.example").assert_blocked(410);
    let records = edge.finish();
    let winners: Vec<_> = of_kind(&records, "request.blocked")
        .iter()
        .map(|record| (record.text("case").to_owned(), record.texts("also").join(",")))
        .collect();
    let expected = [
        ("b-exact", "a-wide"),
        ("c-longer", "a-wide"),
        ("e-enforce", "d-shadow"),
        ("g-refuse", "f-page"),
        ("h-first", "i-second"),
    ];
    assert_eq!(winners, expected.map(|(case, also)| (case.to_owned(), also.to_owned())));
}

#[test]
fn a_specific_shadow_case_hides_no_wider_block_without_a_trace() {
    let origin = Origin::start();
    let edge = Setup::new()
        .origin(&origin)
        .case(CaseFile::new("a-wide", &[".site.example"]))
        .case(CaseFile::new("b-watch", &["www.site.example"]).shadow())
        .start();
    // The most specific pattern wins, so the shadow case does, and the record names the other.
    edge.get("www.site.example").assert_forwarded();
    let records = edge.finish();
    let record = only(&records, "request.shadowed");
    assert_eq!((record.text("case"), record.texts("also")), ("b-watch", vec!["a-wide"]));
}

#[test]
fn an_allowed_request_leaves_no_record() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"])).start();
    for _ in 0..10 {
        edge.get("b.example").assert_forwarded();
    }
    let records = edge.finish();
    assert!(!records.iter().any(|record| record.kind().starts_with("request.")), "{records:?}");
}

#[test]
fn client_addresses_are_kept_as_the_config_says() {
    let origin = Origin::start();
    for (privacy, check) in [
        ("full", (|client| client == "127.0.0.1") as fn(&str) -> bool),
        ("truncated", |client| client.starts_with("127.0.0.0")),
        ("pseudonym", |client| !client.is_empty() && client != "127.0.0.1"),
    ] {
        let edge = Setup::new()
            .origin(&origin)
            .audit(&format!("client = \"{privacy}\""))
            .case(CaseFile::new("a", &["a.example"]))
            .start();
        edge.get("a.example").assert_blocked(403);
        let records = edge.finish();
        let client = only(&records, "request.blocked").text("client").to_owned();
        assert!(check(&client), "{privacy}: `{client}`");
    }
}

#[test]
fn text_an_attacker_chose_stays_on_one_bounded_line() {
    let origin = Origin::start();
    let edge = Setup::new().origin(&origin).case(CaseFile::new("a", &["a.example"])).start();
    let agent = "\u{2028}\u{85}\"\\,{}\t".repeat(300);
    let path = format!("/{}", "x".repeat(3000));
    edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {agent}\r\n\r\n"))
        .unwrap()
        .assert_blocked(403);
    let records = edge.finish();
    let line = only(&records, "request.blocked").0.to_string();
    assert!(line.len() < 4 * 1024, "{} octets", line.len());
}

#[test]
fn an_exemption_is_recorded_as_one_beside_a_shadow_case() {
    let origin = Origin::start();
    let exempting = CaseFile::new("strict", &["site.example"])
        .table("[[exempt]]\nclients = [\"127.0.0.0/8\"]\nreason = \"evidence\"");
    let edge = Setup::new()
        .origin(&origin)
        .case(exempting)
        .case(CaseFile::new("trial", &["site.example"]).shadow())
        .start();
    edge.get("site.example").assert_forwarded();
    let records = edge.finish();
    let record = only(&records, "request.exempted");
    assert_eq!((record.text("case"), record.texts("also")), ("strict", vec!["trial"]));
    assert!(of_kind(&records, "request.shadowed").is_empty());
}

#[test]
fn a_start_that_no_edge_was_there_to_announce_is_announced_by_the_next() {
    let origin = Origin::start();
    let at = soon();
    let mut edge =
        Setup::new().origin(&origin).case(CaseFile::new("later", &["later.example"]).effective(at)).start();
    edge.kill9();
    wait_until("the case is due", || Timestamp::now() > at);
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    wait_until("it is announced", || !of_kind(&edge.records(), "case.effective").is_empty());
    edge.kill9();
    edge.start_again().unwrap_or_else(|ended| panic!("{}", ended.stderr));
    edge.get("later.example").assert_blocked(403);
    assert_eq!(of_kind(&edge.finish(), "case.effective").len(), 1, "and only once");
}
