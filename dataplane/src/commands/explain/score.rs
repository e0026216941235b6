//! How well the requests of a corpus are told apart: `weir explain --batch CORPUS --score`.
//!
//! The words and the figures are those of `weir-loadgen replay`, which does the same over a network.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use weir_policy::Reason;

use super::Outcome;
use super::batch::{self, BatchError, Line, Lines};
use crate::explain::{Described, Explainer, Explanation};

/// The most misses, and the most false alarms, that are listed; further ones are counted.
const LISTED_MAX: usize = 10_000;

/// How much of a request line is listed, in characters.
const LINE_CHARACTERS: usize = 200;

/// Scores each line of the file at `path`.
pub(super) fn run(explainer: &mut Explainer<'_>, path: &Path, as_json: bool) -> Outcome {
    let print = |score: Score| {
        let mut output = std::io::stdout().lock();
        if as_json {
            serde_json::to_writer(&mut output, &score).map_err(std::io::Error::from)?;
            writeln!(output)
        } else {
            write!(output, "{score}")
        }
    };
    let scored = score(explainer, path);
    batch::finish(path, scored.and_then(|score| Ok(print(score)?)))
}

fn score(explainer: &mut Explainer<'_>, path: &Path) -> Result<Score, BatchError> {
    let mut lines = Lines::new(batch::open(path)?);
    let mut score = Score::default();
    let mut number = 0;
    while let Some(line) = lines.next()? {
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let record = Record::read(line, number)
            .map_err(|error| BatchError::Refused(format!("line {number}: {error}")))?;
        let explanation = explainer
            .explain(&record.request)
            .map_err(|error| BatchError::Refused(format!("line {number}: {error}")))?;
        score.add(record, &explanation);
    }
    if score.records == 0 {
        return Err(BatchError::Refused("there is no request in it".to_owned()));
    }
    score.settle();
    Ok(score)
}

/// A request that is known for what it is.
struct Record {
    id: String,
    label: String,
    category: String,
    request: Described,
}

impl Record {
    fn read(line: &[u8], number: u64) -> Result<Self, String> {
        let Line { repeated, described } = Line::read(line);
        let request = described.map_err(|detail| format!("it describes no request: {detail}"))?;
        let text = |key| {
            repeated.iter().find(|(found, _)| *found == key).map(|(_, value)| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            })
        };
        let label = text("label").ok_or(
            "`label` is missing; expected is {\"id\", \"label\": \"attack\" or \"benign\", \"category\", \"raw\"}",
        )?;
        let id = text("id").unwrap_or_else(|| number.to_string());
        Ok(Self { id, label, category: text("category").unwrap_or_default(), request })
    }

    /// The start of the request line, with anything unprintable escaped.
    fn request_line(&self) -> String {
        let line = self.request.bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        line.escape_ascii().take(LINE_CHARACTERS).map(char::from).collect()
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It would be forwarded.
    Passed,
    /// It would be answered as an attack is.
    Blocked,
    /// It would be refused for something else: it is no sound HTTP, or too large.
    Unresolved,
}

impl Verdict {
    fn of(explanation: &Explanation) -> Self {
        match explanation {
            Explanation::Refused { .. } => Self::Unresolved,
            Explanation::Decided(decided) if !decided.verdict.block => Self::Passed,
            Explanation::Decided(decided) if decided.verdict.reason == Reason::RateLimit => Self::Unresolved,
            Explanation::Decided(_) => Self::Blocked,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Blocked => "blocked",
            Self::Unresolved => "unresolved",
        }
    }
}

/// How many requests had which verdict.
type Counts = BTreeMap<Verdict, u64>;

/// The score of a corpus.
#[derive(Debug, Default, Serialize)]
struct Score {
    /// The requests of the corpus.
    records: u64,
    /// Blocked attacks of all attacks; absent without attacks.
    recall: Option<Rate>,
    /// Blocked benign requests of all benign requests; absent without any.
    false_positive_rate: Option<Rate>,
    /// The mean of recall and of the share of benign requests that were not blocked, 0 to 1; absent without either.
    balanced_accuracy: Option<f64>,
    /// Verdicts by label.
    labels: BTreeMap<String, Counts>,
    /// The same by label and category.
    categories: Vec<Category>,
    /// Attacks that were not blocked.
    misses: Vec<Listed>,
    /// Benign requests that did not pass.
    false_alarms: Vec<Listed>,
    /// Misses and false alarms that are not listed, for there are too many.
    left_out: u64,
    #[serde(skip)]
    by_category: BTreeMap<(String, String), Counts>,
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Rate {
    rate: f64,
    count: u64,
    of: u64,
}

/// One label's category.
#[derive(Debug, Serialize)]
struct Category {
    label: String,
    category: String,
    verdicts: Counts,
}

/// A request that was judged wrongly.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    category: String,
    verdict: Verdict,
    /// What decided: class, signature and evidence, or why nothing was found.
    reason: String,
    request_line: String,
}

impl Score {
    fn add(&mut self, record: Record, explanation: &Explanation) {
        let verdict = Verdict::of(explanation);
        let list = match (record.label.as_str(), verdict) {
            ("attack", Verdict::Passed | Verdict::Unresolved) => Some(&mut self.misses),
            ("benign", Verdict::Blocked | Verdict::Unresolved) => Some(&mut self.false_alarms),
            _ => None,
        };
        if let Some(list) = list {
            if list.len() < LISTED_MAX {
                list.push(Listed {
                    request_line: record.request_line(),
                    id: record.id,
                    category: record.category.clone(),
                    verdict,
                    reason: explanation.in_short(),
                });
            } else {
                self.left_out += 1;
            }
        }
        self.records += 1;
        *self.labels.entry(record.label.clone()).or_default().entry(verdict).or_default() += 1;
        let category = (record.label, record.category);
        *self.by_category.entry(category).or_default().entry(verdict).or_default() += 1;
    }

    /// Works out the rates when all requests are there.
    fn settle(&mut self) {
        let blocked = |label: &str| {
            let counts = self.labels.get(label)?;
            let (count, of) = (count(counts, Verdict::Blocked), counts.values().sum());
            Some(Rate { rate: count as f64 / of as f64, count, of })
        };
        (self.recall, self.false_positive_rate) = (blocked("attack"), blocked("benign"));
        self.balanced_accuracy = self
            .recall
            .zip(self.false_positive_rate)
            .map(|(recall, alarms)| (recall.rate + 1.0 - alarms.rate) / 2.0);
        self.categories = std::mem::take(&mut self.by_category)
            .into_iter()
            .map(|((label, category), verdicts)| Category { label, category, verdicts })
            .collect();
    }
}

fn count(counts: &Counts, verdict: Verdict) -> u64 {
    counts.get(&verdict).copied().unwrap_or(0)
}

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} % ({} of {})", self.rate * 1e2, self.count, self.of)
    }
}

impl Display for Score {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22}{}", "records", self.records)?;
        for (name, rate) in [("recall", self.recall), ("false-positive rate", self.false_positive_rate)] {
            if let Some(rate) = rate {
                writeln!(f, "{name:<22}{rate}")?;
            }
        }
        if let Some(accuracy) = self.balanced_accuracy {
            writeln!(f, "{:<22}{:.2} %", "balanced accuracy", accuracy * 100.0)?;
        }
        self.fmt_categories(f)?;
        for (kind, list) in [("miss", &self.misses), ("false alarm", &self.false_alarms)] {
            for Listed { id, category, verdict, reason, request_line } in list {
                writeln!(f, "{kind}\t{id}\t{category}\t{}\t{reason}\t{request_line}", verdict.name())?;
            }
        }
        if self.left_out > 0 {
            writeln!(f, "{} more misses and false alarms are not listed", self.left_out)?;
        }
        Ok(())
    }
}

impl Score {
    /// A line for each category of each label.
    fn fmt_categories(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdicts = [Verdict::Blocked, Verdict::Passed, Verdict::Unresolved];
        let name = |category: &Category| format!("{} {}", category.label, category.category);
        let width = self.categories.iter().map(|category| name(category).chars().count()).max().unwrap_or(0);
        write!(f, "{:<width$} {:>8}", "", "all")?;
        verdicts.iter().try_for_each(|verdict| write!(f, " {:>10}", verdict.name()))?;
        writeln!(f, " {:>10}", "blocked %")?;
        for category in &self.categories {
            let all: u64 = category.verdicts.values().sum();
            write!(f, "{:<width$} {all:>8}", name(category))?;
            for verdict in verdicts {
                write!(f, " {:>10}", count(&category.verdicts, verdict))?;
            }
            let blocked = count(&category.verdicts, Verdict::Blocked) as f64;
            writeln!(f, " {:>10.1}", blocked * 100.0 / all as f64)?;
        }
        Ok(())
    }
}
