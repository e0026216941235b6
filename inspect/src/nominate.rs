//! Which values a closer look is taken at, and for which signatures.

use std::ops::{ControlFlow, Range};

use regex_automata::meta::Cache;
use regex_automata::{Anchored, Input};

use crate::arena::{Arena, Value};
use crate::confirm::{BeforeCommands, Run};
use crate::directives::Scope;
use crate::engine::{Engine, Rule};
use crate::reading;
use crate::repeated::Repeated;

/// After how many matches the caller is asked again whether the time is up. Ordinary requests have fewer.
const MATCHES_PER_ASKED_TIME: usize = 1024;

/// After how many operators the caller is asked again, whatever stands behind them.
const RUNS_PER_ASKED_TIME: usize = 16 * 1024;

/// The longest match of a pattern that is tried at operators, in bytes.
const TRIED_BYTES_MAX: usize = 256;

/// The mark of a rule that has not nominated anything in this request.
const NO_VALUE: u32 = u32::MAX;

/// A pattern matched inside a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nomination {
    pub(crate) value: u32,
    pub(crate) rule: u32,
}

/// What an inspector keeps per rule.
#[derive(Debug)]
pub(crate) struct RuleState {
    /// The value that the rule nominated last, so that each pair is kept once.
    last_value: u32,
    /// How many values the rule was confirmed for in this request. The first one counts for the score.
    pub(crate) confirmed: u32,
    pub(crate) pattern_cache: Option<Box<Cache>>,
    pub(crate) second_cache: Option<Box<Cache>>,
}

impl Default for RuleState {
    fn default() -> Self {
        Self { last_value: NO_VALUE, confirmed: 0, pattern_cache: None, second_cache: None }
    }
}

impl RuleState {
    /// Forgets the request.
    pub(crate) const fn reset(&mut self) {
        self.last_value = NO_VALUE;
        self.confirmed = 0;
    }

    /// The working memory of the rule's pattern.
    pub(crate) fn pattern_cache(&mut self, rule: &Rule) -> &mut Cache {
        self.pattern_cache.get_or_insert_with(|| Box::new(rule.pattern.create_cache()))
    }
}

/// Collects what patterns match. Where points aren't judged differently, values that many others are equal to are
/// nominated once. Where signs are patched at points, those there have room of their own behind the limit.
pub(crate) struct Nominator<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) arena: &'a Arena,
    pub(crate) nominations: &'a mut Vec<Nomination>,
    pub(crate) repeated: &'a mut Repeated,
    pub(crate) rules: &'a mut [RuleState],
    /// How many nominations there were before this source of them: each has room of its own.
    pub(crate) before: usize,
    /// How many matches there were in this request.
    pub(crate) matches: &'a mut usize,
    pub(crate) time_is_up: &'a mut dyn FnMut() -> bool,
    /// The value of the last match: the next one is mostly in the same.
    pub(crate) last: usize,
    /// Whether there were more nominations than the limit.
    pub(crate) too_many: bool,
    pub(crate) too_late: bool,
}

impl Nominator<'_> {
    /// Takes a match that the scan reports: one of an expression of the database, which ends before the offset `end`.
    pub(crate) fn found(&mut self, expression: u32, end: usize) -> ControlFlow<()> {
        self.count_match()?;
        let Some(&rule) = self.engine.scanned_for.get(expression as usize) else {
            return ControlFlow::Continue(());
        };
        let Some(value) = self.arena.value_ending_at(end, self.last) else {
            return ControlFlow::Continue(());
        };
        self.last = value;
        let number = value as u32;
        if self.is_repeated(rule, number) || !self.is_wanted(rule, number) {
            return ControlFlow::Continue(());
        }
        self.nominate(Nomination { value: number, rule })
    }

    /// Tries the patterns that begin at an operator of a shell where one stands before what may be a command.
    pub(crate) fn try_operators(&mut self) -> ControlFlow<()> {
        let engine = self.engine;
        if engine.operator_rules.is_empty() {
            return ControlFlow::Continue(());
        }
        for (runs, run) in (1_usize..).zip(BeforeCommands::new(self.arena.bytes())) {
            if runs.is_multiple_of(RUNS_PER_ASKED_TIME) && (self.time_is_up)() {
                self.too_late = true;
                return ControlFlow::Break(());
            }
            let Run::BeforeCommand(range) = run else { continue };
            self.count_match()?;
            let Some(value) = self.arena.value_ending_at(range.end, self.last) else { continue };
            self.last = value;
            let number = value as u32;
            for &rule in &engine.operator_rules {
                if !self.is_repeated(rule, number)
                    && self.is_wanted(rule, number)
                    && self.matches_at_one_of(rule, &self.arena.values()[value], &range)
                {
                    self.nominate(Nomination { value: number, rule })?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn count_match(&mut self) -> ControlFlow<()> {
        *self.matches += 1;
        if self.matches.is_multiple_of(MATCHES_PER_ASKED_TIME) && (self.time_is_up)() {
            self.too_late = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Whether the rule has seen the same elsewhere. Where a rule asks for names of parameters, no value stands for another.
    fn is_repeated(&mut self, rule: u32, value: u32) -> bool {
        let nominations = self.nominations.len() - self.before;
        !self.scope.judges_points()
            && self.engine.rules[rule as usize].names.is_empty()
            && self.repeated.knows(value, nominations, self.arena)
    }

    /// Whether the rule applies to the value and has not nominated it yet.
    fn is_wanted(&self, rule: u32, value: u32) -> bool {
        self.rules.get(rule as usize).is_some_and(|state| state.last_value != value)
            && self.engine.rules[rule as usize].applies_to(&self.arena.values()[value as usize], self.arena)
    }

    /// Whether the rule's pattern matches the value from one of the bytes of `range` in the arena on.
    fn matches_at_one_of(&mut self, rule: u32, value: &Value, range: &Range<usize>) -> bool {
        let value_start = value.span.start as usize;
        let bytes = self.arena.slice(value.span);
        let known = &self.engine.rules[rule as usize];
        let cache = self.rules[rule as usize].pattern_cache(known);
        (range.start.max(value_start)..range.end).any(|position| {
            let start = position - value_start;
            let end = bytes.len().min(start + TRIED_BYTES_MAX);
            reading::note(end - start);
            let input = Input::new(bytes).range(start..end).anchored(Anchored::Yes).earliest(true);
            known.pattern.search_half_with(cache, &input).is_some()
        })
    }

    fn nominate(&mut self, nomination: Nomination) -> ControlFlow<()> {
        let limit = self.engine.options.limits.confirmations;
        let state = &mut self.rules[nomination.rule as usize];
        let nominations = self.nominations.len() - self.before;
        if nominations >= limit {
            self.too_many = true;
            if !self.scope.has_patches() || nominations >= limit.saturating_mul(2) {
                return ControlFlow::Break(());
            }
            // So that it is asked once, patched or not.
            state.last_value = nomination.value;
            if !is_patched(self.engine, self.scope, self.arena, nomination) {
                return ControlFlow::Continue(());
            }
        }
        state.last_value = nomination.value;
        self.nominations.push(nomination);
        ControlFlow::Continue(())
    }
}

/// Whether a sign in this value would be patched.
pub(crate) fn is_patched(engine: &Engine, scope: &Scope<'_>, arena: &Arena, nomination: Nomination) -> bool {
    let class = engine.rules[nomination.rule as usize].class;
    let value = arena.values()[nomination.value as usize];
    scope.has_patches() && scope.patches(class, &value, arena).next().is_some()
}
