//! What patterns nominated and what became of it: for explanations alone.

use std::sync::Arc;

use crate::arena::{Arena, Value};
use crate::class::AttackClass;
use crate::directives::Look;
use crate::engine::Rule;

/// The most nominations that are reported.
const NOMINATIONS_MAX: usize = 256;

/// A match of a signature's pattern inside a value, and what the closer look said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nominated {
    /// The signature's class.
    pub class: AttackClass,
    /// The name of the value, as in [`Finding::point`](crate::Finding::point).
    pub point: String,
    /// The matched bytes with context, decoded and bounded, masked where a mask says so.
    pub payload: Vec<u8>,
    /// The id of the signature.
    pub signature: Arc<str>,
    /// What the signature adds to its class once it is confirmed.
    pub score: u32,
    /// What took the closer look, as in [`Finding::confirmed_by`](crate::Finding::confirmed_by).
    pub confirmer: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a nomination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is a finding.
    Confirmed,
    /// The closer look saw nothing in it.
    NotConfirmed,
    /// It would be a finding, but a directive drops it.
    Dropped,
}

impl Outcome {
    /// The name that explanations use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotConfirmed => "not_confirmed",
            Self::Dropped => "dropped",
        }
    }
}

/// The nominations of one request, if they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    nominations: Vec<Nominated>,
}

impl Trace {
    /// Forgets the last request.
    pub(crate) fn reset(&mut self) {
        self.nominations.clear();
    }

    pub(crate) fn nominations(&self) -> &[Nominated] {
        &self.nominations
    }

    /// Notes what came of a nomination. Without a match inside the value there was none: the scan had matched over the
    /// value's border.
    pub(crate) fn note(
        &mut self,
        look: &mut Look<'_>,
        arena: &Arena,
        rule: &Rule,
        value: &Value,
        found: Option<(usize, usize)>,
        outcome: Outcome,
    ) {
        let Some(found) = found.filter(|_| self.nominations.len() < NOMINATIONS_MAX) else { return };
        self.nominations.push(Nominated {
            class: rule.class,
            point: arena.label(value.node, look.scope.request().headers),
            payload: look.masks.evidence(look.scope, arena, value, found).payload,
            signature: Arc::clone(&rule.id),
            score: rule.score,
            confirmer: rule.confirmer.as_str(),
            outcome,
        });
    }
}
