//! Every reason for which a request is turned away is in the documentation.

use std::collections::BTreeSet;

use super::{assert_none, sources};

/// How the code says a reason.
const BEFORE: &[&str] = &["rejected(\"", "Failed(\"", "label: \"", "Err(\"", "ok_or(\""];

fn reasons() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources(&["src/listen"], &["rs"]) {
        for before in BEFORE {
            let texts = source.text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(texts.filter(|text| is_word(text)).map(str::to_owned));
        }
    }
    found
}

/// Other texts, such as those of errors, have spaces in them.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[test]
fn every_reason_of_a_rejection_is_documented() {
    let reasons = reasons();
    assert!(reasons.contains("slow-handshake") && reasons.contains("connections"), "{reasons:?}");
    let pages = sources(&["docs/configuration.md"], &["md"]);
    let is_known = |reason: &String| pages.iter().any(|page| page.text.contains(&format!("`{reason}`")));
    let unknown: Vec<String> = reasons.into_iter().filter(|reason| !is_known(reason)).collect();
    assert_none("not in docs/configuration.md", &unknown);
}
