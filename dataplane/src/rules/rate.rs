//! The leaky buckets of rate limits, shared by all workers of the node.
//!
//! A rate holds for the node, so workers share its state: one fixed table of atomics. Only requests under a rate limit
//! touch it, each one cache line of it. It takes no lock, and its memory is bounded.
//!
//! A bucket is a single number: the time at which its backlog will have drained. An entry whose time has passed is the
//! same as none, so entries need no sweeping: the next key that needs the place takes it. If all places of a key are in
//! use, the one that would have drained first makes room, because it holds back least.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::RandomState;
use zerocopy::FromZeros;

use crate::io::Monotonic;

/// Keys whose place is the same cache line.
const WAYS: usize = 4;
/// Numbers of a cache line: for each way the key's mark and the time at which its bucket is empty.
const LINE: usize = 2 * WAYS;
/// Bytes of a cache line.
const LINE_BYTES: usize = LINE * size_of::<u64>();
/// Longer values are told apart by their first bytes alone.
const KEY_BYTES_MAX: usize = 8_000;

/// A rate with its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How long one request's place takes to drain.
    interval_nanos: u64,
    burst: u32,
    delay: u32,
}

impl Rate {
    /// `rate` requests in the time of `per`; `burst` requests more are let in, of which `delay` needn't wait.
    pub fn new(rate: u32, per: Duration, burst: u32, delay: u32) -> Self {
        let nanos = per.as_nanos() / u128::from(rate.max(1));
        Self { interval_nanos: u64::try_from(nanos).unwrap_or(u64::MAX).max(1), burst, delay }
    }

    fn nanos_of(self, requests: u32) -> u64 {
        self.interval_nanos.saturating_mul(u64::from(requests))
    }
}

/// What a rate limit says to a request, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// It goes on.
    Pass,
    /// It goes on after this time.
    Wait(Duration),
    /// It's one too many.
    Refuse,
}

/// Buckets by key.
#[derive(Debug)]
pub struct RateTable {
    words: Box<[AtomicU64]>,
    /// The first word that begins a cache line.
    first: usize,
    lines: usize,
    hasher: RandomState,
}

impl RateTable {
    /// A table of at most `bytes`. Pages of it take memory once keys fall into them.
    pub fn new(bytes: usize) -> Self {
        let lines = (bytes / LINE_BYTES).max(1);
        // Without memory for the table there is one line of it, and keys displace each other.
        let (words, lines) = match <[AtomicU64]>::new_box_zeroed_with_elems((lines + 1) * LINE) {
            Ok(words) => (words, lines),
            Err(_) => ((0..2 * LINE).map(|_| AtomicU64::new(0)).collect(), 1),
        };
        let first = words.as_ptr().align_offset(LINE_BYTES).min(LINE);
        Self { words, first, lines, hasher: RandomState::new() }
    }

    /// Keys that have a place.
    pub const fn capacity(&self) -> usize {
        self.lines * WAYS
    }

    /// Asks for a request with the value `key` under the rule `rule`. Also says whether another key's bucket had to make
    /// room. A refused request leaves no trace.
    pub fn admit(&self, rule: u64, key: &[u8], rate: Rate, now: Monotonic) -> (Admission, bool) {
        let hash = self.hasher.hash_one((rule, &key[..key.len().min(KEY_BYTES_MAX)]));
        let now = now.0.max(1);
        let (empty_at, evicted) = self.bucket(hash, now);
        let mut known = empty_at.load(Ordering::Relaxed);
        loop {
            let backlog = known.saturating_sub(now);
            if backlog > rate.nanos_of(rate.burst) {
                return (Admission::Refuse, evicted);
            }
            let then = known.max(now).saturating_add(rate.interval_nanos);
            match empty_at.compare_exchange_weak(known, then, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let admission = match backlog.saturating_sub(rate.nanos_of(rate.delay)) {
                        0 => Admission::Pass,
                        wait => Admission::Wait(Duration::from_nanos(wait)),
                    };
                    return (admission, evicted);
                }
                Err(current) => known = current,
            }
        }
    }

    /// The key's bucket. A new key takes a place that is free or has drained, or that of the bucket that drains first.
    fn bucket(&self, hash: u64, now: u64) -> (&AtomicU64, bool) {
        let line = ((u128::from(hash) * self.lines as u128) >> 64) as usize;
        let start = self.first + line * LINE;
        let ways = &self.words[start..start + LINE];
        // Zero marks a free place. The bits that chose the line are the same for all keys of it.
        let mark = hash | 1;
        loop {
            let mut oldest = (u64::MAX, 0);
            for way in 0..WAYS {
                let known = ways[2 * way].load(Ordering::Relaxed);
                if known == mark {
                    return (&ways[2 * way + 1], false);
                }
                let empty_at = if known == 0 { 0 } else { ways[2 * way + 1].load(Ordering::Relaxed) };
                if empty_at < oldest.0 {
                    oldest = (empty_at, way);
                }
            }
            let (empty_at, way) = oldest;
            let known = ways[2 * way].load(Ordering::Relaxed);
            let taken = ways[2 * way].compare_exchange(known, mark, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_err() {
                continue; // another worker was faster, perhaps with the same key
            }
            // What has drained already holds nobody back. A backlog is not the new key's.
            let evicted = empty_at > now;
            if evicted {
                let bucket = &ways[2 * way + 1];
                let _ = bucket.compare_exchange(empty_at, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
            return (&ways[2 * way + 1], evicted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic(1_000_000_000 + milliseconds * 1_000_000)
    }

    fn admit(table: &RateTable, rate: Rate, milliseconds: u64) -> Admission {
        table.admit(1, b"key", rate, at(milliseconds)).0
    }

    fn wait(milliseconds: u64) -> Admission {
        Admission::Wait(Duration::from_millis(milliseconds))
    }

    /// Spec S4.1: with 5 a second, burst 12 and delay 8 the first 8 above the rate pass at once, the next 4 are paced,
    /// and others are refused.
    #[test]
    fn bursts_pass_then_are_paced_then_refused() {
        let table = RateTable::new(1 << 16);
        let rate = Rate::new(5, SECOND, 12, 8);
        let mut expected = vec![Admission::Pass; 9];
        expected.extend([wait(200), wait(400), wait(600), wait(800)]);
        expected.extend([Admission::Refuse; 5]);
        let found: Vec<_> = expected.iter().map(|_| admit(&table, rate, 0)).collect();
        assert_eq!(found, expected);
        // 200 ms later one place has drained, and refused requests took none.
        assert_eq!(admit(&table, rate, 200), wait(800));
        assert_eq!(admit(&table, rate, 200), Admission::Refuse);
        assert_eq!(admit(&table, rate, 60_000), Admission::Pass);
    }

    #[test]
    fn without_a_burst_there_is_one_place() {
        let table = RateTable::new(1 << 16);
        let rate = Rate::new(60, Duration::from_secs(60), 0, 0);
        let times = [0, 1, 999, 1000, 1500, 2000];
        let passes = times.map(|time| admit(&table, rate, time) == Admission::Pass);
        assert_eq!(passes, [true, false, false, true, false, true]);
    }

    #[test]
    fn keys_and_rules_have_buckets_of_their_own() {
        let table = RateTable::new(1 << 20);
        let rate = Rate::new(1, SECOND, 0, 0);
        for rule in 0..10 {
            for key in 0..100_u32 {
                assert_eq!(table.admit(rule, &key.to_le_bytes(), rate, at(0)), (Admission::Pass, false));
            }
        }
        assert_eq!(table.admit(3, &7_u32.to_le_bytes(), rate, at(1)).0, Admission::Refuse);
        let long = vec![b'a'; KEY_BYTES_MAX + 1];
        assert_eq!(table.admit(1, &long, rate, at(0)).0, Admission::Pass);
        assert_eq!(table.admit(1, &long[1..], rate, at(0)).0, Admission::Refuse);
    }

    #[test]
    fn a_full_table_forgets_the_bucket_that_drains_first() {
        let table = RateTable::new(LINE_BYTES);
        assert_eq!(table.capacity(), WAYS);
        let rate = Rate::new(1, SECOND, 100, 100);
        let key = |number: usize| [number as u8];
        for number in 0..WAYS {
            for _ in 0..=number {
                assert!(!table.admit(1, &key(number), rate, at(0)).1);
            }
        }
        assert!(table.admit(1, b"new", rate, at(0)).1, "one had to make room");
        let one = Rate::new(1, SECOND, 0, 0);
        for number in 1..WAYS {
            assert_eq!(table.admit(1, &key(number), one, at(0)).0, Admission::Refuse, "{number} is known");
        }
        // Much later all have drained: nobody has to make room, and nothing is held against the new keys.
        for number in 10..14 {
            assert_eq!(table.admit(1, &key(number), one, at(60_000)), (Admission::Pass, false));
        }
    }

    #[test]
    fn workers_share_a_rate() {
        let table = RateTable::new(1 << 16);
        let rate = Rate::new(1, Duration::from_secs(3600), 999, 999);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..500).filter(|_| admit(&table, rate, 0) != Admission::Refuse).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000, "the first one and the burst, whoever asks");
    }

    #[test]
    fn extreme_rates_stay_in_range() {
        let table = RateTable::new(0);
        let slow = Rate::new(1, Duration::from_secs(86_400), u32::MAX, u32::MAX);
        for _ in 0..100 {
            assert_eq!(admit(&table, slow, 0), Admission::Pass);
        }
        assert_eq!(Rate::new(u32::MAX, SECOND, 0, 0).interval_nanos, 1);
    }
}
