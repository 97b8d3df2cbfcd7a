//! Lists from elsewhere, which shrink, grow and break overnight.

use std::collections::BTreeMap;

use super::facts::ListFacts;
use super::{Finding, Rail, Settings, percent};
use crate::limits;

type Lists = BTreeMap<String, ListFacts>;

/// What is odd about the lists that are new or have changed. One that is not named any more is none of these: its
/// names count as taken out.
pub(super) fn findings(before: &Lists, after: &Lists, settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, now) in after {
        let earlier = before.get(path);
        if earlier.is_some_and(|earlier| earlier.digest == now.digest) {
            continue;
        }
        found.extend(emptied(path, earlier, now));
        found.extend(unparsable(path, now, settings));
        let Some(earlier) = earlier.filter(|earlier| earlier.entries > 0 && now.entries > 0) else {
            continue;
        };
        if earlier.entries.max(now.entries) >= settings.floor {
            found.extend(shrunk(path, earlier, now, settings));
            found.extend(grown(path, earlier, now, settings));
        }
    }
    bounded(found)
}

/// The first lists of each rail, and how many more there are: a directory of ten thousand lists may break at once.
fn bounded(found: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    let mut counts: BTreeMap<Rail, usize> = BTreeMap::new();
    for finding in found {
        let count = counts.entry(finding.rail).or_default();
        *count += 1;
        if *count <= limits::GUARD_LISTS_TOLD {
            kept.push(finding);
        }
    }
    for (rail, count) in counts {
        let more = count.saturating_sub(limits::GUARD_LISTS_TOLD);
        if let Some(last) = kept.iter_mut().rfind(|finding| finding.rail == rail).filter(|_| more > 0) {
            last.message.push_str(&format!("; so it is with {more} more lists"));
        }
    }
    kept
}

fn emptied(path: &str, earlier: Option<&ListFacts>, now: &ListFacts) -> Option<Finding> {
    let earlier = earlier.filter(|earlier| earlier.entries > 0 && now.entries == 0)?;
    let message = format!("`{path}` had {} entries and has none", earlier.entries);
    Some(finding(Rail::ListEmptied, path, message, 0, 1))
}

/// Below the floor too: a short list that is half rubbish is no list of hosts.
fn unparsable(path: &str, now: &ListFacts, settings: &Settings) -> Option<Finding> {
    let all = now.entries.saturating_add(now.bad);
    let share = percent(now.bad, all);
    (now.bad > 0 && share >= settings.list_bad_percent).then(|| {
        let message = format!("{} of the {all} entries of `{path}` are no host patterns, {share} %", now.bad);
        finding(
            Rail::ListUnparsable,
            path,
            message,
            now.bad,
            all.saturating_mul(settings.list_bad_percent) / 100,
        )
    })
}

fn shrunk(path: &str, earlier: &ListFacts, now: &ListFacts, settings: &Settings) -> Option<Finding> {
    let lost = earlier.entries.saturating_sub(now.entries);
    let share = percent(lost, earlier.entries);
    (lost > 0 && share >= settings.list_shrink_percent).then(|| {
        let message = format!(
            "`{path}` has {} entries, after {} before: {share} % fewer",
            now.entries, earlier.entries
        );
        let limit = earlier.entries.saturating_mul(100 - settings.list_shrink_percent.min(100)) / 100;
        finding(Rail::ListShrunk, path, message, now.entries, limit)
    })
}

fn grown(path: &str, earlier: &ListFacts, now: &ListFacts, settings: &Settings) -> Option<Finding> {
    let limit = earlier.entries.saturating_mul(settings.list_growth);
    (now.entries >= limit).then(|| {
        let fold = now.entries / earlier.entries.max(1);
        let message = format!(
            "`{path}` has {} entries, after {} before: {fold} times as many",
            now.entries, earlier.entries
        );
        finding(Rail::ListGrew, path, message, now.entries, limit)
    })
}

fn finding(rail: Rail, path: &str, message: String, found: u64, limit: u64) -> Finding {
    Finding { rail, message, found, limit, first: vec![path.to_owned()], cases: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found when a list goes from so many entries to so many, with a floor of ten.
    fn found(before: u64, after: u64) -> Vec<Rail> {
        let list = |entries: u64, mark: u8| {
            let facts = ListFacts { digest: [mark; 32], entries, bad: 0 };
            Lists::from([("lists/a.txt".to_owned(), facts)])
        };
        let settings = Settings { floor: 10, ..Settings::default() };
        findings(&list(before, 1), &list(after, 2), &settings).iter().map(|finding| finding.rail).collect()
    }

    #[test]
    fn a_list_is_measured_by_share_when_it_is_long_before_or_after() {
        assert_eq!(found(2, 10), [Rail::ListGrew]);
        assert_eq!(found(10, 2), [Rail::ListShrunk]);
        assert_eq!(found(2, 9), []);
        assert_eq!(found(9, 2), []);
    }
}
