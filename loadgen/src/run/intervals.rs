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

/// The most intervals that a report has. Later ones are shown and logged, but not kept.
const MOST_INTERVALS: usize = 100_000;

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
    /// For each thread, how many whole intervals it is through with.
    through: Vec<u64>,
    pending: BTreeMap<u64, Pending>,
    pub(super) intervals: Vec<Interval>,
    pub(super) total: Statistics,
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
            through: vec![0; threads],
            pending: BTreeMap::new(),
            intervals: Vec::new(),
            total: Statistics::new(),
        }
    }

    /// Takes a part, and ends the intervals that all threads are through with.
    pub(super) fn add(&mut self, part: Part) {
        if let Some(through) = self.through.get_mut(part.thread) {
            *through = part.number + u64::from(!part.is_last);
        }
        self.add_pending(part);
        let through = self.through.iter().min().copied().unwrap_or(0);
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < through) {
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
            is_open: self.options.load.mean_rate().is_some(),
        });
        self.total.add(&statistics);
        if self.intervals.len() < MOST_INTERVALS {
            self.intervals.push(interval);
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
        let is_open = options.load.mean_rate().is_some();
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
