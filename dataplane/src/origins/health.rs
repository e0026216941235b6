//! When checks make an address unhealthy, and healthy again.

/// What the checks of one address have said so far.
#[derive(Debug)]
pub(crate) struct Health {
    healthy: bool,
    /// Checks in a row that speak against that.
    against: u32,
    is_first: bool,
}

impl Health {
    /// Of an address that is healthy, or isn't, by checks before (or because nothing is known yet).
    pub(crate) fn new(healthy: bool, is_first: bool) -> Self {
        Self { healthy, against: 0, is_first }
    }

    /// Whether the address is healthy after one more check. The first check of an address decides alone; then it takes as
    /// many in a row as the thresholds say.
    pub(crate) fn after(&mut self, passed: bool, healthy_threshold: u32, unhealthy_threshold: u32) -> bool {
        self.against = if passed == self.healthy { 0 } else { self.against + 1 };
        let threshold = if self.healthy { unhealthy_threshold } else { healthy_threshold };
        if self.against > 0 && (self.is_first || self.against >= threshold) {
            self.healthy = passed;
            self.against = 0;
        }
        self.is_first = false;
        self.healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(health: &mut Health, checks: &str) -> String {
        checks.chars().map(|check| if health.after(check == '+', 2, 3) { '+' } else { '-' }).collect()
    }

    #[test]
    fn thresholds_count_checks_in_a_row_and_the_first_check_decides_alone() {
        assert_eq!(states(&mut Health::new(true, true), "-+-++"), "----+");
        assert_eq!(states(&mut Health::new(true, true), "+--+---"), "++++++-");
        assert_eq!(states(&mut Health::new(true, false), "---"), "++-");
        assert_eq!(states(&mut Health::new(false, false), "+-++--+---"), "---++++++-");
    }
}
