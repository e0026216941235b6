//! One worker's inspector: decompose, decode, scan once, confirm, score.

use std::ops::ControlFlow;
use std::sync::Arc;

use regex_automata::Input;

use crate::arena::Arena;
use crate::class::AttackClass;
use crate::confirm::{self, BeforeCommands, Context, SqliVerdict};
use crate::decode::Expander;
use crate::directives::{
    self, Applied, Detectors, HitKind, Look, Masks, PointValues, RuleHit, Scope, Selector,
};
use crate::engine::{Engine, EngineError, Rule};
use crate::graphql::Documents;
use crate::limits::OverLimit;
use crate::nominate::{Nomination, Nominator, RuleState, is_patched};
use crate::points;
use crate::reading;
use crate::repeated::Repeated;
use crate::report::{Finding, Report};
use crate::request::RequestView;
use crate::trace::{Outcome, Trace};
use weir_hyperscan::Scratch;

/// The most findings of one signature in one request: more of the same say nothing new.
const FINDINGS_PER_RULE_MAX: u32 = 4;

/// For how many bytes of values [`Limits::confirmed_bytes`](crate::Limits::confirmed_bytes) is meant; for more there is
/// more.
const VALUE_BYTES_PER_ROOM: usize = 256 << 10;

/// What stands in place of a signature in the finding of a data bomb.
const BOMB_SIGNATURE: &str = "data-bomb";

/// Its score.
const BOMB_SCORE: u32 = 10;

/// Working memory for inspections, one per worker and reused for each request.
///
/// It may be used with another engine than the one it came from, such as after a reload: it then fits itself to it.
#[derive(Debug)]
pub struct Inspector {
    scratch: Scratch,
    arena: Arena,
    expander: Expander,
    documents: Documents,
    nominations: Vec<Nomination>,
    repeated: Repeated,
    rules: Vec<RuleState>,
    /// The database of the engine that `rules` belongs to.
    database: u64,
    findings: Vec<Finding>,
    detectors: Detectors,
    masks: Masks,
    hits: Vec<RuleHit>,
    trace: Trace,
    work: Work,
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
            documents: Documents::default(),
            nominations: Vec::new(),
            repeated: Repeated::default(),
            rules: Vec::new(),
            database: engine.database.identity(),
            findings: Vec::new(),
            detectors: Detectors::default(),
            masks: Masks::default(),
            hits: Vec::new(),
            trace: Trace::default(),
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
    /// between the stages, within them for each thousand values or matches, and then before every closer look.
    pub fn inspect_within<'s>(
        &'s mut self,
        engine: &Engine,
        request: &RequestView<'_>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Report<'s> {
        self.inspect_scope(engine, &Scope::none(request), time_is_up)
    }

    /// As [`Inspector::inspect_within`], with the directives that hold for this request.
    pub fn inspect_applying<'s>(
        &'s mut self,
        engine: &Engine,
        request: &RequestView<'_>,
        applied: Applied<'_>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Report<'s> {
        self.inspect_scope(engine, &Scope::new(applied, request), time_is_up)
    }

    fn inspect_scope<'s>(
        &'s mut self,
        engine: &Engine,
        scope: &Scope<'_>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> Report<'s> {
        if self.database != engine.database.identity() {
            self.fit(engine);
        }
        self.nominations.clear();
        self.findings.clear();
        self.hits.clear();
        self.trace.reset();
        self.masks.reset();
        self.work = Work::default();
        self.take_apart(engine, scope, time_is_up);
        if time_is_up() {
            self.arena.hit_limit(OverLimit::Time);
        } else {
            self.scan(engine, scope, time_is_up);
        }
        if scope.has_detectors() {
            let mut look = Look { scope, masks: &mut self.masks, hits: &mut self.hits };
            self.detectors.run(&mut look, &mut self.arena, time_is_up);
        }
        let detected = self.hits.iter().any(|hit| hit.what == HitKind::Detected);
        let attack = !self.nominations.is_empty() && self.confirm_all(engine, scope, time_is_up);
        let attack = self.report_bomb(engine, scope) || attack;
        let attack = engine
            .options
            .graphql
            .is_some_and(|limits| self.documents.check(&limits, scope, &self.arena, &mut self.findings))
            || attack;
        Report {
            findings: &self.findings,
            attack: attack || detected,
            hits: &self.hits,
            nominations: self.trace.nominations(),
            over_limit: self.arena.over_limit(),
            over_limits: self.arena.over_limits(),
        }
    }

    fn take_apart(&mut self, engine: &Engine, scope: &Scope<'_>, time_is_up: &mut dyn FnMut() -> bool) {
        self.arena.reset(engine.options.limits);
        if scope.needs_all_values() {
            self.arena.keep_all();
        }
        if scope.judges_points() || scope.has_detectors() {
            self.arena.judge_points();
        }
        points::decompose(scope, &mut self.expander, &mut self.arena);
        self.expander.expand(scope, &mut self.arena, time_is_up);
    }

    /// Adds the values at a point to `values`: what a rule counts requests by. Nothing is looked for in them.
    pub fn values_at(
        &mut self,
        engine: &Engine,
        request: &RequestView<'_>,
        selector: &Selector,
        values: &mut PointValues,
    ) {
        let scope = Scope::none(request);
        self.arena.reset(engine.options.limits);
        self.arena.keep_all();
        points::decompose(&scope, &mut self.expander, &mut self.arena);
        self.expander.expand(&scope, &mut self.arena, &mut || false);
        directives::values_at(selector, &scope, &self.arena, values);
    }

    /// Runs only the matcher, over bytes that stand for a request's values, and returns how many matches it reports: what
    /// the cost of signatures is measured with.
    pub fn count_matches(&mut self, engine: &Engine, values: &[u8]) -> usize {
        let mut matches = if engine.operator_rules.is_empty() { 0 } else { BeforeCommands::count_in(values) };
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
        self.rules.resize_with(engine.rules.len(), RuleState::default);
    }

    /// Collects what patterns match.
    fn scan(&mut self, engine: &Engine, scope: &Scope<'_>, time_is_up: &mut dyn FnMut() -> bool) {
        let Self { scratch, arena, nominations, repeated, rules, work, .. } = self;
        repeated.reset();
        let mut nominator = Nominator {
            engine,
            scope,
            arena,
            nominations,
            repeated,
            rules,
            before: 0,
            matches: &mut work.matches,
            time_is_up,
            last: 0,
            too_many: false,
            too_late: false,
        };
        let tried = nominator.try_operators();
        let at_operators = nominator.nominations.len();
        nominator.before = at_operators;
        nominator.repeated.reset();
        // Operators that fill their room take none of what the scan finds.
        let scanned = if tried.is_break() && nominator.too_late {
            Ok(())
        } else {
            scratch.scan(&engine.database, arena.bytes(), &mut |expression, end| {
                nominator.found(expression, end)
            })
        };
        let Nominator { mut too_many, too_late, .. } = nominator;
        if scanned.is_err() {
            arena.hit_limit(OverLimit::Memory);
        }
        if at_operators > 0 {
            // What is found in a value is told together.
            nominations.sort_unstable_by_key(|nomination| (nomination.value, nomination.rule));
            too_many |= cut(nominations, engine, scope, arena);
        }
        if too_many {
            // Some of them belong to no nomination.
            rules.iter_mut().for_each(RuleState::reset);
            arena.hit_limit(OverLimit::Confirmations);
        }
        if too_late {
            arena.hit_limit(OverLimit::Time);
        }
    }

    /// Confirms all nominations and returns whether a class reaches the score of an attack.
    fn confirm_all(
        &mut self,
        engine: &Engine,
        scope: &Scope<'_>,
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        let mut scores = [0_u32; AttackClass::ALL.len()];
        let mut nominations = std::mem::take(&mut self.nominations);
        if scope.has_patches() {
            // What is patched is looked at first, and all of it: no number of other signs may hide it.
            nominations.sort_unstable_by_key(|nomination| {
                (!is_patched(engine, scope, &self.arena, *nomination), nomination.value, nomination.rule)
            });
        }
        let mut sqli = SqliVerdict::default();
        for nomination in &nominations {
            if let ControlFlow::Break(limit) =
                self.confirm_one(engine, scope, *nomination, &mut sqli, &mut scores, time_is_up)
            {
                self.arena.hit_limit(limit);
                break;
            }
        }
        for nomination in &nominations {
            self.rules[nomination.rule as usize].reset();
        }
        self.nominations = nominations;
        scores.iter().any(|score| *score >= engine.options.min_score.max(1))
    }

    /// Looks closely at one nomination. Breaks where a limit keeps it and all further ones from that.
    fn confirm_one(
        &mut self,
        engine: &Engine,
        scope: &Scope<'_>,
        nomination: Nomination,
        sqli: &mut SqliVerdict,
        scores: &mut [u32],
        time_is_up: &mut dyn FnMut() -> bool,
    ) -> ControlFlow<OverLimit> {
        let often = self.rules[nomination.rule as usize].confirmed >= FINDINGS_PER_RULE_MAX;
        if often && !is_patched(engine, scope, &self.arena, nomination) {
            return ControlFlow::Continue(());
        }
        let rule = &engine.rules[nomination.rule as usize];
        let value = self.arena.values()[nomination.value as usize];
        let dropped_by = scope.drops(nomination.rule, rule, &value, &self.arena);
        if dropped_by.is_some() && !scope.traces() {
            return ControlFlow::Continue(());
        }
        self.work.confirmations += 1;
        self.work.confirmed_bytes += value.span.len();
        let rooms = 1 + self.arena.bytes().len() / VALUE_BYTES_PER_ROOM;
        if self.work.confirmed_bytes > rooms.saturating_mul(engine.options.limits.confirmed_bytes) {
            return ControlFlow::Break(OverLimit::Confirmations);
        }
        if time_is_up() {
            return ControlFlow::Break(OverLimit::Time);
        }
        let state = &mut self.rules[nomination.rule as usize];
        let bytes = self.arena.slice(value.span);
        sqli.turn_to(nomination.value);
        let counts = |start, end| {
            scope.drops_in_path(nomination.rule, rule, &value, start..end, &self.arena).is_none()
        };
        let context = Context { host: scope.request().host(), sqli };
        let found = look_closer(rule, state, bytes, context, &counts);
        if scope.traces() {
            let nominated = found.or_else(|| first_match(rule, state, bytes));
            let outcome = match (found, dropped_by) {
                (None, _) => Outcome::NotConfirmed,
                (Some(_), Some(_)) => Outcome::Dropped,
                (Some(_), None) => Outcome::Confirmed,
            };
            let mut look = Look { scope, masks: &mut self.masks, hits: &mut self.hits };
            self.trace.note(&mut look, &self.arena, rule, &value, nominated, outcome);
        }
        let Some(found) = found else { return ControlFlow::Continue(()) };
        let mut look = Look { scope, masks: &mut self.masks, hits: &mut self.hits };
        if let Some(dropped_by) = dropped_by {
            directives::report_dropped(&mut look, &self.arena, dropped_by, rule, &value);
            return ControlFlow::Continue(());
        }
        if scope.has_patches() {
            directives::report_patched(&mut look, &self.arena, rule, &value, found);
        }
        if often {
            return ControlFlow::Continue(());
        }
        state.confirmed += 1;
        if state.confirmed == 1 {
            let score = &mut scores[rule.class as usize];
            *score = score.saturating_add(rule.score);
        }
        if self.findings.len() < engine.options.limits.findings {
            let point = self.arena.label(value.node, scope.request().headers);
            let evidence = look.masks.evidence(scope, &self.arena, &value, found);
            if scope.traces() {
                look.note_mask(evidence.masked_by, point.clone());
            }
            self.findings.push(Finding {
                class: rule.class,
                point,
                payload: evidence.payload,
                signature: Arc::clone(&rule.id),
                score: rule.score,
                confirmed_by: rule.confirmer.as_str(),
            });
        }
        ControlFlow::Continue(())
    }

    /// Adds a finding for a value that grows out of proportion, and returns whether it makes the request an attack.
    fn report_bomb(&mut self, engine: &Engine, scope: &Scope<'_>) -> bool {
        let Some((node, bomb)) = self.arena.bomb() else { return false };
        self.findings.push(Finding {
            class: AttackClass::DataBomb,
            point: self.arena.label(node, scope.request().headers),
            payload: bomb.evidence().to_vec(),
            signature: Arc::from(BOMB_SIGNATURE),
            score: BOMB_SCORE,
            confirmed_by: "size",
        });
        BOMB_SCORE >= engine.options.min_score
    }
}

/// Keeps as many nominations as there is room for, by the order of their values, and returns whether there were more. Those
/// that would be patched come first and have room of their own.
fn cut(nominations: &mut Vec<Nomination>, engine: &Engine, scope: &Scope<'_>, arena: &Arena) -> bool {
    let mut room = engine.options.limits.confirmations;
    if nominations.len() > room && scope.has_patches() {
        nominations.sort_by_cached_key(|nomination| !is_patched(engine, scope, arena, *nomination));
        room = room.saturating_mul(2);
    }
    let too_many = nominations.len() > room;
    nominations.truncate(room);
    too_many
}

/// Where the pattern matches first inside the value, for explanations.
fn first_match(rule: &Rule, state: &mut RuleState, value: &[u8]) -> Option<(usize, usize)> {
    let cache = state.pattern_cache(rule);
    let found = rule.pattern.search_with(cache, &Input::new(value))?;
    Some((found.start(), found.end()))
}

/// Finds the pattern's matches inside the one value and has the confirmer look at each, up to a few: the scan may have
/// matched over the border of a value, only one of several matches may be the attack, and not each may count.
fn look_closer(
    rule: &Rule,
    state: &mut RuleState,
    value: &[u8],
    mut context: Context<'_>,
    counts: &dyn Fn(usize, usize) -> bool,
) -> Option<(usize, usize)> {
    const MATCHES_MAX: usize = 24;
    let cache = state.pattern_cache.get_or_insert_with(|| Box::new(rule.pattern.create_cache()));
    let mut from = 0;
    for _ in 0..MATCHES_MAX {
        reading::note(value.len() - from);
        let found = rule.pattern.search_with(cache, &Input::new(value).range(from..))?;
        let second = rule.second.as_ref().map(|second| {
            (second, &mut **state.second_cache.get_or_insert_with(|| Box::new(second.create_cache())))
        });
        if confirm::confirm(rule.confirmer, second, value, found.range(), &mut context) {
            if counts(found.start(), found.end()) {
                return Some((found.start(), found.end()));
            }
        } else if !rule.confirmer.depends_on_match() {
            return None;
        }
        from = confirm::goes_on_at(rule.confirmer, value, found.range());
    }
    None
}
