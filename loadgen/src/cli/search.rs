//! `weir-loadgen search`.

use std::time::Duration;

use clap::Args;
use weir_loadgen::{
    run::{self, RunError},
    search::{self, Options},
    units::parse_duration,
};

use super::{
    Failure, interrupted,
    output::{Opener, ReportFiles},
    request::RequestArguments,
};

/// Looks for the highest rate at which a target still answers in time.
///
/// The rate doubles until trials miss the bound; then the space in between is halved until it is narrow.
#[derive(Args)]
pub(super) struct SearchArguments {
    /// Where to: http:// or https://, host, port, path and query
    #[arg(long, value_name = "URL")]
    url: String,
    /// The most that a quantile of response times may be, as in p99=10ms or p99.9=50ms
    #[arg(long, value_name = "pQ=TIME", value_parser = parse_bound)]
    bound: (f64, Duration),
    /// The largest percentage of failed requests: without an answer, with an unexpected status 5xx, or with another outcome
    /// than the scenario expects
    #[arg(long, value_name = "PERCENT", default_value = "0")]
    errors: f64,
    /// First rate, in requests a second
    #[arg(long, value_name = "R", default_value = "1000")]
    from: f64,
    /// Highest rate that is tried
    #[arg(long, value_name = "R", default_value = "1000000")]
    to: f64,
    /// How long a trial measures
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "3s")]
    trial: Duration,
    /// How long a trial sends before
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "500ms")]
    warm_up: Duration,
    /// Trials of each rate; most of them decide
    #[arg(long, value_name = "N", default_value = "3")]
    repeats: usize,
    /// How close the search comes, in percent, 0.01 at least
    #[arg(long, value_name = "PERCENT", default_value = "5")]
    precision: f64,
    /// Connections
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,
    #[command(flatten)]
    request: RequestArguments,
    #[command(flatten)]
    files: ReportFiles,
}

/// Searches and reports; fails when no rate holds.
pub(super) fn run(arguments: SearchArguments) -> Result<(), Failure> {
    arguments.request.warn([arguments.url.as_str()].into_iter());
    let inputs = arguments.request.inputs();
    let request = arguments.request.options(&arguments.url)?;
    let files = arguments.files.open(&mut Opener::of_request(&inputs, &request))?;
    RequestArguments::warn_scenario(&request, [arguments.url.as_str()].into_iter());
    let (quantile, bound) = arguments.bound;
    let options = Options {
        request: run::Options { connections: arguments.connections, warm_up: arguments.warm_up, ..request },
        quantile,
        bound,
        error_share: arguments.errors / 100.0,
        from: arguments.from,
        to: arguments.to,
        trial: arguments.trial,
        repeats: arguments.repeats,
        precision: arguments.precision / 100.0,
    };
    let report = search::run(&options, &*interrupted()?).map_err(|error| match error {
        RunError::Request(_) | RunError::Tls(_) => Failure::usage(error),
        other => Failure::failed(other),
    })?;
    files.write(&report.url, &report)?;
    match report.highest_rate {
        _ if report.interrupted => Err(Failure::failed("interrupted")),
        None if report.failure_share_at_any_rate.is_some() => {
            let percent = report.failure_share_at_any_rate.unwrap_or_default() * 100.0;
            Err(Failure::failed(format!("{percent:.2} % of requests fail, whatever the rate")))
        }
        Some(_) => Ok(()),
        None => Err(Failure::failed("no rate holds the bound")),
    }
}

fn parse_bound(text: &str) -> Result<(f64, Duration), String> {
    let wrong = || format!("`{text}` is no bound: write a quantile and a time, as in `p99=10ms`");
    let (quantile, time) = text.strip_prefix('p').and_then(|rest| rest.split_once('=')).ok_or_else(wrong)?;
    let percent: f64 = quantile.parse().map_err(|_| wrong())?;
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(wrong());
    }
    Ok((percent / 100.0, parse_duration(time)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_a_quantile_and_a_time() {
        assert_eq!(parse_bound("p50=10ms"), Ok((0.5, Duration::from_millis(10))));
        for bad in ["10ms", "p=1ms", "p0=1ms", "p101=1ms", "p99=10", "99=10ms"] {
            assert!(parse_bound(bad).is_err(), "{bad}");
        }
    }
}
