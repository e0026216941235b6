//! Rules that have no effect for what rules of other types, or of broader classes, do. Sound: what is said is so, but for
//! requests that servers may read in several ways; not everything that is so is said.

use std::collections::{HashMap, HashSet};

use super::Rule;
use super::check::{Check, Kind, PointKey};
use super::rivals::Other;
use super::shadows::{self, Contender, implied};
use crate::compile::Remarks;
use crate::error::Place;
use crate::kinds::{AttackType, RuleKind, UploadAction};
use crate::mode::{Mode, Override, RuleMode};
use crate::selector::{Part, PointSelector};
use crate::source::PolicySource;

/// Pairs of a rule and a mode rule that are compared at most.
const MAX_COMPARISONS: usize = 1_000_000;

/// What makes a rule of another class or type pointless, as far as it is for the same requests and points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Broader {
    /// A patch for the presence of the point.
    PatchOfAny,
    /// A `disable_attack_type` for all classes.
    DropOfAny,
    /// One for a class.
    DropOf(AttackType),
}

/// What a rule is to others.
const fn is_broader(kind: &RuleKind) -> Option<Broader> {
    match kind {
        RuleKind::VirtualPatch { attack_type: AttackType::Any, .. } => Some(Broader::PatchOfAny),
        RuleKind::DisableAttackType { attack_type: AttackType::Any, .. } => Some(Broader::DropOfAny),
        RuleKind::DisableAttackType { attack_type, .. } => Some(Broader::DropOf(*attack_type)),
        _ => None,
    }
}

/// What others may be to a rule.
fn broader_ones(kind: &RuleKind, signature_classes: &HashMap<String, AttackType>) -> Vec<Broader> {
    match kind {
        RuleKind::VirtualPatch { attack_type: AttackType::Any, .. }
        | RuleKind::DisableAttackType { attack_type: AttackType::Any, .. } => Vec::new(),
        RuleKind::VirtualPatch { attack_type, .. } => {
            vec![Broader::PatchOfAny, Broader::DropOfAny, Broader::DropOf(*attack_type)]
        }
        RuleKind::DisableAttackType { .. } | RuleKind::BinaryData { .. } => vec![Broader::DropOfAny],
        RuleKind::DisableSignature { signature, .. } => {
            let class = signature_classes.get(signature).map(|class| Broader::DropOf(*class));
            [Broader::DropOfAny].into_iter().chain(class).collect()
        }
        _ => Vec::new(),
    }
}

/// Warns of rules, which are in their order, that do nothing beside broader ones.
pub(super) fn warn_of_narrow(
    others: &[Other<'_>],
    signature_classes: &HashMap<String, AttackType>,
    applications: &[String],
    remarks: &mut Remarks,
) {
    let mut groups: HashMap<Broader, u32> = HashMap::new();
    for broader in others.iter().filter_map(|other| is_broader(&other.rule.kind)) {
        let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        groups.entry(broader).or_insert(next);
    }
    let mut entries: Vec<(usize, Contender<'_>)> = Vec::new();
    for (index, other) in others.iter().enumerate() {
        let kind = &other.rule.kind;
        let entry = |group, looks_in| {
            (index, Contender { checks: other.checks, group, looks_in, point: kind.point() })
        };
        if let Some(group) = is_broader(kind).and_then(|broader| groups.get(&broader)) {
            entries.push(entry(Some(*group), None));
        }
        let wanted = broader_ones(kind, signature_classes);
        let found = wanted.iter().filter_map(|broader| groups.get(broader));
        entries.extend(found.map(|group| entry(None, Some(*group))));
    }
    let contenders: Vec<Contender<'_>> = entries.iter().map(|(_, contender)| *contender).collect();
    let mut told = HashSet::new();
    shadows::find(
        &contenders,
        applications,
        |_, _, _| true,
        |it, by| {
            let (other, by) = (&others[entries[it].0], others[entries[by].0].rule);
            if told.insert(other.index) {
                let message = why_narrow(&other.rule.kind, &by.kind, by.id);
                remarks.warn(&Place::Rule { index: other.index, id: other.rule.id }, message);
            }
        },
    );
}

fn why_narrow(kind: &RuleKind, by: &RuleKind, id: u64) -> String {
    match (kind, by) {
        (RuleKind::VirtualPatch { .. }, RuleKind::VirtualPatch { .. }) => {
            format!(
                "it blocks nothing more: rule {id} blocks whatever is at its point, for all that it is for"
            )
        }
        (RuleKind::VirtualPatch { attack_type, .. }, _) => format!(
            "it blocks nothing: rule {id} drops signs of {attack_type} at its point for all that it is for, and patches \
             don't count what is dropped"
        ),
        (_, RuleKind::DisableAttackType { attack_type, .. }) if *attack_type != AttackType::Any => {
            format!("it adds nothing: rule {id} drops signs of {attack_type}, for all that it is for")
        }
        _ => format!("it adds nothing: rule {id} drops signs of all classes, for all that it is for"),
    }
}

/// Warns of rules that switch off what isn't there, or on what is on: those are in their order.
pub(super) fn warn_of_exceptions(others: &[Other<'_>], remarks: &mut Remarks) {
    let is_body = |point: &&PointSelector| point.part == Part::Body && point.steps.is_empty();
    // where the last limit for each point stands
    let mut limits = HashMap::new();
    let mut parsers_off = HashSet::new();
    for (at, other) in others.iter().enumerate() {
        match &other.rule.kind {
            RuleKind::UploadSize { action, point, .. } if *action != UploadAction::Off => {
                let whole_body = point.as_ref().is_none_or(|point| is_body(&point));
                // (the whole body can be written in two ways)
                let behind_all = if whole_body { usize::MAX } else { at };
                limits.insert(point.as_ref().filter(|point| !is_body(point)), behind_all);
            }
            RuleKind::ParserState { parser, enabled: false, .. } => {
                parsers_off.insert(*parser);
            }
            _ => {}
        }
    }
    for (at, other) in others.iter().enumerate() {
        let message = match &other.rule.kind {
            RuleKind::UploadSize { action: UploadAction::Off, point, .. } => {
                let last = limits.get(&point.as_ref().filter(|point| !is_body(point)));
                let is_idle = last.is_none_or(|last| *last < at);
                is_idle.then(|| {
                    "it switches nothing off: no less specific rule limits the same point".to_owned()
                })
            }
            RuleKind::ParserState { parser, enabled: true, .. } if !parsers_off.contains(parser) => {
                Some(format!("it switches nothing on: no rule switches the parser {parser} off"))
            }
            _ => None,
        };
        if let Some(message) = message {
            remarks.warn(&Place::Rule { index: other.index, id: other.rule.id }, message);
        }
    }
}

/// Warns of rules of other types than `mode` where the mode is always `off`. `modes` are in their order.
pub(super) fn warn_of_idle(
    source: &PolicySource,
    modes: &[Rule],
    others: &[Other<'_>],
    remarks: &mut Remarks,
) {
    let is_off = |rule: &Rule| rule.mode == RuleMode::Set(Mode::Off);
    let locations = source.servers.iter().flat_map(|server| &server.locations);
    let contexts = source.servers.iter().map(|server| &server.context);
    let mut contexts = contexts.chain(locations.map(|location| &location.context)).chain([&source.http]);
    let is_free = |policy: Option<Override>| policy.is_none_or(|policy| policy == Override::On);
    if !modes.iter().any(is_off) || !contexts.all(|context| is_free(context.mode_allow_override)) {
        return;
    }
    let mut comparisons = 0;
    for other in others {
        let mut facts: HashSet<Check> = other.checks.iter().cloned().collect();
        facts.extend(other.checks.iter().flat_map(implied));
        for rule in modes {
            comparisons += 1;
            if comparisons > MAX_COMPARISONS {
                return;
            }
            let matches_all = rule.checks.iter().all(|check| facts.contains(check));
            if !is_off(rule) {
                if matches_all || !is_disjoint(&rule.checks, other.checks) {
                    break;
                }
            } else if matches_all {
                // (who switches all off by the general mode knows it)
                if let Some(id) = rule.id {
                    let message = format!(
                        "it does nothing: rule {id} sets the mode `off` for all that it is for, where no other rules run"
                    );
                    remarks.warn(&Place::Rule { index: other.index, id: other.rule.id }, message);
                }
                break;
            }
        }
    }
}

/// Whether no request meets the checks of both. Points that a request may have more than once say nothing.
fn is_disjoint(a: &[Check], b: &[Check]) -> bool {
    let excludes = |a: &Check, b: &Check| match (a.kind, b.kind) {
        (Kind::Equal, Kind::Equal) | (Kind::Iequal, Kind::Iequal) => a.value != b.value,
        (Kind::Equal, Kind::Iequal) | (Kind::Iequal, Kind::Equal) if a.point != PointKey::Host => {
            !a.value.eq_ignore_ascii_case(&b.value)
        }
        (Kind::Absent, Kind::Equal | Kind::Iequal) => !b.value.is_empty(),
        (Kind::Equal | Kind::Iequal, Kind::Absent) => !a.value.is_empty(),
        (Kind::Absent, Kind::Present) | (Kind::Present, Kind::Absent) => true,
        _ => false,
    };
    let is_single = |check: &Check| !matches!(check.point, PointKey::Query(_) | PointKey::Header(_));
    a.iter().filter(|a| is_single(a)).any(|a| b.iter().any(|b| a.point == b.point && excludes(a, b)))
}
