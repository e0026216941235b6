//! What directives did to the signs that signatures gave.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::arena::{Arena, NodeId, ROOT, Value};
use crate::directives::detect::{Look, hit};
use crate::directives::{HitKind, Names, Relation, RuleHit, Scope, Selector};
use crate::engine::Rule;
use crate::place::Place;

/// Reports that a confirmed sign doesn't count, for a trace.
pub(crate) fn report_dropped(look: &mut Look<'_>, arena: &Arena, by: u32, rule: &Rule, value: &Value) {
    let Some((_, directive)) = look.scope.active().find(|(index, _)| *index == by) else { return };
    if look.has_room(by, HitKind::Dropped) {
        let point = arena.label(value.node, look.scope.request().headers);
        let dropped = hit(by, directive, HitKind::Dropped, point, Vec::new());
        look.hits.push(RuleHit { class: Some(rule.class), signature: Some(Arc::clone(&rule.id)), ..dropped });
    }
}

/// Reports the patches for a confirmed sign.
pub(crate) fn report_patched(
    look: &mut Look<'_>,
    arena: &Arena,
    rule: &Rule,
    value: &Value,
    found: (usize, usize),
) {
    let scope = look.scope;
    for (index, directive) in scope.patches(rule.class, value, arena) {
        if look.has_room(index, HitKind::Patched) {
            let point = arena.label(value.node, scope.request().headers);
            let evidence = look.masks.evidence(scope, arena, value, found);
            let patched = hit(index, directive, HitKind::Patched, point, evidence.payload);
            let signature = Some(Arc::clone(&rule.id));
            look.report(RuleHit { class: Some(rule.class), signature, ..patched }, evidence.masked_by);
        }
    }
}

/// The most values of one point that a request is counted by.
pub const POINT_VALUES_MAX: usize = 8;

/// The most that there is room for.
const POINT_VALUES_ROOM: usize = 32;

/// Bytes of a value by which it is told from others.
const POINT_VALUE_BYTES_MAX: usize = 8_000;

/// The different values at a point, one after the other. Reused.
#[derive(Debug)]
pub struct PointValues {
    bytes: Vec<u8>,
    ends: ArrayVec<usize, POINT_VALUES_ROOM>,
    max: usize,
    rest_counts: bool,
}

impl Default for PointValues {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl PointValues {
    /// None yet; they will be written into `bytes`.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes, ends: ArrayVec::new(), max: POINT_VALUES_MAX, rest_counts: false }
    }

    /// The buffer that was lent.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.max = POINT_VALUES_MAX;
        self.rest_counts = false;
    }

    /// Until the next [`PointValues::clear`] takes up to 31 values: each way to read a path is one. All others are one more
    /// together, the empty one, so that none goes uncounted.
    pub fn take_as_many_as_possible(&mut self) {
        self.max = POINT_VALUES_ROOM - 1;
        self.rest_counts = true;
    }

    /// Adds the start of a value unless it is known. Where there are too many, the last one takes the place of the one
    /// before; unless [`PointValues::take_as_many_as_possible`] was asked for.
    pub fn push(&mut self, value: &[u8]) {
        if self.has_rest() {
            return;
        }
        let value = &value[..value.len().min(POINT_VALUE_BYTES_MAX)];
        if self.iter().any(|known| known == value) {
            return;
        }
        if self.ends.len() >= self.max {
            if self.rest_counts {
                return self.count_rest();
            }
            self.ends.pop();
            self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// Adds the empty value, for which there is room.
    fn count_rest(&mut self) {
        if !self.ends.is_full() && !self.iter().any(<[u8]>::is_empty) {
            self.ends.push(self.bytes.len());
        }
    }

    /// Whether the values beyond those that there was room for count already: no other one changes anything.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        self.rest_counts && self.ends.is_full()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Whether a decoder made what is at a point or around it.
fn is_below_decoder(node: NodeId, arena: &Arena) -> bool {
    let mut current = node;
    while current != ROOT {
        if arena.is_decoded(current) {
            return true;
        }
        current = arena.parent_and_step(current).0;
    }
    false
}

/// Adds the values that a selector covers to `values`. What a decoder made of a value counts only where the first one is of
/// that kind, as the claims of a web token are.
pub(crate) fn values_at(selector: &Selector, scope: &Scope<'_>, arena: &Arena, values: &mut PointValues) {
    let mut covered = arena.values().iter().filter(|value| {
        value.place != Place::Name
            && selector.relation(value.node, arena, scope, Names::Possible) == Relation::Inside
    });
    let Some(first) = covered.next() else { return };
    values.push(arena.slice(first.span));
    let takes_decoded = is_below_decoder(first.node, arena);
    for value in covered.filter(|value| takes_decoded || !is_below_decoder(value.node, arena)) {
        values.push(arena.slice(value.span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_counts_once() {
        for begins_with_empty in [true, false] {
            let mut values = PointValues::default();
            values.take_as_many_as_possible();
            if begins_with_empty {
                values.push(b"");
            }
            (0..40).for_each(|number: u8| values.push(&[number]));
            assert_eq!(values.iter().filter(|value| value.is_empty()).count(), 1, "{begins_with_empty}");
        }
    }
}
