//! A latency histogram of fixed size: one thread writes it without a lock, others read it.
//!
//! The buckets are decimal and log-linear: nine equal steps in each power of ten. Their upper bounds (1, 2, ... 9
//! times a power of ten) are the round numbers that dashboards want, so an exported bucket is an exact sum of
//! these and not an interpolation.

use super::counters::Counters;

/// Everything up to 10^2 ns falls into the lowest bucket.
const LOWEST_POWER: u32 = 2;
/// Everything above 10^11 ns (100 s) falls into the highest.
const HIGHEST_POWER: u32 = 11;
const STEPS: usize = 9;
/// The lowest bucket, nine a power of ten, the highest.
const BUCKETS: usize = (HIGHEST_POWER - LOWEST_POWER) as usize * STEPS + 2;
const OVERFLOW: usize = BUCKETS - 1;
/// The counter after the buckets: the sum of all values, in nanoseconds.
const SUM: usize = BUCKETS;

/// Powers of ten up to the highest, since computing one takes a loop.
const POWERS: [u64; HIGHEST_POWER as usize + 1] = {
    let mut powers = [1; HIGHEST_POWER as usize + 1];
    let mut power = 1;
    while power < powers.len() {
        powers[power] = powers[power - 1] * 10;
        power += 1;
    }
    powers
};

/// Bucket bounds for the time that inspection takes: 1 us to 100 ms, in nanoseconds.
pub const INSPECTION_BOUNDS_NANOS: &[u64] = &[
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

/// Bucket bounds for the time that a request takes as a whole: 100 us to 60 s, in nanoseconds.
pub const REQUEST_BOUNDS_NANOS: &[u64] = &[
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// The bucket of a value. Bounds are upper and inclusive, as Prometheus' `le` is.
fn bucket_of(nanos: u64) -> usize {
    let below = nanos.saturating_sub(1);
    let Some(power) = below.checked_ilog10().filter(|power| *power >= LOWEST_POWER) else { return 0 };
    if power >= HIGHEST_POWER {
        return OVERFLOW;
    }
    // The leading digit, 1 to 9.
    let digit = (below / POWERS[power as usize]) as usize;
    (power - LOWEST_POWER) as usize * STEPS + digit
}

/// The largest value of a bucket, in nanoseconds.
fn upper_bound_nanos(bucket: usize) -> u64 {
    match bucket {
        0 => 10_u64.pow(LOWEST_POWER),
        OVERFLOW.. => u64::MAX,
        _ => {
            let power = LOWEST_POWER + ((bucket - 1) / STEPS) as u32;
            ((bucket - 1) % STEPS + 2) as u64 * 10_u64.pow(power)
        }
    }
}

/// Times of one worker. One thread records; any thread reads.
pub struct LatencyHistogram {
    counters: Counters,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counters: Counters::new(BUCKETS + 1) }
    }
}

impl LatencyHistogram {
    /// Records one value, in nanoseconds. No lock, no allocation.
    #[inline]
    pub fn record(&self, nanos: u64) {
        self.counters.add(bucket_of(nanos), 1);
        self.counters.add(SUM, nanos);
    }

    /// Adds what was recorded so far to `totals`.
    pub fn add_to(&self, totals: &mut HistogramTotals) {
        for (bucket, total) in totals.buckets.iter_mut().enumerate() {
            *total = total.wrapping_add(self.counters.get(bucket));
        }
        totals.sum_nanos = totals.sum_nanos.wrapping_add(self.counters.get(SUM));
    }
}

impl std::fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut totals = HistogramTotals::default();
        self.add_to(&mut totals);
        f.debug_struct("LatencyHistogram").field("count", &totals.count()).finish()
    }
}

/// The sum of several workers' histograms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramTotals {
    buckets: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Default for HistogramTotals {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum_nanos: 0 }
    }
}

impl HistogramTotals {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    /// The sum of all values, in nanoseconds.
    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }

    /// How many values are at most `bound_nanos`. Exact if the bound is one of the buckets' own (a digit times a
    /// power of ten, 100 ns to 100 s), otherwise rounded down to the next such bound.
    pub fn count_up_to(&self, bound_nanos: u64) -> u64 {
        let within = (0..BUCKETS).take_while(|bucket| upper_bound_nanos(*bucket) <= bound_nanos);
        within.fold(0, |sum, bucket| sum.wrapping_add(self.buckets[bucket]))
    }

    /// An upper bound of the value below which `share` (0 to 1) of all values lie, in nanoseconds; `None` if
    /// nothing was recorded. At most twice the true value.
    pub fn quantile_nanos(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).clamp(1, count);
        let mut seen = 0_u64;
        let bucket = self.buckets.iter().position(|bucket| {
            seen = seen.wrapping_add(*bucket);
            seen >= wanted
        });
        bucket.map(upper_bound_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_inclusive() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(100), 0);
        assert_eq!(bucket_of(101), 1);
        assert_eq!(bucket_of(1_000), bucket_of(901));
        assert_ne!(bucket_of(1_000), bucket_of(1_001));
        assert_eq!(bucket_of(100_000_000_000), OVERFLOW - 1);
        assert_eq!(bucket_of(100_000_000_001), OVERFLOW);
        assert_eq!(bucket_of(u64::MAX), OVERFLOW);
    }

    #[test]
    fn exported_bounds_are_bounds_of_buckets() {
        for bound in INSPECTION_BOUNDS_NANOS.iter().chain(REQUEST_BOUNDS_NANOS) {
            assert_eq!(upper_bound_nanos(bucket_of(*bound)), *bound);
        }
        assert!(INSPECTION_BOUNDS_NANOS.is_sorted() && REQUEST_BOUNDS_NANOS.is_sorted());
    }

    #[test]
    fn quantiles_of_nothing_and_of_something() {
        let histogram = LatencyHistogram::default();
        let mut totals = HistogramTotals::default();
        assert_eq!(totals.quantile_nanos(0.5), None);
        (0..99).for_each(|_| histogram.record(3_000));
        histogram.record(7_000_000);
        histogram.add_to(&mut totals);
        assert_eq!(totals.quantile_nanos(0.5), Some(3_000));
        assert_eq!(totals.quantile_nanos(0.99), Some(3_000));
        assert_eq!(totals.quantile_nanos(1.0), Some(7_000_000));
        assert_eq!(totals.sum_nanos(), 99 * 3_000 + 7_000_000);
    }

    /// Any value, small ones as likely as large ones.
    fn any_nanos() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..64).prop_map(|(bits, shift)| bits >> shift)
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_bucket(nanos in any_nanos()) {
            let bucket = bucket_of(nanos);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(nanos <= upper_bound_nanos(bucket));
            if bucket > 0 {
                prop_assert!(nanos > upper_bound_nanos(bucket - 1));
            }
        }

        #[test]
        fn exported_buckets_count_exactly(values in proptest::collection::vec(any_nanos(), 0..200)) {
            let values: Vec<u64> = values.into_iter().map(|nanos| nanos >> 8).collect();
            let histogram = LatencyHistogram::default();
            values.iter().for_each(|nanos| histogram.record(*nanos));
            let mut totals = HistogramTotals::default();
            histogram.add_to(&mut totals);
            prop_assert_eq!(totals.count(), values.len() as u64);
            prop_assert_eq!(totals.sum_nanos(), values.iter().fold(0, |sum: u64, nanos| sum.wrapping_add(*nanos)));
            for bound in INSPECTION_BOUNDS_NANOS.iter().chain(REQUEST_BOUNDS_NANOS) {
                let expected = values.iter().filter(|nanos| *nanos <= bound).count() as u64;
                prop_assert_eq!(totals.count_up_to(*bound), expected);
            }
        }
    }
}
