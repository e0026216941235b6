//! One config file as text: read with a bound, parsed, and offsets turned into lines and columns.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::error::{ConfigError, Where};
use super::model::Place;
use super::problems::Problems;
use super::read::shorten;
use crate::files::read_bounded;

/// A config or rules file above this is refused unread.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;

/// The same for a lists file: a million entries with reasons and ends fit.
pub(super) const MAX_LISTS_FILE_BYTES: u64 = 256 << 20;

/// A parser that goes on after errors keeps them all: up to this size that is a bearable amount of memory.
const MAX_RECOVERED_BYTES: usize = 2 << 20;

/// A file's text and where its lines begin.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<Path>,
    text: String,
    line_starts: Vec<usize>,
    /// The last offset whose column was counted: its line's start, itself, and the column from 0.
    last_column: Cell<(usize, usize, usize)>,
}

impl Source {
    /// Reads a file. `key` and `named_at` say who asked for it, where another file names it.
    pub(super) fn read(
        file: &Path,
        limit_bytes: u64,
        named_at: Option<(&Place, &str)>,
        problems: &Problems,
    ) -> Option<Self> {
        let bytes = match read_bounded(file, limit_bytes) {
            Ok(bytes) => bytes,
            Err(reason) => {
                let (place, key) = match named_at {
                    Some((place, key)) => (Where::Text(place.clone()), key.to_owned()),
                    None => (Where::File(file.to_owned()), String::new()),
                };
                let message = format!("can't read {}: {reason}", file.display());
                let advice = match reason.kind() {
                    io::ErrorKind::FileTooLarge => {
                        "make it smaller: one rule or entry may stand for many (`**`, regexes, networks, countries), and more \
                         may come over the admin API"
                    }
                    io::ErrorKind::Other => "name a regular file, and no folder, pipe or device",
                    _ => {
                        "name a file that exists and that this user may read; relative paths start at the folder of the \
                         file that names them"
                    }
                };
                problems.error(ConfigError { place, key, message, advice: advice.to_owned() });
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(Self::new(file, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let source = Self::new(file, String::from_utf8_lossy(error.as_bytes()).into_owned());
                problems.error(ConfigError::at(
                    &source.place(valid),
                    "",
                    "found bytes that are not UTF-8; a config file is UTF-8 text".to_owned(),
                    "save the file as UTF-8".to_owned(),
                ));
                None
            }
        }
    }

    /// A text under a file's name.
    pub(super) fn new(file: &Path, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Self { file: Arc::from(file), text, line_starts, last_column: Cell::new((0, 0, 0)) }
    }

    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The file's name.
    pub(super) fn file(&self) -> &Arc<Path> {
        &self.file
    }

    /// The folder that relative paths in this file start from.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new(""))
    }

    /// Line of a byte offset, from 0.
    fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Line and column of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.line_index(offset);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let column = self.column_index(start, offset.min(self.text.len()));
        let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Place { file: Arc::clone(&self.file), line: count(line), column: count(column) }
    }

    /// Characters between a line's start and an offset in it. Places are mostly asked for in ascending order;
    /// counting on from the last one keeps a long file in one line from taking quadratic time.
    fn column_index(&self, start: usize, offset: usize) -> usize {
        let (last_start, last_offset, last_column) = self.last_column.get();
        let (from, counted) = if last_start == start && last_offset <= offset {
            (last_offset, last_column)
        } else {
            (start, 0)
        };
        let between = self.text.get(from..offset).unwrap_or("");
        let column = counted + between.chars().filter(|c| *c != '\u{feff}').count();
        self.last_column.set((start, offset, column));
        column
    }

    /// The tree, and the lines that are no TOML, whose errors are reported here: one a line, as what follows
    /// the first on a line is rarely more than its echo. Of a file above [`MAX_RECOVERED_BYTES`] the first
    /// such line alone.
    pub(super) fn parse(&self, problems: &Problems) -> (Spanned<DeTable<'_>>, Vec<u32>) {
        let (tree, mut errors) = if self.text.len() > MAX_RECOVERED_BYTES {
            match DeTable::parse(&self.text) {
                Ok(tree) => (tree, Vec::new()),
                Err(error) => (Spanned::new(0..0, DeTable::new()), vec![error]),
            }
        } else {
            DeTable::parse_recoverable(&self.text)
        };
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        errors.sort_by_key(start);
        let mut broken_lines = Vec::new();
        for error in errors {
            let place = self.place(start(&error));
            if broken_lines.last() != Some(&place.line) {
                broken_lines.push(place.line);
                problems.error_with(|| self.syntax_error(&error, &place));
            }
        }
        (tree, broken_lines)
    }

    fn syntax_error(&self, error: &toml::de::Error, place: &Place) -> ConfigError {
        let found = error.span().and_then(|span| self.text.get(span)).unwrap_or("").trim();
        let message = match found {
            "" if error.message().starts_with("string values") => {
                "found nothing where a value belongs".to_owned()
            }
            "" => error.message().to_owned(),
            found => format!("found {:?}: {}", shorten(found), error.message()),
        };
        let advice = if error.message().contains("duplicate") {
            "a key and a [table] stand in a file once; keep one of them"
        } else {
            "the file is TOML: key = value lines below [table] headers, text in quotes"
        };
        ConfigError::at(place, &self.key_of_line(place.line), message, advice.to_owned())
    }

    /// The key that a line which is no TOML seems to be about: the last `[table]` above it and what is before
    /// its `=`.
    fn key_of_line(&self, line: u32) -> String {
        const LINES_BACK: usize = 1000;
        let is_key = |key: &str| {
            !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let this = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let text_of = |index: usize| {
            let end = self.line_starts.get(index + 1).copied().unwrap_or(self.text.len());
            self.line_starts.get(index).and_then(|start| self.text.get(*start..end)).unwrap_or("")
        };
        let key = text_of(this).split_once('=').map_or("", |(key, _)| key.trim());
        let table = (this.saturating_sub(LINES_BACK)..this).rev().map(text_of).find_map(|line| {
            let header = line.trim().strip_prefix('[')?.split_once(']')?.0.trim_start_matches('[').trim();
            is_key(header).then_some(header)
        });
        match (table, key) {
            (Some(table), key) if is_key(key) => format!("{}.{}", shorten(table), shorten(key)),
            (None, key) if is_key(key) => shorten(key),
            (table, _) => shorten(table.unwrap_or("")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new(Path::new("a.toml"), "\u{feff}a = 1\nü = 'ß' # x\r\n\nlast".to_owned());
        for (needle, line, column) in
            [("a = 1", 1, 1), ("1\n", 1, 5), ("ü", 2, 1), ("# x", 2, 9), ("last", 4, 1)]
        {
            let place = source.place(source.text().find(needle).unwrap());
            assert_eq!((place.line, place.column), (line, column), "{needle}");
        }
        let end = source.place(source.text().len() + 10);
        assert_eq!((end.line, end.column), (4, 5));
        assert_eq!(end.to_string(), "a.toml:4:5");
    }
}
