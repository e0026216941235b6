//! The names that a part of a multipart body may have.
//!
//! A head can name its part twice, in pieces, with escapes or without quotes. Servers take the first or the last of that,
//! and read it differently.

use std::borrow::Cow;

use arrayvec::ArrayVec;

use super::parameters::Parameters;
use crate::decode::percent::{self, Plus};

/// The most different names of a part that are kept. One is usual; the first and the last are what servers take.
const NAMES_MAX: usize = 8;

/// The different names of a part, in the order of its head.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    names: ArrayVec<Cow<'a, [u8]>, NAMES_MAX>,
}

impl<'a> Names<'a> {
    /// Adds what a Content-Disposition field says.
    pub(super) fn read(&mut self, field: &'a [u8]) {
        let mut pieces = Vec::new();
        for escapes in [true, false] {
            pieces.clear();
            for (key, value) in Parameters::new(field, escapes).chain(Parameters::first(field, escapes)) {
                // What lies before a separator in front of the name was a parameter without a value.
                let key =
                    key.rsplit(|byte| matches!(byte, b';' | b',')).next().unwrap_or_default().trim_ascii();
                match key.get(..4).map(|start| (start.eq_ignore_ascii_case(b"name"), &key[4..])) {
                    Some((true, b"")) => self.plain(value),
                    Some((true, b"*")) => self.add(Cow::Owned(extended(value))),
                    // RFC 2231 section 3: a piece of it, which may be encoded.
                    Some((true, [b'*', number @ .., b'*'])) if is_number(number) => {
                        pieces.extend_from_slice(&extended(value));
                    }
                    Some((true, [b'*', number @ ..])) if is_number(number) => pieces.extend_from_slice(value),
                    _ => {}
                }
            }
            if !pieces.is_empty() {
                self.add(Cow::Owned(pieces.clone()));
            }
        }
    }

    /// A value as it is written, without its escapes, and up to where it may end.
    fn plain(&mut self, value: &'a [u8]) {
        self.add(Cow::Borrowed(value));
        if value.contains(&b'\\') {
            self.add(Cow::Owned(unescaped(value)));
        }
        if value.contains(&b'%') {
            let mut decoded = Vec::new();
            percent::decode(value, Plus::Literal, &mut decoded);
            self.add(Cow::Owned(decoded));
        }
        let single_quoted = value.strip_prefix(b"'").and_then(|value| value.strip_suffix(b"'"));
        single_quoted.into_iter().for_each(|value| self.add(Cow::Borrowed(value)));
        let is_end = |byte: &u8| matches!(byte, b',' | b'"') || byte.is_ascii_whitespace();
        if let Some(end) = value.iter().position(is_end) {
            self.add(Cow::Borrowed(&value[..end]));
        }
    }

    /// With too many names the last one is replaced: the last of all counts for some servers.
    fn add(&mut self, name: Cow<'a, [u8]>) {
        if self.names.contains(&name) {
            return;
        }
        if self.names.is_full() {
            self.names.pop();
        }
        self.names.push(name);
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(AsRef::as_ref)
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// A value without its character set and language, percent-decoded (RFC 8187).
fn extended(value: &[u8]) -> Vec<u8> {
    let text = value.rsplit(|byte| *byte == b'\'').next().unwrap_or_default();
    let mut decoded = Vec::new();
    percent::decode(text, Plus::Literal, &mut decoded);
    decoded
}

/// A quoted text without the backslashes of its quoted pairs.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fields: &[&str]) -> Vec<String> {
        let mut names = Names::default();
        fields.iter().for_each(|field| names.read(field.as_bytes()));
        names.all().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn every_reading_of_a_name_counts() {
        let table: [(&str, &[&str]); 17] = [
            ("form-data; name=\"f\"", &["f"]),
            ("form-data; name=\"x\"; name=\"f\"", &["x", "f"]),
            ("form-data; name=\"x\"; NAME =f", &["x", "f"]),
            ("form-data; name=\"x\"; name*=utf-8''f", &["x", "f"]),
            ("form-data; name*=utf-8'en'%66", &["f"]),
            ("form-data; name*0=\"f\"; name*1=\"g\"", &["fg"]),
            ("form-data; name*0*=utf-8''%66; name*1=g", &["fg"]),
            ("form-data; name=\"\\f\"", &["\\f", "f"]),
            ("form-data; name=\"x\\\"; name=\"f\"", &["x\\\"; name=", "x\"; name=", "x\\", "f"]),
            ("form-data; name=f g", &["f g", "f"]),
            ("form-data; name='f'", &["'f'", "f"]),
            ("form-data; name=\"f", &["f"]),
            ("form-data; a; name=f", &["f"]),
            ("form-data; name=%66", &["%66", "f"]),
            ("name=\"f\"", &["f"]),
            ("form-data name=f; name=x", &["x", "f"]),
            ("form-data; filename=\"f\"; names=g; nam=h", &[]),
        ];
        for (field, expected) in table {
            assert_eq!(names(&[field]), expected, "{field}");
        }
        assert_eq!(names(&["form-data; name=x", "form-data; name=f"]), ["x", "f"], "duplicate fields");
    }

    #[test]
    fn of_many_names_the_first_and_the_last_are_kept() {
        let many: String = (0..100).map(|number| format!("; name=n{number}")).collect();
        let found = names(&[&format!("form-data{many}")]);
        assert_eq!((found.len(), &*found[0], &*found[NAMES_MAX - 1]), (NAMES_MAX, "n0", "n99"));
    }
}
