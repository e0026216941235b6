//! What one thread counts; added up at the end.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::report::ErrorCount;

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
        }
    }

    pub(super) fn error(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        let entry = self.errors.entry(kind).or_insert_with(|| ErrorCount { count: 0, example: example() });
        entry.count += 1;
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
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
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
pub(super) fn record(histogram: &mut Histo, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

fn histogram() -> Histo {
    // The bounds are constants within what the histogram allows.
    Histogram::new_with_bounds(1, LONGEST_NANOSECONDS, SIGNIFICANT_DIGITS).expect("valid histogram bounds")
}
