//! The command line: flags into options, results into text and exit codes.
//!
//! Exit codes: 0 fine, 1 failed or not valid, 2 wrong usage.

mod origin;
mod run;

use std::{fmt, process::ExitCode};

use clap::{Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};

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
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("weir-loadgen: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
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
