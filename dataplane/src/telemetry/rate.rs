//! Log lines that may not come more often than so.

use std::time::{Duration, Instant};

/// Lets one occurrence through per interval and counts the others.
#[derive(Debug)]
pub(crate) struct RateLimit {
    every: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl RateLimit {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, last: None, suppressed: 0 }
    }

    /// `Some(n)`: log now; `n` earlier occurrences were not logged. `None`: don't.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.every) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Whether the next one would be let through. What was held back until then is still to be told.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every)
    }

    /// How many were held back and not told of yet.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_per_interval_and_the_rest_is_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limit = RateLimit::new(Duration::from_secs(60));
        assert!(limit.is_over(start));
        assert_eq!(limit.pass(at(0)), Some(0));
        assert_eq!(limit.pass(at(1)), None);
        assert_eq!(limit.pass(at(59)), None);
        assert_eq!((limit.is_over(at(59)), limit.is_over(at(60))), (false, true));
        assert_eq!(limit.suppressed(), 2);
        assert_eq!(limit.pass(at(60)), Some(2));
        assert_eq!(limit.suppressed(), 0);
        assert!(!limit.is_over(at(119)) && limit.is_over(at(120)));
    }
}
