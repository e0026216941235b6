//! `weir-loadgen diff`.

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::Value;
use weir_loadgen::diff::{self, Tolerance};

use super::{Failure, write_report};

/// Compares two JSON reports of the same command, for use in CI.
///
/// The exit code is 0 when nothing became worse than is tolerated, 1 when something did or is missing, 2 when the files are
/// no reports.
#[derive(Args)]
pub(super) struct DiffArguments {
    /// The report from before
    before: PathBuf,
    /// The report from after
    after: PathBuf,
    /// How much worse figures may become, in percent; for some, METRIC=PERCENT, as in p99=20; repeatable
    #[arg(long = "tolerance", value_name = "[METRIC=]PERCENT", value_parser = parse_tolerance)]
    tolerances: Vec<(Option<String>, f64)>,
    /// Write the result as JSON to this file, or to standard output with `-` in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Compares and reports; fails when something became worse than is tolerated.
pub(super) fn run(arguments: DiffArguments) -> Result<(), Failure> {
    let mut tolerance = Tolerance::default();
    for (metric, share) in arguments.tolerances {
        match metric {
            Some(metric) => tolerance.by_metric.push((metric, share)),
            None => tolerance.share = share,
        }
    }
    let (before, after) = (read(arguments.before)?, read(arguments.after)?);
    let report = diff::diff(&before, &after, &tolerance).map_err(Failure::usage)?;
    write_report(&report, arguments.json)?;
    if report.is_fine() {
        return Ok(());
    }
    let regressed = report.changes.iter().filter(|change| change.regressed).count();
    Err(Failure::failed(format!("{regressed} figures became worse, {} problems", report.problems.len())))
}

fn read(path: PathBuf) -> Result<Value, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let bytes = fs::read(&path).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}

fn parse_tolerance(text: &str) -> Result<(Option<String>, f64), String> {
    let (metric, percent) =
        text.split_once('=').map_or((None, text), |(metric, percent)| (Some(metric.to_owned()), percent));
    let percent: f64 =
        percent.trim_end_matches('%').parse().map_err(|_| format!("`{percent}` is no percentage"))?;
    if !(percent >= 0.0 && percent.is_finite()) {
        return Err(format!("`{percent}` is no percentage"));
    }
    Ok((metric, percent / 100.0))
}
