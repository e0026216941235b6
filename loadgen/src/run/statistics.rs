//! What one thread counts; added up at the end.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{report::ErrorCount, schedule::Wait};
use crate::{Verdict, scenario::Expectation};

/// The longest time that a histogram tells apart: an hour. Longer ones count as an hour.
const LONGEST_NANOSECONDS: u64 = 3_600_000_000_000;
/// Three digits: a value is off by at most 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Times in nanoseconds.
pub(crate) type Histo = Histogram<u64>;

/// What one thread has done so far, for others to read while it goes on. It has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress {
    answers: AtomicU64,
}

impl Progress {
    /// Only the thread whose progress it is may call this: a plain load and store cost less than an atomic addition.
    pub(super) fn add_answer(&self) {
        self.answers.store(self.answers.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Complete answers so far, of the warm-up too.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

/// Counts and times of the measured requests.
///
/// Times are kept for each label and status alone: all other views are sums of these, so that a request is noted once.
pub(crate) struct Statistics {
    /// By label of the scenario (one without), and within that by status, as far as they were met.
    cells: Vec<Vec<(u16, Timings)>>,
    /// TCP connections that were set up.
    pub(crate) connect: Histo,
    pub(super) full_handshake: Histo,
    pub(super) resumed_handshake: Histo,
    pub(crate) errors: BTreeMap<&'static str, ErrorCount>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    /// Requests that were due before a connection was free.
    pub(crate) waited_for_connection: u64,
    /// Requests that were due before all connections were made.
    pub(crate) waited_for_set_up: u64,
    /// Requests that were due and never sent.
    pub(crate) missed: u64,
    /// Requests that got no answer, as the scenario wants it.
    pub(crate) closed_as_expected: u64,
    /// Requests that did not do what they should: no answer, a status 5xx that nobody expects, or another outcome than the
    /// scenario expects. Each counts once.
    pub(crate) failed: u64,
    /// By label of the scenario, as far as they were used.
    pub(crate) labels: Vec<LabelStatistics>,
}

/// Times of some answers.
pub(crate) struct Timings {
    /// From the sending to the last byte of the answer.
    pub(crate) service: Histo,
    /// From the sending to the first byte of the answer.
    pub(crate) first_byte: Histo,
    /// From when the request was due to the last byte of the answer. Open loop only.
    pub(crate) response: Histo,
    /// From when the request was due to when a connection took it. Open loop only.
    pub(crate) send_lag: Histo,
}

/// What is noted of one answer.
pub(super) struct Noted {
    /// 0 without a scenario.
    pub(super) label: usize,
    /// 0 for a handshake that no request follows.
    pub(super) status: u16,
    pub(super) service: Duration,
    pub(super) first_byte: Duration,
    /// Response time and send lag, in an open loop.
    pub(super) from_due: Option<(Duration, Duration)>,
}

/// Counts of one label's measured requests.
#[derive(Default)]
pub(crate) struct LabelStatistics {
    pub(super) verdicts: BTreeMap<Verdict, u64>,
    /// Requests whose outcome was not the expected one, and what the first of them met.
    pub(super) surprises: Option<Surprises>,
}

/// Outcomes that were not expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Surprises {
    /// How many.
    pub count: u64,
    /// What was expected of the first one.
    pub expected: String,
    /// What it met.
    pub example: String,
}

impl LabelStatistics {
    pub(super) fn add_verdict(
        &mut self,
        expect: Option<&Expectation>,
        verdict: Verdict,
        status: Option<u16>,
        example: impl FnOnce() -> String,
    ) {
        *self.verdicts.entry(verdict).or_default() += 1;
        if let Some(expect) = expect.filter(|expect| !expect.is_met(verdict, status)) {
            let first = || Surprises { count: 0, expected: expect.to_string(), example: example() };
            self.surprises.get_or_insert_with(first).count += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        add_counts(&mut self.verdicts, &other.verdicts);
        match (&mut self.surprises, &other.surprises) {
            (Some(own), Some(others)) => own.count += others.count,
            (own @ None, others) => own.clone_from(others),
            (Some(_), None) => {}
        }
    }
}

fn add_counts<K: Ord + Copy>(counts: &mut BTreeMap<K, u64>, others: &BTreeMap<K, u64>) {
    for (key, count) in others {
        *counts.entry(*key).or_default() += count;
    }
}

impl Timings {
    pub(crate) fn new() -> Self {
        let [service, first_byte, response, send_lag] = [(); 4].map(|()| histogram());
        Self { service, first_byte, response, send_lag }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Growing histograms take any value that they have recorded themselves.
        self.service += &other.service;
        self.first_byte += &other.first_byte;
        self.response += &other.response;
        self.send_lag += &other.send_lag;
    }
}

impl Statistics {
    pub(crate) fn new() -> Self {
        Self {
            cells: Vec::new(),
            connect: histogram(),
            full_handshake: histogram(),
            resumed_handshake: histogram(),
            errors: BTreeMap::new(),
            received_bytes: 0,
            sent_bytes: 0,
            waited_for_connection: 0,
            waited_for_set_up: 0,
            missed: 0,
            closed_as_expected: 0,
            failed: 0,
            labels: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, noted: &Noted) {
        let timings = self.cell(noted.label, noted.status);
        record(&mut timings.service, noted.service);
        record(&mut timings.first_byte, noted.first_byte);
        if let Some((response, send_lag)) = noted.from_due {
            record(&mut timings.response, response);
            record(&mut timings.send_lag, send_lag);
        }
    }

    fn cell(&mut self, label: usize, status: u16) -> &mut Timings {
        if self.cells.len() <= label {
            self.cells.resize_with(label + 1, Vec::new);
        }
        let statuses = &mut self.cells[label];
        let index = statuses.iter().position(|(known, _)| *known == status).unwrap_or_else(|| {
            statuses.push((status, Timings::new()));
            statuses.len() - 1
        });
        &mut statuses[index].1
    }

    /// All cells: label, status and times.
    fn all(&self) -> impl Iterator<Item = (usize, u16, &Timings)> {
        self.cells
            .iter()
            .enumerate()
            .flat_map(|(label, cells)| cells.iter().map(move |(status, timings)| (label, *status, timings)))
    }

    /// The times of those answers that `belongs` takes by label and status.
    pub(crate) fn timings(&self, belongs: impl Fn(usize, u16) -> bool) -> Timings {
        let mut sum = Timings::new();
        for (_, _, timings) in self.all().filter(|(label, status, _)| belongs(*label, *status)) {
            sum.add(timings);
        }
        sum
    }

    /// The times of all answers.
    pub(crate) fn all_timings(&self) -> Timings {
        self.timings(|_, _| true)
    }

    /// Answers by status, of one label or of all. Handshakes that no request follows have none.
    pub(crate) fn statuses(&self, of_label: Option<usize>) -> BTreeMap<u16, u64> {
        let mut statuses = BTreeMap::new();
        for (label, status, timings) in self.all() {
            if status != 0 && of_label.is_none_or(|wanted| wanted == label) {
                *statuses.entry(status).or_default() += timings.service.len();
            }
        }
        statuses
    }

    /// What became of all requests, as statuses and errors tell it.
    pub(crate) fn verdicts(&self, block_statuses: &[u16]) -> BTreeMap<Verdict, u64> {
        let mut verdicts = BTreeMap::new();
        for (status, count) in self.statuses(None) {
            *verdicts.entry(Verdict::of_status(status, block_statuses)).or_default() += count;
        }
        for (kind, error) in &self.errors {
            *verdicts.entry(Verdict::of_error(kind)).or_default() += error.count;
        }
        if self.closed_as_expected > 0 {
            *verdicts.entry(Verdict::Closed).or_default() += self.closed_as_expected;
        }
        verdicts
    }

    /// Notes what a request waited for.
    pub(super) fn note_wait(&mut self, wait: Wait) {
        self.waited_for_connection += u64::from(wait == Wait::BusyConnections);
        self.waited_for_set_up += u64::from(wait == Wait::SetUp);
    }

    /// How many outcomes were not expected, and of the first label with such the index and what it met.
    pub(crate) fn surprises(&self) -> (u64, Option<(usize, &Surprises)>) {
        let all = || {
            let labels = self.labels.iter().enumerate();
            labels.filter_map(|(index, label)| Some((index, label.surprises.as_ref()?)))
        };
        (all().map(|(_, some)| some.count).sum(), all().next())
    }

    pub(super) fn error(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        let entry = self.errors.entry(kind).or_insert_with(|| ErrorCount { count: 0, example: example() });
        entry.count += 1;
    }

    /// The statistics of a label.
    pub(super) fn label(&mut self, index: usize) -> &mut LabelStatistics {
        if self.labels.len() <= index {
            self.labels.resize_with(index + 1, LabelStatistics::default);
        }
        &mut self.labels[index]
    }

    pub(crate) fn answers(&self) -> u64 {
        self.all().map(|(_, _, timings)| timings.service.len()).sum()
    }

    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().map(|error| error.count).sum()
    }

    pub(crate) fn errors_by_kind(&self) -> BTreeMap<String, ErrorCount> {
        self.errors.iter().map(|(kind, error)| ((*kind).to_owned(), error.clone())).collect()
    }

    /// Requests that were answered, failed, or ended without an answer as they should.
    pub(crate) fn requests(&self) -> u64 {
        self.answers() + self.error_count() + self.closed_as_expected
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (label, status, timings) in other.all() {
            self.cell(label, status).add(timings);
        }
        self.connect += &other.connect;
        self.full_handshake += &other.full_handshake;
        self.resumed_handshake += &other.resumed_handshake;
        for (index, label) in other.labels.iter().enumerate() {
            self.label(index).add(label);
        }
        self.closed_as_expected += other.closed_as_expected;
        self.failed += other.failed;
        for (kind, error) in &other.errors {
            let entry = self
                .errors
                .entry(kind)
                .or_insert_with(|| ErrorCount { count: 0, example: error.example.clone() });
            entry.count += error.count;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.waited_for_connection += other.waited_for_connection;
        self.waited_for_set_up += other.waited_for_set_up;
        self.missed += other.missed;
    }
}

/// Notes one time.
pub(crate) fn record(histogram: &mut Histo, time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // Growing histograms take every value.
    let _recorded = histogram.record(nanoseconds.min(LONGEST_NANOSECONDS));
}

/// An empty histogram of times, which takes memory as it needs it.
pub(crate) fn histogram() -> Histo {
    // The number of digits is a constant within what the histogram allows.
    Histogram::new(SIGNIFICANT_DIGITS).expect("valid histogram digits")
}
