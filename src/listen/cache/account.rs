//! The memory of the cache, to the byte: what is not reserved is not taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::Metrics;

/// How much may be taken, and how much is.
#[derive(Debug)]
pub(super) struct Account {
    bound: usize,
    used: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// Memory that may be used, until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    account: Arc<Account>,
    bytes: usize,
}

impl Account {
    pub(super) fn new(bound: usize, metrics: Arc<Metrics>) -> Self {
        metrics.cache.limit.set(gauge(bound));
        Self { bound, used: AtomicUsize::new(0), metrics }
    }

    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// Takes memory if it is there.
    pub(super) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Reserved> {
        let grown = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.bound);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).ok()?;
        self.metrics.cache.bytes.add(gauge(bytes));
        Some(Reserved { account: Arc::clone(self), bytes })
    }
}

impl Reserved {
    /// How much it is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts two reservations of one account together.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.give_back(surplus);
    }

    fn give_back(&self, bytes: usize) {
        self.account.used.fetch_sub(bytes, Ordering::AcqRel);
        self.account.metrics.cache.bytes.sub(gauge(bytes));
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// A size as a gauge shows it.
pub(super) fn gauge(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_given_back_adds_up() {
        let account = Arc::new(Account::new(100, Arc::new(Metrics::new().unwrap())));
        let mut first = account.try_take(60).unwrap();
        assert!(account.try_take(41).is_none());
        first.join(account.try_take(40).unwrap());
        assert!(account.try_take(1).is_none());
        first.shrink(10);
        assert_eq!(first.bytes(), 10);
        let second = account.try_take(90).unwrap();
        assert_eq!(account.metrics.cache.bytes.get(), 100);
        drop((first, second));
        assert_eq!(account.metrics.cache.bytes.get(), 0);
        assert!(account.try_take(usize::MAX).is_none());
    }
}
