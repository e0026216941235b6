//! Runs every signature's own examples.

use crate::pack::Signature;
use crate::place::Place;
use crate::{Engine, EngineOptions, Inspector, Pack, RequestView};

fn percent_encoded(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect()
}

/// Whether the signature scores on `example` at the first place that it applies to.
fn scores(engine: &Engine, inspector: &mut Inspector, signature: &Signature, example: &str) -> bool {
    let encoded = percent_encoded(example);
    let pair = [b"q=".as_slice(), &encoded].concat();
    let name = [&encoded, b"=1".as_slice()].concat();
    let path = [b"/".as_slice(), &encoded].concat();
    let referer = [b"https://shop.example/?".as_slice(), &pair].concat();
    let raw = example.as_bytes();
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b"host", b"shop.example")];
    let mut request =
        RequestView { method: b"GET", path: b"/", query: None, headers: &[], body: b"", body_complete: true };
    match signature.first_place {
        Place::Path => request.path = &path,
        Place::Query => request.query = Some(&pair),
        Place::Name => request.query = Some(&name),
        Place::Cookie => headers.push((b"cookie", &pair)),
        Place::Header => headers.push((b"x-note", raw)),
        Place::UserAgent => headers.push((b"user-agent", raw)),
        Place::Referer => headers.push((b"referer", &referer)),
        Place::Body => {
            headers.push((b"content-type", b"application/x-www-form-urlencoded"));
            request.body = &pair;
        }
        Place::FileName => headers.push((b"x-file-name", raw)),
        Place::File => {
            headers.push((b"content-type", b"application/octet-stream"));
            request.body = raw;
        }
    }
    request.headers = &headers;
    let report = inspector.inspect(engine, &request);
    report.findings.iter().any(|finding| finding.signature == signature.id)
}

#[test]
fn every_signature_scores_on_its_attacks_and_not_on_its_clean_values() {
    let pack = Pack::embedded();
    let signatures = pack.signatures.clone();
    let engine = Engine::compile(pack, EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    let mut wrong = Vec::new();
    for signature in &signatures {
        for example in &signature.examples.attack {
            if !scores(&engine, &mut inspector, signature, example) {
                wrong.push(format!("{} does not score on its attack {example:?}", signature.id));
            }
        }
        for example in &signature.examples.clean {
            if scores(&engine, &mut inspector, signature, example) {
                wrong.push(format!("{} scores on its clean value {example:?}", signature.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
