//! Which ids were given, told by the ids alone: each process numbers its events without a hole, and gap records
//! count those that have no record.

use std::collections::HashMap;

/// Numbers, as runs that are apart from each other, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// Adds the numbers from `first` to `last`; returns whether one of them was there before.
    fn insert(&mut self, first: u64, last: u64) -> bool {
        if let Some(run) = self.0.last_mut()
            && run.1 + 1 == first
        {
            run.1 = last;
            return false;
        }
        let from = self.0.partition_point(|run| run.1 + 1 < first);
        let to = self.0.partition_point(|run| run.0 <= last.saturating_add(1));
        let touched = self.0.get(from..to).unwrap_or_default();
        let repeated = touched.iter().any(|run| run.0 <= last && run.1 >= first);
        let merged = touched.iter().fold((first, last), |sum, run| (sum.0.min(run.0), sum.1.max(run.1)));
        self.0.splice(from..to, [merged]);
        repeated
    }

    /// The smallest and the largest.
    fn ends(&self) -> Option<(u64, u64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// How many.
    fn count(&self) -> u64 {
        self.0.iter().map(|run| run.1 - run.0 + 1).sum()
    }
}

/// What one process's ids tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    seen: Runs,
    missed: u64,
    /// The greatest number that a gap record speaks of.
    through: u64,
}

/// What the ids of some records tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ids {
    processes: HashMap<u64, Process>,
}

/// A process whose holes and gap records do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unexplained {
    pub(super) nonce: u64,
    /// Numbers of which there is no record.
    pub(super) holes: u64,
    /// Events that its gap records count.
    pub(super) missed: u64,
    /// Whether its first numbers are here.
    pub(super) from_start: bool,
}

impl Ids {
    /// Takes in one id; returns whether it was there before.
    pub(super) fn insert(&mut self, nonce: u64, ordinal: u64) -> bool {
        self.processes.entry(nonce).or_default().seen.insert(ordinal, ordinal)
    }

    /// Takes in what a gap record counts, up to the number `through`.
    pub(super) fn gap(&mut self, nonce: u64, missed: u64, through: u64) {
        let process = self.processes.entry(nonce).or_default();
        process.through = process.through.max(through);
        process.missed = process.missed.saturating_add(missed);
    }

    /// Takes in the ids of other records; returns the processes of which some were there before.
    pub(super) fn merge(&mut self, other: Self) -> Vec<u64> {
        let mut repeated = Vec::new();
        for (nonce, theirs) in other.processes {
            let ours = self.processes.entry(nonce).or_default();
            ours.missed = ours.missed.saturating_add(theirs.missed);
            ours.through = ours.through.max(theirs.through);
            let mut again = false;
            for run in theirs.seen.0 {
                again |= ours.seen.insert(run.0, run.1);
            }
            if again {
                repeated.push(nonce);
            }
        }
        repeated.sort_unstable();
        repeated
    }

    pub(super) fn processes(&self) -> u64 {
        self.processes.len() as u64
    }

    pub(super) fn missed(&self) -> u64 {
        self.processes.values().map(|process| process.missed).fold(0, u64::saturating_add)
    }

    /// The processes whose holes are not what their gap records count, by nonce.
    pub(super) fn unexplained(&self) -> Vec<Unexplained> {
        let mut found: Vec<Unexplained> = self.processes.iter().filter_map(unexplained).collect();
        found.sort_unstable_by_key(|process| process.nonce);
        found
    }
}

fn unexplained((nonce, process): (&u64, &Process)) -> Option<Unexplained> {
    let (first, last) = process.seen.ends()?;
    let last = last.max(process.through);
    // Numbers start with 1.
    let holes = last.saturating_sub(process.seen.count() - u64::from(first == 0));
    let found = Unexplained { nonce: *nonce, holes, missed: process.missed, from_start: first <= 1 };
    (holes != process.missed).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_the_set_of_what_went_in(spans in prop::collection::vec((0u64..60, 0u64..8), 0..40)) {
            let mut runs = Runs::default();
            let mut naive = BTreeSet::new();
            for (first, length) in spans {
                let last = first + length;
                let repeated = (first..=last).any(|number| naive.contains(&number));
                prop_assert_eq!(runs.insert(first, last), repeated);
                naive.extend(first..=last);
                prop_assert_eq!(runs.count(), naive.len() as u64);
                prop_assert!(runs.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
            prop_assert_eq!(runs.ends(), naive.first().copied().zip(naive.last().copied()));
        }
    }

    #[test]
    fn holes_are_explained_by_what_gap_records_count() {
        let mut ids = Ids::default();
        for ordinal in [1, 2, 5, 6, 9] {
            assert!(!ids.insert(7, ordinal));
        }
        ids.gap(7, 3, 0);
        assert_eq!(ids.unexplained(), [Unexplained { nonce: 7, holes: 4, missed: 3, from_start: true }]);
        let mut more = Ids::default();
        more.insert(7, 10);
        more.gap(7, 1, 0);
        assert_eq!(ids.merge(more.clone()), [0; 0]);
        assert_eq!(ids.unexplained(), []);
        assert_eq!(ids.merge(more), [7]);
    }
}
