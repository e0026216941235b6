//! When each slow client takes its steps.
//!
//! Real clients don't know of each other. Were all of them to step at once, a target would have a burst at each step and
//! nothing in between, and what others see would be the burst's doing. So the steps of all are spread evenly over the pace.

use std::time::{Duration, Instant};

use crate::scenario::template::Random;

/// The time over which connections are made at the beginning; a shorter pace shortens it.
const LONGEST_ARRIVAL: Duration = Duration::from_secs(1);

/// The time over which all connections of a crowd are made.
pub(super) fn arrival(pace: Duration) -> Duration {
    pace.min(LONGEST_ARRIVAL)
}

/// The moments of one client's steps: one in each pace, at the same distance from its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    began: Instant,
    pace: Duration,
    /// Where in the pace, from 0 to below 1.
    phase: f64,
}

impl Steps {
    /// Of client `number` of `clients`: each has an equal part of the pace, and its moment somewhere within that.
    pub(super) fn new(began: Instant, pace: Duration, seed: u64, number: usize, clients: usize) -> Self {
        let within = Random::new(seed, number as u64).next() as f64 / 2.0_f64.powi(64);
        // Rounding must not make it 1.
        let phase = ((number as f64 + within) / clients as f64).min(1.0 - f64::EPSILON);
        Self { began, pace, phase }
    }

    /// When the first connection is made.
    pub(super) fn connect_at(&self) -> Instant {
        self.began + arrival(self.pace).mul_f64(self.phase)
    }

    /// The first step behind `moment`.
    pub(super) fn after(&self, moment: Instant) -> Instant {
        let first = self.began + self.pace.mul_f64(self.phase);
        let Some(since) = moment.checked_duration_since(first) else { return first };
        let into_step = since.as_nanos() % self.pace.as_nanos().max(1);
        let left = self.pace.as_nanos() - into_step;
        moment + Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_spread_evenly_over_the_pace() {
        let (began, pace) = (Instant::now(), Duration::from_secs(9));
        let all: Vec<_> = (0..1000).map(|number| Steps::new(began, pace, 7, number, 1000)).collect();
        for (number, steps) in all.iter().enumerate() {
            let first = steps.after(began) - began;
            // Each has nine milliseconds of the pace for itself.
            assert_eq!(first.as_micros() / 9000, number as u128, "{first:?}");
            assert!(steps.connect_at() - began < Duration::from_secs(1));
        }
        // Not at a regular distance, and in the same way each time.
        assert!(all.windows(3).any(|three| {
            let at = |index: usize| three[index].after(began);
            at(2) - at(1) > (at(1) - at(0)) * 2
        }));
        assert_eq!(
            Steps::new(began, pace, 7, 3, 1000).after(began),
            all[3].after(began),
            "the same seed gives the same moments"
        );
        assert_ne!(Steps::new(began, pace, 8, 3, 1000).after(began), all[3].after(began));
    }

    #[test]
    fn a_step_follows_the_other_by_one_pace() {
        let (began, pace) = (Instant::now(), Duration::from_secs(1));
        let steps = Steps::new(began, pace, 1, 5, 10);
        let first = steps.after(began);
        assert!(first > began && first < began + pace);
        for count in 0..4 {
            let step = first + pace * count;
            assert_eq!(steps.after(step), step + pace);
            assert_eq!(steps.after(step + pace / 3), step + pace);
        }
        // As long a time as any is in range.
        let never = Steps::new(began, Duration::from_secs(86400 * 365), 1, 9, 10);
        assert!(never.after(began) > began);
    }
}
