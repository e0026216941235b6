//! What a comparison found: as JSON, and as a table for people.

use std::{collections::BTreeMap, fmt, fs};

use serde::Serialize;

use super::{Options, TargetOptions};
use crate::{
    report_time,
    run::{
        ErrorCount, Load, Statistics, Surprises, Times,
        slices::SliceOutcome,
        validity::{BUSY_LIMIT, Generator},
    },
};

/// Slices with fewer answers have coarse figures.
const FEW_ANSWERS: f64 = 100.0;

/// The result of a comparison.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "CompareReport"))]
pub struct Report {
    /// `compare`: what kind of report this is.
    pub report: &'static str,
    /// The version of the generator.
    pub version: &'static str,
    /// When the report was begun, RFC 3339 in UTC.
    pub time: String,
    /// Where it ran.
    pub host: Host,
    /// `closed` or `open`.
    pub mode: &'static str,
    /// When requests were sent: a sentence for people.
    pub load: String,
    /// Requests a second that were due on average; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_rate: Option<f64>,
    /// What was sent: the method and the size of the body, or which scenario.
    pub request: String,
    /// Threads of the generator.
    pub threads: usize,
    /// Length of the measured part of a slice.
    pub slice_seconds: f64,
    /// Length of what comes before it.
    pub warm_up_seconds: f64,
    /// What all targets agreed on before the timing.
    pub parity: ParityFound,
    /// The figures can be used; [`Self::reasons`] says why not.
    pub valid: bool,
    /// Why the figures can't be used.
    pub reasons: Vec<String>,
    /// What to know about the figures.
    pub notes: Vec<String>,
    /// A signal ended the comparison early.
    pub interrupted: bool,
    /// One for each number of connections.
    pub tables: Vec<Table>,
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Host {
    /// The processor's name, if it is known.
    pub cpu: String,
    /// Cores that this process may use.
    pub usable_cores: usize,
    /// The kernel's release.
    pub kernel: String,
}

/// What the parity check saw.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ParityFound {
    /// `status`, `length` or `bytes`.
    pub level: String,
    /// How often each target was asked.
    pub requests: usize,
    /// The statuses of the answers; 0 for a connection that was closed in place of an answer, as it should be.
    pub statuses: Vec<u16>,
    /// The size of all the first target's bodies.
    pub body_bytes: u64,
    /// Connections stay open behind every answer.
    pub keeps_open: bool,
}

/// All targets at one number of connections.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Table {
    /// Connections to each target.
    pub connections: usize,
    /// Cycles that were measured.
    pub cycles: usize,
    /// The targets, in the order given.
    pub targets: Vec<Row>,
    /// Every slice, in the order of time.
    pub slices: Vec<SliceRecord>,
}

/// One target's figures.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Row {
    /// The target's name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The processes that were measured, with their descendants.
    pub pids: Vec<u32>,
    /// Microseconds on a CPU for each answer; absent without processes.
    pub cpu_microseconds_per_answer: Option<Spread>,
    /// The same as a share of the first target's, in the same cycle.
    pub cpu_ratio: Option<Spread>,
    /// CPUs in use: 1 is one core all the time. Absent without processes.
    pub cpus: Option<Spread>,
    /// Answers a second.
    pub rate: Spread,
    /// The same as a share of the first target's, in the same cycle.
    pub rate_ratio: Option<Spread>,
    /// From sending, in an open loop from due, to the last byte; over all slices.
    pub latency: Times,
    /// The most memory in RAM that was seen behind a slice; absent without processes.
    pub resident_bytes: Option<u64>,
    /// The share of its time in which the generator ran or waited for a CPU.
    pub generator_busy: Spread,
    /// Connections that were made in the measured cycles.
    pub connects: u64,
    /// Measured answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Measured requests without an answer, by kind.
    pub errors: BTreeMap<String, ErrorCount>,
    /// Requests whose outcome was not what the scenario expects.
    pub surprises: u64,
    /// What the first of them met; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_surprise: Option<LabelSurprises>,
    /// Requests that were due and never sent.
    pub missed: u64,
    /// The same as a share of all that were due, 0 to 1.
    pub missed_share: f64,
    /// From when a request was due to when a connection took it; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_lag: Option<Times>,
    #[serde(skip)]
    generator: Vec<String>,
}

/// Surprises of one label.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct LabelSurprises {
    /// The label.
    pub label: String,
    /// How many, what was expected, and what the first one met.
    pub met: Surprises,
}

/// How a figure is spread over slices or cycles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Spread {
    /// How many slices or cycles.
    pub count: usize,
    /// Half are below.
    pub median: f64,
    /// A tenth is below.
    pub p10: f64,
    /// A tenth is above.
    pub p90: f64,
    /// The mean of the lowest tenth, one at least: for a time, what a quiet machine gives.
    pub lowest_tenth: f64,
}

/// One slice.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct SliceRecord {
    /// Name of the target.
    pub target: String,
    /// Number of the cycle, from 1.
    pub cycle: usize,
    /// Length of the measured window.
    pub seconds: f64,
    /// Complete answers in it.
    pub answers: u64,
    /// CPU time of the target's processes in it; absent without processes.
    pub target_cpu_seconds: Option<f64>,
    /// Median latency in nanoseconds.
    pub p50: u64,
    /// 99 in 100 are at most this, in nanoseconds.
    pub p99: u64,
    /// Memory of the target's processes behind it.
    pub resident_bytes: Option<u64>,
}

/// A slice as it was measured.
pub(super) struct Measured {
    pub(super) target: usize,
    pub(super) cycle: usize,
    pub(super) outcome: SliceOutcome,
    pub(super) resident_bytes: u64,
}

impl Measured {
    fn cpu_microseconds(&self) -> f64 {
        let window = &self.outcome.window;
        window.target_cpu.as_secs_f64() * 1e6 / window.answers as f64
    }

    fn rate(&self) -> f64 {
        self.outcome.window.answers as f64 / self.outcome.window.length.as_secs_f64()
    }

    fn cpus(&self) -> f64 {
        self.outcome.window.target_cpu.as_secs_f64() / self.outcome.window.length.as_secs_f64()
    }

    fn record(&self, target: &TargetOptions, open_loop: bool) -> SliceRecord {
        let statistics = &self.outcome.statistics;
        let timings = statistics.all_timings();
        let latency = if open_loop { &timings.response } else { &timings.service };
        let known = !target.pids.is_empty();
        SliceRecord {
            target: target.name.clone(),
            cycle: self.cycle,
            seconds: self.outcome.window.length.as_secs_f64(),
            answers: self.outcome.window.answers,
            target_cpu_seconds: known.then_some(self.outcome.window.target_cpu.as_secs_f64()),
            p50: latency.value_at_quantile(0.5),
            p99: latency.value_at_quantile(0.99),
            resident_bytes: known.then_some(self.resident_bytes),
        }
    }
}

impl Spread {
    /// `None` of nothing. Figures that are no numbers, of slices without answers, are left out.
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.filter(|figure| figure.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |quantile: f64| {
            let place = quantile * last as f64;
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        let lowest = &sorted[..sorted.len().div_ceil(10)];
        Some(Self {
            count: sorted.len(),
            median: at(0.5),
            p10: at(0.1),
            p90: at(0.9),
            lowest_tenth: lowest.iter().sum::<f64>() / lowest.len() as f64,
        })
    }
}

impl Report {
    pub(super) fn new(options: &Options, parity: ParityFound) -> Self {
        let request = &options.request;
        Self {
            report: "compare",
            version: env!("CARGO_PKG_VERSION"),
            time: report_time(),
            host: Host::this(),
            mode: if request.load == Load::Closed { "closed" } else { "open" },
            load: request.load.to_string(),
            target_rate: request.load.mean_rate(request.warm_up, request.limit),
            request: request.description(),
            threads: request.threads,
            slice_seconds: options.slice.as_secs_f64(),
            warm_up_seconds: options.warm_up.as_secs_f64(),
            parity,
            valid: false,
            reasons: Vec::new(),
            notes: Vec::new(),
            interrupted: false,
            tables: Vec::new(),
        }
    }

    pub(super) fn add_table(
        &mut self,
        options: &Options,
        connections: usize,
        mut measured: Vec<Measured>,
        labels: &[String],
    ) {
        // The last cycle may have been cut short.
        let cycles = measured.len() / options.targets.len();
        measured.retain(|slice| slice.cycle <= cycles);
        let open_loop = self.target_rate.is_some();
        let record = |slice: &Measured| slice.record(&options.targets[slice.target], open_loop);
        let slices = measured.iter().map(record).collect();
        let targets = (0..options.targets.len())
            .filter_map(|index| {
                row(&options.targets[index], index, &measured, open_loop, connections, labels)
            })
            .collect();
        self.tables.push(Table { connections, cycles, targets, slices });
    }

    /// Says whether the figures can be used, and what to know about them.
    pub(super) fn judge(&mut self) {
        for table in &self.tables {
            if table.targets.is_empty() {
                self.reasons.push(format!("no cycle with {} connections was complete", table.connections));
            }
            for row in &table.targets {
                let place = |what: String| format!("{}/{}: {what}", row.name, table.connections);
                self.reasons
                    .extend(row.find_reasons(&self.parity.statuses, table.cycles).into_iter().map(place));
                self.notes.extend(row.find_notes(self.slice_seconds).into_iter().map(place));
            }
        }
        self.valid = self.reasons.is_empty();
    }
}

impl Row {
    /// Why its figures can't be used.
    fn find_reasons(&self, statuses: &[u16], cycles: usize) -> Vec<String> {
        let mut reasons = Vec::new();
        for (kind, error) in &self.errors {
            reasons.push(format!("{} requests failed: {kind} ({})", error.count, error.example));
        }
        let others: u64 =
            self.statuses.iter().filter(|(other, _)| !statuses.contains(other)).map(|(_, count)| count).sum();
        if others > 0 {
            reasons.push(format!("{others} answers had a status that the parity check did not see"));
        }
        if let Some(LabelSurprises { label, met }) = &self.first_surprise {
            let Surprises { expected, example, .. } = met;
            reasons.push(format!(
                "{} requests had another outcome than the scenario expects: `{label}` expected {expected}, first met {example}",
                self.surprises
            ));
        }
        reasons.extend_from_slice(&self.generator);
        if self.rate.count < cycles || self.rate.lowest_tenth == 0.0 {
            reasons.push("a slice had no answers: longer slices are needed".to_owned());
        }
        reasons
    }

    /// What to know about its figures.
    fn find_notes(&self, slice_seconds: f64) -> Vec<String> {
        let mut notes = Vec::new();
        if self.rate.median * slice_seconds < FEW_ANSWERS {
            notes.push(
                "few answers in a slice, so its figures are coarse: longer slices are needed".to_owned(),
            );
        }
        if self.send_lag.is_none() && self.generator_busy.median > BUSY_LIMIT {
            notes.push(format!(
                "the generator was busy {:.0} % of the time, so answers a second are a lower bound; CPU time \
                 for each answer holds",
                self.generator_busy.median * 100.0
            ));
        }
        notes
    }
}

/// What tells whether the generator kept up, over all slices of a target.
fn generator(statistics: &Statistics, busy_share: f64, seconds: f64, connections: usize) -> Generator {
    Generator {
        busy_share,
        seconds,
        requests: statistics.requests(),
        missed: statistics.missed,
        lag_p99: statistics.all_timings().send_lag.value_at_quantile(0.99),
        waited_for_connection: statistics.waited_for_connection,
        waited_for_set_up: statistics.waited_for_set_up,
        connections,
    }
}

/// `None` without slices.
fn row(
    target: &TargetOptions,
    index: usize,
    measured: &[Measured],
    open_loop: bool,
    connections: usize,
    labels: &[String],
) -> Option<Row> {
    let own = || measured.iter().filter(move |slice| slice.target == index);
    let known = !target.pids.is_empty();
    let spread = |figure: fn(&Measured) -> f64| Spread::of(own().map(figure));
    // Each slice with the first target's of the same cycle.
    let ratio = |figure: fn(&Measured) -> f64| {
        Spread::of(own().filter_map(|slice| {
            let first = measured.iter().find(|other| other.target == 0 && other.cycle == slice.cycle)?;
            Some(figure(slice) / figure(first))
        }))
    };
    let mut statistics = Statistics::new();
    own().for_each(|slice| statistics.add(&slice.outcome.statistics));
    let timings = statistics.all_timings();
    let generator_busy = spread(|slice| slice.outcome.busy)?;
    let seconds = own().map(|slice| slice.outcome.window.length.as_secs_f64()).sum();
    let generator = generator(&statistics, generator_busy.median, seconds, connections);
    // In a closed loop a busy generator makes the rate a lower bound, which a note says.
    let faults = [generator.busy(), generator.missed(), generator.late()].into_iter().flatten();
    let (surprises, first_surprise) = statistics.surprises();
    Some(Row {
        name: target.name.clone(),
        url: target.url.clone(),
        pids: target.pids.clone(),
        cpu_microseconds_per_answer: spread(Measured::cpu_microseconds).filter(|_| known),
        cpu_ratio: ratio(Measured::cpu_microseconds).filter(|_| known),
        cpus: spread(Measured::cpus).filter(|_| known),
        rate: spread(Measured::rate)?,
        rate_ratio: ratio(Measured::rate),
        latency: Times::of(if open_loop { &timings.response } else { &timings.service }),
        resident_bytes: own().map(|slice| slice.resident_bytes).max().filter(|_| known),
        generator_busy,
        connects: statistics.connect.len(),
        statuses: statistics.statuses(None),
        errors: statistics.errors_by_kind(),
        surprises,
        first_surprise: first_surprise.map(|(label, met)| LabelSurprises {
            label: labels.get(label).cloned().unwrap_or_default(),
            met: met.clone(),
        }),
        missed: statistics.missed,
        missed_share: generator.missed_share(),
        send_lag: open_loop.then(|| Times::of(&timings.send_lag)),
        generator: if open_loop { faults.collect() } else { Vec::new() },
    })
}

impl Host {
    pub(crate) fn this() -> Self {
        let line = |path: &str, prefix: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or("unknown");
            value.trim_start_matches([' ', '\t', ':']).trim_end().to_owned()
        };
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            usable_cores: crate::default_threads(),
            kernel: line("/proc/sys/kernel/osrelease", ""),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { cpu, usable_cores, kernel } = &self.host;
        writeln!(formatter, "{cpu}, {usable_cores} usable cores, Linux {kernel}")?;
        let load = &self.load;
        writeln!(
            formatter,
            "{}, {load}, {} generator threads; slices of {:.0} ms behind {:.0} ms of warm-up",
            self.request,
            self.threads,
            self.slice_seconds * 1e3,
            self.warm_up_seconds * 1e3
        )?;
        let ParityFound { level, requests, statuses, body_bytes, .. } = &self.parity;
        let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
        writeln!(
            formatter,
            "parity: {requests} answers of each target, the same by {level}: status {}, {body_bytes} body bytes",
            statuses.join(", ")
        )?;
        for table in &self.tables {
            write_table(formatter, table)?;
        }
        for note in &self.notes {
            writeln!(formatter, "note: {note}")?;
        }
        if self.interrupted {
            writeln!(formatter, "interrupted: this is what was measured until then")?;
        }
        if self.valid {
            return writeln!(formatter, "valid");
        }
        writeln!(formatter, "NOT VALID")?;
        self.reasons.iter().try_for_each(|reason| writeln!(formatter, "  {reason}"))
    }
}

fn write_table(formatter: &mut fmt::Formatter<'_>, table: &Table) -> fmt::Result {
    writeln!(
        formatter,
        "\n{} connections, {} cycles; medians over slices, p10-p90",
        table.connections, table.cycles
    )?;
    let header = [
        "target",
        "CPU us/answer",
        "p10-p90",
        "x first",
        "p10-p90",
        "answers/s",
        "x first",
        "p50",
        "p99",
        "CPUs",
        "RSS MiB",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(table.targets.iter().map(cells));
    let widths: Vec<usize> = (0..header.len())
        .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    for line in &lines {
        write!(formatter, "{:<width$}", line[0], width = widths[0])?;
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            write!(formatter, "  {cell:>width$}")?;
        }
        writeln!(formatter)?;
    }
    writeln!(formatter)
}

fn cells(row: &Row) -> [String; 11] {
    let median = |spread: Option<Spread>, digits: usize| {
        spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.digits$}", spread.median))
    };
    let range = |spread: Option<Spread>, digits: usize| {
        spread.map_or_else(
            || "-".to_owned(),
            |spread| format!("{:.digits$}-{:.digits$}", spread.p10, spread.p90),
        )
    };
    [
        row.name.clone(),
        median(row.cpu_microseconds_per_answer, 2),
        range(row.cpu_microseconds_per_answer, 2),
        median(row.cpu_ratio, 3),
        range(row.cpu_ratio, 3),
        median(Some(row.rate), 0),
        median(row.rate_ratio, 3),
        row.latency.text(row.latency.p50),
        row.latency.text(row.latency.p99),
        median(row.cpus, 2),
        row.resident_bytes
            .map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1_048_576.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_and_tenths() {
        let spread = Spread::of((0..=20).rev().map(f64::from).chain([f64::NAN])).unwrap();
        let expected = Spread { count: 21, median: 10.0, p10: 2.0, p90: 18.0, lowest_tenth: 1.0 };
        assert_eq!(spread, expected);
        assert_eq!(Spread::of([4.0, 5.0].into_iter()).unwrap().median, 4.5);
        assert_eq!(Spread::of(std::iter::empty()), None);
    }
}
