//! Random numbers that a seed fixes (splitmix64). Good enough to vary tests; never for secrets.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if the limit is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let random = self.next();
        if limit == 0 { 0 } else { random % limit }
    }

    /// True once in `n` times on average; never for 0.
    pub(super) fn one_in(&mut self, n: u32) -> bool {
        n != 0 && self.below(u64::from(n)) == 0
    }

    pub(super) fn nanos(&mut self, range: &RangeInclusive<Duration>) -> u64 {
        let nanos = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (from, to) = (nanos(range.start()), nanos(range.end()));
        from + self.below(to.saturating_sub(from).saturating_add(1))
    }
}
