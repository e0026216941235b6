//! Requests of all shapes, and what is found where.

use super::{EMPTY, engine};
use crate::{AttackClass, Engine, EngineOptions, Limits, OverLimit, Pack, RequestView};

/// The points and classes that are found, without repetition.
fn found(request: &RequestView<'_>) -> Vec<(String, AttackClass)> {
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let report = inspector.inspect(engine, request);
    let mut found: Vec<_> =
        report.findings.iter().map(|finding| (finding.point.clone(), finding.class)).collect();
    found.dedup();
    found
}

fn points(request: &RequestView<'_>) -> Vec<String> {
    let mut points: Vec<_> = found(request).into_iter().map(|(point, _)| point).collect();
    points.dedup();
    points
}

#[test]
fn a_payload_is_found_wherever_it_is() {
    let with_headers = |headers| points(&RequestView { headers, ..EMPTY });
    let payload = "%3Cscript%3Ealert(1)%3C/script%3E";
    let query = format!("a=1&q={payload}");
    assert_eq!(points(&RequestView { query: Some(query.as_bytes()), ..EMPTY }), ["query.q"]);
    let name = format!("{payload}=1");
    assert_eq!(
        points(&RequestView { query: Some(name.as_bytes()), ..EMPTY }),
        ["query.<script>alert(1)</script>"]
    );
    assert_eq!(points(&RequestView { path: b"/a/;cat%20%2fetc%2fpasswd/b", ..EMPTY }), ["path", "path.1"]);
    assert_eq!(with_headers(&[(b"X-Api", b"${jndi:ldap://x.example}")]), ["header.x-api"]);
    assert_eq!(with_headers(&[(b"Cookie", b"a=1; sid=../../../etc/passwd")]), ["cookie.sid"]);
    let jndi = b"${jndi:ldap://x.example/a} y";
    for name in ["authorization", "proxy-authorization"] {
        let request = RequestView { headers: &[(name.as_bytes(), jndi)], ..EMPTY };
        assert_eq!(points(&request), [format!("header.{name}")]);
    }
    assert_eq!(
        with_headers(&[(b"Referer", b"http://x.example/?q=%3Cscript%3Ealert(1)%3C/script%3E")]),
        ["header.referer.query.q"]
    );
    assert_eq!(with_headers(&[(b"User-Agent", b"() { :;}; /bin/cat /etc/passwd")]), ["header.user-agent"]);
}

#[test]
fn bodies_are_read_as_their_type_or_their_looks_say() {
    let body = |content_type: &[u8], body: &[u8]| {
        points(&RequestView { method: b"POST", headers: &[(b"content-type", content_type)], body, ..EMPTY })
    };
    let json = br#"{"user":{"names":["a","1' UNION SELECT 1,2,3-- "]}}"#;
    for content_type in [
        "application/json",
        "application/vnd.api+json; charset=utf-8",
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
    ] {
        assert_eq!(body(content_type.as_bytes(), json), ["body.json.user.names.1"], "{content_type}");
    }
    assert_eq!(body(b"", &[b"\xef\xbb\xbf", &json[..]].concat()), ["body.json.user.names.1"]);
    let form = b"a=b&id=1%27+union+select+1%2C2%2C3--+";
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "application/json", ""] {
        assert_eq!(body(content_type.as_bytes(), form), ["body.id"], "{content_type}");
    }
    let multipart =
        b"--x\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n1' union select 1,2--\r\n--x--\r\n";
    assert_eq!(body(b"multipart/form-data; boundary=x", multipart), ["body.id"]);
    for content_type in ["text/plain", ""] {
        assert_eq!(body(content_type.as_bytes(), multipart), ["body.id", "body"], "{content_type}");
    }
    let broken = b"{\"a\":&id=1%27+union+select+1%2C2%2C3--+";
    assert!(body(b"application/x-www-form-urlencoded", broken).contains(&"body.id".to_owned()));
    let xml = b"<?xml version='1.0'?><a><b c='1'>1 and 1=1</b></a>";
    assert_eq!(body(b"text/xml", xml), ["body.xml.b"]);
    let upload = b"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../a.php\"\r\n\r\n<?php eval($_POST[1]);";
    assert_eq!(body(b"multipart/form-data; boundary=x", upload), ["body.f.filename", "body.f"]);
    assert_eq!(body(b"text/plain", b"say <script>alert(1)</script>"), ["body"]);
    assert_eq!(body(b"application/json", br#"{"a":"b", <script>alert(1)</script>"#), ["body"]);
    assert_eq!(body(b"application/json", br#"{"a":"\u003cscript\u003ealert(1)"#), ["body.json.a"]);
}

#[test]
fn decoders_are_part_of_the_point() {
    let query = |query: &[u8]| points(&RequestView { query: Some(query), ..EMPTY });
    assert_eq!(query(b"q=%253Cscript%253Ealert(1)%253C/script%253E"), ["query.q|percent"]);
    assert_eq!(query(b"q=%25253Cscript%25253Ealert(1)"), ["query.q|percent|percent"]);
    assert_eq!(query(br#"d={"a":["<script>alert(1)</script>"]}"#), ["query.d", "query.d.json.a.0"]);
    assert_eq!(query(b"q=3c7363726970743e616c6572742831293c2f7363726970743e"), ["query.q|hex"]);
    assert_eq!(query(b"q=%EF%BC%9Cscript%EF%BC%9Ealert(1)%EF%BC%9C/script%EF%BC%9E"), ["query.q|unicode"]);
    assert_eq!(query(b"q=s:9:%22a%22;s:12:%22JyBvciAxPTEgLS0=%22"), ["query.q|php|base64"]);
    let graphql = br#"q={user(id:"1' union select 1,2,3-- ", n: "a"){name}}"#;
    assert_eq!(query(graphql), ["query.q", "query.q|graphql"]);
    let token = b"t=eyJhbGciOiJub25lIn0.eyJuYW1lIjoiPHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0PiJ9.x";
    assert_eq!(query(token), ["query.t|jwt", "query.t|jwt.json.name"]);
    let headers: [(&[u8], &[u8]); 1] = [(b"Authorization", b"Basic JyBvciAxPTEgLS06cGFzcw==")];
    assert_eq!(
        points(&RequestView { headers: &headers, ..EMPTY }),
        ["header.authorization|base64.user", "header.authorization|base64"]
    );
    let path = b"/api/JyBvciAxPTEgLS0gLS0gLS0";
    assert_eq!(points(&RequestView { path, ..EMPTY }), ["path.1|base64"]);
}

#[test]
fn scores_add_up_per_class() {
    let texts = |score: u32| {
        format!(
            "class = \"xss\"\n[[signature]]\nid = \"one\"\ndescription = \"one\"\npattern = \"aaa\"\nscore = {score}\n\
             examples = {{ attack = [\"aaa\"], clean = [\"b\"] }}\n[[signature]]\nid = \"two\"\ndescription = \"two\"\n\
             pattern = \"bbb\"\nscore = 3\nexamples = {{ attack = [\"bbb\"], clean = [\"a\"] }}\n"
        )
    };
    let attack = |score: u32, query: &[u8]| {
        let pack = Pack::parse(&[("t.toml", &texts(score))]).unwrap();
        let engine = Engine::compile(pack, EngineOptions::default()).unwrap();
        let mut inspector = engine.inspector().unwrap();
        let report = inspector.inspect(&engine, &RequestView { query: Some(query), ..EMPTY });
        (report.attack, report.findings.len())
    };
    assert_eq!(attack(2, b"x=aaa&y=bbb"), (true, 2));
    assert_eq!(attack(1, b"x=aaa&y=bbb"), (false, 2));
    // A signature counts once, however often it is found.
    assert_eq!(attack(2, b"x=aaa&y=aaa&z=aaa"), (false, 3));
}

#[test]
fn a_match_over_the_border_of_two_values_is_none() {
    let text = "class = \"xss\"\n[[signature]]\nid = \"one\"\ndescription = \"one\"\npattern = '''aaa[^z]{1,20}bbb'''\n\
                score = 5\nexamples = { attack = [\"aaa bbb\"], clean = [\"b\"] }\n";
    let engine =
        Engine::compile(Pack::parse(&[("t.toml", text)]).unwrap(), EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    let mut attack =
        |query: &[u8]| inspector.inspect(&engine, &RequestView { query: Some(query), ..EMPTY }).attack;
    assert!(attack(b"x=aaa-bbb"));
    assert!(!attack(b"x=aaa&bbb"));
    assert!(attack(b"x=aaa&y=aaa+bbb"));
}

#[test]
fn an_inspector_survives_a_reload() {
    let request = RequestView { query: Some(b"q=1'+union+select+1,2--"), ..EMPTY };
    let other = Pack::parse(&[(
        "t.toml",
        "class = \"rce\"\n[[signature]]\nid = \"one\"\ndescription = \"one\"\npattern = \"union\"\nscore = 5\n\
         examples = { attack = [\"union\"], clean = [\"b\"] }\n",
    )])
    .unwrap();
    let other = Engine::compile(other, EngineOptions::default()).unwrap();
    let mut inspector = other.inspector().unwrap();
    for _ in 0..2 {
        assert_eq!(&*inspector.inspect(&other, &request).findings[0].signature, "one");
        let findings = inspector.inspect(engine(), &request).findings;
        assert!(findings.iter().any(|finding| &*finding.signature == "sqli-union-select"));
    }
}

#[test]
fn limits_have_names() {
    let engine_with = |limits| {
        Engine::compile(Pack::embedded(), EngineOptions { limits, ..EngineOptions::default() }).unwrap()
    };
    let over = |limits, request: &RequestView<'_>| {
        let engine = engine_with(limits);
        engine.inspector().unwrap().inspect(&engine, request).over_limit
    };
    let many = "a=b&".repeat(100);
    let many = RequestView { query: Some(many.as_bytes()), ..EMPTY };
    let limits = Limits::default();
    assert_eq!(over(limits, &many), None);
    // Whether a pair's name or its value is the last that has room.
    for values in [20, 21] {
        assert_eq!(over(Limits { values, ..limits }, &many), Some(OverLimit::Values));
    }
    assert_eq!(over(Limits { decoded_bytes: 20, ..limits }, &many), Some(OverLimit::DecodedBytes));
    let attacks = "a=%3Cscript%3E&".repeat(100);
    let attacks = RequestView { query: Some(attacks.as_bytes()), ..EMPTY };
    assert_eq!(over(Limits { confirmations: 20, ..limits }, &attacks), Some(OverLimit::Confirmations));
    assert_eq!(over(Limits { confirmed_bytes: 20, ..limits }, &attacks), Some(OverLimit::Confirmations));
    let deep = "[".repeat(100);
    let deep = RequestView { body: deep.as_bytes(), ..EMPTY };
    assert_eq!(over(limits, &deep), Some(OverLimit::Depth));
    let engine = engine_with(Limits { findings: 3, ..limits });
    let mut inspector = engine.inspector().unwrap();
    assert_eq!(inspector.inspect(&engine, &attacks).findings.len(), 3);
}

#[test]
fn evidence_is_bounded_and_holds_the_match() {
    let query = format!("q={}<script>alert(1)</script>{}", "a".repeat(3000), "b".repeat(3000));
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let report = inspector.inspect(engine, &RequestView { query: Some(query.as_bytes()), ..EMPTY });
    for finding in report.findings {
        assert!(finding.payload.len() <= 256);
        assert!(finding.payload.windows(6).any(|window| window == b"script"), "{finding:?}");
    }
    assert!(report.attack);
}

#[test]
fn a_cached_database_is_taken_only_when_it_fits() {
    let options = EngineOptions::default();
    let (_, bytes) = Engine::compile_with_cache(Pack::embedded(), options, None).unwrap();
    let bytes = bytes.unwrap();
    let (engine, again) = Engine::compile_with_cache(Pack::embedded(), options, Some(&bytes)).unwrap();
    assert!(again.is_none());
    let request = RequestView { query: Some(b"q=1'+union+select+1,2--"), ..EMPTY };
    assert!(engine.inspector().unwrap().inspect(&engine, &request).attack);
    let (_, rebuilt) = Engine::compile_with_cache(Pack::embedded(), options, Some(&bytes[1..])).unwrap();
    assert_eq!(rebuilt, Some(bytes));
}
