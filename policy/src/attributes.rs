//! List entries about where addresses belong: a country, a data centre, a kind of proxy (spec S1.3).
//!
//! What an address is comes from databases that this crate knows nothing of. The names that entries use have numbers
//! here; whoever looks an address up turns the names that it finds into these numbers, once a connection, and a
//! request then costs a comparison of numbers.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::source::{Attribute, AttributeEntry, List};

/// A name that entries use, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttributeName(u32);

/// No name, or one that no entry uses.
const NONE: AttributeName = AttributeName(0);

/// Kinds of proxy that an address may be at once; further ones don't count.
pub const PROXY_KINDS_MAX: usize = 6;

/// What is known of an address. Only good for the policy that gave the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Whose data centre it is in.
    pub datacenter: AttributeName,
    /// What kinds of proxy it is.
    pub proxies: [AttributeName; PROXY_KINDS_MAX],
    /// The country that it is in.
    pub country: AttributeName,
}

impl Attributes {
    /// In the order in which lists are asked for them (spec S1.3).
    fn names(&self) -> impl Iterator<Item = AttributeName> {
        let names = [self.datacenter].into_iter().chain(self.proxies).chain([self.country]);
        names.filter(|name| *name != NONE)
    }
}

/// A client: its address, and what is known of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address.
    pub address: IpAddr,
    /// What is known of it.
    pub attributes: Attributes,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self { address, attributes: Attributes::default() }
    }
}

#[derive(Debug)]
struct Entry {
    list: List,
    /// Unix seconds; `u64::MAX` is never.
    expires: u64,
    applications: Box<[i64]>,
    /// Index in the source.
    source: usize,
}

/// The compiled entries.
#[derive(Debug, Default)]
pub(crate) struct AttributeLists {
    /// By attribute.
    names: [HashMap<Box<str>, AttributeName>; 3],
    /// The entries of each name, by its number; the first are those of no name.
    entries: Vec<Vec<Entry>>,
}

impl AttributeLists {
    pub(crate) fn new(source: &[AttributeEntry]) -> Self {
        let mut lists = Self { entries: vec![Vec::new()], ..Self::default() };
        for (index, entry) in source.iter().enumerate() {
            let next = AttributeName(lists.entries.len() as u32);
            let names = &mut lists.names[entry.attribute as usize];
            let name = *names.entry(entry.name.as_str().into()).or_insert(next);
            if name == next {
                lists.entries.push(Vec::new());
            }
            lists.entries[name.0 as usize].push(Entry {
                list: entry.list,
                expires: entry.expires.unwrap_or(u64::MAX),
                applications: entry.applications.as_slice().into(),
                source: index,
            });
        }
        lists
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() <= 1
    }

    /// Whether any entry is about this attribute.
    pub(crate) fn uses(&self, attribute: Attribute) -> bool {
        !self.names[attribute as usize].is_empty()
    }

    /// The number of a name, if any entry uses it.
    pub(crate) fn name(&self, attribute: Attribute, name: &str) -> Option<AttributeName> {
        self.names[attribute as usize].get(name).copied()
    }

    /// The first list that holds the client, in the order allow, deny, gray; gray only if it is to be read.
    pub(crate) fn find(
        &self,
        attributes: &Attributes,
        application: i64,
        now: u64,
        read_gray: bool,
    ) -> Option<List> {
        if self.is_empty() {
            return None;
        }
        let read = |list: &List| read_gray || *list != List::Gray;
        let holding = attributes.names().flat_map(|name| self.holding(name, application, now));
        holding.map(|entry| entry.list).filter(read).min()
    }

    /// The entry that puts the client on a list, as an index into the source.
    pub(crate) fn entry_of(
        &self,
        attributes: &Attributes,
        list: List,
        application: i64,
        now: u64,
    ) -> Option<usize> {
        let mut holding = attributes.names().flat_map(|name| self.holding(name, application, now));
        holding.find(|entry| entry.list == list).map(|entry| entry.source)
    }

    /// All entries about what the client is, as indexes into the source, in the order in which lists are asked.
    pub(crate) fn covering(&self, attributes: &Attributes) -> impl Iterator<Item = usize> {
        let mut names: Vec<AttributeName> = Vec::new();
        for name in attributes.names() {
            // (databases may say the same twice)
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let entries =
            names.into_iter().flat_map(|name| self.entries.get(name.0 as usize).into_iter().flatten());
        entries.map(|entry| entry.source)
    }

    fn holding(&self, name: AttributeName, application: i64, now: u64) -> impl Iterator<Item = &Entry> {
        let holds = move |entry: &&Entry| {
            now < entry.expires
                && (entry.applications.is_empty() || entry.applications.contains(&application))
        };
        self.entries.get(name.0 as usize).into_iter().flatten().filter(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(list: List, attribute: Attribute, name: &str) -> AttributeEntry {
        AttributeEntry {
            list,
            attribute,
            name: name.to_owned(),
            applications: Vec::new(),
            expires: None,
            reason: None,
        }
    }

    fn attributes(lists: &AttributeLists, datacenter: &str, proxy: &str, country: &str) -> Attributes {
        let name = |attribute, name| lists.name(attribute, name).unwrap_or_default();
        let mut proxies = [NONE; PROXY_KINDS_MAX];
        proxies[1] = name(Attribute::Proxy, proxy);
        Attributes {
            datacenter: name(Attribute::Datacenter, datacenter),
            proxies,
            country: name(Attribute::Country, country),
        }
    }

    #[test]
    fn the_list_counts_before_the_kind_and_the_kind_before_the_order() {
        let lists = AttributeLists::new(&[
            entry(List::Deny, Attribute::Country, "NL"),
            entry(List::Deny, Attribute::Proxy, "tor"),
            entry(List::Deny, Attribute::Datacenter, "aws"),
            entry(List::Allow, Attribute::Country, "DE"),
            entry(List::Gray, Attribute::Proxy, "NL"),
        ]);
        let find = |datacenter, proxy, country| {
            let attributes = attributes(&lists, datacenter, proxy, country);
            let list = lists.find(&attributes, 1, 0, true)?;
            Some((list, lists.entry_of(&attributes, list, 1, 0)?))
        };
        assert_eq!(find("aws", "tor", "NL"), Some((List::Deny, 2)));
        assert_eq!(find("gcp", "tor", "NL"), Some((List::Deny, 1)));
        assert_eq!(find("", "", "NL"), Some((List::Deny, 0)));
        assert_eq!(find("aws", "tor", "DE"), Some((List::Allow, 3)), "allow goes before deny");
        assert_eq!(find("", "NL", ""), Some((List::Gray, 4)), "a name is one of its kind");
        assert_eq!(find("", "", "FR"), None);
        let gray = attributes(&lists, "", "NL", "");
        assert_eq!(lists.find(&gray, 1, 0, false), None, "gray is read on request alone");
    }

    #[test]
    fn entries_end_and_hold_for_their_applications() {
        let lists = AttributeLists::new(&[
            AttributeEntry { expires: Some(100), ..entry(List::Allow, Attribute::Country, "NL") },
            AttributeEntry { applications: vec![7], ..entry(List::Deny, Attribute::Country, "NL") },
        ]);
        let from = attributes(&lists, "", "", "NL");
        assert_eq!(lists.find(&from, 7, 99, true), Some(List::Allow));
        assert_eq!(lists.find(&from, 7, 100, true), Some(List::Deny));
        assert_eq!(lists.find(&from, 8, 100, true), None);
    }
}
