//! Finds where a shell would run something: operators with what may be a command behind them.

use std::ops::Range;

use memchr::Memchr3;

use super::words::{COMMANDS, COMMON_WORDS};
use super::{command_word, is_operator};
use crate::reading;

/// The bytes looked at behind operators for the name of a command: blanks, a folder and the name.
const LOOKED_AT_BYTES: usize = 64;

/// How many operators before a command are of interest: the one that runs it and what may stand between.
const OPERATORS_MAX: usize = 8;

/// Operators that stand together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Where they are in front of what may be a command.
    BeforeCommand(Range<usize>),
    /// Anything else follows.
    Other,
}

/// How many operators a text begins with. A variable that stands for a blank is none.
pub(crate) fn length_of(text: &[u8]) -> usize {
    let is_blank = |rest: &[u8]| rest.starts_with(b"$IFS") || rest.starts_with(b"${IFS}");
    let operators = text.iter().take_while(|byte| is_operator(**byte)).count();
    (0..operators).find(|start| text[*start] == b'$' && is_blank(&text[*start..])).unwrap_or(operators)
}

/// The operators of a text, and whether they may have a command behind them.
pub(crate) struct BeforeCommands<'a> {
    bytes: &'a [u8],
    /// Where the bytes are that make a shell begin a command. No search takes all of them at once.
    some: Memchr3<'a>,
    others: Memchr3<'a>,
    /// The next one of each; the length of `bytes` if there is none.
    next_some: usize,
    next_other: usize,
}

impl<'a> BeforeCommands<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut some = memchr::memchr3_iter(b';', b'|', b'\n', bytes);
        let mut others = memchr::memchr3_iter(b'&', b'`', b'$', bytes);
        let next_some = some.next().unwrap_or(bytes.len());
        let next_other = others.next().unwrap_or(bytes.len());
        Self { bytes, some, others, next_some, next_other }
    }

    /// How many may have a command behind them in `bytes`.
    pub(crate) fn count_in(bytes: &'a [u8]) -> usize {
        Self::new(bytes).filter(|run| matches!(run, Run::BeforeCommand(_))).count()
    }
}

impl Iterator for BeforeCommands<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let start = self.next_some.min(self.next_other);
        if start >= self.bytes.len() {
            return None;
        }
        let operators = length_of(&self.bytes[start..]);
        let end = start + operators.max(1);
        while self.next_some < end {
            self.next_some = self.some.next().unwrap_or(self.bytes.len());
        }
        while self.next_other < end {
            self.next_other = self.others.next().unwrap_or(self.bytes.len());
        }
        if operators > 0 && may_begin_command(&self.bytes[end..]) {
            return Some(Run::BeforeCommand(start.max(end.saturating_sub(OPERATORS_MAX))..end));
        }
        Some(Run::Other)
    }
}

/// Whether the name that a text begins with may be that of a known command: it begins as one.
fn may_begin_command(text: &[u8]) -> bool {
    let text = &text[..text.len().min(LOOKED_AT_BYTES)];
    let (word, rest) = command_word(text);
    reading::note(text.len() - rest.len());
    let word = word.as_slice();
    word.contains(&b'?') || BEGINNINGS[begin_of(word)]
}

/// How many kinds of characters begins are told apart by: letters, and all else.
const KINDS: usize = 27;

/// Which three letters names of commands begin with.
static BEGINNINGS: [bool; KINDS * KINDS * KINDS] = {
    let mut table = [false; KINDS * KINDS * KINDS];
    mark_words(&mut table, COMMANDS.as_bytes());
    mark_words(&mut table, COMMON_WORDS.as_bytes());
    // The command is the next word.
    mark_words(&mut table, b"sudo");
    table
};

/// The number of what a word begins with.
const fn begin_of(word: &[u8]) -> usize {
    let mut number = 0;
    let mut index = 0;
    while index < 3 {
        let kind = if index < word.len() && word[index].is_ascii_lowercase() {
            (word[index] - b'a') as usize
        } else {
            KINDS - 1
        };
        number = number * KINDS + kind;
        index += 1;
    }
    number
}

const fn mark_words(table: &mut [bool; KINDS * KINDS * KINDS], words: &[u8]) {
    let mut rest = words;
    while let [first, after @ ..] = rest {
        if *first == b' ' {
            rest = after;
            continue;
        }
        let mut length = 0;
        while length < rest.len() && rest[length] != b' ' {
            length += 1;
        }
        let (word, after) = rest.split_at(length);
        table[begin_of(word)] = true;
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Range<usize>> {
        let runs = BeforeCommands::new(text.as_bytes());
        runs.filter_map(|run| if let Run::BeforeCommand(range) = run { Some(range) } else { None }).collect()
    }

    #[test]
    fn operators_before_commands_are_found_wherever_they_stand() {
        for command in [
            ";id",
            "|| cat",
            "`w`",
            "$(/bin/c?t",
            "\n'l's",
            "&& sudo x",
            ";/???/b''ash",
            ";${IFS}id",
            ";$IFS$9id",
            "$IFS;$IFS$9id",
            ";wh$1oami",
            ";who$*ami",
        ] {
            for padding in 0..40 {
                let text = format!("{}{command}", "x".repeat(padding));
                let ranges = found(&text);
                assert_eq!(ranges.len(), 1, "{text:?}");
                let operator = padding + if command.starts_with("$IFS") { 4 } else { 0 };
                assert!(ranges[0].contains(&operator), "{text:?}: {ranges:?}");
            }
        }
    }

    #[test]
    fn other_operators_are_passed_over() {
        for text in
            ["", ";", ";q=0.8, de", "a; b", "x & y", "cat", "(X11; Linux x86_64)", "a\n\nb", "$5 | zone"]
        {
            assert!(found(text).is_empty(), "{text:?}");
        }
        assert_eq!(found("a;b;id\n;ls"), [3..4, 6..8]);
    }
}
