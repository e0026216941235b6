//! The walk of a request through the tree of rules.

use super::check::{Kind, PointKey};
use super::facts::{Facts, decoded};
use super::tree::{Branches, Group, GroupKind, Node, Slot, TailCheck, Tree, Values};
use crate::bytes;
use crate::hosts::Host;
use crate::names::NONE;

/// A value, by what rules compare it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    /// Its number among the values compared by equal; of the host: with its port.
    equal: u32,
    /// Its number among those compared by iequal.
    iequal: u32,
    is_empty: bool,
}

impl Default for Known {
    /// No rule names it.
    fn default() -> Self {
        Self { equal: NONE, iequal: NONE, is_empty: false }
    }
}

/// What is known of a point with one value.
#[derive(Debug, Clone, Copy)]
enum Fact {
    NotLookedAt,
    Absent,
    Value(Known),
}

/// A query parameter or header that some rule names. In the order of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    name: u32,
    value: Known,
}

/// Buffers of the walk.
#[derive(Debug, Default)]
pub(crate) struct MatchScratch {
    facts: Vec<Fact>,
    query: Vec<Occurrence>,
    query_is_read: bool,
    headers: Vec<Occurrence>,
    headers_are_read: bool,
    uri: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    lower: Vec<u8>,
}

impl MatchScratch {
    fn occurrences(&self, group: GroupKind) -> &[Occurrence] {
        match group {
            GroupKind::Query => &self.query,
            GroupKind::Header => &self.headers,
        }
    }
}

/// The first of the rules that match, with its column in the table of modes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    /// Its place in the order of rules.
    pub(crate) rule: u32,
    pub(crate) column: u8,
}

/// Walks the tree. The general mode matches every request, so that there is always a rule.
pub(super) fn first_match(
    tree: &Tree,
    scratch: &mut MatchScratch,
    facts: &Facts<'_>,
    instance: Known,
) -> First {
    scratch.facts.clear();
    scratch.facts.resize(tree.singles.len(), Fact::NotLookedAt);
    if let Some(slot) = tree.instance {
        scratch.facts[slot as usize] = Fact::Value(instance);
    }
    scratch.query_is_read = false;
    scratch.headers_are_read = false;
    let mut walk = Walk { tree, scratch, facts, first: First { rule: NONE, column: 0 } };
    walk.node(tree.root);
    walk.first
}

/// What rules tell apart of an application.
pub(super) fn known_instance(tree: &Tree, application: &[u8]) -> Known {
    let slot = tree.instance.map(|slot| &tree.singles[slot as usize].1);
    slot.map_or_else(Known::default, |values| know(values, application, &mut Vec::new()))
}

struct Walk<'a> {
    tree: &'a Tree,
    scratch: &'a mut MatchScratch,
    facts: &'a Facts<'a>,
    /// The first rule that was found to match so far.
    first: First,
}

impl Walk<'_> {
    fn node(&mut self, mut index: u32) {
        while let Some(&node) = self.tree.nodes.get(index as usize) {
            index = match node {
                Node::Tail { rule, start, end, column } => {
                    if rule < self.first.rule && self.all_hold(start, end) {
                        self.first = First { rule, column };
                    }
                    return;
                }
                Node::Common { best, start, end, next } => {
                    if best >= self.first.rule || !self.all_hold(start, end) {
                        return;
                    }
                    next
                }
                Node::Single { best, .. } | Node::Group { best, .. } | Node::Name { best, .. }
                    if best >= self.first.rule =>
                {
                    return;
                }
                Node::Single { slot, branches, absent, otherwise, .. } => {
                    match self.fact(slot) {
                        Fact::Value(known) => self.branches(index, branches, known),
                        Fact::Absent | Fact::NotLookedAt => self.node(absent),
                    }
                    otherwise
                }
                Node::Group { group, absent_start, absent_end, otherwise, .. } => {
                    self.group(index, group, absent_start..absent_end);
                    otherwise
                }
                Node::Name { .. } => return,
            };
        }
    }

    fn branches(&mut self, node: u32, branches: Branches, known: Known) {
        if branches.equal && known.equal != NONE {
            self.node(self.tree.edges.get(node, known.equal));
        }
        if branches.iequal && known.iequal != NONE {
            self.node(self.tree.edges.get(node, known.iequal));
        }
        if !known.is_empty {
            self.node(branches.present);
        }
    }

    fn group(&mut self, node: u32, group: GroupKind, absent: std::ops::Range<u32>) {
        self.read_group(group);
        let mut next = 0;
        while let Some(&occurrence) = self.scratch.occurrences(group).get(next) {
            next += 1;
            let child = self.tree.edges.get(node, occurrence.name);
            if let Some(&Node::Name { best, branches }) = self.tree.nodes.get(child as usize)
                && best < self.first.rule
            {
                self.branches(child, branches, occurrence.value);
            }
        }
        for &(name, child) in &self.tree.absent_names[absent.start as usize..absent.end as usize] {
            if self.named(group, name).is_empty() {
                self.node(child);
            }
        }
    }

    /// The occurrences of a name; the group was read.
    fn named(&self, group: GroupKind, name: u32) -> &[Occurrence] {
        let all = self.scratch.occurrences(group);
        let start = all.partition_point(|occurrence| occurrence.name < name);
        let count = all[start..].partition_point(|occurrence| occurrence.name == name);
        &all[start..start + count]
    }

    fn all_hold(&mut self, start: u32, end: u32) -> bool {
        let tree = self.tree;
        tree.tails[start as usize..end as usize].iter().all(|check| self.holds(*check))
    }

    fn holds(&mut self, check: TailCheck) -> bool {
        let compare = |known: Known| match check.kind {
            Kind::Equal | Kind::HostWithPort => known.equal == check.value,
            Kind::Iequal => known.iequal == check.value,
            Kind::Present => !known.is_empty,
            Kind::Absent => false,
        };
        match check.slot {
            Slot::Single(slot) => match self.fact(slot) {
                Fact::Value(known) => compare(known),
                Fact::Absent | Fact::NotLookedAt => check.kind == Kind::Absent,
            },
            Slot::Named(group, name) => {
                self.read_group(group);
                let occurrences = self.named(group, name);
                if check.kind == Kind::Absent {
                    occurrences.is_empty()
                } else {
                    occurrences.iter().any(|occurrence| compare(occurrence.value))
                }
            }
        }
    }

    #[inline]
    fn fact(&mut self, slot: u32) -> Fact {
        let fact = self.scratch.facts[slot as usize];
        if matches!(fact, Fact::NotLookedAt) { self.look_at(slot) } else { fact }
    }

    fn look_at(&mut self, slot: u32) -> Fact {
        let (point, values) = &self.tree.singles[slot as usize];
        let MatchScratch { uri, lower, facts, .. } = &mut *self.scratch;
        let fact = match point {
            PointKey::Host if self.facts.host.value.is_empty() => Fact::Absent,
            PointKey::Host => Fact::Value(know_host(values, self.facts.host)),
            PointKey::Uri => {
                self.facts.write_uri(uri);
                Fact::Value(know(values, uri, lower))
            }
            _ => {
                let value = self.facts.single(point);
                value.map_or(Fact::Absent, |value| Fact::Value(know(values, value, lower)))
            }
        };
        facts[slot as usize] = fact;
        fact
    }

    fn read_group(&mut self, group: GroupKind) {
        let MatchScratch { query, query_is_read, headers, headers_are_read, name, value, lower, .. } =
            &mut *self.scratch;
        let names = self.tree.group(group);
        let occurrences = match group {
            GroupKind::Query if !*query_is_read => {
                *query_is_read = true;
                query.clear();
                for (raw_name, raw_value) in self.facts.parameters() {
                    occur(names, decoded(raw_name, name), query, |values| {
                        know(values, decoded(raw_value, value), lower)
                    });
                }
                query
            }
            GroupKind::Header if !*headers_are_read => {
                *headers_are_read = true;
                headers.clear();
                for (raw_name, value) in self.facts.request.headers {
                    if names.name_lengths & Group::length_bit(raw_name) == 0 {
                        continue;
                    }
                    bytes::write_lower(raw_name, name);
                    occur(names, name, headers, |values| know(values, value, lower));
                }
                headers
            }
            _ => return,
        };
        // a request may repeat a name at will: each value that rules tell apart counts once
        occurrences.sort_unstable();
        occurrences.dedup();
    }
}

fn occur(group: &Group, name: &[u8], found: &mut Vec<Occurrence>, know: impl FnOnce(&Values) -> Known) {
    if group.name_lengths & Group::length_bit(name) == 0 {
        return;
    }
    let index = group.names.get(name);
    if index != NONE {
        found.push(Occurrence { name: index, value: know(&group.values[index as usize]) });
    }
}

fn know(values: &Values, value: &[u8], lower: &mut Vec<u8>) -> Known {
    let equal = values.equal.get(value);
    let iequal = if values.iequal.is_empty() {
        NONE
    } else {
        bytes::write_lower(value, lower);
        values.iequal.get(lower)
    };
    Known { equal, iequal, is_empty: value.is_empty() }
}

/// A host is compared by its name alone, or with its port.
fn know_host(values: &Values, host: Host<'_>) -> Known {
    let equal = if host.has_port() { values.equal.get(host.value) } else { NONE };
    Known { equal, iequal: values.iequal.get(host.name), is_empty: host.value.is_empty() }
}
