//! What the admin API laid over the rules file: rules of its own, rules in place of the file's, rules of the file that
//! are gone, and the general mode.
//!
//! Each change remembers what the file said about that id when it was made. A file that says something else later is
//! a conflict: two people changed the same rule, and no program should choose between them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::file::{self, Contents, Kind, digest_of};
use crate::config::json::Part;
use crate::config::{ConfigError, Document, Place, RuleConfig, RuleMode, RulesConfig, Where};

/// Rules that the API may lay over the file.
pub(crate) const RULES_MAX: usize = 100_000;

/// The changes of the rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RulesLayer {
    /// The file that they are stored in.
    path: PathBuf,
    general_mode: Option<GeneralMode>,
    /// By id.
    changes: BTreeMap<u64, Change>,
    /// Names what it says; empty if nothing was ever said.
    digest: String,
    /// Names what the file holds that it is stored in; another digest where the config's files have settled some of it.
    stored_digest: String,
}

/// A general mode that isn't the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GeneralMode {
    mode: RuleMode,
    /// What the file said when it was set.
    over: RuleMode,
}

#[derive(Clone, Debug, PartialEq)]
struct Change {
    /// What is there now; nothing where the file's rule was removed.
    rule: Option<Arc<RuleConfig>>,
    /// The digest of what the file said under this id when the change was made; nothing if it had no such rule.
    over: Option<String>,
}

/// A refusal of a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is nothing to change.
    NotFound(String),
    /// It doesn't go together with what is there.
    Conflict(String),
}

fn digest_of_rule(rule: &RuleConfig) -> String {
    digest_of(&rule.document)[..32].to_owned()
}

impl RulesLayer {
    /// No changes yet.
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: Kind::Rules.path(folder), ..Self::default() }
    }

    /// The changes that a state folder holds.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn read(folder: &Path) -> Result<Self, Vec<ConfigError>> {
        let contents = file::read(folder, Kind::Rules).map_err(|error| vec![error])?;
        let Some(Contents { text, start, digest }) = contents else { return Ok(Self::new(folder)) };
        let mut layer = Self { stored_digest: digest.clone(), digest, ..Self::new(folder) };
        let document = Document::new(&layer.path, text);
        for line in document.lines(start) {
            let read = layer.read_line(&document, line);
            if let Err((offset, reason)) = read {
                document.error(offset, "", format!("found a line that is no change of a rule: {reason}"));
            }
        }
        document.finish().map(|_| layer)
    }

    fn read_line(&mut self, document: &Document, line: Part<'_>) -> Result<(), (usize, String)> {
        let refuse = |reason: &str| (line.offset(), reason.to_owned());
        let members = line.members().map_err(|error| (error.offset, error.message))?;
        let members: HashMap<_, _> = members.ok_or_else(|| refuse("no object"))?.into_iter().collect();
        let over = members.get("over").and_then(Part::text);
        if let Some(part) = members.get("rule") {
            if let Some(rule) = document.rule(part, "rule", None) {
                self.changes.insert(rule.id, Change { rule: Some(Arc::new(rule)), over });
            }
        } else if let Some(id) = members.get("removed").and_then(Part::integer) {
            self.changes.insert(id, Change { rule: None, over });
        } else if let Some(mode) = members.get("general_mode").and_then(Part::text) {
            let name = |name: &str| name.parse::<RuleMode>().map_err(|_| refuse("an unknown mode"));
            let over = name(&over.unwrap_or_default())?;
            self.general_mode = Some(GeneralMode { mode: name(&mode)?, over });
        } else {
            return Err(refuse("neither rule, removed nor general_mode"));
        }
        Ok(())
    }

    /// The lines to be stored.
    pub(super) fn body(&self) -> String {
        let mut body = String::new();
        let add = |body: &mut String, line: Value| {
            body.push_str(&line.to_string());
            body.push('\n');
        };
        if let Some(GeneralMode { mode, over }) = self.general_mode {
            add(&mut body, json!({ "general_mode": mode.as_str(), "over": over.as_str() }));
        }
        for (id, Change { rule, over }) in &self.changes {
            match rule {
                None => add(&mut body, json!({ "removed": id, "over": over })),
                Some(rule) => {
                    let over = over.as_ref().map_or_else(String::new, |over| format!(",\"over\":\"{over}\""));
                    body.push_str(&format!("{{\"rule\":{}{over}}}\n", rule.document));
                }
            }
        }
        body
    }

    /// Names what it says; empty if nothing was ever said.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Names what the disk holds of it; empty if that is nothing.
    pub(crate) fn stored_digest(&self) -> &str {
        &self.stored_digest
    }

    /// Notes that the disk holds what it says.
    pub(crate) fn mark_stored(&mut self) {
        self.stored_digest.clone_from(&self.digest);
    }

    /// Makes it ready to be stored: gives every rule its place in the file, and all of it a new digest. Gives the
    /// lines to be stored.
    pub(crate) fn seal(&mut self) -> String {
        self.place_rules();
        let body = self.body();
        self.digest = digest_of(&body);
        body
    }

    /// The file that the changes are stored in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many rules it brings or removes.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether the general mode is this layer's.
    pub(crate) fn sets_general_mode(&self) -> bool {
        self.general_mode.is_some()
    }

    /// Whether the rule in force under this id is this layer's.
    pub(crate) fn brings(&self, id: u64) -> bool {
        self.changes.get(&id).is_some_and(|change| change.rule.is_some())
    }

    /// The ids of the file's rules that are removed.
    pub(crate) fn removed(&self) -> impl Iterator<Item = u64> {
        self.changes.iter().filter(|(_, change)| change.rule.is_none()).map(|(id, _)| *id)
    }

    /// The layer over another version of the file: what the file itself says now is forgotten. That is to be stored, or it
    /// would come back at the next start.
    ///
    /// # Errors
    /// Every change that the file contradicts.
    pub(super) fn over(&self, file: &RulesConfig) -> Result<Self, Vec<ConfigError>> {
        let mut layer = self.clone();
        let mut errors = Vec::new();
        let mut settled = false;
        if let Some(set) = self.general_mode {
            if set.mode == file.general_mode {
                layer.general_mode = None;
                settled = true;
            } else if set.over != file.general_mode {
                errors.push(self.general_mode_conflict(set, file));
            }
        }
        let in_file: HashMap<u64, &Arc<RuleConfig>> = if self.changes.is_empty() {
            HashMap::new()
        } else {
            file.rules.iter().map(|rule| (rule.id, rule)).collect()
        };
        for (id, change) in &self.changes {
            let Some(theirs) = in_file.get(id) else {
                match layer.changes.get_mut(id) {
                    Some(own) if own.rule.is_some() => settled |= own.over.take().is_some(),
                    _ => settled |= layer.changes.remove(id).is_some(),
                }
                continue;
            };
            if change.rule.as_ref().is_some_and(|own| own.document == theirs.document) {
                layer.changes.remove(id);
                settled = true;
            } else if change.over.as_ref() != Some(&digest_of_rule(theirs)) {
                errors.push(self.conflict(*id, change, theirs));
            }
        }
        if settled {
            layer.seal();
        }
        if errors.is_empty() { Ok(layer) } else { Err(errors) }
    }

    fn conflict(&self, id: u64, change: &Change, theirs: &RuleConfig) -> ConfigError {
        let (message, advice) = match (&change.rule, &change.over) {
            (Some(_), None) => (
                format!("the file has a rule {id} now, and the admin API made another rule {id}"),
                "give the file's rule another id",
            ),
            (Some(_), Some(_)) => (
                format!("rule {id} was changed here, and the admin API has replaced it"),
                "put the rule back as it was, or write it as the API has it",
            ),
            (None, _) => (
                format!("rule {id} was changed here, and the admin API has removed it"),
                "put the rule back as it was, or take it out",
            ),
        };
        let call = format!("DELETE /v1/rules/{id}?only=api");
        let advice = format!("{advice}; or {}", self.how_to_give_up(&call));
        ConfigError::at(&theirs.place, "rule", message, advice)
    }

    fn general_mode_conflict(&self, set: GeneralMode, file: &RulesConfig) -> ConfigError {
        ConfigError {
            place: Where::File(file.file.clone().unwrap_or_else(|| self.path.clone())),
            key: "general_mode".to_owned(),
            message: format!(
                "the file says {:?} now instead of {:?}, and the admin API has set {:?}",
                file.general_mode.as_str(),
                set.over.as_str(),
                set.mode.as_str()
            ),
            advice: format!(
                "write {:?} or {:?} in the file; or {}",
                set.over.as_str(),
                set.mode.as_str(),
                self.how_to_give_up("PATCH /v1/rules with {\"general_mode\": null}")
            ),
        }
    }

    /// What to do for the file to hold again, with a node that runs and without one.
    fn how_to_give_up(&self, call: &str) -> String {
        format!(
            "give up what the API says: {call}, or, while no node runs, move {} away, which gives up all changes of rules that came \
             over the API",
            self.path.display()
        )
    }

    /// What is in force: the file's rules as this layer changes them.
    pub(crate) fn apply(&self, file: &RulesConfig) -> RulesConfig {
        let mut rules = Vec::with_capacity(file.rules.len() + self.changes.len());
        let mut in_file = HashSet::new();
        for rule in &file.rules {
            match self.changes.get(&rule.id) {
                None => rules.push(Arc::clone(rule)),
                Some(change) => {
                    in_file.insert(rule.id);
                    rules.extend(change.rule.clone());
                }
            }
        }
        let own = self.changes.iter().filter(|(id, _)| !in_file.contains(id));
        rules.extend(own.filter_map(|(_, change)| change.rule.clone()));
        let api_file: Arc<Path> = Arc::from(self.path.as_path());
        let (general_mode, general_mode_place) = match self.general_mode {
            None => (file.general_mode, file.general_mode_place.clone()),
            Some(set) => {
                let place = Place { file: Arc::clone(&api_file), line: GENERAL_MODE_LINE, column: 1 };
                (set.mode, Some(place))
            }
        };
        let (name, digest) = (file.file.clone(), file.digest.clone());
        RulesConfig {
            file: name,
            digest,
            general_mode,
            general_mode_place,
            rules,
            unread_ids: file.unread_ids.clone(),
            api_file: Some(api_file),
        }
    }

    /// Puts a rule in force under its id.
    pub(crate) fn put(&mut self, rule: RuleConfig, file: &RulesConfig) {
        let theirs = file.rules.iter().find(|theirs| theirs.id == rule.id);
        self.put_over(rule, theirs);
    }

    fn put_over(&mut self, rule: RuleConfig, theirs: Option<&Arc<RuleConfig>>) {
        if theirs.is_some_and(|theirs| theirs.document == rule.document) {
            self.changes.remove(&rule.id);
        } else {
            let over = theirs.map(|theirs| digest_of_rule(theirs));
            self.changes.insert(rule.id, Change { rule: Some(Arc::new(rule)), over });
        }
    }

    /// Takes a rule out of force, whosever it is.
    ///
    /// # Errors
    /// There is none with this id.
    pub(crate) fn remove(&mut self, id: u64, file: &RulesConfig) -> Result<(), Refusal> {
        let theirs = file.rules.iter().find(|theirs| theirs.id == id);
        match (self.changes.get(&id), theirs) {
            (Some(Change { rule: None, .. }), _) | (None, None) => {
                return Err(Refusal::NotFound(format!("there is no rule {id}")));
            }
            (_, Some(theirs)) => {
                let change = Change { rule: None, over: Some(digest_of_rule(theirs)) };
                self.changes.insert(id, change);
            }
            (Some(_), None) => drop(self.changes.remove(&id)),
        }
        Ok(())
    }

    /// Gives up what this layer says about a rule.
    ///
    /// # Errors
    /// It says nothing.
    pub(crate) fn give_up(&mut self, id: u64) -> Result<(), Refusal> {
        let found = self.changes.remove(&id).map(drop);
        found.ok_or_else(|| Refusal::NotFound(format!("no call has changed rule {id}")))
    }

    /// Gives up everything.
    pub(crate) fn give_up_all(&mut self) {
        self.changes.clear();
        self.general_mode = None;
    }

    /// Puts exactly these rules in force.
    pub(crate) fn put_all(&mut self, rules: Vec<RuleConfig>, general_mode: RuleMode, file: &RulesConfig) {
        self.give_up_all();
        self.set_general_mode(Some(general_mode), file);
        let mut in_file: HashMap<u64, &Arc<RuleConfig>> =
            file.rules.iter().map(|rule| (rule.id, rule)).collect();
        for rule in rules {
            let theirs = in_file.remove(&rule.id);
            self.put_over(rule, theirs);
        }
        for (id, theirs) in in_file {
            self.changes.insert(id, Change { rule: None, over: Some(digest_of_rule(theirs)) });
        }
    }

    /// Sets the general mode; nothing is the file's.
    pub(crate) fn set_general_mode(&mut self, mode: Option<RuleMode>, file: &RulesConfig) {
        let over = file.general_mode;
        self.general_mode = mode.filter(|mode| *mode != over).map(|mode| GeneralMode { mode, over });
    }

    /// The lowest id above all that are taken, and those of the file's rules that the layer removed. (One that the API gave and took
    /// away is free again.)
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn next_id(&self, file: &RulesConfig) -> Result<u64, Refusal> {
        let highest_own = self.changes.keys().next_back().copied().unwrap_or(0);
        let highest = file.rules.iter().map(|rule| rule.id).max().unwrap_or(0).max(highest_own);
        if highest >= i64::MAX as u64 {
            return Err(Refusal::Conflict("the highest id is taken: send the rule with an id".to_owned()));
        }
        Ok(highest + 1)
    }

    /// Gives every rule the place that it has in the stored file.
    fn place_rules(&mut self) {
        let file: Arc<Path> = Arc::from(self.path.as_path());
        let first_line = GENERAL_MODE_LINE + u32::from(self.general_mode.is_some());
        for (line, change) in (first_line..).zip(self.changes.values_mut()) {
            let Some(rule) = &mut change.rule else { continue };
            let place = Place { file: Arc::clone(&file), line, column: PLACE_COLUMN };
            if rule.place != place {
                *rule = Arc::new(RuleConfig { place, ..(**rule).clone() });
            }
        }
    }

    /// The id of the rule whose place is in a line of the stored file.
    pub(crate) fn id_at_line(&self, line: u32) -> Option<u64> {
        let first_line = GENERAL_MODE_LINE + u32::from(self.general_mode.is_some());
        let index = usize::try_from(line.checked_sub(first_line)?).ok()?;
        self.changes.keys().nth(index).copied()
    }
}

/// Where a stored rule begins in its line, behind `{"rule":`.
const PLACE_COLUMN: u32 = 9;

/// The line of the stored file behind its head: that of the general mode, if there is one, or else of the first rule.
const GENERAL_MODE_LINE: u32 = 2;
