//! Whether a target changes over the time of a long run: slower, fewer answers, more memory.

use serde::Serialize;

use super::intervals::Interval;

/// Fewer intervals than this show no trend.
const FEWEST_INTERVALS: usize = 8;
/// The 99th percentile may grow by this share, and by this many nanoseconds in any case.
const P99_GROWTH: f64 = 0.5;
const P99_GROWTH_NANOSECONDS: f64 = 1e6;
/// The share of answers a second that may be lost.
const RATE_LOSS: f64 = 0.05;
/// Memory may grow by this share, and by this much in any case.
const MEMORY_GROWTH: f64 = 0.1;
const MEMORY_GROWTH_BYTES: f64 = 4.0 * 1024.0 * 1024.0;

/// What became of a target over the time of a run: medians over the intervals of its second quarter, when everything has
/// settled, and of its last.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Soak {
    /// The 99th percentile of response times (in a closed loop service times), in nanoseconds.
    pub p99: Trend,
    /// Answers a second, as a share of what was due in an open loop, else absolute.
    pub rate: Trend,
    /// Memory of the watched processes, in bytes; absent if none are watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<Trend>,
    /// What became worse by more than noise: sentences for people.
    pub findings: Vec<String>,
}

/// A figure early and late.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Trend {
    /// In the second quarter of the run.
    pub early: f64,
    /// In its last quarter.
    pub late: f64,
}

impl Soak {
    pub(super) fn of(intervals: &[Interval]) -> Self {
        // The last interval may be short.
        let whole = intervals.split_last().map_or(intervals, |(last, before)| {
            let is_short = before.last().is_some_and(|before| last.seconds < before.seconds * 0.99);
            if is_short { before } else { intervals }
        });
        let trend = |figure: &dyn Fn(&Interval) -> Option<f64>| Trend::of(whole, figure);
        let mut soak = Self {
            p99: trend(&|interval| Some(interval.p99 as f64)).unwrap_or_default(),
            rate: trend(&share_of_due).unwrap_or_default(),
            resident_bytes: trend(&|interval| interval.resident_bytes.map(|bytes| bytes as f64)),
            findings: Vec::new(),
        };
        soak.findings = soak.judge(whole.len());
        soak
    }

    fn judge(&self, intervals: usize) -> Vec<String> {
        if intervals < FEWEST_INTERVALS {
            return vec![format!(
                "{intervals} whole intervals show no trend: at least {FEWEST_INTERVALS} are needed, so run longer or with a shorter --interval"
            )];
        }
        let mut findings = Vec::new();
        let grown = |trend: &Trend, share: f64, least: f64| {
            trend.late > trend.early * (1.0 + share) && trend.late > trend.early + least
        };
        if grown(&self.p99, P99_GROWTH, P99_GROWTH_NANOSECONDS) {
            let Trend { early, late } = self.p99;
            findings.push(format!(
                "answers became slower: p99 was {:.2} ms and is {:.2} ms",
                early / 1e6,
                late / 1e6
            ));
        }
        if self.rate.late < self.rate.early * (1.0 - RATE_LOSS) {
            let lost = (1.0 - self.rate.late / self.rate.early) * 100.0;
            findings.push(format!("answers became fewer, by {lost:.1} %"));
        }
        if let Some(memory) = &self.resident_bytes
            && grown(memory, MEMORY_GROWTH, MEMORY_GROWTH_BYTES)
        {
            let [early, late] = [memory.early, memory.late].map(|bytes| bytes / f64::from(1 << 20));
            findings.push(format!("memory grew: it was {early:.1} MiB and is {late:.1} MiB"));
        }
        findings
    }
}

/// Answers a second as a share of what was due, absolute in a closed loop. Where nothing was due, as in a gap of a trace, there
/// is no share.
fn share_of_due(interval: &Interval) -> Option<f64> {
    match interval.target_rate {
        Some(due) => (due > 0.0).then(|| interval.rate / due),
        None => Some(interval.rate),
    }
}

impl Trend {
    fn of(intervals: &[Interval], figure: &dyn Fn(&Interval) -> Option<f64>) -> Option<Self> {
        let quarter = intervals.len() / 4;
        let median = |part: &[Interval]| {
            let mut figures: Vec<f64> = part.iter().filter_map(figure).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied()
        };
        let early = median(intervals.get(quarter..quarter * 2)?)?;
        let late = median(intervals.get(intervals.len() - quarter..)?)?;
        Some(Self { early, late })
    }
}

impl Default for Trend {
    fn default() -> Self {
        Self { early: 0.0, late: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn intervals(figures: impl Fn(u64) -> (u64, f64, u64)) -> Vec<Interval> {
        let interval = |number: u64| {
            let (p99, rate, resident_bytes) = figures(number);
            Interval {
                from_seconds: number as f64,
                seconds: 1.0,
                target_rate: Some(100.0),
                answers: rate as u64,
                rate,
                errors: 0,
                verdicts: BTreeMap::new(),
                p50: p99,
                p90: p99,
                p99,
                p99_9: p99,
                max: p99,
                send_lag_p99: None,
                generator_busy: 0.1,
                resident_bytes: Some(resident_bytes),
            }
        };
        (0..40).map(interval).collect()
    }

    #[test]
    fn a_steady_target_has_no_findings() {
        let noisy = |number: u64| (2_000_000 + number % 7 * 100_000, 99.0 + (number % 3) as f64, 50 << 20);
        assert_eq!(Soak::of(&intervals(noisy)).findings, Vec::<String>::new());
    }

    #[test]
    fn gaps_of_a_trace_are_left_out() {
        let mut gaps = intervals(|_| (1, 0.0, 1));
        for interval in gaps.iter_mut().step_by(2) {
            (interval.rate, interval.target_rate) = (0.0, Some(0.0));
        }
        gaps.iter_mut().skip(1).step_by(2).for_each(|interval| interval.rate = 99.0);
        assert_eq!(Soak::of(&gaps).rate, Trend { early: 0.99, late: 0.99 });
        gaps.iter_mut().for_each(|interval| interval.target_rate = Some(0.0));
        assert_eq!(Soak::of(&gaps).rate, Trend::default());
    }

    #[test]
    fn what_becomes_worse_is_found() {
        let soak = Soak::of(&intervals(|number| {
            (1_000_000 + number * 200_000, 100.0 - number as f64, (50 + number) << 20)
        }));
        let starts = ["answers became slower", "answers became fewer", "memory grew"];
        assert_eq!(soak.findings.len(), 3, "{soak:?}");
        assert!(soak.findings.iter().zip(starts).all(|(found, start)| found.starts_with(start)), "{soak:?}");
        assert!(Soak::of(&intervals(|_| (1, 1.0, 1))[..5]).findings[0].contains("show no trend"));
        assert_eq!(Soak::of(&[]).findings.len(), 1);
    }
}
