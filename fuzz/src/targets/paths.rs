//! The readings of a path: bounded, and paths themselves.

use weir::http::PathReadings;

use crate::{Random, Target};

pub(super) const PATH: Target = Target {
    name: "path_readings",
    seeds: &[b"/a/b", b"/off/..%2fshop", b"/a//b/./../c;d=e/%2e%2e%5cx", b"/%252e%252e%252f", b"*", b""],
    dictionary: &[
        b"/", b"//", b"..", b"/../", b"%2f", b"%2F", b"%5c", b"%2e", b"%25", b"%3b", b";", b"\\", b"%",
        b"%zz",
    ],
    quick_cases: 60_000,
    prepare: || {
        let mut readings = PathReadings::default();
        Box::new(move |input: &[u8], random: &mut Random| check(&mut readings, input, random))
    },
};

fn check(readings: &mut PathReadings, path: &[u8], random: &mut Random) {
    let first = readings.of(path).to_vec();
    for reading in &first {
        assert!(reading.starts_with(b"/"), "{}", reading.escape_ascii());
        // An odd segment becomes three dots, and has at least its slash.
        assert!(reading.len() <= 4 * path.len() + 1, "{} bytes of {}", reading.len(), path.len());
    }
    // Nothing is left over from the path before.
    let other: Vec<u8> = path.iter().rev().copied().collect();
    let _ = readings.of(&other[..random.below(other.len() + 1)]);
    assert_eq!(readings.of(path), first);
}
