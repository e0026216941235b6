//! How a request's values became findings, and findings scores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use weir_inspect::{Finding, Nominated, Outcome};

use super::text::write_bytes;
use super::{Decided, Explanation};

/// What patterns nominated, as `weir explain --json` prints it.
pub(super) fn to_json(nominations: &[Nominated]) -> Vec<Value> {
    nominations
        .iter()
        .map(|nominated| {
            json!({
                "class": nominated.class.as_str(),
                "point": nominated.point,
                "payload": String::from_utf8_lossy(&nominated.payload),
                "signature": &*nominated.signature,
                "score": nominated.score,
                "confirmer": nominated.confirmer,
                "confirmed": nominated.outcome != Outcome::NotConfirmed,
                "outcome": nominated.outcome.as_str(),
            })
        })
        .collect()
}

/// The score of each class that something was found of: each signature counts once.
pub(super) fn scores(findings: &[Finding]) -> BTreeMap<&'static str, u32> {
    let mut counted = BTreeSet::new();
    let mut scores = BTreeMap::new();
    for finding in findings {
        if counted.insert(&*finding.signature) {
            let score: &mut u32 = scores.entry(finding.class.as_str()).or_default();
            *score = score.saturating_add(finding.score);
        }
    }
    scores
}

/// How many findings or nominations are named where one line has to do.
const NAMED_MAX: usize = 4;

/// Class, signature, point and evidence of each, as far as there is room.
fn listed<'a>(signs: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a [u8])>) -> String {
    let mut text = String::new();
    for (index, (class, signature, point, payload)) in signs.enumerate() {
        if index == NAMED_MAX {
            text.push_str("; and more");
            break;
        }
        let separator = if index == 0 { "" } else { "; " };
        // Writing to a String doesn't fail.
        let _ = write!(text, "{separator}{class} by {signature} at {point}: ");
        let _ = write_bytes(&mut text, payload);
    }
    text
}

impl Explanation {
    /// What decided, on one line: what was found, or what was nominated and not confirmed.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Refused { status, code, detail } => format!("{status} ({code}): {detail}"),
            Self::Decided(decided) => decided.in_short(),
        }
    }
}

impl Decided {
    fn in_short(&self) -> String {
        if !self.inspected {
            return format!("not inspected: {}", self.verdict.reason.as_str());
        }
        let limit = self.shortened.map(|cut| format!("not all was inspected ({}); ", cut.limit));
        let limit = limit.unwrap_or_default();
        let found = listed(self.findings.iter().map(|finding| {
            (finding.class.as_str(), &*finding.signature, finding.point.as_str(), &*finding.payload)
        }));
        if self.verdict.block && !found.is_empty() {
            return format!("{limit}{found}");
        }
        if !found.is_empty() {
            let is_attack = scores(&self.findings).values().any(|score| *score >= self.min_score);
            let why = if is_attack { "found, but not blocked in this mode" } else { "scores too little" };
            return format!("{limit}{why}: {found}");
        }
        let nominated = listed(self.nominations.iter().map(|nominated| {
            (nominated.class.as_str(), &*nominated.signature, nominated.point.as_str(), &*nominated.payload)
        }));
        if nominated.is_empty() {
            return format!("{limit}nothing is nominated, reason {}", self.verdict.reason.as_str());
        }
        format!("{limit}nominated, not confirmed: {nominated}")
    }
}
