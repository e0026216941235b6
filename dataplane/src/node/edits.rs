//! What a change of rules or lists does to the layer of the admin API: what was sent is read, and laid over what is there.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::changes::{BODY, Current, wrong_as_it_is};
use super::positions;
use crate::config::json::Part;
use crate::config::{
    ConfigError, Document, ListEntries, ListEntryConfig, Place, RuleConfig, RulesConfig, Sent, Where,
};
use crate::control::{EntryChoice, ListsChange, Refused, RulesChange, Wrong};
use crate::snapshot;
use crate::state::lists::{EntryKey, ListsLayer};
use crate::state::rules::RulesLayer;

/// What was read out of a text, unless something in it is wrong.
fn read<T>(text: String, read: impl FnOnce(&Document) -> Option<T>) -> Result<(T, Vec<String>), Refused> {
    let document = Document::new(Path::new(BODY), text);
    let found = read(&document);
    let refused = |errors: &[ConfigError]| Refused::Invalid(errors.iter().map(wrong_as_it_is).collect());
    let warnings = document.finish().map_err(|errors| refused(&errors))?;
    let warnings = warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect();
    // Without an error there is something; no errors would be a mistake of the readers.
    found.map(|found| (found, warnings)).ok_or_else(|| refused(&[]))
}

/// Rules that were sent. Where anything is wrong with how they are written, what a compiler says of those that can be read is
/// told with it, so that one round shows all.
fn read_rules<T>(
    text: &str,
    draft: &Current,
    read: impl FnOnce(&Document) -> Option<T>,
    rules_of: impl FnOnce(T) -> SentRules,
) -> Result<T, Refused> {
    let document = Document::new(Path::new(BODY), text.to_owned());
    let found = read(&document);
    let errors = match (document.finish(), found) {
        (Ok(_), Some(found)) => return Ok(found),
        (Ok(_), None) => return Err(Refused::Invalid(Vec::new())),
        (Err(errors), None) => return Err(Refused::Invalid(errors.iter().map(wrong_as_it_is).collect())),
        (Err(errors), Some(found)) => (errors, rules_of(found)),
    };
    let (errors, SentRules { rules, unread_ids, places }) = errors;
    let mut config = draft.config.clone();
    config.rules.rules = rules.into_iter().map(Arc::new).collect();
    config.rules.unread_ids = unread_ids;
    config.ip_lists.entries = ListEntries::default();
    let of_compiler = snapshot::rule_errors_of_text(&config, Path::new(BODY), &errors);
    let mut wrong: Vec<Wrong> = errors.iter().map(wrong_as_it_is).collect();
    let mut of_compiler: Vec<Wrong> = of_compiler.iter().map(|error| wrong_in_list(error, &places)).collect();
    positions::find(text, &mut of_compiler);
    for one in of_compiler {
        // what is missing since it can't be read is told already
        if !wrong.iter().any(|known| known.field.starts_with(&one.field)) {
            wrong.push(one);
        }
    }
    wrong.sort_by_key(|wrong| wrong.position);
    Err(Refused::Invalid(wrong))
}

/// A compiler's error about a rule of a list that was sent, or about the only one.
fn wrong_in_list(error: &ConfigError, places: &[Place]) -> Wrong {
    let key = error.key.split_once(": ").map_or("", |(_, key)| key);
    let index = match &error.place {
        Where::Text(place) => places.iter().position(|of_rule| of_rule == place),
        _ => None,
    };
    let field = match (index, key.is_empty()) {
        (None, _) => key.to_owned(),
        (Some(index), true) => format!("rules[{index}]"),
        (Some(index), false) => format!("rules[{index}].{key}"),
    };
    Wrong { field, ..wrong_as_it_is(error) }
}

/// What was sent, as far as it can be read.
struct SentRules {
    rules: Vec<RuleConfig>,
    /// The ids of others that it may name.
    unread_ids: Vec<u64>,
    /// Where each begins, if it is one of a list.
    places: Vec<Place>,
}

/// A rule; where it names no id it gets `id`, if there is one.
fn read_rule(text: &str, id: Option<u64>, draft: &Current) -> Result<RuleConfig, Refused> {
    let read = |document: &Document| document.rule(&document.whole()?, "", id);
    read_rules(text, draft, read, |rule| SentRules {
        rules: vec![rule],
        unread_ids: draft.config.rules.rules.iter().map(|rule| rule.id).collect(),
        places: Vec::new(),
    })
}

/// What a change of the rules did.
#[derive(Default)]
pub(super) struct Edited {
    /// The ids of rules that were sent, in their order.
    pub(super) sent: Vec<u64>,
    /// What they were written in.
    pub(super) text: String,
    pub(super) is_list: bool,
    /// The rule that is answered with.
    pub(super) rule: Option<u64>,
    pub(super) created: bool,
    pub(super) count: usize,
}

impl Edited {
    /// One rule was sent.
    fn one(id: u64, text: String, created: bool) -> Self {
        Self { sent: vec![id], text, rule: Some(id), created, count: 1, is_list: false }
    }

    fn counted(count: usize) -> Self {
        Self { count, ..Self::default() }
    }
}

/// Makes a change to `rules`, which is that of the draft until then.
pub(super) fn edit_rules(
    rules: &mut RulesLayer,
    change: RulesChange,
    draft: &Current,
) -> Result<Edited, Refused> {
    let file = &draft.files.rules;
    match change {
        RulesChange::PutAll(text) => put_all_rules(rules, text, draft),
        RulesChange::SetGeneralMode(text) => {
            let (mode, _) = read(text, Document::general_mode)?;
            rules.set_general_mode(mode, file);
            Ok(Edited::default())
        }
        RulesChange::Add(text) => add_rule(rules, text, draft),
        RulesChange::Put(id, text) => put_rule(rules, id, text, draft),
        RulesChange::Remove(id) => {
            rules.remove(id, file)?;
            Ok(Edited::counted(1))
        }
        RulesChange::GiveUp(id) => {
            rules.give_up(id)?;
            Ok(Edited::counted(1))
        }
        RulesChange::GiveUpAll => {
            let count = rules.len();
            rules.give_up_all();
            Ok(Edited::counted(count))
        }
    }
}

fn put_all_rules(rules: &mut RulesLayer, text: String, draft: &Current) -> Result<Edited, Refused> {
    let sent = read_rules(&text, draft, Document::rules, |sent| SentRules {
        rules: sent.rules,
        unread_ids: sent.unread_ids,
        places: sent.places,
    })?;
    let ids: Vec<u64> = sent.rules.iter().map(|rule| rule.id).collect();
    let count = ids.len();
    rules.put_all(sent.rules, sent.general_mode, &draft.files.rules);
    Ok(Edited { sent: ids, text, is_list: true, count, ..Edited::default() })
}

fn add_rule(rules: &mut RulesLayer, text: String, draft: &Current) -> Result<Edited, Refused> {
    let file = &draft.files.rules;
    let rule = read_rule(&text, id_of_new_rule(&text, rules, file)?, draft)?;
    let id = rule.id;
    if draft.has_rule(id) {
        let reason = format!("there is a rule {id} already; PUT /v1/rules/{id} replaces it");
        return Err(Refused::Conflict(reason));
    }
    rules.put(rule, file);
    Ok(Edited::one(id, text, true))
}

/// The id that a rule gets if it names none; nothing where it does and no other is left.
fn id_of_new_rule(text: &str, rules: &RulesLayer, file: &RulesConfig) -> Result<Option<u64>, Refused> {
    match rules.next_id(file) {
        Ok(id) => Ok(Some(id)),
        Err(_) if names_id(text) => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Whether a rule that was sent names its id.
fn names_id(text: &str) -> bool {
    let members = Part::of(text).ok().and_then(|whole| whole.members().ok().flatten());
    members.is_some_and(|members| members.iter().any(|(name, value)| name == "id" && !value.is_null()))
}

fn put_rule(rules: &mut RulesLayer, id: u64, text: String, draft: &Current) -> Result<Edited, Refused> {
    let rule = read_rule(&text, Some(id), draft)?;
    if rule.id != id {
        let message = format!("found {}, allowed is {id}, the id in the path", rule.id);
        let wrong = Wrong { field: "id".to_owned(), position: None, message, advice: String::new() };
        return Err(Refused::Invalid(vec![wrong]));
    }
    rules.put(rule, &draft.files.rules);
    Ok(Edited::one(id, text, !draft.has_rule(id)))
}

/// Makes a change to `lists`, which is that of the draft until then. Gives how many entries that were, and what is odd
/// about them.
pub(super) fn edit_lists(
    lists: &mut ListsLayer,
    change: ListsChange,
    draft: &Current,
    now: u64,
) -> Result<(usize, Vec<String>), Refused> {
    let files = &draft.files.lists;
    match change {
        ListsChange::PutAll(text) => {
            let (entries, warnings) = read(text, |document| document.entries(now, Sent::All))?;
            require_databases(&entries, draft)?;
            let count = entries.len();
            lists.put_all(entries, files);
            Ok((count, warnings))
        }
        ListsChange::Add(text) => {
            let (entries, warnings) = read(text, |document| document.entries(now, Sent::Some))?;
            require_databases(&entries, draft)?;
            let count = entries.len();
            lists.put(entries);
            Ok((count, warnings))
        }
        ListsChange::RemoveThese(text) => {
            let (keys, _) = read(text, |document| document.entries(now, Sent::Some))?;
            let keys: HashSet<_> = keys.iter().map(EntryKey::of).collect();
            // One that names no applications means the entries of all.
            let named = |entry: &ListEntryConfig| {
                let key = EntryKey::of(entry);
                keys.contains(&key) || keys.contains(&key.of_all_applications())
            };
            Ok((lists.remove(files, named)?, Vec::new()))
        }
        ListsChange::Remove(choice) => {
            Ok((lists.remove(files, |entry| chooses(&choice, entry))?, Vec::new()))
        }
        ListsChange::GiveUp(choice) => Ok((lists.give_up(|entry| chooses(&choice, entry))?, Vec::new())),
    }
}

/// Refuses entries about something that no database tells.
fn require_databases(entries: &[ListEntryConfig], draft: &Current) -> Result<(), Refused> {
    let databases = &draft.config.ip_lists.databases;
    let wrong = |(index, entry): (usize, &ListEntryConfig)| {
        let error = snapshot::lacks_database(entry, databases)?;
        // the only entry may have been sent as such
        let field =
            if entries.len() == 1 { error.key.clone() } else { format!("entries[{index}].{}", error.key) };
        Some(Wrong { field, ..wrong_as_it_is(&error) })
    };
    let wrong: Vec<Wrong> = entries.iter().enumerate().filter_map(wrong).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Refused::Invalid(wrong)) }
}

/// Whether an entry is one of those that are meant; whose it is isn't looked at.
pub(super) fn chooses(choice: &EntryChoice, entry: &ListEntryConfig) -> bool {
    choice.list.is_none_or(|list| entry.list == list)
        && choice.subject.as_ref().is_none_or(|subject| entry.subject == *subject)
        && choice
            .covers
            .is_none_or(|covered| entry.subject.network().is_some_and(|own| own.contains(&covered)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_list_name_the_rule_and_its_key() {
        let place = |column| Place { file: Arc::from(Path::new(BODY)), line: 1, column };
        let field = |at, key: &str| {
            let error = ConfigError::at(&place(at), key, String::new(), String::new());
            wrong_in_list(&error, &[place(11), place(40)]).field
        };
        assert_eq!(field(40, "rule 7: when[0].value"), "rules[1].when[0].value");
        assert_eq!(field(40, "rule 7"), "rules[1]", "it is about all of it");
        assert_eq!(field(1, "rule 7: mode"), "mode");
    }

    #[test]
    fn a_rule_names_its_id_or_not() {
        for (text, expected) in [
            (r#"{"id":5}"#, true),
            (r#"{"id":"x"}"#, true),
            (r#"{"id":null}"#, false),
            ("{}", false),
            ("[5]", false),
            ("{", false),
        ] {
            assert_eq!(names_id(text), expected, "{text}");
        }
    }
}
