//! `weir-loadgen run`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use clap::{ArgGroup, Args};
use signal_hook::consts::{SIGINT, SIGTERM};
use weir_loadgen::{
    Identity,
    run::{self, Limit, Load, Options, Report, RunError},
    units::parse_duration,
};

use super::{Failure, parse_header};

/// Sends one kind of request and measures the answers, until the limit, SIGTERM or SIGINT.
///
/// Say when requests are sent: `--rate` is an open loop, where requests are due at times that do not depend on answers
/// and latency counts from then; `--closed` is a closed loop, where each connection waits for its answer before it sends
/// again, which shows the highest throughput and the time of service, but not what waiting users would see.
#[derive(Args)]
#[command(group(ArgGroup::new("load").required(true).args(["rate", "closed"])))]
pub(super) struct RunArguments {
    /// Where to: http:// or https://, host, port, path and query
    #[arg(long, value_name = "URL")]
    url: String,
    /// Open loop: requests a second, over all connections
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Closed loop: each connection sends when its last answer is complete
    #[arg(long)]
    closed: bool,
    /// Connections
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,
    /// Threads [default: one per core that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Measure for this long [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "requests")]
    duration: Option<Duration>,
    /// Measure this many requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Send for this long before measuring
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    warm_up: Duration,
    /// Method [default: GET, or POST with a body]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// One more header field; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// The body
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// File with the body
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// CA that vouches for the target (PEM) [default: the system's]
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// Client certificate chain (PEM)
    #[arg(long, value_name = "PEM", requires = "key")]
    certificate: Option<PathBuf>,
    /// The client certificate's private key (PEM)
    #[arg(long, value_name = "PEM", requires = "certificate")]
    key: Option<PathBuf>,
    /// Take any certificate of the target
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Do not resume TLS sessions
    #[arg(long)]
    no_resumption: bool,
    /// How long a connection's set-up, and then each answer, may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Write the report as JSON to this file, or to standard output with `-` in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs and reports; fails when the run isn't valid.
pub(super) fn run(arguments: RunArguments) -> Result<(), Failure> {
    let json = arguments.json.clone();
    let options = options(arguments)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(Failure::failed)?;
    }
    let report = run::run(&options, &interrupted).map_err(|error| match error {
        RunError::Request(_) | RunError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    write_report(&report, json)
        .map_err(|error| Failure::failed(format!("can't write the report: {error}")))?;
    if report.valid {
        Ok(())
    } else {
        Err(Failure::failed(format!("not valid: {}", report.reasons.join("; "))))
    }
}

fn write_report(report: &Report, json: Option<PathBuf>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let Some(path) = json else { return write!(output, "{report}") };
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    if path.as_os_str() == "-" {
        return output.write_all(&text);
    }
    write!(output, "{report}")?;
    fs::write(&path, text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn options(arguments: RunArguments) -> Result<Options, Failure> {
    let body = match (arguments.body, arguments.body_file) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(path)) => fs::read(&path)
            .map_err(|error| Failure::usage(format!("can't read {}: {error}", path.display())))?,
        (None, None) => Vec::new(),
    };
    let default_method = if body.is_empty() { "GET" } else { "POST" };
    let defaults = Options::new(&arguments.url);
    Ok(Options {
        load: arguments.rate.filter(|_| !arguments.closed).map_or(Load::Closed, Load::Rate),
        limit: match (arguments.requests, arguments.duration) {
            (Some(requests), _) => Limit::Requests(requests),
            (None, Some(duration)) => Limit::Duration(duration),
            (None, None) => defaults.limit,
        },
        connections: arguments.connections,
        threads: arguments.threads.map_or(defaults.threads, usize::from),
        warm_up: arguments.warm_up,
        method: arguments.method.unwrap_or_else(|| default_method.to_owned()),
        headers: arguments.headers,
        body,
        ca: arguments.ca,
        identity: arguments
            .certificate
            .zip(arguments.key)
            .map(|(certificate, private_key)| Identity { certificate, private_key }),
        insecure: arguments.insecure,
        resume: !arguments.no_resumption,
        timeout: arguments.timeout,
        ..defaults
    })
}
