//! `weir-loadgen run`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{ArgGroup, Args};
use weir_loadgen::{
    run::{self, Limit, Load, Options, RunError, Step, Work},
    units::parse_duration,
};

use super::{
    Failure, interrupted,
    output::{Opener, OutputArguments},
    request::RequestArguments,
};

/// How long a run measures, and a soak, unless it is said.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const SOAK_DURATION: Duration = Duration::from_secs(3600);

/// Sends one kind of request, or a scenario's mix, and measures the answers, until the limit, SIGTERM or SIGINT.
///
/// Say when requests are sent: `--rate` is an open loop, where requests are due at times that do not depend on answers
/// and latency counts from then; `--closed` is a closed loop, where each connection waits for its answer before it sends
/// again, which shows the highest throughput and the time of service, but not what waiting users would see.
#[derive(Args)]
#[command(group(ArgGroup::new("load").required(true).args(["rate", "ramp", "step", "trace", "closed"])))]
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
    #[arg(long, value_name = "N", default_value = "0", requires = "ramp", value_parser = clap::value_parser!(u32).range(..=i64::from(run::MOST_STEPS)))]
    steps: u32,
    /// Open loop: so many requests a second for so long, one after the other, as in 1000:30s,2000:30s
    #[arg(long, value_name = "R:TIME,..", value_delimiter = ',', value_parser = parse_step, conflicts_with_all = ["duration", "requests"])]
    step: Vec<Step>,
    /// Open loop: requests at the times in this file, one a line: seconds, or JSON with `time`, as an access log has
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// So many times as fast as the trace was
    #[arg(long, value_name = "FACTOR", default_value = "1", requires = "trace")]
    trace_speed: f64,
    /// With --rate: random distances between requests, as of many users who don't know of each other
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Where the random distances begin
    #[arg(long, value_name = "N", default_value = "1", requires = "poisson")]
    seed: u64,
    /// Closed loop: each connection sends when its last answer is complete
    #[arg(long)]
    closed: bool,
    /// Measure connections and TLS handshakes, resumed or with --no-resumption full, without requests
    #[arg(long, conflicts_with_all = ["scenario", "method", "headers", "body", "body_file"])]
    handshakes: bool,
    /// Judge whether the target changes over the time of the run, which is an hour unless --duration says otherwise
    #[arg(long, conflicts_with = "requests")]
    soak: bool,
    /// Watch the memory of this process and its descendants; repeatable
    #[arg(long = "watch", value_name = "PID")]
    watch: Vec<u32>,
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
    /// The report, logs and the live view have figures for each interval of this length
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s")]
    interval: Duration,
    #[command(flatten)]
    output: OutputArguments,
}

/// Runs and reports; fails when the run isn't valid.
pub(super) fn run(arguments: RunArguments) -> Result<(), Failure> {
    let output = arguments.output.clone();
    arguments.request.warn([arguments.url.as_str()].into_iter());
    if arguments.handshakes {
        arguments.request.warn_handshakes();
    }
    let inputs: Vec<_> = arguments.request.inputs().into_iter().chain(arguments.trace.clone()).collect();
    let options = options(arguments)?;
    let mut opener = Opener::of_request(&inputs, &options);
    let mut outputs = output.open(&options, &mut opener)?;
    let report = run::run_observed(&options, &*interrupted()?, &mut outputs.observers());
    let report = report.map_err(|error| match error {
        RunError::Request(_) | RunError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    outputs.write(&options.url, &report)?;
    let mut failures = Vec::new();
    if !report.valid {
        failures.push(format!("not valid: {}", report.reasons.join("; ")));
    }
    if let Some(soak) = report.soak.as_ref().filter(|soak| !soak.findings.is_empty()) {
        failures.push(format!("soak: {}", soak.findings.join("; ")));
    }
    if report.surprises > 0 {
        let count = report.surprises;
        failures.push(format!("{count} requests had another outcome than the scenario expects"));
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::failed(failures.join("; "))) }
}

fn options(arguments: RunArguments) -> Result<Options, Failure> {
    let load = load(&arguments)?;
    let options = arguments.request.options(&arguments.url)?;
    RequestArguments::warn_scenario(&options, [arguments.url.as_str()].into_iter());
    let own_length = || load.as_ref().and_then(|load| load.length(arguments.warm_up));
    let default_length = if arguments.soak { SOAK_DURATION } else { DEFAULT_DURATION };
    let length = arguments.duration.or_else(own_length).unwrap_or(default_length);
    Ok(Options {
        load: match (load, arguments.ramp) {
            (Some(load), _) => load,
            (None, Some((from, to))) if arguments.steps > 0 => {
                Load::stairs(from, to, arguments.steps, length)
            }
            (None, Some((from, to))) => Load::Ramp { from, to },
            (None, None) => Load::Closed,
        },
        limit: arguments.requests.map_or(Limit::Duration(length), Limit::Requests),
        work: if arguments.handshakes { Work::Handshakes } else { Work::Requests },
        connections: arguments.connections,
        warm_up: arguments.warm_up,
        interval: arguments.interval,
        watch: arguments.watch,
        soak: arguments.soak,
        ..options
    })
}

/// The load, unless it depends on the length of the run, as a ramp does.
fn load(arguments: &RunArguments) -> Result<Option<Load>, Failure> {
    Ok(match (arguments.rate, &arguments.trace) {
        _ if arguments.closed => Some(Load::Closed),
        (Some(rate), _) if arguments.poisson => Some(Load::Poisson { rate, seed: arguments.seed }),
        (Some(rate), _) => Some(Load::Rate(rate)),
        (None, Some(path)) => {
            let times = run::read_trace(path, arguments.trace_speed).map_err(Failure::usage)?;
            Some(Load::Trace(times.into()))
        }
        (None, None) if !arguments.step.is_empty() => Some(Load::Steps(Arc::from(&*arguments.step))),
        (None, None) => None,
    })
}

fn parse_step(text: &str) -> Result<Step, String> {
    let wrong = || format!("`{text}` is no step: write a rate and a time, as in `1000:30s`");
    let (rate, lasts) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Step { rate: rate.parse().map_err(|_| wrong())?, lasts: parse_duration(lasts)? })
}

fn parse_ramp(text: &str) -> Result<(f64, f64), String> {
    let rates = text.split_once('-').map(|(from, to)| (from.trim().parse(), to.trim().parse()));
    match rates {
        Some((Ok(from), Ok(to))) => Ok((from, to)),
        _ => Err(format!("`{text}` is no ramp: write two rates, as in `100-5000`")),
    }
}
