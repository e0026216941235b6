//! `weir-loadgen run`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};
use weir_loadgen::{
    run::{self, Limit, Load, Options, RunError},
    units::parse_duration,
};

use super::{Failure, interrupted, request::RequestArguments, write_report};

/// Sends one kind of request and measures the answers, until the limit, SIGTERM or SIGINT.
///
/// Say when requests are sent: `--rate` is an open loop, where requests are due at times that do not depend on answers
/// and latency counts from then; `--closed` is a closed loop, where each connection waits for its answer before it sends
/// again, which shows the highest throughput and the time of service, but not what waiting users would see.
#[derive(Args)]
#[command(group(ArgGroup::new("load").required(true).args(["rate", "ramp", "closed"])))]
pub(super) struct RunArguments {
    /// Where to: http:// or https://, host, port, path and query
    #[arg(long, value_name = "URL")]
    url: String,
    /// Open loop: requests a second, over all connections
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Open loop: requests a second that grow or shrink from the one to the other in the run's duration, as in 100-5000
    #[arg(long, value_name = "R-R", value_parser = parse_ramp)]
    ramp: Option<(f64, f64)>,
    /// In so many steps of equal length [default: smooth]
    #[arg(long, value_name = "N", default_value = "0", requires = "ramp")]
    steps: u32,
    /// With --rate: random distances between requests, as of many users who don't know of each other
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Where the random distances begin
    #[arg(long, value_name = "N", default_value = "1", requires = "poisson")]
    seed: u64,
    /// Closed loop: each connection sends when its last answer is complete
    #[arg(long)]
    closed: bool,
    /// Connections
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,
    /// Measure for this long [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "requests")]
    duration: Option<Duration>,
    /// Measure this many requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Send for this long before measuring
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    warm_up: Duration,
    #[command(flatten)]
    request: RequestArguments,
    /// Write the report as JSON to this file, or to standard output with `-` in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs and reports; fails when the run isn't valid.
pub(super) fn run(arguments: RunArguments) -> Result<(), Failure> {
    let json = arguments.json.clone();
    let options = options(arguments)?;
    let report = run::run(&options, &*interrupted()?).map_err(|error| match error {
        RunError::Request(_) | RunError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    write_report(&report, json)?;
    if !report.valid {
        return Err(Failure::failed(format!("not valid: {}", report.reasons.join("; "))));
    }
    match report.surprises {
        0 => Ok(()),
        count => {
            Err(Failure::failed(format!("{count} requests had another outcome than the scenario expects")))
        }
    }
}

fn options(arguments: RunArguments) -> Result<Options, Failure> {
    let options = arguments.request.options(&arguments.url)?;
    Ok(Options {
        load: match (arguments.rate, arguments.ramp) {
            _ if arguments.closed => Load::Closed,
            (Some(rate), _) if arguments.poisson => Load::Poisson { rate, seed: arguments.seed },
            (Some(rate), _) => Load::Rate(rate),
            (None, Some((from, to))) => Load::Ramp { from, to, steps: arguments.steps },
            (None, None) => Load::Closed,
        },
        limit: match (arguments.requests, arguments.duration) {
            (Some(requests), _) => Limit::Requests(requests),
            (None, Some(duration)) => Limit::Duration(duration),
            (None, None) => options.limit,
        },
        connections: arguments.connections,
        warm_up: arguments.warm_up,
        ..options
    })
}

fn parse_ramp(text: &str) -> Result<(f64, f64), String> {
    let rates = text.split_once('-').map(|(from, to)| (from.trim().parse(), to.trim().parse()));
    match rates {
        Some((Ok(from), Ok(to))) => Ok((from, to)),
        _ => Err(format!("`{text}` is no ramp: write two rates, as in `100-5000`")),
    }
}
