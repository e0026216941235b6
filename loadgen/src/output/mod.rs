//! What a run leaves behind beside its report: logs that grow while it goes on, a view of it on a terminal, and pages.

mod csv;
mod hdr_log;
mod html;
mod live;
mod schema;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

pub use self::{csv::Csv, hdr_log::HdrLog, html::page, live::Live, schema::SCHEMA};
use crate::run::{Observer, Snapshot};

/// A file that is opened before a run and written behind or during it, so that a wrong name is known at once.
///
/// What is in a file of that name is kept until the first write. One that is made here and never written goes away again.
/// When the disk is full, what was written since the last flush is taken back, so that no half of a line is left.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: File,
    started: bool,
    /// How many bytes were written, and how many of them up to the last flush.
    written: u64,
    flushed: u64,
    /// There was none of this name before.
    is_new: bool,
}

impl OutputFile {
    /// Opens or makes it.
    ///
    /// # Errors
    ///
    /// It can't be written; the error names it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true);
        let opened = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.create(true).open(path).map(|file| (file, false))
            }
            made => made.map(|file| (file, true)),
        };
        let (file, is_new) = opened.map_err(|error| named(path, &error))?;
        Ok(Self { path: path.to_owned(), file, started: false, written: 0, flushed: 0, is_new })
    }

    /// Whether `other` names the same regular file, so that what is written to the one would be lost to the other.
    #[must_use]
    pub fn is_same(&self, other: &Path) -> bool {
        let (Ok(own), Ok(other)) = (self.file.metadata(), other.metadata()) else { return false };
        own.is_file() && (own.dev(), own.ino()) == (other.dev(), other.ino())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.is_new && !self.started {
            // It is empty; where it can't be removed it stays that.
            let _kept = fs::remove_file(&self.path);
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.started {
            // Pipes and devices have no length.
            let _fixed = self.file.set_len(0);
            self.started = true;
        }
        match self.file.write(bytes) {
            Ok(count) => {
                self.written += count as u64;
                Ok(count)
            }
            Err(error) => {
                let _fixed = self.file.set_len(self.flushed);
                Err(named(&self.path, &error))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = self.written;
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
