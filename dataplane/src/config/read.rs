//! Typed values out of a TOML table. Every mistake is reported with its place and reading goes on with the
//! default, so that one run shows them all; a config that had an error is never used.

use crate::listen::ListenAddress;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, ConfigWarning, Where};
use super::json::table_to_json;
use super::model::Place;
use super::problems::Problems;
use super::schema::{Default, Key, Kind, Range, Section, alternatives};
use super::source::Source;
use super::suggest::nearest;
use super::units::{UnitError, parse_size, parse_time};

/// The longest path of a Unix socket (unix(7), `sun_path` with its final zero).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// What one file's tables share.
pub(super) struct FileReader<'a> {
    pub source: &'a Source,
    pub problems: &'a Problems,
    /// Lines that are no TOML, ascending: what was read from them, and what is missing, is an echo of that
    /// error.
    pub broken_lines: Vec<u32>,
    /// How keys and values are written.
    pub notation: Notation,
}

/// The language that a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Toml,
    Json,
}

impl<'a> FileReader<'a> {
    /// A file of TOML.
    pub(super) fn of_toml(source: &'a Source, problems: &'a Problems, broken_lines: Vec<u32>) -> Self {
        Self { source, problems, broken_lines, notation: Notation::Toml }
    }

    /// A text of JSON, which is whole.
    pub(super) fn of_json(source: &'a Source, problems: &'a Problems) -> Self {
        Self { source, problems, broken_lines: Vec::new(), notation: Notation::Json }
    }

    /// A key with a value that is right, as it would be written.
    fn example(&self, key: &Key) -> String {
        match self.notation {
            Notation::Toml => key.example(),
            Notation::Json => {
                key.example().replacen(&format!("{} = ", key.name), &format!("{:?}: ", key.name), 1)
            }
        }
    }

    /// Whether the whole file is TOML, so that what is missing is really missing.
    pub(super) fn is_whole(&self) -> bool {
        self.broken_lines.is_empty()
    }

    pub(super) fn error(&self, place: Place, key: &str, message: String, advice: String) {
        let (message, advice) = match self.notation {
            Notation::Toml => (message, advice),
            Notation::Json => (message_in_json(&message), advice_in_json(&advice)),
        };
        if self.broken_lines.binary_search(&place.line).is_err() {
            self.problems.error(ConfigError {
                place: Where::Text(place),
                key: key.to_owned(),
                message,
                advice,
            });
        }
    }
}

/// A message about a table as one about an object.
fn message_in_json(message: &str) -> String {
    const WORDS: [(&str, &str); 3] =
        [("[[rule.when]]", "a condition"), ("[[rule]]", "a rule"), ("found a table", "found an object")];
    let words = WORDS.iter().find_map(|(toml, json)| Some(format!("{json}{}", message.strip_prefix(toml)?)));
    words.unwrap_or_else(|| message.to_owned())
}

/// An advice with each `key = value` as `"key": value`.
fn advice_in_json(advice: &str) -> String {
    let mut parts = advice.split(" = ");
    let mut written = parts.next().unwrap_or("").to_owned();
    for value in parts {
        let is_of_key = |character: char| character.is_ascii_lowercase() || character == '_';
        let key = written.trim_end_matches(is_of_key).len();
        let name = written.split_off(key);
        written.push_str(&format!("{name:?}: {value}"));
    }
    written
}

/// Why a value can't be used: what is wrong, and what to do.
pub(super) struct Refusal {
    pub message: String,
    pub advice: String,
}

impl Refusal {
    /// "found X; allowed is Y".
    pub(super) fn new(value: &DeValue<'_>, allowed: &str, advice: String) -> Self {
        Self { message: format!("found {}, allowed is {allowed}", show(value)), advice }
    }
}

/// A value with its place and the path of its key.
pub(super) struct Item<T> {
    pub value: T,
    pub place: Place,
    pub path: String,
}

/// One table, present or not.
pub(super) struct TableReader<'a> {
    pub file: &'a FileReader<'a>,
    table: Option<&'a DeTable<'a>>,
    place: Place,
    path: String,
    section: &'static Section,
}

impl<'a> TableReader<'a> {
    /// A table of a file. Keys that its section doesn't have are not reported yet.
    pub(super) fn new(
        file: &'a FileReader<'a>,
        table: Option<&'a DeTable<'a>>,
        offset: usize,
        path: String,
        section: &'static Section,
    ) -> Self {
        Self { file, table, place: file.source.place(offset), path, section }
    }

    /// The same table as one of another section.
    pub(super) fn with_section(self, section: &'static Section) -> Self {
        Self { section, ..self }
    }

    /// Where the table begins.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// The path of a key of this table.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where a key's value is, or the table where it is absent.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.get(name).map_or_else(|| self.place(), |value| self.file.source.place(value.span().start))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A key's text, without any report: for a first pass over names.
    pub(super) fn raw_text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.get_ref().as_str()
    }

    fn get(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.section.key(name).is_some(), "{} has no key {name}", self.section.header);
        self.table?.get(name)
    }

    /// Reports an error about a key of this table.
    pub(super) fn error(&self, name: &str, message: impl Into<String>, advice: impl Into<String>) {
        self.file.error(self.place_of(name), &self.path_of(name), message.into(), advice.into());
    }

    /// Reports a warning about a key of this table.
    pub(super) fn warning(&self, name: &str, message: impl Into<String>) {
        let place = Where::Text(self.place_of(name));
        self.file.problems.warning(ConfigWarning { place, key: self.path_of(name), message: message.into() });
    }

    /// Reports keys that the section doesn't have.
    pub(super) fn report_unknown_keys(&self) {
        self.report_unknown_keys_beside(|_| false);
    }

    /// The same but for keys that `is_known`.
    pub(super) fn report_unknown_keys_beside(&self, is_known: impl Fn(&str) -> bool) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.section.key(name).is_none() && !is_known(name) {
                let place = self.file.source.place(key.span().start);
                let message = format!("unknown key {:?}", shorten(name));
                let path = self.path_of(&as_key(name));
                self.file.error(place, &path, message, self.advice_for_unknown(name));
            }
        }
    }

    fn advice_for_unknown(&self, name: &str) -> String {
        if !self.file.problems.has_room() {
            return String::new();
        }
        let names: Vec<&str> = self.section.all_keys().map(|key| key.name).collect();
        if let Some(near) = nearest(name, &names) {
            return format!("did you mean {near:?}?");
        }
        let is_of_main_file =
            self.section.header.starts_with('[') && !self.section.header.starts_with("[[rule");
        let elsewhere = super::schema::MAIN_SECTIONS
            .iter()
            .find(|section| is_of_main_file && !section.header.is_empty() && section.key(name).is_some());
        if let Some(section) = elsewhere {
            return format!("it is a key of {}", section.header);
        }
        format!("the keys here are {}", names.join(", "))
    }

    /// The key's value, else its default, read by `read`; `None` when there is neither or it is wrong.
    pub(super) fn value<T>(
        &self,
        name: &str,
        read: impl Fn(&DeValue<'_>, &'static Key) -> Result<T, Refusal>,
    ) -> Option<T> {
        let key = self.section.key(name)?;
        if let Some(value) = self.get(name) {
            match read(value.get_ref(), key) {
                Ok(read) => return Some(read),
                Err(Refusal { message, advice }) => {
                    let advice = advice.replace(&key.example(), &self.file.example(key));
                    self.error(name, message, advice);
                }
            }
        }
        match key.default {
            Default::Value(text) => {
                let value = DeValue::parse(text).ok()?;
                read(value.get_ref(), key).ok()
            }
            Default::Required(_) => {
                self.report_missing(key);
                None
            }
            Default::Absent(..) => None,
        }
    }

    fn report_missing(&self, key: &'static Key) {
        self.report_absent(key.name, &key.kind.describe());
    }

    /// Reports that a key isn't there.
    pub(super) fn report_absent(&self, name: &str, allowed: &str) {
        if let Some(key) = self.section.key(name)
            && !self.has(name)
            && self.file.is_whole()
        {
            let table = if self.section.header.is_empty() { "this file" } else { self.section.header };
            let message = format!("{table} has no {name:?}; allowed is {allowed}");
            self.error(name, message, format!("add {}", self.file.example(key)));
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name, read_text)
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name, |value, key| match (value, &key.kind) {
            (DeValue::Boolean(value), _) => Ok(*value),
            (DeValue::String(text), Kind::OnOff) if text == "on" || text == "off" => Ok(text == "on"),
            _ => Err(wrong(value, key)),
        })
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        self.value(name, |value, key| {
            let number = value.as_integer().ok_or_else(|| wrong(value, key))?;
            let number =
                u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| wrong(value, key))?;
            in_range(number, value, key)
        })
    }

    /// An integer whose range the key's table keeps within 32 bits.
    pub(super) fn integer_u32(&self, name: &str) -> u32 {
        self.integer(name).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }

    /// An integer whose 0 means "no limit".
    pub(super) fn limit_u32(&self, name: &str) -> Option<u32> {
        Some(self.integer_u32(name)).filter(|number| *number > 0)
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.value(name, |value, key| {
            let bytes = read_quantity(value, key, parse_size)?;
            in_range(bytes, value, key)
        })
    }

    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        self.value(name, |value, key| {
            let time = read_quantity(value, key, |text| {
                parse_time(text)
                    .and_then(|time| u64::try_from(time.as_micros()).map_err(|_| UnitError::TooLarge))
            })?;
            in_range(time, value, key).map(Duration::from_micros)
        })
    }

    /// A time that has a default.
    pub(super) fn time_or_zero(&self, name: &str) -> Duration {
        self.time(name).unwrap_or_default()
    }

    /// One of the names that `choices` gives a meaning.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        self.value(name, |value, _| read_choice(value, choices))
    }

    /// A path, joined to the folder of the file.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|text| self.file.source.folder().join(text))
    }

    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.value(name, |value, key| {
            let text = value.as_str().ok_or_else(|| wrong(value, key))?;
            text.parse().map_err(|_| wrong(value, key))
        })
    }

    pub(super) fn listen_address(&self, name: &str) -> Option<ListenAddress> {
        self.value(name, |value, key| {
            let text = value.as_str().ok_or_else(|| wrong(value, key))?;
            match text.strip_prefix("unix:") {
                Some("") => Err(wrong(value, key)),
                Some(path) if path.len() <= UNIX_PATH_BYTES_MAX => {
                    Ok(ListenAddress::Unix(self.file.source.folder().join(path)))
                }
                Some(_) => {
                    let message = format!(
                        "found {}: the path of a Unix socket has at most {UNIX_PATH_BYTES_MAX} bytes",
                        show(value)
                    );
                    Err(Refusal { message, advice: "choose a shorter one".to_owned() })
                }
                None => text.parse().map(ListenAddress::Tcp).map_err(|_| wrong(value, key)),
            }
        })
    }

    /// The items of a list, each read by `read`; wrong ones are reported and left out.
    pub(super) fn list<T>(
        &self,
        name: &str,
        allowed: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Refusal>,
    ) -> Vec<Item<T>> {
        let Some(key) = self.section.key(name) else { return Vec::new() };
        let Some(value) = self.get(name) else {
            if matches!(key.default, Default::Required(_)) {
                self.report_missing(key);
            }
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let Refusal { message, advice } = wrong(value.get_ref(), key);
            self.error(name, message, advice);
            return Vec::new();
        };
        if array.is_empty() && matches!(key.default, Default::Required(_)) {
            let message = format!("found an empty list, allowed is a list of at least one {allowed}");
            self.error(name, message, format!("for example {}", self.file.example(key)));
        }
        self.read_items(name, array, read)
    }

    fn read_items<T>(
        &self,
        name: &str,
        array: &DeArray<'_>,
        read: impl Fn(&DeValue<'_>) -> Result<T, Refusal>,
    ) -> Vec<Item<T>> {
        let mut items = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let place = self.file.source.place(element.span().start);
            let path = format!("{}[{index}]", self.path_of(name));
            match read(element.get_ref()) {
                Ok(value) => items.push(Item { value, place, path }),
                Err(Refusal { message, advice }) => self.file.error(place, &path, message, advice),
            }
        }
        items
    }

    /// A sub-table; absent or of another type = empty, so that all its defaults hold.
    pub(super) fn table(&self, name: &str, section: &'static Section) -> Self {
        self.table_if_present(name, section).unwrap_or_else(|| Self {
            file: self.file,
            table: None,
            place: self.place(),
            path: self.path_of(name),
            section,
        })
    }

    /// A sub-table, if there is one.
    pub(super) fn table_if_present(&self, name: &str, section: &'static Section) -> Option<Self> {
        let value = self.get(name)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let reader =
                    Self::new(self.file, Some(table), value.span().start, self.path_of(name), section);
                reader.report_unknown_keys();
                Some(reader)
            }
            other => {
                let Refusal { message, advice } = wrong(other, self.section.key(name)?);
                self.error(name, message, advice);
                None
            }
        }
    }

    /// The tables of an array of tables, in file order.
    pub(super) fn tables(&self, name: &str, section: &'static Section) -> Vec<Self> {
        let tables = self.tables_of_any_keys(name, section);
        tables.iter().for_each(Self::report_unknown_keys);
        tables
    }

    /// The same without a look at their keys: for tables of several types.
    pub(super) fn tables_of_any_keys(&self, name: &str, section: &'static Section) -> Vec<Self> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let wrong = |found: &DeValue<'_>| {
            let header = section.header;
            let (allowed, advice) = match self.file.notation {
                Notation::Toml => (format!("are {header} tables"), format!("write it as {header}")),
                Notation::Json => ("is a list of objects".to_owned(), format!("write \"{name}\": [{{...}}]")),
            };
            self.error(name, format!("found {}, allowed {allowed}", show(found)), advice);
        };
        let DeValue::Array(array) = value.get_ref() else {
            wrong(value.get_ref());
            return Vec::new();
        };
        let mut readers = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            match element.get_ref() {
                DeValue::Table(table) => {
                    let path = format!("{}[{index}]", self.path_of(name));
                    readers.push(Self::new(self.file, Some(table), element.span().start, path, section));
                }
                other => wrong(other),
            }
        }
        readers
    }

    /// Reports a key that isn't there.
    pub(super) fn require(&self, name: &str) {
        if let Some(key) = self.section.key(name) {
            self.report_missing(key);
        }
    }

    /// All keys as one JSON object, in the order of their names.
    pub(super) fn document(&self) -> Box<str> {
        self.table.map_or_else(|| "{}".to_owned(), |table| table_to_json(table).to_string()).into()
    }

    /// The pairs of a table whose keys are free, in file order.
    pub(super) fn pairs<T>(
        &self,
        name: &str,
        read: impl Fn(&str, &DeValue<'_>) -> Result<T, Refusal>,
    ) -> Vec<(String, T)> {
        let Some(key) = self.section.key(name) else { return Vec::new() };
        let Some(value) = self.get(name) else {
            self.report_missing(key);
            return Vec::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            let Refusal { message, advice } = wrong(value.get_ref(), key);
            self.error(name, message, advice);
            return Vec::new();
        };
        if table.is_empty() && matches!(key.default, Default::Required(_)) {
            let message = format!("found an empty table, allowed is {}", key.kind.describe());
            self.error(name, message, format!("for example {}", self.file.example(key)));
        }
        let mut pairs = Vec::with_capacity(table.len());
        for (pair_key, pair_value) in table {
            match read(pair_key.get_ref(), pair_value.get_ref()) {
                Ok(read) => pairs.push((pair_key.span().start, (pair_key.get_ref().to_string(), read))),
                Err(Refusal { message, advice }) => {
                    let place = self.file.source.place(pair_value.span().start);
                    let path = format!("{}.{}", self.path_of(name), as_key(pair_key.get_ref()));
                    self.file.error(place, &path, message, advice);
                }
            }
        }
        pairs.sort_by_key(|(offset, _)| *offset);
        pairs.into_iter().map(|(_, pair)| pair).collect()
    }

    /// Whether a key is there and holds a list without items.
    pub(super) fn is_empty_list(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get_ref().as_array().is_some_and(|array| array.is_empty()))
    }

    /// The value of a key as it was written, for error texts.
    pub(super) fn shown(&self, name: &str) -> String {
        self.get(name).map_or_else(|| "nothing".to_owned(), |value| show(value.get_ref()))
    }
}

pub(super) fn read_text(value: &DeValue<'_>, key: &'static Key) -> Result<String, Refusal> {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(wrong(value, key)),
    }
}

/// One of the names that `choices` gives a meaning.
pub(super) fn read_choice<T: Copy>(value: &DeValue<'_>, choices: &[(&str, T)]) -> Result<T, Refusal> {
    let found = value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let near = value.as_str().and_then(|text| nearest(text, &names));
        let advice =
            near.map_or_else(|| "write one of these".to_owned(), |near| format!("did you mean {near:?}?"));
        Refusal::new(value, &alternatives(&names), advice)
    })
}

fn wrong(value: &DeValue<'_>, key: &'static Key) -> Refusal {
    Refusal::new(value, &key.kind.describe(), format!("for example {}", key.example()))
}

fn in_range(number: u64, value: &DeValue<'_>, key: &'static Key) -> Result<u64, Refusal> {
    let (Kind::Integer(range) | Kind::Size(range) | Kind::Time(range)) = key.kind else {
        return Ok(number);
    };
    if Range::contains(&range, number) { Ok(number) } else { Err(wrong(value, key)) }
}

/// A size or a time: text with a unit, or the number 0.
fn read_quantity(
    value: &DeValue<'_>,
    key: &'static Key,
    parse: impl Fn(&str) -> Result<u64, UnitError>,
) -> Result<u64, Refusal> {
    let number = value.as_integer().filter(|number| number.radix() == 10).map(|number| number.as_str());
    let Some(text) = value.as_str().or(number) else { return Err(wrong(value, key)) };
    parse(text).map_err(|error| {
        let refusal = wrong(value, key);
        let advice = match error {
            UnitError::Form => format!("write one whole number and one unit, {}", refusal.advice),
            // The number as bytes or seconds, which is what is mostly meant; a zero would only say how to have no limit.
            UnitError::NoUnit => {
                let unit = if matches!(key.kind, Kind::Size(_)) { "B" } else { "s" };
                let with_unit = format!("{text}{unit}");
                match parse(&with_unit).is_ok_and(|number| in_range(number, value, key).is_ok()) {
                    true => format!("add a unit, for example \"{with_unit}\""),
                    false => format!("add a unit, {}", refusal.advice),
                }
            }
            UnitError::UnknownUnit(Some(meant)) => {
                let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
                format!("did you mean \"{digits}{meant}\"?")
            }
            UnitError::UnknownUnit(None) => format!("write a unit that is known, {}", refusal.advice),
            UnitError::TooLarge => format!("write a smaller value, {}", refusal.advice),
        };
        Refusal { advice, ..refusal }
    })
}

/// A value as error texts show it: short, on one line, without control characters.
pub(super) fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shorten(text)),
        DeValue::Integer(number) => shorten(&number.to_string()),
        DeValue::Float(number) => shorten(number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The beginning of a text, for error texts.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A key as TOML writes it: bare if it can be, else quoted, and short.
fn as_key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let short = shorten(name);
    if short == name && !name.is_empty() && name.bytes().all(is_bare) { short } else { format!("{short:?}") }
}
