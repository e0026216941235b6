//! The command line: flags into options, results into text and exit codes.
//!
//! Exit codes: 0 fine, 1 failed or not valid, 2 wrong usage.

mod compare;
mod diff;
mod origin;
mod output;
mod replay;
mod report;
mod request;
mod run;
mod search;
mod slow;

use std::{
    fmt,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use clap::{Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};

#[derive(Parser)]
#[command(name = "weir-loadgen", version, about = "Load generator and origin stub for HTTP/1.1 proxies")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve fixed answers, for use behind a proxy under test
    Origin(Box<origin::OriginArguments>),
    /// Send requests to one URL and measure the answers
    Run(Box<run::RunArguments>),
    /// Compare targets that do the same work, in short slices that take turns
    Compare(Box<compare::CompareArguments>),
    /// Send a corpus of labelled requests and score what the target blocked
    Replay(Box<replay::ReplayArguments>),
    /// Find the highest rate that holds a latency and error bound
    Search(Box<search::SearchArguments>),
    /// Hold connections with clients that are slow on purpose
    Slow(Box<slow::SlowArguments>),
    /// Make one page with plots of JSON reports
    Report(Box<report::ReportArguments>),
    /// Compare two JSON reports, with tolerances and an exit code
    Diff(Box<diff::DiffArguments>),
}

/// Why a command fails: its text for standard error, and the exit code.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// Something went wrong although the command line was right.
    fn failed(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), code: 1 }
    }

    /// The command line doesn't make sense.
    fn usage(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), code: 2 }
    }
}

pub(crate) fn main() -> ExitCode {
    // clap prints its own errors and exits with 2.
    let arguments = Arguments::parse();
    raise_descriptor_limit();
    let result = match arguments.command {
        Command::Origin(arguments) => origin::run(*arguments),
        Command::Run(arguments) => run::run(*arguments),
        Command::Compare(arguments) => compare::run(*arguments),
        Command::Replay(arguments) => replay::run(*arguments),
        Command::Search(arguments) => search::run(*arguments),
        Command::Slow(arguments) => slow::run(*arguments),
        Command::Report(arguments) => report::run(*arguments),
        Command::Diff(arguments) => diff::run(*arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("weir-loadgen: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Tells what doesn't keep the command from its work.
fn warn(what: &str) {
    eprintln!("weir-loadgen: {what}");
}

/// Allows this process as many open connections as it may have at all: the usual soft limit is 1024.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it a run with many connections reports the ones that fail.
    let _kept = setrlimit(Resource::Nofile, limit);
}

/// Splits `Name: value`.
fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("`{text}` is not a header field: write `Name: value`"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Becomes true at SIGTERM or SIGINT. The second of them ends the process as it ends any other: the command may be waiting for
/// a name server or a handshake, or write to a disk that hangs.
fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // Registered first, so that it doesn't see what the first signal sets.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&interrupted))
            .map_err(Failure::failed)?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(Failure::failed)?;
    }
    Ok(interrupted)
}
