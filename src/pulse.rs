//! A sign of life: beaten by whoever has to get its work done, looked at by the watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared between the one that beats and the ones that look.
#[derive(Debug, Clone)]
pub struct Pulse {
    since: Instant,
    /// Milliseconds from `since` to the last beat; the largest number before the first.
    last_ms: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { since: Instant::now(), last_ms: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl Pulse {
    /// It is alive now.
    pub fn beat(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// How long ago it last was; nothing before the first beat.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        match self.last_ms.load(Ordering::Relaxed) {
            u64::MAX => None,
            last_ms => Some(self.since.elapsed().saturating_sub(Duration::from_millis(last_ms))),
        }
    }

    /// Whether it was alive within this time.
    #[must_use]
    pub fn is_alive(&self, within: Duration) -> bool {
        self.age().is_some_and(|age| age <= within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_alive_before_its_first_beat() {
        let pulse = Pulse::default();
        assert!(!pulse.is_alive(Duration::MAX));
        pulse.clone().beat();
        assert!(pulse.is_alive(Duration::from_secs(60)));
    }
}
