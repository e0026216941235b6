//! What is wrong with a config: where, what was found, what is allowed, what to do.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::model::Place;

/// Where an error or a warning was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Where {
    /// A line of a config file.
    Text(Place),
    /// A file as a whole: it can't be read, it is too large.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Where {
    /// `file:line:column`, `file`, or `environment variable NAME`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(place) => place.fmt(formatter),
            Self::File(file) => file.display().fmt(formatter),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
        }
    }
}

/// One thing that is wrong with a config. Its text is one line: `place: key: what is wrong; what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is.
    pub place: Where,
    /// Path of the key, as `server[0].location[2].mode`; empty where no key is concerned.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
    /// What to do about it; empty where the message says it all.
    pub advice: String,
}

/// Something that works and yet is probably not meant. Never changes an exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Where it is.
    pub place: Where,
    /// Path of the key; empty where no key is concerned.
    pub key: String,
    /// What is odd, and what it leads to.
    pub message: String,
}

impl ConfigError {
    /// An error at a place of a file, for checks that run after reading (policy, certificates).
    #[must_use]
    pub fn at(place: &Place, key: &str, message: String, advice: String) -> Self {
        Self { place: Where::Text(place.clone()), key: key.to_owned(), message, advice }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(formatter, &self.place, &self.key, &self.message)?;
        if self.advice.is_empty() {
            return Ok(());
        }
        formatter.write_str("; ")?;
        OneLine(formatter).write_str(&self.advice)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(formatter, &self.place, &self.key, &self.message)
    }
}

fn write_line(formatter: &mut fmt::Formatter<'_>, place: &Where, key: &str, message: &str) -> fmt::Result {
    let mut line = OneLine(formatter);
    if key.is_empty() {
        write!(line, "{place}: {message}")
    } else {
        write!(line, "{place}: {key}: {message}")
    }
}

/// Writes control characters as escapes: names of files and values may hold any, and an error is one line of a log.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            self.0.write_str(plain)?;
            for control in part[plain.len()..].chars() {
                write!(self.0, "{}", control.escape_debug())?;
            }
        }
        Ok(())
    }
}
