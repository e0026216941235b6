//! Runs every signature's own examples.

use crate::{Engine, EngineOptions, Pack};

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
