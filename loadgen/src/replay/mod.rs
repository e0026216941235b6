//! Replays a corpus of labelled requests and scores what the target blocked.

mod corpus;
mod report;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

pub use self::{
    corpus::{CorpusError, Record, read},
    report::{CategoryReport, Finding, LabelCounts, Rate, Report},
};
use crate::{
    Verdict,
    run::{self, RunError, Target, asking},
};

/// What a replay does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to, how many connections and threads, TLS and timeout. What else is in there is not used.
    pub request: run::Options,
    /// Statuses that mean that a request was taken for an attack. Default: 403.
    pub block_statuses: Vec<u16>,
    /// Statuses that count as passed although they look refused, because the application gives them. 404 and 405 count
    /// as passed anyway.
    pub pass_statuses: Vec<u16>,
    /// A connection that is closed or reset in place of an answer counts as blocked.
    pub close_blocks: bool,
    /// Use connections for more than one request.
    pub keep_alive: bool,
}

impl Options {
    /// One request for each connection, 16 connections at a time.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            request: run::Options { connections: 16, ..run::Options::new(url) },
            block_statuses: vec![403],
            pass_statuses: Vec::new(),
            close_blocks: false,
            keep_alive: false,
        }
    }

    fn verdict(&self, answer: &Result<u16, asking::Failure>) -> Verdict {
        match answer {
            Ok(status) if self.pass_statuses.contains(status) => Verdict::Passed,
            Ok(status) => Verdict::of_status(*status, &self.block_statuses),
            Err(failure) => match Verdict::of_error(failure.kind) {
                Verdict::Closed if self.close_blocks => Verdict::Blocked,
                verdict => verdict,
            },
        }
    }
}

/// Sends each record once and scores the answers; after `interrupted` became true, those that were sent until then.
///
/// # Errors
///
/// The target can't be reached, or a thread can't be started. Errors of single requests are part of the report.
pub fn run(options: &Options, records: &[Record], interrupted: &AtomicBool) -> Result<Report, RunError> {
    run::check(&options.request)?;
    let target = Arc::new(Target::reach(&options.request)?);
    let requests: Vec<&[u8]> = records.iter().map(|record| &record.raw[..]).collect();
    let began = Instant::now();
    let mut outcomes =
        asking::ask_all(&options.request, &target, &requests, !options.keep_alive, interrupted)?;
    let elapsed = began.elapsed();
    outcomes.sort_unstable_by_key(|outcome| outcome.index);
    let mut report = Report::new(&options.request.url, records.len(), elapsed);
    for outcome in &outcomes {
        let Some(record) = records.get(outcome.index) else { continue };
        let verdict = options.verdict(&outcome.answer);
        let answer = match &outcome.answer {
            Ok(status) => Ok(*status),
            Err(failure) => Err(format!("{} ({})", failure.kind, failure.details)),
        };
        report.add(record, verdict, answer, outcome.time);
    }
    report.score();
    Ok(report)
}
