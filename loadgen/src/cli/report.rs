//! `weir-loadgen report`.

use std::{fs, io::Write, path::PathBuf};

use clap::Args;
use serde_json::Value;
use weir_loadgen::output::{OutputFile, page};

use super::Failure;

/// Makes one page with plots of JSON reports of run, search, compare, replay or slow; it needs nothing else.
///
/// Several reports of runs are compared with each other.
#[derive(Args)]
pub(super) struct ReportArguments {
    /// Reports, each with a name for the page if need be; the file's name otherwise
    #[arg(value_name = "[NAME=]FILE", required = true)]
    reports: Vec<String>,
    /// Where to
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

/// Makes the page.
pub(super) fn run(arguments: ReportArguments) -> Result<(), Failure> {
    let reports = arguments.reports.iter().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
    let html = page(&reports).map_err(Failure::usage)?;
    let mut file = OutputFile::open(&arguments.html).map_err(Failure::usage)?;
    file.write_all(html.as_bytes()).and_then(|()| file.flush()).map_err(Failure::failed)
}

fn read(text: &str) -> Result<(String, Value), Failure> {
    let (name, path) = text.split_once('=').unwrap_or((text, text));
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("{path}: {why}"));
    let bytes = fs::read(path).map_err(|error| wrong(&error))?;
    Ok((name.to_owned(), serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?))
}
