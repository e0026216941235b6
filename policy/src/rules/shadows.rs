//! Rules that never count beside others of their type: for all that they are for, another one goes before them, or has the
//! last word, or does the same.
//!
//! A rule is for no request that another one isn't for, if each condition of the other follows from one of its own. To find
//! such a pair without comparing all rules with all, each rule is filed under its rarest condition, and looked for under
//! those of the others.

use std::borrow::Cow;
use std::hash::Hash;

use ahash::AHashMap;

use super::check::{Check, Kind, PointKey, normalise};
use super::remarks::is_universal;
use crate::hosts::Host;
use crate::selector::{PointSelector, Step};

/// Pairs of rules that are compared at most: files that ask for more have thousands of rules that differ in nothing else.
const MAX_COMPARISONS: usize = 1_000_000;

/// Stands for "no condition" and "no point".
const NONE: u32 = u32::MAX;

/// A rule as one of those that it competes with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender<'a> {
    /// Its conditions, normalised.
    pub(super) checks: &'a [Check],
    /// It is one of those that this number stands for, if it hides any.
    pub(super) group: Option<u32>,
    /// It is compared with those of this number whose point covers its own.
    pub(super) looks_in: Option<u32>,
    /// Where it does what it does; absent where the group says it.
    pub(super) point: Option<&'a PointSelector>,
}

/// A contender in numbers.
#[derive(Debug)]
struct Filed {
    /// Its conditions without those that every request meets, ascending.
    core: Box<[u32]>,
    point: u32,
}

/// Finds, for each contender, an other one that is for all that it is for and that `counts_before(other, it, is_same)`, where
/// `is_same` says that they are for the same. Calls `found(it, other)`.
pub(super) fn find(
    contenders: &[Contender<'_>],
    applications: &[String],
    counts_before: impl Fn(usize, usize, bool) -> bool,
    mut found: impl FnMut(usize, usize),
) {
    if contenders.len() < 2 {
        return;
    }
    let (mut checks, mut points) = (Numbers::new(), Numbers::new());
    let filed: Vec<Filed> = contenders
        .iter()
        .map(|contender| {
            let core = core(contender.checks, applications).into_iter().map(|check| checks.number(check));
            let mut core: Box<[u32]> = core.collect();
            core.sort_unstable();
            let point = contender.point.map_or(NONE, |point| points.number(Cow::Borrowed(point)));
            Filed { core, point }
        })
        .collect();
    let is_implied = |check: &Check| matches!(check.kind, Kind::Iequal | Kind::Present);
    let has_implied = contenders.iter().any(|contender| contender.checks.iter().any(is_implied));
    let follows = if has_implied { checks.all_related(implied) } else { Vec::new() };
    let covering = points.all_related(covering);
    let index = file(contenders, &filed);
    let mut comparisons = 0;
    let mut facts = Vec::new();
    for (at, own) in filed.iter().enumerate() {
        facts.clear();
        for &check in &own.core {
            facts.push(check);
            facts.extend(follows.get(check as usize).into_iter().flatten());
        }
        facts.sort_unstable();
        let above: &[u32] = covering.get(own.point as usize).map_or(&[], |points| points);
        let Some(looks_in) = contenders[at].looks_in else { continue };
        let keys = [own.point].into_iter().chain(above.iter().copied()).flat_map(|point| {
            let filed_under = [NONE].into_iter().chain(facts.iter().copied());
            filed_under.map(move |check| (looks_in, point, check))
        });
        let others = keys.filter_map(|key| index.get(&key)).flatten().copied().filter(|other| *other != at);
        let other = others.take(MAX_COMPARISONS.saturating_sub(comparisons)).find(|&other| {
            comparisons += 1;
            let Filed { core, point } = &filed[other];
            let is_same = *point == own.point && *core == own.core;
            core.iter().all(|check| facts.binary_search(check).is_ok()) && counts_before(other, at, is_same)
        });
        if let Some(other) = other {
            found(at, other);
        }
    }
}

/// Contenders by group, point and the rarest condition.
fn file(contenders: &[Contender<'_>], filed: &[Filed]) -> AHashMap<(u32, u32, u32), Vec<usize>> {
    let mut uses: AHashMap<u32, u32> = AHashMap::new();
    for &check in filed.iter().flat_map(|filed| &filed.core) {
        *uses.entry(check).or_default() += 1;
    }
    let mut index: AHashMap<_, Vec<usize>> = AHashMap::new();
    for (at, (contender, own)) in contenders.iter().zip(filed).enumerate() {
        let Some(group) = contender.group else { continue };
        let rarest = own.core.iter().copied().min_by_key(|check| uses.get(check)).unwrap_or(NONE);
        index.entry((group, own.point, rarest)).or_default().push(at);
    }
    index
}

/// Numbers for values that are borrowed from the rules, or were made of such.
struct Numbers<'a, T: Clone> {
    numbers: AHashMap<Cow<'a, T>, u32>,
}

impl<'a, T: Clone + Eq + Hash> Numbers<'a, T> {
    fn new() -> Self {
        Self { numbers: AHashMap::new() }
    }

    fn number(&mut self, value: Cow<'a, T>) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(NONE);
        *self.numbers.entry(value).or_insert(next)
    }

    /// By number: the numbers of what `related` gives, as far as it has any.
    fn all_related(&self, related: impl Fn(&T) -> Vec<T>) -> Vec<Box<[u32]>> {
        let mut all: Vec<Box<[u32]>> = Vec::new();
        all.resize_with(self.numbers.len(), Box::default);
        for (value, &number) in &self.numbers {
            let known = related(value).into_iter();
            let known = known.filter_map(|one| self.numbers.get(&one).copied());
            if let Some(place) = all.get_mut(number as usize) {
                *place = known.filter(|one| *one != number).collect();
            }
        }
        all
    }
}

/// The conditions without those that every request meets; a regex that one value meets alone stands for that value.
fn core<'a>(checks: &'a [Check], applications: &[String]) -> Vec<Cow<'a, Check>> {
    let needed = checks.iter().filter(|check| !is_universal(check, applications));
    if checks.iter().all(|check| only_value(check).is_none()) {
        return needed.map(Cow::Borrowed).collect();
    }
    let mut owned: Vec<Check> =
        needed.map(|check| only_value(check).unwrap_or_else(|| check.clone())).collect();
    normalise(&mut owned);
    owned.into_iter().map(Cow::Owned).collect()
}

/// The check for the one value that a regex like `^login$` or `^index[.]php$` is met by.
fn only_value(check: &Check) -> Option<Check> {
    if check.kind != Kind::Regex {
        return None;
    }
    let mut rest = check.value.strip_prefix(b"^")?.strip_suffix(b"$")?;
    let mut value = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            // (a point's value with a port or a percent-encoding is compared in ways of its own)
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/', _) => value.push(byte),
            (b'[', &[literal, b']', ref behind @ ..]) if b".+*()|$?~&=@,;!".contains(&literal) => {
                value.push(literal);
                rest = behind;
            }
            _ => return None,
        }
    }
    if value.is_empty() {
        return None;
    }
    Some(match check.point {
        PointKey::Host => Check::new(PointKey::Host, Kind::Iequal, &value.to_ascii_lowercase()),
        _ => Check::new(check.point.clone(), Kind::Equal, &value),
    })
}

/// What a value that meets a check meets as well.
pub(super) fn implied(check: &Check) -> Vec<Check> {
    let Check { point, kind, value } = check;
    let as_kind = |kind, value: &[u8]| Check::new(point.clone(), kind, value);
    let present = (!value.is_empty()).then(|| as_kind(Kind::Present, b""));
    match kind {
        Kind::Equal if !value.is_empty() && *point != PointKey::Host => {
            let any_case = as_kind(Kind::Iequal, &value.to_ascii_lowercase());
            present.into_iter().chain([any_case]).collect()
        }
        // a host without a port stands for all its ports
        Kind::HostWithPort => {
            let name = as_kind(Kind::Iequal, Host::read(value, &mut Vec::new()).name);
            present.into_iter().chain([name]).collect()
        }
        Kind::Equal | Kind::Iequal | Kind::Regex => present.into_iter().collect(),
        Kind::Absent | Kind::Present => Vec::new(),
    }
}

/// The points that cover a point, but for itself: those above it, and the same with `*` for the last name.
fn covering(point: &PointSelector) -> Vec<PointSelector> {
    let PointSelector { part, steps } = point;
    let above = |length: usize| PointSelector { part: *part, steps: steps[..length].to_vec() };
    let mut points = Vec::new();
    for length in 0..=steps.len() {
        let point = above(length);
        if let Some(Step::Name(_)) = point.steps.last() {
            let mut any = point.clone();
            any.steps.pop();
            any.steps.push(Step::Any);
            points.push(any);
        }
        if length < steps.len() {
            points.push(point);
        }
    }
    points
}
