//! `weir-loadgen compare`.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use weir_loadgen::{
    compare::{self, CompareError, Options, Parity, TargetOptions},
    run::{self, Load, RunError},
    units::parse_duration,
};

use super::{
    Failure, interrupted,
    output::{Opener, ReportFiles},
    request::RequestArguments,
};

/// Compares targets that do the same work: CPU time for each answer, throughput, latency and memory.
///
/// All targets must be up. Each has its turn for a short slice, round and round, in reverse order in every other cycle;
/// ratios are to the first target in the same cycle, so that a machine with fast and slow phases hurts all alike. Before
/// the timing all targets must give the same answers.
#[derive(Args)]
pub(super) struct CompareArguments {
    /// A target, and the processes whose CPU time and memory are its own, descendants included; both may repeat
    #[arg(long = "target", value_name = "NAME=URL[,pid=PID]", required = true, value_parser = parse_target)]
    targets: Vec<TargetOptions>,
    /// Connections to each target; each number makes a table of its own
    #[arg(long, value_name = "N,N", default_value = "64", value_delimiter = ',')]
    connections: Vec<usize>,
    /// Turns of each target, after one that isn't counted
    #[arg(long, value_name = "N", default_value = "30")]
    cycles: usize,
    /// Measure for this long in each turn
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "120ms")]
    slice: Duration,
    /// Send for this long before, in each turn
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30ms")]
    warm_up: Duration,
    /// Open loop: requests a second in each turn [default: closed loop]
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// What must be the same about all targets' answers: status, length or bytes
    #[arg(long, value_name = "WHAT", value_parser = parse_parity, default_value = "bytes")]
    parity: Parity,
    /// How often each target is asked for that
    #[arg(long, value_name = "N", default_value = "20")]
    parity_requests: usize,
    #[command(flatten)]
    request: RequestArguments,
    #[command(flatten)]
    files: ReportFiles,
}

/// Compares and reports; fails when the figures can't be used.
pub(super) fn run(arguments: CompareArguments) -> Result<(), Failure> {
    arguments.request.warn(arguments.targets.iter().map(|target| target.url.as_str()));
    let inputs = arguments.request.inputs();
    let request = arguments.request.options("")?;
    let files = arguments.files.open(&mut Opener::of_request(&inputs, &request))?;
    RequestArguments::warn_scenario(&request, arguments.targets.iter().map(|target| target.url.as_str()));
    let options = Options {
        targets: arguments.targets,
        request: run::Options { load: arguments.rate.map_or(Load::Closed, Load::Rate), ..request },
        connections: arguments.connections,
        cycles: arguments.cycles,
        slice: arguments.slice,
        warm_up: arguments.warm_up,
        parity: arguments.parity,
        parity_requests: arguments.parity_requests,
    };
    let mut terminal = Some(std::io::stderr()).filter(IsTerminal::is_terminal);
    let progress = |connections: usize, done: usize, all: usize| {
        if let Some(terminal) = &mut terminal {
            // Who closed the terminal doesn't want to know.
            let _closed = write!(terminal, "\r{connections} connections: cycle {done} of {all}  ");
            let _closed = if done == all { writeln!(terminal) } else { terminal.flush() };
        }
    };
    let report = compare::run(&options, &*interrupted()?, progress).map_err(|error| match error {
        CompareError::Usage(_) | CompareError::Target(_, RunError::Request(_) | RunError::Tls(_)) => {
            Failure::usage(error)
        }
        other => Failure::failed(other),
    })?;
    files.write("comparison", &report)?;
    if report.valid {
        Ok(())
    } else {
        Err(Failure::failed(format!("not valid: {}", report.reasons.join("; "))))
    }
}

/// Reads `NAME=URL,pid=PID,pid=PID`. A URL may have commas and equals signs of its own.
fn parse_target(text: &str) -> Result<TargetOptions, String> {
    let expected = "expected NAME=URL or NAME=URL,pid=PID, as in `nginx=http://127.0.0.1:8080/,pid=4711`";
    let (name, mut url) = text.split_once('=').ok_or_else(|| format!("`{text}` has no name: {expected}"))?;
    if name.is_empty() || name.contains(['/', ':']) {
        return Err(format!("`{text}` has no name: {expected}"));
    }
    let mut pids = Vec::new();
    while let Some((before, pid)) = url.rsplit_once(",pid=") {
        pids.push(pid.parse().map_err(|_| format!("`{pid}` is not a process: {expected}"))?);
        url = before;
    }
    pids.reverse();
    Ok(TargetOptions { name: name.to_owned(), url: url.to_owned(), pids })
}

fn parse_parity(text: &str) -> Result<Parity, String> {
    match text {
        "status" => Ok(Parity::Status),
        "length" => Ok(Parity::Length),
        "bytes" => Ok(Parity::Bytes),
        _ => Err("expected status, length or bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_name_a_url_and_processes() {
        let target = |name: &str, url: &str, pids: &[u32]| TargetOptions {
            name: name.to_owned(),
            url: url.to_owned(),
            pids: pids.to_vec(),
        };
        let cases = [
            ("a=http://h/?x=1,2", target("a", "http://h/?x=1,2", &[])),
            ("a=http://h/?x=1,2,pid=3,pid=4", target("a", "http://h/?x=1,2", &[3, 4])),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_target(text), Ok(expected));
        }
        for bad in ["http://h/", "http://h/?a=b", "=http://h/", "a=http://h/,pid=x", "a=http://h/,pid=-1"] {
            assert!(parse_target(bad).is_err(), "{bad}");
        }
    }
}
