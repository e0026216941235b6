//! What the config says about policy, already parsed: the input of [`compile`](crate::compile).

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::kinds::{AttackType, RuleKind};
use crate::mode::{Mode, Override, RuleMode};
use crate::point::Condition;

/// Everything that policy is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// The most global context.
    pub http: ContextSource,
    /// The servers in file order; at least one.
    pub servers: Vec<ServerSource>,
    /// A mode rule without conditions (spec S2.1).
    pub general_mode: RuleMode,
    /// The rules, in any order.
    pub rules: Vec<RuleSource>,
    /// The entries of all address lists, in any order.
    pub lists: Vec<ListEntry>,
    /// The entries of the same lists that are about where addresses belong.
    pub attribute_lists: Vec<AttributeEntry>,
    /// Whether denylisted sources are blocked before anything is inspected (spec S1.4).
    pub acl_access_phase: bool,
    /// The classes of signatures by their ids, as far as they are known: for warnings alone.
    pub signature_classes: HashMap<String, AttackType>,
}

impl Default for PolicySource {
    fn default() -> Self {
        Self {
            http: ContextSource::default(),
            servers: Vec::new(),
            general_mode: RuleMode::Default,
            rules: Vec::new(),
            lists: Vec::new(),
            attribute_lists: Vec::new(),
            acl_access_phase: true,
            signature_classes: HashMap::new(),
        }
    }
}

/// What one context (http, a server, a location) sets. Absent is inherited, each key on its own.
///
/// The local mode is looked for from the location outwards: at each context first in `mode_by_header`, then in `mode`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContextSource {
    /// The local mode; `monitoring` if no context sets one.
    pub mode: Option<Mode>,
    /// `mode` was set by the environment, not by the file: `explain` says so, and the context's `mode_by_header` is
    /// left out of account. Only meaningful in the http context.
    pub mode_from_environment: bool,
    /// How far rules may change the local mode; `on` if no context sets it.
    pub mode_allow_override: Option<Override>,
    /// The local mode by what a header contains.
    pub mode_by_header: Option<ModeByHeader>,
    /// The application that requests belong to; -1 if no context sets one.
    pub application: Option<i64>,
    /// Address lists aren't read here; false if no context sets it.
    pub disable_acl: Option<bool>,
}

/// The local mode as a map (spec S2.1): the strictest of all entries whose text occurs in the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeByHeader {
    /// The header's name, in any case. Each of several headers of that name counts.
    pub header: String,
    /// Text (byte-exact, anywhere in the value) to mode.
    pub contains: BTreeMap<String, Mode>,
}

/// One virtual server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSource {
    /// The name in `explain`, metrics and events; unique.
    pub name: String,
    /// Names without port: exact, or `*.` and a suffix.
    pub hosts: Vec<String>,
    /// Answers hosts that no server names. Without any default server the first one does.
    pub default: bool,
    /// What the server sets.
    pub context: ContextSource,
    /// The locations in file order (which counts among regexes).
    pub locations: Vec<LocationSource>,
}

/// A part of a server, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationSource {
    /// The path, which starts with `/`, or the regex.
    pub path: String,
    /// How `path` is compared.
    pub kind: MatchKind,
    /// What the location sets.
    pub context: ContextSource,
}

/// How a location's path is compared. An exact match wins; otherwise the longest prefix is remembered and wins at once
/// if it is `prefix_final`; otherwise the first regex in file order that matches, and then the remembered prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// The path starts with this.
    #[default]
    Prefix,
    /// The path is this.
    Exact,
    /// As `Prefix`, and no regex is tried when it is the longest one.
    PrefixFinal,
    /// The regex occurs in the path.
    Regex,
    /// The regex occurs in the path, ASCII letters in any case.
    RegexNocase,
}

impl MatchKind {
    /// The name in config files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Exact => "exact",
            Self::PrefixFinal => "prefix_final",
            Self::Regex => "regex",
            Self::RegexNocase => "regex_nocase",
        }
    }
}

/// One rule: a scope and what happens there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSource {
    /// Unique among the rules.
    pub id: u64,
    /// What the rule does.
    pub kind: RuleKind,
    /// The scope in the URI constructor's form (spec S3.2); its conditions and those of `when` add up.
    pub uri: Option<String>,
    /// The scope as conditions that all have to hold.
    pub when: Vec<Condition>,
}

/// One of the three address lists, in the order in which they are read (spec S1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum List {
    /// Passes uninspected.
    Allow = 0,
    /// Is blocked.
    Deny = 1,
    /// Attacks are blocked in `safe_blocking`; read only there.
    Gray = 2,
}

impl List {
    /// All lists, in the order in which they are read.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Gray];

    /// The name in config files, events and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Gray => "gray",
        }
    }
}

/// An address or a network on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// The list.
    pub list: List,
    /// The network. IPv4 clients that arrive as `::ffff:a.b.c.d` count as IPv4; so do such entries.
    pub address: IpNet,
    /// The applications that it holds for; none means all.
    pub applications: Vec<i64>,
    /// Unix time in seconds from which on it no longer holds; absent is never.
    pub expires: Option<u64>,
    /// For people and events.
    pub reason: Option<String>,
}

/// What a database may tell of an address, in the order in which lists are asked for it (spec S1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Attribute {
    /// Whose data centre it is in.
    Datacenter = 0,
    /// What kind of proxy it is.
    Proxy = 1,
    /// The country that it is in.
    Country = 2,
}

impl Attribute {
    /// The name in config files, events and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Datacenter => "datacenter",
            Self::Proxy => "proxy",
            Self::Country => "country",
        }
    }
}

/// All addresses of a kind, on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeEntry {
    /// The list.
    pub list: List,
    /// What is asked of the address.
    pub attribute: Attribute,
    /// What it has to be. Case counts.
    pub name: String,
    /// The applications that it holds for; none means all.
    pub applications: Vec<i64>,
    /// Unix time in seconds from which on it no longer holds; absent is never.
    pub expires: Option<u64>,
    /// For people and events.
    pub reason: Option<String>,
}
