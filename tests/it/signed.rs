//! Signed policy sets: k of n keys, every file, and no old set again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::audit::of_kind;
use crate::harness::tools::{Output, interdict};
use crate::harness::{CaseFile, Edge, Origin, Setup, wait_until};

/// A key that people sign with.
struct Key {
    path: PathBuf,
    public: String,
}

impl Key {
    #[track_caller]
    fn make(home: &Path, name: &str) -> Self {
        let path = home.join(format!("{name}.key"));
        let output = interdict(["policy", "keygen", "--name", name, "--out", path.to_str().unwrap()]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        Self { path, public: output.stdout.trim().to_owned() }
    }

    #[track_caller]
    fn sign(&self, policies: &Path, more: &[&str]) {
        let fixed = [
            "policy",
            "sign",
            "--key",
            self.path.to_str().unwrap(),
            "--policies",
            policies.to_str().unwrap(),
        ];
        let output = interdict(fixed.iter().chain(more).copied());
        assert_eq!(output.code, 0, "{}", output.stderr);
    }
}

fn case(id: &str) -> CaseFile {
    CaseFile::new(id, &[&format!("{id}.example")])
}

fn verify(edge: &Edge) -> Output {
    interdict(["policy", "verify", "--config", edge.config().to_str().unwrap()])
}

/// An edge that asks for the signature of `ann`, or of `ann` and `bob`, on a set signed by both.
fn edge(origin: &Origin, threshold: usize) -> (Edge, Key, Key) {
    let setup = Setup::new().origin(origin).case(case("first"));
    let (ann, bob) = (Key::make(&setup.home(), "ann"), Key::make(&setup.home(), "bob"));
    let policies = setup.policies().path().to_owned();
    ann.sign(&policies, &[]);
    bob.sign(&policies, &[]);
    let keys = format!("keys = [\"{}\", \"{}\"]\nthreshold = {threshold}", ann.public, bob.public);
    (setup.policy(&keys).start(), ann, bob)
}

/// The errors of the last reload, once they say `expected`; the set in force is the one with this revision.
#[track_caller]
fn assert_refused(edge: &Edge, revision: u64, expected: &str) {
    wait_until(expected, || edge.status().last_errors().contains(expected));
    let status = edge.status();
    assert_eq!((status.last_result(), status.revision()), ("rejected", revision));
    let records = edge.records();
    let rejected = of_kind(&records, "policy.rejected");
    let last = rejected.last().unwrap();
    assert_eq!(last.0["findings"][0]["rail"], "signature", "{}", last.0);
    assert!(last.0["errors"].to_string().contains(expected), "{}", last.0);
    assert_eq!(verify(edge).code, 1);
}

#[test]
fn a_signed_set_comes_into_force_and_its_record_says_who_signed_it() {
    let origin = Origin::start();
    let (edge, ann, bob) = edge(&origin, 2);
    edge.get("first.example").assert_blocked(403);
    let status = edge.change(|policies| {
        policies.write(&case("second"));
        ann.sign(policies.path(), &[]);
        bob.sign(policies.path(), &[]);
    });
    assert_eq!(status.cases(), 2);
    edge.get("second.example").assert_blocked(403);
    let output = verify(&edge);
    assert_eq!(
        (output.code, output.stdout.trim()),
        (0, "serial 2, signed by ann and bob"),
        "{}",
        output.stderr
    );
    let records = edge.finish();
    let applied = of_kind(&records, "policy.applied");
    let applied = applied.last().unwrap();
    assert_eq!((applied.number("serial"), applied.texts("signed_by")), (2, vec!["ann", "bob"]));
}

#[test]
fn a_change_without_its_signatures_is_refused_and_recorded_whatever_is_missing() {
    let origin = Origin::start();
    let (edge, ann, bob) = edge(&origin, 2);
    let policies = edge.policies().path().to_owned();
    let eve = Key::make(&edge.home(), "eve");
    // A case that somebody slipped in.
    edge.policies().write(&case("extra"));
    assert_refused(&edge, 1, "cases/extra.toml:1:1: error: the manifest does not name this file");
    edge.get("extra.example").assert_forwarded();
    // One signature where two are asked, the second by a key nobody knows.
    ann.sign(&policies, &[]);
    assert_refused(&edge, 1, "1 of the 2 signatures needed are there: by ann");
    eve.sign(&policies, &[]);
    assert_refused(&edge, 1, "1 of the 2 signatures needed are there: by ann");
    bob.sign(&policies, &[]);
    wait_until("both have signed", || edge.status().revision() == 2);
    edge.get("extra.example").assert_blocked(403);
    // A case that somebody took out, and one that somebody changed.
    edge.policies().remove_case("extra");
    assert_refused(
        &edge,
        2,
        "cases/extra.toml:1:1: error: the manifest names this file, and it is not there",
    );
    edge.get("extra.example").assert_blocked(403);
    edge.policies().write(&case("extra").key("except = [\"extra.example\"]"));
    assert_refused(&edge, 2, "cases/extra.toml:1:1: error: the file is another one than was signed");
    // No signatures at all.
    fs::remove_file(policies.join("manifest.sig")).unwrap();
    assert_refused(&edge, 2, "manifest.sig:1:1: error: the policy set has to be signed");
    edge.get("extra.example").assert_blocked(403);
}

#[test]
fn a_signature_by_another_key_of_the_same_name_is_none() {
    let origin = Origin::start();
    let (edge, _ann, _) = edge(&origin, 1);
    let elsewhere = edge.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let other = Key::make(&elsewhere, "ann");
    edge.policies().write(&case("second"));
    other.sign(edge.policies().path(), &[]);
    assert_refused(&edge, 1, "0 of the 1 signatures needed are there");
    edge.get("second.example").assert_forwarded();
}

#[test]
fn an_old_signed_set_cannot_be_played_again_not_even_after_a_restart() {
    let origin = Origin::start();
    let (mut edge, ann, _) = edge(&origin, 1);
    let policies = edge.policies().path().to_owned();
    let old: Vec<_> =
        ["manifest", "manifest.sig"].map(|name| (name, fs::read(policies.join(name)).unwrap())).into();
    edge.change(|policies| {
        policies.write(&case("second"));
        ann.sign(policies.path(), &[]);
    });
    let replay = |edge: &Edge| {
        old.iter().for_each(|(name, bytes)| fs::write(policies.join(name), bytes).unwrap());
        edge.policies().remove_case("second");
    };
    replay(&edge);
    wait_until("it is refused", || edge.status().last_errors().contains("serial 1 is not above 2"));
    edge.get("second.example").assert_blocked(403);
    edge.restart();
    assert_eq!(edge.status().last_result(), "last-good");
    assert!(edge.status().last_errors().contains("serial 1 is not above 2"));
    edge.get("second.example").assert_blocked(403);
    // Under a number of its own it is a new decision.
    edge.change(|policies| ann.sign(policies.path(), &["--serial", "3"]));
    edge.get("second.example").assert_forwarded();
    // And the set in force may be read again as often as one likes.
    edge.restart();
    assert_eq!(edge.status().last_result(), "applied");
}

#[test]
fn a_signature_that_is_added_to_the_set_in_force_is_read_once_and_changes_nothing() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(case("first"));
    let (ann, bob) = (Key::make(&setup.home(), "ann"), Key::make(&setup.home(), "bob"));
    let policies = setup.policies().path().to_owned();
    ann.sign(&policies, &[]);
    let keys = format!("keys = [\"{}\", \"{}\"]", ann.public, bob.public);
    let edge = setup.policy(&keys).start();
    bob.sign(&policies, &[]);
    let unchanged = |edge: &Edge| edge.reloads("unchanged");
    wait_until("the signature was noticed", || unchanged(&edge) > 0);
    edge.change(|policies| {
        policies.write(&case("second"));
        ann.sign(policies.path(), &[]);
    });
    let before = unchanged(&edge);
    // The regular comparison finds nothing new for two of its turns.
    let began = std::time::Instant::now();
    wait_until("two looks have passed", || began.elapsed() > std::time::Duration::from_millis(4_500));
    // A change that was heard late may have been looked at once more.
    assert!(unchanged(&edge) <= before + 1, "it is read again and again");
    assert_eq!((edge.status().revision(), edge.status().last_result()), (2, "applied"));
}

#[test]
fn an_edge_that_asks_for_signatures_does_not_start_on_a_set_without() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin).case(case("first"));
    let ann = Key::make(&setup.home(), "ann");
    let keys = format!("keys = [\"{}\"]", ann.public);
    let Err((_home, ended)) = setup.policy(&keys).try_start() else { panic!("it has started") };
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("has to be signed"), "{}", ended.stderr);
}

#[test]
fn a_key_that_others_may_read_signs_nothing_and_none_is_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    let ann = Key::make(&setup.home(), "ann");
    let policies = setup.policies().path().to_str().unwrap().to_owned();
    let path = ann.path.to_str().unwrap();
    let again = interdict(["policy", "keygen", "--name", "ann", "--out", path]);
    assert_eq!(again.code, 3, "{}", again.stdout);
    fs::set_permissions(&ann.path, fs::Permissions::from_mode(0o640)).unwrap();
    let output = interdict(["policy", "sign", "--key", path, "--policies", &policies]);
    assert_eq!(output.code, 2, "{}", output.stdout);
    assert!(output.stderr.contains("chmod 600"), "{}", output.stderr);
    assert!(!setup.policies().path().join("manifest").exists());
}
