//! What of the lane is not on the disk yet; `acknowledge = "disk"` only.

use super::{OwnFile, Part, State, Unsynced};

/// Parts that are not synced, as a rule.
const FEW_PARTS: usize = 4;

impl State {
    /// Takes over what has to be synced, so that it can be done outside the lock.
    pub(in crate::audit) fn take_unsynced(&mut self) -> Unsynced {
        // Whoever fills a file puts a part there, and asks for no memory.
        let mut parts = std::mem::replace(&mut self.unsynced, Vec::with_capacity(FEW_PARTS));
        parts.extend(self.lane_part());
        Unsynced { parts, new_names: std::mem::take(&mut self.new_names), ticket: self.written }
    }

    pub(super) fn lane_part(&self) -> Option<Part> {
        let lane = self.lane.as_ref()?;
        Some(Part { file: lane.file().clone(), from: self.lane_synced, end: lane.end() })
    }

    /// All of it is on the disk.
    pub(in crate::audit) fn synced(&mut self, unsynced: &Unsynced) {
        for part in &unsynced.parts {
            if self.lane.as_ref().is_some_and(|lane| part.is_of(lane.file())) {
                self.lane_synced = self.lane_synced.max(part.end);
            }
            // It was full in the meantime.
            for left in self.unsynced.iter_mut().filter(|left| part.is_of(&left.file)) {
                left.from = left.from.max(part.end);
            }
        }
        self.unsynced.retain(|part| !part.is_empty());
        self.settled = self.settled.max(unsynced.ticket);
    }

    /// After a failed sync: nothing more goes into the file there is. Returns all that has to be written once more,
    /// with what was recorded since.
    pub(in crate::audit) fn distrust(&mut self, failed: Unsynced) -> Unsynced {
        self.abandon();
        let mut parts = failed.parts;
        for part in std::mem::take(&mut self.unsynced) {
            match parts.iter_mut().find(|known| known.is_of(&part.file)) {
                Some(known) => known.end = known.end.max(part.end),
                None => parts.push(part),
            }
        }
        parts.retain(|part| !part.is_empty());
        Unsynced { parts, new_names: std::mem::take(&mut self.new_names), ticket: self.written }
    }

    /// Takes in files that hold once more what others hold. Where they begin the others end.
    pub(in crate::audit) fn adopt(&mut self, copies: Vec<OwnFile>) {
        self.retired.extend(copies);
    }

    /// The disk takes none of it: those who wait are answered all the same, and counted. What was recorded since is
    /// for the next round.
    pub(in crate::audit) fn give_up(&mut self, unsynced: &Unsynced) {
        self.unsynced_events += unsynced.ticket.saturating_sub(self.settled);
        self.settled = self.settled.max(unsynced.ticket);
    }
}
