//! What requests are told apart by where a rate limit counts by the path.
//!
//! A client writes one path in many ways. Each form that servers may read counts, so that no spelling has a bucket of its own.

use weir_inspect::PointValues;
use weir_policy::{Part, PointSelector, Step};

use super::RateKeyParts;
use crate::http::{PathReadings, decode_path};

/// Buffers for the values of a path, reused from request to request.
#[derive(Debug, Default)]
pub struct PathKeyScratch {
    readings: PathReadings,
    target: Vec<u8>,
    value: Vec<u8>,
}

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

    /// Writes the values of the forms of a request's path, those of the normalised one first, and none that is empty. The empty
    /// one stands for all that there is no room for.
    ///
    /// A segment that is empty or of dots, and that servers may keep, is `...` in the readings of a path, and counts as that.
    pub fn write(self, parts: &RateKeyParts<'_>, keys: &mut PointValues, scratch: &mut PathKeyScratch) {
        keys.take_as_many_as_possible();
        let PathKeyScratch { readings, target, value } = scratch;
        for form in readings.forms(parts.path, parts.path_has_readings) {
            if keys.has_rest() {
                return;
            }
            let mut add = |bytes: &[u8]| {
                if keys.has_rest() {
                    return;
                }
                decode_path(bytes, value);
                let part = match self {
                    Self::ActionName => value.split(|byte| *byte == b'.').next(),
                    Self::ActionExt => {
                        value.iter().rposition(|byte| *byte == b'.').map(|at| &value[at + 1..])
                    }
                    _ => Some(&value[..]),
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
                    add(target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::tls::tests::counting::allocations;

    fn parts(target: &str, path_has_readings: bool) -> RateKeyParts<'_> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        RateKeyParts {
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            application: -1,
            method: b"GET",
            scheme: b"http",
            proto: b"HTTP/1.1",
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            path_has_readings,
        }
    }

    fn values(key: PathKey, target: &str, path_has_readings: bool) -> Vec<String> {
        let parts = parts(target, path_has_readings);
        let mut keys = PointValues::default();
        key.write(&parts, &mut keys, &mut PathKeyScratch::default());
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

    /// However many other segments and readings there are: the value counts, or the common one of all that have no room.
    #[test]
    fn no_number_of_segments_hides_one() {
        let many: String = (0..40).map(|number| format!("/s{number}")).collect();
        let up = "/..".repeat(40);
        let odd_up = "%2f..".repeat(40);
        for target in [
            format!("{many}/user/bob"),
            format!("{many}{up}/user/bob"),
            format!("{many}{odd_up}%2fuser%2fbob"),
        ] {
            let values = values(PathKey::EverySegment, &target, true);
            let counts = |value: &str| values.iter().any(|known| known == value);
            assert!(counts("bob") || counts(""), "{target} {values:?}");
            assert!(values.len() <= 32, "{target} {values:?}");
        }
        let few: String = (0..31).map(|number| format!("/s{number}")).collect();
        let values = values(PathKey::EverySegment, &few, true);
        assert!(values.len() == 31 && !values.contains(&String::new()), "{values:?}");
    }

    #[test]
    fn values_of_paths_take_no_memory_once_there_were_some() {
        let mut scratch = PathKeyScratch::default();
        let mut keys = PointValues::default();
        let targets =
            ["/user/bob?x=%31", "/x/..%2fuser;v=1\\%62ob.x", "/x/%2e%2e//user/%2562ob", "/user%5cbob.x"];
        let mut write_all = || {
            for target in targets {
                for key in [PathKey::Whole, PathKey::EverySegment, PathKey::ActionExt, PathKey::Target] {
                    keys.clear();
                    key.write(&parts(target, true), &mut keys, &mut scratch);
                }
            }
            keys.iter().count()
        };
        // the buffers change places
        for _ in 0..3 {
            write_all();
        }
        let (allocations, _, count) = allocations(write_all);
        assert_eq!(allocations, 0);
        assert!(count > 1, "there are several readings");
    }
}
