//! Where the rules in force are written, for whoever asks why.

use crate::config::{Place, RulesConfig};

/// Where something is written, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written<'a> {
    /// `file`, or `api` for what came over the admin API.
    pub source: &'static str,
    /// The place in the rules file, or in `state_dir`.
    pub place: &'a Place,
}

/// The places of the rules and of the general mode.
#[derive(Clone, Debug, Default)]
pub struct RulePlaces {
    /// By index in the policy's source.
    rules: Box<[(Place, Source)]>,
    /// None where nobody sets it.
    general_mode: Option<(Place, Source)>,
}

type Source = &'static str;

/// What came out of a file of the config.
pub(crate) const FILE: Source = "file";
/// What came over the admin API.
pub(crate) const API: Source = "api";

/// Who wrote what stands at a place.
fn source_of(rules: &RulesConfig, place: &Place) -> Source {
    if rules.is_of_api(place) { API } else { FILE }
}

impl RulePlaces {
    pub(super) fn new(rules: &RulesConfig) -> Self {
        let with_source = |place: &Place| (place.clone(), source_of(rules, place));
        Self {
            rules: rules.rules.iter().map(|rule| with_source(&rule.place)).collect(),
            general_mode: rules.general_mode_place.as_ref().map(with_source),
        }
    }

    /// Where the rule with this index in the policy's source is written.
    pub fn rule(&self, index: usize) -> Option<Written<'_>> {
        self.rules.get(index).map(written)
    }

    /// Where the general mode is written, if it is.
    pub fn general_mode(&self) -> Option<Written<'_>> {
        self.general_mode.as_ref().map(written)
    }
}

fn written((place, source): &(Place, Source)) -> Written<'_> {
    Written { source, place }
}
