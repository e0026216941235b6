mod origins;

use proptest::prelude::*;

use super::*;

fn readings(path: &str) -> Vec<String> {
    let mut readings = PathReadings::default();
    let all = readings.of(path.as_bytes()).iter();
    all.map(|reading| String::from_utf8_lossy(reading).into_owned()).collect()
}

#[test]
fn plain_paths_have_one_reading() {
    for path in [
        "",
        "*",
        "/",
        "/a",
        "/a/b.c",
        "/a/",
        "/.well-known/x",
        "/a/...",
        "/a/.b/..c/d..",
        "/a%20b",
        "/caf%C3%A9",
        "/caf%c3%a9/%20%00%23%3f%7F",
        "/%61%2d",
        "/a=b,c!d",
        "/%zz%2",
        "a/../b",
    ] {
        assert_eq!(readings(path), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn odd_paths_have_all_their_readings() {
    for (path, expected) in [
        ("/off/a%2fb", &["/off/a/b"][..]),
        ("/off/..%2fx", &["/off/../x", "/off/.../x", "/x"]),
        ("/off/..\\x", &["/off/..\\x", "/x"]),
        ("/off/..;a=b/x", &["/off/..;a=b/x", "/x"]),
        ("/off/..%252fx", &["/off/..%252fx", "/x"]),
        ("/php/../off", &["/php/.../off", "/off"]),
        ("/php//off", &["/php/.../off", "/php/off"]),
        ("/off/..%2fsecret/%252e%252e/x", &["/secret/%252e%252e/x", "/x"]),
        ("/secret;/%252e%252e/x", &["/secret/%252e%252e/x"]),
        ("/a/;/..\\secret/x", &["/a/secret/x"]),
        ("/a/;/..%5csecret/x", &["/a/secret/x"]),
        ("/;/secret/;/../x", &["/secret/x"]),
        ("/%u0073ecret", &["/secret"]),
        ("/a%uff0f%u00E9", &["/a/%C3%A9"]),
        ("/%2575ff/%25u0073", &["/uff/s"]),
    ] {
        let found = readings(path);
        for reading in expected {
            let is_literal = origins::encoded(&origins::merged(&origins::unreserved(path.as_bytes())), false);
            // Dots that a server keeps are names; the path itself is the reading that is always there.
            let reading = reading.replace("/../", "/.../");
            assert!(
                reading.as_bytes() == is_literal || found.contains(&reading),
                "{path}: {reading} is not in {found:?}"
            );
        }
    }
}

#[test]
fn encoded_reserved_characters_are_read_decoded_too() {
    for (path, decoded) in [
        ("/%24meta", "/$meta"),
        ("/p%3aq", "/p:q"),
        ("/c%40d/e%2Bf", "/c@d/e+f"),
        ("/a%20b%c3%a9%21", "/a%20b%C3%A9!"),
    ] {
        assert_eq!(readings(path), [decoded], "{path}");
    }
    // An encoded `%` that begins nothing stays what it is.
    for path in ["/100%25", "/100%25/x", "/%25%C3%A9"] {
        assert_eq!(readings(path), Vec::<String>::new(), "{path}");
    }
    // What is decoded once isn't decoded behind that.
    assert_eq!(readings("/%25%32%46"), ["/"]);
}

#[test]
fn paths_that_lead_above_the_root_stay_below_it() {
    for path in ["/..", "/../..", "/%2e%2e/%2e%2e", "//..//..", "/.", "//"] {
        for reading in readings(path) {
            assert!(reading.starts_with('/'), "{path}: {reading}");
        }
    }
}

/// What tells servers apart, written in all the ways in which it passes for something else.
const TOKENS: [&str; 49] = [
    "/",
    "/",
    "/",
    "/",
    "//",
    "/./",
    "/../",
    "/..",
    "/.",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";",
    "%3b",
    ";a=b",
    "%3ba",
    ".",
    "..",
    "%2e",
    "%2e%2e",
    "%252f",
    "%255c",
    "%253b",
    "%252e",
    "%252e%252e",
    "%25",
    "%2525",
    "..;",
    "..%2f",
    "..%5c",
    "..\\",
    "..%3b",
    "/;/",
    "%u002f",
    "%u002e",
    "%u005c",
    "%u003b",
    "%25u002e",
    "a",
    "b",
    "off",
    "secret",
    "%61",
    "%2561",
    "%24",
    "%c3%a9",
    "%20",
    "%3a",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6_000) })]

    /// Wherever an origin ends up, that place is among those compared.
    #[test]
    fn the_place_of_every_origin_is_compared(tokens in prop::collection::vec(prop::sample::select(&TOKENS), 1..12)) {
        let path = format!("/{}", tokens.concat());
        let mut compared = readings(&path);
        let literal = origins::encoded(&origins::merged(&origins::unreserved(path.as_bytes())), false);
        compared.push(String::from_utf8(literal).unwrap());
        prop_assert!(compared.len() <= READINGS_MAX);
        for (name, place) in origins::places(path.as_bytes()) {
            let place = String::from_utf8(place).unwrap();
            prop_assert!(compared.contains(&place), "{name} takes {path} to {place}, which is not in {compared:?}");
        }
    }
}
