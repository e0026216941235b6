//! What the admin API laid over the lists file: entries of its own, and entries of the file that are gone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file::{self, Contents, Kind};
use super::rules::Refusal;
use crate::config::{ConfigError, Document, EntrySubject, IpListsConfig, ListEntryConfig, ListKind, Place};

/// Entries that the API may lay over the file.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;

/// The changes of the lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListsLayer {
    /// The file that they are stored in.
    path: PathBuf,
    /// Entries of its own, each key once, in the order in which they came.
    entries: Vec<Arc<ListEntryConfig>>,
    /// Entries of the files that don't hold any more.
    removed: Vec<EntryKey>,
    /// Names what it says; empty if nothing was ever said.
    digest: String,
    /// Names what the file holds that it is stored in; another digest where the config's files have settled some of it.
    stored_digest: String,
}

/// What tells entries apart: a second one with the same key takes the place of the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryKey {
    list: ListKind,
    subject: EntrySubject,
    /// In ascending order.
    applications: Vec<i64>,
}

impl EntryKey {
    pub(crate) fn of(entry: &ListEntryConfig) -> Self {
        let mut applications = entry.applications.clone();
        applications.sort_unstable();
        applications.dedup();
        Self { list: entry.list, subject: entry.subject.clone(), applications }
    }

    /// The key without applications.
    pub(crate) fn of_all_applications(&self) -> Self {
        Self { applications: Vec::new(), list: self.list, subject: self.subject.clone() }
    }

    /// An entry with this key.
    fn as_entry(&self) -> ListEntryConfig {
        ListEntryConfig {
            place: Place { file: Arc::from(Path::new("")), line: 0, column: 0 },
            list: self.list,
            subject: self.subject.clone(),
            applications: self.applications.clone(),
            expires: None,
            reason: None,
        }
    }
}

/// A line of the stored file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Entry(StoredEntry),
    Removed(StoredEntry),
}

/// An entry; of one that was removed only the key counts. One of `address`, `country`, `datacenter` and `proxy` is there.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct StoredEntry {
    list: Option<ListKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<ipnet::IpNet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacenter: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    applications: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_unix: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl StoredEntry {
    fn of(list: ListKind, subject: &EntrySubject, applications: &[i64]) -> Self {
        let mut stored = Self { list: Some(list), applications: applications.to_vec(), ..Self::default() };
        match subject.clone() {
            EntrySubject::Address(network) => stored.address = Some(network),
            EntrySubject::Country(code) => stored.country = Some(code),
            EntrySubject::Datacenter(name) => stored.datacenter = Some(name),
            EntrySubject::Proxy(kind) => stored.proxy = Some(kind),
        }
        stored
    }

    /// The list and whom it is about, if it says both.
    fn key(&mut self) -> Option<(ListKind, EntrySubject)> {
        let subject = match (self.address, self.country.take(), self.datacenter.take(), self.proxy.take()) {
            (Some(network), None, None, None) => EntrySubject::Address(network),
            (None, Some(code), None, None) => EntrySubject::Country(code),
            (None, None, Some(name), None) => EntrySubject::Datacenter(name),
            (None, None, None, Some(kind)) => EntrySubject::Proxy(kind),
            _ => return None,
        };
        Some((self.list?, subject))
    }
}

/// Where a stored entry begins in its line, behind `{"entry":`.
const PLACE_COLUMN: u32 = 10;
/// The line of the first entry, behind the header.
const FIRST_LINE: u32 = 2;

impl ListsLayer {
    /// No changes yet.
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: Kind::IpLists.path(folder), ..Self::default() }
    }

    /// The changes that a state folder holds.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn read(folder: &Path) -> Result<Self, Vec<ConfigError>> {
        let contents = file::read(folder, Kind::IpLists).map_err(|error| vec![error])?;
        let Some(Contents { text, start, digest }) = contents else { return Ok(Self::new(folder)) };
        let mut layer = Self { stored_digest: digest.clone(), digest, ..Self::new(folder) };
        let file: Arc<Path> = Arc::from(layer.path.as_path());
        let mut offset = start;
        let mut wrong = Vec::new();
        for (number, text) in (FIRST_LINE..).zip(text[start..].lines()) {
            let place = Place { file: Arc::clone(&file), line: number, column: PLACE_COLUMN };
            if let Err(reason) = layer.read_line(text, place) {
                wrong.push((offset, format!("found a line that is no change of a list: {reason}")));
            }
            offset += text.len() + 1;
        }
        if wrong.is_empty() {
            return Ok(layer);
        }
        let document = Document::new(&layer.path, text);
        for (offset, message) in wrong {
            document.error(offset, "", message);
        }
        document.finish().map(|_| layer)
    }

    fn read_line(&mut self, text: &str, place: Place) -> Result<(), String> {
        let line = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (mut stored, removed) = match line {
            Line::Entry(stored) => (stored, false),
            Line::Removed(stored) => (stored, true),
        };
        let (list, subject) = stored.key().ok_or("it doesn't say whom it is about")?;
        let StoredEntry { applications, expires_unix: expires, reason, .. } = stored;
        if removed {
            self.removed.push(EntryKey { list, subject, applications });
        } else {
            let entry = ListEntryConfig { place, list, subject, applications, expires, reason };
            self.entries.push(Arc::new(entry));
        }
        Ok(())
    }

    /// The lines to be stored.
    pub(super) fn body(&self) -> serde_json::Result<String> {
        let mut body = Vec::new();
        for entry in &self.entries {
            let stored = StoredEntry {
                expires_unix: entry.expires,
                reason: entry.reason.clone(),
                ..StoredEntry::of(entry.list, &entry.subject, &entry.applications)
            };
            serde_json::to_writer(&mut body, &Line::Entry(stored))?;
            body.push(b'\n');
        }
        for EntryKey { list, subject, applications } in &self.removed {
            serde_json::to_writer(&mut body, &Line::Removed(StoredEntry::of(*list, subject, applications)))?;
            body.push(b'\n');
        }
        String::from_utf8(body).map_err(serde::ser::Error::custom)
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.removed.is_empty()
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

    /// Makes it ready to be stored: gives every entry its place in the file, and all of it a new digest. Gives the
    /// lines to be stored.
    ///
    /// # Errors
    /// An entry can't be written as JSON.
    pub(crate) fn seal(&mut self) -> serde_json::Result<String> {
        let file: Arc<Path> = Arc::from(self.path.as_path());
        for (line, entry) in (FIRST_LINE..).zip(&mut self.entries) {
            *entry = entry.placed(Place { file: Arc::clone(&file), line, column: PLACE_COLUMN });
        }
        let body = self.body()?;
        self.digest = file::digest_of(&body);
        Ok(body)
    }

    /// The file that the changes are stored in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many entries it brings or removes.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.removed.len()
    }

    /// The layer over another version of the files: what they don't have any more needs no removal. That is to be stored, or
    /// the removal would come back at the next start.
    ///
    /// # Errors
    /// An entry can't be written as JSON.
    pub(super) fn over(&self, files: &IpListsConfig) -> serde_json::Result<Self> {
        let mut layer = self.clone();
        if !layer.removed.is_empty() {
            let mut sought: HashSet<&EntryKey> = self.removed.iter().collect();
            for entry in files.entries.files() {
                sought.remove(&EntryKey::of(entry));
            }
            if !sought.is_empty() {
                layer.removed.retain(|key| !sought.contains(key));
                layer.seal()?;
            }
        }
        Ok(layer)
    }

    /// What is in force: the files' entries as this layer changes them.
    pub(crate) fn apply(&self, files: &IpListsConfig) -> IpListsConfig {
        let mut hidden = Vec::new();
        if !self.is_empty() {
            let own: HashSet<EntryKey> = self
                .entries
                .iter()
                .map(|entry| EntryKey::of(entry))
                .chain(self.removed.iter().cloned())
                .collect();
            let covered =
                (0..).zip(files.entries.files()).filter(|(_, entry)| own.contains(&EntryKey::of(entry)));
            hidden = covered.map(|(index, _)| index).collect();
        }
        IpListsConfig { entries: files.entries.changed(hidden, &self.entries), ..files.clone() }
    }

    /// Adds entries, or puts them in the place of those with the same keys. Of several with one key the last counts.
    pub(crate) fn put(&mut self, entries: Vec<ListEntryConfig>) {
        let mut keys: HashSet<EntryKey> = HashSet::with_capacity(entries.len());
        let mut fresh: Vec<_> = entries
            .into_iter()
            .rev()
            .filter(|entry| keys.insert(EntryKey::of(entry)))
            .map(Arc::new)
            .collect();
        fresh.reverse();
        self.entries.retain(|entry| !keys.contains(&EntryKey::of(entry)));
        self.removed.retain(|key| !keys.contains(key));
        self.entries.extend(fresh);
    }

    /// Puts exactly these entries in force. What the files say the same stays theirs.
    pub(crate) fn put_all(&mut self, entries: Vec<ListEntryConfig>, files: &IpListsConfig) {
        self.give_up_all();
        self.put(entries);
        let own: HashMap<EntryKey, Arc<ListEntryConfig>> =
            self.entries.iter().map(|entry| (EntryKey::of(entry), Arc::clone(entry))).collect();
        let mut theirs = HashSet::new();
        let mut differing = HashSet::new();
        let mut removed = HashSet::new();
        for entry in files.entries.files() {
            let key = EntryKey::of(entry);
            match own.get(&key) {
                Some(own) if own.expires == entry.expires && own.reason == entry.reason => {
                    theirs.insert(key);
                }
                Some(_) => {
                    differing.insert(key);
                }
                None if removed.contains(&key) => {}
                None => {
                    removed.insert(key.clone());
                    self.removed.push(key);
                }
            }
        }
        // A file may have a key twice: its own is needed unless every one of them is the same.
        theirs.retain(|key| !differing.contains(key));
        self.entries.retain(|entry| !theirs.contains(&EntryKey::of(entry)));
    }

    /// Takes entries out of force, whosever they are. Gives how many that were.
    pub(crate) fn remove(
        &mut self,
        files: &IpListsConfig,
        chosen: impl Fn(&ListEntryConfig) -> bool,
    ) -> Result<usize, Refusal> {
        let mut gone: HashSet<EntryKey> = self.removed.iter().cloned().collect();
        let covered: HashSet<EntryKey> = self.entries.iter().map(|entry| EntryKey::of(entry)).collect();
        let own = self.entries.len();
        let mut count = 0;
        for entry in files.entries.files().iter().filter(|entry| chosen(entry)) {
            let key = EntryKey::of(entry);
            count += usize::from(!gone.contains(&key) && !covered.contains(&key));
            if gone.insert(key.clone()) {
                self.removed.push(key);
            }
        }
        self.entries.retain(|entry| !chosen(entry));
        count += own - self.entries.len();
        if count == 0 { Err(Refusal::NotFound("no such entry is in force".to_owned())) } else { Ok(count) }
    }

    /// Gives up what this layer says about some entries. Gives how many that were.
    pub(crate) fn give_up(&mut self, chosen: impl Fn(&ListEntryConfig) -> bool) -> Result<usize, Refusal> {
        let before = self.len();
        self.entries.retain(|entry| !chosen(entry));
        self.removed.retain(|key| !chosen(&key.as_entry()));
        match before - self.len() {
            0 => Err(Refusal::NotFound("no call has changed such an entry".to_owned())),
            count => Ok(count),
        }
    }

    /// Gives up everything.
    pub(crate) fn give_up_all(&mut self) {
        self.entries.clear();
        self.removed.clear();
    }

    /// Drops the entries that have ended. Gives whether there were any.
    pub(crate) fn drop_expired(&mut self, now_unix: u64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.expires.is_none_or(|expires| now_unix < expires));
        self.entries.len() < before
    }

    /// Whether an entry has ended.
    pub(crate) fn has_expired(&self, now_unix: u64) -> bool {
        self.entries.iter().any(|entry| entry.expires.is_some_and(|expires| expires <= now_unix))
    }
}
