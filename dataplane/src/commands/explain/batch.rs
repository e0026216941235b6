//! Many requests, one a line: each gets its answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde_json::{Value, json};

use super::Outcome;
use crate::explain::{Described, Explainer, Explanation};

/// Longest line of a batch.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a file that is compressed with gzip begins with (RFC 1952 section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Answers each line of the file at `path`.
pub(super) fn run(explainer: &mut Explainer<'_>, path: &Path) -> Outcome {
    let mut output = BufWriter::new(io::stdout().lock());
    finish(path, open(path).and_then(|input| explain_lines(explainer, Lines::new(input), &mut output)))
}

/// How a command over a batch ends.
pub(super) fn finish(path: &Path, done: Result<(), BatchError>) -> Outcome {
    match done {
        Ok(()) => Outcome::Fine,
        Err(BatchError::Read(error)) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Fine,
        Err(BatchError::Read(error)) => {
            eprintln!("error: {}: {error}", path.display());
            Outcome::Failed
        }
        Err(BatchError::Refused(message)) => {
            eprintln!("error: {}: {message}", path.display());
            Outcome::Refused
        }
    }
}

/// Why a batch came to no end.
#[derive(Debug)]
pub(super) enum BatchError {
    /// It broke on the way.
    Read(io::Error),
    /// It is not what it should be.
    Refused(String),
}

impl From<io::Error> for BatchError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Opens a batch, compressed or not; `-` is standard input.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, BatchError> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| BatchError::Refused(error.to_string()))?)
    };
    let mut input = BufReader::new(file);
    let is_compressed = input.fill_buf()?.starts_with(&GZIP_MAGIC);
    Ok(if is_compressed { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) })
}

/// The lines of a batch, one after the other.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::new(input), line: Vec::new() }
    }

    /// The next line, with its end.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX as u64);
        let read = limited.read_until(b'\n', &mut self.line)?;
        if self.line.len() == LINE_BYTES_MAX {
            return Err(io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok((read > 0).then_some(&self.line))
    }

    /// Whether a further line is here already.
    fn has_next(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

/// One answer a line, whatever the line holds.
fn explain_lines(
    explainer: &mut Explainer<'_>,
    mut lines: Lines<impl Read>,
    output: &mut impl Write,
) -> Result<(), BatchError> {
    while let Some(line) = lines.next()? {
        let answer = answer(explainer, line);
        serde_json::to_writer(&mut *output, &answer).map_err(io::Error::from)?;
        output.write_all(b"\n")?;
        // Whoever writes a line and waits for its answer gets it; in bulk, answers leave together.
        if !lines.has_next() {
            output.flush()?;
        }
    }
    Ok(output.flush()?)
}

/// Members of a line that its answer repeats: they say nothing of the request.
const REPEATED: [&str; 3] = ["id", "label", "category"];

/// A line of a batch: a request or a line of a corpus, of which `raw` is the request's bytes in base64.
#[derive(Debug)]
pub(super) struct Line {
    /// What the answer repeats.
    pub(super) repeated: Vec<(&'static str, Value)>,
    /// The request, or why the line describes none.
    pub(super) described: Result<Described, String>,
}

impl Line {
    pub(super) fn read(line: &[u8]) -> Self {
        let mut repeated = Vec::new();
        let described =
            serde_json::from_slice::<Value>(line).map_err(|error| error.to_string()).and_then(|mut value| {
                if let Some(parts) = value.as_object_mut() {
                    repeated.extend(REPEATED.into_iter().filter_map(|key| Some((key, parts.remove(key)?))));
                    if let Some(raw) = parts.remove("raw") {
                        // What else a corpus says about its requests is nothing to us.
                        parts.retain(|key, _| key == "client" || key == "listener");
                        parts.insert("raw_base64".to_owned(), raw);
                    }
                }
                Described::from_json(&value).map_err(|error| error.to_string())
            });
        Self { repeated, described }
    }
}

/// The answer to one line; an `id`, a `label` and a `category` in the line are repeated in it.
fn answer(explainer: &mut Explainer<'_>, line: &[u8]) -> Value {
    let line = Line::read(line);
    let explained =
        line.described.and_then(|described| explainer.explain(&described).map_err(|error| error.to_string()));
    let mut answer = match explained {
        Ok(explanation) => explanation.to_json(),
        Err(detail) => {
            let error = json!(format!("this line describes no request: {detail}"));
            let refused = Explanation::Refused { status: 400, code: "bad_description".to_owned(), detail };
            let mut answer = refused.to_json();
            answer["error"] = error;
            answer
        }
    };
    for (key, value) in line.repeated {
        answer[key] = value;
    }
    answer
}
