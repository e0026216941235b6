//! `weir-loadgen report`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use weir_loadgen::{
    files::{self, MOST_REPORT_BYTES},
    output::page,
};

use super::{
    Failure,
    output::{Opener, write_whole},
};

/// Makes one page with plots of JSON reports of run, search, compare, replay or slow; it needs nothing else.
///
/// Several reports of runs are compared with each other.
#[derive(Args)]
pub(super) struct ReportArguments {
    /// Reports, each with a name for the page if need be; the file's name otherwise. A file whose own name has a `=` in it needs
    /// none
    #[arg(value_name = "[NAME=]FILE", required = true)]
    reports: Vec<String>,
    /// Where to
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

/// Makes the page.
pub(super) fn run(arguments: ReportArguments) -> Result<(), Failure> {
    let named: Vec<(&str, PathBuf)> = arguments.reports.iter().map(|text| name_and_path(text)).collect();
    let mut opener = Opener::of_inputs(named.iter().map(|(_, path)| path));
    let reports = named.iter().map(|(name, path)| read(name, path)).collect::<Result<Vec<_>, _>>()?;
    let html = page(&reports).map_err(Failure::usage)?;
    let file = opener.open(Some(arguments.html))?;
    file.map_or(Ok(()), |mut file| write_whole(&mut file, html.as_bytes())).map_err(Failure::failed)
}

fn name_and_path(text: &str) -> (&str, PathBuf) {
    let named = text.split_once('=').filter(|_| !Path::new(text).exists());
    let (name, path) = named.unwrap_or((text, text));
    (name, PathBuf::from(path))
}

fn read(name: &str, path: &Path) -> Result<(String, Value), Failure> {
    let bytes = files::read(path, MOST_REPORT_BYTES).map_err(Failure::usage)?;
    let report = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok((name.to_owned(), report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_an_equals_sign_in_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("rate=1000.json");
        std::fs::write(&odd, "{}").unwrap();
        let odd = odd.to_str().unwrap();
        assert_eq!(name_and_path(odd), (odd, PathBuf::from(odd)));
        let named = format!("before={odd}");
        assert_eq!(name_and_path(&named), ("before", PathBuf::from(odd)));
        assert_eq!(name_and_path("a.json"), ("a.json", PathBuf::from("a.json")));
    }
}
