//! What a run found: as data. How it reads for people is in `text`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Limit, Load, Options, Work,
    intervals::Interval,
    soak::Soak,
    statistics::{Histo, LabelStatistics, Statistics, Surprises, Timings},
    traffic::Traffic,
    validity::Generator,
    worker::Outcome,
};
use crate::{Verdict, compare::Host, report_time, units::format_nanoseconds};

/// Where resumption is measured, this share of handshakes must be resumed. The first on each connection can't be.
const RESUMED_SHARE: f64 = 0.9;
/// Points of a curve between a quantile and the one half as far from 1.
const POINTS_PER_HALVING: u32 = 4;

/// The result of a run. Counts and times cover the measured requests: those that started after the warm-up.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "RunReport"))]
pub struct Report {
    /// `run`: what kind of report this is.
    pub report: &'static str,
    /// The version of the generator.
    pub version: &'static str,
    /// When the report was made, RFC 3339 in UTC.
    pub time: String,
    /// The machine of the generator.
    pub host: Host,
    /// What was asked.
    pub url: String,
    /// What was sent: a request line and the size of its body, or which scenario.
    pub request: String,
    /// `requests` or `handshakes`.
    pub work: &'static str,
    /// `closed` or `open`.
    pub mode: &'static str,
    /// When requests were sent: a sentence for people.
    pub load: String,
    /// Requests a second that were due on average; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_rate: Option<f64>,
    /// Connections.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// `io_uring` or `epoll`.
    pub io: &'static str,
    /// The figures can be used; [`Self::reasons`] says why not.
    pub valid: bool,
    /// Why the run isn't valid: sentences for people.
    pub reasons: Vec<String>,
    /// What to know about the figures: sentences for people.
    pub notes: Vec<String>,
    /// A signal ended the run early.
    pub interrupted: bool,
    /// Length of the measured part.
    pub elapsed_seconds: f64,
    /// Measured requests that were answered or failed.
    pub requests: u64,
    /// Complete answers a second.
    pub rate: f64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// What became of the requests, as statuses and errors tell it.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Requests without a complete answer, by kind.
    pub errors: BTreeMap<String, ErrorCount>,
    /// Requests that were due before the end and never sent; 0 in a closed loop.
    pub missed: u64,
    /// Requests, those never sent included, that were due while all connections were busy; 0 in a closed loop.
    pub waited_for_connection: u64,
    /// The same while connections were still being made, before all were up; 0 in a closed loop.
    pub waited_for_set_up: u64,
    /// Bytes of complete answers, heads and framing included, TLS not.
    pub received_bytes: u64,
    /// Bytes of the requests that were answered.
    pub sent_bytes: u64,
    /// What the generator itself used.
    pub cpu: Cpu,
    /// TLS handshakes; both 0 on plain TCP.
    pub handshakes: Handshakes,
    /// Times of all answers.
    #[serde(flatten)]
    pub times: AnswerTimes,
    /// TCP connections, over the whole run, warm-up too.
    pub connect_time: Times,
    /// Curves of the same times, for plots.
    pub curves: Curves,
    /// Times by status; absent if there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_status: BTreeMap<u16, AnswerTimes>,
    /// Times by verdict.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_verdict: BTreeMap<Verdict, AnswerTimes>,
    /// By label of the scenario; absent without one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelReport>,
    /// Requests whose outcome was not what the scenario expects.
    pub surprises: u64,
    /// How the target changed over the time of the run; absent if that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
    /// The run in intervals.
    pub intervals: Vec<Interval>,
}

/// Times of some answers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnswerTimes {
    /// From the sending of a request to the last byte of its answer.
    pub service_time: Times,
    /// From the sending of a request to the first byte of its answer.
    pub first_byte_time: Times,
    /// From when a request was due to the last byte of its answer; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_time: Option<Times>,
    /// From when a request was due to when a connection took it; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_lag: Option<Times>,
}

/// Distributions as points: a quantile, 0 to 1, and the nanoseconds that it has at most.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Curves {
    /// Service times.
    pub service_time: Vec<(f64, u64)>,
    /// Response times; empty in a closed loop.
    pub response_time: Vec<(f64, u64)>,
    /// Send lag; empty in a closed loop.
    pub send_lag: Vec<(f64, u64)>,
}

/// What a run found about one label of its scenario.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct LabelReport {
    /// Measured requests that were answered or failed.
    pub requests: u64,
    /// What became of them.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Outcomes that were not expected, with the first of them; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surprises: Option<Surprises>,
    /// Times of its answers.
    #[serde(flatten)]
    pub times: AnswerTimes,
    /// Its response times, in a closed loop service times, as points: a quantile, 0 to 1, and nanoseconds.
    pub curve: Vec<(f64, u64)>,
}

/// Failed requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ErrorCount {
    /// How many.
    pub count: u64,
    /// What the first one said.
    pub example: String,
}

/// What the generator's threads used in the measured time.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Cpu {
    /// Seconds on a CPU, over all threads.
    pub used_seconds: f64,
    /// Seconds in which a thread could have run but others had the CPU.
    pub waiting_seconds: f64,
    /// Both together as a share of the threads' time, 0 to 1.
    pub busy_share: f64,
    /// Microseconds on a CPU for each answer.
    pub microseconds_per_answer: f64,
}

/// TLS handshakes of the whole run, warm-up included.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Handshakes {
    /// With certificates.
    pub full: u64,
    /// From an earlier session.
    pub resumed: u64,
    /// Times of those with certificates, TCP not included.
    pub full_time: Times,
    /// Times of those from an earlier session, TCP not included.
    pub resumed_time: Times,
}

/// A distribution of times, in nanoseconds, to three significant digits.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Times {
    /// How many times were recorded.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation.
    pub stdev: f64,
    /// The median.
    pub p50: u64,
    /// Nine in ten are at most this.
    pub p90: u64,
    /// 99 in 100 are at most this.
    pub p99: u64,
    /// 999 in 1000 are at most this.
    pub p99_9: u64,
    /// 9999 in 10000 are at most this.
    pub p99_99: u64,
    /// The longest.
    pub max: u64,
}

impl Times {
    /// One of its figures as people read it; without any times there is none.
    pub(crate) fn text(&self, nanoseconds: u64) -> String {
        if self.count == 0 { "-".to_owned() } else { format_nanoseconds(nanoseconds) }
    }

    pub(crate) fn of(histogram: &Histo) -> Self {
        let at = |quantile: f64| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            stdev: histogram.stdev(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
        }
    }
}

impl AnswerTimes {
    fn of(timings: &Timings, is_open: bool) -> Self {
        let open = |histogram| is_open.then(|| Times::of(histogram));
        Self {
            service_time: Times::of(&timings.service),
            first_byte_time: Times::of(&timings.first_byte),
            response_time: open(&timings.response),
            send_lag: open(&timings.send_lag),
        }
    }

    /// Response times, in a closed loop service times.
    #[must_use]
    pub fn main(&self) -> &Times {
        self.response_time.as_ref().unwrap_or(&self.service_time)
    }
}

fn curve(histogram: &Histo) -> Vec<(f64, u64)> {
    let points = histogram.iter_quantiles(POINTS_PER_HALVING);
    points.map(|point| (point.quantile_iterated_to(), point.value_iterated_to())).collect()
}

impl Handshakes {
    fn of(statistics: &Statistics) -> Self {
        Self {
            full: statistics.full_handshake.len(),
            resumed: statistics.resumed_handshake.len(),
            full_time: Times::of(&statistics.full_handshake),
            resumed_time: Times::of(&statistics.resumed_handshake),
        }
    }
}

impl Curves {
    fn of(timings: &Timings) -> Self {
        Self {
            service_time: curve(&timings.service),
            response_time: curve(&timings.response),
            send_lag: curve(&timings.send_lag),
        }
    }
}

/// What a run's threads measured, put together.
pub(super) struct Measured {
    pub(super) statistics: Statistics,
    pub(super) outcome: Outcome,
    pub(super) intervals: Vec<Interval>,
    pub(super) threads: usize,
    pub(super) interrupted: bool,
}

impl Report {
    pub(super) fn new(options: &Options, traffic: &Traffic, measured: Measured) -> Self {
        let Measured { statistics, outcome, intervals, threads, interrupted } = measured;
        let answers = statistics.answers();
        let elapsed_seconds = outcome.elapsed.as_secs_f64();
        let is_open = options.load != Load::Closed;
        let timings = statistics.all_timings();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let mut report = Self {
            report: "run",
            version: env!("CARGO_PKG_VERSION"),
            time: report_time(),
            host: Host::this(),
            url: options.url.clone(),
            request: traffic.description.clone(),
            work: options.work.name(),
            mode: if is_open { "open" } else { "closed" },
            load: options.load.to_string(),
            target_rate: options.load.mean_rate(options.warm_up, options.limit),
            connections: options.connections,
            threads,
            io: if outcome.on_epoll { "epoll" } else { "io_uring" },
            valid: false,
            reasons: Vec::new(),
            notes: Vec::new(),
            interrupted,
            elapsed_seconds,
            requests: statistics.requests(),
            rate: share(answers as f64, elapsed_seconds),
            statuses: statistics.statuses(None),
            verdicts: statistics.verdicts(&traffic.block_statuses),
            errors: statistics.errors_by_kind(),
            missed: statistics.missed,
            waited_for_connection: statistics.waited_for_connection,
            waited_for_set_up: statistics.waited_for_set_up,
            received_bytes: statistics.received_bytes,
            sent_bytes: statistics.sent_bytes,
            cpu: Cpu::of(&outcome, answers),
            handshakes: Handshakes::of(&statistics),
            times: AnswerTimes::of(&timings, is_open),
            connect_time: Times::of(&statistics.connect),
            curves: Curves::of(&timings),
            by_status: by_status(&statistics, is_open),
            by_verdict: by_verdict(&statistics, &traffic.block_statuses, is_open),
            labels: labels(&statistics, &traffic.labels, is_open),
            surprises: statistics.surprises().0,
            soak: options.soak.then(|| Soak::of(&intervals)),
            intervals,
        };
        report.reasons = report.find_reasons(options);
        report.valid = report.reasons.is_empty();
        report.notes.extend(report.unsent_labels(traffic));
        report
    }

    /// A note on the labels that should have been sent and were not.
    fn unsent_labels(&self, traffic: &Traffic) -> Option<String> {
        let names = traffic.used_labels().into_iter().filter_map(|label| traffic.labels.get(label));
        let is_unsent = |name: &&String| self.labels.get(*name).is_none_or(|label| label.requests == 0);
        let unsent: Vec<&str> = names.filter(is_unsent).map(String::as_str).collect();
        (!unsent.is_empty()).then(|| {
            let what = "no request was sent with the label";
            format!("{what} {}: a longer run or larger weights are needed", unsent.join(", "))
        })
    }

    /// What tells whether the generator kept up.
    pub(crate) fn generator(&self) -> Generator {
        Generator {
            busy_share: self.cpu.busy_share,
            seconds: self.elapsed_seconds,
            requests: self.requests,
            missed: self.missed,
            lag_p99: self.times.send_lag.as_ref().map_or(0, |lag| lag.p99),
            waited_for_connection: self.waited_for_connection,
            waited_for_set_up: self.waited_for_set_up,
            connections: self.connections,
        }
    }

    /// Why the figures can't be trusted.
    fn find_reasons(&self, options: &Options) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.interrupted {
            reasons.push(interrupted(self.elapsed_seconds));
        }
        let answers = self.times.service_time.count;
        if self.requests == 0 || answers == 0 && self.labels.is_empty() {
            reasons.push("no request was answered".to_owned());
        }
        for (kind, error) in &self.errors {
            reasons.push(format!("{} requests failed: {kind} ({})", error.count, error.example));
        }
        let generator = self.generator();
        reasons.extend(generator.busy());
        if let (Limit::Requests(wanted), false) = (options.limit, self.interrupted)
            && self.requests < wanted
        {
            reasons.push(format!("only {} of {wanted} requests were made", self.requests));
        }
        reasons.extend(generator.missed());
        reasons.extend(generator.late());
        let Handshakes { full, resumed, .. } = self.handshakes;
        if options.work == Work::Handshakes
            && options.resume
            && (resumed as f64)
                < (full + resumed).saturating_sub(self.connections as u64) as f64 * RESUMED_SHARE
        {
            reasons.push(format!(
                "only {resumed} of {} handshakes were resumed: the target gives no tickets, or takes them back (--no-resumption measures full handshakes)",
                full + resumed
            ));
        }
        reasons
    }
}

/// Why the figures of what a signal ended are not those that were asked for.
pub(crate) fn interrupted(after_seconds: f64) -> String {
    format!("interrupted after {after_seconds:.1} s: this is what was measured until then")
}

impl Cpu {
    fn of(outcome: &Outcome, answers: u64) -> Self {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let (used, waiting) = (outcome.cpu.running.as_secs_f64(), outcome.cpu.waiting.as_secs_f64());
        Self {
            used_seconds: used,
            waiting_seconds: waiting,
            busy_share: share(used + waiting, outcome.cpu_window.as_secs_f64()),
            microseconds_per_answer: share(used * 1e6, answers as f64),
        }
    }
}

fn by_status(statistics: &Statistics, is_open: bool) -> BTreeMap<u16, AnswerTimes> {
    let statuses = statistics.statuses(None).into_keys();
    statuses
        .map(|wanted| (wanted, AnswerTimes::of(&statistics.timings(|_, status| status == wanted), is_open)))
        .collect()
}

fn by_verdict(
    statistics: &Statistics,
    block_statuses: &[u16],
    is_open: bool,
) -> BTreeMap<Verdict, AnswerTimes> {
    let verdict = |status: u16| Verdict::of_status(status, block_statuses);
    let mut verdicts: Vec<Verdict> = statistics.statuses(None).into_keys().map(verdict).collect();
    verdicts.sort_unstable();
    verdicts.dedup();
    let times = |wanted: Verdict| {
        let timings = statistics.timings(|_, status| status != 0 && verdict(status) == wanted);
        (wanted, AnswerTimes::of(&timings, is_open))
    };
    verdicts.into_iter().map(times).collect()
}

fn labels(statistics: &Statistics, names: &[String], is_open: bool) -> BTreeMap<String, LabelReport> {
    let none = LabelStatistics::default();
    let report = |(index, name): (usize, &String)| {
        let label = statistics.labels.get(index).unwrap_or(&none);
        let timings = statistics.timings(|label, _| label == index);
        let report = LabelReport {
            requests: label.verdicts.values().sum(),
            verdicts: label.verdicts.clone(),
            statuses: statistics.statuses(Some(index)),
            surprises: label.surprises.clone(),
            times: AnswerTimes::of(&timings, is_open),
            curve: curve(if is_open { &timings.response } else { &timings.service }),
        };
        (name.clone(), report)
    };
    names.iter().enumerate().map(report).collect()
}
