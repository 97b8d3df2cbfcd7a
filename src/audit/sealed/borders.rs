//! Where the sequence of a log jumps for a reason: a new epoch, or segments that were pruned.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use super::{epoch::Epoch, index::SegmentIndex, names::EPOCHS};
use crate::audit::files::{PRUNED, names_in};

/// The jumps that the directory accounts for.
#[derive(Debug, Default)]
pub(in crate::audit) struct Borders {
    /// The first `seq` of each epoch.
    epochs: BTreeSet<u64>,
    /// The first `seq` of a pruned segment, and the one after its last.
    pruned: BTreeMap<u64, u64>,
}

impl Borders {
    /// Reads them from the audit directory. A file that cannot be understood accounts for nothing.
    pub(in crate::audit) fn read(directory: &Path) -> io::Result<Self> {
        let mut borders = Self::default();
        for name in names_in(&directory.join(EPOCHS))? {
            let bytes = std::fs::read(directory.join(EPOCHS).join(name))?;
            borders.epochs.extend(serde_json::from_slice::<Epoch>(&bytes).ok().map(|epoch| epoch.first_seq));
        }
        for name in names_in(&directory.join(PRUNED))? {
            let bytes = std::fs::read(directory.join(PRUNED).join(name))?;
            let index = SegmentIndex::parse(&bytes).ok();
            borders.pruned.extend(index.map(|index| (index.first_seq, index.first_seq + index.records)));
        }
        Ok(borders)
    }

    /// Whether no record is missing between `expected` and `found`.
    pub(in crate::audit) fn explain(&self, expected: u64, found: u64) -> bool {
        let mut at = expected;
        while at < found {
            let epoch = self.epochs.range(at + 1..=found).next().copied();
            match self.pruned.get(&at).copied().or(epoch) {
                Some(next) if next > at => at = next,
                _ => return false,
            }
        }
        at == found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jumps_that_are_accounted_for_are_no_holes() {
        let borders = Borders {
            epochs: BTreeSet::from([1, 500]),
            pruned: BTreeMap::from([(1, 11), (11, 21), (41, 51)]),
        };
        for (expected, found, explained) in [
            (1, 1, true),
            (1, 11, true),
            (1, 21, true),
            (1, 22, false),
            (2, 21, false),
            (41, 51, true),
            (60, 500, true),
            (60, 501, false),
            (60, 499, false),
            (500, 501, false),
            (7, 5, false),
        ] {
            assert_eq!(borders.explain(expected, found), explained, "{expected} {found}");
        }
    }
}
