//! `weir-loadgen diff`.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use weir_loadgen::{
    diff::{self, Tolerance},
    files::{self, MOST_REPORT_BYTES},
};

use super::{
    Failure,
    output::{Opener, ReportFiles},
};

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
    /// How much worse figures may become, in percent; for some, METRIC=PERCENT, as in p99=20; for shares of statuses, verdicts
    /// and surprises in points, as in shares=2; repeatable
    #[arg(long = "tolerance", value_name = "[METRIC=]PERCENT", value_parser = parse_tolerance)]
    tolerances: Vec<(Option<String>, f64)>,
    /// Compare reports of different loads, requests or numbers of connections too
    #[arg(long)]
    any_load: bool,
    /// Write the result as JSON to this file, or to standard output with `-` in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Compares and reports; fails when something became worse than is tolerated.
pub(super) fn run(arguments: DiffArguments) -> Result<(), Failure> {
    let mut opener = Opener::of_inputs([&arguments.before, &arguments.after]);
    let files = ReportFiles::json(arguments.json).open(&mut opener)?;
    let mut tolerance = Tolerance { any_load: arguments.any_load, ..Tolerance::default() };
    for (metric, share) in arguments.tolerances {
        match metric {
            Some(metric) => tolerance.by_metric.push((metric, share)),
            None => tolerance.share = share,
        }
    }
    let (before, after) = (read(arguments.before)?, read(arguments.after)?);
    let report = diff::diff(&before, &after, &tolerance).map_err(Failure::usage)?;
    files.write("diff", &report)?;
    if report.is_fine() {
        return Ok(());
    }
    let regressed = report.changes.iter().filter(|change| change.regressed).count();
    Err(Failure::failed(format!("{regressed} figures became worse, {} problems", report.problems.len())))
}

fn read(path: PathBuf) -> Result<Value, Failure> {
    let bytes = files::read(&path, MOST_REPORT_BYTES).map_err(Failure::usage)?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
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
