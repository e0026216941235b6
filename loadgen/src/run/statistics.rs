//! What one thread counts; added up at the end.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::report::ErrorCount;
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
pub(crate) struct Statistics {
    /// From the sending to the last byte of the answer.
    pub(crate) service: Histo,
    /// From when the request was due to the last byte of the answer. Open loop only.
    pub(crate) response: Histo,
    /// From when the request was due to the sending. Open loop only.
    pub(crate) send_lag: Histo,
    /// Connection set-up, TLS included.
    pub(crate) connect: Histo,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) errors: BTreeMap<&'static str, ErrorCount>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) full_handshakes: u64,
    pub(super) resumed_handshakes: u64,
    /// Requests that were due before a connection was free.
    pub(super) waited_for_connection: u64,
    /// Requests that were due and never sent.
    pub(crate) missed: u64,
    /// Requests that got no answer, as the scenario wants it.
    pub(crate) closed_as_expected: u64,
    /// By label of the scenario, as far as they were used.
    pub(crate) labels: Vec<LabelStatistics>,
}

/// Counts and times of one label's measured requests.
pub(crate) struct LabelStatistics {
    pub(super) service: Histo,
    pub(super) response: Histo,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) verdicts: BTreeMap<Verdict, u64>,
    /// Requests whose outcome was not the expected one, and what the first of them met.
    pub(super) surprises: Option<Surprises>,
}

/// Outcomes that were not expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Surprises {
    /// How many.
    pub count: u64,
    /// What was expected of the first one.
    pub expected: String,
    /// What it met.
    pub example: String,
}

impl LabelStatistics {
    fn new() -> Self {
        Self {
            service: growing_histogram(),
            response: growing_histogram(),
            statuses: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            surprises: None,
        }
    }

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
        // Growing histograms take any value that they have recorded themselves.
        self.service += &other.service;
        self.response += &other.response;
        add_counts(&mut self.statuses, &other.statuses);
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

impl Statistics {
    pub(crate) fn new() -> Self {
        Self {
            service: histogram(),
            response: histogram(),
            send_lag: histogram(),
            connect: histogram(),
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            received_bytes: 0,
            sent_bytes: 0,
            full_handshakes: 0,
            resumed_handshakes: 0,
            waited_for_connection: 0,
            missed: 0,
            closed_as_expected: 0,
            labels: Vec::new(),
        }
    }

    pub(super) fn error(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        let entry = self.errors.entry(kind).or_insert_with(|| ErrorCount { count: 0, example: example() });
        entry.count += 1;
    }

    /// The statistics of a label.
    pub(super) fn label(&mut self, index: usize) -> &mut LabelStatistics {
        if self.labels.len() <= index {
            self.labels.resize_with(index + 1, LabelStatistics::new);
        }
        &mut self.labels[index]
    }

    pub(crate) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().map(|error| error.count).sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.service += &other.service;
        self.response += &other.response;
        self.send_lag += &other.send_lag;
        self.connect += &other.connect;
        add_counts(&mut self.statuses, &other.statuses);
        for (index, label) in other.labels.iter().enumerate() {
            self.label(index).add(label);
        }
        self.closed_as_expected += other.closed_as_expected;
        for (kind, error) in &other.errors {
            let entry = self
                .errors
                .entry(kind)
                .or_insert_with(|| ErrorCount { count: 0, example: error.example.clone() });
            entry.count += error.count;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.full_handshakes += other.full_handshakes;
        self.resumed_handshakes += other.resumed_handshakes;
        self.waited_for_connection += other.waited_for_connection;
        self.missed += other.missed;
    }
}

/// Notes one time.
pub(crate) fn record(histogram: &mut Histo, time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // Both kinds of histogram take every value up to this.
    let _recorded = histogram.record(nanoseconds.min(LONGEST_NANOSECONDS));
}

/// An empty histogram of times.
pub(crate) fn histogram() -> Histo {
    // The bounds are constants within what the histogram allows.
    Histogram::new_with_bounds(1, LONGEST_NANOSECONDS, SIGNIFICANT_DIGITS).expect("valid histogram bounds")
}

/// A histogram that takes memory as it needs it, for where there may be many.
fn growing_histogram() -> Histo {
    // The number of digits is a constant within what the histogram allows.
    Histogram::new(SIGNIFICANT_DIGITS).expect("valid histogram digits")
}
