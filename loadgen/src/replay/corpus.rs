//! Corpora: recorded requests with a label, one JSON object a line.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use base64::Engine;
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

/// The longest line, and the most records of one corpus.
const LINE_LIMIT_BYTES: u64 = 64 << 20;
const MOST_RECORDS: usize = 10_000_000;
/// The most bytes of all requests of one corpus.
const MOST_BYTES: usize = 4 << 30;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is called in lists.
    pub id: String,
    /// `attack`, `benign`, or something else that is counted and not scored.
    pub label: String,
    /// What kind of attack or traffic it is; may be empty.
    pub category: String,
    /// The whole request, as it is sent.
    pub raw: Vec<u8>,
}

/// Why a corpus can't be read: the file, the line, and why.
#[derive(Debug)]
pub struct CorpusError(String);

impl fmt::Display for CorpusError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for CorpusError {}

/// A line; other fields than these are nothing to us.
#[derive(Deserialize)]
struct Line {
    id: Id,
    label: String,
    #[serde(default)]
    category: String,
    raw: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

/// Reads a corpus, compressed with gzip or not.
///
/// # Errors
///
/// The file can't be read, or a line isn't `{"id": .., "label": .., "category": .., "raw": "BASE64"}`.
pub fn read(path: &Path) -> Result<Vec<Record>, CorpusError> {
    let unreadable = |error: io::Error| CorpusError(format!("can't read {}: {error}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let is_compressed = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC);
    let records =
        if is_compressed { read_lines(BufReader::new(MultiGzDecoder::new(file))) } else { read_lines(file) };
    records.map_err(|error| CorpusError(format!("{}: {error}", path.display())))
}

fn read_lines(mut input: impl BufRead) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    let mut line = Vec::new();
    let mut bytes = 0;
    for number in 1.. {
        line.clear();
        let wrong = |why: &dyn fmt::Display| format!("line {number}: {why}");
        let read = (&mut input).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|error| wrong(&error))? == 0 {
            break;
        }
        if !line.ends_with(b"\n") && line.len() as u64 == LINE_LIMIT_BYTES {
            return Err(wrong(&format!("it is longer than {LINE_LIMIT_BYTES} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if records.len() == MOST_RECORDS {
            return Err(wrong(&format!("there are more than {MOST_RECORDS} records")));
        }
        let record = parse(&line).map_err(|why| wrong(&why))?;
        bytes += record.raw.len();
        if bytes > MOST_BYTES {
            return Err(wrong(&format!("the requests have more than {MOST_BYTES} bytes")));
        }
        records.push(record);
    }
    Ok(records)
}

fn parse(line: &[u8]) -> Result<Record, String> {
    let Line { id, label, category, raw } = serde_json::from_slice(line)
        .map_err(|error| format!("{error}; expected {{\"id\", \"label\", \"category\", \"raw\"}}"))?;
    let raw = base64::engine::general_purpose::STANDARD
        .decode(raw)
        .map_err(|error| format!("`raw` is not base64: {error}"))?;
    let id = match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    };
    Ok(Record { id, label, category, raw })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINES: &str = "{\"id\":\"a\",\"label\":\"attack\",\"category\":\"x\",\"raw\":\"R0VU\",\"more\":1}\n\n\
                         {\"id\":7,\"label\":\"benign\",\"raw\":\"\"}";

    #[test]
    fn plain_and_compressed_corpora_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, compressed) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&plain, LINES).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(LINES.as_bytes()).unwrap();
        std::fs::write(&compressed, encoder.finish().unwrap()).unwrap();
        let records = read(&plain).unwrap();
        assert_eq!(records, read(&compressed).unwrap());
        let [first, second] = &records[..] else { panic!("two records") };
        assert_eq!((&*first.id, &*first.category, &first.raw[..]), ("a", "x", &b"GET"[..]));
        assert_eq!((&*second.id, &*second.label), ("7", "benign"));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, expected) in [
            ("{", "line 2: EOF"),
            ("{\"id\":1,\"label\":\"x\"}", "line 2: missing field `raw`"),
            ("{\"id\":1,\"label\":\"x\",\"raw\":\"!\"}", "line 2: `raw` is not base64"),
        ] {
            let error = read_lines(format!("\n{line}").as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(read(Path::new("/gone")).unwrap_err().to_string().contains("can't read /gone"));
    }
}
