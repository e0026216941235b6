//! The commands of the binary: `run`, `check`, `explain`, `demo`.

mod check;
mod demo;
mod explain;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};

use crate::config::{self, ConfigError, ConfigWarning, Environment};
use crate::node::{self, Prepared};
use crate::snapshot;
use crate::telemetry::log::{self, LogFormat};

/// A web application firewall and mTLS reverse proxy.
#[derive(Parser)]
#[command(name = "weir", version, arg_required_else_help = true)]
struct Cli {
    /// How log lines on standard error look.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve in the foreground until SIGTERM or SIGINT; SIGHUP reloads.
    Run(ConfigFile),
    /// Check the config with its certificates, rules and signatures.
    Check(ConfigFile),
    /// Say what would happen to a request, and why.
    Explain(explain::Arguments),
    /// Show the main job on this machine: origins, certificates, node and requests, all in one go.
    Demo(demo::Arguments),
}

/// The config file.
#[derive(Args)]
struct ConfigFile {
    /// The config file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// All is well.
    Fine,
    /// A finding, a failed check, or something that broke on the way.
    Failed,
    /// Wrong usage or config.
    Refused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
            Outcome::Refused => Self::from(2),
        }
    }
}

/// Parses the command line and runs the command. Exit codes: 0 fine, 1 a finding or a failed check,
/// 2 wrong usage or config.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The demo provokes origin failures and shows them in its table: the log would say them all again.
    let default_level = if matches!(cli.command, Command::Demo(_)) { "error" } else { "info" };
    if let Err(error) = log::init(cli.log_format, default_level) {
        eprintln!("weir: {error}");
        return Outcome::Refused.into();
    }
    match cli.command {
        Command::Run(file) => run::run(&file.config, Environment::of_process()),
        Command::Check(file) => check::run(&file.config, &Environment::of_process()),
        Command::Explain(arguments) => {
            let environment = Environment { only_asked: true, ..Environment::of_process() };
            explain::run(&arguments, &environment)
        }
        Command::Demo(arguments) => demo::run(&arguments),
    }
    .into()
}

/// Reads and compiles the config at `path`. Where it can't be read, its certificates are judged all the same.
fn prepare(path: &Path, environment: &Environment) -> Result<Prepared, Vec<ConfigError>> {
    node::prepare(path, environment).map_err(|mut errors| {
        if let Some(parts) = config::load_parts(path, environment) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_unix = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            errors.extend(snapshot::certificate_errors(&parts, now_unix));
        }
        errors
    })
}

fn print_errors(errors: &[ConfigError]) {
    for error in errors {
        eprintln!("error: {error}");
    }
    let plural = if errors.len() == 1 { "" } else { "s" };
    eprintln!("{} error{plural}; nothing was put in force", errors.len());
}

fn print_warnings(warnings: &[ConfigWarning]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
