//! A run in intervals: threads hand over what they have measured at the end of each, so that it can be watched, and written
//! down, while it goes on.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;

use super::{
    Limit, Options,
    statistics::{Histo, Statistics},
    target::Target,
};
use crate::{Verdict, net::CpuUse, processes::ProcessTree};

/// The most intervals that a report has. A run by duration has wider ones; in one by requests, later ones are shown and
/// logged, but not kept.
const MOST_INTERVALS: usize = 100_000;

/// The length that intervals get: the one that was asked for, or if a run would have too many of them, as many times that
/// as is needed.
pub(super) fn fitting_length(asked: Duration, limit: Limit) -> Duration {
    let Limit::Duration(length) = limit else { return asked };
    let count = length.as_nanos().div_ceil(asked.as_nanos().max(1));
    let times = count.div_ceil(MOST_INTERVALS as u128);
    asked.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX).max(1))
}

/// What one thread measured in one interval.
pub(super) struct Part {
    pub(super) thread: usize,
    /// Which interval, from 0.
    pub(super) number: u64,
    /// The thread measures nothing more: its interval ends when the run does.
    pub(super) is_last: bool,
    pub(super) statistics: Statistics,
    pub(super) cpu: CpuUse,
    /// The time in which it used that.
    pub(super) window: Duration,
}

/// One interval of a run. Requests belong to the interval in which they were answered or failed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Interval {
    /// Where it begins, in seconds from where the measuring begins.
    pub from_seconds: f64,
    /// Its length.
    pub seconds: f64,
    /// Requests a second that were due; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_rate: Option<f64>,
    /// Complete answers.
    pub answers: u64,
    /// Complete answers a second.
    pub rate: f64,
    /// Requests without an answer, other than those that a scenario wants closed.
    pub errors: u64,
    /// What became of the requests.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// The median of response times, in a closed loop of service times, in nanoseconds as all of these.
    pub p50: u64,
    /// Nine in ten were at most this.
    pub p90: u64,
    /// 99 in 100 were at most this.
    pub p99: u64,
    /// 999 in 1000 were at most this.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
    /// Send lag at the 99th percentile; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_lag_p99: Option<u64>,
    /// The share of its time in which the generator ran or waited for a CPU, 0 to 1.
    pub generator_busy: f64,
    /// Memory of the watched processes at the end of the interval; absent if none are watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
}

/// Is told of each interval when it is over.
pub trait Observer {
    /// The run begins, after everything that could keep it from that; the first interval begins at `measured_from`.
    fn started(&mut self, _measured_from: SystemTime) {}

    /// The intervals come in order, and the last one may be short.
    fn interval(&mut self, snapshot: &Snapshot<'_>);
}

/// An interval that is over.
pub struct Snapshot<'a> {
    interval: &'a Interval,
    labels: &'a [String],
    statistics: &'a Statistics,
    is_open: bool,
}

impl Snapshot<'_> {
    /// Its figures.
    #[must_use]
    pub const fn interval(&self) -> &Interval {
        self.interval
    }

    /// Requests that were answered, failed, or ended without an answer as they should.
    pub(crate) fn requests(&self) -> u64 {
        self.statistics.requests()
    }

    /// The histograms of the interval, each with what it is called in logs: those of all requests first, then by label.
    pub(crate) fn histograms(&self) -> Vec<(String, Histo)> {
        let all = self.statistics.all_timings();
        let mut histograms =
            vec![("service".to_owned(), all.service), ("first_byte".to_owned(), all.first_byte)];
        if self.is_open {
            histograms.push(("response".to_owned(), all.response));
            histograms.push(("send_lag".to_owned(), all.send_lag));
        }
        histograms.push(("connect".to_owned(), self.statistics.connect.clone()));
        histograms.push(("handshake_full".to_owned(), self.statistics.full_handshake.clone()));
        histograms.push(("handshake_resumed".to_owned(), self.statistics.resumed_handshake.clone()));
        for (index, name) in self.labels.iter().enumerate() {
            let own = self.statistics.timings(|label, _| label == index);
            histograms.push((format!("service:{name}"), own.service));
            if self.is_open {
                histograms.push((format!("response:{name}"), own.response));
                histograms.push((format!("send_lag:{name}"), own.send_lag));
            }
        }
        histograms.retain(|(_, histogram)| !histogram.is_empty());
        histograms
    }
}

/// Puts the parts together.
pub(super) struct Collector<'a> {
    options: &'a Options,
    target: Arc<Target>,
    watched: ProcessTree,
    observer: &'a mut dyn Observer,
    through: Through,
    pending: BTreeMap<u64, Pending>,
    pub(super) intervals: Vec<Interval>,
    /// Intervals that were too many to keep.
    pub(super) dropped: u64,
    pub(super) total: Statistics,
}

/// For each thread that still measures, how many whole intervals it is through with.
struct Through(Vec<Option<u64>>);

impl Through {
    fn note(&mut self, thread: usize, number: u64, is_last: bool) {
        if let Some(through) = self.0.get_mut(thread) {
            *through = (!is_last).then_some(number + 1);
        }
    }

    /// How many intervals nothing more comes to; the last ones of all threads end with the run.
    fn complete(&self) -> u64 {
        self.0.iter().flatten().min().copied().unwrap_or(0)
    }
}

struct Pending {
    statistics: Statistics,
    cpu: CpuUse,
    window: Duration,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        options: &'a Options,
        target: Arc<Target>,
        threads: usize,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            options,
            target,
            watched: ProcessTree::new(options.watch.clone()),
            observer,
            through: Through(vec![Some(0); threads]),
            pending: BTreeMap::new(),
            intervals: Vec::new(),
            dropped: 0,
            total: Statistics::new(),
        }
    }

    /// Takes a part, and ends the intervals that all threads are through with.
    pub(super) fn add(&mut self, part: Part) {
        self.through.note(part.thread, part.number, part.is_last);
        self.add_pending(part);
        let complete = self.through.complete();
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < complete) {
            let (number, pending) = entry.remove_entry();
            self.end_interval(number, pending, self.options.interval);
        }
    }

    /// Ends all intervals of a run that measured for `elapsed`.
    pub(super) fn finish(&mut self, elapsed: Duration) {
        while let Some((number, pending)) = self.pending.pop_first() {
            let from = self.start_of(number);
            let seconds = self.options.interval.min(elapsed.saturating_sub(from));
            self.end_interval(number, pending, seconds);
        }
    }

    fn add_pending(&mut self, part: Part) {
        let pending = self.pending.entry(part.number).or_insert_with(|| Pending {
            statistics: Statistics::new(),
            cpu: CpuUse::default(),
            window: Duration::ZERO,
        });
        pending.statistics.add(&part.statistics);
        pending.cpu.running += part.cpu.running;
        pending.cpu.waiting += part.cpu.waiting;
        pending.window += part.window;
    }

    fn start_of(&self, number: u64) -> Duration {
        self.options.interval.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn end_interval(&mut self, number: u64, pending: Pending, length: Duration) {
        let from = self.start_of(number);
        // What is answered behind the end, within the patience for that, belongs to the last interval.
        if length.is_zero() && pending.statistics.answers() + pending.statistics.error_count() == 0 {
            self.total.add(&pending.statistics);
            return;
        }
        // A process that is gone has no memory; the requests tell about that.
        let _gone = self.watched.refresh();
        let statistics = pending.statistics;
        let interval = Interval {
            resident_bytes: (!self.watched.is_empty()).then(|| self.watched.resident_bytes()),
            ..self.figures(from, length, &statistics, pending.cpu, pending.window)
        };
        self.observer.interval(&Snapshot {
            interval: &interval,
            labels: &self.target.traffic.labels,
            statistics: &statistics,
            is_open: self.options.load.is_open(),
        });
        self.total.add(&statistics);
        if self.intervals.len() < MOST_INTERVALS {
            self.intervals.push(interval);
        } else {
            self.dropped += 1;
        }
    }

    fn figures(
        &self,
        from: Duration,
        length: Duration,
        statistics: &Statistics,
        cpu: CpuUse,
        window: Duration,
    ) -> Interval {
        let options = self.options;
        let is_open = options.load.is_open();
        let timings = statistics.all_timings();
        let times = if is_open { &timings.response } else { &timings.service };
        let (from, seconds) = (from.as_secs_f64(), length.as_secs_f64());
        let whole = match options.limit {
            Limit::Duration(whole) => Some(whole.as_secs_f64()),
            Limit::Requests(_) => None,
        };
        let answers = statistics.answers();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Interval {
            from_seconds: from,
            seconds,
            target_rate: options.load.rate_between(
                from,
                from + seconds,
                options.warm_up.as_secs_f64(),
                whole,
            ),
            answers,
            rate: share(answers as f64, seconds),
            errors: statistics.error_count(),
            verdicts: statistics.verdicts(&self.target.traffic.block_statuses),
            p50: times.value_at_quantile(0.5),
            p90: times.value_at_quantile(0.9),
            p99: times.value_at_quantile(0.99),
            p99_9: times.value_at_quantile(0.999),
            max: times.max(),
            send_lag_p99: is_open.then(|| timings.send_lag.value_at_quantile(0.99)),
            generator_busy: share((cpu.running + cpu.waiting).as_secs_f64(), window.as_secs_f64()),
            resident_bytes: None,
        }
    }
}

/// Which interval a moment belongs to.
pub(super) fn number_at(now: Instant, measured_from: Instant, interval: Duration) -> u64 {
    let since = now.saturating_duration_since(measured_from).as_nanos();
    u64::try_from(since / interval.as_nanos().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_wider_intervals_and_not_fewer() {
        let fitting = |asked: u64, hours: u64| {
            let limit = Limit::Duration(Duration::from_secs(hours * 3600));
            fitting_length(Duration::from_millis(asked), limit)
        };
        assert_eq!(fitting(1000, 27), Duration::from_secs(1));
        assert_eq!(fitting(1000, 48), Duration::from_secs(2));
        // Ten days are 86,400,000 times as much.
        assert_eq!(fitting(10, 240), Duration::from_millis(8640));
        assert_eq!(fitting_length(Duration::from_secs(1), Limit::Requests(9)), Duration::from_secs(1));
    }

    #[test]
    fn a_thread_that_ended_holds_no_interval_back() {
        let mut through = Through(vec![Some(0); 2]);
        through.note(0, 0, false);
        assert_eq!(through.complete(), 0);
        through.note(1, 0, true);
        assert_eq!(through.complete(), 1);
        through.note(0, 1, false);
        assert_eq!(through.complete(), 2);
        // The present intervals of the last ones end with the run.
        through.note(0, 2, true);
        assert_eq!(through.complete(), 0);
    }
}
