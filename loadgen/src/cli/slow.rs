//! `weir-loadgen slow`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use weir_loadgen::{
    run::{self, Limit, RunError},
    slow::{self, Kind, Options},
    units::parse_duration,
};

use super::{
    Failure, interrupted,
    output::{Opener, ReportFiles},
    request::RequestArguments,
};

/// Cycles of a comparison where their number isn't given.
const DEFAULT_CYCLES: u16 = 5;

/// Holds a target's connections with clients that are slow on purpose, and tells how long the target lets them.
///
/// The clients don't step together: their steps are spread evenly over the pace, as those of clients who don't know of each
/// other are.
#[derive(Args)]
pub(super) struct SlowArguments {
    /// Where to: http:// or https://, host, port, path and query; for slow readers something large
    #[arg(long, value_name = "URL")]
    url: String,
    /// What is slow
    #[arg(long, value_enum)]
    kind: SlowKind,
    /// Connections at a time; those that end are made anew
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,
    /// How long
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    duration: Duration,
    /// The time between two steps: a header field, a byte of a body, a read
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    pace: Duration,
    /// Ordinary requests a second meanwhile, which show whether others suffer
    #[arg(long, value_name = "R")]
    probe_rate: Option<f64>,
    /// What they GET [default: what the slow clients ask for]
    #[arg(long, value_name = "URL", requires = "probe_rate")]
    probe_url: Option<String>,
    /// Cut the duration into N slices without and N with slow clients, in turn, and compare the p99 of ordinary requests
    #[arg(long, value_name = "N", requires = "probe_rate", value_parser = clap::value_parser!(u16).range(1..=1000))]
    cycles: Option<u16>,
    /// Fail if slow clients make the p99 of ordinary requests more than F times as high, median by median; 5 cycles if
    /// nothing else is said
    #[arg(long, value_name = "F", requires = "probe_rate")]
    max_factor: Option<f64>,
    /// Where within the pace each client takes its steps follows from this
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Fail if a slow connection lives longer
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    cut_within: Option<Duration>,
    #[command(flatten)]
    request: RequestArguments,
    #[command(flatten)]
    files: ReportFiles,
}

#[derive(Clone, Copy, ValueEnum)]
enum SlowKind {
    /// A head that never ends
    Header,
    /// A body that never ends
    Body,
    /// An answer that is hardly read
    Reader,
}

/// Is slow and reports; fails when the target does badly.
pub(super) fn run(arguments: SlowArguments) -> Result<(), Failure> {
    arguments.request.warn([arguments.url.as_str()].into_iter());
    arguments.request.warn_slow(matches!(arguments.kind, SlowKind::Reader));
    let inputs = arguments.request.inputs();
    let request = arguments.request.options(&arguments.url)?;
    let files = arguments.files.open(&mut Opener::of_request(&inputs, &request))?;
    let (kind, method) = match arguments.kind {
        SlowKind::Header => (Kind::Header, request.method.clone()),
        SlowKind::Body if request.method == "GET" => (Kind::Body, "POST".to_owned()),
        SlowKind::Body => (Kind::Body, request.method.clone()),
        SlowKind::Reader => (Kind::Reader, request.method.clone()),
    };
    let options = Options {
        request: run::Options {
            connections: arguments.connections,
            limit: Limit::Duration(arguments.duration),
            method,
            ..request
        },
        kind,
        pace: arguments.pace,
        seed: arguments.seed,
        probe_rate: arguments.probe_rate,
        probe_url: arguments.probe_url,
        cycles: arguments.cycles.or(arguments.max_factor.map(|_| DEFAULT_CYCLES)).map_or(0, usize::from),
        max_factor: arguments.max_factor,
        cut_within: arguments.cut_within,
    };
    let report = slow::run(&options, &*interrupted()?).map_err(|error| match error {
        RunError::Request(_) | RunError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    files.write(&options.request.url, &report)?;
    if report.valid { Ok(()) } else { Err(Failure::failed(report.reasons.join("; "))) }
}
