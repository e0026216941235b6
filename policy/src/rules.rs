//! Rules: their order, and which one wins for a request.

use crate::mode::RuleMode;
use crate::policy::{ModeSource, RequestFacts};

/// A request as conditions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a RequestFacts<'a>,
    /// The normalised path.
    pub(crate) path: &'a [u8],
    /// The application.
    pub(crate) instance: &'a [u8],
}

/// A compiled mode rule, or the general mode.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// None is the general mode.
    pub(crate) id: Option<u64>,
    pub(crate) mode: RuleMode,
}

impl Rule {
    pub(crate) fn mode_source(&self) -> ModeSource {
        self.id.map_or(ModeSource::General, ModeSource::Rule)
    }
}

/// Buffers of the rule match.
#[derive(Debug, Default)]
pub(crate) struct MatchScratch {}

/// All rules, most specific first; the last one has no conditions.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
}

impl Rules {
    pub(crate) fn winner(&self, _scratch: &mut MatchScratch, _facts: &Facts<'_>) -> &Rule {
        &self.rules[self.rules.len() - 1]
    }
}

impl Rules {
    pub(crate) fn compile(source: &crate::PolicySource, _remarks: &mut crate::compile::Remarks) -> Self {
        Self { rules: vec![Rule { id: None, mode: source.general_mode }] }
    }
    pub(crate) fn explain(
        &self,
        _facts: &RequestFacts<'_>,
        _path: &[u8],
        _location: &crate::policy::Location,
        _policy: crate::Override,
        _local: crate::Mode,
    ) -> Vec<crate::RuleMatch> {
        Vec::new()
    }
}
