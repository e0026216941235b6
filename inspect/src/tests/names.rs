//! Names that servers read differently: what looks for something covers all readings, what takes something away only what
//! all servers read.

use super::directives::{detector, inspect, json, multipart_request, query};
use super::{EMPTY, engine};
use crate::{AttackClass, DirectiveAction, HitKind, OverLimit, RequestView};

const SQLI: &str = "1' union select password from users--";

fn cookie(text: &str) -> [(&[u8], &[u8]); 1] {
    [(b"cookie", text.as_bytes())]
}

fn is_patched(point: &str, request: &RequestView<'_>) -> bool {
    let patch = DirectiveAction::Patch(None);
    inspect(vec![(point, patch)], request).kinds().contains(&(0, HitKind::Patched))
}

fn passes_where_dropped(point: &str, request: &RequestView<'_>) -> bool {
    !inspect(vec![(point, DirectiveAction::DropClass(None))], request).attack
}

#[test]
fn sloppy_json_is_found_and_not_let_off() {
    for text in [
        r#"{"x":'"k":"', "b":"ATTACK"}"#,
        r#"{'k':"ATTACK"}"#,
        r#"{k:"ATTACK"}"#,
        r#"{"a":1,/*c*/"k":"ATTACK"}"#,
        "{\"a\":1,//\"\n\"k\":\"ATTACK\"}",
        "#c\n{\"k\":\"ATTACK\"}",
        r#"{"a":NaN,"k":"ATTACK",}"#,
        r#"{"a":1;"k":"ATTACK"}"#,
    ] {
        let text = text.replace("ATTACK", SQLI);
        let request = json(&text);
        assert!(inspect(vec![], &request).attack, "{text}");
        assert!(!passes_where_dropped("body.json.k", &request), "{text}");
        assert!(is_patched("body.json.k", &request) || text.contains("'\"k"), "{text}");
    }
    let strict = format!(r#"{{"a":[],"k":"{SQLI}"}}"#);
    assert!(passes_where_dropped("body.json.k", &json(&strict)));
    let cut = RequestView { body_complete: false, ..json(&strict[..strict.len() - 2]) };
    assert!(passes_where_dropped("body.json.k", &cut), "the end isn't inspected");
}

#[test]
fn what_says_it_is_json_and_is_not_is_told() {
    let over_limit =
        |request: &RequestView<'_>| engine().inspector().unwrap().inspect(engine(), request).over_limit;
    assert_eq!(over_limit(&json(r#"{"a":1}]"#)), Some(OverLimit::Encoding));
    assert_eq!(over_limit(&json("{'a':1,}")), None);
    let text: &[(&[u8], &[u8])] = &[(b"content-type", b"text/plain")];
    assert_eq!(over_limit(&RequestView { headers: text, ..json(r#"{"a":1}]"#) }), None);
}

#[test]
fn pairs_may_be_parted_by_more_bytes() {
    let attack = "1'+union+select+password+from+users--";
    for (text, point) in [(format!("id=1;x={attack}"), "query.id"), (format!("x=1;id={attack}"), "query.x")] {
        assert!(!passes_where_dropped(point, &query(&text)), "{text}");
        assert!(is_patched("query.id", &query(&text)) && is_patched("query.x", &query(&text)), "{text}");
    }
    let ignoring = vec![("query", detector("^word$")), ("query.id", DirectiveAction::IgnoreDetector(0))];
    assert_eq!(inspect(ignoring, &query("id=1;x=word")).kinds(), [(0, HitKind::Detected)]);
    let headers = cookie("a=1, sid=2");
    assert!(is_patched("cookie.sid", &RequestView { headers: &headers, ..EMPTY }));
}

#[test]
fn not_all_servers_decode_names_of_cookies() {
    let text = format!("%73id={SQLI}");
    let headers = cookie(&text);
    let request = RequestView { headers: &headers, ..EMPTY };
    for (point, is_known) in [("cookie.sid", true), ("cookie.%73id", true), ("cookie.s", false)] {
        assert_eq!(is_patched(point, &request), is_known, "{point}");
    }
    assert!(!passes_where_dropped("cookie.sid", &request));
    assert!(passes_where_dropped("cookie.%73id", &request), "what an event says can be let off");
}

#[test]
fn names_are_looked_for_as_any_server_reads_them() {
    for text in ["id%00x=1", "[id]=1", "Id=1", "id%20=1", "a=1;id=1"] {
        assert!(is_patched("query.id", &query(text)), "{text}");
    }
    for text in ["user_id=1", "user.id=1", "User%20Id=1"] {
        assert!(is_patched("query.user.id", &query(text)), "{text}");
        assert!(is_patched("query.user_id", &query(text)), "{text}");
    }
    for text in ["sid =1", "SID=1", "a=1;sid=1"] {
        let headers = cookie(text);
        assert!(is_patched("cookie.sid", &RequestView { headers: &headers, ..EMPTY }), "{text}");
    }
    for text in [r#"{"K":1}"#, r#"{"k\u0000x":1}"#, r#"[{"k":1}]"#, r#"[[1,{"k":1}]]"#] {
        assert!(is_patched("body.json.k", &json(text)), "{text}");
    }
    assert!(!is_patched("body.json.k", &json(r#"{"a":[{"k":1}]}"#)));
    for name in [&b"X_Debug"[..], b"x-debug", b"X.Debug"] {
        let headers = [(name, &b"1"[..])];
        assert!(is_patched("header.x-debug", &RequestView { headers: &headers, ..EMPTY }));
    }
    let headers: &[(&[u8], &[u8])] = &[(b"X_Debug", SQLI.as_bytes())];
    assert!(!passes_where_dropped("header.x-debug", &RequestView { headers, ..EMPTY }));
    let attack = "Id=1'+union+select+password+from+users--";
    assert!(!passes_where_dropped("query.id", &query(attack)), "not all servers ignore case");
    for head in ["name=\"f\"", "form-data name=\"f\"", "form-data; name=\"f\0x\"", "form-data; name=\"F \""] {
        let body = format!("--x\r\nContent-Disposition: {head}\r\n\r\nv\r\n--x--\r\n");
        assert!(is_patched("body.f", &multipart_request(&body)), "{head}");
    }
}

#[test]
fn parts_inside_of_parts_are_read() {
    let inner = "--y\r\nContent-Disposition: form-data; name=\"f\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        MScgdW5pb24gc2VsZWN0IHBhc3N3b3JkIGZyb20gdXNlcnMtLQ==\r\n--y--\r\n";
    for name in ["form-data; name=\"a\"", "form-data"] {
        let body = format!(
            "--x\r\nContent-Disposition: {name}\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n{inner}\r\n--x--\r\n"
        );
        let request = multipart_request(&body);
        assert!(is_patched("body.f", &request) && inspect(vec![], &request).attack, "{name}");
        assert!(!passes_where_dropped("body.a", &request), "{name}");
    }
    let mut body = String::from("v");
    for depth in 0..5 {
        let kind = if depth == 0 {
            String::new()
        } else {
            format!("Content-Type: multipart/mixed; boundary=x{}\r\n", depth - 1)
        };
        let boundary = if depth == 4 { "x".to_owned() } else { format!("x{depth}") };
        body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"f\"\r\n{kind}\r\n{body}\r\n--{boundary}--\r\n"
        );
    }
    let report = engine().inspector().unwrap().inspect(engine(), &multipart_request(&body)).over_limit;
    assert_eq!(report, Some(OverLimit::Depth));
}

#[test]
fn the_point_of_an_event_can_be_copied_into_a_rule() {
    for name in ["größe", "%E2%82%AC", "a%ffb", "*", "a%0a", "a%22b", "user.id"] {
        let text = format!("{name}=1'+union+select+password+from+users--");
        let points: Vec<String> = inspect(vec![], &query(&text))
            .findings
            .into_iter()
            .map(|(point, _): (_, AttackClass)| point)
            .collect();
        let point = points.first().unwrap();
        assert!(!point.contains('?') && point != "query.*", "{point}");
        assert!(passes_where_dropped(point, &query(&text)), "{point}");
        assert!(is_patched(point, &query(&text)), "{point}");
    }
}

#[test]
fn a_key_counts_at_each_of_its_points() {
    let request = json(r#"{"a":{"$ne":1},"password":{"$ne":1}}"#);
    let patch = DirectiveAction::Patch(Some(AttackClass::Nosqli));
    for point in ["body.json.a", "body.json.password"] {
        let hits = inspect(vec![(point, patch.clone())], &request).kinds();
        assert_eq!(hits, [(0, HitKind::Patched)], "{point}");
        assert!(!passes_where_dropped(point, &request), "{point}");
    }
}

#[test]
fn no_number_of_other_signs_hides_a_patched_one() {
    let flood: String = (0..6000).map(|number| format!("x=<script>alert({number})</script>&")).collect();
    let text = format!("{flood}id={SQLI}");
    let patch = vec![("query.id", DirectiveAction::Patch(Some(AttackClass::Sqli)))];
    assert_eq!(inspect(patch, &query(&text)).kinds(), [(0, HitKind::Patched)]);
    let report = engine().inspector().unwrap().inspect(engine(), &query(&text)).over_limit;
    assert_eq!(report, Some(OverLimit::Confirmations));
}

#[test]
fn the_last_segment_is_told_apart_from_the_others() {
    let patch = |point| vec![(point, DirectiveAction::Patch(Some(AttackClass::Sqli)))];
    let attack = "1'%20union%20select%20password%20from%20users--";
    for point in ["action_name", "action_ext"] {
        let last = format!("/a/{attack}");
        assert!(inspect(patch(point), &RequestView { path: last.as_bytes(), ..EMPTY }).kinds().len() == 1);
        let other = format!("/{attack}/a");
        let request = RequestView { path: other.as_bytes(), ..EMPTY };
        assert!(inspect(patch(point), &request).kinds().is_empty(), "{point}");
        assert!(!passes_where_dropped(point, &request), "{point}");
    }
}
