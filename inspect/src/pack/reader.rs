//! Reads one signature file. All that is wrong with it is told in one go, each time with line and signature.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expression::{self, LITERAL_BYTES_MIN};
use super::{Examples, PackError, SCORE_MAX, Scan, Signature, Source};
use crate::class::AttackClass;
use crate::confirm::ConfirmerKind;
use crate::place::{ParameterNames, Place, PlaceSet};

/// The keys of a signature.
const KEYS: [&str; 12] = [
    "id",
    "description",
    "pattern",
    "case_sensitive",
    "scan",
    "points",
    "names",
    "confirm",
    "second",
    "score",
    "no_literal",
    "examples",
];

/// The largest file of which more than the first syntax error is told, in bytes.
const RECOVERED_BYTES_MAX: usize = 1 << 20;

/// Reads the signatures of a file; what is wrong is added to `errors`.
pub(super) fn read(name: &str, text: &str, errors: &mut Vec<PackError>) -> Vec<Signature> {
    let (tree, syntax_errors) = if text.len() > RECOVERED_BYTES_MAX {
        match DeTable::parse(text) {
            Ok(tree) => (tree, Vec::new()),
            Err(error) => (Spanned::new(0..0, DeTable::new()), vec![error]),
        }
    } else {
        DeTable::parse_recoverable(text)
    };
    let mut reader =
        FileReader { name: Arc::from(name), text, errors, signature: None, broken_lines: Vec::new() };
    reader.report_syntax(syntax_errors);
    reader.file(tree.get_ref())
}

type Table<'t> = DeTable<'t>;

struct FileReader<'a> {
    name: Arc<str>,
    text: &'a str,
    errors: &'a mut Vec<PackError>,
    /// The id of the signature that is being read.
    signature: Option<String>,
    /// Lines that are no TOML: what is missing, or wrong there, is an echo of that.
    broken_lines: Vec<usize>,
}

impl FileReader<'_> {
    fn source(&self, span: Range<usize>) -> Source {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |position| position + 1);
        Source {
            file: Arc::clone(&self.name),
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: before.len() - line_start + 1,
        }
    }

    fn refuse(&mut self, span: Range<usize>, message: impl Into<String>) {
        let source = self.source(span);
        if !self.broken_lines.contains(&source.line) {
            let signature = self.signature.clone();
            self.errors.push(PackError { signature, ..source.error("", message.into()) });
        }
    }

    /// One error a line: what follows the first is rarely more than its echo.
    fn report_syntax(&mut self, mut errors: Vec<toml::de::Error>) {
        errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let line = self.source(span.clone()).line;
            let found = self.text.get(span.clone()).unwrap_or("").trim();
            let found = if found.is_empty() { String::new() } else { format!("found `{found}`: ") };
            self.refuse(span, format!("this is no TOML: {found}{}", error.message()));
            self.broken_lines.push(line);
        }
    }

    fn file(&mut self, table: &Table<'_>) -> Vec<Signature> {
        for (key, _) in table.iter() {
            if !matches!(key.get_ref().as_ref(), "class" | "signature") {
                let message =
                    format!("unknown key `{}`; a file has `class` and [[signature]]", key.get_ref());
                self.refuse(key.span(), message);
            }
        }
        let class = self.class(table);
        let Some(list) = table.get("signature") else { return Vec::new() };
        let Some(list_items) = list.get_ref().as_array() else {
            self.refuse(list.span(), "signatures are written as [[signature]]");
            return Vec::new();
        };
        let mut signatures = Vec::with_capacity(list_items.len());
        for item in list_items.iter() {
            match item.get_ref().as_table() {
                Some(table) => signatures.extend(self.signature(class, table, item.span())),
                None => self.refuse(item.span(), "a signature is a table: [[signature]]"),
            }
            self.signature = None;
        }
        signatures
    }

    fn class(&mut self, table: &Table<'_>) -> Option<AttackClass> {
        let value = self.required(table, 0..0, "class", "the attack class of the file's signatures")?;
        self.choice(value, "class", &AttackClass::ALL.map(|class| (class.as_str(), class)))
    }

    /// A signature, if all is well with it.
    fn signature(
        &mut self,
        class: Option<AttackClass>,
        table: &Table<'_>,
        span: Range<usize>,
    ) -> Option<Signature> {
        let before = self.errors.len();
        self.signature = table.get("id").and_then(|id| id.get_ref().as_str()).map(str::to_owned);
        for (key, _) in table.iter() {
            if !KEYS.contains(&key.get_ref().as_ref()) {
                let message = format!("unknown key `{}`; known are {}", key.get_ref(), KEYS.join(", "));
                self.refuse(key.span(), message);
            }
        }
        let id = self.id(table, &span);
        let description = self.text(table, &span, "description", "what the pattern is a sign of");
        if let Some((text, at)) = description
            && text.trim().is_empty()
        {
            self.refuse(at, "the description is empty; say what the pattern is a sign of");
        }
        let case_sensitive = self.boolean(table, "case_sensitive");
        let scan = self.scan(table, !case_sensitive);
        let pattern = self.pattern(table, &span, !case_sensitive);
        let places = self.places(table);
        let names = self.names(table);
        let confirmer = match table.get("confirm") {
            None => Some(ConfirmerKind::default()),
            Some(value) => {
                self.choice(value, "confirm", &ConfirmerKind::ALL.map(|kind| (kind.as_str(), kind)))
            }
        };
        if scan == Some(Scan::Operators)
            && confirmer.is_some_and(|confirmer| confirmer != ConfirmerKind::Shell)
        {
            let at = table.get("scan").map_or(span.clone(), Spanned::span);
            self.refuse(at, "`scan` is only \"operators\" with confirm = \"shell\"");
        }
        let second = self.second(table, &span, confirmer, !case_sensitive);
        let score = self.score(table, &span);
        let examples = self.examples(table, &span);
        if self.errors.len() > before {
            return None;
        }
        let (pattern, pattern_at) = pattern?;
        let first_place = match &places {
            Some(places) if !places.contains(&Place::Query) => places[0],
            _ => Place::Query,
        };
        Some(Signature {
            id: Arc::from(id?),
            class: class?,
            pattern,
            scan: scan?,
            caseless: !case_sensitive,
            places: places.map_or(PlaceSet::TEXT, |places| PlaceSet::of(&places)),
            names,
            confirmer: confirmer?,
            second,
            score: score?,
            source: self.source(pattern_at),
            examples: examples?,
            first_place,
        })
    }

    fn id(&mut self, table: &Table<'_>, span: &Range<usize>) -> Option<String> {
        let (id, at) = self.text(table, span, "id", "a name of lower-case letters, digits and hyphens")?;
        let is_id_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if id.is_empty() || !id.bytes().all(is_id_byte) {
            self.refuse(at, "an id consists of lower-case letters, digits and hyphens");
        }
        Some(id)
    }

    fn pattern(
        &mut self,
        table: &Table<'_>,
        span: &Range<usize>,
        caseless: bool,
    ) -> Option<(String, Range<usize>)> {
        let (pattern, at) = self.text(table, span, "pattern", "the expression that nominates a value")?;
        let is_scanned_for = table.get("scan").is_none();
        let reason = match table.get("no_literal") {
            Some(_) => self.text(table, span, "no_literal", "why the pattern has no literal"),
            None => None,
        };
        match (expression::check_pattern(&pattern, caseless), reason) {
            (Err(message), _) => self.refuse(at.clone(), message),
            (Ok(_), Some((reason, at))) if reason.trim().is_empty() => {
                self.refuse(at, "the reason is empty; say why the pattern has no literal");
            }
            (Ok(_), Some((_, at))) if !is_scanned_for => {
                let message = "`scan` says what is looked for instead of the pattern: leave `no_literal` out";
                self.refuse(at, message);
            }
            (Ok(bytes), None) if bytes < LITERAL_BYTES_MIN && is_scanned_for => {
                let message = format!(
                    "each match of the pattern holds {bytes} bytes in a row that are always the same, so that \
                     many values are looked at in vain: give it a literal of at least {LITERAL_BYTES_MIN} bytes, or say \
                     in `no_literal` why it can't have one"
                );
                self.refuse(at.clone(), message);
            }
            (Ok(bytes), Some((_, at))) if bytes >= LITERAL_BYTES_MIN => {
                let message = format!(
                    "each match of the pattern holds a literal of {bytes} bytes: leave `no_literal` out"
                );
                self.refuse(at, message);
            }
            (Ok(_), _) => {}
        }
        Some((pattern, at))
    }

    fn scan(&mut self, table: &Table<'_>, caseless: bool) -> Option<Scan> {
        let Some(value) = table.get("scan") else { return Some(Scan::Pattern) };
        if value.get_ref().as_str() == Some("operators") {
            return Some(Scan::Operators);
        }
        let Some(items) = value.get_ref().as_array().filter(|items| !items.is_empty()) else {
            self.refuse(value.span(), "`scan` is \"operators\" or a list of expressions in quotes");
            return None;
        };
        let mut expressions = Vec::with_capacity(items.len());
        for item in items.iter() {
            let text = item.get_ref().as_str().unwrap_or_default();
            match expression::check_pattern(text, caseless) {
                Ok(_) => expressions.push(text.to_owned()),
                Err(message) => self.refuse(item.span(), message),
            }
        }
        (expressions.len() == items.len()).then_some(Scan::Expressions(expressions))
    }

    fn places(&mut self, table: &Table<'_>) -> Option<Vec<Place>> {
        let value = table.get("points")?;
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(value.span(), "`points` is a list of places, such as [\"query\", \"body\"]");
            return None;
        };
        if items.is_empty() {
            self.refuse(value.span(), "points is empty; leave it out for all places");
            return None;
        }
        let places: Vec<Place> =
            items.iter().filter_map(|item| self.choice(item, "points", &Place::NAMES)).collect();
        (!places.is_empty()).then_some(places)
    }

    /// The names of parameters that the signature applies to; none for all.
    fn names(&mut self, table: &Table<'_>) -> ParameterNames {
        let mut names = ParameterNames::default();
        let Some(value) = table.get("names") else { return names };
        if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            self.refuse(value.span(), "names is empty; leave it out for parameters of all names");
        }
        for name in self.texts(table, "names") {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let message = format!(
                    "`{name}`: `names` holds letters and digits only; no other marks of a parameter's name count"
                );
                self.refuse(value.span(), message);
            }
            names.add(&name);
        }
        names
    }

    fn second(
        &mut self,
        table: &Table<'_>,
        span: &Range<usize>,
        confirmer: Option<ConfirmerKind>,
        caseless: bool,
    ) -> Option<String> {
        let Some(value) = table.get("second") else {
            if confirmer == Some(ConfirmerKind::Regex) {
                let at = table.get("confirm").map_or(span.clone(), Spanned::span);
                self.refuse(at, "confirm = \"regex\" needs the expression in `second`");
            }
            return None;
        };
        let (second, at) = self.text(table, span, "second", "an expression over the whole value")?;
        if confirmer.is_some_and(|confirmer| confirmer != ConfirmerKind::Regex) {
            self.refuse(value.span(), "`second` is only used with confirm = \"regex\"");
        } else if let Err(error) = expression::parse(&second, caseless) {
            self.refuse(at, format!("`second` does not parse: {error}"));
        }
        Some(second)
    }

    fn score(&mut self, table: &Table<'_>, span: &Range<usize>) -> Option<u32> {
        let value = self.required(table, span.clone(), "score", "a whole number, such as 5")?;
        let score = value
            .get_ref()
            .as_integer()
            .and_then(|score| u32::from_str_radix(&score.as_str().replace('_', ""), score.radix()).ok());
        if !score.is_some_and(|score| (1..=SCORE_MAX).contains(&score)) {
            self.refuse(value.span(), format!("a score is a whole number from 1 to {SCORE_MAX}"));
        }
        score
    }

    fn examples(&mut self, table: &Table<'_>, span: &Range<usize>) -> Option<Examples> {
        let needed = "{ attack = [\"...\"], clean = [\"...\"] }";
        let value = self.required(table, span.clone(), "examples", needed)?;
        let Some(examples) = value.get_ref().as_table() else {
            self.refuse(value.span(), format!("`examples` is a table: {needed}"));
            return None;
        };
        for (key, _) in examples.iter() {
            if !matches!(key.get_ref().as_ref(), "attack" | "clean") {
                let message = format!("unknown key `{}`; examples have attack and clean", key.get_ref());
                self.refuse(key.span(), message);
            }
        }
        let attack = self.texts(examples, "attack");
        let clean = self.texts(examples, "clean");
        if attack.is_empty() || clean.is_empty() {
            self.refuse(
                value.span(),
                "at least one example of an attack and one of a clean value are needed",
            );
        }
        Some(Examples { attack, clean })
    }

    fn texts(&mut self, table: &Table<'_>, key: &str) -> Vec<String> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(value.span(), format!("`{key}` is a list of texts in quotes"));
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.refuse(item.span(), format!("`{key}` is a list of texts in quotes")),
            }
        }
        texts
    }

    fn boolean(&mut self, table: &Table<'_>, key: &str) -> bool {
        let Some(value) = table.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.refuse(value.span(), format!("`{key}` is true or false"));
            false
        })
    }

    /// A text and where it stands.
    fn text(
        &mut self,
        table: &Table<'_>,
        span: &Range<usize>,
        key: &str,
        needed: &str,
    ) -> Option<(String, Range<usize>)> {
        let value = self.required(table, span.clone(), key, needed)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), value.span())),
            None => {
                self.refuse(value.span(), format!("`{key}` is a text in quotes: {needed}"));
                None
            }
        }
    }

    /// The value of a key that must be there.
    fn required<'t>(
        &mut self,
        table: &'t Table<'_>,
        span: Range<usize>,
        key: &str,
        needed: &str,
    ) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = table.get(key);
        if value.is_none() && self.broken_lines.is_empty() {
            self.refuse(span, format!("`{key}` is missing: {needed}"));
        }
        value
    }

    /// One of several words.
    fn choice<T: Copy>(&mut self, value: &Spanned<DeValue<'_>>, key: &str, names: &[(&str, T)]) -> Option<T> {
        let word = value.get_ref().as_str();
        let found = names.iter().find(|(name, _)| Some(*name) == word);
        if found.is_none() {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let found = word.map_or_else(|| "that".to_owned(), |word| format!("`{word}`"));
            let message = format!("{found} is nothing that `{key}` can be; known are {}", known.join(", "));
            self.refuse(value.span(), message);
        }
        found.map(|(_, choice)| *choice)
    }
}
