//! When the requests of an open loop are due.

use std::{cell::Cell, sync::Arc, time::Duration};

use super::{Limit, Load, load::Step};
use crate::scenario::template::Random;

/// One thread's due times, in seconds from the start, in order.
pub(super) struct Arrivals {
    kind: Kind,
    /// Of this thread, and of all threads.
    index: u64,
    threads: u64,
    /// How many were taken.
    taken: Cell<u64>,
}

enum Kind {
    Even {
        rate: f64,
    },
    /// This thread's rate, and the next due time.
    Poisson {
        rate: f64,
        seed: u64,
        next: Cell<f64>,
    },
    Ramp {
        from: f64,
        to: f64,
        warm_up: f64,
        length: f64,
    },
    Steps {
        steps: Arc<[Step]>,
        warm_up: f64,
        current: Cell<Current>,
    },
    Trace(Arc<[f64]>),
}

/// A step of the load, and what came before it.
#[derive(Clone, Copy, Default)]
struct Current {
    index: usize,
    /// When it begins, in seconds from the start.
    begin: f64,
    /// How many requests are due before.
    before: f64,
}

impl Arrivals {
    /// The share of thread `index` of `threads`; `None` for a closed loop.
    pub(super) fn new(
        load: &Load,
        limit: Limit,
        warm_up: Duration,
        index: usize,
        threads: usize,
    ) -> Option<Self> {
        let warm_up = warm_up.as_secs_f64();
        let length = match limit {
            Limit::Duration(length) => length.as_secs_f64(),
            // A ramp has a duration: this was checked.
            Limit::Requests(_) => 1.0,
        };
        let kind = match *load {
            Load::Closed => return None,
            Load::Rate(rate) => Kind::Even { rate },
            Load::Poisson { rate, seed } => {
                Kind::Poisson { rate: rate / threads as f64, seed, next: Cell::new(0.0) }
            }
            Load::Ramp { from, to } => Kind::Ramp { from, to, warm_up, length },
            Load::Steps(ref steps) => {
                Kind::Steps { steps: Arc::clone(steps), warm_up, current: Cell::default() }
            }
            Load::Trace(ref times) => Kind::Trace(Arc::clone(times)),
        };
        let arrivals = Self { kind, index: index as u64, threads: threads as u64, taken: Cell::new(0) };
        arrivals.draw_gap();
        Some(arrivals)
    }

    /// The next due time.
    pub(super) fn next(&self) -> f64 {
        // Threads take turns in one stream of due times.
        let place = self.taken.get() * self.threads + self.index;
        let number = place as f64;
        match &self.kind {
            Kind::Even { rate } => number / rate,
            Kind::Poisson { next, .. } => next.get(),
            Kind::Ramp { from, to, warm_up, length } => {
                let before = from * warm_up;
                if number <= before {
                    return number / from;
                }
                warm_up + ramp_time(*from, (to - from) / length, number - before)
            }
            Kind::Steps { steps, warm_up, current } => {
                // Numbers only grow, so the steps that are over are not looked at again.
                while let Some(Step { rate, lasts }) = steps.get(current.get().index) {
                    let Current { index, begin, before } = current.get();
                    // The warm-up belongs to the first step.
                    let lasts = lasts.as_secs_f64() + if index == 0 { *warm_up } else { 0.0 };
                    if number - before < rate * lasts || index + 1 == steps.len() {
                        return begin + (number - before) / rate;
                    }
                    let next =
                        Current { index: index + 1, begin: begin + lasts, before: before + rate * lasts };
                    current.set(next);
                }
                f64::INFINITY
            }
            Kind::Trace(times) => usize::try_from(place)
                .ok()
                .and_then(|place| times.get(place))
                .copied()
                .unwrap_or(f64::INFINITY),
        }
    }

    /// Goes on to the one behind it.
    pub(super) fn advance(&self) {
        self.taken.set(self.taken.get() + 1);
        self.draw_gap();
    }

    fn draw_gap(&self) {
        if let Kind::Poisson { rate, seed, next } = &self.kind {
            let number = self.taken.get() * self.threads + self.index;
            // 53 bits make a number over 0 and at most 1.
            let uniform = ((Random::new(*seed, number).next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            next.set(next.get() - uniform.ln() / rate);
        }
    }
}

/// When `number` requests are due on a ramp that begins with `rate` and grows by `growth` a second.
fn ramp_time(rate: f64, growth: f64, number: f64) -> f64 {
    // rate t + growth t^2 / 2 = number, in the form that loses no digits.
    let under_root = rate * rate + 2.0 * growth * number;
    if under_root < 0.0 { f64::INFINITY } else { 2.0 * number / (rate + under_root.sqrt()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Due times before `end` seconds, of all threads.
    fn due(load: Load, threads: usize, end: f64) -> Vec<f64> {
        let limit = Limit::Duration(Duration::from_secs(10));
        let mut all = Vec::new();
        for index in 0..threads {
            let arrivals = Arrivals::new(&load, limit, Duration::from_secs(2), index, threads).unwrap();
            while arrivals.next() < end {
                all.push(arrivals.next());
                arrivals.advance();
            }
        }
        all.sort_unstable_by(f64::total_cmp);
        all
    }

    fn between(times: &[f64], from: f64, to: f64) -> usize {
        times.iter().filter(|time| (from..to).contains(*time)).count()
    }

    #[test]
    fn a_ramp_goes_from_one_rate_to_the_other() {
        for threads in [1, 3] {
            for (from, to) in [(100.0, 300.0), (300.0, 100.0), (50.0, 50.0)] {
                let times = due(Load::Ramp { from, to }, threads, 12.0);
                let expected = from * 2.0 + (from + to) / 2.0 * 10.0;
                assert!((times.len() as f64 - expected).abs() <= 1.0, "{} {expected}", times.len());
                let middle = between(&times, 6.5, 7.5) as f64;
                assert!((middle - (from + to) / 2.0).abs() <= 1.0, "{middle}");
            }
        }
        assert!(ramp_time(1.0, -1.0, 2.0).is_infinite());
    }

    #[test]
    fn steps_have_their_rates() {
        let times = due(Load::stairs(100.0, 300.0, 5, Duration::from_secs(10)), 2, 12.0);
        let counts = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0].map(|from| between(&times, from, from + 2.0));
        assert_eq!(counts, [200, 200, 300, 400, 500, 600]);
    }

    #[test]
    fn a_trace_has_its_times_whatever_the_threads() {
        let times: Arc<[f64]> = (0..100).map(|number| f64::from(number * number) / 1000.0).collect();
        for threads in [1, 3] {
            assert_eq!(due(Load::Trace(Arc::clone(&times)), threads, 1e9), *times);
        }
    }

    #[test]
    fn poisson_arrivals_repeat_with_their_seed_and_have_their_rate() {
        let load = |seed| Load::Poisson { rate: 1000.0, seed };
        let times = due(load(1), 2, 10.0);
        assert_eq!(times, due(load(1), 2, 10.0));
        assert_ne!(times, due(load(2), 2, 10.0));
        // 10,000 are expected, with a standard deviation of 100.
        assert!((9_500..10_500).contains(&times.len()), "{}", times.len());
        // Of exponential gaps, 63.2 % are shorter than the mean.
        let short = times.windows(2).filter(|pair| pair[1] - pair[0] < 0.001).count() as f64;
        assert!((short / times.len() as f64 - 0.632).abs() < 0.02, "{short}");
    }
}
