//! What rules beyond modes do on the data path: detectors and masks, response headers, time limits, rates and sizes.
//!
//! The policy says which rules hold for a request ([`weir_policy::Effects`]); a [`RuleSet`] knows what each of them does,
//! and a request keeps those that hold for it ([`Active`]). A request without any costs one look at an empty list.

mod active;
mod compile;
mod mask;
mod path_key;
mod rate;
mod report;

use std::sync::Arc;
use std::time::Duration;

use weir_inspect::{Directives, Selector};
use weir_policy::UploadAction;

use crate::config::OverLimit;
use crate::http::HeaderEdit;

pub use active::{Active, RateKeyParts};
pub(crate) use compile::attack_type;
pub use compile::{RuleError, Surroundings, compile, faults};
pub use path_key::{PathKey, PathKeyScratch};
pub use rate::{Admission, Rate, RateTable};
pub use report::Oversized;

/// The rules of a generation, by the policy's effect number.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Box<[Rule]>,
    /// What inspection is told.
    pub directives: Directives,
    /// The rule of each directive.
    directive_rules: Box<[u32]>,
    /// What is done to headers of responses.
    pub header_edits: Box<[HeaderEdit]>,
    /// The buckets of rate limits; absent where no rule has one. It outlives generations.
    pub rates: Option<Arc<RateTable>>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its id.
    pub id: u64,
    /// Its type, as in rule files.
    pub type_name: &'static str,
    /// Its number among the directives.
    directive: Option<u32>,
    enforcement: Enforcement,
}

/// What has to be done for a rule beside inspection with its directive.
#[derive(Debug)]
enum Enforcement {
    /// Nothing.
    Inspection,
    /// Inspection may block the request in any mode, for what is at a point.
    Patch {
        /// The point is in the body, so that the request must wait for its verdict.
        in_body: bool,
    },
    /// Values of a point are hidden.
    Mask,
    /// The number of a header's change.
    Header(u32),
    /// Another time limit.
    OverTime(Duration, OverLimit),
    /// A rate.
    Rate(RateRule),
    /// A size.
    Upload(UploadRule),
}

/// A rate limit.
#[derive(Debug)]
pub struct RateRule {
    /// The rate.
    pub rate: Rate,
    /// The status that refused requests get.
    pub status: u16,
    /// What requests are told apart by.
    pub key: RateKey,
    /// Marks the buckets as those of the rule with this id, point, rate, span of time and burst: a rule that says
    /// something else begins with empty ones.
    pub buckets: u64,
}

/// What requests are told apart by.
#[derive(Debug)]
pub enum RateKey {
    /// The client's address.
    RemoteAddr,
    /// The application.
    Instance,
    /// The method.
    Method,
    /// `http` or `https`.
    Scheme,
    /// The version of the protocol.
    Proto,
    /// The target or a part of its path.
    Path(PathKey),
    /// A value inside the request.
    Value(Selector),
}

impl RateKey {
    /// Whether it can be in the body.
    fn looks_at_body(&self) -> bool {
        matches!(self, Self::Value(selector) if selector.looks_at_body())
    }
}

/// A limit of size.
#[derive(Clone, Copy, Debug)]
pub struct UploadRule {
    /// Bytes that are still allowed.
    pub limit: u64,
    /// What happens above that.
    pub action: UploadAction,
    /// It is the whole body that is measured.
    pub whole_body: bool,
}

impl RuleSet {
    /// The rule with this effect number.
    pub fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(number as usize)
    }

    /// The rule that a directive stands for.
    pub fn rule_of_directive(&self, directive: u32) -> Option<&Rule> {
        self.rule(*self.directive_rules.get(directive as usize)?)
    }

    /// Takes over the buckets of the generation before, so that a reload lets nobody through anew.
    pub fn keep_rates_of(&mut self, before: &Self) {
        let Some(known) = &before.rates else { return };
        // A generation without any keeps them for the next: a rule that is taken out and put back goes on where it was.
        if self.rates.as_ref().is_none_or(|own| own.capacity() == known.capacity()) {
            self.rates = Some(Arc::clone(known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_rates(memory_bytes: usize) -> RuleSet {
        RuleSet { rates: Some(Arc::new(RateTable::new(memory_bytes))), ..RuleSet::default() }
    }

    fn same(one: &RuleSet, other: &RuleSet) -> bool {
        matches!((&one.rates, &other.rates), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }

    #[test]
    fn buckets_outlive_a_generation_without_rates() {
        let (first, mut without, mut again) = (with_rates(1 << 20), RuleSet::default(), with_rates(1 << 20));
        without.keep_rates_of(&first);
        again.keep_rates_of(&without);
        assert!(same(&again, &first));
        let mut larger = with_rates(2 << 20);
        larger.keep_rates_of(&again);
        assert!(!same(&larger, &first), "a table of another size begins anew");
    }
}
