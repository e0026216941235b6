//! Rules, lists, and what tells where addresses belong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Place, Point, RuleKind, RuleMode, Test};
use crate::config::entries::ListEntries;
use crate::config::http::canonical_network;

/// `[rules]` and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesConfig {
    /// The file; `None` = no rules.
    pub file: Option<PathBuf>,
    /// Names what the file says; empty without one.
    pub digest: String,
    /// The general mode.
    pub general_mode: RuleMode,
    /// Where that is written, if it is.
    pub general_mode_place: Option<Place>,
    /// Rules in file order.
    pub rules: Vec<Arc<RuleConfig>>,
    /// The ids of those that can't be read, each of which is an error; 0 for one whose id can't be read either.
    pub unread_ids: Vec<u64>,
    /// The file in `state_dir` that what comes over the admin API is written in.
    pub api_file: Option<Arc<Path>>,
}

impl RulesConfig {
    /// Whether what is written at a place came over the admin API.
    pub(crate) fn is_of_api(&self, place: &Place) -> bool {
        self.api_file.as_ref().is_some_and(|file| *file == place.file)
    }
}

/// `[[rule]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleConfig {
    /// Where it is written.
    pub place: Place,
    /// All its keys as one JSON object, in the order of their names.
    pub document: Box<str>,
    /// Id, unique among rules, from 1.
    pub id: u64,
    /// What it does.
    pub kind: RuleKind,
    /// URI constructor (spec S3.2), as written.
    pub uri: Option<String>,
    /// Explicit conditions, which add up with those of `uri`.
    pub when: Vec<ConditionConfig>,
}

/// `[[rule.when]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionConfig {
    /// Where it is written.
    pub place: Place,
    /// The part of the request it looks at.
    pub point: Point,
    /// How it compares.
    pub is: Test,
    /// What it compares with; empty for [`Test::Absent`].
    pub value: String,
}

/// `[ip_lists]` and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpListsConfig {
    /// The file; `None` = no lists.
    pub file: Option<PathBuf>,
    /// What tells where addresses belong.
    pub databases: AddressDatabasesConfig,
    /// Names what the file says; empty without one.
    pub digest: String,
    /// Entries in file order.
    pub entries: ListEntries,
}

/// `[[entry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntryConfig {
    /// Where it is written.
    pub place: Place,
    /// Which list.
    pub list: ListKind,
    /// Whom it is about.
    pub subject: EntrySubject,
    /// Application ids it holds for; empty = all.
    pub applications: Vec<i64>,
    /// Unix time in seconds at which it ends; `None` = never.
    pub expires: Option<u64>,
    /// Why it is there.
    pub reason: Option<String>,
}

/// Whom a list entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntrySubject {
    /// A network, without host bits; IPv4 inside IPv6 is plain IPv4 here.
    Address(IpNet),
    /// A country: two letters in upper case.
    Country(Box<str>),
    /// The operator of data centres, in lower case.
    Datacenter(Box<str>),
    /// A kind of proxy, in lower case.
    Proxy(Box<str>),
}

impl EntrySubject {
    /// The network without its host bits; all else as it is.
    pub(crate) fn canonical(self) -> Self {
        match self {
            Self::Address(network) => Self::Address(canonical_network(network)),
            other => other,
        }
    }

    /// The network, if it is one.
    #[must_use]
    pub const fn network(&self) -> Option<&IpNet> {
        match self {
            Self::Address(network) => Some(network),
            _ => None,
        }
    }

    /// The key that says it, and its value as it is written; a network of one address as that address.
    #[must_use]
    pub fn written(&self) -> (&'static str, String) {
        match self {
            Self::Address(network) if network.prefix_len() == network.max_prefix_len() => {
                ("address", network.addr().to_string())
            }
            Self::Address(network) => ("address", network.to_string()),
            Self::Country(code) => ("country", code.to_string()),
            Self::Datacenter(name) => ("datacenter", name.to_string()),
            Self::Proxy(kind) => ("proxy", kind.to_string()),
        }
    }
}

/// The files of `[ip_lists]` that tell where addresses belong; `None` = no entries of that kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressDatabasesConfig {
    /// Which country.
    pub country: Option<PathBuf>,
    /// Whose data centre.
    pub datacenter: Option<PathBuf>,
    /// What kind of proxy.
    pub proxy: Option<PathBuf>,
}

/// An IP list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    /// Passes uninspected.
    Allow,
    /// Is blocked.
    Deny,
    /// Is blocked in `safe_blocking` when it attacks.
    Gray,
}

impl ListKind {
    /// The list of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "allow" => Some(Self::Allow),
            "deny" => Some(Self::Deny),
            "gray" => Some(Self::Gray),
            _ => None,
        }
    }
}
