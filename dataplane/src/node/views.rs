//! Rules and lists in force, as the admin API shows them.

use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::SerializeMap as _;

use super::changes::Current;
use super::edits::chooses;
use super::unix_seconds;
use crate::config::{ListEntryConfig, ListKind, RuleConfig};
use crate::control::{Answer, EntryChoice, Page};
use crate::snapshot::{API, FILE};
use crate::state::lists::ListsLayer;
use crate::state::rules::RulesLayer;
use crate::text::rfc3339;

/// Warnings in the answer about all rules.
const WARNINGS_MAX: usize = 1_000;

/// A rule with where it comes from.
pub(super) fn rule(rule: &RuleConfig, layer: &RulesLayer) -> String {
    let source = if layer.brings(rule.id) { API } else { FILE };
    let place = serde_json::Value::from(rule.place.to_string());
    // A document is an object and has an id at least.
    let keys = rule.document.strip_suffix('}').unwrap_or("{");
    format!("{keys},\"source\":\"{source}\",\"place\":{place}}}")
}

impl Current {
    /// The body of `GET /v1/rules`.
    pub(super) fn rules_answer(&self) -> Answer {
        let rules = &self.config.rules;
        let source = if self.layer.rules.sets_general_mode() { API } else { FILE };
        let removed: Vec<u64> = self.layer.rules.removed().collect();
        let mut body = String::new();
        // Writing to a String can't fail.
        let _ = write!(
            body,
            "{{\"general_mode\":\"{}\",\"general_mode_source\":\"{source}\",\"generation\":{},\"removed\":{removed:?},\
             \"rules\":[",
            rules.general_mode.as_str(),
            self.snapshot.generation,
        );
        for (index, one) in rules.rules.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            body.push_str(&rule(one, &self.layer.rules));
        }
        let shown = &self.rule_warnings[..self.rule_warnings.len().min(WARNINGS_MAX)];
        let warnings = serde_json::Value::from(shown);
        let _ = write!(body, "],\"warning_count\":{},\"warnings\":{warnings}}}", self.rule_warnings.len());
        Answer { body, tag: self.rules_tag() }
    }

    /// The body of `GET /v1/rules/{id}`.
    pub(super) fn rule_answer(&self, id: u64) -> Option<Answer> {
        let found = self.config.rules.rules.iter().find(|rule| rule.id == id)?;
        Some(Answer { body: rule(found, &self.layer.rules), tag: self.rules_tag() })
    }

    /// The body of `GET /v1/ip-lists`.
    pub(super) fn lists_answer(&self, choice: &EntryChoice, page: Page) -> Answer {
        let now = u64::try_from(unix_seconds()).unwrap_or(0);
        let layer = &self.layer.lists;
        let holds = |entry: &&ListEntryConfig| entry.expires.is_none_or(|expires| now < expires);
        let of_source = |entry: &&ListEntryConfig| {
            choice.of_api.is_none_or(|of_api| entry.is_written_in(layer.path()) == of_api)
        };
        let chosen = self
            .config
            .ip_lists
            .entries
            .iter()
            .filter(holds)
            .filter(of_source)
            .filter(|entry| chooses(choice, entry));
        let mut total = 0;
        let mut entries = Vec::new();
        for (index, entry) in chosen.enumerate() {
            total = index + 1;
            if index >= page.offset && entries.len() < page.limit {
                entries.push(ShownEntry::new(entry, layer));
            }
        }
        let next = page.offset.saturating_add(entries.len());
        let shown = Shown {
            entries,
            total,
            offset: page.offset,
            next_offset: (next < total).then_some(next),
            generation: self.snapshot.generation,
            warnings: &self.list_warnings,
        };
        // Nothing in it is a map with keys that aren't texts, the one thing that JSON can't say.
        let body = serde_json::to_string(&shown).unwrap_or_default();
        Answer { body, tag: self.lists_tag() }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    entries: Vec<ShownEntry<'a>>,
    /// Of all entries that were asked for.
    total: usize,
    offset: usize,
    /// Where the next part begins.
    next_offset: Option<usize>,
    generation: u64,
    /// What is odd about all entries in force; the first of each kind, and how many more there are.
    warnings: &'a [String],
}

#[derive(Serialize)]
struct ShownEntry<'a> {
    list: ListKind,
    #[serde(flatten)]
    subject: Subject,
    #[serde(skip_serializing_if = "<[i64]>::is_empty")]
    applications: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    source: &'static str,
    place: String,
}

impl<'a> ShownEntry<'a> {
    fn new(entry: &'a ListEntryConfig, layer: &ListsLayer) -> Self {
        Self {
            list: entry.list,
            subject: Subject(entry.subject.written()),
            applications: &entry.applications,
            expires: entry.expires.and_then(rfc3339),
            reason: entry.reason.as_deref(),
            source: if entry.is_written_in(layer.path()) { API } else { FILE },
            place: entry.place.to_string(),
        }
    }
}

/// Whom an entry is about: one key, and its value.
struct Subject((&'static str, String));

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = &self.0;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, value)?;
        map.end()
    }
}
