//! JSON as the same kind of tree that TOML gives, so that what comes over the admin API is read, judged and reported
//! on by the readers of the files; and back.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Deeper nesting is nowhere in rules and lists.
const DEPTH_MAX: usize = 16;

/// Why a text is no JSON that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Offset in the whole text.
    pub(crate) offset: usize,
    /// The way to the key that it is about, from the value that was read; empty where it is about that value.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) message: String,
    /// It is JSON, but says what can't be meant.
    pub(crate) is_json: bool,
}

impl JsonError {
    /// The same, seen from the value that has this one under `step`: a name, or `[0]`.
    fn below(self, step: &str) -> Self {
        Self { key: joined(step, &self.key), ..self }
    }
}

/// A way through keys, and the rest of it: `rules[0].when`.
pub(super) fn joined(way: &str, rest: &str) -> String {
    let separator = if way.is_empty() || rest.is_empty() || rest.starts_with('[') { "" } else { "." };
    format!("{way}{separator}{rest}")
}

/// A key of an object and its value.
pub(crate) type Member<'a> = (Cow<'a, str>, Part<'a>);

/// A value inside of a text, unread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    whole: &'a str,
    written: &'a str,
}

impl<'a> Part<'a> {
    /// The one value that a text is.
    ///
    /// # Errors
    /// The text is no JSON.
    pub(crate) fn of(text: &'a str) -> Result<Self, JsonError> {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Ok(Self { whole: text, written: raw.get().trim_ascii() }),
            Err(error) => {
                let message =
                    if text.trim().is_empty() { "it is empty".to_owned() } else { reason_of(&error) };
                Err(JsonError {
                    offset: offset_of(text, &error),
                    key: String::new(),
                    message,
                    is_json: false,
                })
            }
        }
    }

    /// The one value that a line of a text is.
    ///
    /// # Errors
    /// The line is no JSON.
    pub(crate) fn of_line(whole: &'a str, line: &'a str) -> Result<Self, JsonError> {
        let offset = offset_in(whole, line);
        let part = Part::of(line).map_err(|error| JsonError { offset: offset + error.offset, ..error })?;
        Ok(Self { whole, ..part })
    }

    /// The value `written`, which is a slice of this one's text.
    fn at(&self, written: &'a str) -> Self {
        Self { whole: self.whole, written: written.trim_ascii() }
    }

    /// Where in the whole text it begins.
    pub(crate) fn offset(&self) -> usize {
        offset_in(self.whole, self.written)
    }

    fn error(&self, message: impl Into<String>) -> JsonError {
        JsonError { offset: self.offset(), key: String::new(), message: message.into(), is_json: true }
    }

    /// The members of an object, in the order of the text; `None` if it is none.
    ///
    /// # Errors
    /// A key stands twice.
    pub(crate) fn members(&self) -> Result<Option<Vec<Member<'a>>>, JsonError> {
        if !self.written.starts_with('{') {
            return Ok(None);
        }
        let members = serde_json::Deserializer::from_str(self.written).deserialize_map(Members);
        let members = members.map_err(|error| self.error(reason_of(&error)))?;
        let members: Vec<Member<'a>> =
            members.into_iter().map(|(name, raw)| (name, self.at(raw.get()))).collect();
        // (a stable sort: of two the second one is the one too many)
        let mut by_name: Vec<&Member<'a>> = members.iter().collect();
        by_name.sort_by(|a, b| a.0.cmp(&b.0));
        let twice = by_name.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1]);
        if let Some((name, part)) = twice {
            let message = format!("the key {name:?} stands twice in one object");
            let offset = part.key_span(name).start;
            return Err(JsonError { offset, key: name.to_string(), message, is_json: true });
        }
        Ok(Some(members))
    }

    /// The elements of an array; `None` if it is none.
    pub(crate) fn elements(&self) -> Option<Vec<Self>> {
        if !self.written.starts_with('[') {
            return None;
        }
        let elements: Vec<&'a RawValue> = serde_json::from_str(self.written).ok()?;
        Some(elements.into_iter().map(|raw| self.at(raw.get())).collect())
    }

    /// The text that it is, if it is one.
    pub(crate) fn text(&self) -> Option<String> {
        serde_json::from_str(self.written).ok()
    }

    /// Whether it is `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.written == "null"
    }

    /// The number that it is, if it is a whole one from 0 on.
    pub(crate) fn integer(&self) -> Option<u64> {
        serde_json::from_str(self.written).ok()
    }

    /// What it says, without the keys named in `ignored`; nothing for `null`, which stands for a key that isn't there.
    ///
    /// # Errors
    /// A key stands twice in an object, or it is nested too deeply.
    pub(crate) fn tree(&self, ignored: &[&str]) -> Result<Option<Spanned<DeValue<'a>>>, JsonError> {
        self.tree_at(0, ignored)
    }

    fn tree_at(&self, depth: usize, ignored: &[&str]) -> Result<Option<Spanned<DeValue<'a>>>, JsonError> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("it is nested more than {DEPTH_MAX} levels deep")));
        }
        let value = match self.written.as_bytes().first() {
            Some(b'{') => {
                let mut table = DeTable::new();
                for (name, part) in self.members()?.unwrap_or_default() {
                    if ignored.contains(&name.as_ref()) {
                        continue;
                    }
                    let value = part.tree_at(depth + 1, ignored).map_err(|error| error.below(&name))?;
                    if let Some(value) = value {
                        table.insert(Spanned::new(part.key_span(&name), name), value);
                    }
                }
                DeValue::Table(table)
            }
            Some(b'[') => {
                let mut array = DeArray::new();
                for (index, part) in self.elements().unwrap_or_default().into_iter().enumerate() {
                    let null = || part.error("null can't be an element of an array");
                    let value = part.tree_at(depth + 1, ignored).and_then(|value| value.ok_or_else(null));
                    array.push(value.map_err(|error| error.below(&format!("[{index}]")))?);
                }
                DeValue::Array(array)
            }
            Some(b'"') => {
                let text: Text<'a> =
                    serde_json::from_str(self.written).map_err(|error| self.error(reason_of(&error)))?;
                DeValue::String(text.0)
            }
            Some(b't') => DeValue::Boolean(true),
            Some(b'f') => DeValue::Boolean(false),
            Some(b'n') => return Ok(None),
            _ => DeValue::parse(self.written)
                .map_err(|_| self.error("it is no number that can be read"))?
                .into_inner(),
        };
        Ok(Some(Spanned::new(self.offset()..self.offset() + self.written.len(), value)))
    }

    /// Where the key of this value is, if it stands there as it is.
    fn key_span(&self, name: &str) -> std::ops::Range<usize> {
        let within = self.whole.as_bytes().as_ptr_range();
        let is_borrowed = within.contains(&name.as_ptr());
        let start = if is_borrowed { offset_in(self.whole, name).saturating_sub(1) } else { self.offset() };
        start..start + name.len() + 2
    }
}

/// Where a slice of `whole` begins.
fn offset_in(whole: &str, slice: &str) -> usize {
    (slice.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize).min(whole.len())
}

/// The offset that an error names by line and column.
fn offset_of(text: &str, error: &serde_json::Error) -> usize {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// An error's text without its place.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

/// A tree as JSON, its keys in the order of their names: two trees that say the same give the same text.
pub(super) fn to_json(value: &DeValue<'_>) -> serde_json::Value {
    use serde_json::Value;
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(number.to_string()),
        },
        DeValue::Float(number) => {
            let float = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            float.map_or_else(|| Value::String(number.as_str().to_owned()), Value::Number)
        }
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => table_to_json(table),
    }
}

/// The same for a table.
pub(super) fn table_to_json(table: &DeTable<'_>) -> serde_json::Value {
    let member = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        (key.get_ref().to_string(), to_json(value.get_ref()))
    };
    serde_json::Value::Object(table.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        to_json(Part::of(text).unwrap().tree(&[]).unwrap().unwrap().get_ref()).to_string()
    }

    #[test]
    fn json_and_toml_give_the_same_tree() {
        let json = r#" {"when": [{"point": ["path", 0], "is": "equal"}], "id": 7, "on": true, "x": null, "u": "\u00fc\n"} "#;
        let toml = "id = 0x7\non = true\nu = \"ü\\n\"\n[[when]]\npoint = [\"path\", +0]\nis = \"equal\"\n";
        let from_toml = table_to_json(DeTable::parse(toml).unwrap().get_ref()).to_string();
        assert_eq!(round_trip(json), from_toml);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "{\n  \"a\": [1, \"b\"]}";
        let tree = Part::of(text).unwrap().tree(&[]).unwrap().unwrap();
        let table = tree.get_ref().as_table().unwrap();
        let (key, value) = table.iter().next().unwrap();
        assert_eq!((&text[key.span()][..2], &text[value.span()]), ("\"a", "[1, \"b\"]"));
        let element = &value.get_ref().as_array().unwrap()[1];
        assert_eq!(&text[element.span()], "\"b\"");
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, offset, reason) in [
            ("", 0, "empty"),
            (" \n", 1, "empty"),
            ("{", 0, "EOF"),
            ("{\"a\": }", 6, "expected value"),
            ("{} x", 3, "trailing"),
            ("{\"a\": 01}", 7, "invalid number"),
            ("{\n\"a\": tru}", 10, "expected ident"),
        ] {
            let error = Part::of(text).unwrap_err();
            assert!(error.message.contains(reason), "{text}: {error:?}");
            assert!(error.offset.abs_diff(offset) <= 1, "{text}: {error:?}");
        }
        let twice = Part::of(r#"{"a": {"b": 1, "\u0062": 2}}"#).unwrap().tree(&[]).unwrap_err();
        // (a key with an escape is where its value is)
        let found = (twice.offset, twice.key.as_str(), twice.message.contains("twice"));
        assert_eq!(found, (25, "a.b", true), "{twice:?}");
        for (text, offset, key) in [
            (r#"{"type": 1, "type": 2}"#, 12, "type"),
            (r#"{"rules": [{}, {"id": 1, "when": [{"is": 1, "is": 2}]}]}"#, 44, "rules[1].when[0].is"),
            (r#"{"rules": [1, null]}"#, 14, "rules[1]"),
        ] {
            let error = Part::of(text).unwrap().tree(&[]).unwrap_err();
            assert_eq!((error.offset, error.key.as_str()), (offset, key), "{error:?}");
        }
        let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(Part::of(&deep).unwrap().tree(&[]).unwrap_err().message.contains("nested"));
        assert!(Part::of("[1, null]").unwrap().tree(&[]).is_err());
        assert!(Part::of(r#""\ud800""#).unwrap().tree(&[]).is_err());
    }
}
