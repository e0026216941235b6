//! Signature files that are wrong, and what is said about them.

use super::EMPTY;
use crate::{Engine, EngineError, EngineOptions, Pack, PackError, RequestView};

const GOOD: &str = r#"class = "xss"
[[signature]]
id = "one"
description = "a sign"
pattern = '''abc'''
score = 5
examples = { attack = ["abc"], clean = ["b"] }
"#;

fn error(text: &str) -> PackError {
    let mut errors = Pack::parse(&[("mine.toml", text)]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[test]
fn errors_name_file_line_signature_and_reason() {
    assert!(Pack::parse(&[("mine.toml", GOOD)]).is_ok());
    let cases = [
        ("'''abc'''", "'''a(bc'''", 5, "does not parse"),
        ("'''abc'''", "'''a*'''", 5, "match nothing"),
        ("'''abc'''", "'''^abc'''", 5, "anchored"),
        ("score = 5", "score = 0", 6, "score"),
        ("\"one\"", "\"One\"", 3, "lower-case"),
        ("\"a sign\"", "\"\"", 4, "description"),
        ("clean = [\"b\"]", "clean = []", 7, "example"),
        ("attack = [\"abc\"]", "attack = []", 7, "example"),
        ("score = 5", "score = 5\nsecond = \"x\"", 7, "second"),
        ("score = 5", "score = 5\npoints = []", 7, "points"),
    ];
    for (from, to, line, reason) in cases {
        let error = error(&GOOD.replace(from, to));
        assert_eq!((error.file.as_str(), error.line), ("mine.toml", line), "{error}");
        assert!(error.message.contains(reason), "{error}");
        assert!(error.to_string().contains("signature"), "{error}");
    }
}

#[test]
fn errors_of_the_format_name_the_line() {
    for (from, to, line) in [
        ("score = 5", "score = five", 6),
        ("score = 5", "score = 5\nsurprise = 1", 7),
        ("\"xss\"", "\"unknown\"", 1),
        ("score = 5", "score = 5\npoints = [\"nowhere\"]", 7),
        ("score = 5", "score = 5\nconfirm = \"magic\"", 7),
    ] {
        let error = error(&GOOD.replace(from, to));
        assert_eq!(error.line, line, "{error}");
    }
    assert!(Pack::parse(&[]).is_err());
    assert!(Pack::parse(&[("empty.toml", "class = \"xss\"")]).is_err());
}

#[test]
fn all_that_is_wrong_is_told_in_one_go() {
    let more = GOOD.replace("class = \"xss\"\n", "");
    let text = GOOD.replace("id = \"one\"\n", "surprise = 1\n").replace("score = 5", "score = \"five\"")
        + &more.replace("'''abc'''", "'''a(bc'''").replace("clean", "cleen")
        + "[[signature]]\nid = \"two\"\n";
    let errors = Pack::parse(&[("mine.toml", &text)]).unwrap_err();
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        "mine.toml:3:1: unknown key `surprise`",
        "mine.toml:2:1: `id` is missing",
        "mine.toml:6:9: a score is a whole number from 1 to 100",
        "mine.toml:11:11: signature one: the pattern does not parse",
        "mine.toml:13:32: signature one: unknown key `cleen`",
        "mine.toml:13:12: signature one: at least one example",
        "mine.toml:14:1: signature two: `description` is missing",
        "mine.toml:14:1: signature two: `pattern` is missing",
        "mine.toml:14:1: signature two: `score` is missing",
        "mine.toml:14:1: signature two: `examples` is missing",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}, expected {expected}");
    }
}

#[test]
fn what_is_no_toml_hides_nothing_behind_it() {
    let more = GOOD.replace("class = \"xss\"\n", "");
    let text = GOOD.replace("score = 5", "score = five") + &more.replace("score = 5", "score = 500");
    let errors = Pack::parse(&[("mine.toml", &text)]).unwrap_err();
    let lines: Vec<usize> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [6, 12], "{errors:?}");
}

#[test]
fn a_pattern_without_a_literal_needs_a_reason() {
    let without = GOOD.replace("'''abc'''", "'''a[b-z]c'''");
    assert!(error(&without).message.contains("no_literal"));
    let reason = "no_literal = \"names differ\"\nscore";
    assert!(Pack::parse(&[("mine.toml", &without.replace("score", reason))]).is_ok());
    assert!(error(&GOOD.replace("score", reason)).message.contains("leave `no_literal` out"));
    let empty = without.replace("score", "no_literal = \" \"\nscore");
    assert!(error(&empty).message.contains("reason is empty"));
}

#[test]
fn what_is_scanned_for_instead_of_the_pattern_is_checked_as_well() {
    let with = |scan: &str| GOOD.replace("score", &format!("scan = {scan}\nscore"));
    for (scan, message) in [
        ("\"other\"", "a list of expressions"),
        ("[]", "a list of expressions"),
        ("[\"a\", \"(\"]", "does not parse"),
        ("[\"^abc\"]", "anchored"),
        ("[1]", "can match nothing"),
        ("\"operators\"", "only \"operators\" with confirm"),
        ("[\"bc\"]\nno_literal = \"none\"", "leave `no_literal` out"),
    ] {
        let errors = Pack::parse(&[("mine.toml", &with(scan))]).unwrap_err();
        assert!(errors[0].message.contains(message), "{scan}: {errors:?}");
    }
    let without = with("[\"bc\", \"ab\"]").replace("'''abc'''", "'''a[b-z]c'''");
    assert!(Pack::parse(&[("mine.toml", &without)]).is_ok(), "the pattern needs no literal then");
}

#[test]
fn a_signature_is_found_by_what_is_scanned_for_and_where_its_pattern_matches() {
    let scan = "scan = [\"9c\", \"8c\"]\nscore";
    let text = GOOD.replace("'''abc'''", "'''[a-b]{2}[0-9]c'''").replace("score", scan);
    let pack = Pack::parse(&[("mine.toml", &text)]).unwrap();
    let engine = Engine::compile(pack, EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    let found = |query: &[u8]| {
        inspector.inspect(&engine, &RequestView { query: Some(query), ..EMPTY }).findings.len()
    };
    let queries = [&b"q=ab9c"[..], b"q=aa8c", b"q=aa8c9c8c", b"q=9c", b"q=x8c"];
    assert_eq!(queries.map(found), [1, 1, 1, 0, 0]);
}

#[test]
fn names_of_parameters_are_letters_and_digits() {
    for (names, message) in [
        ("[]", "names is empty"),
        ("[\"return_url\"]", "letters and digits only"),
        ("\"next\"", "a list of texts"),
    ] {
        let error = error(&GOOD.replace("score", &format!("names = {names}\nscore")));
        assert!(error.message.contains(message) && error.line == 6, "{error}");
    }
}

#[test]
fn a_signature_with_names_applies_to_parameters_of_these_names_only() {
    let pack = Pack::parse(&[("mine.toml", &GOOD.replace("score", "names = [\"nexturl\"]\nscore"))]).unwrap();
    let engine = Engine::compile(pack, EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    let mut found = |query: &[u8], body: &[u8]| {
        let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"application/json")];
        let request = RequestView { query: Some(query), body, headers, ..EMPTY };
        inspector.inspect(&engine, &request).findings.len()
    };
    assert_eq!(found(b"next_url=abc&url=abc", b""), 1);
    assert_eq!(found(b"a[nextURL]=%25%36%31bc", b""), 1);
    assert_eq!(found(b"abc", b"{\"nextUrl\":[\"abc\"],\"a\":\"abc\"}"), 1);
    assert_eq!(found(b"nexturl[0]=abc&nexturl=%5b%22%5cu0061bc%22%5d", b""), 2);
    assert_eq!(found(b"nexturl[a]=abc", b"{\"nexturl\":{\"a\":\"abc\"}}"), 0);
}

#[test]
fn a_value_of_another_name_stands_for_none_of_a_name_that_counts() {
    let keys = "names = [\"nexturl\"]\nconfirm = \"regex\"\nsecond = \"^abc$\"\nscore";
    let pack = Pack::parse(&[("mine.toml", &GOOD.replace("score", keys))]).unwrap();
    let engine = Engine::compile(pack, EngineOptions::default()).unwrap();
    let others: String = (0..300).map(|number| format!("nexturl=abc{number}&")).collect();
    let query = format!("{others}x=abc&nexturl=abc");
    let request = RequestView { query: Some(query.as_bytes()), ..EMPTY };
    assert_eq!(engine.inspector().unwrap().inspect(&engine, &request).findings.len(), 1);
}

#[test]
fn ids_are_unique_over_all_files() {
    let errors = Pack::parse(&[("a.toml", GOOD), ("b.toml", GOOD)]).unwrap_err();
    assert_eq!((errors.len(), errors[0].file.as_str()), (1, "b.toml"));
    assert!(errors[0].message.contains("a.toml:5"), "{}", errors[0]);
}

#[test]
fn what_the_matcher_refuses_is_named_too() {
    let pack = Pack::parse(&[("mine.toml", &GOOD.replace("abc'''", "abc[a-z]{1,40000}d'''"))]);
    let pack = pack.unwrap();
    let Err(EngineError::Signature(error)) = Engine::compile(pack, EngineOptions::default()) else {
        panic!("the matcher took what it does not know");
    };
    assert_eq!((error.line, error.signature.as_deref()), (5, Some("one")), "{error}");
}

#[test]
fn own_files_come_on_top() {
    let embedded = Pack::embedded();
    let both = Pack::embedded_with(&[("mine.toml", GOOD)]).unwrap();
    assert_eq!(both.signature_count(), embedded.signature_count() + 1);
    assert_ne!(both.digest(), embedded.digest());
    let taken = GOOD.replace("\"one\"", "\"xss-script-tag\"");
    assert_eq!(Pack::embedded_with(&[("mine.toml", &taken)]).unwrap_err()[0].file, "mine.toml");
}

#[test]
fn the_digest_tells_packs_apart() {
    let digest = |text: &str| Pack::parse(&[("a.toml", text)]).unwrap().digest();
    assert_eq!(digest(GOOD), digest(GOOD));
    assert_ne!(digest(GOOD), digest(&GOOD.replace("abc'''", "abd'''")));
}

#[test]
fn a_part_of_a_pack_is_a_pack_of_its_own() {
    let whole = Pack::embedded();
    let part = whole.clone().retain(|id| id == "xss-script-tag");
    assert_eq!(part.signature_ids().collect::<Vec<_>>(), ["xss-script-tag"]);
    assert_ne!(part.digest(), whole.digest());
    let engine = Engine::compile(part, EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    assert_eq!(inspector.count_matches(&engine, b"<script>\0onload=\0</script>"), 2);
}
