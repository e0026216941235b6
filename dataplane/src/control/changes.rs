//! What the admin endpoints for rules and lists ask of the rest of the program, and what they get.

use std::fmt;

use ipnet::IpNet;

use crate::config::{EntrySubject, ListKind};

/// A JSON text, and the tag of the version that it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// JSON.
    pub body: String,
    /// The entity tag, in quotes (RFC 9110 section 8.8.3).
    pub tag: String,
}

/// A change of the rules. Texts are JSON as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesChange {
    /// These rules and this general mode, and no others.
    PutAll(String),
    /// This general mode, or the file's.
    SetGeneralMode(String),
    /// One more rule.
    Add(String),
    /// This rule under this id.
    Put(u64, String),
    /// No rule under this id.
    Remove(u64),
    /// Whatever the file says about this id.
    GiveUp(u64),
    /// Whatever the file says.
    GiveUpAll,
}

/// A change of the lists. Texts are JSON as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListsChange {
    /// These entries and no others.
    PutAll(String),
    /// These entries, too.
    Add(String),
    /// Not these entries any more: each names a list, an address and perhaps applications.
    RemoveThese(String),
    /// None of the chosen entries any more.
    Remove(EntryChoice),
    /// Whatever the file says about the chosen entries.
    GiveUp(EntryChoice),
}

/// Which entries are meant. What isn't said is left open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChoice {
    /// Those of this list.
    pub list: Option<ListKind>,
    /// Those about exactly this.
    pub subject: Option<EntrySubject>,
    /// Those whose network covers this one.
    pub covers: Option<IpNet>,
    /// Those of the files (`false`) or of the API (`true`).
    pub of_api: Option<bool>,
}

/// A part of the chosen entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many are left out at the beginning.
    pub offset: usize,
    /// How many there may be.
    pub limit: usize,
}

/// A change that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The generation that it is part of.
    pub generation: u64,
    /// Whether every worker serves that generation; if not they will, when they get to it.
    pub in_force: bool,
    /// Tag of the version that it made.
    pub tag: String,
    /// What is odd since this change.
    pub warnings: Vec<String>,
    /// The rule that was added or put, as it can be got now.
    pub rule: Option<(u64, String)>,
    /// Whether that rule is new.
    pub created: bool,
    /// How many rules or entries were put or removed.
    pub count: usize,
    /// How many there are now.
    pub total: usize,
}

/// A change that was refused: nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What was sent is wrong.
    Invalid(Vec<Wrong>),
    /// What it is about isn't there.
    NotFound(String),
    /// It doesn't go together with what is there.
    Conflict(String),
    /// It was made for another version than that in force, whose tag this is.
    Stale(String),
    /// There would be more than can be kept.
    TooMany(String),
    /// There is no room on the disk.
    NoRoom(String),
    /// It can't be made now.
    Unavailable(String),
}

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The path of the key, as `rules[3].when[0].is`; empty for the whole.
    pub field: String,
    /// Line and column in what was sent, from 1, if they are known.
    pub position: Option<(u32, u32)>,
    /// What was found, and what is allowed.
    pub message: String,
    /// What to do; may be empty.
    pub advice: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}
