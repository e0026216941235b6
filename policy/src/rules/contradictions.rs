//! Conditions that no request meets, alone or together. Sound: what is said is so; not everything that is so is said.

use super::check::{Check, Kind, PointKey, shortened};
use crate::compile::Remarks;
use crate::error::Place;
use crate::hosts::Host;
use crate::path::{Path, PathScratch, needlessly_encoded, normalise_encodings};
use crate::regex::is_disjoint;

/// Warns of checks (normalised) of a rule that no request can meet.
pub(super) fn warn(checks: &[Check], place: &Place, remarks: &mut Remarks) {
    for check in checks {
        if let Some(reason) = impossible(check) {
            remarks.warn(place, format!("it matches nothing: {reason}"));
        }
        if check.kind == Kind::Equal
            && check.point.is_of_path()
            && let Some(raw) = needlessly_encoded(&check.value)
        {
            let (encoded, raw) = (String::from_utf8_lossy(&check.value), String::from_utf8_lossy(&raw));
            let point = &check.point;
            remarks.warn(
                place,
                format!(
                    "it isn't met by `{raw}` in {point}: write that for `{encoded}`, and both are looked at"
                ),
            );
        }
    }
    for group in checks.chunk_by(|a, b| a.point == b.point) {
        warn_of_group(group, place, remarks);
    }
    let absent = checks.iter().find_map(|check| match check {
        Check { point: PointKey::Path(index), kind: Kind::Absent, .. } => Some(*index),
        _ => None,
    });
    let beyond = absent.and_then(|absent| {
        checks.iter().find_map(|check| match check {
            Check { point: PointKey::Path(index), kind, .. } if *index > absent && *kind != Kind::Absent => {
                Some((absent, *index))
            }
            _ => None,
        })
    });
    if let Some((absent, beyond)) = beyond {
        let reason = format!("where path {absent} is absent, path {beyond} is absent, too");
        remarks.warn(place, format!("it matches nothing: {reason}"));
    }
}

/// The values that a point can have, as a regex in which they all occur, and in words.
pub(super) const fn values_of(point: &PointKey) -> Option<(&'static str, &'static str)> {
    Some(match point {
        PointKey::Path(_) => ("^[^/]+$", "never holds a `/`"),
        PointKey::ActionName => ("^[^/.]*$", "ends before the first `.`, and never holds a `/`"),
        PointKey::ActionExt => ("^[^/.]*$", "begins behind the last `.`, and never holds a `/`"),
        PointKey::Method => ("^[!#-'*+.^-z|~0-9A-Z-]+$", "is one word"),
        PointKey::Scheme => ("^(http|https)$", "is `http` or `https`"),
        _ => return None,
    })
}

/// Why no request meets the check, if none does.
fn impossible(check: &Check) -> Option<String> {
    let Check { point, kind, value } = check;
    match kind {
        Kind::Absent => {
            let always_there = matches!(
                point,
                PointKey::Instance
                    | PointKey::ActionName
                    | PointKey::Method
                    | PointKey::Scheme
                    | PointKey::Proto
                    | PointKey::Uri
            );
            always_there.then(|| format!("{point} is never absent"))
        }
        Kind::Present => None,
        Kind::Regex => {
            let (values, what) = values_of(point)?;
            let regex = std::str::from_utf8(value).ok()?;
            // most regexes name no byte that the point never holds, and needn't be worked out
            let is_of_path = matches!(point, PointKey::Path(_) | PointKey::ActionName | PointKey::ActionExt);
            if is_of_path && !regex.contains('/') && !regex.contains("[.]") {
                return None;
            }
            is_disjoint(regex, values)
                .then(|| format!("{point} {what}, and so never meets `{}`", shortened(regex)))
        }
        Kind::HostWithPort => {
            let host = Host::read(value, &mut Vec::new()).name.len();
            let port = std::str::from_utf8(value.get(host + 1..)?).ok()?;
            (!port.is_empty() && port.parse::<u16>().is_err())
                .then(|| format!("`{port}` is no port, which are numbers up to 65535"))
        }
        Kind::Equal | Kind::Iequal => impossible_value(point, *kind, value),
    }
}

fn impossible_value(point: &PointKey, kind: Kind, value: &[u8]) -> Option<String> {
    let shown = String::from_utf8_lossy(value);
    let never = |what: &str| Some(format!("{point} {what}"));
    let holds = |byte: u8| value.contains(&byte);
    match point {
        PointKey::Path(_) if value.is_empty() => never("is never empty"),
        PointKey::Path(_) if holds(b'/') => never("never holds a `/`"),
        PointKey::Path(_) if matches!(value, b"." | b"..") => {
            never("is never a dot segment: requests are seen without them")
        }
        PointKey::ActionName | PointKey::ActionExt if holds(b'/') => never("never holds a `/`"),
        PointKey::ActionName if holds(b'.') => never("ends before the first `.`: the rest is action_ext"),
        PointKey::ActionExt if holds(b'.') => never("begins behind the last `.`"),
        PointKey::Path(_) | PointKey::ActionName | PointKey::ActionExt => {
            let mut decoded = Vec::new();
            normalise_encodings(value, &mut decoded);
            if kind == Kind::Equal && decoded != value {
                let decoded = String::from_utf8_lossy(&decoded);
                return never(&format!("is never `{shown}`: requests are seen with `{decoded}`"));
            }
            let sent = value.iter().all(|byte| (0x21..0x7f).contains(byte) && !b"?#".contains(byte));
            if sent {
                None
            } else {
                never(&format!("is never `{shown}`: write it percent-encoded, as in requests"))
            }
        }
        PointKey::Method | PointKey::Instance | PointKey::Proto if value.is_empty() => {
            never("is never empty")
        }
        PointKey::Scheme => {
            let is_one = if kind == Kind::Equal {
                matches!(value, b"http" | b"https")
            } else {
                value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"https")
            };
            if is_one { None } else { never("is `http` or `https`") }
        }
        PointKey::Uri if value == b"*" => None,
        PointKey::Uri if value.first() != Some(&b'/') => never("begins with a `/`: it is path and query"),
        PointKey::Uri if holds(b'#') => never("never holds a `#`: requests carry no fragment"),
        PointKey::Uri if kind == Kind::Equal => {
            let path = value.split(|byte| *byte == b'?').next().unwrap_or_default();
            let mut scratch = PathScratch::default();
            let normal = Path::normalise(path, &mut scratch).bytes;
            let told = || format!("has its path normalised: `{}`", String::from_utf8_lossy(normal));
            if normal == path { None } else { never(&told()) }
        }
        _ => None,
    }
}

/// What checks of one point say together.
fn warn_of_group(group: &[Check], place: &Place, remarks: &mut Remarks) {
    let point = &group[0].point;
    let is_repeatable = point.is_repeatable();
    let mut pairs = group.iter().enumerate().flat_map(|(at, a)| group[at + 1..].iter().map(move |b| (a, b)));
    let absent = group.len() > 1 && group.iter().any(|check| check.kind == Kind::Absent);
    if absent || (!is_repeatable && pairs.any(|(a, b)| exclude_each_other(a, b))) {
        remarks.warn(place, format!("it matches nothing: its conditions on {point} exclude each other"));
    } else if is_repeatable && pairs.any(|(a, b)| exclude_each_other(a, b)) {
        let message = format!(
            "its conditions on {point} exclude each other: it matches requests alone that have {point} more than once"
        );
        remarks.warn(place, message);
    }
}

/// Whether no value meets both.
fn exclude_each_other(a: &Check, b: &Check) -> bool {
    match (a.kind, b.kind) {
        (Kind::Absent | Kind::Present, _) | (_, Kind::Absent | Kind::Present) => false,
        // for the host, which has no case, no answer is better than a wrong one
        (Kind::Regex, _) | (_, Kind::Regex) if a.point == PointKey::Host => false,
        (Kind::Regex, _) | (_, Kind::Regex) => {
            as_regex(a).zip(as_regex(b)).is_some_and(|(a, b)| is_disjoint(&a, &b))
        }
        (Kind::HostWithPort, Kind::Iequal) => is_other_host(a, b),
        (Kind::Iequal, Kind::HostWithPort) => is_other_host(b, a),
        _ if a.kind == b.kind => a.value != b.value,
        _ => !a.value.eq_ignore_ascii_case(&b.value),
    }
}

fn is_other_host(with_port: &Check, name: &Check) -> bool {
    Host::read(&with_port.value, &mut Vec::new()).name != &*name.value
}

/// The values that meet a check, as a regex in which they all occur.
fn as_regex(check: &Check) -> Option<String> {
    let text = std::str::from_utf8(&check.value).ok()?;
    match check.kind {
        Kind::Regex => Some(text.to_owned()),
        // what has letters beyond ASCII is compared in UTF-8, but a regex sees bytes
        Kind::Equal | Kind::Iequal if text.is_ascii() && !text.is_empty() => {
            let mut regex = String::from("^");
            for character in text.chars() {
                match character {
                    'a'..='z' | 'A'..='Z' if check.kind == Kind::Iequal => {
                        let (lower, upper) = (character.to_ascii_lowercase(), character.to_ascii_uppercase());
                        regex.extend(['[', lower, upper, ']']);
                    }
                    'a'..='z' | 'A'..='Z' | '0'..='9' => regex.push(character),
                    '\\' | ']' | '[' | '^' | '-' => regex.extend(['[', '\\', character, ']']),
                    _ => regex.extend(['[', character, ']']),
                }
            }
            regex.push('$');
            Some(regex)
        }
        _ => None,
    }
}
