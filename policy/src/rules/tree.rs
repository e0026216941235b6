//! Rules as a decision tree: a request walks only through what it matches.
//!
//! The rules are sorted, most specific first; a rule's number is its place in that order, and the least number among the
//! rules that match wins. A rule's checks are sorted by point. Rules whose checks begin alike share a path from the root;
//! each node asks for one point (or one query key or header of many) and holds one table entry per value that some rule
//! names, so that the cost hangs on what a request matches, not on how many rules there are. Each node knows the least
//! number below it: what can't win any more is not walked. Checks that all rules below have in common, and those that are left where
//! one rule is left, stand in a row.

use std::collections::{BTreeMap, HashMap};

use weir_hyperscan::Database;

use super::check::{Check, Kind, PointKey};
use super::edges::{Edge, Edges, Table};
use crate::names::{NONE, Names};
use crate::regex::{Matcher, Refusal};

/// The values of a point that rules compare it with. Their numbers are unique over all points and kinds; they are in
/// [`Tree::texts`], in two spaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values {
    /// The space of those compared by equal; that of those compared by iequal, in lower case, is the next one.
    pub(super) space: u32,
    /// Some are compared by equal; for the host: values with a port.
    pub(super) equal: bool,
    /// Some are compared by iequal.
    pub(super) iequal: bool,
    /// Rules have regexes for it.
    pub(super) has_regexes: bool,
}

/// The numbers of the empty value, compared by equal and by iequal. All others have greater ones.
pub(super) const EMPTY_EQUAL: u32 = 0;
pub(super) const EMPTY_IEQUAL: u32 = 1;

/// Query keys or headers: points of which a request has many.
#[derive(Debug)]
pub(super) struct Group {
    /// Name to index in `values`.
    pub(super) names: Names,
    pub(super) values: Vec<Values>,
    /// Bit n: a name of n bytes exists; bit 63 stands for all longer ones.
    pub(super) name_lengths: u64,
    /// The matcher of its regexes, or [`NONE`].
    pub(super) regexes: u32,
}

impl Default for Group {
    fn default() -> Self {
        Self { names: Names::default(), values: Vec::new(), name_lengths: 0, regexes: NONE }
    }
}

impl Group {
    pub(super) fn length_bit(name: &[u8]) -> u64 {
        1 << name.len().min(63)
    }
}

/// Which of the two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum GroupKind {
    Query,
    Header,
}

/// A point in the tree: of those with one value, or a named one of a group.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Single(u32),
    Named(GroupKind, u32),
}

/// A check in a row of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailCheck {
    pub(super) slot: Slot,
    pub(super) kind: Kind,
    pub(super) value: u32,
}

/// Ways from a value to what follows, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct By(u8);

impl By {
    pub(super) const NOTHING: Self = Self(0);
    /// Edges by equal.
    pub(super) const EQUAL: Self = Self(1);
    /// Edges by iequal.
    pub(super) const IEQUAL: Self = Self(2);
    /// Edges by regex.
    pub(super) const REGEX: Self = Self(4);
    /// That there is a value.
    pub(super) const PRESENCE: Self = Self(8);

    /// Whether there is one of these ways.
    #[inline(always)]
    pub(super) const fn has(self, ways: Self) -> bool {
        self.0 & ways.0 != 0
    }

    /// All ways but these.
    #[inline(always)]
    pub(super) const fn without(self, ways: Self) -> Self {
        Self(self.0 & !ways.0)
    }

    const fn add(&mut self, ways: Self) {
        self.0 |= ways.0;
    }
}

/// What follows from the value of a point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branches {
    /// How what follows is found.
    pub(super) by: By,
    /// The edges: bits and start of their table.
    edge_bits: u8,
    edges_start: u32,
    /// For every value that isn't empty.
    pub(super) present: u32,
}

impl Branches {
    /// The table of the edges.
    #[inline(always)]
    pub(super) const fn edges(&self) -> Table {
        Table { start: self.edges_start, bits: self.edge_bits }
    }
}

/// Half a cache line, so that none is in two.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) enum Node {
    /// One rule is left, with these checks; its column in the table of modes is at hand.
    Tail { rule: u32, start: u32, end: u32, column: u8 },
    /// The same with one check, which is at hand too.
    TailOfOne { rule: u32, column: u8, check: TailCheck },
    /// These checks are common to all rules that follow.
    Common { best: u32, start: u32, end: u32, next: u32 },
    /// Asks for a point with one value.
    Single { best: u32, slot: u32, branches: Branches, absent: u32, otherwise: u32 },
    /// Asks for all names of a group: edges by name lead to `Name` nodes; then the range of names that are to be absent.
    Group { best: u32, group: GroupKind, edges: Table, absent_start: u32, absent_end: u32, otherwise: u32 },
    /// Asks for one value of a name.
    Name { best: u32, branches: Branches },
}

/// Segments of a path that are looked at before the walk.
pub(super) const SEGMENTS_AHEAD: usize = 4;

/// Points that are looked at before the walk, whether it comes to them or not: their look-ups don't wait for each other,
/// while in the walk each would wait for the node before. By place among `singles`; [`NONE`] where no rule looks.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    pub(super) host: u32,
    pub(super) segments: [u32; SEGMENTS_AHEAD],
    pub(super) action_name: u32,
    pub(super) action_ext: u32,
    pub(super) method: u32,
    /// All others.
    pub(super) others: Vec<u32>,
}

impl Ahead {
    fn new() -> Self {
        let segments = [NONE; SEGMENTS_AHEAD];
        Self { host: NONE, segments, action_name: NONE, action_ext: NONE, method: NONE, others: Vec::new() }
    }

    fn add(&mut self, point: &PointKey, slot: u32) {
        let place = match point {
            PointKey::Host => &mut self.host,
            PointKey::Path(segment) if (*segment as usize) < SEGMENTS_AHEAD => {
                &mut self.segments[*segment as usize]
            }
            PointKey::ActionName => &mut self.action_name,
            PointKey::ActionExt => &mut self.action_ext,
            PointKey::Method => &mut self.method,
            _ => return self.others.push(slot),
        };
        *place = slot;
    }
}

const _: () = assert!(size_of::<Node>() == 32);

/// The compiled tree.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// Where the walk for the mode starts.
    pub(super) modes: u32,
    /// Where the walk for all other types starts; [`NONE`] if there are none.
    pub(super) effects: u32,
    /// By the number of a value, or by that of a name in a `Group` node.
    pub(super) edges: Edges,
    pub(super) tails: Vec<TailCheck>,
    /// Name and child, by the ranges in `Group` nodes.
    pub(super) absent_names: Vec<(u32, u32)>,
    pub(super) singles: Vec<Single>,
    pub(super) ahead: Ahead,
    /// The values of all points.
    pub(super) texts: Names,
    /// The application's place among `singles`, if rules look at it.
    pub(super) instance: Option<u32>,
    pub(super) query: Group,
    pub(super) headers: Group,
    /// By kind of point.
    pub(super) matchers: Vec<KindMatcher>,
    /// Regexes by point and text.
    pub(super) regexes: HashMap<(PointKey, Box<[u8]>), RegexPlace>,
}

/// Which matcher a regex is in, and the number that it reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegexPlace {
    pub(super) matcher: u32,
    pub(super) number: u32,
}

/// Is told of a regex that can't be compiled, by point and text, or that all together can't be; and of the reason.
pub(super) type Refused<'a> = dyn FnMut(Option<(&PointKey, &[u8])>, Refusal) + 'a;

/// A point with one value.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) point: PointKey,
    pub(super) values: Values,
    /// The matcher of its regexes, or [`NONE`].
    pub(super) regexes: u32,
}

/// The regexes of one kind of point.
#[derive(Debug)]
pub(super) struct KindMatcher {
    pub(super) matcher: Matcher,
    pub(super) kind: RegexKind,
}

/// What is scanned in one go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RegexKind {
    /// A point with one value.
    Point(PointKey),
    /// Segments of the path, by number.
    Path(Vec<u32>),
    /// Those of a group's values that have regexes.
    Group(GroupKind),
}

impl RegexKind {
    /// Whether the values may be others where the path is read in another way. (The path leads to the location, and that to
    /// the application.)
    pub(super) fn hangs_on_path(&self) -> bool {
        match self {
            Self::Point(point) => point.is_of_path() || matches!(point, PointKey::Instance | PointKey::Uri),
            Self::Path(_) => true,
            Self::Group(_) => false,
        }
    }
}

impl Tree {
    /// All that scans.
    pub(super) fn databases(&self) -> impl Iterator<Item = &Database> {
        self.matchers.iter().filter_map(|kind| kind.matcher.database())
    }

    /// Bytes that it takes, the databases of its regexes included.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_group = |group: &Group| group.names.memory_bytes() + group.values.len() * size_of::<Values>();
        let databases = self.databases().map(Database::size_bytes);
        let texts = self.regexes.keys().map(|(_, text)| size_of::<(PointKey, RegexPlace)>() + text.len());
        self.nodes.capacity() * size_of::<Node>()
            + self.edges.memory_bytes()
            + self.tails.capacity() * size_of::<TailCheck>()
            + self.absent_names.capacity() * size_of::<(u32, u32)>()
            + of_group(&self.query)
            + of_group(&self.headers)
            + self.singles.capacity() * size_of::<Single>()
            + self.texts.memory_bytes()
            + databases.chain(texts).sum::<usize>()
    }

    pub(super) fn group(&self, group: GroupKind) -> &Group {
        match group {
            GroupKind::Query => &self.query,
            GroupKind::Header => &self.headers,
        }
    }
}

/// What a rule is to the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// In the order of their points.
    pub(super) checks: &'a [Check],
    /// In the table of modes.
    pub(super) column: u8,
}

/// Builds the tree over rules that stand in their order: those that set modes, and those that do something else, of which
/// no two have the same checks. `shadowed` is told of each mode rule that another one with the same conditions hides, and
/// of that one; `refused` of regexes that can't be compiled.
pub(super) fn build<'a>(
    modes: &'a [Entry<'a>],
    effects: &'a [Entry<'a>],
    shadowed: &'a mut dyn FnMut(u32, u32),
    refused: &mut Refused<'_>,
) -> Tree {
    let tree = Tree {
        nodes: Vec::new(),
        modes: NONE,
        effects: NONE,
        edges: Edges::default(),
        tails: Vec::new(),
        absent_names: Vec::new(),
        singles: Vec::new(),
        ahead: Ahead::new(),
        texts: Names::default(),
        instance: None,
        query: Group::default(),
        headers: Group::default(),
        matchers: Vec::new(),
        regexes: HashMap::new(),
    };
    let mut builder = Builder {
        tree,
        rules: modes,
        slots: HashMap::new(),
        edges: Vec::new(),
        next_number: EMPTY_IEQUAL + 1,
        next_space: 0,
        regexes: Vec::new(),
        regex_numbers: HashMap::new(),
        shadowed,
    };
    builder.tree.modes = builder.all_rules();
    builder.rules = effects;
    builder.tree.effects = builder.all_rules();
    builder.lay_edges();
    builder.compile_regexes(refused);
    builder.tree
}

/// Keeps a node's place while its children are built.
const PLACE: Node = Node::Tail { rule: NONE, start: 0, end: 0, column: 0 };

pub(super) struct Builder<'a> {
    pub(super) tree: Tree,
    rules: &'a [Entry<'a>],
    slots: HashMap<&'a PointKey, Slot>,
    edges: Vec<Edge>,
    /// The next number for a value.
    next_number: u32,
    /// The next space for the values of a point.
    next_space: u32,
    pub(super) regexes: Vec<RegexOf<'a>>,
    regex_numbers: HashMap<(&'a PointKey, &'a [u8]), u32>,
    shadowed: &'a mut dyn FnMut(u32, u32),
}

/// A regex of a rule, with its point and number.
pub(super) struct RegexOf<'a> {
    pub(super) check: &'a Check,
    pub(super) slot: Slot,
    pub(super) number: u32,
}

/// Rules by the check that leads to them.
type Parted<'a> = BTreeMap<(Kind, &'a [u8]), (&'a Check, Vec<u32>)>;

impl<'a> Builder<'a> {
    /// Makes the tables of edges, in the order of the nodes.
    fn lay_edges(&mut self) {
        let Self { tree, edges, .. } = self;
        edges.sort_unstable_by_key(|edge| (edge.node, edge.number));
        for of_node in edges.chunk_by(|a, b| a.node == b.node) {
            let table = tree.edges.add(of_node);
            match &mut tree.nodes[of_node[0].node as usize] {
                Node::Single { branches, .. } | Node::Name { branches, .. } => {
                    (branches.edges_start, branches.edge_bits) = (table.start, table.bits);
                }
                Node::Group { edges, .. } => *edges = table,
                Node::Tail { .. } | Node::TailOfOne { .. } | Node::Common { .. } => {}
            }
        }
    }

    fn all_rules(&mut self) -> u32 {
        let all: Vec<u32> = (0..self.rules.len() as u32).collect();
        self.others(&all, 0)
    }

    fn check(&self, rule: u32, position: usize) -> Option<&'a Check> {
        self.rules[rule as usize].checks.get(position)
    }

    fn slot(&mut self, point: &'a PointKey) -> Slot {
        if let Some(&slot) = self.slots.get(point) {
            return slot;
        }
        let tree = &mut self.tree;
        let values = Values { space: self.next_space, equal: false, iequal: false, has_regexes: false };
        self.next_space += 2;
        let named = |group: &mut Group, name: &[u8]| {
            let index = group.values.len() as u32;
            group.values.push(values);
            group.names.insert(name, index);
            group.name_lengths |= Group::length_bit(name);
            index
        };
        let slot = match point {
            PointKey::Query(name) => Slot::Named(GroupKind::Query, named(&mut tree.query, name)),
            PointKey::Header(name) => Slot::Named(GroupKind::Header, named(&mut tree.headers, name)),
            _ => {
                let index = tree.singles.len() as u32;
                if *point == PointKey::Instance {
                    tree.instance = Some(index);
                }
                tree.ahead.add(point, index);
                tree.singles.push(Single { point: point.clone(), values, regexes: NONE });
                Slot::Single(index)
            }
        };
        self.slots.insert(point, slot);
        slot
    }

    /// The number of what the check compares with.
    fn number(&mut self, slot: Slot, check: &'a Check) -> u32 {
        if check.kind == Kind::Regex {
            return self.regex_number(slot, check);
        }
        let tree = &mut self.tree;
        let values = match slot {
            Slot::Single(slot) => &mut tree.singles[slot as usize].values,
            Slot::Named(GroupKind::Query, name) => &mut tree.query.values[name as usize],
            Slot::Named(GroupKind::Header, name) => &mut tree.headers.values[name as usize],
        };
        let (space, some, empty) = match check.kind {
            Kind::Equal | Kind::HostWithPort => (values.space, &mut values.equal, EMPTY_EQUAL),
            Kind::Iequal => (values.space + 1, &mut values.iequal, EMPTY_IEQUAL),
            Kind::Absent | Kind::Present | Kind::Regex => return NONE,
        };
        if check.value.is_empty() {
            return empty;
        }
        *some = true;
        let known = tree.texts.get_in(space, &check.value);
        if known != NONE {
            return known;
        }
        tree.texts.insert_in(space, &check.value, self.next_number);
        self.next_number += 1;
        self.next_number - 1
    }

    fn regex_number(&mut self, slot: Slot, check: &'a Check) -> u32 {
        let next = self.next_number;
        let number = *self.regex_numbers.entry((&check.point, &*check.value)).or_insert(next);
        if number == next {
            self.next_number += 1;
            self.regexes.push(RegexOf { check, slot, number });
        }
        number
    }

    fn push(&mut self, node: Node) -> u32 {
        self.tree.nodes.push(node);
        self.tree.nodes.len() as u32 - 1
    }

    fn tail(&mut self, rule: u32, position: usize) -> u32 {
        let compiled = &self.rules[rule as usize];
        let column = compiled.column;
        if let [check] = &compiled.checks[position..] {
            let check = self.tail_check(check);
            return self.push(Node::TailOfOne { rule, column, check });
        }
        let (start, end) = self.row(&compiled.checks[position..]);
        self.push(Node::Tail { rule, start, end, column })
    }

    /// Writes checks in a row.
    fn row(&mut self, checks: &'a [Check]) -> (u32, u32) {
        let start = self.tree.tails.len() as u32;
        for check in checks {
            let check = self.tail_check(check);
            self.tree.tails.push(check);
        }
        (start, self.tree.tails.len() as u32)
    }

    fn tail_check(&mut self, check: &'a Check) -> TailCheck {
        let slot = self.slot(&check.point);
        TailCheck { slot, kind: check.kind, value: self.number(slot, check) }
    }

    /// How many checks from `position` on all rules have in common.
    fn common(&self, rules: &[u32], position: usize) -> usize {
        let Some((first, others)) = rules.split_first() else { return 0 };
        let mut alike = &self.rules[*first as usize].checks[position..];
        for &other in others {
            let checks = &self.rules[other as usize].checks[position..];
            let length = alike.iter().zip(checks).take_while(|(a, b)| a == b).count();
            alike = &alike[..length];
        }
        alike.len()
    }

    /// The node for these rules (in their order, at least one), whose checks before `position` are the same.
    fn node(&mut self, rules: &[u32], position: usize) -> u32 {
        if let [rule] = rules {
            return self.tail(*rule, position);
        }
        let Some(point) = rules.iter().filter_map(|&rule| Some(&self.check(rule, position)?.point)).min()
        else {
            for &hidden in &rules[1..] {
                (self.shadowed)(hidden, rules[0]);
            }
            return self.tail(rules[0], position);
        };
        let common = self.common(rules, position);
        if common > 0 {
            let (start, end) = self.row(&self.rules[rules[0] as usize].checks[position..position + common]);
            let index = self.push(PLACE);
            let next = self.node(rules, position + common);
            self.tree.nodes[index as usize] = Node::Common { best: rules[0], start, end, next };
            return index;
        }
        let is_asked: fn(&PointKey, &PointKey) -> bool = match point {
            PointKey::Query(_) => |_, next| matches!(next, PointKey::Query(_)),
            PointKey::Header(_) => |_, next| matches!(next, PointKey::Header(_)),
            _ => |asked, next| asked == next,
        };
        let (asked, others): (Vec<u32>, Vec<u32>) = rules.iter().partition(|&&rule| {
            self.check(rule, position).is_some_and(|check| is_asked(point, &check.point))
        });
        let slot = self.slot(point);
        // the node stands before its children, so that a walk goes through memory in one direction
        let index = self.push(PLACE);
        let best = rules[0];
        self.tree.nodes[index as usize] = match slot {
            Slot::Single(slot) => {
                let parted = self.part(&asked, position);
                let (branches, absent) = self.branches(index, Slot::Single(slot), parted, position);
                Node::Single { best, slot, branches, absent, otherwise: self.others(&others, position) }
            }
            Slot::Named(group, _) => {
                let absent = self.names(index, group, &asked, position);
                let absent_start = self.tree.absent_names.len() as u32;
                self.tree.absent_names.extend(absent);
                let absent_end = self.tree.absent_names.len() as u32;
                let otherwise = self.others(&others, position);
                let edges = Table::default();
                Node::Group { best, group, edges, absent_start, absent_end, otherwise }
            }
        };
        index
    }

    fn others(&mut self, rules: &[u32], position: usize) -> u32 {
        if rules.is_empty() { NONE } else { self.node(rules, position) }
    }

    fn part(&self, rules: &[u32], position: usize) -> Parted<'a> {
        let mut parted = Parted::new();
        for &rule in rules {
            if let Some(check) = self.check(rule, position) {
                let entry = parted.entry((check.kind, &*check.value)).or_insert_with(|| (check, Vec::new()));
                entry.1.push(rule);
            }
        }
        parted
    }

    /// Builds what follows from a point's values; gives the child for its absence apart.
    fn branches(&mut self, node: u32, slot: Slot, parted: Parted<'a>, position: usize) -> (Branches, u32) {
        let mut branches = Branches { by: By::NOTHING, edge_bits: 0, edges_start: 0, present: NONE };
        let mut absent = NONE;
        for (check, rules) in parted.into_values() {
            let number = self.number(slot, check);
            let child = self.node(&rules, position + 1);
            match check.kind {
                Kind::Equal | Kind::HostWithPort => branches.by.add(By::EQUAL),
                Kind::Iequal => branches.by.add(By::IEQUAL),
                Kind::Regex => branches.by.add(By::REGEX),
                Kind::Present => {
                    branches.by.add(By::PRESENCE);
                    branches.present = child;
                }
                Kind::Absent => absent = child,
            }
            if number != NONE {
                self.edges.push(Edge { node, number, child });
            }
        }
        (branches, absent)
    }

    /// Builds the children of a group's node; gives the names that are to be absent, with what follows.
    fn names(&mut self, node: u32, group: GroupKind, rules: &[u32], position: usize) -> Vec<(u32, u32)> {
        let mut by_name: BTreeMap<&'a PointKey, Vec<u32>> = BTreeMap::new();
        for &rule in rules {
            if let Some(check) = self.check(rule, position) {
                by_name.entry(&check.point).or_default().push(rule);
            }
        }
        let mut absent_names = Vec::new();
        for (point, rules) in by_name {
            let slot = self.slot(point);
            let Slot::Named(_, name) = slot else { continue };
            let child = self.push(PLACE);
            let parted = self.part(&rules, position);
            let (branches, absent) = self.branches(child, Slot::Named(group, name), parted, position);
            self.tree.nodes[child as usize] = Node::Name { best: rules[0], branches };
            self.edges.push(Edge { node, number: name, child });
            if absent != NONE {
                absent_names.push((name, absent));
            }
        }
        absent_names
    }
}
