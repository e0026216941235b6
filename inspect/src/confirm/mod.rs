//! Confirmers: a second, closer look at one value that a pattern has nominated.

mod elsewhere;
mod path;
mod shell;
mod sql;

use std::ops::Range;

use regex_automata::meta::{Cache, Regex};

use crate::reading;
pub(crate) use shell::operators::{BeforeCommands, Run};

/// What takes the closer look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ConfirmerKind {
    /// Nothing further: the pattern is precise.
    #[default]
    Pattern,
    /// The SQL grammar: the value goes on with SQL behind the literal that it was put into.
    Sql,
    /// The SQL tokenizer: the value continues or is a statement.
    LibinjectionSqli,
    /// The HTML tokenizer: the value opens a tag or attribute that runs script.
    LibinjectionXss,
    /// The signature's second expression, over the whole value.
    Regex,
    /// The shell grammar: a command stands where a shell would run it.
    Shell,
    /// The path grammar: the value leads out of its folder.
    Path,
    /// The value is the address of another site than the one that the request is for.
    Elsewhere,
}

/// The most bytes of a value that a tokenizer reads from where the pattern matched, and before it.
const TOKENIZED_BYTES: usize = 1024;

impl ConfirmerKind {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Pattern,
        Self::Regex,
        Self::Sql,
        Self::LibinjectionSqli,
        Self::LibinjectionXss,
        Self::Shell,
        Self::Path,
        Self::Elsewhere,
    ];

    /// Whether another match in the same value may be judged differently.
    pub(crate) const fn depends_on_match(self) -> bool {
        matches!(self, Self::Shell | Self::Sql | Self::LibinjectionSqli)
    }

    /// The name in signature files and in findings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Sql => "sql",
            Self::LibinjectionSqli => "libinjection_sqli",
            Self::LibinjectionXss => "libinjection_xss",
            Self::Regex => "regex",
            Self::Shell => "shell",
            Self::Path => "path",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// The second expression with its working memory, for [`ConfirmerKind::Regex`].
pub(crate) type Second<'a> = Option<(&'a Regex, &'a mut Cache)>;

/// What the SQL tokenizer said of the whole of one value, so that several signatures that nominate it ask once.
#[derive(Debug, Default)]
pub(crate) struct SqliVerdict {
    value: u32,
    injection: Option<bool>,
    /// What the SQL grammar said.
    goes_on: Option<bool>,
}

impl SqliVerdict {
    /// Forgets the verdict if the next value to be confirmed is another one.
    pub(crate) const fn turn_to(&mut self, value: u32) {
        if self.value != value {
            *self = Self { value, injection: None, goes_on: None };
        }
    }

    fn goes_on(&mut self, value: &[u8], near: usize) -> bool {
        *self.goes_on.get_or_insert_with(|| sql::is_injection(value)) || sql::is_injection_behind(value, near)
    }

    fn is_injection(&mut self, value: &[u8], found: &Range<usize>) -> bool {
        let part = window(value, found);
        if part.len() < value.len() {
            return libinjectionrs::detect_sqli(part).is_injection();
        }
        *self.injection.get_or_insert_with(|| libinjectionrs::detect_sqli(part).is_injection())
    }
}

/// What a confirmer knows beside the value.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// What the request's Host field holds.
    pub(crate) host: &'a [u8],
    pub(crate) sqli: &'a mut SqliVerdict,
}

/// Whether `value`, in which the pattern matched at `found`, is what its signature says.
pub(crate) fn confirm(
    kind: ConfirmerKind,
    second: Second<'_>,
    value: &[u8],
    found: Range<usize>,
    context: &mut Context<'_>,
) -> bool {
    let Context { host, sqli } = context;
    if kind != ConfirmerKind::Pattern {
        reading::note(value.len());
    }
    match kind {
        ConfirmerKind::Pattern => true,
        ConfirmerKind::LibinjectionSqli => {
            ends_literal(value, found.start)
                && apostrophe_before(value, found.start).is_none_or(|quote| sqli.goes_on(value, quote))
                && sqli.is_injection(value, &found)
        }
        ConfirmerKind::Sql => sqli.goes_on(value, found.start),
        ConfirmerKind::LibinjectionXss => libinjectionrs::detect_xss(window(value, &found)).is_injection(),
        ConfirmerKind::Regex => {
            second.is_some_and(|(regex, cache)| regex.search_half_with(cache, &value.into()).is_some())
        }
        ConfirmerKind::Shell => shell::is_command(value, found.start, found.end),
        ConfirmerKind::Path => path::leads_out(window(value, &found)),
        ConfirmerKind::Elsewhere => elsewhere::leads_there(value, host),
    }
}

/// From where the next match in `value` is looked for behind one at `found`. What follows the operators of a shell may be
/// another command: `;""` and a line with one.
pub(crate) fn goes_on_at(kind: ConfirmerKind, value: &[u8], found: Range<usize>) -> usize {
    match kind {
        ConfirmerKind::Shell => found.start + shell::operators::length_of(&value[found]).max(1),
        _ => found.end,
    }
}

/// Whether a quote at `start` ends a literal that began before the value: the quotes of its kind before it are even in
/// number. Anything but a quote may stand there.
fn ends_literal(value: &[u8], start: usize) -> bool {
    match value.get(start) {
        Some(b'\'' | b'"' | b'`') => sql::are_in_pairs(value, start),
        _ => true,
    }
}

/// Where the quote is, at `start` or before the blanks before it, if it may be an apostrophe: `the students' union`.
fn apostrophe_before(value: &[u8], start: usize) -> Option<usize> {
    let quote = match value.get(start) {
        Some(b'\'') => start,
        _ => value[..start].trim_ascii_end().len().checked_sub(1)?,
    };
    sql::is_apostrophe(value, quote).then_some(quote)
}

/// The value, or if it is long the part around the match, so that work per nomination is bounded.
fn window<'v>(value: &'v [u8], found: &Range<usize>) -> &'v [u8] {
    if value.len() <= 2 * TOKENIZED_BYTES {
        return value;
    }
    let from = found.start.saturating_sub(TOKENIZED_BYTES);
    let to = found.end.saturating_add(TOKENIZED_BYTES).min(value.len());
    &value[from..to]
}
