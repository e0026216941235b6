//! Rules: their conditions, their order, and which of them count for a request.

mod check;
mod constructor;
mod contradictions;
mod cross;
mod edges;
mod effects;
mod facts;
mod regexes;
mod remarks;
mod rivals;
mod shadows;
mod tree;
mod walk;

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::compile::Remarks;
use crate::error::Place;
use crate::explain::{GeneralMode, Idle, RuleMatch};
use crate::kinds::RuleKind;
use crate::mode::{Mode, Override, RuleMode};
use crate::policy::{EffectIndex, ModeSource};
use crate::regex::{Refusal, Size};
use crate::source::{PolicySource, RuleSource};
pub(crate) use check::is_header_name;
use check::{Check, Kind, PointKey, difference};
pub(crate) use effects::Effects;
pub(crate) use facts::Facts;
use tree::{Entry, Tree};
use walk::RegexAnswers;
pub(crate) use walk::{First, Known, MatchScratch};
use weir_hyperscan::Database;

/// The most conditions that a rule may have.
const MAX_CONDITIONS: usize = 300;

/// A compiled mode rule, or the general mode.
#[derive(Debug)]
struct Rule {
    /// None is the general mode.
    id: Option<u64>,
    mode: RuleMode,
    /// In the order of their points.
    checks: Box<[Check]>,
    /// Index in the source.
    index: usize,
}

impl Rule {
    /// The total order of rules (spec S3.4): `Less` wins. The first point at which they differ decides, then the stricter
    /// mode, then the lower id, that of the general mode being the lowest.
    fn order(&self, other: &Self) -> Ordering {
        let (order, _) = difference(&self.checks, &other.checks);
        order.then_with(|| other.mode.cmp(&self.mode)).then_with(|| self.id.cmp(&other.id))
    }

    fn name(&self) -> String {
        self.id.map_or_else(|| "the general mode".to_owned(), |id| format!("rule {id}"))
    }
}

/// Whether all conditions hold, asked one by one.
fn matches(checks: &[Check], facts: &Facts<'_>, regexes: &RegexAnswers<'_>) -> bool {
    checks.iter().all(|check| {
        let values = values_at(&check.point, facts);
        match check.kind {
            Kind::Absent => values.is_empty(),
            Kind::Iequal if check.point == PointKey::Host => {
                !values.is_empty() && *facts.host.name == *check.value
            }
            Kind::Equal | Kind::HostWithPort => values.iter().any(|value| **value == *check.value),
            Kind::Iequal => values.iter().any(|value| value.eq_ignore_ascii_case(&check.value)),
            Kind::Present => values.iter().any(|value| !value.is_empty()),
            Kind::Regex => regexes.holds(check),
        }
    })
}

/// All values of a point.
fn values_at(point: &PointKey, facts: &Facts<'_>) -> Vec<Vec<u8>> {
    match point {
        PointKey::Query(name) => {
            let decode = |text| facts::decoded(text, &mut Vec::new()).to_vec();
            let named = facts.parameters().filter(|(key, _)| decode(key) == **name);
            named.map(|(_, value)| decode(value)).collect()
        }
        PointKey::Header(name) => {
            let named = facts.request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.to_vec()).collect()
        }
        PointKey::Uri => {
            let mut uri = Vec::new();
            facts.write_uri(&mut uri);
            vec![uri]
        }
        _ => facts.single(point).map(<[u8]>::to_vec).into_iter().collect(),
    }
}

/// All rules and the general mode.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Those that set the mode, most specific first; the last one has no conditions.
    rules: Box<[Rule]>,
    /// The ids of `rules`, close together for the hot path.
    ids: Box<[Option<u64>]>,
    /// The others.
    effects: Effects,
    tree: Tree,
}

impl Rules {
    pub(crate) fn compile(source: &PolicySource, remarks: &mut Remarks) -> Self {
        let general = Rule { id: None, mode: source.general_mode, checks: Box::default(), index: 0 };
        let mut rules = vec![general];
        let mut others = Vec::new();
        let ids = take_ids(&source.rules, remarks);
        let applications = remarks::applications(source);
        let mut size_of_detectors = Size::default();
        for (index, rule) in source.rules.iter().enumerate() {
            let place = Place::Rule { index, id: rule.id };
            let checks = compile_checks(rule, &place, remarks);
            remarks::warn_of_unknown_application(&checks, &applications, &place, remarks);
            match rule.kind {
                RuleKind::Mode(mode) => rules.push(Rule { id: Some(rule.id), mode, checks, index }),
                _ => {
                    effects::check_kind(rule, &place, &ids, &source.rules, &mut size_of_detectors, remarks);
                    others.push((index, checks));
                }
            }
        }
        rules.sort_unstable_by(Rule::order);
        let effects = Effects::new(&source.rules, others);
        let mut refused = Vec::new();
        let tree = {
            let modes: Vec<Entry<'_>> =
                rules.iter().map(|rule| Entry { checks: &rule.checks, column: rule.mode.column() }).collect();
            let mut hidden = |hidden: u32, by: u32| {
                let (hidden, by) = (&rules[hidden as usize], &rules[by as usize]);
                if let Some(id) = hidden.id {
                    let place = Place::Rule { index: hidden.index, id };
                    let name = by.name();
                    remarks.warn(
                        &place,
                        format!("it never wins: {name} has the same conditions and goes before it"),
                    );
                }
            };
            tree::build(&modes, &effects.scopes(), &mut hidden, &mut |to_blame, refusal| {
                refused.push((to_blame.map(|(point, text)| (point.clone(), text.to_vec())), refusal));
            })
        };
        if remarks.errors.is_empty() {
            rivals::warn_of_modes(&rules, &applications, remarks);
            let others = effects.rivals(&source.rules);
            rivals::warn_of_others(&others, &applications, remarks);
            cross::warn_of_narrow(&others, &source.signature_classes, &applications, remarks);
            cross::warn_of_exceptions(&others, remarks);
            cross::warn_of_idle(source, &rules, &others, remarks);
        }
        for (to_blame, refusal) in refused {
            report_refused(source, to_blame, refusal, remarks);
        }
        let ids = rules.iter().map(|rule| rule.id).collect();
        Self { rules: rules.into(), ids, effects, tree }
    }

    /// All that scans for regexes.
    pub(crate) fn databases(&self) -> impl Iterator<Item = &Database> {
        self.tree.databases()
    }

    /// Bytes that they take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of_checks = |checks: &[Check]| checks.iter().map(Check::memory_bytes).sum::<usize>();
        let rules = self.rules.iter().map(|rule| size_of::<Rule>() + of_checks(&rule.checks));
        rules.sum::<usize>()
            + size_of_val(&*self.ids)
            + self.effects.memory_bytes()
            + self.tree.memory_bytes()
    }

    /// What rules tell apart of an application, asked once when a policy is compiled.
    pub(crate) fn instance(&self, application: &str) -> Known {
        walk::known_instance(&self.tree, application.as_bytes())
    }

    /// The rule whose mode counts; the general mode if no other matches. `instance` is what [`Self::instance`] gives for
    /// the application.
    pub(crate) fn winner(&self, scratch: &mut MatchScratch, facts: &Facts<'_>, instance: Known) -> First {
        walk::first_match(&self.tree, scratch, facts, instance)
    }

    /// The numbers of all other rules that count, in their order. [`Self::winner`] was asked for the same request just
    /// before.
    pub(crate) fn collect_effects(
        &self,
        scratch: &mut MatchScratch,
        facts: &Facts<'_>,
        out: &mut Vec<EffectIndex>,
    ) {
        out.clear();
        if !self.effects.is_empty() {
            walk::collect_effects(&self.tree, scratch, facts);
            self.effects.settle(&scratch.effects, out);
        }
    }

    /// The rules beside those of modes.
    pub(crate) const fn effects(&self) -> &Effects {
        &self.effects
    }

    /// Where a mode comes from that this rule sets.
    pub(crate) fn mode_source(&self, winner: First) -> ModeSource {
        self.ids.get(winner.rule as usize).copied().flatten().map_or(ModeSource::General, ModeSource::Rule)
    }

    /// Every rule that matches, in order, with the reasons: those of modes, then the others; and what becomes of the
    /// general mode. `idle` says why no other
    /// rule runs, if none does.
    pub(crate) fn explain(
        &self,
        facts: &Facts<'_>,
        policy: Override,
        local: Mode,
        idle: Option<Idle>,
    ) -> (Vec<RuleMatch>, GeneralMode) {
        let regexes = RegexAnswers::new(&self.tree, facts);
        let matching: Vec<&Rule> =
            self.rules.iter().filter(|rule| matches(&rule.checks, facts, &regexes)).collect();
        let mut general = GeneralMode { mode: RuleMode::Default, wins: false, why: String::new() };
        let mut told = Vec::new();
        for (place, rule) in matching.iter().enumerate() {
            let wins = place == 0;
            let why = if wins { why_it_wins(rule, policy, local) } else { why_it_loses(rule, matching[0]) };
            match rule.id {
                Some(id) => {
                    let (index, mode) = (rule.index, Some(rule.mode));
                    told.push(RuleMatch { id, index, kind: "mode", mode, wins, why });
                }
                None => general = GeneralMode { mode: rule.mode, wins, why },
            }
        }
        told.extend(self.effects.explain(facts, &regexes, idle));
        (told, general)
    }
}

/// Reports a regex that only turned out to be too much when all of them were put together, at the rules that have it.
fn report_refused(
    source: &PolicySource,
    to_blame: Option<(PointKey, Vec<u8>)>,
    refusal: Refusal,
    remarks: &mut Remarks,
) {
    let Refusal { problem, expected } = refusal;
    let Some((point, text)) = to_blame else {
        return remarks.error(&Place::Policy, "rule", problem, expected);
    };
    for (index, rule) in source.rules.iter().enumerate() {
        let place = Place::Rule { index, id: rule.id };
        let checks = compile_checks(rule, &place, &mut Remarks::default());
        if checks
            .iter()
            .any(|check| check.kind == Kind::Regex && check.point == point && *check.value == text)
        {
            let shown = String::from_utf8_lossy(&text);
            remarks.error(&place, "when", format!("`{shown}` at {point}: {problem}"), expected.clone());
        }
    }
}

/// The rules by their ids, which have to be unique.
fn take_ids(rules: &[RuleSource], remarks: &mut Remarks) -> HashMap<u64, usize> {
    let mut ids = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        if ids.insert(rule.id, index).is_some() {
            let place = Place::Rule { index, id: rule.id };
            remarks.error(&place, "id", format!("{} is taken by another rule", rule.id), "a unique number");
        }
    }
    ids
}

fn compile_checks(rule: &RuleSource, place: &Place, remarks: &mut Remarks) -> Box<[Check]> {
    let mut checks = Vec::new();
    if let Some(uri) = &rule.uri {
        match constructor::parse(uri) {
            Ok(parsed) => checks.extend(parsed.into_iter().filter_map(|check| match check.kind {
                Kind::Regex => {
                    let text = String::from_utf8_lossy(&check.value);
                    Check::regex(check.point, &text, "uri", place, remarks)
                }
                _ => Some(check),
            })),
            Err(refusal) => {
                remarks.error(place, "uri", format!("`{uri}`: {}", refusal.problem), refusal.expected)
            }
        }
    }
    for (position, condition) in rule.when.iter().enumerate() {
        checks.extend(Check::from_condition(condition, &format!("when[{position}]"), place, remarks));
    }
    if checks.len() > MAX_CONDITIONS {
        let problem = format!("{} conditions are too many", checks.len());
        remarks.error(place, "when", problem, format!("at most {MAX_CONDITIONS}, those of `uri` included"));
        checks.clear();
    }
    check::normalise(&mut checks);
    contradictions::warn(&checks, place, remarks);
    checks.into()
}

fn why_it_wins(rule: &Rule, policy: Override, local: Mode) -> String {
    let counts = match (policy, rule.mode) {
        (Override::Off, _) => "but mode_allow_override is off, so the local mode counts".to_owned(),
        (_, RuleMode::Default) => "and leaves the mode to the local one".to_owned(),
        (Override::Strict, RuleMode::Set(mode)) if mode <= local => {
            format!("but mode_allow_override is strict and {mode} is not stricter than the local {local}")
        }
        (Override::Strict, _) => {
            format!("and stricter than the local {local}, as mode_allow_override strict asks for")
        }
        (Override::On, _) => "and mode_allow_override is on".to_owned(),
    };
    match rule.id {
        Some(_) => format!("it is the most specific rule that matches, {counts}"),
        None => format!("no rule goes before it, {counts}"),
    }
}

fn why_it_loses(rule: &Rule, winner: &Rule) -> String {
    let name = winner.name();
    why_less_specific(&name, &winner.checks, &rule.checks).unwrap_or_else(|| {
        if winner.mode == rule.mode {
            format!("{name} is as specific and its id is lower")
        } else {
            format!("{name} is as specific and its mode is stricter")
        }
    })
}

/// Why a rule with these checks goes behind `winner`, unless both are equally specific.
fn why_less_specific(winner: &str, winning: &[Check], losing: &[Check]) -> Option<String> {
    let difference = difference(winning, losing).1?;
    Some(format!("{winner} is more specific: {difference}"))
}

#[cfg(test)]
mod tests;
