//! Conditions in the form that rules are ordered and matched by, and that order (spec S3.4).

use std::cmp::Ordering;
use std::fmt;

use crate::compile::Remarks;
use crate::error::Place;
use crate::hosts::Host;
use crate::path::{MAX_SEGMENT, lower_case_encoding, upper_case_encodings};
use crate::point::{Condition, Point, Test};
use crate::regex::{Regex, Scope};

/// A point, in the order in which rules are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PointKey {
    Instance,
    Host,
    Path(u32),
    ActionName,
    ActionExt,
    Method,
    Scheme,
    Proto,
    Query(Box<[u8]>),
    /// By lower-case name.
    Header(Box<[u8]>),
    Uri,
}

impl PointKey {
    /// Whether letters of its values have no case, for regexes too.
    pub(crate) fn is_in_any_case(&self) -> bool {
        *self == Self::Host
    }

    /// Whether a request may have several values of it that have nothing to do with each other.
    pub(super) const fn is_repeatable(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Header(_))
    }

    /// Whether its values are parts of the normalised path.
    pub(super) fn is_of_path(&self) -> bool {
        matches!(self, Self::Path(_) | Self::ActionName | Self::ActionExt)
    }
}

impl fmt::Display for PointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instance"),
            Self::Host => f.write_str("header HOST"),
            Self::Path(index) => write!(f, "path {index}"),
            Self::ActionName => f.write_str("action_name"),
            Self::ActionExt => f.write_str("action_ext"),
            Self::Method => f.write_str("method"),
            Self::Scheme => f.write_str("scheme"),
            Self::Proto => f.write_str("proto"),
            Self::Query(name) => write!(f, "query {}", String::from_utf8_lossy(name)),
            Self::Header(name) => write!(f, "header {}", String::from_utf8_lossy(name).to_uppercase()),
            Self::Uri => f.write_str("uri"),
        }
    }
}

/// How a point is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Equal,
    Absent,
    /// The value is in lower case. For the host it has no port and is compared with the name alone.
    Iequal,
    /// As `Iequal`, with the Host value and its port.
    HostWithPort,
    /// The value is a regex that occurs.
    Regex,
    /// There and not empty: the constructor's `*`.
    Present,
}

impl Kind {
    /// Less is more specific.
    const fn rank(self) -> u8 {
        match self {
            Self::Equal | Self::Absent => 0,
            Self::Iequal | Self::HostWithPort => 1,
            Self::Regex => 2,
            Self::Present => 3,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Absent => "absent",
            Self::Iequal | Self::HostWithPort => "iequal",
            Self::Regex => "regex",
            Self::Present => "`*`",
        }
    }
}

/// A condition of a compiled rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub(crate) point: PointKey,
    pub(crate) kind: Kind,
    /// Empty where nothing is compared.
    pub(crate) value: Box<[u8]>,
}

impl Check {
    pub(crate) fn new(point: PointKey, kind: Kind, value: &[u8]) -> Self {
        Self { point, kind, value: value.into() }
    }

    /// The host is this: with any port if `value` has none, so that no client steps out of a rule by adding one.
    pub(crate) fn host(value: &[u8]) -> Self {
        let mut buffer = Vec::new();
        let host = Host::read(value, &mut buffer);
        let kind = if host.has_port() { Kind::HostWithPort } else { Kind::Iequal };
        Self::new(PointKey::Host, kind, host.value)
    }

    /// Bytes that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let name = match &self.point {
            PointKey::Query(name) | PointKey::Header(name) => name.len(),
            _ => 0,
        };
        size_of::<Self>() + self.value.len() + name
    }

    /// The regex occurs; reports one that can't be used, and one that says nothing.
    pub(crate) fn regex(
        point: PointKey,
        regex: &str,
        key: &str,
        place: &Place,
        remarks: &mut Remarks,
    ) -> Option<Self> {
        match Regex::new(regex, point.is_in_any_case()) {
            Err(refusal) => {
                let problem = problem_of_regex(regex, &refusal.problem);
                remarks.error(place, key, problem, refusal.expected);
                return None;
            }
            Ok(compiled) => match compiled.scope() {
                Scope::Nothing => {
                    remarks.warn(place, format!("it matches nothing: no value meets `{regex}`"))
                }
                Scope::Everything => {
                    remarks.warn(place, format!("`{regex}` matches every {point} that isn't empty"));
                }
                Scope::Some => {}
            },
        }
        if point.is_of_path()
            && let Some(encoding) = lower_case_encoding(regex)
        {
            let upper = encoding.to_ascii_uppercase();
            remarks.warn(
                place,
                format!("it never meets `{encoding}`: requests are seen with `{upper}` in {point}"),
            );
        }
        Some(Self::new(point, Kind::Regex, regex.as_bytes()))
    }

    /// The check that a rule's condition stands for; reports a condition that can't be one.
    pub(crate) fn from_condition(
        condition: &Condition,
        key: &str,
        place: &Place,
        remarks: &mut Remarks,
    ) -> Option<Self> {
        let point = point_key(&condition.point, key, place, remarks)?;
        let value = condition.value.as_bytes();
        let value = if point == PointKey::Proto { without_protocol_name(value) } else { value };
        let check = match condition.is {
            Test::Equal | Test::Iequal if point == PointKey::Host => Self::host(value),
            Test::Equal => Self::new(point.clone(), Kind::Equal, &comparable(&point, value)),
            Test::Iequal => Self::new(point, Kind::Iequal, &value.to_ascii_lowercase()),
            Test::Absent => {
                if !value.is_empty() {
                    let message = "has no effect: `absent` compares with no value";
                    remarks.warn(place, format!("{key}.value {message}"));
                }
                Self::new(point, Kind::Absent, b"")
            }
            Test::Regex => {
                return Self::regex(point, &condition.value, &format!("{key}.value"), place, remarks);
            }
        };
        Some(check)
    }
}

/// A value as its point is compared: percent-encodings of paths in upper case.
fn comparable(point: &PointKey, value: &[u8]) -> Vec<u8> {
    match point {
        _ if point.is_of_path() => upper_case_encodings(value),
        PointKey::Uri => {
            let path = value.iter().position(|byte| *byte == b'?').unwrap_or(value.len());
            let (path, query) = value.split_at(path);
            [&upper_case_encodings(path), query].concat()
        }
        _ => value.to_vec(),
    }
}

/// What is wrong with a regex, and the regex where the problem doesn't show it.
pub(crate) fn problem_of_regex(regex: &str, problem: &str) -> String {
    let shown = format!("`{}`", shortened(regex));
    if problem.contains(&shown) { problem.to_owned() } else { format!("{shown}: {problem}") }
}

/// A regex as messages show it.
pub(crate) fn shortened(regex: &str) -> String {
    let mut shown = regex.chars().take(100).collect::<String>();
    if shown.len() < regex.len() {
        shown.push_str("...");
    }
    shown
}

fn point_key(point: &Point, key: &str, place: &Place, remarks: &mut Remarks) -> Option<PointKey> {
    Some(match point {
        Point::Instance => PointKey::Instance,
        Point::ActionName => PointKey::ActionName,
        Point::ActionExt => PointKey::ActionExt,
        Point::Method => PointKey::Method,
        Point::Scheme => PointKey::Scheme,
        Point::Proto => PointKey::Proto,
        Point::Uri => PointKey::Uri,
        Point::Query(name) => PointKey::Query(name.as_bytes().into()),
        Point::Path(index) if *index <= MAX_SEGMENT => PointKey::Path(*index),
        Point::Path(index) => {
            let expected = format!("a path segment from 0 to {MAX_SEGMENT}");
            remarks.error(place, format!("{key}.point"), format!("segment {index} is too deep"), expected);
            return None;
        }
        Point::Header(name) if name.eq_ignore_ascii_case("host") => PointKey::Host,
        Point::Header(name) if is_header_name(name) => {
            PointKey::Header(name.to_ascii_lowercase().into_bytes().into())
        }
        Point::Header(name) => {
            let problem = format!("`{name}` is no header name");
            remarks.error(place, format!("{key}.point"), problem, "a header name like `X-REQUESTED-WITH`");
            return None;
        }
    })
}

/// Whether it is a token of RFC 9110 section 5.6.2.
pub(crate) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// `1.1` of `HTTP/1.1`.
pub(crate) fn without_protocol_name(proto: &[u8]) -> &[u8] {
    match proto.split_at_checked(5) {
        Some((name, version)) if name.eq_ignore_ascii_case(b"HTTP/") => version,
        _ => proto,
    }
}

/// Brings a rule's checks into the order in which rules are compared, each once.
pub(crate) fn normalise(checks: &mut Vec<Check>) {
    let order = |a: &Check, b: &Check| {
        let key = |check: &Check| (check.kind.rank(), check.kind);
        a.point.cmp(&b.point).then_with(|| key(a).cmp(&key(b))).then_with(|| a.value.cmp(&b.value))
    };
    checks.sort_unstable_by(order);
    checks.dedup();
}

/// Where two rules' checks (normalised) first differ in what counts for the order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Difference<'a> {
    /// One constrains a point that the other leaves open.
    Point(&'a Check),
    /// Both constrain the point alike, and one has a further condition on it.
    Further(&'a Check),
    /// Both constrain the point, in different ways.
    Rank(&'a Check, &'a Check),
}

/// The first difference, and which side it favours: `Less` is the first one.
pub(crate) fn difference<'a>(a: &'a [Check], b: &'a [Check]) -> (Ordering, Option<Difference<'a>>) {
    // up to there both constrain the same points, so that a point which stands before is one that both constrain
    let more = |checks: &'a [Check], at: usize| {
        let is_further = at > 0 && checks[at - 1].point == checks[at].point;
        Some(if is_further { Difference::Further(&checks[at]) } else { Difference::Point(&checks[at]) })
    };
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        match x.point.cmp(&y.point) {
            Ordering::Less => return (Ordering::Less, more(a, at)),
            Ordering::Greater => return (Ordering::Greater, more(b, at)),
            Ordering::Equal => {}
        }
        let order = x.kind.rank().cmp(&y.kind.rank());
        if order.is_ne() {
            return (order, Some(Difference::Rank(x, y)));
        }
    }
    match a.len().cmp(&b.len()) {
        Ordering::Greater => (Ordering::Less, more(a, b.len())),
        Ordering::Less => (Ordering::Greater, more(b, a.len())),
        Ordering::Equal => (Ordering::Equal, None),
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(check) => write!(f, "it constrains {}, which this one leaves open", check.point),
            Self::Further(Check { point, kind, .. }) => {
                write!(f, "it has one more condition on {point}, {}", kind.as_str())
            }
            Self::Rank(better, worse) => {
                let (better, worse, by_rank) = if better.kind.rank() < worse.kind.rank() {
                    (better, worse.kind, "beats")
                } else {
                    (worse, better.kind, "beats")
                };
                write!(f, "at {}, {} {by_rank} {}", better.point, better.kind.as_str(), worse.as_str())
            }
        }
    }
}
