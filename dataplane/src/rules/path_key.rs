//! What requests are told apart by where a rate limit counts by the path.
//!
//! A client writes one path in many ways. Each form that servers may read counts, so that no spelling has a bucket of its own.

use weir_inspect::PointValues;
use weir_policy::{Part, PointSelector, Step};

use super::RateKeyParts;
use crate::http::{PathReadings, decode_path};

/// The target, or a part of its path. All are compared decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKey {
    /// The path as a whole.
    Whole,
    /// Each of its segments.
    EverySegment,
    /// The segment with this number, counted from 0.
    Segment(usize),
    /// The last segment up to its first dot.
    ActionName,
    /// The last segment behind its last dot.
    ActionExt,
    /// Path and query.
    Target,
}

impl PathKey {
    /// The key that a point is, unless it lies elsewhere.
    pub fn of(point: &PointSelector) -> Option<Self> {
        match (point.part, &*point.steps) {
            (Part::Uri, []) => Some(Self::Target),
            (Part::Path, []) => Some(Self::Whole),
            (Part::Path, [Step::Any]) => Some(Self::EverySegment),
            (Part::Path, [Step::Name(number)]) => number.parse().ok().map(Self::Segment),
            (Part::ActionName, []) => Some(Self::ActionName),
            (Part::ActionExt, []) => Some(Self::ActionExt),
            _ => None,
        }
    }

    /// Writes the values of all forms of a request's path, the normalised one first; no empty ones.
    pub fn write(self, parts: &RateKeyParts<'_>, keys: &mut PointValues) {
        keys.take_as_many_as_possible();
        let mut readings = PathReadings::default();
        let mut value = Vec::new();
        let mut target = Vec::new();
        for form in readings.forms(parts.path, parts.path_has_readings) {
            let mut add = |bytes: &[u8]| {
                decode_path(bytes, &mut value);
                let part = match self {
                    Self::ActionName => value.split(|byte| *byte == b'.').next(),
                    Self::ActionExt => {
                        value.iter().rposition(|byte| *byte == b'.').map(|at| &value[at + 1..])
                    }
                    _ => Some(&*value),
                };
                if let Some(part) = part.filter(|part| !part.is_empty()) {
                    keys.push(part);
                }
            };
            let mut segments = form.split(|byte| *byte == b'/').skip(1);
            match self {
                Self::Whole => add(form),
                Self::EverySegment => segments.for_each(add),
                Self::Segment(number) => segments.nth(number).into_iter().for_each(add),
                Self::ActionName | Self::ActionExt => segments.last().into_iter().for_each(add),
                Self::Target => {
                    target.clear();
                    target.extend_from_slice(form);
                    if let Some(query) = parts.query {
                        target.push(b'?');
                        target.extend(query.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }));
                    }
                    add(&target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn values(key: PathKey, target: &str, path_has_readings: bool) -> Vec<String> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let parts = RateKeyParts {
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            application: -1,
            method: b"GET",
            scheme: b"http",
            proto: b"HTTP/1.1",
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            path_has_readings,
        };
        let mut keys = PointValues::default();
        key.write(&parts, &mut keys);
        keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn a_plain_path_has_one_value() {
        for path_has_readings in [true, false] {
            let of = |key, target| values(key, target, path_has_readings);
            assert_eq!(of(PathKey::Whole, "/a/b.c.d?x=1"), ["/a/b.c.d"]);
            assert_eq!(of(PathKey::EverySegment, "/a/b.c.d"), ["a", "b.c.d"]);
            assert_eq!(of(PathKey::Segment(1), "/a/b.c.d"), ["b.c.d"]);
            assert_eq!(of(PathKey::ActionName, "/a/b.c.d"), ["b"]);
            assert_eq!(of(PathKey::ActionExt, "/a/b.c.d"), ["d"]);
            assert_eq!(of(PathKey::Target, "/a/b?x=%31+%2B"), ["/a/b?x=1 +"]);
            let nothing = Vec::<String>::new();
            assert_eq!(of(PathKey::Segment(2), "/a/b"), nothing);
            assert_eq!(of(PathKey::ActionExt, "/a.b/c"), nothing);
            assert_eq!(of(PathKey::ActionName, "/a/"), nothing);
            assert_eq!(of(PathKey::Segment(0), "*"), nothing);
            assert_eq!(of(PathKey::Whole, "*"), ["*"]);
        }
    }

    /// Whatever way one path is written, its own value is among those that count.
    #[test]
    fn no_spelling_has_a_value_of_its_own() {
        for target in [
            "/user/bob.x",
            "/user/%62ob.x",
            "/user/b%6Fb%2Ex",
            "//user//bob.x",
            "/./user/./bob.x",
            "/x/../user/bob.x",
            "/x/%2e%2e/user/bob.x",
            "/user%2fbob.x",
            "/x/..%2fuser%2fbob.x",
            "/user\\bob.x",
            "/user%5cbob.x",
            "/x;/..;/user;v=1/bob.x;y",
            "/user/b%256fb.x",
            "/x/..%252fuser/bob.x",
            "/%u0075ser/bob.x",
        ] {
            for (key, expected) in [
                (PathKey::Whole, "/user/bob.x"),
                (PathKey::EverySegment, "bob.x"),
                (PathKey::Segment(0), "user"),
                (PathKey::Segment(1), "bob.x"),
                (PathKey::ActionName, "bob"),
                (PathKey::ActionExt, "x"),
                (PathKey::Target, "/user/bob.x"),
            ] {
                let values = values(key, target, true);
                assert!(values.iter().any(|value| value == expected), "{key:?} {target} {values:?}");
            }
        }
        for target in ["/user/%62ob", "//user/bob", "/x/../user/bob", "/./user/bob"] {
            assert_eq!(values(PathKey::Segment(1), target, false), ["bob"], "{target}");
        }
    }
}
