//! Names that objects hang on, and are struck off together.
//!
//! Every object, every fill under way and every request on its way to one holds the entry of its host. When a case
//! blocks the host, the entry is struck: from that moment nothing that holds it is served or stored. Whoever asks
//! for the host after a reinstatement gets a new entry, on which nothing hangs yet.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;

use crate::limits;

/// A name on a [`Roll`].
#[derive(Debug)]
pub(super) struct Entry<K> {
    pub(super) name: K,
    struck: AtomicBool,
}

impl<K> Entry<K> {
    /// Whether whatever hangs on this entry is dead.
    pub(super) fn is_struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }
}

/// The names that something hangs on now.
#[derive(Debug)]
pub(super) struct Roll<K> {
    hasher: RandomState,
    parts: Box<[RwLock<Part<K>>]>,
}

#[derive(Debug)]
struct Part<K> {
    entries: HashMap<K, Arc<Entry<K>>>,
    /// How long the part may get before those on which nothing hangs any more are let go.
    sweep_at: usize,
}

impl<K: Hash + Eq + Clone + Debug> Roll<K> {
    pub(super) fn new() -> Self {
        let part = || {
            let sweep_at = limits::CACHE_ROLL_SWEEP / limits::CACHE_SHARDS;
            RwLock::new(Part { entries: HashMap::new(), sweep_at })
        };
        let parts = std::iter::repeat_with(part).take(limits::CACHE_SHARDS).collect();
        Self { hasher: RandomState::new(), parts }
    }

    /// The entry of a name, made if there is none, as long as `still` holds; it is asked under the lock, so that
    /// [`Roll::all`] either shows the entry or happens before the question.
    pub(super) fn enter(&self, name: &K, still: impl Fn() -> bool) -> Option<Arc<Entry<K>>> {
        let part = self.part(name)?;
        {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = part.entries.get(name) {
                return still().then(|| Arc::clone(entry));
            }
        }
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        if !still() {
            return None;
        }
        if part.entries.len() >= part.sweep_at {
            part.entries.retain(|_, entry| Arc::strong_count(entry) > 1);
            part.sweep_at = (2 * part.entries.len()).max(limits::CACHE_ROLL_SWEEP / limits::CACHE_SHARDS);
        }
        let new = || Arc::new(Entry { name: name.clone(), struck: AtomicBool::new(false) });
        Some(Arc::clone(part.entries.entry(name.clone()).or_insert_with(new)))
    }

    /// Every entry, one part after the other.
    pub(super) fn all(&self) -> Vec<Arc<Entry<K>>> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(part.entries.values().map(Arc::clone));
        }
        all
    }

    /// Ends an entry, and whatever hangs on it.
    pub(super) fn strike(&self, entry: &Arc<Entry<K>>) {
        entry.struck.store(true, Ordering::Release);
        if let Some(part) = self.part(&entry.name) {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            if part.entries.get(&entry.name).is_some_and(|listed| Arc::ptr_eq(listed, entry)) {
                part.entries.remove(&entry.name);
            }
        }
    }

    fn part(&self, name: &K) -> Option<&RwLock<Part<K>>> {
        let hash = usize::try_from(self.hasher.hash_one(name) >> 32).unwrap_or_default();
        self.parts.get(hash % self.parts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struck_entry_is_dead_and_the_next_one_of_its_name_is_not() {
        let roll = Roll::new();
        let before = roll.enter(&"a", || true).unwrap();
        assert!(Arc::ptr_eq(&before, &roll.enter(&"a", || true).unwrap()));
        roll.strike(&before);
        let after = roll.enter(&"a", || true).unwrap();
        assert!(before.is_struck() && !after.is_struck());
        // Striking twice does not reach the new one.
        roll.strike(&before);
        assert!(Arc::ptr_eq(&after, &roll.enter(&"a", || true).unwrap()));
    }

    #[test]
    fn nobody_enters_when_the_moment_has_passed() {
        let roll = Roll::new();
        assert!(roll.enter(&"a", || false).is_none());
        assert!(roll.all().is_empty());
    }

    #[test]
    fn names_on_which_nothing_hangs_are_let_go() {
        let roll = Roll::new();
        let held: Vec<_> = (0..100).map(|name| roll.enter(&name, || true).unwrap()).collect();
        for name in 100..100_000 {
            roll.enter(&name, || true).unwrap();
        }
        assert!(roll.all().len() <= 4 * limits::CACHE_ROLL_SWEEP, "{}", roll.all().len());
        for entry in &held {
            assert!(Arc::ptr_eq(entry, &roll.enter(&entry.name, || true).unwrap()));
        }
    }
}
