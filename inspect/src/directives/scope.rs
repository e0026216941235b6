//! The directives of one request, asked by the stages of its inspection.

use std::ops::Range;

use crate::arena::{Arena, NodeId, ROOT, Value};
use crate::class::AttackClass;
use crate::decode::percent::{self, Plus};
use crate::directives::{Applied, Directive, Effect, ParserSet, Part, Relation};
use crate::engine::Rule;
use crate::place::Place;
use crate::request::RequestView;

/// What holds for the request that is being inspected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    applied: Option<Applied<'a>>,
    request: &'a RequestView<'a>,
    kinds: Kinds,
}

/// Which kinds of directives hold at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kinds {
    patches: bool,
    presence: bool,
    detectors: bool,
    drops: bool,
    parsers: bool,
    masks: bool,
    measures: bool,
}

impl<'a> Scope<'a> {
    /// The scope of a request without directives.
    pub(crate) fn none(request: &'a RequestView<'a>) -> Self {
        Self { applied: None, request, kinds: Kinds::default() }
    }

    pub(crate) fn new(applied: Applied<'a>, request: &'a RequestView<'a>) -> Self {
        let mut scope = Self { applied: Some(applied), request, kinds: Kinds::default() };
        let mut kinds = Kinds::default();
        for (_, directive) in scope.active() {
            match directive.effect {
                Effect::Patch(Some(_)) => kinds.patches = true,
                Effect::Patch(None) => kinds.presence = true,
                Effect::Detector { .. } => kinds.detectors = true,
                Effect::DropClass(_) | Effect::DropSignature(_) | Effect::Binary => kinds.drops = true,
                Effect::Parser { .. } => kinds.parsers = true,
                Effect::Mask => kinds.masks = true,
                Effect::Measure(_) => kinds.measures = true,
                Effect::IgnoreDetector(_) => {}
            }
        }
        scope.kinds = kinds;
        scope
    }

    /// The directives that hold, the most specific rule first.
    pub(crate) fn active(&self) -> impl Iterator<Item = (u32, &'a Directive)> + use<'a> {
        let applied = self.applied;
        let active = applied.map_or(&[][..], |applied| applied.active);
        active.iter().filter_map(move |index| Some((*index, applied?.directives.list.get(*index as usize)?)))
    }

    pub(crate) fn applied(&self) -> Option<&Applied<'a>> {
        self.applied.as_ref()
    }

    pub(crate) const fn request(&self) -> &'a RequestView<'a> {
        self.request
    }

    /// Whether what directives did to signs and values is reported too.
    pub(crate) fn traces(&self) -> bool {
        self.applied.is_some_and(|applied| applied.trace)
    }

    /// Whether detectors, patches or measures have to look at the values once more.
    pub(crate) const fn has_detectors(&self) -> bool {
        self.kinds.presence || self.kinds.detectors || self.kinds.measures
    }

    pub(crate) const fn has_masks(&self) -> bool {
        self.kinds.masks
    }

    /// Whether signs of a class can be patched.
    pub(crate) const fn has_patches(&self) -> bool {
        self.kinds.patches
    }

    /// Whether the same sign may mean different things at different points.
    pub(crate) const fn judges_points(&self) -> bool {
        self.kinds.patches || self.kinds.drops || self.kinds.masks
    }

    /// Whether also values that no attack can hide in are needed.
    pub(crate) const fn needs_all_values(&self) -> bool {
        self.kinds.presence || self.kinds.detectors || self.kinds.masks
    }

    /// Whether parsers may be off anywhere.
    pub(crate) const fn may_switch_parsers(&self) -> bool {
        self.kinds.parsers
    }

    pub(crate) fn header_name(&self, index: u32) -> &'a [u8] {
        self.request.headers.get(index as usize).map_or(&b""[..], |(name, _)| name)
    }

    /// How many segments the path has.
    pub(crate) fn segment_count(&self) -> u32 {
        u32::try_from(segments(self.request.path).count()).unwrap_or(u32::MAX)
    }

    /// Whether segments of the path can't be told apart by their numbers.
    pub(crate) fn has_unsure_segments(&self) -> bool {
        self.applied.is_some_and(|applied| applied.unsure_segments)
    }

    /// How a point stands to a directive.
    pub(crate) fn relation(&self, directive: &Directive, node: NodeId, arena: &Arena) -> Relation {
        if self.has_unsure_segments() && directive.selector.counts_segments() && arena.is_in_path(node) {
            return if directive.effect.loosens() { Relation::Apart } else { Relation::Inside };
        }
        directive.selector.relation(node, arena, self, directive.effect.names())
    }

    /// How a value stands to a directive. A name counts as one of the values around it.
    pub(crate) fn relation_of_value(&self, directive: &Directive, value: &Value, arena: &Arena) -> Relation {
        let node = if value.place == Place::Name { arena.parent_and_step(value.node).0 } else { value.node };
        match node {
            ROOT => Relation::Above,
            node => self.relation(directive, node, arena),
        }
    }

    /// The parsers that are off at a point.
    pub(crate) fn parsers_off(&self, node: NodeId, arena: &Arena) -> ParserSet {
        let mut off = ParserSet::NONE;
        if !self.kinds.parsers {
            return off;
        }
        let mut heaviest = [0; 16];
        for (_, directive) in self.active() {
            let Effect::Parser { parser, enabled } = directive.effect else { continue };
            let weight = 1 + directive.selector.weight();
            let known = &mut heaviest[parser as usize];
            if weight <= *known || self.relation(directive, node, arena) != Relation::Inside {
                continue;
            }
            *known = weight;
            off.set(parser, !enabled);
        }
        off
    }

    /// The directive for which a signature's sign in a value doesn't count.
    pub(crate) fn drops(&self, number: u32, rule: &Rule, value: &Value, arena: &Arena) -> Option<u32> {
        if !self.kinds.drops {
            return None;
        }
        let dropping = |directive: &Directive| drops_sign(directive, number, rule);
        self.active()
            .find(|(_, directive)| {
                dropping(directive) && self.relation(directive, value.node, arena) == Relation::Inside
            })
            .map(|(index, _)| index)
    }

    /// As [`Scope::drops`], for a sign at `found` in the path as a whole: it belongs to the segment that it lies in.
    pub(crate) fn drops_in_path(
        &self,
        number: u32,
        rule: &Rule,
        value: &Value,
        found: Range<usize>,
        arena: &Arena,
    ) -> Option<u32> {
        if !self.kinds.drops || arena.parent_and_step(value.node).0 != ROOT || value.place != Place::Path {
            return None;
        }
        let dropping = || {
            self.active().filter(|(_, directive)| {
                matches!(directive.selector.part(), Part::Path | Part::ActionName | Part::ActionExt)
                    && drops_sign(directive, number, rule)
            })
        };
        if self.has_unsure_segments() {
            return None;
        }
        dropping().next()?;
        let segment = segment_at(self.request.path, found)?;
        let count = self.segment_count();
        let by = dropping().find(|(_, directive)| directive.selector.selects_segment(segment, count));
        by.map(|(index, _)| index)
    }

    /// The patches for signs of a class at a point.
    pub(crate) fn patches(
        &self,
        class: AttackClass,
        value: &Value,
        arena: &Arena,
    ) -> impl Iterator<Item = (u32, &'a Directive)> {
        self.active().filter(move |(_, directive)| {
            directive.effect == Effect::Patch(Some(class))
                && self.relation(directive, value.node, arena) == Relation::Inside
        })
    }

    /// The directive for which a detector's match in a value doesn't count.
    pub(crate) fn ignores(&self, detector: u32, node: Option<NodeId>, arena: &Arena) -> Option<u32> {
        let ignoring = self.active().find(|(_, directive)| {
            directive.effect == Effect::IgnoreDetector(detector)
                && node.is_some_and(|node| self.relation(directive, node, arena) == Relation::Inside)
        });
        ignoring.map(|(index, _)| index)
    }
}

/// Whether what a signature finds is dropped by a directive, wherever that looks.
fn drops_sign(directive: &Directive, number: u32, rule: &Rule) -> bool {
    match directive.effect {
        Effect::DropClass(class) => class.is_none_or(|class| class == rule.class),
        Effect::DropSignature(dropped) => dropped == number,
        Effect::Binary => !rule.places.contains(Place::File),
        _ => false,
    }
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/')
}

/// The number of the segment that a range of the decoded path lies in, if it lies in one alone.
fn segment_at(path: &[u8], found: Range<usize>) -> Option<u32> {
    let mut decoded = Vec::new();
    let mut end = usize::from(path.starts_with(b"/"));
    for (number, segment) in segments(path).enumerate() {
        decoded.clear();
        percent::decode(segment, Plus::Literal, &mut decoded);
        let start = end;
        end = start + decoded.len();
        if found.start >= start && found.end <= end {
            return u32::try_from(number).ok();
        }
        end += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_decoded_path_lie_in_segments() {
        let path = b"/a%20b/c/%2e%2e/";
        assert_eq!(segment_at(path, 1..4), Some(0));
        assert_eq!(segment_at(path, 5..6), Some(1));
        assert_eq!(segment_at(path, 7..9), Some(2));
        assert_eq!(segment_at(path, 5..9), None, "over a border");
        assert_eq!(segment_at(path, 0..1), None, "the slash itself");
        assert_eq!(segment_at(b"ab", 0..2), Some(0));
    }
}
