//! Regexes of detectors: in the same dialect as those of conditions, matched by values alone.

mod common;

use common::naive_regex::regex;
use proptest::prelude::*;
use weir_hyperscan::{Database, Scratch};
use weir_policy::{RegexScope, translate_regex};

/// Whether a detector finds the value.
fn finds(regex: &str, value: &[u8]) -> bool {
    let translated = translate_regex(regex).unwrap_or_else(|refusal| panic!("{regex}: {refusal:?}"));
    let Some(expression) = translated.expression.as_deref() else { return false };
    let database = Database::compile_for_one_report(&[expression], &[])
        .unwrap_or_else(|error| panic!("{regex} as {expression}: {error}"));
    let mut found = false;
    if !value.is_empty() {
        let mut scratch = Scratch::new(&database).unwrap();
        let scanned = scratch.scan(&database, value, &mut |_, _| {
            found = true;
            std::ops::ControlFlow::Continue(())
        });
        scanned.unwrap();
    }
    found
}

#[test]
fn detectors_speak_the_dialect_of_conditions() {
    let table: [(&str, &[u8], bool); 26] = [
        ("^(~(44[.]33[.]22[.]11))$", b"44.33.22.11", false),
        ("^(~(44[.]33[.]22[.]11))$", b"44.33.22.12", true),
        ("^Mozilla(~(.*bot.*))$", b"Mozilla/5.0", true),
        ("^Mozilla(~(.*bot.*))$", b"Mozilla bot", false),
        ("^(.*a.*&.*b.*)$", b"xbxa", true),
        ("^(.*a.*&.*b.*)$", b"xbx", false),
        ("a$", b"ba", true),
        ("a$", b"a\n", false),
        ("^a$|b", b"a", true),
        ("^a$|b", b"xb", true),
        ("^a$|b", b"xa", false),
        ("a$b", b"ab", false),
        ("a$b|c", b"c", true),
        ("^.*$", b"\n", true),
        ("^$", b"x", false),
        ("^a?$", b"a", true),
        ("^a?$", b"b", false),
        ("(?i)select", b"SeLeCt", true),
        ("select", b"SeLeCt", false),
        (".", b"\0", true),
        ("\u{e9}", b"\xe9", true),
        ("\u{e9}", "\u{e9}".as_bytes(), false),
        ("[^a]", b"\xff", true),
        ("[^a]", b"a", false),
        ("[\\\\]", b"a\\b", true),
        ("[.]", b"a", false),
    ];
    for (regex, value, expected) in table {
        assert_eq!(finds(regex, value), expected, "{regex:?} on {value:?}");
    }
}

#[test]
fn what_another_dialect_means_is_refused_with_what_to_write() {
    for (regex, expected) in [
        ("\\d+", "[0-9]"),
        ("a\\.b", "[.]"),
        ("a(?=b)", "looks around"),
        ("(?i:a)", "options"),
        ("a+?", "without its `?`"),
        ("\\bselect\\b", "\\b"),
        ("a~b", "[~]"),
        ("", "empty"),
    ] {
        let refusal = translate_regex(regex).unwrap_err();
        let told = format!("{}; {}", refusal.problem, refusal.expected);
        assert!(told.contains(expected), "{regex}: {told}");
    }
}

#[test]
fn what_a_regex_says_nothing_with_is_known() {
    for (regex, scope) in [
        ("a*", RegexScope::Everything),
        ("(~(a))", RegexScope::Everything),
        ("a&b", RegexScope::Nothing),
        ("a", RegexScope::Some),
    ] {
        assert_eq!(translate_regex(regex).unwrap().scope, scope, "{regex}");
        assert_eq!(finds(regex, b"x"), scope == RegexScope::Everything, "{regex}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_detector_finds_what_the_naive_matcher_finds(
        regex in regex(),
        values in prop::collection::vec(prop::collection::vec(prop::sample::select(b"abAB/1.\n\0".to_vec()), 0..6), 4),
    ) {
        let written = regex.written();
        // (a few are refused since they would grow too large)
        prop_assume!(translate_regex(&written).is_ok());
        for value in values {
            prop_assert_eq!(finds(&written, &value), regex.occurs_in(&value), "{} on {:?}", written, value);
        }
    }
}
