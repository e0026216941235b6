//! The SQL grammar: does a value go on with SQL behind the literal or the number that the application put it into?
//!
//! Natural language puts names next to each other; an expression has an operator between any two operands. So a value is
//! read as an expression from where a literal of the query would end, and whatever breaks the grammar before the value
//! or a comment ends it is no injection. Of what follows the grammar, only shapes that a query needs count.

mod expression;
mod lexer;
mod parser;
mod phrases;
mod statement;
mod words;

use crate::reading;
use expression::Context;
use parser::parse;
use phrases::is_search_for_phrases;

/// How much of a value is read from one start, in bytes.
const READ_BYTES_MAX: usize = 1024;

/// The farthest from its start that a value's first literal ends.
const LITERAL_BYTES_MAX: usize = 256;

/// The most bytes behind the first quote of a longer text.
const TAIL_BYTES_MAX: usize = 96;

/// Whether the value goes on with SQL, from its start or from its first quotes on.
pub(super) fn is_injection(value: &[u8]) -> bool {
    let injects = |context, text| parse(context, text).is_some_and(|seen| seen.injects(context));
    if !is_search_for_phrases(value) && injects(Context::Bare, head(value)) {
        return true;
    }
    let first = |quote| memchr::memchr(quote, &value[..value.len().min(LITERAL_BYTES_MAX)]);
    QUOTES.into_iter().filter_map(first).any(|start| ends_literal(value, start))
}

/// Whether the value goes on with SQL behind the quote at `start`, one that [`is_injection`] has not looked at: a later
/// quote ends a literal only where those of its kind before it are in pairs, and one far from the start only where little
/// follows it.
pub(super) fn is_injection_behind(value: &[u8], start: usize) -> bool {
    let Some(quote) = value.get(start).filter(|byte| QUOTES.contains(byte)) else { return false };
    let first = memchr::memchr(*quote, value) == Some(start);
    let counts = if first {
        start >= LITERAL_BYTES_MAX && value.len() - start <= TAIL_BYTES_MAX
    } else {
        are_in_pairs(value, start)
    };
    counts && ends_literal(value, start)
}

/// Whether the quotes before the one at `start`, of its kind, are in pairs. Those inside of words are none: `It's 'so'`.
pub(super) fn are_in_pairs(value: &[u8], start: usize) -> bool {
    let Some(quote) = value.get(start) else { return true };
    reading::note(start);
    let before = memchr::memchr_iter(*quote, &value[..start]);
    before.filter(|position| !is_inside_word(value, *position)).count().is_multiple_of(2)
}

/// Whether the quote at `position` is an apostrophe between two letters.
fn is_inside_word(value: &[u8], position: usize) -> bool {
    let is_letter =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    value[position] == b'\'' && is_letter(value[..position].last()) && is_letter(value.get(position + 1))
}

const QUOTES: [u8; 3] = [b'\'', b'"', b'`'];

/// Whether the value goes on with SQL if the quote at `start` ends a literal.
fn ends_literal(value: &[u8], start: usize) -> bool {
    let from = start.saturating_sub(LITERAL_BYTES_MAX);
    let apostrophe = is_apostrophe(value, start);
    let context = Context::Quoted { before: &value[from..start], quote: value[start], apostrophe };
    parse(context, head(&value[start + 1..])).is_some_and(|seen| seen.injects(context))
}

/// Whether the quote at `start` is one that texts have too: behind a plural or a name that ends in `s`, or as the prime of
/// a variable, with a blank behind it; or one that opens a citation.
pub(super) fn is_apostrophe(value: &[u8], start: usize) -> bool {
    let (before, rest) = value.split_at(start);
    let last_word = before.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).take(3).count();
    opens_citation(before, rest)
        || rest.starts_with(b"'")
            && rest.get(1).is_some_and(u8::is_ascii_whitespace)
            && match last_word {
                0 => false,
                1 => true,
                _ => matches!(before.last(), Some(b's' | b'S')),
            }
}

/// Whether the quote at the start of `rest` opens what a text cites: behind a word and a blank, right before a word.
fn opens_citation(before: &[u8], rest: &[u8]) -> bool {
    let word = before.trim_ascii_end();
    word.len() < before.len()
        && word.last().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b',' | b';' | b':'))
        && rest.get(1).is_some_and(u8::is_ascii_alphabetic)
}

fn head(text: &[u8]) -> &[u8] {
    &text[..text.len().min(READ_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
