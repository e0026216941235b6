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

    /// Whether nothing was let through or held back for a whole interval.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every) && self.suppressed == 0
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
        assert!(limit.is_quiet(start));
        assert_eq!(limit.pass(at(0)), Some(0));
        assert_eq!(limit.pass(at(1)), None);
        assert_eq!(limit.pass(at(59)), None);
        assert!(!limit.is_quiet(at(100)), "two were held back and must be told of");
        assert_eq!(limit.pass(at(60)), Some(2));
        assert!(!limit.is_quiet(at(119)));
        assert!(limit.is_quiet(at(120)));
    }
}
