//! Searches for words in a row, which are in quotes and are no SQL.

use super::words::Kind;
use super::{READ_BYTES_MAX, head, words};

/// Whether a value is what a search may ask for: several words in quotes that are to be found in a row, more of these with a
/// word between, and perhaps where: `"where to stay" or "what to eat" in lisbon`. Nothing in it is compared.
pub(super) fn is_search_for_phrases(value: &[u8]) -> bool {
    let mut parts = head(value).split(|byte| *byte == b'"');
    if value.len() > READ_BYTES_MAX || !parts.next().is_some_and(|before| before.trim_ascii().is_empty()) {
        return false;
    }
    loop {
        let (Some(phrase), Some(between)) = (parts.next(), parts.next()) else { return false };
        if !is_phrase(phrase) {
            return false;
        }
        let between = between.trim_ascii();
        let is_last = parts.clone().next().is_none();
        if is_last {
            return between.is_empty() || is_place(between);
        }
        if !between.is_empty() && words::kind(between) != Kind::Logic {
            return false;
        }
    }
}

/// Whether a text in quotes is of several words.
fn is_phrase(text: &[u8]) -> bool {
    let is_word_byte = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    text.contains(&b' ') && text.first().is_some_and(is_word_byte) && text.last().is_some_and(is_word_byte)
}

/// Whether a text is `in` and names behind it.
fn is_place(text: &[u8]) -> bool {
    let mut names = text.split(u8::is_ascii_whitespace);
    let is_name = |word: &[u8]| {
        word.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
            && (word.is_empty() || words::kind(word) == Kind::Name)
    };
    names.next().is_some_and(|word| word.eq_ignore_ascii_case(b"in")) && names.all(is_name)
}
