//! Changes of rules and lists over the admin API: read, compiled and checked, stored, and then in force.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::edits::{Edited, edit_lists, edit_rules};
use super::{Handle, InForce, positions, unix_seconds};
use crate::config::{Config, ConfigError, ConfigWarning, Where};
use crate::control::{Changed, ListsChange, Refused, RulesChange, Wrong};
use crate::snapshot::{self, Snapshot};
use crate::state::file::Kind;
use crate::state::folder::Folder;
use crate::state::lists::ENTRIES_MAX;
use crate::state::rules::{RULES_MAX, Refusal};
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

impl Handle {
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
        // The draft counts only if that is done.
        rules.mark_stored();
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
        // The draft counts only if that is done.
        lists.mark_stored();
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
                lists.mark_stored();
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

    /// Whether a rule with this id is in force.
    pub(super) fn has_rule(&self, id: u64) -> bool {
        self.config.rules.rules.iter().any(|rule| rule.id == id)
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
pub(super) fn wrong_as_it_is(error: &ConfigError) -> Wrong {
    let (position, message) = match &error.place {
        Where::Text(place) if *place.file == *Path::new(BODY) => {
            (Some((place.line, place.column)), error.message.clone())
        }
        place => (None, format!("{place}: {}", error.message)),
    };
    Wrong { field: error.key.clone(), position, message, advice: error.advice.clone() }
}
