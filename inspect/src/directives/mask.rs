//! Evidence without the values that masks name.

use memchr::memmem;

use crate::arena::{Arena, Span, Value};
use crate::directives::{Effect, Relation, Scope};
use crate::place::Place;

/// What stands for a masked value, however long that is.
const MASKED: &[u8] = b"*";

/// Shorter values aren't looked for in the evidence of other points: they would be found everywhere.
const SECRET_BYTES_MIN: usize = 3;

/// The most masked values of a request that are looked for one by one; with more, all evidence is masked.
const SECRETS_MAX: usize = 256;

/// The most bytes of evidence in a finding.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256;

/// How much of a value is shown before and after what was found, in bytes.
const PAYLOAD_CONTEXT_BYTES: usize = 48;

/// The masked values of one request. Reused.
#[derive(Debug, Default)]
pub(crate) struct Masks {
    /// Where they lie in the arena, once something had to be shown.
    secrets: Option<Vec<Span>>,
}

/// What is shown of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) payload: Vec<u8>,
    /// The mask that hides the value, or a part of it.
    pub(crate) masked_by: Option<u32>,
}

impl Masks {
    /// Forgets the last request.
    pub(crate) fn reset(&mut self) {
        self.secrets = None;
    }

    /// What was found in a value, with context, within the limit. A value that a mask names, and one that may hold such
    /// a value, isn't shown at all; in others the masked values of the request are blotted out, because the same bytes
    /// may be read in more than one way.
    pub(crate) fn evidence(
        &mut self,
        scope: &Scope<'_>,
        arena: &Arena,
        value: &Value,
        found: (usize, usize),
    ) -> Evidence {
        let bytes = arena.slice(value.span);
        if !scope.has_masks() {
            return Evidence { payload: window(bytes, found).0.to_vec(), masked_by: None };
        }
        if let Some(mask) = hiding(scope, arena, value) {
            return Evidence { payload: MASKED.to_vec(), masked_by: Some(mask) };
        }
        self.blotted(scope, arena, bytes, found)
    }

    /// As [`Masks::evidence`], for bytes that are no value of the arena: they may be anything.
    pub(crate) fn evidence_of_part(scope: &Scope<'_>, bytes: &[u8], found: (usize, usize)) -> Evidence {
        match scope.active().find(|(_, directive)| directive.effect == Effect::Mask) {
            Some((mask, _)) => Evidence { payload: MASKED.to_vec(), masked_by: Some(mask) },
            None => Evidence { payload: window(bytes, found).0.to_vec(), masked_by: None },
        }
    }

    fn blotted(&mut self, scope: &Scope<'_>, arena: &Arena, bytes: &[u8], found: (usize, usize)) -> Evidence {
        let secrets = self.secrets.get_or_insert_with(|| secrets(scope, arena));
        let first_mask = || scope.active().find(|(_, directive)| directive.effect == Effect::Mask);
        if secrets.len() > SECRETS_MAX {
            return Evidence { payload: MASKED.to_vec(), masked_by: first_mask().map(|(mask, _)| mask) };
        }
        let (shown, from) = window(bytes, found);
        let mut hidden = [false; PAYLOAD_BYTES_MAX];
        for secret in secrets.iter() {
            let secret = arena.slice(*secret);
            // It may begin before what is shown, or end behind it.
            let around = from.saturating_sub(secret.len() - 1)
                ..(from + shown.len()).saturating_add(secret.len() - 1).min(bytes.len());
            for position in memmem::find_iter(&bytes[around.clone()], secret) {
                let start = (around.start + position).saturating_sub(from);
                let end = (around.start + position + secret.len()).saturating_sub(from).min(shown.len());
                hidden[start.min(end)..end].fill(true);
            }
        }
        let mut payload = Vec::with_capacity(shown.len());
        for (byte, is_hidden) in shown.iter().zip(&hidden) {
            if !is_hidden {
                payload.push(*byte);
            } else if payload.last() != Some(&b'*') {
                payload.extend_from_slice(MASKED);
            }
        }
        let any = hidden.iter().any(|is_hidden| *is_hidden);
        Evidence { payload, masked_by: if any { first_mask().map(|(mask, _)| mask) } else { None } }
    }
}

/// The mask that hides all of a value.
fn hiding(scope: &Scope<'_>, arena: &Arena, value: &Value) -> Option<u32> {
    let mut masks = scope.active().filter(|(_, directive)| directive.effect == Effect::Mask);
    let found = masks.find(|(_, directive)| match scope.relation(directive, value.node, arena) {
        Relation::Inside => true,
        // What is read as a whole holds what is read out of it; a name doesn't.
        Relation::Above => value.place != Place::Name,
        Relation::Apart => false,
    });
    found.map(|(index, _)| index)
}

/// Where the values that masks name lie. One more than are looked for says that there are too many.
fn secrets(scope: &Scope<'_>, arena: &Arena) -> Vec<Span> {
    let is_secret = |value: &&Value| {
        value.span.len() >= SECRET_BYTES_MIN
            && value.place != Place::Name
            && scope.active().any(|(_, directive)| {
                directive.effect == Effect::Mask
                    && scope.relation(directive, value.node, arena) == Relation::Inside
            })
    };
    arena.values().iter().filter(is_secret).map(|value| value.span).take(SECRETS_MAX + 1).collect()
}

/// What is shown of a value, and where that begins.
pub(crate) fn window(value: &[u8], (start, end): (usize, usize)) -> (&[u8], usize) {
    let from = start.saturating_sub(PAYLOAD_CONTEXT_BYTES);
    let to = end.saturating_add(PAYLOAD_CONTEXT_BYTES).min(value.len()).min(from + PAYLOAD_BYTES_MAX);
    (&value[from..to], from)
}
