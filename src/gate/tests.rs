//! What a verdict leaves behind.

use std::sync::Mutex;

use super::*;
use crate::audit::Options;
use crate::identify::{RequestParts, Version, identify};
use crate::policy::sample::{case, rules, second};

/// A clock that is a second further each time somebody looks.
#[derive(Debug)]
struct Ticking(Mutex<i64>);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let mut seconds = self.0.lock().unwrap();
        *seconds += 1;
        second(*seconds)
    }
}

#[test]
fn a_record_and_its_answer_are_of_the_time_by_which_the_verdict_was_given() {
    let home = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(Ticking(Mutex::default()));
    let (audit, _) = Audit::open(Options::new(home.path(), "edge"), Arc::clone(&clock)).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let ruleset = Arc::new(rules(vec![case("C-1", &["a.example"])]));
    let gate = Gate::new(Arc::clone(&ruleset), Arc::new(audit), metrics, Arc::clone(&clock));
    let hosts: [&[u8]; 1] = [b"a.example"];
    let parts = RequestParts {
        version: Version::Http11,
        method: "GET",
        target: b"/",
        authority: None,
        hosts: &hosts,
        sni: None,
    };
    let asked = Asked {
        identity: &identify(&parts).unwrap(),
        client: [192, 0, 2, 1].into(),
        listener: "",
        tls: None,
        protocol: "HTTP/1.1",
        method: "GET",
        path: b"/",
        user_agent: None,
        ask: Ask { head: false, accept: None, accept_language: None, content_type: None },
    };
    let before = clock.now();
    let fast = gate.block(&asked).unwrap().at();
    let Ruling::Enforce(full) = gate.judge(&ruleset, &asked) else { panic!("it is let through") };
    let mut judged = vec![fast, full.at()];
    let after = clock.now();
    assert!(judged.iter().all(|at| before < *at && *at < after), "{judged:?}");
    gate.audit().close().unwrap();
    let lines: String = std::fs::read_dir(home.path().join("segments"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    judged.retain(|at| !lines.contains(&format!("\"time\":\"{at:.6}\"")));
    assert_eq!(judged, [], "{lines}");
}
