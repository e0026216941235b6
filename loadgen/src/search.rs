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
    compare::Host,
    report_time,
    run::{self, Limit, Load, RunError},
    units::format_nanoseconds,
};

/// A search ends here even if it has found no rate that holds.
const LOWEST_RATE: f64 = 1.0;
/// How many trials of a rate are made once more because the generator, and not the target, spoiled them.
const MOST_SPOILED: usize = 3;
/// The closest that a search comes, as a share of the rate: 0.01 %. Closer rates can't be told apart, and at some point not even
/// as numbers.
const FINEST_PRECISION: f64 = 1e-4;
/// So many rates, each half of the last, with the same share of failures are enough to see that the rate isn't the cause.
const RATES_OF_ONE_CAUSE: usize = 3;

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
    /// The search ends when the rates that hold and don't hold are this close, as a share of the lower: 0.0001 at least.
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
    /// The version of the generator.
    pub version: &'static str,
    /// When the report was made, RFC 3339 in UTC.
    pub time: String,
    /// The machine of the generator.
    pub host: Host,
    /// What was asked.
    pub url: String,
    /// What was sent: the method and the size of the body, or which scenario.
    pub request: String,
    /// Connections.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Which quantile of response times was bounded.
    pub quantile: f64,
    /// The most that it was allowed to be, in nanoseconds.
    pub bound_nanoseconds: u64,
    /// The largest share of failed requests that was allowed, 0 to 1.
    pub error_share: f64,
    /// The first rate, in requests a second.
    pub from: f64,
    /// The highest rate that would have been tried.
    pub to: f64,
    /// How long a trial measured.
    pub trial_seconds: f64,
    /// What it sent before.
    pub warm_up_seconds: f64,
    /// Trials of each rate.
    pub repeats: usize,
    /// How close the rates that hold and don't hold were to come, as a share of the lower.
    pub precision: f64,
    /// The highest rate that held, in requests a second; absent if none did.
    pub highest_rate: Option<f64>,
    /// The lowest rate above it that did not; absent if the highest rate that was tried held.
    pub lowest_failed_rate: Option<f64>,
    /// The generator spoiled a trial that decided against a rate, and its repetitions: the target may be able to do more.
    pub limited_by_generator: bool,
    /// The share of requests that fail at every rate with enough requests to tell, 0 to 1: no rate is low enough for the
    /// bound. Absent where failures depend on the rate, or there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_share_at_any_rate: Option<f64>,
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
    /// Why it says little about the target: the generator was late, too busy, or missed requests itself.
    pub spoiled: Vec<String>,
    /// It was spoiled, and another trial was made in its place.
    pub repeated: bool,
    /// Measured requests that were answered or failed.
    pub requests: u64,
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
    /// The same as a share of all that were due, 0 to 1.
    pub missed_share: f64,
    /// The 99th percentile of the time from when a request was due to when a connection took it, in nanoseconds.
    pub send_lag_p99: u64,
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
        let (mut votes, mut spoiled) = ((0, 0), 0);
        // A majority decides, so what can't change it any more isn't tried.
        while votes.0 * 2 <= options.repeats && votes.1 * 2 < options.repeats {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Some(mut trial) = try_rate(options, rate, interrupted)? else { return Ok(None) };
            trial.repeated = !trial.spoiled.is_empty() && spoiled < MOST_SPOILED;
            match (trial.repeated, trial.held) {
                (true, _) => spoiled += 1,
                // What holds in spite of the generator holds.
                (false, true) => votes.0 += 1,
                (false, false) => {
                    votes.1 += 1;
                    limited_by_generator |= !trial.spoiled.is_empty();
                }
            }
            trials.push(trial);
        }
        let holds = votes.0 * 2 > options.repeats;
        let lower_is_no_better = !holds
            && trials.iter().all(|trial: &Trial| !trial.held)
            && failing(options, &trials).1 >= RATES_OF_ONE_CAUSE
            && failure_share_at_any_rate(options, &trials).is_some();
        Ok((!lower_is_no_better).then_some(holds))
    })?;
    let failure_share_at_any_rate = failure_share_at_any_rate(options, &trials);
    Ok(Report {
        report: "search",
        version: env!("CARGO_PKG_VERSION"),
        time: report_time(),
        host: Host::this(),
        url: options.request.url.clone(),
        request: options.request.description(),
        connections: options.request.connections,
        threads: options.request.threads,
        quantile: options.quantile,
        bound_nanoseconds: nanoseconds(options.bound),
        error_share: options.error_share,
        from: options.from,
        to: options.to,
        trial_seconds: options.trial.as_secs_f64(),
        warm_up_seconds: options.request.warm_up.as_secs_f64(),
        repeats: options.repeats,
        precision: options.precision,
        // What held had too few requests to meet the failures.
        highest_rate: low.filter(|_| failure_share_at_any_rate.is_none()),
        lowest_failed_rate: high,
        limited_by_generator,
        failure_share_at_any_rate,
        interrupted: interrupted.load(Ordering::Relaxed),
        trials,
    })
}

/// The trials that did not hold because of failures alone, and the number of rates that they are of.
fn failing<'a>(options: &Options, trials: &'a [Trial]) -> (Vec<&'a Trial>, usize) {
    let fails = |trial: &&Trial| {
        !trial.held
            && trial.has_failures(options)
            && trial.requests > trial.errors
            && trial.latency <= nanoseconds(options.bound)
            && trial.reasons.len() == 1
    };
    let found: Vec<&Trial> = trials.iter().filter(fails).collect();
    let mut rates: Vec<f64> = found.iter().map(|trial| trial.rate).collect();
    rates.sort_unstable_by(f64::total_cmp);
    rates.dedup();
    (found, rates.len())
}

/// The share of requests that fail, if it is the same at several rates, and if the trials that held had so few requests that they
/// don't speak against it.
fn failure_share_at_any_rate(options: &Options, trials: &[Trial]) -> Option<f64> {
    let (found, rates) = failing(options, trials);
    if rates < 2 {
        return None;
    }
    let sums = |trials: &mut dyn Iterator<Item = &Trial>| {
        trials.fold((0, 0), |(failed, all), trial| (failed + trial.failed, all + trial.requests))
    };
    let (failed, all) = sums(&mut found.iter().copied());
    let share = failed as f64 / all as f64;
    // What chance alone makes of a number, and where that is little, what differs from trial to trial.
    let is_of_share = |trial: &&&Trial| {
        let expected = share * trial.requests as f64;
        (trial.failed as f64 - expected).abs() <= 3.0 * expected.sqrt() + 1.0 + 0.2 * expected
    };
    let (held_failed, held_all) = sums(&mut trials.iter().filter(|trial| trial.held));
    let expected = share * held_all as f64;
    let held_by_luck = held_failed as f64 >= expected - 3.0 * expected.sqrt();
    (found.iter().filter(is_of_share).count() == found.len() && held_by_luck).then_some(share)
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
    let generator = report.generator();
    let mut trial = Trial {
        rate,
        held: false,
        reasons: Vec::new(),
        spoiled: generator.own_faults(),
        repeated: false,
        requests: report.requests,
        answered_rate: report.rate,
        latency: response.value_at_quantile(options.quantile),
        p50: response.value_at_quantile(0.5),
        errors,
        failed,
        missed: report.missed,
        missed_share: generator.missed_share(),
        send_lag_p99: generator.lag_p99,
        generator_busy: report.cpu.busy_share,
    };
    trial.reasons = trial.find_reasons(options, &report);
    trial.held = trial.reasons.is_empty();
    Ok(Some(trial))
}

impl Trial {
    /// More requests failed than are allowed.
    fn has_failures(&self, options: &Options) -> bool {
        self.failed as f64 > self.requests as f64 * options.error_share
    }

    /// Why the rate doesn't hold.
    fn find_reasons(&self, options: &Options, report: &run::Report) -> Vec<String> {
        let requests = report.requests;
        let mut reasons = Vec::new();
        if requests == self.errors {
            reasons.push("no answers".to_owned());
        } else if self.latency > nanoseconds(options.bound) {
            reasons.push(format!("latency {}", format_nanoseconds(self.latency)));
        }
        if self.has_failures(options) {
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
        reasons.extend(report.generator().missed());
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
    if !(options.precision >= FINEST_PRECISION && options.precision.is_finite()) {
        return wrong("the precision must be at least 0.01 %");
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
            let mut held = if trial.held { "held".to_owned() } else { trial.reasons.join(", ") };
            if !trial.spoiled.is_empty() {
                let spoiled = trial.spoiled.join(", ");
                held += &format!(" [{}{spoiled}]", if trial.repeated { "not counted: " } else { "" });
            }
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
        if let Some(share) = self.failure_share_at_any_rate {
            writeln!(
                formatter,
                "  {:.2} % of requests fail at any rate that has enough requests to tell: no rate is the highest that holds \
                 (--errors allows failures)",
                share * 100.0
            )?;
        }
        match (self.highest_rate, self.lowest_failed_rate) {
            (Some(low), Some(high)) => writeln!(formatter, "  holds {low:.1} requests/s, not {high:.1}")?,
            (Some(low), None) => writeln!(formatter, "  holds {low:.1} requests/s, the most that was tried")?,
            (None, None) => writeln!(formatter, "  no rate has enough trials to decide")?,
            (None, Some(_)) if self.failure_share_at_any_rate.is_some() => {}
            (None, Some(_)) => writeln!(formatter, "  holds no rate that was tried")?,
        }
        if self.limited_by_generator {
            writeln!(
                formatter,
                "  the generator did not keep up itself in a trial that decided: the target may hold more"
            )?;
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
    fn failures_of_one_share_at_all_rates_are_not_the_rate_s() {
        let options = Options::new(run::Options::new(""), Duration::from_secs(1));
        let trial = |rate: f64, requests: u64, failed: u64| Trial {
            rate,
            held: failed == 0,
            reasons: if failed > 0 { vec!["failed".to_owned()] } else { Vec::new() },
            spoiled: Vec::new(),
            repeated: false,
            requests,
            answered_rate: rate,
            latency: 1,
            p50: 1,
            errors: 0,
            failed,
            missed: 0,
            missed_share: 0.0,
            send_lag_p99: 1,
            generator_busy: 0.1,
        };
        let share = |trials: &[Trial]| failure_share_at_any_rate(&options, trials);
        let (high, low) = (trial(1000.0, 3000, 60), trial(500.0, 1500, 32));
        let lucky = trial(20.0, 60, 0);
        let found = share(&[high.clone(), low.clone(), lucky]).unwrap();
        assert!((0.02..0.021).contains(&found), "{found}");
        // One rate alone says nothing; many requests without a failure speak against it, and so does another share.
        assert_eq!(share(&[high.clone(), high.clone()]), None);
        assert_eq!(share(&[high.clone(), low, trial(400.0, 1200, 0)]), None);
        assert_eq!(share(&[high.clone(), trial(900.0, 2700, 5)]), None);
        let slow = Trial { latency: 2_000_000_000, ..trial(500.0, 1500, 30) };
        assert_eq!(share(&[high, slow]), None);
        assert_eq!(share(&[]), None);
    }

    #[test]
    fn a_precision_that_no_search_reaches_is_refused() {
        let with = |precision: f64| {
            check(&Options { precision, ..Options::new(run::Options::new(""), Duration::from_secs(1)) })
        };
        assert!(with(1e-4).is_ok());
        for precision in [1e-16, 9e-5, f64::NAN, f64::INFINITY] {
            assert!(with(precision).is_err(), "{precision}");
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
