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
    /// Numbers without a record that may be in pruned segments.
    may_be_pruned: u64,
    /// What had been pruned before the last record.
    pruned: Pruned,
}

/// What was pruned of the log, up to some place in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pruned {
    records: u64,
    /// Segments with gap records, which speak for numbers that nobody knows any more.
    with_gaps: u64,
}

impl Pruned {
    /// How many numbers of a hole from there to here may be of what was pruned in between.
    fn most_since(self, before: Self) -> u64 {
        if self.with_gaps > before.with_gaps { u64::MAX } else { self.records.saturating_sub(before.records) }
    }
}

/// What the ids of some records tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ids {
    processes: HashMap<u64, Process>,
    pruned: Pruned,
}

/// A process whose holes and gap records do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unexplained {
    pub(super) nonce: u64,
    /// Numbers of which there is no record.
    pub(super) holes: u64,
    /// Those among them that may be in pruned segments: as many as were pruned where the hole is.
    pub(super) may_be_pruned: u64,
    /// Events that its gap records count.
    pub(super) missed: u64,
}

impl Unexplained {
    /// Numbers without a record that cannot be in pruned segments.
    pub(super) fn left(&self) -> u64 {
        self.holes - self.may_be_pruned
    }

    /// Whether pruning alone accounts for it.
    pub(super) fn is_pruned(&self) -> bool {
        (self.left()..=self.holes).contains(&self.missed)
    }
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

    /// Takes in that here so many records were pruned.
    pub(super) fn prune(&mut self, records: u64, has_gaps: bool) {
        self.pruned.records = self.pruned.records.saturating_add(records);
        self.pruned.with_gaps += u64::from(has_gaps);
    }

    /// Takes in the ids of the segment that follows; returns the processes of which some were there before.
    pub(super) fn merge(&mut self, other: Self) -> Vec<u64> {
        let mut repeated = Vec::new();
        for (nonce, theirs) in other.processes {
            let ours = self.processes.entry(nonce).or_default();
            let last = ours.seen.ends().map_or(0, |(_, last)| last);
            let hole = theirs.seen.ends().map_or(0, |(first, _)| first.saturating_sub(last + 1));
            ours.may_be_pruned += hole.min(self.pruned.most_since(ours.pruned));
            ours.pruned = self.pruned;
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
        let all = self.processes.iter();
        let mut found: Vec<Unexplained> =
            all.filter_map(|(nonce, process)| process.unexplained(*nonce, self.pruned)).collect();
        found.sort_unstable_by_key(|process| process.nonce);
        found
    }
}

impl Process {
    /// `pruned` is what was pruned of the whole log.
    fn unexplained(&self, nonce: u64, pruned: Pruned) -> Option<Unexplained> {
        let (first, last) = self.seen.ends()?;
        let behind = self.through.saturating_sub(last).min(pruned.most_since(self.pruned));
        // Numbers start with 1.
        let holes = last.max(self.through).saturating_sub(self.seen.count() - u64::from(first == 0));
        let may_be_pruned = self.may_be_pruned.saturating_add(behind).min(holes);
        let found = Unexplained { nonce, holes, may_be_pruned, missed: self.missed };
        (holes != self.missed).then_some(found)
    }
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
        assert_eq!(ids.unexplained(), [Unexplained { nonce: 7, holes: 4, may_be_pruned: 0, missed: 3 }]);
        let mut more = Ids::default();
        more.insert(7, 10);
        more.gap(7, 1, 0);
        assert_eq!(ids.merge(more.clone()), [0; 0]);
        assert_eq!(ids.unexplained(), []);
        assert_eq!(ids.merge(more), [7]);
    }

    fn run(numbers: std::ops::RangeInclusive<u64>) -> Ids {
        let mut ids = Ids::default();
        numbers.for_each(|number| assert!(!ids.insert(7, number)));
        ids
    }

    #[test]
    fn holes_may_be_pruned_where_something_was_pruned_and_as_far_as_it_holds_so_much() {
        for (before, pruned, after, may_be_pruned, left) in [
            (1..=10, 5, 16..=20, 5, 0),
            (1..=10, 9, 16..=20, 5, 0),
            (1..=10, 4, 16..=20, 4, 1),
            (3..=10, 5, 16..=20, 5, 2),
        ] {
            let mut ids = run(before);
            let mut log = Ids::default();
            assert_eq!(log.merge(std::mem::take(&mut ids)), [0; 0]);
            log.prune(pruned, false);
            assert_eq!(log.merge(run(after)), [0; 0]);
            let [found] = log.unexplained()[..] else { panic!("one process has holes") };
            assert_eq!((found.may_be_pruned, found.left()), (may_be_pruned, left));
            assert_eq!(found.is_pruned(), left == 0);
        }
    }

    #[test]
    fn what_was_pruned_elsewhere_explains_nothing() {
        let mut log = Ids::default();
        log.merge(run(1..=10));
        log.merge(run(16..=20));
        log.prune(100, false);
        log.merge(run(21..=22));
        let [found] = log.unexplained()[..] else { panic!("one process has holes") };
        assert_eq!((found.holes, found.may_be_pruned, found.is_pruned()), (5, 0, false));
    }

    #[test]
    fn a_pruned_gap_record_may_have_spoken_for_any_number() {
        let mut log = Ids::default();
        log.prune(3, true);
        log.merge(run(50..=60));
        let [found] = log.unexplained()[..] else { panic!("one process has holes") };
        assert_eq!((found.may_be_pruned, found.is_pruned()), (49, true));
        // Gap records that count more than there are holes are wrong, whatever was pruned.
        log.processes.get_mut(&7).unwrap().missed = 50;
        assert!(!log.unexplained()[0].is_pruned());
    }
}
