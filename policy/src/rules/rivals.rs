//! What is odd about rules of one type beside each other: those that never count, and ties. Sound: what is said is so; not
//! everything that is so is said.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::Rule;
use super::check::{Check, Kind, PointKey};
use super::contradictions::values_of;
use super::shadows::{self, Contender};
use crate::compile::Remarks;
use crate::error::Place;
use crate::hosts::Host;
use crate::kinds::{HeaderAction, RuleKind, RuleType};
use crate::selector::{Part, PointSelector};
use crate::source::RuleSource;

/// Pairs of regexes that are looked at for values that both match. More would take time that nobody waits for.
const MAX_PAIRS: usize = 100;

/// Warns of mode rules, which are in their order, that never win, and of ties between them.
pub(super) fn warn_of_modes(rules: &[Rule], applications: &[String], remarks: &mut Remarks) {
    let contenders: Vec<Contender<'_>> = rules
        .iter()
        .map(|rule| Contender { checks: &rule.checks, group: Some(0), looks_in: Some(0), point: None })
        .collect();
    let mut warn = |rule: &Rule, message: String| {
        if let Some(id) = rule.id {
            remarks.warn(&Place::Rule { index: rule.index, id }, message);
        }
    };
    let goes_before = |other, it, _| other < it;
    let mut hidden = HashSet::new();
    shadows::find(&contenders, applications, goes_before, |it, other| {
        hidden.insert(it);
        let (rule, other) = (&rules[it], &rules[other]);
        // rules with the very same conditions are told of where the tree is built
        if rule.checks != other.checks {
            let name = other.name();
            warn(rule, format!("it never wins: {name} goes before it, and matches all that it matches"));
        }
    });
    ties(
        &contenders,
        |first, second| {
            rules[first].mode != rules[second].mode && !hidden.contains(&first) && !hidden.contains(&second)
        },
        |first, second| {
            let (name, mode) = (rules[first].name(), rules[first].mode);
            let message = format!(
                "it ties with {name}: where both match, that one counts since its mode {mode} is stricter"
            );
            warn(&rules[second], message);
        },
    );
}

/// A rule of another type than `mode`, as the others come in the order in which they count.
pub(super) struct Other<'a> {
    pub(super) rule: &'a RuleSource,
    /// Index in the source.
    pub(super) index: usize,
    pub(super) checks: &'a [Check],
    /// Of those with the same number the first that matches counts.
    pub(super) contest: u32,
}

/// Which of several rules that match counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    /// The first one.
    First,
    /// All, but what the last one sets takes the place of what others set.
    LastWord,
    /// All; two that do the same are one too many.
    All,
}

const fn counting(rule_type: RuleType) -> Counting {
    match rule_type {
        RuleType::Mode
        | RuleType::OverTimeLimit
        | RuleType::UploadSize
        | RuleType::ParserState
        | RuleType::RateLimit => Counting::First,
        RuleType::ResponseHeader => Counting::LastWord,
        RuleType::VirtualPatch
        | RuleType::Regex
        | RuleType::IgnoreRegex
        | RuleType::DisableAttackType
        | RuleType::DisableSignature
        | RuleType::BinaryData
        | RuleType::Mask => Counting::All,
    }
}

/// What a rule competes about: rules are compared with those of the same aim alone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Aim<'a> {
    rule_type: RuleType,
    word: String,
    number: u64,
    point: Option<&'a PointSelector>,
}

/// Warns of rules of other types that never count, change nothing, or tie.
pub(super) fn warn_of_others(others: &[Other<'_>], applications: &[String], remarks: &mut Remarks) {
    let ignored: HashSet<u64> = others.iter().filter_map(|other| ignored_by(&other.rule.kind)).collect();
    let mut groups = HashMap::new();
    let contenders: Vec<Contender<'_>> = others
        .iter()
        .map(|other| {
            let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            let group = Some(*groups.entry(aim(other, &ignored)).or_insert(next));
            let kind = &other.rule.kind;
            let is_additive = counting(kind.rule_type()) == Counting::All;
            Contender {
                checks: other.checks,
                group,
                looks_in: group,
                point: kind.point().filter(|_| is_additive),
            }
        })
        .collect();
    let mut warn = |other: &Other<'_>, message: String| {
        remarks.warn(&Place::Rule { index: other.index, id: other.rule.id }, message);
    };
    let counts_before = |first: usize, second: usize, is_same: bool| {
        let (a, b) = (&others[first].rule, &others[second].rule);
        match counting(a.kind.rule_type()) {
            Counting::First => first < second,
            Counting::LastWord => second < first && !is_append(&a.kind),
            Counting::All => !is_same || a.id < b.id,
        }
    };
    let mut hidden = HashSet::new();
    shadows::find(&contenders, applications, counts_before, |it, other| {
        hidden.insert(it);
        warn(&others[it], why_hidden(&others[it].rule.kind, others[other].rule.id));
    });
    let differ = |first: usize, second: usize| {
        let (a, b) = (&others[first].rule.kind, &others[second].rule.kind);
        let compete = match a.rule_type() {
            RuleType::OverTimeLimit | RuleType::UploadSize | RuleType::ParserState => a != b,
            // the rate decides there, and a later `append` takes nothing away
            RuleType::ResponseHeader => a != b && !is_append(b),
            _ => false,
        };
        compete && !hidden.contains(&first) && !hidden.contains(&second)
    };
    ties(&contenders, differ, |first, second| {
        let of_header = counting(others[first].rule.kind.rule_type()) == Counting::LastWord;
        let (it, other) = if of_header { (first, second) } else { (second, first) };
        let id = others[other].rule.id;
        let what = if of_header { "has the last word" } else { "counts" };
        let message =
            format!("it ties with rule {id}: where both match, that one {what} since its id is lower");
        warn(&others[it], message);
    });
}

fn is_append(kind: &RuleKind) -> bool {
    matches!(kind, RuleKind::ResponseHeader { action: HeaderAction::Append, .. })
}

fn ignored_by(kind: &RuleKind) -> Option<u64> {
    match kind {
        RuleKind::IgnoreRegex { rule, .. } => Some(*rule),
        _ => None,
    }
}

fn aim<'a>(other: &Other<'a>, ignored: &HashSet<u64>) -> Aim<'a> {
    let kind = &other.rule.kind;
    let aim = |word: String, number: u64, point| Aim { rule_type: kind.rule_type(), word, number, point };
    match kind {
        RuleKind::Mode(_) | RuleKind::Mask { .. } | RuleKind::BinaryData { .. } => {
            aim(String::new(), 0, None)
        }
        RuleKind::OverTimeLimit { .. } | RuleKind::UploadSize { .. } | RuleKind::ParserState { .. } => {
            aim(String::new(), other.contest.into(), None)
        }
        RuleKind::RateLimit { point, .. } => {
            aim(String::new(), 0, point.as_ref().filter(|point| point.part != Part::RemoteAddr))
        }
        RuleKind::ResponseHeader { name, .. } => aim(name.to_ascii_lowercase(), 0, None),
        // what is ignored of one isn't ignored of the other
        RuleKind::Regex { .. } if ignored.contains(&other.rule.id) => aim(String::new(), other.rule.id, None),
        RuleKind::Regex { regex, attack_type, experimental, .. } => {
            aim(format!("{attack_type} {experimental} {regex}"), 0, None)
        }
        RuleKind::IgnoreRegex { rule, .. } => aim(String::new(), *rule, None),
        RuleKind::VirtualPatch { attack_type, .. } | RuleKind::DisableAttackType { attack_type, .. } => {
            aim(attack_type.as_str().to_owned(), 0, None)
        }
        RuleKind::DisableSignature { signature, .. } => aim(signature.clone(), 0, None),
    }
}

fn why_hidden(kind: &RuleKind, by: u64) -> String {
    match (kind, counting(kind.rule_type())) {
        (RuleKind::RateLimit { .. }, _) => {
            format!(
                "it never counts: rule {by} has no higher rate, for the same key and all requests that it is for"
            )
        }
        (_, Counting::First) => {
            format!(
                "it never counts: rule {by} goes before it, for the same thing and all requests that it is for"
            )
        }
        (RuleKind::ResponseHeader { name, .. }, _) => {
            format!(
                "it has no effect: rule {by} has the last word on `{name}`, for all requests that it is for"
            )
        }
        _ => format!("it adds nothing: rule {by} does the same for all that it is for"),
    }
}

/// Finds pairs of contenders of a group that are equally specific and `differ`, and that one and the same request may meet:
/// where they have different regexes, some value meets both; where one has a host, the other has that host with a port.
/// Values beyond that are the same. (What a request may repeat could meet `equal` of two values; who writes
/// a rule for each value of a parameter needn't be told that of every pair.)
fn ties<'a>(
    contenders: &[Contender<'a>],
    differ: impl Fn(usize, usize) -> bool,
    mut found: impl FnMut(usize, usize),
) {
    type Shape<'a> = Vec<(&'a PointKey, Kind, Cow<'a, [u8]>)>;
    let has = |contender: &Contender<'_>, kind| contender.checks.iter().any(|check| check.kind == kind);
    let has_ports = contenders.iter().any(|contender| has(contender, Kind::HostWithPort));
    let part = |check: &'a Check| match check.kind {
        Kind::Regex => (&check.point, Kind::Regex, Cow::Borrowed(&[][..])),
        Kind::HostWithPort => {
            let name = Host::read(&check.value, &mut Vec::new()).name.to_vec();
            (&check.point, Kind::Iequal, Cow::Owned(name))
        }
        kind => (&check.point, kind, Cow::Borrowed(&*check.value)),
    };
    let mut groups: HashMap<(Option<u32>, Shape<'_>), Vec<usize>> = HashMap::new();
    for (at, contender) in contenders.iter().enumerate() {
        let has_host = || contender.checks.iter().any(|check| check.point == PointKey::Host);
        if has(contender, Kind::Regex) || (has_ports && has_host()) {
            let shape: Shape<'_> = contender.checks.iter().map(part).collect();
            groups.entry((contender.group, shape)).or_default().push(at);
        }
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort();
    let pairs = groups.iter().flat_map(|group| {
        group.iter().enumerate().flat_map(move |(place, a)| group[place + 1..].iter().map(move |b| (*a, *b)))
    });
    let ports: Vec<Option<&[u8]>> = contenders
        .iter()
        .map(|contender| contender.checks.iter().find(|check| check.kind == Kind::HostWithPort))
        .map(|check| check.map(|check| &*check.value))
        .collect();
    // (no request is for two ports; nor are such pairs to take the place of others)
    let may_meet = |a: usize, b: usize| ports[a].is_none() || ports[b].is_none() || ports[a] == ports[b];
    for (first, second) in pairs.filter(|(a, b)| may_meet(*a, *b) && differ(*a, *b)).take(MAX_PAIRS) {
        if overlap(contenders[first].checks, contenders[second].checks) {
            found(first, second);
        }
    }
}

/// Whether what differs between two rules of one shape is known to be met by some values all the same.
fn overlap(a: &[Check], b: &[Check]) -> bool {
    let mut different = a.iter().zip(b).filter(|(a, b)| a != b);
    a != b
        && different.all(|(x, y)| {
            let is_alone = a.iter().filter(|check| check.point == x.point).count() == 1;
            match (x.kind, y.kind) {
                (Kind::Regex, Kind::Regex) => {
                    (is_alone || x.point.is_repeatable()) && have_common_value(x, y)
                }
                (Kind::Iequal, Kind::HostWithPort) | (Kind::HostWithPort, Kind::Iequal) => is_alone,
                _ => false,
            }
        })
}

/// Whether some value that the point of two regexes may have is known to meet both.
fn have_common_value(a: &Check, b: &Check) -> bool {
    let text = |check: &Check| String::from_utf8_lossy(&check.value).into_owned();
    let within = match a.point {
        PointKey::Host => Some("^[0-9a-z-]+([.][0-9a-z-]+)*(:[0-9]+)?$"),
        _ => values_of(&a.point).map(|(values, _)| values),
    };
    crate::regex::have_common_value(&text(a), &text(b), within, a.point.is_in_any_case())
}
