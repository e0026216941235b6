//! Looks for the highest rate at which a target still answers in time.
//!
//! Open-loop trials: the rate doubles until a trial misses the bound, then the space in between is halved until it is narrow.
//! Each rate has several trials and holds when most of them do.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;

use crate::{
    run::{self, Limit, Load, RunError},
    units::format_nanoseconds,
};

/// A search ends here even if it has found no rate that holds.
const LOWEST_RATE: f64 = 1.0;
/// The share of due requests that must be sent.
const SENT_SHARE: f64 = 0.99;
/// Above this share of its time, the generator is taken for the bottleneck.
const BUSY_LIMIT: f64 = 0.90;

/// What a search does.
#[derive(Clone, Debug)]
pub struct Options {
    /// The request, the connections, threads and TLS, and the warm-up of each trial. Its load and limit are not used.
    pub request: run::Options,
    /// Which quantile of response times is bounded, over 0 and at most 1. Default: 0.99.
    pub quantile: f64,
    /// The most that it may be.
    pub bound: Duration,
    /// The largest share of failed requests, 0 to 1: without an answer, with a status 5xx that the scenario doesn't expect, or
    /// with another outcome than it expects. Default: 0.
    pub error_share: f64,
    /// The first rate, in requests a second.
    pub from: f64,
    /// The highest rate that is tried.
    pub to: f64,
    /// How long a trial measures.
    pub trial: Duration,
    /// Trials of each rate, at least 1; most of them decide.
    pub repeats: usize,
    /// The search ends when the rates that hold and don't hold are this close, as a share of the lower.
    pub precision: f64,
}

impl Options {
    /// p99 within `bound` and no failures, from 1,000 requests a second to a million, to 5 %, by 3 trials of 3 seconds each.
    #[must_use]
    pub fn new(request: run::Options, bound: Duration) -> Self {
        Self {
            request,
            quantile: 0.99,
            bound,
            error_share: 0.0,
            from: 1_000.0,
            to: 1_000_000.0,
            trial: Duration::from_secs(3),
            repeats: 3,
            precision: 0.05,
        }
    }
}

/// The result of a search.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "SearchReport"))]
pub struct Report {
    /// `search`: what kind of report this is.
    pub report: &'static str,
    /// What was asked.
    pub url: String,
    /// Connections.
    pub connections: usize,
    /// Which quantile of response times was bounded.
    pub quantile: f64,
    /// The most that it was allowed to be, in nanoseconds.
    pub bound_nanoseconds: u64,
    /// The highest rate that held, in requests a second; absent if none did.
    pub highest_rate: Option<f64>,
    /// The lowest rate above it that did not; absent if the highest rate that was tried held.
    pub lowest_failed_rate: Option<f64>,
    /// The generator was the bottleneck in a trial that decided against a rate: the target may be able to do more.
    pub limited_by_generator: bool,
    /// A signal ended the search early.
    pub interrupted: bool,
    /// Every complete trial, in the order of time.
    pub trials: Vec<Trial>,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Trial {
    /// Requests a second that were due.
    pub rate: f64,
    /// It held.
    pub held: bool,
    /// Why it did not.
    pub reasons: Vec<String>,
    /// Complete answers a second.
    pub answered_rate: f64,
    /// The bounded quantile of response times, in nanoseconds.
    pub latency: u64,
    /// The median response time, in nanoseconds.
    pub p50: u64,
    /// Requests without an answer.
    pub errors: u64,
    /// Requests without an answer, with a status 5xx that the scenario doesn't expect, or with another outcome than it expects.
    pub failed: u64,
    /// Requests that were due and never sent.
    pub missed: u64,
    /// The share of its time in which the generator ran or waited for a CPU.
    pub generator_busy: f64,
}

/// Searches until the rates are close, or until `interrupted` becomes true.
///
/// # Errors
///
/// The options make no search ([`RunError::Request`]), or a trial can't start.
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<Report, RunError> {
    check(options)?;
    let mut trials = Vec::new();
    let mut limited_by_generator = false;
    let (low, high) = bracket(options, |rate| {
        let mut votes = (0, 0);
        // A majority decides, so what can't change it any more isn't tried.
        while votes.0 * 2 <= options.repeats && votes.1 * 2 < options.repeats {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Some(trial) = try_rate(options, rate, interrupted)? else { return Ok(None) };
            if trial.held {
                votes.0 += 1;
            } else {
                votes.1 += 1;
                limited_by_generator |= trial.generator_busy > BUSY_LIMIT;
            }
            trials.push(trial);
        }
        Ok(Some(votes.0 * 2 > options.repeats))
    })?;
    Ok(Report {
        report: "search",
        url: options.request.url.clone(),
        connections: options.request.connections,
        quantile: options.quantile,
        bound_nanoseconds: nanoseconds(options.bound),
        highest_rate: low,
        lowest_failed_rate: high,
        limited_by_generator,
        interrupted: interrupted.load(Ordering::Relaxed),
        trials,
    })
}

/// Finds the highest rate that holds and the lowest that doesn't. `holds` says `None` to end the search.
fn bracket<E>(
    options: &Options,
    mut holds: impl FnMut(f64) -> Result<Option<bool>, E>,
) -> Result<(Option<f64>, Option<f64>), E> {
    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    loop {
        let rate = match (low, high) {
            (None, None) => options.from,
            (Some(low), None) if low >= options.to => break,
            (Some(low), None) => (low * 2.0).min(options.to),
            (None, Some(high)) if high <= LOWEST_RATE => break,
            (None, Some(high)) => (high / 2.0).max(LOWEST_RATE),
            (Some(low), Some(high)) if high <= low * (1.0 + options.precision) => break,
            (Some(low), Some(high)) => (low * high).sqrt(),
        };
        match holds(rate)? {
            Some(true) => low = Some(rate),
            Some(false) => high = Some(rate),
            None => break,
        }
    }
    Ok((low, high))
}

/// One trial; `None` if it was interrupted, because half a trial says nothing.
fn try_rate(options: &Options, rate: f64, interrupted: &AtomicBool) -> Result<Option<Trial>, RunError> {
    let request = run::Options {
        load: Load::Rate(rate),
        limit: Limit::Duration(options.trial),
        ..options.request.clone()
    };
    let (report, run::Details { response, failed }) =
        run::run_in_detail(&request, interrupted, &mut run::Unobserved)?;
    if report.interrupted {
        return Ok(None);
    }
    let errors: u64 = report.errors.values().map(|error| error.count).sum();
    let mut trial = Trial {
        rate,
        held: false,
        reasons: Vec::new(),
        answered_rate: report.rate,
        latency: response.value_at_quantile(options.quantile),
        p50: response.value_at_quantile(0.5),
        errors,
        failed,
        missed: report.missed,
        generator_busy: report.cpu.busy_share,
    };
    trial.reasons = trial.find_reasons(options, &report);
    trial.held = trial.reasons.is_empty();
    Ok(Some(trial))
}

impl Trial {
    /// Why the rate doesn't hold.
    fn find_reasons(&self, options: &Options, report: &run::Report) -> Vec<String> {
        let requests = report.requests;
        let mut reasons = Vec::new();
        if requests == self.errors {
            reasons.push("no answers".to_owned());
        } else if self.latency > nanoseconds(options.bound) {
            reasons.push(format!("latency {}", format_nanoseconds(self.latency)));
        }
        if self.failed as f64 > requests as f64 * options.error_share {
            let server_errors: u64 = report.statuses.range(500..).map(|(_, count)| count).sum();
            let parts = [
                (self.errors, "without an answer"),
                (server_errors, "with status 5xx"),
                (report.surprises, "not as the scenario expects"),
            ];
            let parts = parts.iter().filter(|(count, _)| *count > 0);
            let parts: Vec<String> = parts.map(|(count, what)| format!("{count} {what}")).collect();
            reasons.push(format!("{} of {requests} requests failed ({})", self.failed, parts.join(", ")));
        }
        let due = requests + self.missed;
        if (requests as f64) < due as f64 * SENT_SHARE {
            reasons.push(format!("{} of {due} requests were never sent", self.missed));
        }
        reasons
    }
}

fn check(options: &Options) -> Result<(), RunError> {
    let wrong = |what: &str| Err(RunError::Request(what.to_owned()));
    if !(options.quantile > 0.0 && options.quantile <= 1.0) {
        return wrong("the quantile must be over 0 and at most 1");
    }
    if !(0.0..=1.0).contains(&options.error_share) {
        return wrong("the share of errors must be 0 to 1");
    }
    if !(options.from >= LOWEST_RATE && options.from <= options.to && options.to <= 1e8) {
        return wrong(
            "the rates must be at least 1, the first at most the last, and that at most 100 million",
        );
    }
    if !(options.precision > 0.0 && options.precision.is_finite()) {
        return wrong("the precision must be over 0");
    }
    if options.bound.is_zero() || options.trial.is_zero() || options.repeats == 0 {
        return wrong("the bound, the length of a trial and the number of trials must be over 0");
    }
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, bound) = (self.quantile * 100.0, format_nanoseconds(self.bound_nanoseconds));
        writeln!(formatter, "{}", self.url)?;
        writeln!(
            formatter,
            "  {} connections; {percent} % of response times within {bound}",
            self.connections
        )?;
        writeln!(
            formatter,
            "  {:>12}{:>12}{:>10}{:>10}{:>8}{:>8}{:>7}",
            "rate", "answers/s", "p50", "bounded", "failed", "missed", "busy"
        )?;
        for trial in &self.trials {
            let time = |value: u64| {
                if trial.answered_rate > 0.0 { format_nanoseconds(value) } else { "-".to_owned() }
            };
            let held = if trial.held { "held".to_owned() } else { trial.reasons.join(", ") };
            writeln!(
                formatter,
                "  {:>12.1}{:>12.1}{:>10}{:>10}{:>8}{:>8}{:>5.0} %  {held}",
                trial.rate,
                trial.answered_rate,
                time(trial.p50),
                time(trial.latency),
                trial.failed,
                trial.missed,
                trial.generator_busy * 100.0
            )?;
        }
        match (self.highest_rate, self.lowest_failed_rate) {
            (Some(low), Some(high)) => writeln!(formatter, "  holds {low:.1} requests/s, not {high:.1}")?,
            (Some(low), None) => writeln!(formatter, "  holds {low:.1} requests/s, the most that was tried")?,
            (None, None) => writeln!(formatter, "  no rate has enough trials to decide")?,
            (None, Some(_)) => writeln!(formatter, "  holds no rate that was tried")?,
        }
        if self.limited_by_generator {
            writeln!(formatter, "  the generator was a bottleneck: the target may hold more")?;
        }
        if self.interrupted {
            writeln!(formatter, "  interrupted: this is what was found until then")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(limit: f64, from: f64, to: f64) -> (Option<f64>, Option<f64>, usize) {
        let options = Options { from, to, ..Options::new(run::Options::new(""), Duration::from_secs(1)) };
        let mut tries = 0;
        let found = bracket(&options, |rate| {
            tries += 1;
            Ok::<_, ()>(Some(rate <= limit))
        });
        let (low, high) = found.unwrap();
        (low, high, tries)
    }

    #[test]
    fn the_limit_is_found_to_the_precision() {
        for limit in [1.5, 700.0, 1000.0, 54_321.0] {
            let (low, high, tries) = find(limit, 1000.0, 1e6);
            let (low, high) = (low.unwrap(), high.unwrap());
            assert!(low <= limit && limit < high && high <= low * 1.05, "{limit}: {low} {high}");
            assert!(tries < 20, "{tries}");
        }
    }

    #[test]
    fn a_search_ends_at_the_rates_that_it_may_try() {
        let (low, high, _) = find(1e9, 1000.0, 5000.0);
        assert_eq!((low, high), (Some(5000.0), None));
        let (low, high, _) = find(0.0, 1000.0, 5000.0);
        assert_eq!((low, high), (None, Some(LOWEST_RATE)));
    }
}
