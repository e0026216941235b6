//! What a run found: as JSON, and as text for people.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    Limit, Load, Options,
    statistics::{Histo, LabelStatistics, Surprises},
    worker::Outcome,
};
use crate::{Verdict, units::format_nanoseconds};

/// Above this share of its time, a generator thread is taken for the bottleneck.
const BUSY_LIMIT: f64 = 0.90;
/// A run at a rate must send this share of what was due.
const RATE_SHARE: f64 = 0.99;
/// Requests may be sent this much later than they are due, at the 99th percentile.
const SEND_LAG_LIMIT_NANOSECONDS: u64 = 2_000_000;

/// The result of a run. Counts and times cover the measured requests: those that started after the warm-up.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked.
    pub url: String,
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
    /// Requests without a complete answer, by kind.
    pub errors: BTreeMap<String, ErrorCount>,
    /// Requests that were due before the end and never sent; 0 in a closed loop.
    pub missed: u64,
    /// Requests that were due while all connections were busy; 0 in a closed loop.
    pub waited_for_connection: u64,
    /// Bytes of complete answers, heads and framing included, TLS not.
    pub received_bytes: u64,
    /// Bytes of the requests that were answered.
    pub sent_bytes: u64,
    /// What the generator itself used.
    pub cpu: Cpu,
    /// TLS handshakes; both 0 on plain TCP.
    pub handshakes: Handshakes,
    /// From the sending of a request to the last byte of its answer.
    pub service_time: Times,
    /// From when a request was due to the last byte of its answer; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_time: Option<Times>,
    /// From when a request was due to its sending; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_lag: Option<Times>,
    /// Connection set-up, TLS included; over the whole run, warm-up too.
    pub connect_time: Times,
    /// By label of the scenario; absent without one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelReport>,
    /// Requests whose outcome was not what the scenario expects.
    pub surprises: u64,
}

/// What a run found about one label of its scenario.
#[derive(Clone, Debug, Serialize)]
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
    /// From the sending of a request to the last byte of its answer.
    pub service_time: Times,
    /// From when a request was due to the last byte of its answer; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_time: Option<Times>,
}

impl LabelReport {
    fn of(statistics: &LabelStatistics, is_open: bool) -> Self {
        Self {
            requests: statistics.verdicts.values().sum(),
            verdicts: statistics.verdicts.clone(),
            statuses: statistics.statuses.clone(),
            surprises: statistics.surprises.clone(),
            service_time: Times::of(&statistics.service),
            response_time: is_open.then(|| Times::of(&statistics.response)),
        }
    }
}

/// Failed requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// How many.
    pub count: u64,
    /// What the first one said.
    pub example: String,
}

/// What the generator's threads used in the measured time.
#[derive(Clone, Debug, Serialize)]
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
pub struct Handshakes {
    /// With certificates.
    pub full: u64,
    /// From an earlier session.
    pub resumed: u64,
}

/// A distribution of times, in nanoseconds, to three significant digits.
#[derive(Clone, Debug, Serialize)]
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

impl Report {
    pub(super) fn new(
        options: &Options,
        labels: &[String],
        threads: usize,
        interrupted: bool,
        outcome: &Outcome,
    ) -> Self {
        let statistics = &outcome.statistics;
        let answers = statistics.answers();
        let elapsed_seconds = outcome.elapsed.as_secs_f64();
        let open = |histogram| (options.load != Load::Closed).then(|| Times::of(histogram));
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let (used, waiting) = (outcome.cpu.running.as_secs_f64(), outcome.cpu.waiting.as_secs_f64());
        let mut report = Self {
            url: options.url.clone(),
            mode: if options.load == Load::Closed { "closed" } else { "open" },
            load: options.load.to_string(),
            target_rate: options.load.mean_rate(),
            connections: options.connections,
            threads,
            io: if outcome.on_epoll { "epoll" } else { "io_uring" },
            valid: false,
            reasons: Vec::new(),
            interrupted,
            elapsed_seconds,
            requests: answers + statistics.error_count() + statistics.closed_as_expected,
            rate: share(answers as f64, elapsed_seconds),
            statuses: statistics.statuses.clone(),
            errors: statistics
                .errors
                .iter()
                .map(|(kind, error)| ((*kind).to_owned(), error.clone()))
                .collect(),
            missed: statistics.missed,
            waited_for_connection: statistics.waited_for_connection,
            received_bytes: statistics.received_bytes,
            sent_bytes: statistics.sent_bytes,
            cpu: Cpu {
                used_seconds: used,
                waiting_seconds: waiting,
                busy_share: share(used + waiting, outcome.cpu_window.as_secs_f64()),
                microseconds_per_answer: share(used * 1e6, answers as f64),
            },
            handshakes: Handshakes {
                full: statistics.full_handshakes,
                resumed: statistics.resumed_handshakes,
            },
            service_time: Times::of(&statistics.service),
            response_time: open(&statistics.response),
            send_lag: open(&statistics.send_lag),
            connect_time: Times::of(&statistics.connect),
            labels: labels
                .iter()
                .zip(&statistics.labels)
                .map(|(name, label)| (name.clone(), LabelReport::of(label, options.load != Load::Closed)))
                .collect(),
            surprises: statistics
                .labels
                .iter()
                .flat_map(|label| &label.surprises)
                .map(|some| some.count)
                .sum(),
        };
        report.reasons = report.find_reasons(options.limit);
        report.valid = report.reasons.is_empty();
        report
    }

    /// Why the figures can't be trusted.
    fn find_reasons(&self, limit: Limit) -> Vec<String> {
        let mut reasons = Vec::new();
        let answers: u64 = self.statuses.values().sum();
        if self.requests == 0 || answers == 0 && self.labels.is_empty() {
            reasons.push("no request was answered".to_owned());
        }
        for (kind, error) in &self.errors {
            reasons.push(format!("{} requests failed: {kind} ({})", error.count, error.example));
        }
        if self.cpu.busy_share > BUSY_LIMIT {
            reasons.push(format!(
                "the generator was a bottleneck itself: its threads ran or waited for a CPU {:.0} % of the time (limit {:.0} %)",
                self.cpu.busy_share * 100.0,
                BUSY_LIMIT * 100.0
            ));
        }
        if let (Limit::Requests(wanted), false) = (limit, self.interrupted)
            && self.requests < wanted
        {
            reasons.push(format!("only {} of {wanted} requests were made", self.requests));
        }
        let due = self.requests + self.missed;
        if (self.requests as f64) < due as f64 * RATE_SHARE {
            reasons.push(format!(
                "{} of {due} requests that were due were never sent: the target, or {} connections, can't keep up with the rate",
                self.missed, self.connections
            ));
        }
        if let Some(lag) = self.send_lag.as_ref().filter(|lag| lag.p99 > SEND_LAG_LIMIT_NANOSECONDS) {
            let who = if self.waited_for_connection * 100 > lag.count {
                "all connections were busy: more are needed, or the target is too slow"
            } else {
                "the generator was late itself"
            };
            reasons.push(format!(
                "requests were sent late, {} at the 99th percentile (limit {}); {who}",
                format_nanoseconds(lag.p99),
                format_nanoseconds(SEND_LAG_LIMIT_NANOSECONDS)
            ));
        }
        reasons
    }
}

impl Report {
    fn write_labels(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.labels.keys().map(|label| label.len()).max().unwrap_or(0);
        for (name, label) in &self.labels {
            let times = label.response_time.as_ref().unwrap_or(&label.service_time);
            write!(
                formatter,
                "  label   {name:<width$}  p50 {:>7}  p99 {:>7} ",
                format_nanoseconds(times.p50),
                format_nanoseconds(times.p99)
            )?;
            for (verdict, count) in &label.verdicts {
                write!(formatter, " {}: {count}", verdict.name())?;
            }
            if let Some(Surprises { count, expected, example }) = &label.surprises {
                write!(formatter, "  SURPRISES: {count}, expected {expected}, first met {example}")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = if self.target_rate.is_none() {
            "times are service times, without the waiting that a fixed load would see"
        } else {
            "response times count from when a request was due"
        };
        writeln!(formatter, "{}", self.url)?;
        writeln!(formatter, "  {}: {meaning}", self.load)?;
        writeln!(formatter, "  {} connections, {} threads on {}", self.connections, self.threads, self.io)?;
        writeln!(
            formatter,
            "  {} requests in {:.2} s: {:.1} answers/s, {:.2} MB/s received",
            self.requests,
            self.elapsed_seconds,
            self.rate,
            if self.elapsed_seconds > 0.0 {
                self.received_bytes as f64 / self.elapsed_seconds / 1e6
            } else {
                0.0
            }
        )?;
        let header = ["", "p50", "p90", "p99", "p99.9", "max", "mean"];
        writeln!(
            formatter,
            "  {:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            header[0], header[1], header[2], header[3], header[4], header[5], header[6]
        )?;
        let rows = [
            ("response time", self.response_time.as_ref()),
            ("service time", Some(&self.service_time)),
            ("send lag", self.send_lag.as_ref()),
            ("connect", Some(&self.connect_time)),
        ];
        for (name, times) in rows.into_iter().filter_map(|(name, times)| times.map(|times| (name, times))) {
            let values = [times.p50, times.p90, times.p99, times.p99_9, times.max, times.mean as u64];
            write!(formatter, "  {name:<14}")?;
            for value in values {
                write!(formatter, "{:>10}", format_nanoseconds(value))?;
            }
            writeln!(formatter)?;
        }
        let statuses: Vec<String> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(formatter, "  status  {}", statuses.join(", "))?;
        for (kind, error) in &self.errors {
            writeln!(formatter, "  error   {kind}: {} ({})", error.count, error.example)?;
        }
        self.write_labels(formatter)?;
        if self.handshakes.full + self.handshakes.resumed > 0 {
            writeln!(
                formatter,
                "  TLS     {} full, {} resumed handshakes",
                self.handshakes.full, self.handshakes.resumed
            )?;
        }
        writeln!(
            formatter,
            "  own CPU {:.1} us per answer, busy {:.0} %",
            self.cpu.microseconds_per_answer,
            self.cpu.busy_share * 100.0
        )?;
        if self.interrupted {
            writeln!(formatter, "  interrupted: this is what was measured until then")?;
        }
        if self.valid {
            return writeln!(formatter, "  valid");
        }
        writeln!(formatter, "  NOT VALID")?;
        self.reasons.iter().try_for_each(|reason| writeln!(formatter, "    {reason}"))
    }
}
