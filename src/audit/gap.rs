//! Events that could not be written, counted exactly.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    event::Kind,
    repeated::Repeated,
    text::{write_number, write_ours},
};

/// Cases and kinds that are counted one by one; beyond, one count per kind stands under the case `*`.
const MAX_COUNTS: usize = 4096;
/// Counts in one gap record: with the sixteen kinds under `*` it stays below the reserve of a segment.
const MAX_IN_RECORD: usize = 72;
/// The longest case id there is.
const MAX_CASE: usize = 64;
/// Stands for every case that is not counted by itself; no case id can be this.
const OTHERS: &str = "*";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// What was missed since the last gap record, owned by the journal's lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gap {
    counts: BTreeMap<(String, Kind), Count>,
    missed: u64,
}

impl Gap {
    pub(super) fn is_empty(&self) -> bool {
        self.missed == 0
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Counts one event.
    pub(super) fn count(&mut self, case: Option<&str>, kind: Kind, now: Timestamp) {
        let case = case.unwrap_or_default();
        let valid = case.len() <= MAX_CASE
            && case.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let key = (if valid { case } else { OTHERS }.to_owned(), kind);
        let known = self.counts.len() < MAX_COUNTS || self.counts.contains_key(&key);
        self.add(
            if known { key } else { (OTHERS.to_owned(), kind) },
            Count { count: 1, first: now, last: now },
        );
    }

    fn add(&mut self, key: (String, Kind), count: Count) {
        self.missed += count.count;
        self.counts.entry(key).and_modify(|known| known.add(count)).or_insert(count);
    }

    /// Takes as much as one gap record holds.
    pub(super) fn take_some(&mut self) -> Self {
        let mut taken = Self::default();
        while taken.counts.len() < MAX_IN_RECORD {
            let Some((key, count)) = self.counts.pop_first() else { break };
            self.missed -= count.count;
            taken.add(key, count);
        }
        taken
    }

    /// The same as [`Self::take_all`] would take, for keeping.
    pub(super) fn summary(&self) -> Self {
        self.clone().take_all()
    }

    /// Takes everything in a form that fits into one record: what is too much is added up under `*`.
    pub(super) fn take_all(&mut self) -> Self {
        let mut taken = self.take_some();
        for ((_, kind), count) in std::mem::take(self).counts {
            taken.add((OTHERS.to_owned(), kind), count);
        }
        taken
    }

    /// Puts back what could not be written after all.
    pub(super) fn put_back(&mut self, taken: Self) {
        for (key, count) in taken.counts {
            self.add(key, count);
        }
    }

    /// The fields of the gap record: `,"missed":…`. `through` is the ordinal up to which it speaks: what was missed
    /// may have taken the last numbers, and then no later record shows that there were any.
    pub(super) fn fields(&self, out: &mut Vec<u8>, through: u64) {
        out.extend_from_slice(b",\"missed\":");
        write_number(out, self.missed);
        out.extend_from_slice(b",\"through\":");
        write_number(out, through);
        out.extend_from_slice(b",\"counts\":[");
        for (index, ((case, kind), count)) in self.counts.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            if !case.is_empty() {
                out.extend_from_slice(b"\"case\":");
                write_ours(out, case, MAX_CASE);
                out.push(b',');
            }
            out.extend_from_slice(b"\"kind\":");
            write_ours(out, kind.as_str(), MAX_CASE);
            out.extend_from_slice(b",\"count\":");
            write_number(out, count.count);
            out.push(b'}');
        }
        let mut texts = Repeated::default();
        for (name, time) in [
            ("],\"first\":", self.counts.values().map(|count| count.first).min()),
            (",\"last\":", self.counts.values().map(|count| count.last).max()),
        ] {
            out.extend_from_slice(name.as_bytes());
            write_ours(out, texts.time(time.unwrap_or(Timestamp::UNIX_EPOCH)), MAX_CASE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::journal::SLOT, *};

    #[test]
    fn the_largest_gap_record_fits_into_its_slot() {
        let mut gap = Gap::default();
        for number in 0..2 * MAX_COUNTS {
            let kind = Kind::ALL[number % Kind::ALL.len()];
            gap.count(Some(&format!("{number:064}")), kind, Timestamp::UNIX_EPOCH);
        }
        gap.counts.values_mut().for_each(|count| count.count = u64::MAX / 10_000);
        gap.missed = gap.counts.values().map(|count| count.count).sum();
        let mut out = Vec::new();
        gap.take_all().fields(&mut out, u64::MAX);
        // A record has a head before its fields.
        assert!(out.len() + 64 < SLOT, "{}", out.len());
    }

    #[test]
    fn counts_are_bounded_and_their_sum_is_exact() {
        let mut gap = Gap::default();
        for number in 0..3 * MAX_COUNTS {
            gap.count(Some(&number.to_string()), Kind::RequestBlocked, Timestamp::UNIX_EPOCH);
        }
        gap.count(Some("no \"case\" id"), Kind::ConnectionCut, Timestamp::UNIX_EPOCH);
        gap.count(None, Kind::PolicyApplied, Timestamp::UNIX_EPOCH);
        let total = 3 * MAX_COUNTS as u64 + 2;
        assert_eq!(gap.missed(), total);
        assert!(gap.counts.len() <= MAX_COUNTS + Kind::ALL.len());
        let before = gap.clone();
        let taken = gap.take_some();
        assert_eq!(gap.missed() + taken.missed(), total);
        gap.put_back(taken);
        assert_eq!(gap, before);
        assert_eq!(gap.take_all().missed(), total);
        assert!(gap.is_empty());
    }
}
