//! Lists files of a million entries, read fast.
//!
//! Such files are written by programs: one key a line, plain values. What follows reads just that part of TOML, exactly;
//! at the first line that it doesn't know for certain it gives up, and the reader of the whole language takes over, with
//! its errors. So it never decides what is wrong, and what it reads is what TOML says.

use std::path::Path;
use std::sync::Arc;

use super::ip_lists::{LISTS, SUBJECTS};
use super::model::{ListKind, Place};

/// The words of an entry.
pub(super) struct EntryWords<'a> {
    file: &'a Arc<Path>,
    header: Spot,
    /// Its list.
    pub(super) list: ListKind,
    /// The key that says whom it is about, and its value.
    pub(super) subject: (&'static str, &'a str),
    subject_spot: Spot,
    /// For which applications it holds; empty is all.
    pub(super) applications: Vec<i64>,
    /// When it ends, in Unix seconds.
    pub(super) expires: Option<u64>,
    expires_spot: Spot,
    /// Its reason.
    pub(super) reason: Option<&'a str>,
}

/// An entry as far as it has been read.
#[derive(Default)]
struct Words<'a> {
    header_line: u32,
    list: Option<ListKind>,
    subject: Option<(&'static str, &'a str, Spot)>,
    applications: Option<Vec<i64>>,
    expires: Option<(u64, Spot)>,
    reason: Option<&'a str>,
}

/// Line and column of a value, from 1.
#[derive(Clone, Copy)]
struct Spot {
    line: u32,
    column: u32,
}

/// Reads the entries of a file, or nothing if its text has anything unusual. `take` gets each entry, and says whether
/// it is one that needs no error.
pub(super) fn read_entries<'a>(
    file: &'a Arc<Path>,
    text: &'a str,
    mut take: impl FnMut(EntryWords<'a>) -> Option<()>,
) -> Option<()> {
    let mut open: Option<Words<'_>> = None;
    for (line, number) in text.lines().zip(1_u32..) {
        let words = line.trim_matches([' ', '\t']);
        if words.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return None;
        }
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        if words == "[[entry]]" {
            if let Some(done) = open.replace(Words { header_line: number, ..Words::default() }) {
                take(done.finish(file)?)?;
            }
            continue;
        }
        let (key, value) = words.split_once('=')?;
        let value = value.trim_start_matches([' ', '\t']);
        // Up to the value every character is ASCII, or the key is none of ours.
        let column = u32::try_from(value.as_ptr() as usize - line.as_ptr() as usize + 1).ok()?;
        open.as_mut()?.set(key.trim_end_matches([' ', '\t']), value, Spot { line: number, column })?;
    }
    match open {
        Some(done) => take(done.finish(file)?),
        None => Some(()),
    }
}

impl<'a> Words<'a> {
    /// Takes a key that isn't there yet.
    fn set(&mut self, key: &str, value: &'a str, spot: Spot) -> Option<()> {
        if let Some(name) = SUBJECTS.into_iter().find(|name| *name == key) {
            let taken = self.subject.replace((name, text(value)?, spot));
            return taken.is_none().then_some(());
        }
        match key {
            "list" if self.list.is_none() => {
                let name = text(value)?;
                self.list = Some(LISTS.into_iter().find(|(known, _)| *known == name)?.1);
            }
            "applications" if self.applications.is_none() => {
                self.applications = Some(numbers(value).filter(|numbers| !numbers.is_empty())?);
            }
            "expires" if self.expires.is_none() => self.expires = Some((time(value)?, spot)),
            "reason" if self.reason.is_none() => {
                self.reason = Some(text(value).filter(|reason| !reason.is_empty())?);
            }
            _ => return None,
        }
        Some(())
    }

    fn finish(self, file: &'a Arc<Path>) -> Option<EntryWords<'a>> {
        let header = Spot { line: self.header_line, column: 1 };
        let (key, value, subject_spot) = self.subject?;
        Some(EntryWords {
            file,
            header,
            list: self.list?,
            subject: (key, value),
            subject_spot,
            applications: self.applications.unwrap_or_default(),
            expires: self.expires.map(|(expires, _)| expires),
            expires_spot: self.expires.map_or(header, |(_, spot)| spot),
            reason: self.reason,
        })
    }
}

impl EntryWords<'_> {
    fn at(&self, spot: Spot) -> Place {
        Place { file: Arc::clone(self.file), line: spot.line, column: spot.column }
    }

    /// Where it begins.
    pub(super) fn place(&self) -> Place {
        self.at(self.header)
    }

    /// Where it says whom it is about.
    pub(super) fn subject_place(&self) -> Place {
        self.at(self.subject_spot)
    }

    /// Where it says when it ends.
    pub(super) fn expires_place(&self) -> Place {
        self.at(self.expires_spot)
    }
}

/// The contents of a string that has no escapes, with nothing but a comment behind it.
fn text(value: &str) -> Option<&str> {
    let (text, rest) = value.strip_prefix('"')?.split_once('"')?;
    (!text.contains('\\') && is_comment(rest)).then_some(text)
}

fn is_comment(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '\t']);
    rest.is_empty() || rest.starts_with('#')
}

/// The elements of a list of application ids in one line.
fn numbers(value: &str) -> Option<Vec<i64>> {
    let (list, rest) = value.strip_prefix('[')?.split_once(']')?;
    if !is_comment(rest) {
        return None;
    }
    let list = list.trim_matches([' ', '\t']);
    if list.is_empty() {
        return Some(Vec::new());
    }
    list.split(',').map(|number| application(number.trim_matches([' ', '\t']))).collect()
}

/// A number as it is mostly written: other ways to write it are left to TOML.
fn application(text: &str) -> Option<i64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') && text.len() <= 10;
    let number = if text == "-1" { Some(-1) } else { text.parse().ok().filter(|_| is_plain) };
    number.filter(|id| matches!(id, -1 | 1..=2_147_483_647))
}

/// Unix seconds of a time in either form.
fn time(value: &str) -> Option<u64> {
    let written = match value.starts_with('"') {
        true => text(value)?.parse::<jiff::Timestamp>().ok()?,
        false => {
            let (time, _) = value.split_once('#').unwrap_or((value, ""));
            let time: toml::value::Datetime = time.trim_end_matches([' ', '\t']).parse().ok()?;
            time.to_string().parse().ok()?
        }
    };
    u64::try_from(written.as_second()).ok()
}
