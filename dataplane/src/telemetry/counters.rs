//! Counters that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one cache line. 128 bytes, because today's processors fetch lines in pairs.
const COUNTERS_PER_LINE: usize = 16;

#[repr(align(128))]
struct Line([AtomicU64; COUNTERS_PER_LINE]);

/// A fixed number of counters that shares no cache line with anything else.
///
/// **One writer.** `add` is a load and a store, not a locked instruction, so two writing threads would lose counts
/// (nothing worse). Readers see each counter whole, and several counters not as of one moment.
pub(crate) struct Counters {
    lines: Box<[Line]>,
}

impl Counters {
    /// `length` counters at zero.
    pub(crate) fn new(length: usize) -> Self {
        let lines = length.div_ceil(COUNTERS_PER_LINE);
        Self { lines: (0..lines).map(|_| Line(std::array::from_fn(|_| AtomicU64::new(0)))).collect() }
    }

    /// Adds to one counter, wrapping. A position out of range is ignored: counting never stops a request.
    #[inline]
    pub(crate) fn add(&self, position: usize, amount: u64) {
        if let Some(counter) = self.at(position) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// Takes from one counter, wrapping below zero: what one table counts up another may count down, and only
    /// their sum means something.
    #[inline]
    pub(crate) fn subtract(&self, position: usize, amount: u64) {
        self.add(position, amount.wrapping_neg());
    }

    /// Replaces one counter by a total that is kept elsewhere.
    #[inline]
    pub(crate) fn set(&self, position: usize, value: u64) {
        if let Some(counter) = self.at(position) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    /// Reads one counter; zero if out of range.
    pub(crate) fn get(&self, position: usize) -> u64 {
        self.at(position).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    #[inline]
    fn at(&self, position: usize) -> Option<&AtomicU64> {
        self.lines.get(position / COUNTERS_PER_LINE)?.0.get(position % COUNTERS_PER_LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn counts_at_each_position_alone() {
        let counters = Counters::new(40);
        counters.add(0, 1);
        counters.add(15, 2);
        counters.add(16, 3);
        counters.subtract(39, 1);
        assert_eq!([0, 1, 15, 16].map(|at| counters.get(at)), [1, 0, 2, 3]);
        assert_eq!(counters.get(39), u64::MAX, "below zero wraps, so that sums come out right");
        counters.set(39, 7);
        assert_eq!(counters.get(39), 7);
    }

    #[test]
    fn a_position_out_of_range_does_nothing() {
        let counters = Counters::new(1);
        counters.add(10_000, 1);
        counters.set(10_000, 1);
        assert_eq!(counters.get(10_000), 0);
    }

    #[test]
    fn tables_share_no_cache_line() {
        assert_eq!(align_of::<Line>(), 128);
        assert_eq!(size_of::<Line>(), 128);
    }

    #[test]
    fn a_reader_sees_only_growing_values_while_another_thread_writes() {
        const WRITES: u64 = 200_000;
        let counters = Arc::new(Counters::new(2));
        let writer = std::thread::spawn({
            let counters = Arc::clone(&counters);
            move || (0..WRITES).for_each(|_| counters.add(1, 1))
        });
        let mut last = 0;
        while last < WRITES {
            let now = counters.get(1);
            assert!(now >= last && now <= WRITES, "{now} after {last}");
            last = now;
        }
        writer.join().unwrap();
        assert_eq!(counters.get(1), WRITES);
    }
}
