//! Rules and list entries that come as JSON: over the admin API, or out of the state folder. They have the keys of
//! the files and are read by the same readers.

use std::borrow::Cow;
use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{ConfigError, ConfigWarning};
use super::ip_lists::{API_ENTRY, read_api_entry};
use super::json::{JsonError, Member, Part, joined};
use super::model::{ListEntryConfig, Place, RuleConfig, RuleMode};
use super::problems::Problems;
use super::read::{FileReader, TableReader, show};
use super::rule_types::RULE_MODES;
use super::rules::{API_GENERAL_MODE, API_RULES, RULE, read_rule, read_rules};
use super::schema::Section;
use super::source::Source;

/// Keys that answers have and that mean nothing in a request: what was got may be sent back.
const READ_ONLY_KEYS: [&str; 7] =
    ["source", "place", "generation", "general_mode_source", "removed", "warning_count", "warnings"];

/// Keys beside a list of entries, as answers have them.
const ENTRIES_KEYS: [&str; 6] = ["entries", "total", "offset", "next_offset", "generation", "warnings"];

/// Keys of an object that are named where there is something else: enough to tell which object is meant.
const KEYS_NAMED: usize = 4;

/// A text of JSON, and what is wrong with it.
#[derive(Debug)]
pub struct Document {
    source: Source,
    problems: Problems,
}

/// What `PUT /v1/rules` carries.
#[derive(Debug)]
pub struct RulesDocument {
    /// `default` if the text names none.
    pub general_mode: RuleMode,
    /// Those that can be read.
    pub rules: Vec<RuleConfig>,
    /// The ids of the others, 0 for one whose id can't be read either.
    pub unread_ids: Vec<u64>,
    /// Where each rule begins, also one that can't be read.
    pub places: Vec<Place>,
}

/// How much of the lists a text has to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// All entries that there are to be.
    All,
    /// Any of them.
    Some,
}

impl Document {
    /// A text that errors call `name`.
    #[must_use]
    pub fn new(name: &Path, text: String) -> Self {
        Self { source: Source::new(name, text), problems: Problems::default() }
    }

    /// Everything that was found to be wrong, or else to be odd.
    ///
    /// # Errors
    /// If anything is wrong.
    pub fn finish(self) -> Result<Vec<ConfigWarning>, Vec<ConfigError>> {
        self.problems.finish(Path::new(""))
    }

    /// Reports an error.
    pub(crate) fn error(&self, offset: usize, key: &str, message: String) {
        self.problems.error_with(|| ConfigError::at(&self.source.place(offset), key, message, String::new()));
    }

    fn json_error(&self, key: &str, error: JsonError) {
        let prefix = if error.is_json { "" } else { "this is no JSON: " };
        self.error(error.offset, &joined(key, &error.key), format!("{prefix}{}", error.message));
    }

    /// Line and column of an offset.
    pub(crate) fn position(&self, offset: usize) -> (u32, u32) {
        let place = self.source.place(offset);
        (place.line, place.column)
    }

    /// The one value of the text.
    pub(crate) fn whole(&self) -> Option<Part<'_>> {
        Part::of(self.source.text()).map_err(|error| self.json_error("", error)).ok()
    }

    /// The values from an offset on, one a line.
    pub(crate) fn lines(&self, start: usize) -> impl Iterator<Item = Part<'_>> {
        let lines = self.source.text().get(start..).unwrap_or("").lines();
        lines.filter_map(|line| {
            let read = Part::of_line(self.source.text(), line);
            read.map_err(|error| self.json_error("", error)).ok()
        })
    }

    /// Reads an object with the keys of a section.
    fn object<T>(
        &self,
        part: &Part<'_>,
        path: &str,
        section: &'static Section,
        more: &[(&'static str, String)],
        read: impl FnOnce(TableReader<'_>) -> Option<T>,
    ) -> Option<T> {
        let tree = part.tree(&READ_ONLY_KEYS).map_err(|error| self.json_error(path, error)).ok()?;
        let offset = part.offset();
        let mut table = match tree.map(Spanned::into_inner) {
            Some(DeValue::Table(table)) => table,
            other => {
                let found = other.as_ref().map_or_else(|| "null".to_owned(), show);
                let keys: Vec<&str> = section.all_keys().map(|key| key.name).take(KEYS_NAMED).collect();
                let keys = keys.join(", ");
                self.error(offset, path, format!("found {found}, allowed is an object with the keys {keys}"));
                return None;
            }
        };
        for (key, value) in more {
            let value = DeValue::parse(value).ok()?.into_inner();
            let entry = table.entry(Spanned::new(offset..offset, Cow::Borrowed(*key)));
            entry.or_insert(Spanned::new(offset..offset, value));
        }
        let file = FileReader::of_json(&self.source, &self.problems);
        read(TableReader::new(&file, Some(&table), offset, path.to_owned(), section))
    }

    /// A rule; where it names no id it gets `id`, if there is one.
    pub(crate) fn rule(&self, part: &Part<'_>, path: &str, id: Option<u64>) -> Option<RuleConfig> {
        let more: Vec<_> = id.map(|id| ("id", id.to_string())).into_iter().collect();
        self.object(part, path, &RULE, &more, read_rule)
    }

    /// The whole text as a set of rules, whose ids differ.
    #[must_use]
    pub fn rules(&self) -> Option<RulesDocument> {
        let whole = self.whole()?;
        let members = whole.members().ok().flatten().unwrap_or_default();
        let list = members.iter().find(|(name, _)| name == "rules").and_then(|(_, list)| list.elements());
        let places = list.iter().flatten().map(|rule| self.source.place(rule.offset())).collect();
        self.object(&whole, "", &API_RULES, &[], |table| {
            table.report_unknown_keys();
            let general_mode = table.choice("general_mode", &RULE_MODES).unwrap_or_default();
            table.require("rules");
            let (rules, unread_ids) = read_rules(&table, "rules");
            Some(RulesDocument { general_mode, rules, unread_ids, places })
        })
    }

    /// The whole text as a general mode; nothing in it where it is `null`.
    pub(crate) fn general_mode(&self) -> Option<Option<RuleMode>> {
        let whole = self.whole()?;
        let members = whole.members().map_err(|error| self.json_error("", error)).ok()?.unwrap_or_default();
        if !members.iter().any(|(name, _)| name == "general_mode") {
            let message = "it is missing; allowed is {\"general_mode\": MODE}, or null for the file's";
            self.error(whole.offset(), "general_mode", message.to_owned());
        }
        self.object(&whole, "", &API_GENERAL_MODE, &[], |table| {
            table.report_unknown_keys();
            Some(table.choice("general_mode", &RULE_MODES))
        })
    }

    /// The whole text as an object of `entries`, or, where only [some](Sent::Some) are sent, as one entry. Entries without an
    /// end get none; `ttl` counts from `now`.
    #[must_use]
    pub fn entries(&self, now_unix: u64, sent: Sent) -> Option<Vec<ListEntryConfig>> {
        let whole = self.whole()?;
        let members = whole.members().map_err(|error| self.json_error("", error)).ok()?;
        let Some(members) = members else {
            self.error(
                whole.offset(),
                "",
                "allowed is an object: one entry, or {\"entries\": [...]}".to_owned(),
            );
            return None;
        };
        if members.is_empty() {
            let message = "found an empty object, allowed is {\"entries\": [...]} or one entry; an empty list is \
                           {\"entries\": []}";
            self.error(whole.offset(), "entries", message.to_owned());
            return None;
        }
        let Some((_, list)) = members.iter().find(|(name, _)| name == "entries") else {
            if sent == Sent::All {
                let message = "it is missing, and without it this would be the only entry of all lists; allowed is {\"entries\": \
                               [...]} with all of them, and POST adds one";
                self.error(whole.offset(), "entries", message.to_owned());
                return None;
            }
            return self.entry(&whole, "", now_unix).map(|entry| vec![entry]);
        };
        if sent == Sent::All {
            self.refuse_page(&members);
        }
        for (name, part) in &members {
            if !ENTRIES_KEYS.contains(&name.as_ref()) {
                self.error(part.offset(), name, "unknown key; allowed is entries".to_owned());
            }
        }
        let Some(elements) = list.elements() else {
            self.error(list.offset(), "entries", "allowed is a list of entries".to_owned());
            return None;
        };
        let entry = |(index, part)| self.entry(&part, &format!("entries[{index}]"), now_unix);
        Some(elements.into_iter().enumerate().filter_map(entry).collect())
    }

    /// Refuses a part of an answer where all entries are expected.
    fn refuse_page(&self, members: &[Member<'_>]) {
        let part_of = |name, is_page: fn(&Part<'_>) -> bool| {
            members.iter().find(|(found, part)| found == name && is_page(part))
        };
        let page = part_of("next_offset", |part| !part.is_null())
            .or_else(|| part_of("offset", |part| !part.is_null() && part.integer() != Some(0)));
        if let Some((name, part)) = page {
            let message = "this is a part of the entries, and PUT would remove all others: get all of them with a higher limit, or \
                           send what changes with POST and DELETE";
            self.error(part.offset(), name, message.to_owned());
        }
    }

    fn entry(&self, part: &Part<'_>, path: &str, now_unix: u64) -> Option<ListEntryConfig> {
        self.object(part, path, &API_ENTRY, &[], |table| {
            table.report_unknown_keys();
            read_api_entry(&table, now_unix)
        })
    }
}
