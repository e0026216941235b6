//! What rules found in a request, as details of events.

use std::sync::Arc;

use weir_inspect::{HitKind, RuleHit};
use weir_policy::{Reason, UploadAction};

use super::{Active, RuleSet};
use crate::decision::BodySeen;
use crate::snapshot::{FILE_UPLOAD_CLASS, VIRTUAL_PATCH_CLASS};
use crate::telemetry::AttackDetail;

/// A body, or a value in it, above the size that a rule sets.
#[derive(Clone, Debug)]
pub struct Oversized {
    /// The rule's id.
    pub rule: u64,
    /// What is too large.
    pub point: String,
    /// Its size in bytes, as far as that is known.
    pub bytes: u64,
    /// The size that is allowed.
    pub limit: u64,
    /// What happens.
    pub action: UploadAction,
}

impl Active {
    /// Everything that is larger than rules allow.
    pub fn oversized<'a>(
        &'a self,
        rules: &'a RuleSet,
        hits: &'a [RuleHit],
        body: BodySeen,
    ) -> impl Iterator<Item = Oversized> + 'a {
        let whole = self.body_sizes(rules).filter(move |(_, size)| body.bytes > size.limit);
        let whole = whole.map(move |(rule, size)| Oversized {
            rule,
            point: "body".to_owned(),
            bytes: body.bytes,
            limit: size.limit,
            action: size.action,
        });
        let parts = hits.iter().filter_map(|hit| {
            let HitKind::Oversized(bytes) = hit.what else { return None };
            let rule = rules.rule_of_directive(hit.directive)?;
            let upload = rule.upload()?;
            Some(Oversized {
                rule: rule.id,
                point: hit.point.clone(),
                bytes,
                limit: upload.limit,
                action: upload.action,
            })
        });
        whole.chain(parts).filter(|found| found.action != UploadAction::Off)
    }

    /// The strongest action for what is too large.
    pub fn upload_action(&self, rules: &RuleSet, hits: &[RuleHit], body: BodySeen) -> Option<UploadAction> {
        let strength = |action: &UploadAction| match action {
            UploadAction::Off => 0,
            UploadAction::Monitoring => 1,
            UploadAction::Inherited => 2,
            UploadAction::Block => 3,
        };
        self.oversized(rules, hits, body).map(|found| found.action).max_by_key(strength)
    }

    /// The rule that decided about a request which is blocked or recorded for this reason, if one did.
    pub fn decided_by(&self, rules: &RuleSet, hits: &[RuleHit], reason: Reason) -> Option<u64> {
        let patched = |hit: &&RuleHit| hit.what == HitKind::Patched;
        match reason {
            Reason::VirtualPatch => {
                let hit = hits.iter().find(patched)?;
                rules.rule_of_directive(hit.directive).map(|rule| rule.id)
            }
            _ => None,
        }
    }

    /// What rules found, one detail each.
    pub fn details<'a>(
        &'a self,
        rules: &'a RuleSet,
        hits: &'a [RuleHit],
        body: BodySeen,
    ) -> impl Iterator<Item = AttackDetail> + 'a {
        let found = hits.iter().filter_map(|hit| detail(rules, hit));
        found.chain(self.oversized(rules, hits, body).map(|found| {
            let evidence = format!("{} bytes, {} are allowed", found.bytes, found.limit);
            let mut detail =
                AttackDetail::new(FILE_UPLOAD_CLASS, found.point.as_bytes(), evidence.as_bytes());
            detail.add_rule(found.rule);
            detail
        }))
    }

    /// What experimental detectors found.
    pub fn experimental_details<'a>(
        &'a self,
        rules: &'a RuleSet,
        hits: &'a [RuleHit],
    ) -> impl Iterator<Item = AttackDetail> + 'a {
        let found = hits.iter().filter(|hit| hit.what == HitKind::Experimental);
        found.filter_map(|hit| detail(rules, hit))
    }
}

/// What a patch or a detector found.
fn detail(rules: &RuleSet, hit: &RuleHit) -> Option<AttackDetail> {
    let class = match (hit.what, hit.class) {
        (HitKind::Patched, _) | (HitKind::Experimental, None) => VIRTUAL_PATCH_CLASS,
        (HitKind::Detected | HitKind::Experimental, Some(class)) => class.as_str(),
        _ => return None,
    };
    let mut detail = AttackDetail::new(class, hit.point.as_bytes(), &hit.payload);
    detail.add_signature(Arc::clone(hit.signature.as_ref().unwrap_or(&hit.name)));
    detail.add_rule(rules.rule_of_directive(hit.directive)?.id);
    detail.experimental = hit.what == HitKind::Experimental;
    Some(detail)
}
