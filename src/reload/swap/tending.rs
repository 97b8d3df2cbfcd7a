//! What is looked after between reloads.

use std::sync::Arc;

use super::super::authority::Authority;
use super::super::source::Writers;
use super::Swapper;

impl Swapper {
    /// Keeps the set in force if the disk has refused to before.
    pub(in crate::reload) fn tend_kept(&mut self) {
        // While the directory is another process's the set waits.
        let Authority::Own(store) = &self.authority else { return };
        if let Some(refused) = self.unkept.take() {
            self.unkept = refused.tend(self.gate.ruleset().revision(), store, self.builder.contents());
        }
    }

    /// Merges the names of the set in force when that is worth it, beside the traffic, and keeps them for a restart.
    pub(in crate::reload) fn tend_names(&mut self) {
        if let Some(merged) = self.names.take_merged()
            && let Some(same) = self.gate.ruleset().with_merged(&merged)
        {
            tracing::info!(revision = %same.revision(), bytes = same.index_bytes(), "the names were merged");
            self.builder.moved(&same);
            self.retired.push(self.gate.replace(Arc::new(same)));
        }
        if self.authority.is_own() {
            self.names.tend(&self.gate.ruleset(), self.builder.book(), self.builder.known());
        }
    }

    /// Drops the replaced rulesets that no request holds any more.
    pub fn drop_retired(&mut self) {
        self.retired.retain(|ruleset| Arc::strong_count(ruleset) > 1);
    }

    /// Notes what is being written, for the next start.
    pub(in crate::reload) fn tend_unfinished(&mut self, writers: &mut dyn Writers) {
        if self.authority.is_own() {
            self.unfinished.note(writers.at_work());
        }
    }
}
