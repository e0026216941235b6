//! Limits of GraphQL requests.

use std::sync::OnceLock;

use super::EMPTY;
use crate::{Engine, EngineOptions, GraphqlLimits, Pack, RequestView};

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let pack = Pack::embedded().retain(|id| id == "xxe-entity");
        let options = EngineOptions { graphql: Some(GraphqlLimits::default()), ..EngineOptions::default() };
        Engine::compile(pack, options).unwrap()
    })
}

/// Class and point of each finding, in the order of their classes.
fn findings(request: &RequestView<'_>) -> Vec<String> {
    let mut inspector = engine().inspector().unwrap();
    let report = inspector.inspect(engine(), request);
    assert_eq!(report.attack, !report.findings.is_empty());
    let mut found: Vec<_> =
        report.findings.iter().map(|finding| format!("{} {}", finding.class, finding.point)).collect();
    found.sort();
    found
}

fn posted(content_type: &str, body: &str) -> Vec<String> {
    let headers: [(&[u8], &[u8]); 1] = [(b"content-type", content_type.as_bytes())];
    findings(&RequestView { method: b"POST", headers: &headers, body: body.as_bytes(), ..EMPTY })
}

fn json(body: &str) -> Vec<String> {
    posted("application/json", body)
}

const DEEP: &str = "{a{a{a{a{a{a{a{a{a{a{a}}}}}}}}}}}";

#[test]
fn requests_within_the_limits_pass() {
    let clean: [&str; 0] = [];
    assert_eq!(
        json(r#"{"query":"query Q($x: ID!) { a(x: $x) { b { c: d } } }","variables":{"x":"1"}}"#),
        clean
    );
    assert_eq!(json(r#"{"query":"shoes {size 42} and much more","debug":true}"#), clean);
    assert_eq!(json(r#"{"text":"{a{a{a{a{a{a{a{a{a{a{a}}}}}}}}}}}"}"#), clean);
    assert_eq!(json(&format!("{{\"text\":\"{}\"}}", "x".repeat(200_000))), clean);
}

#[test]
fn each_limit_has_a_class() {
    let query = |document: &str| json(&format!("{{\"query\":\"{document}\"}}"));
    assert_eq!(query(DEEP), ["gql_depth body.json.query"]);
    assert_eq!(query("{a:x b:x c:x d:x e:x f:x}"), ["gql_aliases body.json.query"]);
    assert_eq!(query("{__schema{types{name}}}"), ["gql_introspection body.json.query"]);
    let long = format!("{{a(x: \\\"{}\\\")}}", "x".repeat(10_241));
    assert_eq!(query(&long), ["gql_value_size body.json.query"]);
    let large = format!("{{{}}}", "field ".repeat(17_100));
    assert_eq!(query(&large), ["gql_doc_size body.json.query"]);
    let batch = format!("[{}]", [r#"{"query":"{a}"}"#; 11].join(","));
    assert_eq!(json(&batch), ["gql_docs_per_batch body.json.10.query"]);
    assert_eq!(json(r#"{"debug":true,"query":"{a}"}"#), ["gql_debug body.json.debug"]);
    let variable = format!(r#"{{"query":"{{a}}","variables":{{"x":["{}"]}}}}"#, "x".repeat(10_241));
    assert_eq!(json(&variable), ["gql_value_size body.json.variables.x.0"]);
}

#[test]
fn documents_are_found_wherever_they_are_sent() {
    let deep = "gql_depth";
    let encoded = DEEP.replace('{', "%7B").replace('}', "%7D");
    let query = format!("query={encoded}&variables=%7B%7D");
    assert_eq!(
        findings(&RequestView { query: Some(query.as_bytes()), ..EMPTY }),
        [format!("{deep} query.query")]
    );
    assert_eq!(posted("application/x-www-form-urlencoded", &query), [format!("{deep} body.query")]);
    assert_eq!(posted("application/graphql", DEEP), [format!("{deep} body")]);
    assert_eq!(posted("text/plain", &format!("query {DEEP}")), [format!("{deep} body")]);
    let json = format!(r#"{{"query":"{DEEP}"}}"#);
    assert_eq!(posted("text/plain", &json), [format!("{deep} body.json.query")]);
    let part =
        format!("--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{json}\r\n--b--\r\n");
    let found = posted("multipart/form-data; boundary=b", &part);
    assert_eq!(found, [format!("{deep} body.operations.json.query")]);
}

#[test]
fn limits_of_zero_are_none() {
    let limits = GraphqlLimits {
        document_bytes: 0,
        value_bytes: 0,
        depth: 0,
        aliases: 0,
        documents: 0,
        introspection: true,
        debug: true,
    };
    let pack = Pack::embedded().retain(|id| id == "xxe-entity");
    let engine =
        Engine::compile(pack, EngineOptions { graphql: Some(limits), ..EngineOptions::default() }).unwrap();
    let body = format!(r#"{{"query":"{{__schema{DEEP} a:b c:d e:f g:h i:j k:l}}","debug":1}}"#);
    let mut inspector = engine.inspector().unwrap();
    let request = RequestView { method: b"POST", body: body.as_bytes(), ..EMPTY };
    assert!(inspector.inspect(&engine, &request).findings.is_empty());
}
