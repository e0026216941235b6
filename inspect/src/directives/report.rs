//! What directives did to the signs that signatures gave.

use std::sync::Arc;

use crate::arena::{Arena, Value};
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

/// Writes the first value that a selector covers into `value`.
pub(crate) fn value_at(selector: &Selector, scope: &Scope<'_>, arena: &Arena, value: &mut Vec<u8>) -> bool {
    value.clear();
    let first = arena.values().iter().find(|value| {
        value.place != Place::Name
            && selector.relation(value.node, arena, scope, Names::Possible) == Relation::Inside
    });
    if let Some(first) = first {
        value.extend_from_slice(arena.slice(first.span));
    }
    first.is_some()
}
