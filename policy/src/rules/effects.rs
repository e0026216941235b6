//! Rules that do something else than set the mode: where they hold, and which of several of a type counts (spec S3.4).

use std::cmp::Ordering;
use std::collections::HashMap;

use super::check::{Check, difference, is_header_name, problem_of_regex};
use super::facts::Facts;
use super::rivals::Other;
use super::tree::Entry;
use super::walk::RegexAnswers;
use crate::compile::Remarks;
use crate::error::Place;
use crate::explain::{Idle, RuleMatch};
use crate::kinds::{AttackType, HeaderAction, RuleKind, RuleType};
use crate::policy::EffectIndex;
use crate::regex::{Scope, Size, translate_regex};
use crate::selector::Part;
use crate::source::RuleSource;

/// A compiled rule of a type other than `mode`.
#[derive(Debug)]
struct Effect {
    id: u64,
    /// In the order of their points.
    checks: Box<[Check]>,
    /// Index in the source.
    source: usize,
    rule_type: RuleType,
    /// It takes something away from what is looked at or done.
    loosens: bool,
    /// Of the effects with the same number only the first that matches counts. They stand side by side.
    contest: u32,
}

/// All of them, by type and, within a type, in the order in which they count.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    effects: Box<[Effect]>,
    /// Different sets of conditions, as the numbers of the first effects that have them.
    scopes: Box<[u32]>,
    /// By scope: where its effects start in `members`, and where the last one's end.
    starts: Box<[u32]>,
    members: Box<[u32]>,
    /// By type: where its effects start; and where all end.
    types: Box<[u32]>,
}

impl Effects {
    /// `rules` are those that aren't mode rules, each with its place in the source and its checks.
    pub(super) fn new(source: &[RuleSource], rules: Vec<(usize, Box<[Check]>)>) -> Self {
        let mut effects: Vec<Effect> = rules
            .into_iter()
            .map(|(index, checks)| Effect {
                id: source[index].id,
                checks,
                source: index,
                rule_type: source[index].kind.rule_type(),
                loosens: source[index].kind.loosens(),
                contest: 0,
            })
            .collect();
        number_contests(source, &mut effects);
        effects.sort_unstable_by(|a, b| order(source, a, b));
        let types = RuleType::NAMES
            .iter()
            .map(|(_, rule_type)| effects.partition_point(|effect| effect.rule_type < *rule_type) as u32);
        let types = types.chain([effects.len() as u32]).collect();
        let mut compiled = Self { effects: effects.into(), types, ..Self::default() };
        compiled.gather_scopes();
        compiled
    }

    /// Bytes that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let checks = self.effects.iter().flat_map(|effect| &effect.checks).map(Check::memory_bytes);
        let tables = [&self.scopes, &self.starts, &self.members, &self.types];
        size_of_val(&*self.effects)
            + checks.sum::<usize>()
            + tables.iter().map(|table| size_of_val(&***table)).sum::<usize>()
    }

    /// Puts effects with the same conditions together, so that these are asked once.
    fn gather_scopes(&mut self) {
        let mut by_checks: HashMap<&[Check], usize> = HashMap::new();
        let mut members: Vec<Vec<u32>> = Vec::new();
        for (number, effect) in (0..).zip(&self.effects) {
            let scope = *by_checks.entry(&effect.checks).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members[scope].push(number);
        }
        // the tree wants them in the order of rules, so that those whose checks begin alike are neighbours
        members.sort_by(|a, b| {
            let checks = |members: &[u32]| &*self.effects[members[0] as usize].checks;
            difference(checks(a), checks(b)).0
        });
        self.scopes = members.iter().map(|members| members[0]).collect();
        let mut start = 0;
        let ends = members.iter().map(|members| {
            start += members.len() as u32;
            start
        });
        self.starts = [0].into_iter().chain(ends).collect();
        self.members = members.into_iter().flatten().collect();
    }

    /// The sets of conditions, each once.
    pub(super) fn scopes(&self) -> Vec<Entry<'_>> {
        let entry = |&first: &u32| Entry { checks: &self.effects[first as usize].checks, column: 0 };
        self.scopes.iter().map(entry).collect()
    }

    /// All of them in order, as they are compared with each other.
    pub(super) fn rivals<'a>(&'a self, source: &'a [RuleSource]) -> Vec<Other<'a>> {
        let other = |effect: &'a Effect| Other {
            rule: &source[effect.source],
            index: effect.source,
            checks: &effect.checks,
            contest: effect.contest,
        };
        self.effects.iter().map(other).collect()
    }

    /// The indexes in the source, in order.
    pub(crate) fn sources(&self) -> impl ExactSizeIterator<Item = usize> {
        self.effects.iter().map(|effect| effect.source)
    }

    /// Type of an effect, and whether it loosens.
    pub(crate) fn nature(&self, effect: EffectIndex) -> (RuleType, bool) {
        let effect = &self.effects[effect.0 as usize];
        (effect.rule_type, effect.loosens)
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Turns the scopes that match into the effects that count, in order.
    pub(super) fn settle(&self, scopes: &[u32], out: &mut Vec<EffectIndex>) {
        for &scope in scopes {
            let members = self.starts[scope as usize] as usize..self.starts[scope as usize + 1] as usize;
            out.extend(self.members[members].iter().map(|&number| EffectIndex(number)));
        }
        out.sort_unstable();
        out.dedup_by_key(|effect| self.effects[effect.0 as usize].contest);
    }

    /// Every rule that matches, in order, and what came of it.
    pub(super) fn explain(
        &self,
        facts: &Facts<'_>,
        regexes: &RegexAnswers<'_>,
        idle: Option<Idle>,
    ) -> impl Iterator<Item = RuleMatch> {
        let mut winners: HashMap<u32, &Effect> = HashMap::new();
        let matching = self.effects.iter().filter(|effect| super::matches(&effect.checks, facts, regexes));
        let told = matching.map(move |effect| {
            let winner = *winners.entry(effect.contest).or_insert(effect);
            let (wins, why) = match why_idle(idle, effect.rule_type) {
                Some(reason) => (false, format!("it doesn't run: {reason}")),
                None if winner.id == effect.id => (true, why_it_holds(effect.rule_type).to_owned()),
                None => (false, why_it_loses(effect, winner)),
            };
            let (id, index, kind) = (effect.id, effect.source, effect.rule_type.as_str());
            RuleMatch { id, index, kind, mode: None, wins, why }
        });
        told.collect::<Vec<_>>().into_iter()
    }

    /// The effects of one type, as a range of numbers.
    pub(crate) fn range(&self, rule_type: RuleType) -> std::ops::Range<u32> {
        let at = rule_type as usize;
        match self.types.get(at..at + 2) {
            Some(&[start, end]) => start..end,
            _ => 0..0,
        }
    }
}

/// Those that can't hold together get the same number.
fn number_contests(source: &[RuleSource], effects: &mut [Effect]) {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    for (next, effect) in (0..).zip(effects) {
        effect.contest = match &source[effect.source].kind {
            RuleKind::OverTimeLimit { .. } => *numbers.entry("over_time_limit".to_owned()).or_insert(next),
            RuleKind::UploadSize { point, .. } => {
                let point = point.as_ref().map(|point| format!("{point:?}"));
                *numbers.entry(format!("upload_size {point:?}")).or_insert(next)
            }
            RuleKind::ParserState { parser, point, .. } => {
                *numbers.entry(format!("parser_state {parser} {point:?}")).or_insert(next)
            }
            _ => next,
        };
    }
}

/// Why rules of this type don't run, if they don't.
const fn why_idle(idle: Option<Idle>, rule_type: RuleType) -> Option<&'static str> {
    match (idle, rule_type) {
        (None, _) | (Some(Idle::Denied), RuleType::Mask) => None,
        (Some(Idle::Off), _) => Some("the mode is off"),
        (Some(Idle::Allowed), _) => Some("the client is on the allow list"),
        (Some(Idle::Denied), _) => {
            Some("the client is on the deny list and blocked before inspection, where masks alone hold")
        }
    }
}

/// Why one rule of a contest loses against another.
fn why_it_loses(effect: &Effect, winner: &Effect) -> String {
    let name = format!("rule {}", winner.id);
    let why = super::why_less_specific(&name, &winner.checks, &effect.checks);
    why.unwrap_or_else(|| format!("{name} is as specific and its id is lower"))
}

const fn why_it_holds(rule_type: RuleType) -> &'static str {
    match rule_type {
        RuleType::OverTimeLimit => "it is the most specific rule of its type that matches",
        RuleType::UploadSize => "it is the most specific rule of its type that matches, for this point",
        RuleType::ParserState => "it is the most specific rule that matches, for this parser and point",
        RuleType::RateLimit => "it matches; of several rate limits the one with the lowest rate counts",
        _ => "it matches, and all rules of this type that match hold",
    }
}

/// By type; then rate limits by their rates, and headers so that the most specific rule has the last word; then the most
/// specific one first, and the one with the lower id.
fn order(source: &[RuleSource], a: &Effect, b: &Effect) -> Ordering {
    let specific = || difference(&a.checks, &b.checks).0.then_with(|| a.id.cmp(&b.id));
    a.rule_type.cmp(&b.rule_type).then_with(|| match (&source[a.source].kind, &source[b.source].kind) {
        (
            RuleKind::RateLimit { rate: rate_a, per: per_a, .. },
            RuleKind::RateLimit { rate: rate_b, per: per_b, .. },
        ) => {
            let a_over_b = u128::from(*rate_a) * per_b.as_micros();
            a_over_b.cmp(&(u128::from(*rate_b) * per_a.as_micros())).then_with(specific)
        }
        (RuleKind::ResponseHeader { .. }, _) => specific().reverse(),
        (RuleKind::OverTimeLimit { .. } | RuleKind::UploadSize { .. } | RuleKind::ParserState { .. }, _) => {
            a.contest.cmp(&b.contest).then_with(specific)
        }
        _ => specific(),
    })
}

/// Headers of answers that belong to the connection or to the framing of the message (RFC 9110 section 7.6.1).
const UNTOUCHABLE_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reports what is wrong with a rule's settings.
pub(super) fn check_kind(
    rule: &RuleSource,
    place: &Place,
    rules: &HashMap<u64, usize>,
    source: &[RuleSource],
    size_of_detectors: &mut Size,
    remarks: &mut Remarks,
) {
    let kind = &rule.kind;
    if let Some(point) = kind.point()
        && point.part == Part::RemoteAddr
        && kind.rule_type() != RuleType::RateLimit
    {
        let problem = "`remote_addr` is what rate limits count by; nothing is looked for in it";
        let expected = "a part of the request, as `query` or `header`";
        remarks.error(place, "point", problem, expected);
    }
    match kind {
        RuleKind::VirtualPatch { attack_type: AttackType::Vpatch, .. }
        | RuleKind::DisableAttackType { attack_type: AttackType::Vpatch, .. } => {
            remarks.error(place, "attack_type", "`vpatch` is for rules of type regex", "a class, or any");
        }
        RuleKind::Regex { regex, attack_type, .. } => {
            if matches!(attack_type, AttackType::Any | AttackType::InvalidXml) {
                let problem = "its findings need a class of their own";
                remarks.error(place, "attack_type", problem, "a class, or vpatch");
            }
            check_detector(regex, place, size_of_detectors, remarks);
        }
        RuleKind::IgnoreRegex { rule: id, .. } => {
            let named = rules.get(id).map(|&index| &source[index].kind);
            if !matches!(named, Some(RuleKind::Regex { .. })) {
                let problem = match named {
                    None => format!("there is no rule {id}"),
                    Some(kind) => format!("rule {id} is of type {}", kind.type_name()),
                };
                remarks.error(place, "rule", problem, "the id of a rule of type regex");
            }
        }
        RuleKind::ResponseHeader { action, name, values } => {
            check_header(*action, name, values, place, remarks)
        }
        RuleKind::RateLimit { rate, per, burst, delay, status, .. } => {
            if *rate == 0 || per.is_zero() {
                remarks.error(place, "rate", "nothing would ever pass", "a rate above 0");
            }
            if delay > burst {
                let problem = format!("{delay} is more than the burst of {burst}");
                remarks.error(place, "delay", problem, "at most as many as burst");
            }
            if !(400..=599).contains(status) {
                remarks.error(place, "status", format!("{status} is no status of an error"), "400 to 599");
            }
        }
        _ => {}
    }
}

/// A detector's regex; all of them are matched together.
fn check_detector(regex: &str, place: &Place, size_of_all: &mut Size, remarks: &mut Remarks) {
    let translated = translate_regex(regex).and_then(|translated| {
        // told once, of the first that is too much
        let was_too_large = size_of_all.is_too_large();
        size_of_all.add_size(translated.size);
        if size_of_all.is_too_large() && !was_too_large {
            return Err(Size::refusal("the regexes of all detectors are too large together"));
        }
        Ok(translated.scope)
    });
    match translated {
        Err(refusal) => {
            let problem = problem_of_regex(regex, &refusal.problem);
            remarks.error(place, "regex", problem, refusal.expected);
        }
        Ok(Scope::Nothing) => remarks.warn(place, format!("it finds nothing: no value meets `{regex}`")),
        Ok(Scope::Everything) => {
            remarks.warn(place, format!("`{regex}` finds every value at its point that isn't empty"));
        }
        Ok(Scope::Some) => {}
    }
}

fn check_header(action: HeaderAction, name: &str, values: &[String], place: &Place, remarks: &mut Remarks) {
    if !is_header_name(name) {
        remarks.error(
            place,
            "name",
            format!("`{name}` is no header name"),
            "a header name like `X-Frame-Options`",
        );
    } else if UNTOUCHABLE_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        let problem = format!("`{name}` belongs to the connection or to the framing of the answer");
        remarks.error(place, "name", problem, "a header that says something of the content");
    }
    match (action, values) {
        (HeaderAction::Delete, [_, ..]) => {
            remarks.error(place, "values", "`delete` takes none", "no values, or another action");
        }
        (HeaderAction::Set | HeaderAction::Append, []) => {
            remarks.error(place, "values", "there are none", "at least one value, or action delete");
        }
        _ => {}
    }
    for (index, value) in values.iter().enumerate() {
        let is_allowed = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if !value.bytes().all(is_allowed) || value.trim_matches([' ', '\t']) != value {
            let problem = "it holds control characters, or white space at an end";
            remarks.error(place, format!("values[{index}]"), problem, "the value of a header, on one line");
        }
    }
}
