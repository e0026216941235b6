//! Where a run's results go: files that are opened before it and written during or behind it.

use std::{
    fmt, fs,
    io::{self, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use weir_loadgen::{
    output::{Csv, HdrLog, Live, Observers, OutputFile, page},
    run::{Observer, Options},
};

use super::Failure;

/// Where a report goes.
#[derive(Args, Clone)]
pub(super) struct ReportFiles {
    /// Write the report as JSON to this file, or to standard output with `-` in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one page with plots, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Where everything about a run goes.
#[derive(Args, Clone)]
pub(super) struct OutputArguments {
    #[command(flatten)]
    report: ReportFiles,
    /// Write the intervals as CSV while the run goes on
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write an HdrHistogram log of the intervals while the run goes on
    #[arg(long, value_name = "FILE")]
    hdr_log: Option<PathBuf>,
    /// Show the run on standard error while it goes on
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    live: When,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal
    Auto,
    /// On a terminal as a block, elsewhere as a line for each interval
    Always,
    Never,
}

/// A report's files, open.
pub(super) struct OpenReport {
    json: Json,
    html: Option<OutputFile>,
}

enum Json {
    None,
    Stdout,
    File(OutputFile),
}

/// The files of a run, open.
pub(super) struct Outputs {
    report: OpenReport,
    csv: Option<Csv<OutputFile>>,
    hdr_log: Option<HdrLog<OutputFile>>,
    live: Option<Live<io::Stderr>>,
}

/// Opens files to write, each of which must be another one.
#[derive(Default)]
pub(super) struct Opener {
    opened: Vec<PathBuf>,
}

impl Opener {
    /// A file that is read must not be written over either.
    pub(super) fn of_inputs<'a>(inputs: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        Self { opened: inputs.into_iter().cloned().collect() }
    }

    /// All files that requests are made from: those that flags name, and those that the scenario names.
    pub(super) fn of_request<'a>(flags: impl IntoIterator<Item = &'a PathBuf>, options: &'a Options) -> Self {
        Self::of_inputs(
            flags.into_iter().chain(options.scenario.iter().flat_map(|scenario| scenario.files())),
        )
    }

    /// Keeps a name for what is written later and elsewhere. Nothing is made there.
    pub(super) fn reserve(&mut self, path: &Path) -> Result<(), Failure> {
        if let Some(other) = self.opened.iter().find(|other| name_same_file(other, path)) {
            return Err(same_file(other, path));
        }
        self.opened.push(path.to_owned());
        Ok(())
    }

    pub(super) fn open(&mut self, path: Option<PathBuf>) -> Result<Option<OutputFile>, Failure> {
        let Some(path) = path else { return Ok(None) };
        if path.as_os_str() == "-" {
            return Err(Failure::usage("only --json writes to standard output with `-`: name a file here"));
        }
        let file = OutputFile::open(&path).map_err(Failure::usage)?;
        if let Some(other) = self.opened.iter().find(|other| file.is_same(other)) {
            return Err(same_file(other, &path));
        }
        self.opened.push(path);
        Ok(Some(file))
    }
}

fn same_file(one: &Path, other: &Path) -> Failure {
    let (one, other) = (one.display(), other.display());
    Failure::usage(format!("{one} and {other} are the same file: each needs one of its own"))
}

/// Whether two paths name the same regular file, also one that isn't there yet.
fn name_same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        // What is written to a device or a pipe replaces nothing.
        (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), Err(_)) => {
            let place = |path: &Path| {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()?;
                Some(folder.join(path.file_name()?))
            };
            place(one).is_some_and(|one| place(other) == Some(one))
        }
        _ => false,
    }
}

impl ReportFiles {
    /// The JSON alone.
    pub(super) const fn json(json: Option<PathBuf>) -> Self {
        Self { json, html: None }
    }

    /// Opens the files, so that a wrong name is known before the work.
    pub(super) fn open(self, opener: &mut Opener) -> Result<OpenReport, Failure> {
        let json = match self.json {
            Some(path) if path.as_os_str() == "-" => Json::Stdout,
            path => opener.open(path)?.map_or(Json::None, Json::File),
        };
        Ok(OpenReport { json, html: opener.open(self.html)? })
    }
}

impl OpenReport {
    /// Writes the report wherever it is wanted. One place that can't be written doesn't keep it from the others, and
    /// what a full disk doesn't take goes to standard output.
    pub(super) fn write<R: Serialize + fmt::Display>(self, name: &str, report: &R) -> Result<(), Failure> {
        let mut errors = Vec::new();
        let mut note = |result: io::Result<()>| errors.extend(result.err().map(|error| error.to_string()));
        let mut json = serde_json::to_vec_pretty(report).map_err(Failure::failed)?;
        json.push(b'\n');
        match self.json {
            Json::None => note(to_stdout(report.to_string().as_bytes())),
            Json::Stdout => note(to_stdout(&json)),
            Json::File(mut file) => {
                note(to_stdout(report.to_string().as_bytes()));
                if let Err(error) = write_whole(&mut file, &json) {
                    note(Err(error));
                    eprintln!("weir-loadgen: the JSON report goes to standard output instead");
                    note(to_stdout(&json));
                }
            }
        }
        if let Some(mut file) = self.html {
            let value = serde_json::to_value(report).map_err(Failure::failed)?;
            let html = page(&[(name.to_owned(), value)]).map_err(io::Error::other);
            note(html.and_then(|html| write_whole(&mut file, html.as_bytes())));
        }
        if errors.is_empty() { Ok(()) } else { Err(Failure::failed(errors.join("; "))) }
    }
}

pub(super) fn write_whole(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(bytes).and_then(|()| output.flush())
}

fn to_stdout(bytes: &[u8]) -> io::Result<()> {
    let written = write_whole(&mut io::stdout().lock(), bytes);
    written.map_err(|error| io::Error::new(error.kind(), format!("can't write to standard output: {error}")))
}

impl OutputArguments {
    /// Opens all files, so that a wrong name is known before the run; what is in them stays until it begins.
    pub(super) fn open(self, options: &Options, opener: &mut Opener) -> Result<Outputs, Failure> {
        let is_terminal = io::stderr().is_terminal();
        let shows = self.live == When::Always || self.live == When::Auto && is_terminal;
        Ok(Outputs {
            report: self.report.open(opener)?,
            csv: opener.open(self.csv)?.map(Csv::new),
            hdr_log: opener.open(self.hdr_log)?.map(HdrLog::new),
            live: shows.then(|| Live::new(io::stderr(), options, is_terminal)),
        })
    }
}

impl Outputs {
    /// Those that watch the run.
    pub(super) fn observers(&mut self) -> Observers<'_> {
        let mut all: Vec<&mut dyn Observer> = Vec::new();
        all.extend(self.csv.iter_mut().map(|csv| csv as &mut dyn Observer));
        all.extend(self.hdr_log.iter_mut().map(|log| log as &mut dyn Observer));
        all.extend(self.live.iter_mut().map(|live| live as &mut dyn Observer));
        Observers(all)
    }

    /// Writes the report, and ends the logs.
    pub(super) fn write<R: Serialize + fmt::Display>(self, name: &str, report: &R) -> Result<(), Failure> {
        let written = self.report.write(name, report);
        let logs = [self.csv.map_or(Ok(()), Csv::finish), self.hdr_log.map_or(Ok(()), HdrLog::finish)];
        let logs = logs.into_iter().filter_map(|log| log.err().map(|error| error.to_string()));
        let texts: Vec<String> = written.err().map(|failure| failure.text).into_iter().chain(logs).collect();
        if texts.is_empty() { Ok(()) } else { Err(Failure::failed(texts.join("; "))) }
    }
}
