//! Signature files that are wrong, and what is said about them.

use crate::{Engine, EngineError, EngineOptions, Pack, PackError};

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
