//! One worker's inspector: decompose, decode, scan once, confirm, score.

use std::ops::ControlFlow;
use std::sync::Arc;

use regex_automata::Input;
use regex_automata::meta::Cache;

use crate::arena::Arena;
use crate::class::AttackClass;
use crate::confirm::{self, SqliVerdict};
use crate::decode::Expander;
use crate::engine::{Engine, EngineError, Rule};
use crate::hyperscan::Scratch;
use crate::limits::OverLimit;
use crate::points;
use crate::report::{Finding, Report};
use crate::request::RequestView;

/// The most bytes of evidence in a finding.
const PAYLOAD_BYTES_MAX: usize = 256;

/// How much of a value is shown before and after what the pattern matched, in bytes.
const PAYLOAD_CONTEXT_BYTES: usize = 48;

/// The most findings of one signature in one request: more of the same say nothing new.
const FINDINGS_PER_RULE_MAX: u32 = 4;

/// The mark of a rule that has not nominated anything in this request.
const NO_VALUE: u32 = u32::MAX;

/// Working memory for inspections, one per worker and reused for each request.
///
/// It may be used with another engine than the one it came from, such as after a reload: it then fits itself to it.
#[derive(Debug)]
pub struct Inspector {
    scratch: Scratch,
    arena: Arena,
    expander: Expander,
    nominations: Vec<Nomination>,
    rules: Vec<RuleState>,
    /// The database of the engine that `rules` belongs to.
    database: u64,
    findings: Vec<Finding>,
    work: Work,
}

/// A pattern matched inside a value.
#[derive(Debug, Clone, Copy)]
struct Nomination {
    value: u32,
    rule: u32,
}

/// What an inspector keeps per rule.
#[derive(Debug)]
struct RuleState {
    /// The value that the rule nominated last, so that each pair is kept once.
    last_value: u32,
    /// How many values the rule was confirmed for in this request. The first one counts for the score.
    confirmed: u32,
    pattern_cache: Option<Box<Cache>>,
    second_cache: Option<Box<Cache>>,
}

/// How much closer looks have cost so far in this request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Matches that the scan reported.
    pub(crate) matches: usize,
    /// Values that were read by a confirmer, with repetition.
    pub(crate) confirmations: usize,
    /// The bytes of those.
    pub(crate) confirmed_bytes: usize,
}

impl Inspector {
    pub(crate) fn new(engine: &Engine) -> Result<Self, EngineError> {
        let mut inspector = Self {
            scratch: Scratch::new(&engine.database)?,
            arena: Arena::new(engine.options.limits),
            expander: Expander::default(),
            nominations: Vec::new(),
            rules: Vec::new(),
            database: engine.database.identity(),
            findings: Vec::new(),
            work: Work::default(),
        };
        inspector.fit(engine);
        Ok(inspector)
    }

    /// Inspects one request. No allocation happens for a request without nominations once the buffers have grown to the
    /// size of such requests.
    pub fn inspect<'s>(&'s mut self, engine: &Engine, request: &RequestView<'_>) -> Report<'s> {
        self.inspect_within(engine, request, &mut || false)
    }

    /// As [`Inspector::inspect`], but stops early once `time_is_up` says so, and reports [`OverLimit::Time`]. It is asked
    /// between the stages and then before every closer look, so the rest of one stage is the most that is overrun.
    pub fn inspect_within<'s>(
        &'s mut self,
        engine: &Engine,
        request: &RequestView<'_>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Report<'s> {
        if self.database != engine.database.identity() {
            self.fit(engine);
        }
        self.arena.reset(engine.options.limits);
        self.nominations.clear();
        self.findings.clear();
        self.work = Work::default();
        points::decompose(request, &mut self.expander, &mut self.arena);
        self.expander.expand(&mut self.arena);
        if time_is_up() {
            self.arena.hit_limit(OverLimit::Time);
        } else {
            self.scan(engine);
        }
        let attack = !self.nominations.is_empty() && self.confirm_all(engine, request, time_is_up);
        Report { findings: &self.findings, attack, over_limit: self.arena.over_limit() }
    }

    /// Runs only the matcher, over bytes that stand for a request's values, and returns how many matches it reports: what
    /// the cost of signatures is measured with.
    pub fn count_matches(&mut self, engine: &Engine, values: &[u8]) -> usize {
        let mut matches = 0;
        let scanned = self.scratch.scan(&engine.database, values, &mut |_, _| {
            matches += 1;
            ControlFlow::Continue(())
        });
        if scanned.is_ok() { matches } else { 0 }
    }

    #[cfg(test)]
    pub(crate) fn work(&self) -> (Work, usize) {
        (self.work, self.arena.bytes().len())
    }

    /// Makes the per-rule state that of another engine.
    fn fit(&mut self, engine: &Engine) {
        self.database = engine.database.identity();
        self.rules.clear();
        self.rules.resize_with(engine.rules.len(), || RuleState {
            last_value: NO_VALUE,
            confirmed: 0,
            pattern_cache: None,
            second_cache: None,
        });
    }

    fn scan(&mut self, engine: &Engine) {
        let Self { scratch, arena, nominations, rules, work, .. } = self;
        let limit = engine.options.limits.confirmations;
        let mut too_many = false;
        let scanned = scratch.scan(&engine.database, arena.bytes(), &mut |rule, end| {
            work.matches += 1;
            let Some(value) = arena.value_ending_at(end) else { return ControlFlow::Continue(()) };
            let Some(state) = rules.get_mut(rule as usize) else { return ControlFlow::Continue(()) };
            let number = value as u32;
            if state.last_value == number
                || !engine.rules[rule as usize].places.contains(arena.values()[value].place)
            {
                return ControlFlow::Continue(());
            }
            if nominations.len() >= limit {
                too_many = true;
                return ControlFlow::Break(());
            }
            state.last_value = number;
            nominations.push(Nomination { value: number, rule });
            ControlFlow::Continue(())
        });
        if scanned.is_err() {
            arena.hit_limit(OverLimit::Memory);
        }
        if too_many {
            arena.hit_limit(OverLimit::Confirmations);
        }
    }

    /// Confirms all nominations and returns whether a class reaches the score of an attack.
    fn confirm_all(
        &mut self,
        engine: &Engine,
        request: &RequestView<'_>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        let mut scores = [0_u32; AttackClass::ALL.len()];
        let nominations = std::mem::take(&mut self.nominations);
        let mut sqli = SqliVerdict::default();
        for nomination in &nominations {
            if self.rules[nomination.rule as usize].confirmed >= FINDINGS_PER_RULE_MAX {
                continue;
            }
            let rule = &engine.rules[nomination.rule as usize];
            let value = self.arena.values()[nomination.value as usize];
            self.work.confirmations += 1;
            self.work.confirmed_bytes += value.span.len();
            if self.work.confirmed_bytes > engine.options.limits.confirmed_bytes {
                self.arena.hit_limit(OverLimit::Confirmations);
                break;
            }
            if time_is_up() {
                self.arena.hit_limit(OverLimit::Time);
                break;
            }
            let state = &mut self.rules[nomination.rule as usize];
            let bytes = self.arena.slice(value.span);
            sqli.turn_to(nomination.value);
            let Some((start, end)) = look_closer(rule, state, bytes, &mut sqli) else { continue };
            state.confirmed += 1;
            if state.confirmed == 1 {
                let score = &mut scores[rule.class as usize];
                *score = score.saturating_add(rule.score);
            }
            if self.findings.len() < engine.options.limits.findings {
                self.findings.push(Finding {
                    class: rule.class,
                    point: self.arena.label(value.node, request.headers),
                    payload: evidence(bytes, start, end).to_vec(),
                    signature: Arc::clone(&rule.id),
                    score: rule.score,
                    confirmed_by: rule.confirmer.as_str(),
                });
            }
        }
        for nomination in &nominations {
            let state = &mut self.rules[nomination.rule as usize];
            state.last_value = NO_VALUE;
            state.confirmed = 0;
        }
        self.nominations = nominations;
        scores.iter().any(|score| *score >= engine.options.min_score.max(1))
    }
}

/// Finds the pattern's matches inside the one value and has the confirmer look at each, up to a few: the scan may have
/// matched over the border of a value, and only one of several matches may be the attack.
fn look_closer(
    rule: &Rule,
    state: &mut RuleState,
    value: &[u8],
    sqli: &mut SqliVerdict,
) -> Option<(usize, usize)> {
    const MATCHES_MAX: usize = 8;
    let cache = state.pattern_cache.get_or_insert_with(|| Box::new(rule.pattern.create_cache()));
    let mut from = 0;
    for _ in 0..MATCHES_MAX {
        let found = rule.pattern.search_with(cache, &Input::new(value).range(from..))?;
        let second = rule.second.as_ref().map(|second| {
            (second, &mut **state.second_cache.get_or_insert_with(|| Box::new(second.create_cache())))
        });
        if confirm::confirm(rule.confirmer, second, value, found.range(), sqli) {
            return Some((found.start(), found.end()));
        }
        if !rule.confirmer.depends_on_match() {
            return None;
        }
        from = found.end();
    }
    None
}

/// What the pattern matched, with context, within the limit.
fn evidence(value: &[u8], start: usize, end: usize) -> &[u8] {
    let from = start.saturating_sub(PAYLOAD_CONTEXT_BYTES);
    let to = end.saturating_add(PAYLOAD_CONTEXT_BYTES).min(value.len()).min(from + PAYLOAD_BYTES_MAX);
    &value[from..to]
}
