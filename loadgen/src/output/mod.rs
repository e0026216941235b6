//! What a run leaves behind beside its report: logs that grow while it goes on, a view of it on a terminal, and pages.

mod csv;
mod hdr_log;
mod html;
mod live;
mod schema;

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

pub use self::{csv::Csv, hdr_log::HdrLog, html::page, live::Live, schema::SCHEMA};
use crate::run::{Observer, Snapshot};

/// A file that is opened before a run and written behind or during it, so that a wrong name is known at once.
///
/// What is in a file of that name is kept until the first write.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: File,
    started: bool,
}

impl OutputFile {
    /// Opens or makes it.
    ///
    /// # Errors
    ///
    /// It can't be written; the error names it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| named(path, &error))?;
        Ok(Self { path: path.to_owned(), file, started: false })
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.started {
            // Pipes and devices have no length.
            let _fixed = self.file.set_len(0);
            self.started = true;
        }
        self.file.write(bytes).map_err(|error| named(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| named(&self.path, &error))
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't write {}: {error}", path.display()))
}

/// A writer that is not written to any more after its first error, and keeps that for the end.
#[derive(Debug)]
struct Sink<W> {
    output: W,
    error: Option<io::Error>,
}

impl<W: Write> Sink<W> {
    const fn new(output: W) -> Self {
        Self { output, error: None }
    }

    /// Writes whole lines at once, so that what is there stays readable when the process is ended.
    fn write(&mut self, text: &str) {
        if self.error.is_none() {
            let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
            self.error = written.err();
        }
    }

    fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Several observers as one.
#[derive(Default)]
pub struct Observers<'a>(pub Vec<&'a mut dyn Observer>);

impl Observer for Observers<'_> {
    fn started(&mut self, measured_from: SystemTime) {
        for observer in &mut self.0 {
            observer.started(measured_from);
        }
    }

    fn interval(&mut self, snapshot: &Snapshot<'_>) {
        for observer in &mut self.0 {
            observer.interval(snapshot);
        }
    }
}
