//! When requests are sent, as it is asked for.

use std::{fmt, sync::Arc, time::Duration};

use super::{Limit, RunError};

/// The most requests a second that can be asked for.
const MOST_RATE: f64 = 1e8;
/// A run goes on for so long behind the last request of a trace, so that it is sent even where the machine is busy.
const TRACE_REST: Duration = Duration::from_millis(100);
/// The most steps of one load.
pub const MOST_STEPS: u32 = 10_000;

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Each connection sends as soon as its last answer is complete.
    Closed,
    /// This many requests a second over all threads, at even distances, whatever the answers do. More than 0.
    Rate(f64),
    /// On average this many requests a second over all threads, at random distances, as of many users who don't know of
    /// each other: arrivals come in bursts. The same seed and number of threads give the same times.
    Poisson {
        /// Requests a second; more than 0.
        rate: f64,
        /// Where the random numbers begin.
        seed: u64,
    },
    /// From one number of requests a second to another, smoothly, in the time that the run measures; both more than 0.
    /// The warm-up has the first.
    Ramp {
        /// Requests a second at the beginning.
        from: f64,
        /// Requests a second at the end.
        to: f64,
    },
    /// One rate after the other. The warm-up has the first; the last one stays if the run is longer than its steps.
    Steps(Arc<[Step]>),
    /// At these times, in seconds from the start, in order: recorded arrivals, say. The warm-up has the first of them.
    Trace(Arc<[f64]>),
}

/// A rate that lasts for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Requests a second; more than 0.
    pub rate: f64,
    /// How long; more than 0.
    pub lasts: Duration,
}

impl Load {
    /// A ramp in `count` steps of equal length, the first at `from` and the last at `to`, which take `length` together. More
    /// than [`MOST_STEPS`] make a load that no run takes.
    #[must_use]
    pub fn stairs(from: f64, to: f64, count: u32, length: Duration) -> Self {
        let count = count.min(MOST_STEPS + 1);
        let lasts = length / count.max(1);
        let rate = |step: u32| match count {
            0 | 1 => from,
            _ => from + (to - from) * f64::from(step) / f64::from(count - 1),
        };
        Self::Steps((0..count.max(1)).map(|step| Step { rate: rate(step), lasts }).collect())
    }

    /// Whether requests are due at times that don't depend on answers.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self, Self::Closed)
    }

    /// Requests a second that are due on average in the measured part of a run with such a warm-up and limit; `None` in a closed
    /// loop.
    #[must_use]
    pub fn mean_rate(&self, warm_up: Duration, limit: Limit) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Rate(rate) | Self::Poisson { rate, .. } => Some(*rate),
            Self::Ramp { from, to } => Some(f64::midpoint(*from, *to)),
            Self::Steps(steps) => {
                let all: f64 = steps.iter().map(|step| step.rate * step.lasts.as_secs_f64()).sum();
                Some(all / self.length(warm_up)?.as_secs_f64())
            }
            Self::Trace(_) => {
                let length = match limit {
                    Limit::Duration(length) => length,
                    Limit::Requests(_) => self.length(warm_up)?,
                };
                self.rate_between(0.0, length.as_secs_f64(), warm_up.as_secs_f64(), None)
            }
        }
    }

    /// How long it lasts by itself behind a warm-up: all steps, the first of which the warm-up has too, or what the warm-up
    /// leaves of a trace and 100 ms.
    #[must_use]
    pub fn length(&self, warm_up: Duration) -> Option<Duration> {
        match self {
            Self::Steps(steps) => Some(steps.iter().map(|step| step.lasts).sum()),
            Self::Trace(times) => {
                let last = Duration::try_from_secs_f64(*times.last()?).ok()?;
                Some((last + TRACE_REST).saturating_sub(warm_up))
            }
            _ => None,
        }
    }

    /// Requests a second that are due between two moments of a run that measures `length`, in seconds from where the
    /// measuring begins; `None` in a closed loop.
    pub(super) fn rate_between(&self, from: f64, to: f64, warm_up: f64, length: Option<f64>) -> Option<f64> {
        let middle = f64::midpoint(from, to);
        match self {
            Self::Closed => None,
            Self::Rate(rate) | Self::Poisson { rate, .. } => Some(*rate),
            Self::Ramp { from, to } => Some(from + (to - from) * (middle / length?).clamp(0.0, 1.0)),
            Self::Steps(steps) => {
                let mut end = 0.0;
                let current = steps.iter().find(|step| {
                    end += step.lasts.as_secs_f64();
                    middle < end
                });
                current.or(steps.last()).map(|step| step.rate)
            }
            Self::Trace(times) => {
                let before = |end: f64| times.partition_point(|time| *time < warm_up + end);
                (to > from).then(|| (before(to) - before(from)) as f64 / (to - from))
            }
        }
    }

    pub(super) fn check(&self, warm_up: Duration, limit: Limit) -> Result<(), RunError> {
        let wrong = |what: &str| Err(RunError::Request(what.to_owned()));
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= MOST_RATE;
        match self {
            Self::Rate(rate) | Self::Poisson { rate, .. } if !is_rate(*rate) => {
                wrong("the rate must be over 0 and at most 100 million requests a second")
            }
            Self::Ramp { from, to } if !(is_rate(*from) && is_rate(*to)) => {
                wrong("both rates must be over 0 and at most 100 million requests a second")
            }
            Self::Steps(steps) if steps.is_empty() || steps.len() > MOST_STEPS as usize => {
                wrong(&format!("there must be 1 to {MOST_STEPS} steps"))
            }
            Self::Steps(steps) if !steps.iter().all(|step| is_rate(step.rate) && !step.lasts.is_zero()) => {
                wrong("each step needs a rate over 0 and at most 100 million, and a length over 0")
            }
            Self::Trace(times) if times.is_empty() => wrong("the trace has no request"),
            Self::Trace(times) if times.last().is_some_and(|last| *last < warm_up.as_secs_f64()) => {
                wrong("the warm-up is longer than the trace, whose first requests it has")
            }
            Self::Ramp { .. } | Self::Steps(_) if matches!(limit, Limit::Requests(_)) => {
                wrong("a ramp or steps need a duration, not a number of requests")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("closed loop"),
            Self::Rate(rate) => write!(formatter, "open loop at {rate} requests/s"),
            Self::Poisson { rate, seed } => {
                write!(formatter, "open loop, Poisson arrivals at {rate} requests/s with seed {seed}")
            }
            Self::Ramp { from, to } => write!(formatter, "open loop from {from} to {to} requests/s"),
            Self::Steps(steps) => {
                let (first, last) = (steps.first(), steps.last());
                let rate = |step: Option<&Step>| step.map_or(0.0, |step| step.rate);
                let (first, last) = (rate(first), rate(last));
                write!(formatter, "open loop from {first} to {last} requests/s in {} steps", steps.len())
            }
            Self::Trace(times) => {
                write!(formatter, "open loop, {} requests at recorded times", times.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_know_their_rates() {
        let stairs = Load::stairs(100.0, 300.0, 3, Duration::from_secs(6));
        let (second, limit) = (Duration::from_secs(1), Limit::Duration(Duration::from_secs(6)));
        assert_eq!(stairs.mean_rate(second, limit), Some(200.0));
        assert_eq!(stairs.length(second), Some(Duration::from_secs(6)));
        let rates = [0.0, 2.0, 5.0, 9.0].map(|at| stairs.rate_between(at, at + 0.5, 1.0, Some(6.0)));
        assert_eq!(rates, [Some(100.0), Some(200.0), Some(300.0), Some(300.0)]);
        let ramp = Load::Ramp { from: 0.5, to: 100.5 };
        assert_eq!(ramp.rate_between(4.0, 6.0, 0.0, Some(10.0)), Some(50.5));
        let trace = Load::Trace(Arc::new([0.0, 0.5, 1.1, 1.2, 1.9]));
        assert_eq!(trace.rate_between(0.0, 1.0, 1.0, Some(1.0)), Some(3.0));
        // What the warm-up has isn't measured.
        let (none, requests) = (Duration::ZERO, Limit::Requests(9));
        assert_eq!((trace.length(none), trace.length(second)), (Some(second * 2), Some(second)));
        assert_eq!(
            (trace.mean_rate(none, requests), trace.mean_rate(second, requests)),
            (Some(2.5), Some(3.0))
        );
        assert_eq!(trace.mean_rate(none, Limit::Duration(second)), Some(2.0));
        assert_eq!(Load::Closed.mean_rate(none, requests), None);
    }

    #[test]
    fn loads_that_make_no_sense_are_refused() {
        let second = Limit::Duration(Duration::from_secs(1));
        let step =
            |rate: f64, lasts: u64| Load::Steps(Arc::new([Step { rate, lasts: Duration::from_secs(lasts) }]));
        for load in [
            Load::Rate(0.0),
            Load::Poisson { rate: f64::NAN, seed: 1 },
            Load::Ramp { from: 1.0, to: f64::INFINITY },
            Load::Steps(Arc::new([])),
            step(0.0, 1),
            step(1.0, 0),
            Load::Trace(Arc::new([])),
            Load::Trace(Arc::new([0.0, 0.5])),
            Load::stairs(1.0, 2.0, u32::MAX, Duration::from_secs(60)),
        ] {
            assert!(load.check(Duration::from_secs(1), second).is_err(), "{load}");
        }
        assert!(step(1.0, 1).check(Duration::ZERO, second).is_ok());
        assert!(step(1.0, 1).check(Duration::ZERO, Limit::Requests(1)).is_err());
    }
}
