//! What is odd about rules that compile: ties, and rules that can never win. Sound: what is said is so; not everything that is
//! so is said.

use std::collections::HashMap;

use super::Rule;
use super::check::{Check, Kind, PointKey};
use crate::compile::Remarks;
use crate::error::Place;
use crate::regex::{Regex, Scope};
use crate::source::PolicySource;

/// Pairs of regexes that are looked at for values that both match. More would take time that nobody waits for.
const MAX_PAIRS: usize = 100;

/// The applications of all contexts, as conditions see them.
pub(super) fn applications(source: &PolicySource) -> Vec<String> {
    let of_http = source.http.application.unwrap_or(-1);
    let of_servers = source.servers.iter().flat_map(|server| {
        let own = server.context.application.unwrap_or(of_http);
        let locations =
            server.locations.iter().map(move |location| location.context.application.unwrap_or(own));
        [own].into_iter().chain(locations)
    });
    let mut found: Vec<String> = of_servers.map(|application| application.to_string()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Warns of a condition on an application that no request has.
pub(super) fn warn_of_unknown_application(
    checks: &[Check],
    applications: &[String],
    place: &Place,
    remarks: &mut Remarks,
) {
    let unknown = checks.iter().find(|check| {
        check.point == PointKey::Instance
            && matches!(check.kind, Kind::Equal | Kind::Iequal)
            && !applications.iter().any(|application| *check.value == *application.as_bytes())
    });
    if let Some(check) = unknown {
        let value = String::from_utf8_lossy(&check.value);
        let known = applications.join(", ");
        remarks.warn(
            place,
            format!("it matches nothing: no server or location has application `{value}`; there is {known}"),
        );
    }
}

/// Whether every request meets the check.
fn is_universal(check: &Check, applications: &[String]) -> bool {
    let never_empty = matches!(
        check.point,
        PointKey::Instance | PointKey::Method | PointKey::Scheme | PointKey::Proto | PointKey::Uri
    );
    match check.kind {
        Kind::Regex if never_empty => {
            let text = String::from_utf8_lossy(&check.value);
            Regex::new(&text, false).is_ok_and(|regex| regex.scope() == Scope::Everything)
        }
        Kind::Equal | Kind::Iequal if check.point == PointKey::Instance => {
            matches!(applications, [only] if *check.value == *only.as_bytes())
        }
        _ => false,
    }
}

/// Warns of mode rules (in their order) that an earlier one shadows because it only seems to be more specific: they ask for the
/// same but for conditions that every request meets.
pub(super) fn warn_of_shadowed(rules: &[Rule], applications: &[String], remarks: &mut Remarks) {
    let mut first: HashMap<Vec<&Check>, &Rule> = HashMap::new();
    for rule in rules {
        let core: Vec<&Check> =
            rule.checks.iter().filter(|check| !is_universal(check, applications)).collect();
        let earlier = *first.entry(core).or_insert(rule);
        // rules with the very same conditions are told of where the tree is built
        if let (true, Some(id)) = (earlier.checks != rule.checks, rule.id) {
            let name = earlier.name();
            remarks.warn(
                &Place::Rule { index: rule.index, id },
                format!(
                    "it never wins: {name} goes before it, and differs from it by nothing but conditions that every request \
                     meets"
                ),
            );
        }
    }
}

/// Warns of mode rules with different modes that are equally specific and differ in regexes that some value meets both of.
pub(super) fn warn_of_ties(rules: &[Rule], remarks: &mut Remarks) {
    type Shape<'a> = Vec<(&'a PointKey, Kind, Option<&'a [u8]>)>;
    let mut groups: HashMap<Shape<'_>, Vec<&Rule>> = HashMap::new();
    for rule in rules.iter().filter(|rule| rule.checks.iter().any(|check| check.kind == Kind::Regex)) {
        let shape: Shape<'_> = rule
            .checks
            .iter()
            .map(|Check { point, kind, value }| (point, *kind, (*kind != Kind::Regex).then_some(&**value)))
            .collect();
        groups.entry(shape).or_default().push(rule);
    }
    let mut groups: Vec<Vec<&Rule>> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_by_key(|group| group[0].index);
    let pairs = groups.iter().flat_map(|group| {
        group.iter().enumerate().flat_map(move |(place, a)| group[place + 1..].iter().map(move |b| (*a, *b)))
    });
    for (first, second) in pairs.filter(|(a, b)| a.mode != b.mode).take(MAX_PAIRS) {
        if let (true, Some(id)) = (overlap(first, second), second.id) {
            let place = Place::Rule { index: second.index, id };
            let (name, mode) = (first.name(), first.mode);
            remarks.warn(
                &place,
                format!(
                    "it ties with {name}: where both match, that one counts since its mode {mode} is stricter"
                ),
            );
        }
    }
}

/// Whether the regexes of two rules of one shape are known to have values in common.
fn overlap(a: &Rule, b: &Rule) -> bool {
    let mut different = a.checks.iter().zip(&b.checks).filter(|(a, b)| a.value != b.value);
    different.all(|(a, b)| {
        let text = |check: &Check| String::from_utf8_lossy(&check.value).into_owned();
        // for the host, which has no case, no answer is better than a wrong one
        a.point != PointKey::Host && crate::regex::have_common_value(&text(a), &text(b))
    }) && a.checks != b.checks
}
