//! Changes of rules and lists over the admin API: read, compiled and checked, stored, and then in force.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Handle, InForce, positions, unix_seconds};
use crate::config::{
    Config, ConfigError, ConfigWarning, Document, ListEntries, ListEntryConfig, Place, RuleConfig, Where,
};
use crate::control::{Changed, EntryChoice, ListsChange, Refused, RulesChange, Wrong};
use crate::snapshot::{self, Snapshot};
use crate::state::file::Kind;
use crate::state::folder::{Folder, FolderError};
use crate::state::lists::{ENTRIES_MAX, EntryKey, ListsLayer};
use crate::state::rules::{RULES_MAX, Refusal, RulesLayer};
use crate::state::{Files, Layer, entity_tag};

/// What errors call a text that was sent.
pub(super) const BODY: &str = "the body";

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(reason) => Self::NotFound(reason),
            Refusal::Conflict(reason) => Self::Conflict(reason),
        }
    }
}

/// Takes the state folder for this node, so that rules and lists can be changed over the admin API. A node without
/// that API needs none.
///
/// # Errors
/// Another node has it, or has changed what it holds since it was read.
pub(super) fn hold_state_folder(
    config: &Config,
    layer: &Layer,
    inherited: Option<OwnedFd>,
) -> Result<Option<Folder>, String> {
    if config.admin.is_none() {
        return Ok(None);
    }
    let path = &config.node.state_dir;
    match Folder::take_over(path, inherited) {
        Ok(folder) => {
            let stored = Layer::read(path);
            if stored.is_ok_and(|stored| stored.digests() == layer.digests()) {
                return Ok(Some(folder));
            }
            Err(format!("{} was changed while the node started: start it again", path.display()))
        }
        Err(error @ FolderError::InUse { .. }) => Err(error.to_string()),
        Err(error @ FolderError::Unwritable { .. }) => {
            tracing::warn!(%error, "rules and lists can't be changed over the admin API");
            Ok(None)
        }
    }
}

/// What is in force; what a change starts from, and what becomes of it.
pub(super) struct Current {
    pub(super) config: Config,
    pub(super) files: Files,
    pub(super) layer: Layer,
    pub(super) snapshot: Arc<Snapshot>,
    known_warnings: Arc<HashSet<String>>,
    pub(super) rule_warnings: Arc<[String]>,
    pub(super) list_warnings: Arc<[String]>,
}

/// What a change of the rules did.
#[derive(Default)]
struct Edited {
    /// The ids of rules that were sent, in their order.
    sent: Vec<u64>,
    /// What they were written in.
    text: String,
    is_list: bool,
    /// The rule that is answered with.
    rule: Option<u64>,
    created: bool,
    count: usize,
}

impl Handle {
    /// The state folder, and the right to change anything. Reloads hold it, too.
    pub(super) fn changing(&self) -> MutexGuard<'_, Option<Folder>> {
        // What a panic leaves behind is the folder as it was.
        self.state_folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the rules.
    pub(super) fn make_rules_change(
        &self,
        change: RulesChange,
        if_match: Option<&str>,
    ) -> Result<Changed, Refused> {
        let mut held = self.changing();
        let mut draft = self.draft()?;
        require_tag(if_match, &draft.rules_tag())?;
        let folder = self.folder(&mut held, &draft)?;
        let mut rules = (*draft.layer.rules).clone();
        let edited = edit_rules(&mut rules, change, &draft)?;
        if rules.len() > RULES_MAX {
            return Err(Refused::TooMany(format!(
                "more than {RULES_MAX} rules would be changed over the API"
            )));
        }
        let body = rules.seal();
        draft.layer.rules = Arc::new(rules);
        draft.config.rules = draft.layer.rules.apply(&draft.files.rules);
        let built = self.rebuild(&draft, |error| draft.wrong_rule(&edited, error)).map_err(|refused| {
            let Refused::Invalid(mut wrong) = refused else { return refused };
            positions::find(&edited.text, &mut wrong);
            Refused::Invalid(wrong)
        })?;
        store(folder, Kind::Rules, &body, draft.layer.rules.digest())?;
        let (tag, total) = (draft.rules_tag(), draft.config.rules.rules.len());
        let rule = edited.rule.and_then(|id| Some((id, draft.rule_in_force(id)?)));
        let changed =
            Changed { tag, rule, created: edited.created, count: edited.count, total, ..Changed::default() };
        Ok(self.put_in_force(draft, built, changed))
    }

    /// Changes the lists.
    pub(super) fn make_lists_change(
        &self,
        change: ListsChange,
        if_match: Option<&str>,
    ) -> Result<Changed, Refused> {
        let mut held = self.changing();
        let mut draft = self.draft()?;
        require_tag(if_match, &draft.lists_tag())?;
        let folder = self.folder(&mut held, &draft)?;
        let mut lists = (*draft.layer.lists).clone();
        let now = unix_now();
        lists.drop_expired(now);
        let (count, mut warnings) = edit_lists(&mut lists, change, &draft, now)?;
        if lists.len() > ENTRIES_MAX {
            let reason = format!("more than {ENTRIES_MAX} entries would be changed over the API: use a file");
            return Err(Refused::TooMany(reason));
        }
        let body = lists.seal().map_err(|error| Refused::Unavailable(error.to_string()))?;
        draft.layer.lists = Arc::new(lists);
        draft.config.ip_lists = draft.layer.lists.apply(&draft.files.lists);
        let built = self.rebuild(&draft, wrong_as_it_is)?;
        store(folder, Kind::IpLists, &body, draft.layer.lists.digest())?;
        let (tag, total) = (draft.lists_tag(), draft.config.ip_lists.entries.len());
        let mut changed =
            self.put_in_force(draft, built, Changed { tag, count, total, ..Changed::default() });
        warnings.append(&mut changed.warnings);
        Ok(Changed { warnings, ..changed })
    }

    /// Forgets entries that have ended, on the disk too. What is in force doesn't count them anyway.
    pub(super) fn forget_expired(&self) {
        let held = self.changing();
        let Some(folder) = held.as_ref() else { return };
        let now = unix_now();
        let layer = Arc::clone(&self.in_force().layer.lists);
        if !layer.has_expired(now) {
            return;
        }
        let mut lists = (*layer).clone();
        lists.drop_expired(now);
        let stored = lists.seal().map_err(io::Error::other).and_then(|body| {
            folder.write(Kind::IpLists, &body, lists.digest())?;
            Ok(())
        });
        match stored {
            Ok(()) => {
                let mut in_force = self.in_force();
                let lists = Arc::new(lists);
                in_force.config.ip_lists = lists.apply(&in_force.files.lists);
                in_force.layer.lists = lists;
            }
            Err(error) => {
                tracing::warn!(%error, "list entries that have ended can't be taken out of state_dir")
            }
        }
    }

    fn draft(&self) -> Result<Current, Refused> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refused::Unavailable("the node is stopping".to_owned()));
        }
        Ok(self.current())
    }

    /// What is in force. Nobody waits for whoever looks at it.
    pub(super) fn current(&self) -> Current {
        let InForce { config, files, layer, snapshot, warnings, rule_warnings, list_warnings, .. } =
            &*self.in_force();
        Current {
            config: config.clone(),
            files: files.clone(),
            layer: layer.clone(),
            snapshot: Arc::clone(snapshot),
            known_warnings: Arc::clone(warnings),
            rule_warnings: Arc::clone(rule_warnings),
            list_warnings: Arc::clone(list_warnings),
        }
    }

    /// The state folder. Where it couldn't be had at the start it is tried again: the cause may have been mended.
    fn folder<'h>(&self, held: &'h mut Option<Folder>, draft: &Current) -> Result<&'h Folder, Refused> {
        if held.is_none() {
            let unavailable = |reason: String| Refused::Unavailable(reason);
            let path = &draft.config.node.state_dir;
            let folder = Folder::open(path).map_err(|error| unavailable(error.to_string()))?;
            let stored = Layer::read(path).map_err(|errors| unavailable(lines(&errors)))?;
            if stored.digests() != draft.layer.digests() {
                let reason =
                    format!("what {} holds isn't what is in force: restart the node", path.display());
                return Err(unavailable(reason));
            }
            *held = Some(folder);
        }
        held.as_ref().ok_or_else(|| Refused::Unavailable("there is no state folder".to_owned()))
    }

    fn rebuild(
        &self,
        draft: &Current,
        wrong: impl Fn(&ConfigError) -> Wrong,
    ) -> Result<snapshot::Built, Refused> {
        let generation = draft.snapshot.generation + 1;
        let digest = draft.layer.digest(&draft.files.digest);
        snapshot::rebuild(&draft.config, &self.path, &digest, generation, &draft.snapshot)
            .map_err(|errors| Refused::Invalid(errors.iter().map(wrong).collect()))
    }

    /// Puts a stored change in force and waits until all workers serve it.
    fn put_in_force(&self, draft: Current, built: snapshot::Built, changed: Changed) -> Changed {
        let generation = built.snapshot.generation;
        let texts = warning_texts(&built.warnings);
        let mut warnings: Vec<String> = texts.difference(&draft.known_warnings).cloned().collect();
        warnings.sort();
        let Current { config, files, layer, .. } = draft;
        self.adopt(super::Prepared {
            config,
            files,
            layer,
            certificate_files: None,
            names: None,
            snapshot: built.snapshot,
            warnings: built.warnings,
        });
        let in_force = self.await_all(generation);
        Changed { generation, in_force, warnings, ..changed }
    }
}

impl Current {
    pub(super) fn rules_tag(&self) -> String {
        entity_tag(&self.files.rules.digest, self.layer.rules.digest())
    }

    pub(super) fn lists_tag(&self) -> String {
        entity_tag(&self.files.lists.digest, self.layer.lists.digest())
    }

    fn rule_in_force(&self, id: u64) -> Option<String> {
        let rule = self.config.rules.rules.iter().find(|rule| rule.id == id)?;
        Some(super::views::rule(rule, &self.layer.rules))
    }

    /// A compiler's error as one of what was sent, if it is about that.
    fn wrong_rule(&self, edited: &Edited, error: &ConfigError) -> Wrong {
        let id = match &error.place {
            Where::Text(place) if *place.file == *self.layer.rules.path() => {
                self.layer.rules.id_at_line(place.line)
            }
            _ => None,
        };
        let position = id.and_then(|id| edited.sent.iter().position(|sent| *sent == id));
        let (Some(id), Some(index)) = (id, position) else { return wrong_as_it_is(error) };
        let of_rule = format!("rule {id}");
        let key = error.key.strip_prefix(&of_rule).unwrap_or(&error.key).trim_start_matches([':', ' ']);
        let field = match (edited.is_list, key.is_empty()) {
            (true, true) => format!("rules[{index}]"),
            (true, false) => format!("rules[{index}].{key}"),
            (false, _) => key.to_owned(),
        };
        Wrong { field, position: None, message: error.message.clone(), advice: error.advice.clone() }
    }
}

/// The texts of warnings.
pub(super) fn warning_texts(warnings: &[ConfigWarning]) -> HashSet<String> {
    warnings.iter().map(ToString::to_string).collect()
}

/// The texts of those about rules, in the order of the rules.
pub(super) fn rule_warnings(warnings: &[ConfigWarning]) -> Arc<[String]> {
    let of_rules = warnings.iter().filter(|warning| warning.key.starts_with("rule "));
    of_rules.map(ToString::to_string).collect()
}

/// The texts of those about entries of the lists.
pub(super) fn list_warnings(warnings: &[ConfigWarning]) -> Arc<[String]> {
    let of_lists = warnings.iter().filter(|warning| warning.key.starts_with("list entr"));
    of_lists.map(ToString::to_string).collect()
}

fn unix_now() -> u64 {
    u64::try_from(unix_seconds()).unwrap_or(0)
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Refuses a change that was made for another version (RFC 9110 section 13.1.1).
fn require_tag(if_match: Option<&str>, tag: &str) -> Result<(), Refused> {
    let Some(wanted) = if_match else { return Ok(()) };
    let matches = wanted.trim() == "*" || wanted.split(',').any(|one| one.trim() == tag);
    if matches { Ok(()) } else { Err(Refused::Stale(tag.to_owned())) }
}

fn store(folder: &Folder, kind: Kind, body: &str, digest: &str) -> Result<(), Refused> {
    folder.write(kind, body, digest).map_err(|error| {
        let reason = format!("the change can't be stored in [node].state_dir: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Refused::NoRoom(reason)
            }
            _ => Refused::Unavailable(reason),
        }
    })
}

/// An error about what was sent, or about something else that is named then.
fn wrong_as_it_is(error: &ConfigError) -> Wrong {
    let (position, message) = match &error.place {
        Where::Text(place) if *place.file == *Path::new(BODY) => {
            (Some((place.line, place.column)), error.message.clone())
        }
        place => (None, format!("{place}: {}", error.message)),
    };
    Wrong { field: error.key.clone(), position, message, advice: error.advice.clone() }
}

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
    let of_compiler = snapshot::rule_errors(&config, Path::new(BODY), &errors);
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
    let field = index.map_or_else(|| key.to_owned(), |index| format!("rules[{index}].{key}"));
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

fn read_rule(text: &str, id: u64, draft: &Current) -> Result<RuleConfig, Refused> {
    let read = |document: &Document| document.rule(&document.whole()?, "", Some(id));
    read_rules(text, draft, read, |rule| SentRules {
        rules: vec![rule],
        unread_ids: draft.config.rules.rules.iter().map(|rule| rule.id).collect(),
        places: Vec::new(),
    })
}

fn edit_rules(rules: &mut RulesLayer, change: RulesChange, draft: &Current) -> Result<Edited, Refused> {
    let file = &draft.files.rules;
    let is_in_force = |id: u64| draft.config.rules.rules.iter().any(|rule| rule.id == id);
    let one = |id: u64, text: String, created: bool| Edited {
        sent: vec![id],
        text,
        rule: Some(id),
        created,
        count: 1,
        is_list: false,
    };
    let edited = match change {
        RulesChange::PutAll(text) => {
            let sent = read_rules(&text, draft, Document::rules, |sent| SentRules {
                rules: sent.rules,
                unread_ids: sent.unread_ids,
                places: sent.places,
            })?;
            let ids: Vec<u64> = sent.rules.iter().map(|rule| rule.id).collect();
            let count = ids.len();
            rules.put_all(sent.rules, sent.general_mode, file);
            Edited { sent: ids, text, is_list: true, count, ..Edited::default() }
        }
        RulesChange::SetGeneralMode(text) => {
            let (mode, _) = read(text, Document::general_mode)?;
            rules.set_general_mode(mode, file);
            Edited::default()
        }
        RulesChange::Add(text) => {
            let rule = read_rule(&text, rules.next_id(file)?, draft)?;
            if is_in_force(rule.id) {
                let reason = format!("there is a rule {0} already; PUT /v1/rules/{0} replaces it", rule.id);
                return Err(Refused::Conflict(reason));
            }
            let id = rule.id;
            rules.put(rule, file);
            one(id, text, true)
        }
        RulesChange::Put(id, text) => {
            let rule = read_rule(&text, id, draft)?;
            if rule.id != id {
                let message = format!("found {}, allowed is {id}, the id in the path", rule.id);
                let wrong = Wrong { field: "id".to_owned(), position: None, message, advice: String::new() };
                return Err(Refused::Invalid(vec![wrong]));
            }
            rules.put(rule, file);
            one(id, text, !is_in_force(id))
        }
        RulesChange::Remove(id) => {
            rules.remove(id, file)?;
            Edited { count: 1, ..Edited::default() }
        }
        RulesChange::GiveUp(id) => {
            rules.give_up(id)?;
            Edited { count: 1, ..Edited::default() }
        }
        RulesChange::GiveUpAll => {
            let count = rules.len();
            rules.give_up_all();
            Edited { count, ..Edited::default() }
        }
    };
    Ok(edited)
}

fn edit_lists(
    lists: &mut ListsLayer,
    change: ListsChange,
    draft: &Current,
    now: u64,
) -> Result<(usize, Vec<String>), Refused> {
    let files = &draft.files.lists;
    match change {
        ListsChange::PutAll(text) => {
            let (entries, warnings) = read(text, |document| document.entries(now))?;
            require_databases(&entries, draft)?;
            let count = entries.len();
            lists.put_all(entries, files);
            Ok((count, warnings))
        }
        ListsChange::Add(text) => {
            let (entries, warnings) = read(text, |document| document.entries(now))?;
            require_databases(&entries, draft)?;
            let count = entries.len();
            lists.put(entries);
            Ok((count, warnings))
        }
        ListsChange::RemoveThese(text) => {
            let (keys, _) = read(text, |document| document.entries(now))?;
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
