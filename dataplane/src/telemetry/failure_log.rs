//! Origin failures in the log, at a bearable rate.
//!
//! A worker doesn't log: it sends an event, and the event writer turns those about origins into log lines, one
//! per origin and reason every few seconds however many requests fail.

use super::events::OriginFailure;
use super::rate::RateLimit;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(10);
/// How many (origin, reason) pairs are told apart; further ones wait until the interval of another is over.
const PAIRS_LIMIT: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    pairs: HashMap<(Arc<str>, &'static str), RateLimit>,
}

impl FailureLog {
    /// Whether to log this failure now, and how many like it were held back before.
    fn pass(&mut self, failure: &OriginFailure, now: Instant) -> Option<u64> {
        let key = (Arc::clone(&failure.origin), failure.code);
        if self.pairs.len() >= PAIRS_LIMIT && !self.pairs.contains_key(&key) {
            self.make_room(now);
            if self.pairs.len() >= PAIRS_LIMIT {
                return None;
            }
        }
        self.pairs.entry(key).or_insert_with(|| RateLimit::new(INTERVAL)).pass(now)
    }

    /// Forgets the pairs whose next line could be written, and tells what was held back of them.
    fn make_room(&mut self, now: Instant) {
        self.pairs.retain(|(origin, reason), limit| {
            let stays = !limit.is_over(now);
            if !stays && limit.suppressed() > 0 {
                tracing::warn!(
                    origin = &**origin,
                    reason,
                    similar = limit.suppressed(),
                    "an origin could not serve more requests"
                );
            }
            stays
        });
    }

    /// Logs the failure, or counts it for the next line.
    pub(crate) fn note(&mut self, failure: &OriginFailure, now: Instant) {
        if let Some(similar_before) = self.pass(failure, now) {
            tracing::warn!(
                origin = &*failure.origin,
                reason = failure.code,
                detail = %String::from_utf8_lossy(failure.detail.bytes()),
                similar_before,
                "an origin could not serve a request"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_and_reason_is_limited_alone() {
        let now = Instant::now();
        let mut log = FailureLog::default();
        let failure = |origin: &str, code| OriginFailure::new(Arc::from(origin), code, "why");
        assert_eq!(log.pass(&failure("a", "reset"), now), Some(0));
        assert_eq!(log.pass(&failure("a", "reset"), now), None);
        assert_eq!(log.pass(&failure("b", "reset"), now), Some(0));
        assert_eq!(log.pass(&failure("a", "wrong_name"), now), Some(0));
        assert_eq!(log.pass(&failure("a", "reset"), now + INTERVAL), Some(1));
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_again() {
        let now = Instant::now();
        let mut log = FailureLog::default();
        for number in 0..PAIRS_LIMIT + 10 {
            log.pass(&OriginFailure::new(number.to_string().into(), "reset", ""), now);
        }
        assert_eq!(log.pairs.len(), PAIRS_LIMIT);
        let late = OriginFailure::new("late".into(), "reset", "");
        assert_eq!(log.pass(&late, now), None);
        assert_eq!(log.pass(&late, now + INTERVAL), Some(0));
    }

    #[test]
    fn pairs_of_which_something_was_held_back_make_room_too() {
        let now = Instant::now();
        let mut log = FailureLog::default();
        for _ in 0..2 {
            for number in 0..PAIRS_LIMIT {
                log.pass(&OriginFailure::new(number.to_string().into(), "reset", ""), now);
            }
        }
        let late = OriginFailure::new("late".into(), "reset", "");
        assert_eq!(log.pass(&late, now + INTERVAL), Some(0));
        assert_eq!(log.pairs.len(), 1);
    }
}
