//! A request whose path servers may read in several ways.
//!
//! Which of the readings its origin takes is not known. So what is done has to be at least as strict as what any of them
//! asks for: what adds to that (a mode, a patch, a mask, a limit) counts if one reading asks for it; what takes away from
//! it counts if all of them do.

use arrayvec::ArrayVec;

use crate::attributes::Client;
use crate::explain::{Explanation, RuleMatch};
use crate::kinds::RuleType;
use crate::mode::Mode;
use crate::policy::{EffectIndex, LocationIndex, Policy, RequestFacts, Resolution, Scratch, Stage};
use crate::verdict::Finding;

/// The most readings of one path, the literal one included.
pub const READINGS_MAX: usize = 32;

/// What the readings of a path have in common, beyond the rules that hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) every_rate_counts: bool,
    pub(crate) general_time_limit_counts: bool,
}

/// What all readings of a path come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Server, location and application of the literal path; mode, list and stage of the strictest reading.
    pub resolution: Resolution,
    /// All of that for the strictest reading alone.
    pub strictest: Resolution,
    /// Which one that is among the others; none is the literal path.
    pub read_as: Option<usize>,
    /// Where the readings lead, each place once, that of the literal path first.
    pub locations: ArrayVec<LocationIndex, READINGS_MAX>,
    /// Not all readings lead to the same place, mode, list and rules.
    pub differ: bool,
}

/// How strictly a request is looked at: whether it is blocked whatever is found, what comes next, and the mode.
type Strictness = (bool, u8, Mode);

impl Policy {
    fn strictness(&self, resolution: &Resolution) -> Strictness {
        let stage = match resolution.stage {
            Stage::PassUninspected => 0,
            Stage::Inspect { hold: false } => 1,
            Stage::Inspect { hold: true } => 2,
            Stage::BlockNow(_) => 3,
        };
        (self.verdict(resolution, Finding::None).block, stage, resolution.mode)
    }

    /// As [`Policy::resolve_client`], for a path that may also mean each of `others`, of which at most
    /// [`READINGS_MAX`] - 1 are looked at. Afterwards [`Policy::effects`] gives the rules that hold:
    ///
    /// - those that add to what is looked at or done, if they hold for one reading; of types of which one rule counts, the
    ///   one of each reading;
    /// - those that take away from it ([`RuleKind::loosens`](crate::RuleKind::loosens)), if they hold for all readings that
    ///   are inspected;
    /// - masks also if the reading that they hold for is not inspected.
    ///
    /// Allocates only while `scratch` still grows.
    pub fn resolve_readings<P: AsRef<[u8]>>(
        &self,
        scratch: &mut Scratch,
        facts: &RequestFacts<'_>,
        others: &[P],
        client: &Client,
        now_unix_seconds: u64,
    ) -> Placed {
        let literal = self.resolve_one(scratch, facts, client, now_unix_seconds, true);
        let mut placed = Placed {
            resolution: literal,
            strictest: literal,
            read_as: None,
            locations: ArrayVec::from_iter([literal.location]),
            differ: false,
        };
        let is_inspected = |resolution: &Resolution| matches!(resolution.stage, Stage::Inspect { .. });
        let mut inspected = usize::from(is_inspected(&literal));
        let mut gathered = std::mem::take(&mut scratch.gathered);
        gathered.clear();
        gathered.extend_from_slice(&scratch.effects);
        let of_literal = gathered.len();
        scratch.matching.is_read_again = true;
        for (number, path) in others.iter().enumerate().take(READINGS_MAX - 1) {
            let path = path.as_ref();
            if path == facts.path || others[..number].iter().any(|earlier| earlier.as_ref() == path) {
                continue;
            }
            let facts = RequestFacts { path, ..*facts };
            let read = self.resolve_one(scratch, &facts, client, now_unix_seconds, true);
            placed.differ |= Resolution { mode_source: literal.mode_source, ..read } != literal
                || scratch.effects != gathered[..of_literal];
            gathered.extend_from_slice(&scratch.effects);
            inspected += usize::from(is_inspected(&read));
            if !placed.locations.contains(&read.location) {
                placed.locations.push(read.location);
            }
            if self.strictness(&read) > self.strictness(&placed.strictest) {
                (placed.strictest, placed.read_as) = (read, Some(number));
            }
        }
        scratch.matching.is_read_again = false;
        let Resolution { mode, mode_source, list, stage, .. } = placed.strictest;
        placed.resolution = Resolution { mode, mode_source, list, stage, ..literal };
        scratch.gathered = gathered;
        self.merge(scratch, stage, inspected);
        placed
    }

    /// Makes the rules that hold of those that hold for each reading, `inspected` of which are.
    fn merge(&self, scratch: &mut Scratch, stage: Stage, inspected: usize) {
        let Scratch { effects, merge, gathered, .. } = scratch;
        effects.clear();
        *merge = Merge::default();
        gathered.sort_unstable();
        if !matches!(stage, Stage::Inspect { .. }) {
            let masks = self.rules.effects().range(RuleType::Mask);
            let masks_hold = stage != Stage::PassUninspected;
            effects.extend(gathered.iter().filter(|effect| masks_hold && masks.contains(&effect.0)));
            effects.dedup();
            return;
        }
        let mut with_time_limit = 0;
        for same in gathered.chunk_by(|a, b| a == b) {
            let (rule_type, loosens) = self.rules.effects().nature(same[0]);
            let holds_for_all = same.len() == inspected;
            if loosens && !holds_for_all {
                continue;
            }
            match rule_type {
                RuleType::RateLimit => merge.every_rate_counts |= !holds_for_all,
                RuleType::OverTimeLimit => with_time_limit += same.len(),
                _ => {}
            }
            effects.push(same[0]);
        }
        merge.general_time_limit_counts = with_time_limit > 0 && with_time_limit < inspected;
    }

    /// Tells how [`Policy::resolve_readings`] comes to its answer: as the strictest reading does, but for the place, which
    /// is that of the literal path, and with the rules of all readings.
    pub fn explain_readings<P: AsRef<[u8]>>(
        &self,
        facts: &RequestFacts<'_>,
        others: &[P],
        client: &Client,
        now_unix_seconds: u64,
    ) -> Explanation {
        let literal = self.explain_client(facts, client, now_unix_seconds);
        if others.is_empty() {
            return literal;
        }
        let mut scratch = Scratch::default();
        let placed = self.resolve_readings(&mut scratch, facts, others, client, now_unix_seconds);
        let read = |path: &P| {
            let facts = RequestFacts { path: path.as_ref(), ..*facts };
            self.explain_client(&facts, client, now_unix_seconds)
        };
        let strictest = placed.read_as.and_then(|number| others.get(number)).map(read);
        let mut explanation = match strictest {
            None => literal.clone(),
            Some(strictest) => Explanation {
                location: literal.location.clone(),
                application: literal.application,
                normalised_path: literal.normalised_path.clone(),
                resolution: placed.resolution,
                ..strictest
            },
        };
        let readings = [literal].into_iter().chain(others.iter().take(READINGS_MAX - 1).map(read));
        let of_all: Vec<RuleMatch> = readings.flat_map(|explained| explained.rules).collect();
        self.explain_merged(&mut explanation.rules, of_all, &scratch);
        explanation
    }

    /// Adds the rules that other readings than the one explained are met by, and says which of all of them hold.
    fn explain_merged(&self, rules: &mut Vec<RuleMatch>, of_all: Vec<RuleMatch>, scratch: &Scratch) {
        let ids: Vec<u64> = self.effect_rules().map(|rule| rule.id).collect();
        let number = |rule: &RuleMatch| ids.iter().position(|id| *id == rule.id);
        for rule in of_all {
            let is_known = rules.iter().any(|known| known.id == rule.id);
            if rule.kind != RuleType::Mode.as_str() && !is_known {
                rules.push(rule);
            }
        }
        for rule in rules.iter_mut() {
            let Some(number) = number(rule) else { continue };
            let effect = EffectIndex(number as u32);
            let holds = scratch.effects.contains(&effect);
            let (_, loosens) = self.rules.effects().nature(effect);
            rule.why = match (holds, rule.wins) {
                (true, false) => "it holds for another reading of the path".to_owned(),
                (false, true) if loosens => {
                    "it takes something away, and doesn't hold for every reading of the path".to_owned()
                }
                (false, true) => {
                    "it doesn't run: another reading of the path is blocked before inspection".to_owned()
                }
                _ => std::mem::take(&mut rule.why),
            };
            rule.wins = holds;
        }
        rules.sort_by_key(number);
    }
}
