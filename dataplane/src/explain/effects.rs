//! What rules beside that of the mode did to an explained request.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use weir_inspect::{HitKind, Inspector, PointValues, RequestView, RuleHit};
use weir_policy::UploadAction;

use super::text::write_bytes;
use crate::decision::BodySeen;
use crate::http::EditAction;
use crate::rules::{Active, PathKeyScratch, RateKeyParts};
use crate::snapshot::{FILE_UPLOAD_CLASS, Snapshot, VIRTUAL_PATCH_CLASS};

/// What one rule did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct RuleEffect {
    /// The rule's id.
    pub rule: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// What it did: a stable word.
    pub effect: &'static str,
    /// Where.
    pub point: Option<String>,
    /// The class of what was found or dropped.
    pub class: Option<&'static str>,
    /// The signature, or the detector, that found it.
    pub signature: Option<String>,
    /// The evidence, masked where a mask says so.
    #[serde(serialize_with = "as_text")]
    pub payload: Option<Vec<u8>>,
    /// More about it, in words.
    pub detail: Option<String>,
}

fn as_text<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes)).serialize(serializer)
}

impl RuleEffect {
    fn new(rule: u64, type_name: &'static str, effect: &'static str) -> Self {
        Self {
            rule,
            type_name,
            effect,
            point: None,
            class: None,
            signature: None,
            payload: None,
            detail: None,
        }
    }

    /// The effect as a finding, if it is what a detector found.
    pub(super) fn finding_json(&self) -> Option<Value> {
        let is_finding = self.type_name == "regex" && self.payload.is_some();
        is_finding.then(|| {
            json!({
                "class": self.class,
                "point": self.point,
                "payload": self.payload.as_ref().map(|bytes| String::from_utf8_lossy(bytes)),
                "signature": self.signature,
                "score": 0,
                "confirmed_by": "rule",
                "experimental": self.effect == "watches",
            })
        })
    }

    /// The effect on one line.
    pub(super) fn text(&self) -> String {
        let mut text = self.effect.replace('_', " ");
        // Writing to a String doesn't fail.
        if let Some(class) = self.class {
            let _ = write!(text, " {class}");
        }
        if let Some(point) = &self.point {
            let _ = write!(text, " at {point}");
        }
        if let Some(signature) = &self.signature {
            let _ = write!(text, ", signature {signature}");
        }
        if let Some(detail) = &self.detail {
            let _ = write!(text, ", {detail}");
        }
        if let Some(payload) = self.payload.as_ref().filter(|payload| !payload.is_empty()) {
            text.push_str(": ");
            let _ = write_bytes(&mut text, payload);
        }
        text
    }
}

/// The changes of headers that a later one takes the place of: the rule, the rule with the last word, and the header.
pub(super) fn overruled_headers(snapshot: &Snapshot, active: &Active) -> Vec<(u64, u64, String)> {
    let rules = &snapshot.rules;
    let edits: Vec<_> =
        active.rules(rules).filter_map(|rule| Some((rule.id, rule.header_edit(rules)?))).collect();
    let overruled = edits.iter().enumerate().filter_map(|(at, (id, edit))| {
        let (last, _) = edits[at + 1..].iter().rev().find(|(_, later)| {
            later.action != EditAction::Append && later.name.eq_ignore_ascii_case(&edit.name)
        })?;
        Some((*id, *last, edit.name.clone()))
    });
    overruled.collect()
}

/// What rules did beside those of rates; changes of headers by `overruled` rules left out.
pub(super) fn effects(
    snapshot: &Snapshot,
    active: &Active,
    hits: &[RuleHit],
    body: BodySeen,
    overruled: &[(u64, u64, String)],
) -> Vec<RuleEffect> {
    let rules = &snapshot.rules;
    let mut found: Vec<RuleEffect> = hits.iter().filter_map(|hit| of_hit(snapshot, hit)).collect();
    found.extend(active.oversized(rules, hits, body).map(|too_large| RuleEffect {
        point: Some(too_large.point),
        class: Some(FILE_UPLOAD_CLASS),
        detail: Some(format!("{} bytes, {} are allowed", too_large.bytes, too_large.limit)),
        ..RuleEffect::new(
            too_large.rule,
            "upload_size",
            match too_large.action {
                UploadAction::Block => "blocks",
                UploadAction::Inherited => "is_judged_by_the_mode",
                UploadAction::Monitoring | UploadAction::Off => "records",
            },
        )
    }));
    found.extend(active.rules(rules).filter_map(|rule| {
        let effect = |effect| RuleEffect::new(rule.id, rule.type_name, effect);
        if let Some((time_limit, then)) = rule.time_limit() {
            let detail = format!("{time_limit:?}, then {then:?}").to_lowercase();
            return Some(RuleEffect { detail: Some(detail), ..effect("bounds_inspection") });
        }
        let edit = rule.header_edit(rules)?;
        if overruled.iter().any(|(id, ..)| *id == rule.id) {
            return None;
        }
        let what = match edit.action {
            EditAction::Set => "sets_header",
            EditAction::Append => "appends_header",
            EditAction::Delete => "deletes_header",
        };
        let detail = format!("{} {}", edit.name, edit.values.join(", "));
        Some(RuleEffect { detail: Some(detail.trim_end().to_owned()), ..effect(what) })
    }));
    found
}

/// What a directive of a rule did.
fn of_hit(snapshot: &Snapshot, hit: &RuleHit) -> Option<RuleEffect> {
    let rule = snapshot.rules.rule_of_directive(hit.directive)?;
    let effect = match hit.what {
        HitKind::Patched => "blocks",
        HitKind::Detected => "finds",
        HitKind::Experimental => "watches",
        HitKind::Dropped => "ignores",
        HitKind::Masked => "masks",
        HitKind::Oversized(_) => return None,
    };
    let is_patch = matches!(hit.what, HitKind::Patched | HitKind::Experimental);
    let class = hit.class.map(|class| class.as_str()).or(is_patch.then_some(VIRTUAL_PATCH_CLASS));
    let shows = matches!(hit.what, HitKind::Patched | HitKind::Detected | HitKind::Experimental);
    let name = (rule.type_name == "regex").then(|| hit.name.to_string());
    Some(RuleEffect {
        point: Some(hit.point.clone()),
        class,
        signature: hit.signature.as_ref().map(ToString::to_string).or(name),
        payload: shows.then(|| hit.payload.clone()),
        ..RuleEffect::new(rule.id, rule.type_name, effect)
    })
}

/// The word for a rate limit that counts the request.
pub(super) const COUNTS: &str = "counts";

/// Which rate limit counts the request, and why others don't. Nothing is counted.
pub(super) fn rate_effects(
    snapshot: &Snapshot,
    active: &Active,
    inspector: &mut Inspector,
    view: &RequestView<'_>,
    parts: &RateKeyParts<'_>,
) -> Vec<RuleEffect> {
    let mut counted_by = None;
    let (mut keys, mut scratch) = (PointValues::default(), PathKeyScratch::default());
    active
        .rates(&snapshot.rules)
        .map(|(rule, limit)| {
            limit.keys(parts, &mut keys, &mut scratch, &mut |selector, keys| {
                inspector.values_at(&snapshot.engine, view, selector, keys);
            });
            let (effect, detail) = match (counted_by, !keys.is_empty()) {
                (_, false) => ("does_not_count", "its point is not there".to_owned()),
                (Some(lower), true) if !active.every_rate_counts() => {
                    ("does_not_count", format!("rule {lower} has a lower rate"))
                }
                (_, true) => {
                    counted_by = Some(rule);
                    (COUNTS, format!("answers {} above its rate", limit.status))
                }
            };
            RuleEffect { detail: Some(detail), ..RuleEffect::new(rule, "rate_limit", effect) }
        })
        .collect()
}
