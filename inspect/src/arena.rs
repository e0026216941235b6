//! The buffer that holds all decoded values of one request, and the tree of points that names them.
//!
//! Values lie one after the other with a NUL byte between them, so that one scan sees them all. An offset leads back to
//! its value by binary search, and a value's node leads to its name by way of the parents; names are put together only
//! for findings.

use crate::limits::{Limits, OverLimit, OverLimits};
use crate::place::Place;

/// A point's number in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// A range of bytes in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// One step from a point to a point below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A top-level part or a fixed part of something: `query`, `body`, `cookie`, `filename`.
    Part(&'static str),
    /// The header with this index in the request.
    Header(u32),
    /// A parameter, key or cookie whose name lies in the arena.
    Name(Span),
    /// An element of a list or a path segment, from 0.
    Index(u32),
    /// What a decoder made of the point above.
    Decoder(&'static str),
}

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: NodeId,
    step: Step,
}

/// One decoded value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) span: Span,
    pub(crate) node: NodeId,
    pub(crate) place: Place,
    /// How many decoders lie between the request and this value.
    pub(crate) depth: u8,
}

/// What grows out of proportion when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bomb {
    /// Compressed data.
    Compression,
    /// Entities made of entities.
    Entities,
}

impl Bomb {
    /// What stands in a finding as its evidence.
    pub(crate) const fn evidence(self) -> &'static [u8] {
        match self {
            Self::Compression => b"compressed data that grows more than a hundredfold, beyond the limit",
            Self::Entities => b"entities made of entities, beyond the limit",
        }
    }
}

/// All values of one request. Reused from request to request.
#[derive(Debug)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    values: Vec<Value>,
    nodes: Vec<Node>,
    /// Other names that servers may read for a point, in the order of points.
    other_names: Vec<(NodeId, Span)>,
    /// Points inside of which servers may find other points than these. Few, mostly none.
    disputed: Vec<NodeId>,
    limits: Limits,
    /// The most points: a value has one of its own and rarely more than one above it.
    nodes_max: usize,
    over_limit: Option<OverLimit>,
    over_limits: OverLimits,
    /// The first value that grows out of proportion, and what showed it.
    bomb: Option<(NodeId, Bomb)>,
    /// Where the inspected part of a body that goes on ends in memory; 0 for a whole one.
    cut_at: usize,
    /// The values that end there and go on behind it, by their indexes. One for each way that the body is read.
    open: Vec<u32>,
    /// Whether values that no attack can hide in are wanted too.
    keeps_all: bool,
    /// Whether the same value counts at each of its points.
    judges_points: bool,
}

/// The parent of the top-level points.
pub(crate) const ROOT: NodeId = NodeId(0);

/// The most points that are known to be disputed; with more, all are.
const DISPUTED_MAX: usize = 64;

/// How many bytes of values stay allocated behind a request that needed less.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// How many points and values stay allocated behind a request that needed fewer.
const KEPT_POINTS_MAX: usize = 16 << 10;

/// The most bytes of a name that go into a point's label.
const NAME_BYTES_MAX: usize = 64;

/// The most steps of a point's label.
const LABEL_STEPS_MAX: usize = 40;

impl Arena {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut arena = Self {
            bytes: Vec::new(),
            values: Vec::new(),
            nodes: Vec::new(),
            other_names: Vec::new(),
            disputed: Vec::new(),
            limits,
            nodes_max: 0,
            over_limit: None,
            over_limits: OverLimits::default(),
            bomb: None,
            cut_at: 0,
            open: Vec::new(),
            keeps_all: false,
            judges_points: false,
        };
        arena.reset(limits);
        arena
    }

    /// Forgets the last request and keeps the memory, but not what one far larger than the last has left.
    pub(crate) fn reset(&mut self, limits: Limits) {
        if self.bytes.capacity() > KEPT_BYTES_MAX && self.bytes.len() <= KEPT_BYTES_MAX {
            self.bytes.shrink_to(KEPT_BYTES_MAX);
        }
        if self.nodes.capacity() > KEPT_POINTS_MAX && self.nodes.len() <= KEPT_POINTS_MAX {
            self.nodes.shrink_to(KEPT_POINTS_MAX);
            self.values.shrink_to(KEPT_POINTS_MAX);
            self.other_names.shrink_to(KEPT_POINTS_MAX);
        }
        self.limits = limits;
        self.nodes_max = limits.values.saturating_mul(2).saturating_add(64);
        self.over_limit = None;
        self.over_limits = OverLimits::default();
        self.bomb = None;
        self.cut_at = 0;
        self.open.clear();
        self.keeps_all = false;
        self.judges_points = false;
        self.bytes.clear();
        self.values.clear();
        self.nodes.clear();
        self.other_names.clear();
        self.disputed.clear();
        self.nodes.push(Node { parent: ROOT, step: Step::Part("") });
        // Each value then has a NUL byte on either side.
        self.bytes.push(0);
    }

    /// All bytes of all values, with the separators.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Asks for values too that no attack can hide in.
    pub(crate) const fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// Whether values are wanted that no attack can hide in.
    pub(crate) const fn keeps_all(&self) -> bool {
        self.keeps_all
    }

    /// Asks for the same value at each of its points, though it says the same everywhere.
    pub(crate) const fn judge_points(&mut self) {
        self.judges_points = true;
    }

    /// Whether the same value is wanted at each of its points.
    pub(crate) const fn judges_points(&self) -> bool {
        self.judges_points
    }

    /// All points.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..index_u32(self.nodes.len())).map(NodeId)
    }

    /// The point above a point, and the step from there.
    pub(crate) fn parent_and_step(&self, node: NodeId) -> (NodeId, Step) {
        let node = self.nodes[node.0 as usize];
        (node.parent, node.step)
    }

    /// Notes another name that servers may read for the point that was added last. The bytes lie in the arena.
    pub(crate) fn also_named(&mut self, node: NodeId, name: Span) {
        self.other_names.push((node, name));
    }

    /// Notes that servers may find other points inside of a point than are told here.
    pub(crate) fn dispute(&mut self, node: NodeId) {
        if self.disputed.len() < DISPUTED_MAX {
            self.disputed.push(node);
        } else {
            self.disputed[0] = ROOT;
        }
    }

    /// Whether they may.
    pub(crate) fn is_disputed(&self, node: NodeId) -> bool {
        match self.disputed.first() {
            None => false,
            // There were too many to tell them apart.
            Some(&ROOT) => true,
            Some(_) => self.disputed.contains(&node),
        }
    }

    /// The points at or above a point that have other names, with these.
    pub(crate) fn other_names(&self, node: NodeId) -> impl Iterator<Item = (NodeId, Span)> + '_ {
        let start = if self.other_names.is_empty() { ROOT } else { node };
        let above = std::iter::successors(Some(start), |node| Some(self.parent_and_step(*node).0));
        above.take_while(|node| *node != ROOT).flat_map(|node| {
            let first = self.other_names.partition_point(|(named, _)| *named < node);
            self.other_names[first..].iter().take_while(move |(named, _)| *named == node).copied()
        })
    }

    /// Whether the parameter, key or cookie that a point is, or that decoders and lists lie behind, has one of the names for
    /// some server.
    pub(crate) fn is_named(&self, node: NodeId, is_one: impl Fn(&[u8]) -> bool) -> bool {
        self.parameter(node).is_some_and(|(parameter, name)| {
            let others = self.other_names(parameter).take_while(|(named, _)| *named == parameter);
            is_one(self.slice(name)) || others.map(|(_, name)| self.slice(name)).any(is_one)
        })
    }

    fn parameter(&self, mut node: NodeId) -> Option<(NodeId, Span)> {
        while node != ROOT {
            let (parent, step) = self.parent_and_step(node);
            match step {
                Step::Name(name) => return Some((node, name)),
                Step::Decoder(_) | Step::Index(_) | Step::Part("pollution" | "json") => node = parent,
                Step::Part(_) | Step::Header(_) => return None,
            }
        }
        None
    }

    /// Whether a point is the path or in it.
    pub(crate) fn is_in_path(&self, mut node: NodeId) -> bool {
        while node != ROOT {
            let (parent, step) = self.parent_and_step(node);
            if parent == ROOT {
                return step == Step::Part("path");
            }
            node = parent;
        }
        false
    }

    /// Whether a decoder made what is at this point.
    pub(crate) fn is_decoded(&self, node: NodeId) -> bool {
        matches!(self.nodes[node.0 as usize].step, Step::Decoder(_))
    }

    /// The first limit that was hit.
    pub(crate) const fn over_limit(&self) -> Option<OverLimit> {
        self.over_limit
    }

    /// All limits that were hit.
    pub(crate) const fn over_limits(&self) -> OverLimits {
        self.over_limits
    }

    /// Notes that a limit was hit.
    pub(crate) fn hit_limit(&mut self, limit: OverLimit) {
        self.over_limit.get_or_insert(limit);
        self.over_limits.add(limit);
    }

    /// The first value that grows out of proportion.
    pub(crate) const fn bomb(&self) -> Option<(NodeId, Bomb)> {
        self.bomb
    }

    /// Notes such a value; the first one is kept.
    pub(crate) fn found_bomb(&mut self, node: NodeId, bomb: Bomb) {
        self.bomb.get_or_insert((node, bomb));
    }

    /// Adds a point below another. Past the limit of values the parent stands for it.
    #[inline]
    pub(crate) fn node(&mut self, parent: NodeId, step: Step) -> NodeId {
        if self.nodes.len() >= self.nodes_max {
            self.hit_limit(OverLimit::Values);
            return parent;
        }
        let id = NodeId(index_u32(self.nodes.len()));
        self.nodes.push(Node { parent, step });
        id
    }

    /// Has `write` append bytes, at most as many as the limit allows, and returns where they lie. They are followed by
    /// a separator. Nothing is a value until [`Arena::add`].
    #[inline]
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() > self.limits.decoded_bytes {
            self.hit_limit(OverLimit::DecodedBytes);
            self.bytes.truncate(self.limits.decoded_bytes.max(start));
        }
        let span = Span { start: index_u32(start), end: index_u32(self.bytes.len()) };
        self.bytes.push(0);
        span
    }

    /// As [`Arena::write`], for bytes that stay as they are.
    #[inline]
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Span {
        self.write(|out| out.extend_from_slice(bytes))
    }

    /// Makes the bytes of a span a value, unless they are none.
    #[inline]
    pub(crate) fn add(&mut self, span: Span, node: NodeId, place: Place, depth: u8) {
        if span.start == span.end {
            return;
        }
        debug_assert!(
            self.values.last().is_none_or(|last| last.span.end < span.start),
            "values are found by their offsets, so they are added in the order of these"
        );
        if self.values.len() >= self.limits.values {
            self.hit_limit(OverLimit::Values);
            return;
        }
        self.values.push(Value { span, node, place, depth });
    }

    /// Says that the bytes are the inspected part of a body that goes on, until the next part is named; none ends that.
    pub(crate) fn cut_behind(&mut self, body: Option<&[u8]>) {
        self.cut_at = body.map_or(0, end_in_memory);
    }

    /// As [`Arena::add`], for a value of the body that was read from `source`: where the body is cut behind that, the value
    /// goes on.
    #[inline]
    pub(crate) fn add_from(&mut self, source: &[u8], span: Span, node: NodeId, place: Place, depth: u8) {
        let count = self.values.len();
        self.add(span, node, place, depth);
        if end_in_memory(source) == self.cut_at && self.values.len() > count {
            self.open.push(index_u32(count));
        }
    }

    /// Whether the value with this index goes on behind the inspected part of the body.
    pub(crate) fn is_open(&self, value: usize) -> bool {
        self.open.contains(&index_u32(value))
    }

    /// Whether there is no room for more values, so that going on is useless. Ask only when there is more to add: that
    /// it is left out is noted.
    pub(crate) fn is_full(&mut self) -> bool {
        if self.values.len() >= self.limits.values {
            self.hit_limit(OverLimit::Values);
            return true;
        }
        if self.bytes.len() >= self.limits.decoded_bytes {
            self.hit_limit(OverLimit::DecodedBytes);
            return true;
        }
        false
    }

    /// The index of the value that the byte before offset `end` belongs to. The value at `guess` is looked at first; any
    /// number will do.
    #[inline]
    pub(crate) fn value_ending_at(&self, end: usize, guess: usize) -> Option<usize> {
        let end = u32::try_from(end).ok()?;
        let ends_in = |value: &Value| value.span.start < end && end <= value.span.end;
        let is_before = |value: &Value| end <= value.span.start;
        if self.values.get(guess).is_some_and(ends_in) && self.values.get(guess + 1).is_none_or(is_before) {
            return Some(guess);
        }
        let index = self.values.partition_point(|value| value.span.start < end).checked_sub(1)?;
        (end <= self.values[index].span.end).then_some(index)
    }

    /// The point's name, such as `query.id` or `body.json.user.name`. Letters and digits of all scripts are shown, other
    /// bytes of names that are not printable ASCII percent-encoded, and long names are cut.
    pub(crate) fn label(&self, node: NodeId, headers: &[(&[u8], &[u8])]) -> String {
        let mut steps = [Step::Part(""); LABEL_STEPS_MAX];
        let mut count = 0;
        let mut current = node;
        while current != ROOT && count < LABEL_STEPS_MAX {
            let node = self.nodes[current.0 as usize];
            steps[count] = node.step;
            count += 1;
            current = node.parent;
        }
        let mut label = String::new();
        for step in steps[..count].iter().rev() {
            if !label.is_empty() {
                label.push(if matches!(step, Step::Decoder(_)) { '|' } else { '.' });
            }
            match step {
                Step::Part(part) | Step::Decoder(part) => label.push_str(part),
                Step::Header(index) => {
                    label.push_str("header.");
                    let name = headers.get(*index as usize).map_or(&b"?"[..], |(name, _)| name);
                    push_name(&mut label, name, true);
                }
                Step::Name(span) => push_name(&mut label, self.slice(*span), false),
                Step::Index(index) => label.push_str(&index.to_string()),
            }
        }
        label
    }
}

fn push_name(label: &mut String, name: &[u8], lower_case: bool) {
    // The name `*` alone would be any name in a rule.
    if name == b"*" {
        return label.push_str("%2A");
    }
    let mut shown_bytes = 0;
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            shown_bytes += character.len_utf8();
            if shown_bytes > NAME_BYTES_MAX {
                return label.push('~');
            }
            if character.is_ascii_graphic() || character == ' ' || is_letter(character) {
                label.push(if lower_case { character.to_ascii_lowercase() } else { character });
            } else {
                push_encoded(label, character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        shown_bytes += chunk.invalid().len();
        if shown_bytes > NAME_BYTES_MAX {
            return label.push('~');
        }
        push_encoded(label, chunk.invalid());
    }
}

/// A letter or digit of another script than ASCII.
fn is_letter(character: char) -> bool {
    !character.is_ascii() && character.is_alphanumeric()
}

fn push_encoded(label: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        label.push('%');
        label.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
}

/// The address behind the last byte.
fn end_in_memory(bytes: &[u8]) -> usize {
    bytes.as_ptr_range().end.addr()
}

/// Offsets fit in 32 bits because [`Limits::decoded_bytes`] is capped well below 4 GiB.
fn index_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena_with(limits: Limits, texts: &[&str]) -> Arena {
        let mut arena = Arena::new(limits);
        let query = arena.node(ROOT, Step::Part("query"));
        for text in texts {
            let span = arena.write(|bytes| bytes.extend_from_slice(text.as_bytes()));
            arena.add(span, query, Place::Query, 0);
        }
        arena
    }

    #[test]
    fn offsets_lead_to_values() {
        let arena = arena_with(Limits::default(), &["ab", "", "cde"]);
        assert_eq!(arena.bytes(), b"\0ab\0\0cde\0");
        let expected = [None, None, Some(0), Some(0), None, None, Some(1), Some(1), Some(1), None];
        for guess in 0..4 {
            let found: Vec<_> = (0..=9).map(|end| arena.value_ending_at(end, guess)).collect();
            assert_eq!(found, expected, "with {guess} as the guess");
        }
    }

    #[test]
    fn limits_are_kept_and_named() {
        let arena = arena_with(Limits { values: 2, ..Limits::default() }, &["a", "b", "c"]);
        assert_eq!((arena.values().len(), arena.over_limit()), (2, Some(OverLimit::Values)));
        let arena = arena_with(Limits { decoded_bytes: 4, ..Limits::default() }, &["ab", "cdef"]);
        assert_eq!(arena.over_limit(), Some(OverLimit::DecodedBytes));
        assert_eq!(arena.values().len(), 1);
    }

    #[test]
    fn memory_of_one_large_request_is_not_kept_for_good() {
        let mut arena = arena_with(Limits::default(), &["a"]);
        let large = |arena: &mut Arena| {
            for _ in 0..2 * KEPT_POINTS_MAX {
                let node = arena.node(ROOT, Step::Part("query"));
                let span = arena.copy(&[b'a'; 256]);
                arena.add(span, node, Place::Query, 0);
            }
            arena.bytes.capacity()
        };
        let most = large(&mut arena);
        assert!(most > KEPT_BYTES_MAX);
        arena.reset(Limits::default());
        assert_eq!(arena.bytes.capacity(), most, "the next may be as large");
        arena.reset(Limits::default());
        assert!(arena.bytes.capacity() < most && arena.values.capacity() <= KEPT_POINTS_MAX);
    }

    #[test]
    fn labels_show_no_raw_bytes() {
        let mut arena = Arena::new(Limits::default());
        let body = arena.node(ROOT, Step::Part("body"));
        let span = arena.write(|bytes| bytes.extend_from_slice(b"a\nb\xff"));
        let name = arena.node(body, Step::Name(span));
        let item = arena.node(name, Step::Index(3));
        let decoded = arena.node(item, Step::Decoder("percent"));
        assert_eq!(arena.label(decoded, &[]), "body.a%0Ab%FF.3|percent");
        let span = arena.write(|bytes| bytes.extend_from_slice("größe\u{202e}*".as_bytes()));
        let name = arena.node(body, Step::Name(span));
        assert_eq!(arena.label(name, &[]), "body.größe%E2%80%AE*");
        let header = arena.node(ROOT, Step::Header(0));
        assert_eq!(arena.label(header, &[(b"User-Agent", b"x")]), "header.user-agent");
    }
}
