//! What an inspection found.

use std::sync::Arc;

use crate::class::AttackClass;
use crate::directives::RuleHit;
use crate::limits::{OverLimit, OverLimits};
use crate::trace::Nominated;

/// The outcome of one inspection, borrowed from its [`Inspector`](crate::Inspector).
#[derive(Debug, Clone, Copy)]
pub struct Report<'s> {
    /// All confirmed signs, at most [`Limits::findings`](crate::Limits::findings), in the order of their values. Where points
    /// are patched, what is found there comes first.
    pub findings: &'s [Finding],
    /// Whether the scores of one class reach [`EngineOptions::min_score`](crate::EngineOptions::min_score), or a detector
    /// matched that is not experimental.
    pub attack: bool,
    /// What the request's directives did, at most 64; empty for a request without any.
    pub hits: &'s [RuleHit],
    /// All that patterns nominated and what closer looks said, at most 256; empty unless a trace was asked for, see
    /// [`Applied::trace`](crate::Applied::trace).
    pub nominations: &'s [Nominated],
    /// The first limit that cut the inspection short, if one did.
    pub over_limit: Option<OverLimit>,
    /// All limits that did.
    pub over_limits: OverLimits,
}

/// One confirmed sign of an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of attack it is a sign of.
    pub class: AttackClass,
    /// The name of the value: `query.id`, `header.user-agent`, `body.json.user.name`, `cookie.sid`, `path.2`. Decoders
    /// beyond the usual one of the place follow a bar: `query.q|percent`.
    pub point: String,
    /// The matched bytes, decoded, with some context; at most 256 bytes. They come from outside: escape them for output.
    pub payload: Vec<u8>,
    /// The id of the signature.
    pub signature: Arc<str>,
    /// What the signature adds to its class, once per request.
    pub score: u32,
    /// What confirmed the match: a confirmer's name, or `pattern` where the pattern itself is precise.
    pub confirmed_by: &'static str,
}
