//! Counters by a status and a code that other modules name as they need them.

use super::counters::Counters;
use std::sync::OnceLock;

/// How many distinct (status, code) pairs are told apart; more are counted together as `other`.
const CAPACITY: usize = 96;

/// A table that fills itself. Codes are constants of the program, so their number is bounded; a code is found by
/// a walk over a few entries, which is cheaper than a hash, and a request that needs it is refused anyway.
pub(crate) struct CodeCounters {
    keys: [OnceLock<(u16, &'static str)>; CAPACITY],
    counts: Counters,
}

impl Default for CodeCounters {
    fn default() -> Self {
        Self { keys: std::array::from_fn(|_| OnceLock::new()), counts: Counters::new(CAPACITY + 1) }
    }
}

impl CodeCounters {
    /// Counts one (single writer, as all counters of a worker).
    pub(crate) fn count(&self, status: u16, code: &'static str) {
        let position = self.keys.iter().position(|key| *key.get_or_init(|| (status, code)) == (status, code));
        self.counts.add(position.unwrap_or(CAPACITY), 1);
    }

    /// Calls `visit` with every pair that was counted; the status of those counted together is 0.
    pub(crate) fn visit(&self, mut visit: impl FnMut(u16, &'static str, u64)) {
        for (position, key) in self.keys.iter().enumerate() {
            let Some((status, code)) = key.get() else { break };
            visit(*status, code, self.counts.get(position));
        }
        match self.counts.get(CAPACITY) {
            0 => {}
            count => visit(0, "other", count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(table: &CodeCounters) -> Vec<(u16, &'static str, u64)> {
        let mut all = Vec::new();
        table.visit(|status, code, count| all.push((status, code, count)));
        all
    }

    #[test]
    fn counts_by_status_and_code() {
        let table = CodeCounters::default();
        table.count(400, "bare_lf");
        table.count(431, "head_bytes");
        table.count(400, "bare_lf");
        table.count(400, "head_bytes");
        assert_eq!(counted(&table), [(400, "bare_lf", 2), (431, "head_bytes", 1), (400, "head_bytes", 1)]);
    }

    #[test]
    fn more_codes_than_places_are_counted_together() {
        let table = CodeCounters::default();
        for status in 0..CAPACITY as u16 + 3 {
            table.count(status, "code");
        }
        let all = counted(&table);
        assert_eq!(all.len(), CAPACITY + 1);
        assert_eq!(all.last(), Some(&(0, "other", 3)));
    }
}
