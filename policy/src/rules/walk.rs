//! The walk of a request through the tree of rules.

use std::cell::RefCell;

use super::check::{Check, Kind, PointKey};
use super::edges::Table;
use super::facts::{Facts, decoded};
use super::tree::{
    Branches, By, EMPTY_EQUAL, EMPTY_IEQUAL, Group, GroupKind, KindMatcher, Node, RegexKind, RegexPlace,
    Single, Slot, TailCheck, Tree, Values,
};
use crate::bytes;
use crate::hosts::Host;
use crate::names::NONE;
use crate::regex::{Buffer, Scanner};

/// A value, by the numbers of what rules compare it with. `NONE` is what no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    /// Its number among the values compared by equal; of the host: with its port.
    equal: u32,
    /// Its number among those compared by iequal.
    iequal: u32,
}

impl Known {
    /// The empty value has the same numbers at every point.
    const EMPTY: Self = Self { equal: EMPTY_EQUAL, iequal: EMPTY_IEQUAL };
    /// There is no value.
    const ABSENT: Self = Self { equal: NONE - 1, iequal: NONE - 1 };
    const NOT_LOOKED_AT: Self = Self { equal: NONE - 2, iequal: NONE - 2 };

    #[inline(always)]
    const fn is_absent(self) -> bool {
        self.equal == Self::ABSENT.equal
    }

    /// There and not empty.
    fn is_present(self) -> bool {
        self.equal != Self::EMPTY.equal && self.equal != Self::ABSENT.equal
    }

    fn meets(self, kind: Kind, value: u32) -> bool {
        match kind {
            Kind::Equal | Kind::HostWithPort => self.equal == value,
            Kind::Iequal => self.iequal == value,
            Kind::Present => self.is_present(),
            Kind::Absent => self.is_absent(),
            Kind::Regex => false, // not told by this: see `Walk::regex_holds`
        }
    }
}

impl Default for Known {
    /// Not empty, and no rule names it.
    fn default() -> Self {
        Self { equal: NONE, iequal: NONE }
    }
}

/// A query parameter or header that some rule names. In the order of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    name: u32,
    value: Known,
}

const NOT_SCANNED: (u32, u32) = (NONE, NONE);

/// Buffers of the walk.
#[derive(Debug, Default)]
pub(crate) struct MatchScratch {
    /// By the places of points in `singles`.
    facts: Vec<Known>,
    /// Nodes that are still to be walked, the next one last.
    pending: Vec<u32>,
    query: Vec<Occurrence>,
    query_is_read: bool,
    headers: Vec<Occurrence>,
    headers_are_read: bool,
    uri: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    lower: Vec<u8>,
    /// By matcher: where the regexes that match stand in `hits`; [`NOT_SCANNED`] before that is known.
    scans: Vec<(u32, u32)>,
    /// Numbers of regexes, in order within each scan.
    hits: Vec<u32>,
    buffer: Buffer,
    pub(crate) scanner: Scanner,
    /// The request is the one before with its path read otherwise: what doesn't hang on the path is known.
    pub(crate) is_read_again: bool,
    /// Numbers of what matches beside mode rules.
    pub(super) effects: Vec<u32>,
}

impl MatchScratch {
    /// Forgets the last request, and looks at points of this one.
    #[inline(never)]
    fn prepare(&mut self, tree: &Tree, facts: &Facts<'_>, instance: Known) {
        let Self { facts: all, lower, .. } = self;
        if all.len() != tree.singles.len() {
            all.resize(tree.singles.len(), Known::NOT_LOOKED_AT);
        }
        let ahead = &tree.ahead;
        for &slot in &ahead.others {
            all[slot as usize] = Known::NOT_LOOKED_AT;
        }
        if let Some(slot) = tree.instance {
            all[slot as usize] = instance;
        }
        let path = &facts.path;
        for (slot, index) in ahead.segments.into_iter().zip(0..) {
            look(tree, all, slot, path.segment(index), lower);
        }
        look(tree, all, ahead.action_name, Some(path.action_name()), lower);
        look(tree, all, ahead.action_ext, path.action_ext(), lower);
        look(tree, all, ahead.method, Some(facts.request.method), lower);
        if let (Some(single), Some(place)) =
            (tree.singles.get(ahead.host as usize), all.get_mut(ahead.host as usize))
        {
            *place = know_host(tree, single.values, facts.host);
        }
        if self.is_read_again {
            for (scan, of) in self.scans.iter_mut().zip(&tree.matchers) {
                if of.kind.hangs_on_path() {
                    *scan = NOT_SCANNED;
                }
            }
            return;
        }
        self.query_is_read = false;
        self.headers_are_read = false;
        if !tree.matchers.is_empty() {
            self.scans.clear();
            self.scans.resize(tree.matchers.len(), NOT_SCANNED);
            self.hits.clear();
        }
    }

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

/// Walks the tree for the mode. The general mode matches every request, so that there is always a rule.
pub(super) fn first_match(
    tree: &Tree,
    scratch: &mut MatchScratch,
    facts: &Facts<'_>,
    instance: Known,
) -> First {
    scratch.prepare(tree, facts, instance);
    let mut walk = Walk { tree, scratch, facts, first: First { rule: NONE, column: 0 }, collects: false };
    walk.from(tree.modes);
    walk.first
}

/// Walks the tree for all rules that aren't about the mode, with what [`first_match`] found out about the same request;
/// the numbers of those that match are in `scratch.effects`, in no order.
pub(super) fn collect_effects(tree: &Tree, scratch: &mut MatchScratch, facts: &Facts<'_>) {
    scratch.effects.clear();
    if tree.effects != NONE {
        let first = First { rule: NONE, column: 0 };
        Walk { tree, scratch, facts, first, collects: true }.from(tree.effects);
    }
}

/// What rules tell apart of an application.
pub(super) fn known_instance(tree: &Tree, application: &[u8]) -> Known {
    let values = tree.instance.map(|slot| tree.singles[slot as usize].values);
    values.map_or_else(Known::default, |values| know(tree, values, application, &mut Vec::new()))
}

/// Asks regexes one by one, for whoever doesn't walk the tree.
#[derive(Debug)]
pub(super) struct RegexAnswers<'a> {
    tree: &'a Tree,
    scratch: RefCell<MatchScratch>,
    facts: &'a Facts<'a>,
}

impl<'a> RegexAnswers<'a> {
    pub(super) fn new(tree: &'a Tree, facts: &'a Facts<'a>) -> Self {
        let mut scratch = MatchScratch::default();
        scratch.prepare(tree, facts, Known::default());
        // a scratch of its own is fitted once, to this policy
        scratch.scanner.fit(1, tree.databases());
        Self { tree, scratch: RefCell::new(scratch), facts }
    }

    /// Whether the regex of a check matches.
    pub(super) fn holds(&self, check: &Check) -> bool {
        let Some(&RegexPlace { matcher, number }) =
            self.tree.regexes.get(&(check.point.clone(), check.value.clone()))
        else {
            return false;
        };
        let scratch = &mut *self.scratch.borrow_mut();
        let first = First { rule: NONE, column: 0 };
        let mut walk = Walk { tree: self.tree, scratch, facts: self.facts, first, collects: false };
        walk.regex_holds(matcher, number)
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    scratch: &'a mut MatchScratch,
    facts: &'a Facts<'a>,
    /// The first rule that was found to match so far.
    first: First,
    /// All that match are wanted, not the first one.
    collects: bool,
}

impl Walk<'_> {
    /// Walks all that may still win below a node, what is most specific first.
    fn from(&mut self, root: u32) {
        self.scratch.pending.clear();
        let mut next = root;
        loop {
            next = self.node(next);
            if next == NONE {
                let Some(pending) = self.scratch.pending.pop() else { return };
                next = pending;
            }
        }
    }

    /// Visits a node: one that follows from it, or [`NONE`]; further ones are pending.
    #[inline(always)]
    fn node(&mut self, index: u32) -> u32 {
        let tree = self.tree;
        match tree.nodes[index as usize] {
            Node::Tail { rule, start, end, column } => {
                if rule < self.first.rule && self.all_hold(start, end) {
                    self.matched(rule, column);
                }
                NONE
            }
            Node::TailOfOne { rule, column, check } => {
                if rule < self.first.rule && self.holds(check) {
                    self.matched(rule, column);
                }
                NONE
            }
            Node::Common { best, start, end, next } => {
                if best < self.first.rule && self.all_hold(start, end) {
                    return next;
                }
                NONE
            }
            Node::Single { best, slot, branches, absent, otherwise } => {
                if best >= self.first.rule {
                    return NONE;
                }
                let known = self.fact(slot);
                if known.is_absent() {
                    self.either(otherwise, absent)
                } else {
                    self.branches(otherwise, branches, known, |tree| tree.singles[slot as usize].regexes)
                }
            }
            Node::Group { best, group, edges, absent_start, absent_end, otherwise } => {
                if best >= self.first.rule {
                    return NONE;
                }
                self.group(otherwise, edges, group, absent_start..absent_end)
            }
            Node::Name { .. } => NONE,
        }
    }

    #[inline(always)]
    fn matched(&mut self, rule: u32, column: u8) {
        if self.collects {
            self.scratch.effects.push(rule);
        } else {
            self.first = First { rule, column };
        }
    }

    /// Of two nodes the one to be walked first, `sooner` if there is one; the other one is pending.
    #[inline(always)]
    fn either(&mut self, later: u32, sooner: u32) -> u32 {
        if sooner == NONE {
            return later;
        }
        if later != NONE {
            self.scratch.pending.push(later);
        }
        sooner
    }

    /// What follows from a value, and `next` behind all that. `matcher` gives that of the point's regexes.
    #[inline(always)]
    fn branches(
        &mut self,
        mut next: u32,
        branches: Branches,
        known: Known,
        matcher: impl FnOnce(&Tree) -> u32,
    ) -> u32 {
        let edges = branches.edges();
        let by = branches.by;
        if by.without(By::EQUAL) != By::NOTHING {
            if by.has(By::PRESENCE) && known.is_present() {
                next = self.either(next, branches.present);
            }
            if by.has(By::REGEX) {
                for at in self.hits(matcher(self.tree)) {
                    next = self.either(next, self.tree.edges.get(edges, self.scratch.hits[at]));
                }
            }
            if by.has(By::IEQUAL) && known.iequal != NONE {
                next = self.either(next, self.tree.edges.get(edges, known.iequal));
            }
        }
        if by.has(By::EQUAL) && known.equal != NONE {
            next = self.either(next, self.tree.edges.get(edges, known.equal));
        }
        next
    }

    fn group(&mut self, mut next: u32, edges: Table, group: GroupKind, absent: std::ops::Range<u32>) -> u32 {
        let tree = self.tree;
        self.read_group(group);
        for &(name, child) in &tree.absent_names[absent.start as usize..absent.end as usize] {
            if self.named(group, name).is_empty() {
                next = self.either(next, child);
            }
        }
        let mut at = 0;
        while let Some(&occurrence) = self.scratch.occurrences(group).get(at) {
            at += 1;
            let child = tree.edges.get(edges, occurrence.name);
            if let Some(&Node::Name { best, branches }) = tree.nodes.get(child as usize)
                && best < self.first.rule
            {
                // regexes are asked of all values of a name at once
                let is_first = at < 2 || self.scratch.occurrences(group)[at - 2].name != occurrence.name;
                let mut branches = branches;
                if !is_first {
                    branches.by = branches.by.without(By::REGEX);
                }
                next = self.branches(next, branches, occurrence.value, |tree| tree.group(group).regexes);
            }
        }
        next
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

    #[inline(always)]
    fn holds(&mut self, check: TailCheck) -> bool {
        match (check.slot, check.kind) {
            (Slot::Single(slot), Kind::Equal) => self.fact(slot).equal == check.value,
            (Slot::Single(slot), Kind::Absent) => self.fact(slot).is_absent(),
            _ => self.other_holds(check),
        }
    }

    #[inline(never)]
    fn other_holds(&mut self, check: TailCheck) -> bool {
        if check.kind == Kind::Regex {
            let matcher = match check.slot {
                Slot::Single(slot) => self.tree.singles[slot as usize].regexes,
                Slot::Named(group, _) => self.tree.group(group).regexes,
            };
            return self.regex_holds(matcher, check.value);
        }
        match check.slot {
            Slot::Single(slot) => self.fact(slot).meets(check.kind, check.value),
            Slot::Named(group, name) => {
                self.read_group(group);
                let occurrences = self.named(group, name);
                if check.kind == Kind::Absent {
                    occurrences.is_empty()
                } else {
                    occurrences.iter().any(|occurrence| occurrence.value.meets(check.kind, check.value))
                }
            }
        }
    }

    /// Whether a regex matches.
    fn regex_holds(&mut self, matcher: u32, number: u32) -> bool {
        let hits = self.hits(matcher);
        self.scratch.hits[hits].binary_search(&number).is_ok()
    }

    /// Where the regexes of a kind of point that match stand in the scratch's `hits`. The first question scans.
    #[inline]
    fn hits(&mut self, matcher: u32) -> std::ops::Range<usize> {
        let (start, end) = match self.scratch.scans.get(matcher as usize) {
            Some(&NOT_SCANNED) => self.scan(matcher as usize),
            Some(&known) => known,
            None => (0, 0),
        };
        start as usize..end as usize
    }

    #[inline(never)]
    fn scan(&mut self, index: usize) -> (u32, u32) {
        let KindMatcher { matcher, kind } = &self.tree.matchers[index];
        let MatchScratch { buffer, hits, scanner, scans, uri, name, value, .. } = &mut *self.scratch;
        buffer.clear();
        let facts = self.facts;
        match kind {
            RegexKind::Point(PointKey::Host) => {
                matcher.add_value(0, facts.host.name, buffer);
                if facts.host.has_port() {
                    matcher.add_value(0, facts.host.value, buffer);
                }
            }
            RegexKind::Point(PointKey::Uri) => {
                facts.write_uri(uri);
                matcher.add_value(0, uri, buffer);
            }
            RegexKind::Point(point) => matcher.add_value(0, facts.single(point).unwrap_or_default(), buffer),
            RegexKind::Path(segments) => {
                for &segment in segments {
                    matcher.add_value(segment, facts.path.segment(segment).unwrap_or_default(), buffer);
                }
            }
            RegexKind::Group(group) => {
                let names = self.tree.group(*group);
                let mut add = |found: &[u8], given: &[u8]| {
                    let index = names.names.get(found);
                    if names.values.get(index as usize).is_some_and(|values| values.has_regexes) {
                        matcher.add_value(index, given, buffer);
                    }
                };
                match group {
                    GroupKind::Query => facts.parameters().for_each(|(raw_name, raw_value)| {
                        add(decoded(raw_name, name), decoded(raw_value, value));
                    }),
                    GroupKind::Header => facts.request.headers.iter().for_each(|(raw_name, given)| {
                        bytes::write_lower(raw_name, name);
                        add(name, given);
                    }),
                }
            }
        }
        let start = hits.len() as u32;
        matcher.matches(scanner, buffer, hits);
        scans[index] = (start, hits.len() as u32);
        scans[index]
    }

    #[inline(always)]
    fn fact(&mut self, slot: u32) -> Known {
        let known = self.scratch.facts[slot as usize];
        if known.equal == Known::NOT_LOOKED_AT.equal { self.look_at(slot) } else { known }
    }

    #[inline(never)]
    fn look_at(&mut self, slot: u32) -> Known {
        let tree = self.tree;
        let Single { point, values, .. } = &tree.singles[slot as usize];
        let MatchScratch { uri, lower, facts, .. } = &mut *self.scratch;
        let known = match point {
            PointKey::Host => know_host(tree, *values, self.facts.host),
            PointKey::Uri => {
                self.facts.write_uri(uri);
                know(tree, *values, uri, lower)
            }
            _ => know_single(tree, *values, self.facts.single(point), lower),
        };
        facts[slot as usize] = known;
        known
    }

    fn read_group(&mut self, group: GroupKind) {
        let MatchScratch { query, query_is_read, headers, headers_are_read, name, value, lower, .. } =
            &mut *self.scratch;
        let tree = self.tree;
        let names = tree.group(group);
        let occurrences = match group {
            GroupKind::Query if !*query_is_read => {
                *query_is_read = true;
                query.clear();
                for (raw_name, raw_value) in self.facts.parameters() {
                    occur(names, decoded(raw_name, name), query, |values| {
                        know(tree, values, decoded(raw_value, value), lower)
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
                    occur(names, name, headers, |values| know(tree, values, value, lower));
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

/// Looks at the value of a point, if rules look at that point.
#[inline(always)]
fn look(tree: &Tree, facts: &mut [Known], slot: u32, value: Option<&[u8]>, lower: &mut Vec<u8>) {
    let slot = slot as usize;
    if let (Some(single), Some(place)) = (tree.singles.get(slot), facts.get_mut(slot)) {
        *place = know_single(tree, single.values, value, lower);
    }
}

fn occur(group: &Group, name: &[u8], found: &mut Vec<Occurrence>, know: impl FnOnce(Values) -> Known) {
    if group.name_lengths & Group::length_bit(name) == 0 {
        return;
    }
    let index = group.names.get(name);
    if index != NONE {
        found.push(Occurrence { name: index, value: know(group.values[index as usize]) });
    }
}

#[inline(always)]
fn know(tree: &Tree, values: Values, value: &[u8], lower: &mut Vec<u8>) -> Known {
    if value.is_empty() {
        return Known::EMPTY;
    }
    let equal = if values.equal { tree.texts.get_in(values.space, value) } else { NONE };
    let iequal = if values.iequal { number_in_any_case(tree, values, value, lower) } else { NONE };
    Known { equal, iequal }
}

#[inline(always)]
fn know_single(tree: &Tree, values: Values, value: Option<&[u8]>, lower: &mut Vec<u8>) -> Known {
    match value {
        Some(value) => know(tree, values, value, lower),
        None => Known::ABSENT,
    }
}

#[inline(never)]
fn number_in_any_case(tree: &Tree, values: Values, value: &[u8], lower: &mut Vec<u8>) -> u32 {
    bytes::write_lower(value, lower);
    tree.texts.get_in(values.space + 1, lower)
}

/// A host is compared by its name alone, or with its port.
#[inline(always)]
fn know_host(tree: &Tree, values: Values, host: Host<'_>) -> Known {
    if host.value.is_empty() {
        return Known::ABSENT;
    }
    let equal =
        if values.equal && host.has_port() { tree.texts.get_in(values.space, host.value) } else { NONE };
    let iequal = match (host.name.is_empty(), values.iequal) {
        (true, _) => EMPTY_IEQUAL,
        (false, true) => tree.texts.get_in(values.space + 1, host.name),
        (false, false) => NONE,
    };
    Known { equal, iequal }
}
