//! Runs every signature's own examples.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::string::bytes_regex_parsed;
use regex_syntax::hir::{Hir, HirKind};

use super::EMPTY;
use crate::pack::{Scan, expression};
use crate::{Engine, EngineOptions, Pack, RequestView};

/// The signatures that are scanned for by something else than their pattern: as they are, and as if they were not.
static OTHERWISE_SCANNED: LazyLock<(Engine, Engine)> = LazyLock::new(|| {
    let compile = |pack| Engine::compile(pack, EngineOptions::default()).unwrap();
    let mut pack = Pack::embedded();
    pack.signatures.retain(|signature| signature.scan != Scan::Pattern);
    let as_they_are = compile(pack.clone());
    pack.signatures.iter_mut().for_each(|signature| signature.scan = Scan::Pattern);
    (as_they_are, compile(pack))
});

/// An expression without its anchors and word boundaries: texts made from it have no use for them.
fn without_looks(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Look(_) | HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(without_looks(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => without_looks(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(without_looks).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(without_looks).collect()),
    }
}

/// Texts that the pattern or the second expression of one of those matches, with a few bytes around.
fn matched_text() -> impl Strategy<Value = Vec<u8>> {
    let signatures =
        Pack::embedded().signatures.into_iter().filter(|signature| signature.scan != Scan::Pattern);
    let expressions =
        signatures.flat_map(|signature| signature.second.into_iter().chain([signature.pattern]));
    let texts = expressions.map(|expression| {
        let around = "[ a-z0-9;'\")(\n/]{0,4}";
        let hir = expression::parse(&format!("{around}(?:{expression}){around}"), false).unwrap();
        bytes_regex_parsed(&without_looks(hir)).unwrap().boxed()
    });
    proptest::strategy::Union::new(texts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_scanned_for_finds_all_that_the_patterns_would(text in matched_text()) {
        let (as_they_are, by_patterns) = &*OTHERWISE_SCANNED;
        let found = |engine: &Engine| {
            let request = RequestView { body: &text, ..EMPTY };
            let mut inspector = engine.inspector().unwrap();
            let report = inspector.inspect(engine, &request);
            let mut found: Vec<_> = report.findings.iter().map(|finding| (finding.signature.clone(), finding.point.clone())).collect();
            found.sort();
            found
        };
        prop_assert_eq!(found(as_they_are), found(by_patterns));
    }
}

#[test]
fn every_signature_scores_on_its_attacks_and_not_on_its_clean_values() {
    let pack = Pack::embedded();
    let engine = Engine::compile(pack.clone(), EngineOptions::default()).unwrap();
    let wrong = engine.check_examples(pack.signatures.iter()).unwrap();
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn own_examples_that_are_wrong_are_named() {
    let text = "class = \"xss\"\n[[signature]]\nid = \"mine\"\ndescription = \"mine\"\npattern = \"zzy\"\nscore = 5\n\
                examples = { attack = [\"zzy\", \"other\"], clean = [\"b\", \"a zzy\"] }\n";
    let pack = Pack::embedded_with(&[("rules/mine.toml", text)]).unwrap();
    let engine = Engine::compile(pack.clone(), EngineOptions::default()).unwrap();
    let wrong = engine.check_own_examples(&pack).unwrap();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    for (error, example) in wrong.iter().zip(["\"other\"", "\"a zzy\""]) {
        assert_eq!(
            (error.file.as_str(), error.line, error.signature.as_deref()),
            ("rules/mine.toml", 5, Some("mine"))
        );
        assert!(error.message.contains(example), "{error}");
    }
}
