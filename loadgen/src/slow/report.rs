//! How slow connections ended: as JSON, and as text for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::{Effect, Options};
use crate::{
    compare::Host,
    report_time,
    run::{self, Histo, Times, histogram, record},
    units::format_nanoseconds,
};

/// The most ways to end that are told apart; the rest is counted as `other`.
const MOST_ENDS: usize = 50;

/// The result of being slow.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "SlowReport"))]
pub struct Report {
    /// `slow`: what kind of report this is.
    pub report: &'static str,
    /// The version of the generator.
    pub version: &'static str,
    /// When the report was begun, RFC 3339 in UTC.
    pub time: String,
    /// The machine of the generator.
    pub host: Host,
    /// What was asked.
    pub url: String,
    /// `header`, `body` or `reader`.
    pub kind: &'static str,
    /// Slow connections at a time.
    pub connections: usize,
    /// The time between two steps of a connection.
    pub pace_seconds: f64,
    /// No connection should live longer; absent if nothing was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_within_seconds: Option<f64>,
    /// Nothing speaks against the target; [`Self::reasons`] says what does.
    pub valid: bool,
    /// What does: sentences for people.
    pub reasons: Vec<String>,
    /// A signal ended it early.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed_seconds: f64,
    /// How connections ended (`status 408`, `closed`, `reset`, and `still open` at the end), and how long they had lived.
    pub ends: BTreeMap<String, Times>,
    /// Connections that could not be set up.
    pub failed_connects: u64,
    /// Why the first of them could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_error: Option<String>,
    /// How many connections were open, over time.
    pub lifetimes: Vec<Moment>,
    /// What ordinary requests saw meanwhile; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<run::Report>,
    /// What ordinary requests saw with and without slow clients; absent if that wasn't compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// How many connections were open at a moment.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Moment {
    /// Since the beginning.
    pub seconds: f64,
    /// Open connections.
    pub open: usize,
}

/// Lifetimes by how they ended.
#[derive(Default)]
pub(super) struct Ends {
    lifetimes: BTreeMap<String, Histo>,
    failed_connects: u64,
    connect_error: Option<String>,
}

impl Ends {
    pub(super) fn note(&mut self, end: &str, lifetime: Duration) {
        let is_known = self.lifetimes.contains_key(end) || self.lifetimes.len() < MOST_ENDS;
        let end = if is_known { end } else { "other" };
        record(self.lifetimes.entry(end.to_owned()).or_insert_with(histogram), lifetime);
    }

    pub(super) fn note_failure(&mut self, error: &str) {
        self.failed_connects += 1;
        self.connect_error.get_or_insert_with(|| error.to_owned());
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (end, lifetimes) in &other.lifetimes {
            *self.lifetimes.entry(end.clone()).or_insert_with(histogram) += lifetimes;
        }
        self.failed_connects += other.failed_connects;
        if self.connect_error.is_none() {
            self.connect_error.clone_from(&other.connect_error);
        }
    }
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            report: "slow",
            version: env!("CARGO_PKG_VERSION"),
            time: report_time(),
            host: Host::this(),
            url: options.request.url.clone(),
            kind: options.kind.name(),
            connections: options.request.connections,
            pace_seconds: options.pace.as_secs_f64(),
            cut_within_seconds: options.cut_within.map(|time| time.as_secs_f64()),
            valid: false,
            reasons: Vec::new(),
            interrupted: false,
            elapsed_seconds: 0.0,
            ends: BTreeMap::new(),
            failed_connects: 0,
            connect_error: None,
            lifetimes: Vec::new(),
            probe: None,
            effect: None,
        }
    }

    pub(super) fn note_ends(&mut self, ends: &Ends) {
        self.ends = ends.lifetimes.iter().map(|(end, times)| (end.clone(), Times::of(times))).collect();
        self.failed_connects = ends.failed_connects;
        self.connect_error.clone_from(&ends.connect_error);
    }

    /// Judges what was measured.
    pub(super) fn finish(&mut self, elapsed: Duration, interrupted: bool) {
        self.elapsed_seconds = elapsed.as_secs_f64();
        self.interrupted = interrupted;
        let reasons = self.find_reasons();
        self.reasons.extend(reasons);
        self.valid = self.reasons.is_empty();
    }

    fn find_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.interrupted {
            reasons.push(run::interrupted(self.elapsed_seconds));
        }
        if self.ends.is_empty() {
            let why = self.connect_error.as_deref().unwrap_or("there was no time for one");
            reasons.push(format!("no connection was up: {why}"));
        }
        if let Some(most) = self.cut_within_seconds {
            let longest = self.ends.values().map(|times| times.max).max().unwrap_or(0);
            if longest as f64 / 1e9 > most {
                reasons.push(format!(
                    "a slow connection lived for {}, longer than {most} s",
                    format_nanoseconds(longest)
                ));
            }
        }
        let of_probe = self.probe.iter().flat_map(|probe| &probe.reasons);
        reasons.extend(of_probe.map(|reason| format!("ordinary requests: {reason}")));
        reasons
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, kind, connections, pace_seconds, elapsed_seconds, .. } = self;
        writeln!(
            formatter,
            "{url}\n  slow {kind}: {connections} connections, a step each {pace_seconds} s, for {elapsed_seconds:.1} s"
        )?;
        let most = self.lifetimes.iter().map(|moment| moment.open).max().unwrap_or(0);
        let last = self.lifetimes.last().map_or(0, |moment| moment.open);
        writeln!(formatter, "  open    {most} at most, {last} at the end")?;
        for (end, times) in &self.ends {
            let [shortest, middle, longest] = [times.min, times.p50, times.max].map(format_nanoseconds);
            writeln!(
                formatter,
                "  end     {end}: {} connections, which lived for {shortest} to {longest}, p50 {middle}",
                times.count
            )?;
        }
        if let Some(error) = &self.connect_error {
            writeln!(
                formatter,
                "  error   {} connections could not be set up ({error})",
                self.failed_connects
            )?;
        }
        if let Some(probe) = &self.probe {
            writeln!(formatter, "ordinary requests meanwhile:")?;
            write!(formatter, "{probe}")?;
        }
        if let Some(effect) = &self.effect {
            write!(formatter, "{effect}")?;
        }
        self.reasons.iter().try_for_each(|reason| writeln!(formatter, "  BAD     {reason}"))
    }
}
