//! The rules that hold for one request.

use std::net::IpAddr;
use std::time::Duration;

use weir_inspect::{Applied, PointValues, Selector};
use weir_policy::{Effects, UploadAction};

use super::{Enforcement, PathKeyScratch, RateKey, RateRule, Rule, RuleSet, UploadRule};
use crate::config::OverLimit;
use crate::http::{HeaderEdit, HeaderEdits};
use crate::snapshot::DetectionSettings;

/// The rules that hold for one request, and what they ask of its way. Reused from request to request.
#[derive(Debug, Default)]
pub struct Active {
    /// Effect numbers, in the policy's order.
    numbers: Vec<u32>,
    /// The directives among them.
    directives: Vec<u32>,
    /// The header edits among them.
    header_edits: Vec<u32>,
    needs: Needs,
    /// Longest time of those that rules set, and the strictest of what follows.
    over_time: Option<(Duration, OverLimit)>,
    /// Rules hold for some readings of the path and not for others.
    of_some_readings: OfSomeReadings,
}

/// What follows where rules hold for some readings of a path and not for others.
#[derive(Clone, Copy, Debug, Default)]
struct OfSomeReadings {
    /// The general limit of time holds beside those of rules.
    general_time_limit: bool,
    /// Every rate limit counts the request, and not the lowest alone.
    every_rate: bool,
    /// Segments of the path can't be told apart by their numbers.
    segments: bool,
}

/// What rules ask of a request's way.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    /// It waits for its body whatever the mode is.
    hold: bool,
    /// Its head can block it in any mode, so that this is looked at before anything goes on.
    head_first: bool,
    masks: bool,
    rates: bool,
    uploads: bool,
}

/// A request's parts that rates can count by without a look inside.
#[derive(Clone, Copy, Debug)]
pub struct RateKeyParts<'a> {
    /// The client.
    pub client: IpAddr,
    /// The application.
    pub application: i64,
    /// The method.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// The version of the protocol.
    pub proto: &'a [u8],
    /// The path as received.
    pub path: &'a [u8],
    /// What follows the first `?`.
    pub query: Option<&'a [u8]>,
    /// What servers may read in the path counts beside its normalised form.
    pub path_has_readings: bool,
}

impl Active {
    /// Forgets the last request's rules.
    pub fn clear(&mut self) {
        let Self { numbers, directives, header_edits, needs, over_time, of_some_readings } = self;
        for list in [numbers, directives, header_edits] {
            list.clear();
        }
        *needs = Needs::default();
        *over_time = None;
        *of_some_readings = OfSomeReadings::default();
    }

    /// Takes the rules that hold for a request.
    pub fn fill(&mut self, rules: &RuleSet, effects: &Effects<'_>) {
        self.clear();
        self.of_some_readings.general_time_limit = effects.general_time_limit_counts();
        self.of_some_readings.every_rate = effects.every_rate_counts();
        for effect in effects.all() {
            let Some(rule) = rules.rule(effect.0) else { continue };
            self.numbers.push(effect.0);
            self.directives.extend(rule.directive);
            let needs = &mut self.needs;
            match &rule.enforcement {
                Enforcement::Inspection => {}
                Enforcement::Patch { in_body: true } => needs.hold = true,
                Enforcement::Patch { in_body: false } => needs.head_first = true,
                Enforcement::Mask => needs.masks = true,
                Enforcement::Header(edit) => self.header_edits.push(*edit),
                Enforcement::OverTime(limit, then) => {
                    self.over_time = Some(slower(self.over_time.unwrap_or((*limit, *then)), (*limit, *then)));
                }
                Enforcement::Rate(rate) => {
                    needs.rates = true;
                    needs.hold |= rate.key.looks_at_body();
                }
                Enforcement::Upload(upload) => {
                    needs.uploads = true;
                    needs.hold |= !upload.whole_body && upload.action == UploadAction::Block;
                }
            }
        }
    }

    /// Says whether servers may divide the path of the request into segments in different ways.
    pub fn divides_differently(&mut self, differently: bool) {
        self.of_some_readings.segments = differently;
    }

    /// Whether every rate limit that holds counts the request, and not the lowest alone.
    pub fn every_rate_counts(&self) -> bool {
        self.of_some_readings.every_rate
    }

    /// Whether segments of the path can't be told apart by their numbers.
    pub fn has_unsure_segments(&self) -> bool {
        self.of_some_readings.segments
    }

    /// Whether no rule holds.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(super) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub(super) fn has_masks(&self) -> bool {
        self.needs.masks
    }

    /// Whether the request waits for its body whatever the mode is (design: a virtual patch looks at it).
    pub fn holds_body(&self) -> bool {
        self.needs.hold
    }

    /// Whether the head alone can block the request in any mode.
    pub fn looks_at_head_first(&self) -> bool {
        self.needs.head_first
    }

    /// What bounds the inspection of the request.
    pub fn settings(&self, general: &DetectionSettings) -> DetectionSettings {
        let Some(mut of_rules) = self.over_time else { return *general };
        if self.of_some_readings.general_time_limit {
            of_rules = slower(of_rules, (general.time_limit, general.over_time_limit));
        }
        let (time_limit, over_time_limit) = of_rules;
        DetectionSettings { time_limit, over_time_limit, ..*general }
    }

    /// What is done to the headers of the response.
    pub fn header_edits<'a>(&'a self, rules: &'a RuleSet) -> HeaderEdits<'a> {
        HeaderEdits { all: &rules.header_edits, chosen: &self.header_edits }
    }

    /// What inspection is told; nothing where no rule concerns it.
    pub fn applied<'a>(&'a self, rules: &'a RuleSet, unseen_body_bytes: u64) -> Option<Applied<'a>> {
        (!self.directives.is_empty()).then(|| self.all_applied(rules, unseen_body_bytes))
    }

    /// As [`Active::applied`], also where that is nothing.
    pub fn all_applied<'a>(&'a self, rules: &'a RuleSet, unseen_body_bytes: u64) -> Applied<'a> {
        Applied {
            directives: &rules.directives,
            active: &self.directives,
            unseen_body_bytes,
            unsure_segments: self.of_some_readings.segments,
            path_readings: &[],
            trace: false,
        }
    }

    /// The rules that hold, in the policy's order.
    pub fn rules<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = &'a Rule> {
        self.numbers.iter().filter_map(|number| rules.rule(*number))
    }

    /// The rate limits that hold, the one with the lowest rate first, with the ids of their rules.
    pub fn rates<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = (u64, &'a RateRule)> {
        let numbers = if self.needs.rates { &*self.numbers } else { &[] };
        numbers.iter().filter_map(|number| {
            let rule = rules.rule(*number)?;
            match &rule.enforcement {
                Enforcement::Rate(rate) => Some((rule.id, rate)),
                _ => None,
            }
        })
    }

    /// Whether a rate limit counts by something in the body.
    pub fn counts_by_body(&self, rules: &RuleSet) -> bool {
        self.rates(rules).any(|(_, rate)| rate.key.looks_at_body())
    }

    /// The limits of size that hold for the whole body, with the ids of their rules.
    pub fn body_sizes<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = (u64, UploadRule)> + use<'a> {
        let numbers = if self.needs.uploads { &*self.numbers } else { &[] };
        numbers.iter().filter_map(|number| {
            let rule = rules.rule(*number)?;
            match &rule.enforcement {
                Enforcement::Upload(upload) if upload.whole_body => Some((rule.id, *upload)),
                _ => None,
            }
        })
    }
}

/// The limits of time that are at least as strict as both: the longer time, since it shows more, and a block if one says so.
fn slower(one: (Duration, OverLimit), other: (Duration, OverLimit)) -> (Duration, OverLimit) {
    let then = if other.1 == OverLimit::Block { other.1 } else { one.1 };
    (one.0.max(other.0), then)
}

impl Rule {
    /// The time limit of inspection that the rule sets, and what happens beyond.
    pub fn time_limit(&self) -> Option<(Duration, OverLimit)> {
        match &self.enforcement {
            Enforcement::OverTime(time_limit, then) => Some((*time_limit, *then)),
            _ => None,
        }
    }

    /// What the rule does to a header of the response.
    pub fn header_edit<'a>(&self, rules: &'a RuleSet) -> Option<&'a HeaderEdit> {
        match &self.enforcement {
            Enforcement::Header(number) => rules.header_edits.get(*number as usize),
            _ => None,
        }
    }

    /// What happens to values above the rule's size.
    pub fn upload(&self) -> Option<UploadRule> {
        match &self.enforcement {
            Enforcement::Upload(upload) => Some(*upload),
            _ => None,
        }
    }
}

impl RateRule {
    /// Writes what the request is counted by into `keys`: nothing where the request doesn't have the point, and then the rule
    /// doesn't concern it. `scratch` is worked in; `values_at` writes the values of points that are no part of the path.
    pub fn keys(
        &self,
        parts: &RateKeyParts<'_>,
        keys: &mut PointValues,
        scratch: &mut PathKeyScratch,
        values_at: &mut dyn FnMut(&Selector, &mut PointValues),
    ) {
        keys.clear();
        match &self.key {
            RateKey::RemoteAddr => match parts.client {
                IpAddr::V4(address) => keys.push(&address.octets()),
                IpAddr::V6(address) => keys.push(&address.octets()),
            },
            RateKey::Instance => keys.push(&parts.application.to_le_bytes()),
            RateKey::Method => keys.push(parts.method),
            RateKey::Scheme => keys.push(parts.scheme),
            RateKey::Proto => keys.push(parts.proto),
            RateKey::Path(key) => key.write(parts, keys, scratch),
            RateKey::Value(selector) => values_at(selector, keys),
        }
    }
}
