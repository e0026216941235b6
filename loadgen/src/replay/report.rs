//! Rates and lists: as JSON, and as text for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::Record;
use crate::{
    Verdict,
    compare::Host,
    report_time,
    run::{Histo, Times, histogram, record},
};

/// How much of a request line is listed.
const LINE_CHARACTERS: usize = 200;

/// With a larger share of requests that ended in an error, the rates say little about the target.
const ERROR_LIMIT: f64 = 0.05;

/// The result of a replay.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "ReplayReport"))]
pub struct Report {
    /// `replay`: what kind of report this is.
    pub report: &'static str,
    /// The version of the generator.
    pub version: &'static str,
    /// When the report was made, RFC 3339 in UTC.
    pub time: String,
    /// The machine of the generator.
    pub host: Host,
    /// Where the requests went.
    pub url: String,
    /// Records of the corpus.
    pub records: usize,
    /// Those that were sent; fewer after an interruption.
    pub sent: usize,
    /// The figures can be used; [`Self::reasons`] says why not.
    pub valid: bool,
    /// Why the figures can't be used: sentences for people.
    pub reasons: Vec<String>,
    /// From the first request to the last answer.
    pub elapsed_seconds: f64,
    /// Blocked attacks of all attacks; absent without attacks.
    pub recall: Option<Rate>,
    /// Attacks that were blocked or refused in any other way.
    pub recall_with_refused: Option<Rate>,
    /// Blocked benign requests of all benign requests; absent without benign requests.
    pub false_positive_rate: Option<Rate>,
    /// Benign requests that were blocked or refused in any other way.
    pub false_positive_rate_with_refused: Option<Rate>,
    /// The mean of recall and of the share of benign requests that were not blocked, 0 to 1; absent without either.
    pub balanced_accuracy: Option<f64>,
    /// Verdicts of all records with a label.
    pub labels: BTreeMap<String, LabelCounts>,
    /// The same by label and category.
    pub categories: Vec<CategoryReport>,
    /// How often each status or error came.
    pub outcomes: BTreeMap<String, u64>,
    /// From sending, connecting included, to the last byte, of every request.
    pub service_time: Times,
    /// Attacks that were not blocked.
    pub misses: Vec<Finding>,
    /// Benign requests that did not pass.
    pub false_alarms: Vec<Finding>,
    /// Requests that have an answer with a status.
    #[serde(skip)]
    answered: usize,
    #[serde(skip)]
    histogram: Histo,
    #[serde(skip)]
    by_category: BTreeMap<(String, String), LabelCounts>,
}

/// A share with the interval in which the real one lies with 95 % (Wilson's), all from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Rate {
    /// The share.
    pub rate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many it were.
    pub count: u64,
    /// Of how many.
    pub of: u64,
}

/// How many requests had which verdict.
pub type LabelCounts = BTreeMap<Verdict, u64>;

/// One label's category.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct CategoryReport {
    /// The label.
    pub label: String,
    /// The category.
    pub category: String,
    /// Its verdicts.
    pub verdicts: LabelCounts,
}

/// A request that was judged wrongly.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Finding {
    /// The record.
    pub id: String,
    /// Its category.
    pub category: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The status or the error.
    pub reason: String,
    /// The start of its request line, with anything unprintable escaped.
    pub request_line: String,
}

impl Rate {
    fn of(count: u64, of: u64) -> Option<Self> {
        // 1.96 standard deviations.
        const Z: f64 = 1.959_963_984_540_054;
        if of == 0 {
            return None;
        }
        let (rate, n) = (count as f64 / of as f64, of as f64);
        let (centre, scale) = (rate + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
        let (low, high) = (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0));
        Some(Self { rate, low, high, count, of })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, low, high, count, of } = self;
        write!(formatter, "{:.2} % ({count} of {of}; {:.2}-{:.2} %)", rate * 1e2, low * 1e2, high * 1e2)
    }
}

impl Report {
    pub(super) fn new(url: &str, records: usize, elapsed: Duration) -> Self {
        let histogram = histogram();
        Self {
            report: "replay",
            version: env!("CARGO_PKG_VERSION"),
            time: report_time(),
            host: Host::this(),
            url: url.to_owned(),
            records,
            sent: 0,
            valid: false,
            reasons: Vec::new(),
            elapsed_seconds: elapsed.as_secs_f64(),
            recall: None,
            recall_with_refused: None,
            false_positive_rate: None,
            false_positive_rate_with_refused: None,
            balanced_accuracy: None,
            labels: BTreeMap::new(),
            categories: Vec::new(),
            outcomes: BTreeMap::new(),
            service_time: Times::of(&histogram),
            misses: Vec::new(),
            false_alarms: Vec::new(),
            answered: 0,
            histogram,
            by_category: BTreeMap::new(),
        }
    }

    /// Takes what became of a record: `answer` has the status of its answer, or why there is none.
    pub(super) fn add(
        &mut self,
        sent: &Record,
        verdict: Verdict,
        answer: Result<u16, String>,
        time: Duration,
    ) {
        self.sent += 1;
        self.answered += usize::from(answer.is_ok());
        let reason = answer.map_or_else(|why| why, |status| format!("status {status}"));
        record(&mut self.histogram, time);
        *self.labels.entry(sent.label.clone()).or_default().entry(verdict).or_default() += 1;
        let category = (sent.label.clone(), sent.category.clone());
        *self.by_category.entry(category).or_default().entry(verdict).or_default() += 1;
        // The details of errors differ in ways that nobody wants to count.
        let outcome = reason.split_once(" (").map_or(&*reason, |(kind, _)| kind);
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        let list = match (&*sent.label, verdict) {
            ("attack", Verdict::Blocked) | ("benign", Verdict::Passed) => return,
            ("attack", _) => &mut self.misses,
            ("benign", _) => &mut self.false_alarms,
            _ => return,
        };
        let line = sent.raw.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        let line = line.escape_ascii().to_string();
        list.push(Finding {
            id: sent.id.clone(),
            category: sent.category.clone(),
            verdict,
            reason,
            request_line: line.chars().take(LINE_CHARACTERS).collect(),
        });
    }

    /// Works out what is left when all outcomes are there.
    pub(super) fn score(&mut self) {
        let count = |label: &str, verdicts: &[Verdict]| {
            let counts = self.labels.get(label);
            let of = counts.map_or(0, |counts| counts.values().sum());
            let some = |counts: &LabelCounts| verdicts.iter().filter_map(|verdict| counts.get(verdict)).sum();
            Rate::of(counts.map_or(0, some), of)
        };
        let refused = [Verdict::Blocked, Verdict::Unresolved];
        let (recall, false_positive_rate) =
            (count("attack", &[Verdict::Blocked]), count("benign", &[Verdict::Blocked]));
        let with_refused = (count("attack", &refused), count("benign", &refused));
        (self.recall_with_refused, self.false_positive_rate_with_refused) = with_refused;
        self.balanced_accuracy =
            recall.zip(false_positive_rate).map(|(recall, alarms)| (recall.rate + 1.0 - alarms.rate) / 2.0);
        (self.recall, self.false_positive_rate) = (recall, false_positive_rate);
        self.service_time = Times::of(&self.histogram);
        let categories = std::mem::take(&mut self.by_category).into_iter();
        self.categories = categories
            .map(|((label, category), verdicts)| CategoryReport { label, category, verdicts })
            .collect();
        self.reasons = self.find_reasons();
        self.valid = self.reasons.is_empty();
    }

    fn find_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let of = |verdict: Verdict| -> u64 {
            self.labels.values().filter_map(|counts| counts.get(&verdict)).sum()
        };
        let errors = of(Verdict::Error);
        let sent = self.sent as u64;
        if self.sent < self.records {
            reasons.push(format!("interrupted: {sent} of {} records were sent", self.records));
        }
        let outcomes = || {
            let texts: Vec<String> =
                self.outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
            texts.join(", ")
        };
        // A target that closes whatever comes is as good as dead, also where closing counts as blocking.
        if self.sent > 0 && self.answered == 0 {
            reasons.push(format!("no request was answered ({})", outcomes()));
        } else if errors as f64 > sent as f64 * ERROR_LIMIT {
            reasons.push(format!("{errors} of {sent} requests ended in an error ({})", outcomes()));
        }
        reasons
    }

    /// The misses and false alarms as lines: `miss` or `false alarm`, id, category, verdict, reason and request line,
    /// parted by tabs.
    #[must_use]
    pub fn findings(&self) -> String {
        let kinds = [("miss", &self.misses), ("false alarm", &self.false_alarms)];
        let mut text = String::new();
        for (kind, finding) in kinds.iter().flat_map(|(kind, list)| list.iter().map(move |one| (kind, one))) {
            let Finding { id, category, verdict, reason, request_line } = finding;
            text += &format!("{kind}\t{id}\t{category}\t{}\t{reason}\t{request_line}\n", verdict.name());
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{}: {} of {} records in {:.2} s; p50 {}, p99 {}, max {}",
            self.url,
            self.sent,
            self.records,
            self.elapsed_seconds,
            self.service_time.text(self.service_time.p50),
            self.service_time.text(self.service_time.p99),
            self.service_time.text(self.service_time.max)
        )?;
        let rates = [
            ("recall", self.recall),
            ("  blocked or refused", self.recall_with_refused),
            ("false-positive rate", self.false_positive_rate),
            ("  blocked or refused", self.false_positive_rate_with_refused),
        ];
        for (name, rate) in rates.into_iter().filter_map(|(name, rate)| rate.map(|rate| (name, rate))) {
            writeln!(formatter, "  {name:<22}{rate}")?;
        }
        if let Some(accuracy) = self.balanced_accuracy {
            writeln!(formatter, "  {:<22}{:.2} %", "balanced accuracy", accuracy * 100.0)?;
        }
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
        writeln!(formatter, "  {}", outcomes.join(", "))?;
        let verdicts =
            [Verdict::Blocked, Verdict::Passed, Verdict::Unresolved, Verdict::Closed, Verdict::Error];
        let name = |category: &CategoryReport| format!("{} {}", category.label, category.category);
        let width = self.categories.iter().map(|category| name(category).chars().count()).max().unwrap_or(0);
        write!(formatter, "  {:<width$} {:>8}", "", "all")?;
        verdicts.iter().try_for_each(|verdict| write!(formatter, " {:>10}", verdict.name()))?;
        writeln!(formatter, " {:>10}", "blocked %")?;
        for category in &self.categories {
            let count = |verdict: &Verdict| category.verdicts.get(verdict).copied().unwrap_or(0);
            let all: u64 = category.verdicts.values().sum();
            write!(formatter, "  {:<width$} {all:>8}", name(category))?;
            verdicts.iter().try_for_each(|verdict| write!(formatter, " {:>10}", count(verdict)))?;
            writeln!(formatter, " {:>10.1}", count(&Verdict::Blocked) as f64 * 100.0 / all as f64)?;
        }
        self.reasons.iter().try_for_each(|reason| writeln!(formatter, "  NOT VALID: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_the_verdicts() {
        let mut report = Report::new("u", 8, Duration::ZERO);
        let cases = [
            ("attack", Verdict::Blocked),
            ("attack", Verdict::Blocked),
            ("attack", Verdict::Unresolved),
            ("attack", Verdict::Error),
            ("benign", Verdict::Passed),
            ("benign", Verdict::Passed),
            ("benign", Verdict::Passed),
            ("benign", Verdict::Blocked),
            ("neg", Verdict::Blocked),
        ];
        for (index, (label, verdict)) in cases.into_iter().enumerate() {
            let record = Record {
                id: index.to_string(),
                label: label.to_owned(),
                category: "c".to_owned(),
                raw: b"GET /\x01 HTTP/1.1\r\n".to_vec(),
            };
            report.add(&record, verdict, Ok(1), Duration::from_millis(1));
        }
        report.score();
        let rate = |rate: Option<Rate>| rate.map(|rate| rate.rate);
        assert_eq!((rate(report.recall), rate(report.recall_with_refused)), (Some(0.5), Some(0.75)));
        assert_eq!(rate(report.false_positive_rate), Some(0.25));
        assert_eq!(report.balanced_accuracy, Some(0.625));
        // All but one were sent, and one in nine ended in an error.
        assert!(!report.valid);
        assert_eq!(report.reasons, ["1 of 9 requests ended in an error (status 1: 9)"]);
        assert_eq!(
            report.findings(),
            "miss\t2\tc\tunresolved\tstatus 1\tGET /\\x01 HTTP/1.1\n\
             miss\t3\tc\terror\tstatus 1\tGET /\\x01 HTTP/1.1\n\
             false alarm\t7\tc\tblocked\tstatus 1\tGET /\\x01 HTTP/1.1\n"
        );
    }

    #[test]
    fn a_target_that_answers_nothing_has_no_score() {
        let record = Record {
            id: "1".to_owned(),
            label: "attack".to_owned(),
            category: String::new(),
            raw: b"GET / HTTP/1.1\r\n".to_vec(),
        };
        let mut report = Report::new("u", 2, Duration::ZERO);
        // Closing counts as blocking, if that was asked for.
        report.add(&record, Verdict::Blocked, Err("closed (x)".to_owned()), Duration::ZERO);
        report.add(&record, Verdict::Blocked, Err("reset (y)".to_owned()), Duration::ZERO);
        report.score();
        assert_eq!((report.valid, report.recall.map(|recall| recall.count)), (false, Some(2)));
        assert_eq!(report.reasons, ["no request was answered (closed: 1, reset: 1)"]);
    }

    #[test]
    fn the_interval_is_wilson_s() {
        let rate = Rate::of(8, 10).unwrap();
        assert!((rate.low - 0.4902).abs() < 1e-4 && (rate.high - 0.9433).abs() < 1e-4, "{rate:?}");
        assert_eq!(Rate::of(0, 0), None);
    }
}
