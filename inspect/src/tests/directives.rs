//! What directives change about inspection.

use super::{EMPTY, engine};
use crate::{
    Applied, AttackClass, DirectiveAction, DirectiveSource, Directives, HitKind, Parser, Part, PointValues,
    Report, RequestView, RuleHit, Selector,
};

/// A selector from the text of a point; `*` is any name.
fn at(point: &str) -> Selector {
    let mut steps = point.split('.');
    let part = match steps.next().unwrap() {
        "path" => Part::Path,
        "query" => Part::Query,
        "header" => Part::Header,
        "cookie" => Part::Cookie,
        "body" => Part::Body,
        "uri" => Part::Uri,
        "action_name" => Part::ActionName,
        "action_ext" => Part::ActionExt,
        "method" => Part::Method,
        other => panic!("{other}"),
    };
    Selector::new(part, steps.map(|step| Some(step).filter(|step| *step != "*")))
}

fn compiled(list: Vec<(&str, DirectiveAction)>) -> Directives {
    let source = |(index, (point, action)): (usize, (&str, DirectiveAction))| DirectiveSource {
        name: format!("rule-{index}"),
        selector: at(point),
        action,
    };
    let sources: Vec<_> = list.into_iter().enumerate().map(source).collect();
    Directives::compile(&sources, engine()).unwrap()
}

/// What a request's inspection says, in terms that outlive the inspector.
pub(super) struct Outcome {
    pub(super) attack: bool,
    pub(super) findings: Vec<(String, AttackClass)>,
    payloads: Vec<String>,
    hits: Vec<RuleHit>,
}

impl Outcome {
    fn of(report: &Report<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            attack: report.attack,
            findings: report.findings.iter().map(|found| (found.point.clone(), found.class)).collect(),
            payloads: report.findings.iter().map(|found| text(&found.payload)).collect(),
            hits: report.hits.to_vec(),
        }
    }

    pub(super) fn kinds(&self) -> Vec<(u32, HitKind)> {
        self.hits.iter().map(|hit| (hit.directive, hit.what)).collect()
    }
}

fn inspect_traced(list: Vec<(&str, DirectiveAction)>, request: &RequestView<'_>, trace: bool) -> Outcome {
    let directives = compiled(list);
    let active: Vec<u32> = (0..u32::try_from(directives.count()).unwrap()).collect();
    let applied = Applied {
        directives: &directives,
        active: &active,
        unseen_body_bytes: 100,
        unsure_segments: false,
        path_readings: &[],
        trace,
    };
    let mut inspector = engine().inspector().unwrap();
    Outcome::of(&inspector.inspect_applying(engine(), request, applied, &mut || false))
}

pub(super) fn inspect(list: Vec<(&str, DirectiveAction)>, request: &RequestView<'_>) -> Outcome {
    inspect_traced(list, request, false)
}

pub(super) fn query(text: &str) -> RequestView<'_> {
    RequestView { query: Some(text.as_bytes()), ..EMPTY }
}

pub(super) fn json(text: &str) -> RequestView<'_> {
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"application/json")];
    RequestView { method: b"POST", headers, body: text.as_bytes(), ..EMPTY }
}

pub(super) fn detector(expression: &str) -> DirectiveAction {
    detector_of(expression, Some(AttackClass::Scanner), false)
}

fn detector_of(expression: &str, class: Option<AttackClass>, experimental: bool) -> DirectiveAction {
    DirectiveAction::Detector { expression: Some(expression.to_owned()), class, experimental }
}

const SQLI: &str = "1'+union+select+password+from+users--";

#[test]
fn signs_that_are_dropped_at_a_point_count_elsewhere() {
    let both = format!("id={SQLI}&other={SQLI}");
    for action in [DirectiveAction::DropClass(Some(AttackClass::Sqli)), DirectiveAction::DropClass(None)] {
        let outcome = inspect(vec![("query.id", action.clone())], &query(&both));
        assert!(outcome.attack && outcome.findings.iter().all(|(point, _)| point == "query.other"));
        let outcome = inspect(vec![("query.*", action)], &query(&both));
        assert!(!outcome.attack && outcome.findings.is_empty());
    }
    let other = DirectiveAction::DropClass(Some(AttackClass::Xss));
    assert!(inspect(vec![("query", other)], &query(&both)).attack);
}

#[test]
fn one_signature_can_be_dropped() {
    let id = format!("id={SQLI}");
    let request = query(&id);
    let mut inspector = engine().inspector().unwrap();
    let report = inspector.inspect(engine(), &request);
    let mut signatures: Vec<String> =
        report.findings.iter().map(|found| found.signature.to_string()).collect();
    signatures.dedup();
    let all: Vec<_> = signatures
        .iter()
        .map(|signature| ("query.id", DirectiveAction::DropSignature(signature.clone())))
        .collect();
    assert!(inspect(all[..1].to_vec(), &request).findings.len() < report.findings.len());
    assert!(inspect(all, &request).findings.is_empty());
    let unknown = DirectiveAction::DropSignature("no-such-signature".to_owned());
    assert!(inspect(vec![("query", unknown)], &request).attack, "an unknown one drops nothing");
}

#[test]
fn a_segment_of_the_path_is_told_apart_from_the_path_as_a_whole() {
    let drop = || DirectiveAction::DropClass(None);
    let path = |path: &'static [u8]| RequestView { path, ..EMPTY };
    let in_first = path(b"/;cat%20%2fetc%2fpasswd/b");
    assert!(inspect(vec![("path.1", drop())], &in_first).attack);
    assert!(!inspect(vec![("path.0", drop())], &in_first).attack);
    assert!(!inspect(vec![("uri", drop())], &in_first).attack);
    assert!(!inspect(vec![("action_name", drop())], &path(b"/a/;cat%20%2fetc%2fpasswd")).attack);
    assert!(inspect(vec![("action_name", drop())], &in_first).attack);
    let list_in_first = path(b"/[1,%22;cat%20%2fetc%2fpasswd%22]/b");
    assert!(inspect(vec![("action_name", drop())], &list_in_first).attack, "second in its list alone");
    assert!(!inspect(vec![("action_name", drop())], &path(b"/a/[%22;cat%20%2fetc%2fpasswd%22]")).attack);
    let in_both = path(b"/;cat%20%2fetc%2fpasswd/;cat%20%2fetc%2fpasswd");
    assert!(inspect(vec![("path.0", drop())], &in_both).attack, "the other segment counts");
    assert!(inspect(vec![("path.0", drop())], &path(b"/../../etc/passwd")).attack, "over several segments");
}

#[test]
fn patches_need_a_sign_of_their_class_at_their_point() {
    let patch = |class| DirectiveAction::Patch(Some(class));
    let request = format!("id={SQLI}");
    let outcome = inspect(vec![("query.id", patch(AttackClass::Sqli))], &query(&request));
    assert_eq!(outcome.kinds()[0], (0, HitKind::Patched));
    assert_eq!(
        (outcome.hits[0].point.as_str(), outcome.hits[0].class),
        ("query.id", Some(AttackClass::Sqli))
    );
    for (point, class) in [("query.x", AttackClass::Sqli), ("query.id", AttackClass::Xss)] {
        assert_eq!(inspect(vec![(point, patch(class))], &query(&request)).kinds(), []);
    }
}

#[test]
fn no_number_of_other_signs_hides_a_patched_one() {
    let mut text = String::new();
    for number in 0..200 {
        text.push_str(&format!("a{number}={SQLI}&"));
    }
    text.push_str(&format!("id={SQLI}"));
    let experimental: Vec<_> =
        (0..40).map(|_| ("query", detector_of("union", Some(AttackClass::Rce), true))).collect();
    let patch = ("query.id", DirectiveAction::Patch(Some(AttackClass::Sqli)));
    let outcome = inspect([experimental, vec![patch]].concat(), &query(&text));
    let patched: Vec<_> = outcome.hits.iter().filter(|hit| hit.what == HitKind::Patched).collect();
    assert!(!patched.is_empty() && patched.iter().all(|hit| hit.point == "query.id"));
}

#[test]
fn any_is_the_presence_of_a_point() {
    let patch = || DirectiveAction::Patch(None);
    let is_patched =
        |point: &str, request: &RequestView<'_>| !inspect(vec![(point, patch())], request).hits.is_empty();
    for text in ["debug=1", "a=b&debug=", "debug", "%64ebug=x"] {
        assert!(is_patched("query.debug", &query(text)), "{text}");
    }
    assert!(!is_patched("query.debug", &query("a=debug&debugger=1")));
    let headers: &[(&[u8], &[u8])] = &[(b"X-Debug", b""), (b"Cookie", b"sid=1; mode=a")];
    let request = RequestView { headers, ..EMPTY };
    assert!(is_patched("header.x-debug", &request) && !is_patched("header.x-other", &request));
    assert!(is_patched("cookie.mode", &request) && !is_patched("cookie.other", &request));
    for (point, there) in [
        ("body.json.user.id", true),
        ("body.json.user.gone", true),
        ("body.json.user", true),
        ("body.json.list.1", true),
        ("body.json.list.2", false),
        ("body.json.users", false),
        ("body.user", false),
        ("body", true),
        ("method", true),
        ("action_ext", false),
    ] {
        let request = json(r#"{"user":{"id":17,"gone":null},"list":[true,false]}"#);
        assert_eq!(is_patched(point, &request), there, "{point}");
    }
    assert!(!is_patched("body", &EMPTY));
    assert!(is_patched("path.1", &RequestView { path: b"/a/b", ..EMPTY }));
    assert!(is_patched("action_ext", &RequestView { path: b"/a/b.%70hp", ..EMPTY }));
}

#[test]
fn detectors_look_at_values_of_their_point_alone() {
    let found = |point: &str, expression: &str, request: &RequestView<'_>| {
        let outcome = inspect(vec![(point, detector(expression))], request);
        assert_eq!(outcome.attack, !outcome.hits.is_empty());
        outcome.attack
    };
    assert!(found("query.id", "^admin$", &query("id=admin")));
    assert!(found("query.id", "^admin$", &query("id=%61dmin")), "decoded");
    assert!(found("query.id", "administrator", &query("id=YWRtaW5pc3RyYXRvcg==")), "base64");
    assert!(!found("query.id", "^admin$", &query("id=administrator&admin=1&x=admin")));
    assert!(!found("query.id", "^id$", &query("id=1")), "a name isn't its value");
    assert!(found("body.json.card", "^[0-9]{16}$", &json(r#"{"card":4111111111111111}"#)), "numbers too");
    assert!(found("body", "^[{]", &json(r#"{"card":1}"#)), "the body as it came");
    assert!(found("uri", "^/a[?]b=1$", &RequestView { path: b"/a", query: Some(b"b=1"), ..EMPTY }));
    assert!(found("method", "^DELETE$", &RequestView { method: b"DELETE", ..EMPTY }));
    let path = RequestView { path: b"/x/admin.php", ..EMPTY };
    assert!(found("action_name", "^admin$", &path) && !found("action_name", "php", &path));
    assert!(found("action_ext", "^php$", &path) && found("path.1", "^admin[.]php$", &path));
    let headers: &[(&[u8], &[u8])] = &[(b"User-Agent", b"BadBot/1.0")];
    assert!(found("header.user-agent", "^BadBot", &RequestView { headers, ..EMPTY }));
    assert!(!found("header.referer", "^BadBot", &RequestView { headers, ..EMPTY }));
}

#[test]
fn detectors_patch_or_only_watch() {
    let request = query("id=secret");
    let outcome = inspect(vec![("query.id", detector_of("secret", None, false))], &request);
    assert_eq!((outcome.attack, outcome.kinds()), (false, vec![(0, HitKind::Patched)]));
    let outcome = inspect(vec![("query.id", detector_of("secret", Some(AttackClass::Rce), true))], &request);
    assert_eq!((outcome.attack, outcome.kinds()), (false, vec![(0, HitKind::Experimental)]));
}

#[test]
fn a_detector_is_ignored_at_a_point() {
    let list = || vec![("query", detector("secret")), ("query.b", DirectiveAction::IgnoreDetector(0))];
    assert!(inspect(list(), &query("a=secret&b=secret")).attack);
    assert!(!inspect(list(), &query("a=1&b=secret")).attack);
    let traced = inspect_traced(list(), &query("a=1&b=secret"), true);
    assert_eq!(traced.kinds(), [(1, HitKind::Dropped)]);
}

#[test]
fn binary_data_keeps_the_signs_of_files() {
    let binary = || vec![("body.f", DirectiveAction::Binary)];
    let part = |content: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n{content}\r\n--x--\r\n")
    };
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"multipart/form-data; boundary=x")];
    let sqli = part("1' union select password from users--");
    let request = RequestView { method: b"POST", headers, body: sqli.as_bytes(), ..EMPTY };
    assert!(inspect(vec![], &request).attack);
    assert!(!inspect(binary(), &request).attack);
    let php = part("<?php eval($_POST[1]);");
    let request = RequestView { body: php.as_bytes(), ..request };
    assert!(inspect(binary(), &request).attack, "code can occur in a file");
}

#[test]
fn parsers_are_switched_at_points() {
    let off = |parser| DirectiveAction::Parser { parser, enabled: false };
    let on = |parser| DirectiveAction::Parser { parser, enabled: true };
    let encoded = "q=MScgdW5pb24gc2VsZWN0IHBhc3N3b3JkIGZyb20gdXNlcnMtLSA%3D";
    let request = query(encoded);
    assert!(inspect(vec![], &request).attack);
    assert!(!inspect(vec![("query.q", off(Parser::Base64))], &request).attack);
    assert!(inspect(vec![("query.p", off(Parser::Base64))], &request).attack);
    assert!(inspect(vec![("query.q", off(Parser::Jwt))], &request).attack);
    let more_precise = vec![("query", off(Parser::Base64)), ("query.q", on(Parser::Base64))];
    assert!(inspect(more_precise, &request).attack, "the more precise selector counts");
    let document = json(r#"{"a":{"b":"1' union select password from users--"}}"#);
    let outcome = inspect(vec![("body", off(Parser::Json))], &document);
    assert!(outcome.findings.iter().all(|(point, _)| point == "body"), "{:?}", outcome.findings);
    let headers: &[(&[u8], &[u8])] = &[(b"Cookie", b"a=1; sid=../../../etc/passwd")];
    let cookies = RequestView { headers, ..EMPTY };
    let outcome = inspect(vec![("cookie", off(Parser::Cookie))], &cookies);
    assert!(outcome.findings.iter().all(|(point, _)| point == "header.cookie"), "{:?}", outcome.findings);
    let nested = query(r#"q={"a":"<script>alert(1)</script>"}"#);
    assert!(inspect(vec![], &nested).findings.iter().any(|(point, _)| point == "query.q.json.a"));
    let outcome = inspect(vec![("query.q", off(Parser::Json))], &nested);
    assert!(outcome.findings.iter().all(|(point, _)| point == "query.q"));
}

#[test]
fn masked_values_are_never_shown() {
    let mask = |point: &'static str| vec![(point, DirectiveAction::Mask)];
    let text = format!("password=hunter2+{SQLI}&q=1");
    let outcome = inspect(mask("query.password"), &query(&text));
    assert!(outcome.attack && outcome.payloads.iter().all(|payload| payload == "*"));
    // The same bytes read another way: as a body that is text.
    let broken = json(r#"{"pin": 48151623, "q": "x", <script>alert(48151623)</script>"#);
    let outcome = inspect(mask("body.json.pin"), &broken);
    assert!(outcome.attack);
    for payload in &outcome.payloads {
        assert!(!payload.contains("48151623"), "{payload}");
    }
    let other = query("token=abc123xyz&q=%3Cscript%3Ealert('abc123xyz')%3C/script%3E");
    let outcome = inspect(mask("query.token"), &other);
    assert!(outcome.payloads[0].contains("alert('*')"), "{:?}", outcome.payloads);
    let outcome = inspect(mask("uri"), &RequestView { path: b"/../../etc/passwd", ..EMPTY });
    assert!(outcome.attack && outcome.payloads.iter().all(|payload| payload == "*"));
    let custom = vec![("query.token", detector("abc")), ("query.token", DirectiveAction::Mask)];
    assert_eq!(inspect(custom, &query("token=abc123")).hits[0].payload, b"*");
    let whole = vec![("body", detector("hunter2")), ("body.json.password", DirectiveAction::Mask)];
    for hit in inspect(whole, &json(r#"{"password":"hunter2"}"#)).hits {
        assert_eq!(hit.payload, b"*", "{hit:?}");
    }
}

#[test]
fn a_trace_tells_of_what_was_dropped_and_masked() {
    let drop = DirectiveAction::DropClass(Some(AttackClass::Sqli));
    let id = format!("id={SQLI}");
    let outcome = inspect_traced(vec![("query.id", drop)], &query(&id), true);
    assert!(!outcome.attack && outcome.findings.is_empty());
    assert!(outcome.kinds().contains(&(0, HitKind::Dropped)), "{:?}", outcome.hits);
    assert!(outcome.hits[0].signature.is_some());
    let outcome = inspect_traced(vec![("query.id", DirectiveAction::Mask)], &query(&id), true);
    assert_eq!(outcome.kinds(), [(0, HitKind::Masked)]);
}

#[test]
fn values_are_measured() {
    let measure = |limit| vec![("body.f", DirectiveAction::Measure(limit))];
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"multipart/form-data; boundary=x")];
    let head = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n";
    let whole = format!("{head}{}\r\n--x--\r\n", "a".repeat(50));
    let request = RequestView { method: b"POST", headers, body: whole.as_bytes(), ..EMPTY };
    assert_eq!(inspect(measure(49), &request).kinds(), [(0, HitKind::Oversized(50))]);
    assert_eq!(inspect(measure(50), &request).kinds(), []);
    let cut = format!("{head}{}", "a".repeat(50));
    let request = RequestView { body: cut.as_bytes(), body_complete: false, ..request };
    assert_eq!(inspect(measure(60), &request).kinds(), [(0, HitKind::Oversized(150))], "goes on unseen");
}

#[test]
fn only_the_value_that_the_end_cuts_goes_on_unseen() {
    let size_at = |point: &str, content_type: &[u8], body: &str| {
        let headers = [(&b"content-type"[..], content_type)];
        let request = RequestView {
            method: b"POST",
            headers: &headers,
            body: body.as_bytes(),
            body_complete: false,
            ..EMPTY
        };
        let hits = inspect(vec![(point, DirectiveAction::Measure(0))], &request).kinds();
        match hits[..] {
            [(_, HitKind::Oversized(bytes))] => bytes,
            ref other => panic!("{point}: {other:?}"),
        }
    };
    let form = b"application/x-www-form-urlencoded";
    assert_eq!(size_at("body.x", form, "a=e&x=%41AAe"), 104);
    assert_eq!(size_at("body.a", form, "a=e&x=%41AAe"), 1);
    let json = b"application/json";
    assert_eq!(size_at("body.json.x", json, r#"{"a":"e","x":"\u0041e"#), 102);
    assert_eq!(size_at("body.json.a", json, r#"{"a":"e","x":"\u0041e"#), 1);
    assert_eq!(size_at("body.json.x", json, r#"{"x":"e""#), 1, "it is closed");
    let part = |name: &str, content: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let parts = part("a", "e") + &part("x", "more e");
    assert_eq!(size_at("body.x", b"multipart/form-data; boundary=x", &parts), 106);
    assert_eq!(size_at("body.a", b"multipart/form-data; boundary=x", &parts), 1);
}

#[test]
fn segments_of_every_form_of_the_path_are_looked_at() {
    let found = |point: &str, regex: &str, path: &'static [u8], forms: &[&[u8]]| {
        let directives = compiled(vec![(point, detector(regex))]);
        let applied = Applied {
            directives: &directives,
            active: &[0],
            unseen_body_bytes: 0,
            unsure_segments: !forms.is_empty(),
            path_readings: forms,
            trace: false,
        };
        let request = RequestView { path, query: Some(b"a=%31"), ..EMPTY };
        let mut inspector = engine().inspector().unwrap();
        !inspector.inspect_applying(engine(), &request, applied, &mut || false).hits.is_empty()
    };
    let forms: &[&[u8]] = &[b"/a;v/b%2Fc", b"/a/b/evil/x", b"/a/b/evil/y.%70hp"];
    for (point, regex) in [
        ("path.0", "^evil$"),
        ("path", "^evil$"),
        ("path.*", "^b/c$"),
        ("action_name", "^y$"),
        ("action_ext", "^php$"),
        ("uri", "^/a/b/evil/x[?]a=%31$"),
        ("uri", "^/a/b/evil/x[?]a=1$"),
        ("uri", "^/raw%20[?]a=%31$"),
    ] {
        assert!(found(point, regex, b"/raw%20", forms), "{point} {regex}");
    }
    assert!(!found("query.a", "^evil$", b"/raw", forms));
    assert!(!found("action_name", "^evil$", b"/raw", forms), "no form has it last");
    assert!(found("uri", "^/a b[?]a=1$", b"/a%20b", &[]), "decoded");
}

#[test]
fn the_value_that_requests_are_counted_by() {
    let mut inspector = engine().inspector().unwrap();
    let mut values = PointValues::default();
    let mut of = |point: &str, request: &RequestView<'_>| {
        values.clear();
        inspector.values_at(engine(), request, &at(point), &mut values);
        values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("query.key", &query("a=1&key=k%201")), ["k 1"]);
    assert_eq!(of("query.key", &query("a=1")), Vec::<String>::new());
    assert_eq!(of("query.key", &query("key=a&key=b&x=c&key=a&key[]=d")), ["a", "b", "d"]);
    assert_eq!(
        of("query.key", &query("key=eyJhIjoiYiIsImMiOiJkIn0%3D")).len(),
        1,
        "not by what is encoded in it"
    );
    let many: Vec<String> = (0..20).map(|number| format!("key=v{number}")).collect();
    let expected = ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v19"];
    assert_eq!(of("query.key", &query(&many.join("&"))), expected, "the first ones and the last");
    assert_eq!(of("body.json.user.id", &json(r#"{"user":{"id":17}}"#)), ["17"]);
    assert_eq!(of("body.json.user", &json(r#"{"user":"r1","user":"admin"}"#)), ["r1", "admin"]);
    let headers: &[(&[u8], &[u8])] = &[(b"Cookie", b"sid=r1; a=b; sid=v"), (b"X-K", b"1"), (b"x-k", b"2")];
    let repeated = RequestView { headers, ..EMPTY };
    assert_eq!(of("cookie.sid", &repeated), ["r1", "v"]);
    assert_eq!(of("header.x-k", &repeated), ["1", "2"]);
    // {"alg":"none"} and {"sub":"ann"}
    let headers: &[(&[u8], &[u8])] =
        &[(b"Authorization", b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.x")];
    let request = RequestView { headers, ..EMPTY };
    assert_eq!(of("header.authorization.json.sub", &request), ["ann"]);
}

#[test]
fn names_with_dots_are_found_as_events_write_them() {
    let drop = || DirectiveAction::DropClass(None);
    let request = format!("user.name={SQLI}");
    for point in ["query.user.name", "query.*"] {
        assert!(!inspect(vec![(point, drop())], &query(&request)).attack, "{point}");
    }
    for point in ["query.user", "query.user.name.first", "query.user.nam", "query.name"] {
        assert!(inspect(vec![(point, drop())], &query(&request)).attack, "{point}");
    }
}

#[test]
fn bad_directives_are_named() {
    let source = |action| DirectiveSource { name: "x".to_owned(), selector: at("query"), action };
    let sources = [
        source(detector("fine")),
        source(detector("(unclosed")),
        source(DirectiveAction::IgnoreDetector(7)),
        source(detector("(?=look)")),
    ];
    let errors = Directives::compile(&sources, engine()).unwrap_err();
    let mut indexes: Vec<_> = errors.iter().map(|error| error.index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [1, 2, 3]);
}

#[test]
fn nominations_are_reported_where_a_trace_is_asked_for() {
    let request = query("a=the+students%27+union+select+a+plan&b=1%27+union+select+password+from+users--");
    let directives = Directives::default();
    let mut inspector = engine().inspector().unwrap();
    let mut nominated = |trace| {
        let applied = Applied {
            directives: &directives,
            active: &[],
            unseen_body_bytes: 0,
            unsure_segments: false,
            path_readings: &[],
            trace,
        };
        let report = inspector.inspect_applying(engine(), &request, applied, &mut || false);
        let nominations: Vec<_> = report.nominations.to_vec();
        (nominations, report.findings.to_vec())
    };
    assert!(nominated(false).0.is_empty());
    let (nominations, findings) = nominated(true);
    let with = |outcome| nominations.iter().filter(move |nominated| nominated.outcome == outcome);
    let signs: Vec<_> =
        with(crate::Outcome::Confirmed).map(|nominated| (&nominated.signature, &nominated.point)).collect();
    let expected: Vec<_> = findings.iter().map(|finding| (&finding.signature, &finding.point)).collect();
    assert_eq!(signs, expected);
    assert!(
        with(crate::Outcome::NotConfirmed).any(|nominated| nominated.point == "query.a"),
        "{nominations:?}"
    );
    assert!(nominated(false).0.is_empty(), "nothing of a trace stays");
}

/// A body of one part, with this head.
fn multipart(head: &str, content: &str) -> String {
    format!("--x\r\n{head}\r\n\r\n{content}\r\n--x--\r\n")
}

pub(super) fn multipart_request(body: &str) -> RequestView<'_> {
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"multipart/form-data; boundary=x")];
    RequestView { method: b"POST", headers, body: body.as_bytes(), ..EMPTY }
}

#[test]
fn a_field_is_all_that_lies_below_it() {
    let patch = || DirectiveAction::Patch(Some(AttackClass::Sqli));
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"application/x-www-form-urlencoded")];
    for name in ["id", "id[]", "id[0]", "id%5Ba%5D%5Bb%5D", "id[a", "+id"] {
        let text = format!("{name}={SQLI}");
        let form = RequestView { method: b"POST", headers, body: text.as_bytes(), ..EMPTY };
        for (point, request) in [("query.id", query(&text)), ("body.id", form)] {
            let patched = inspect(vec![(point, patch())], &request);
            assert!(patched.kinds().contains(&(0, HitKind::Patched)), "{point} {name}");
            let masked = inspect(vec![(point, DirectiveAction::Mask)], &request);
            assert!(masked.payloads.iter().all(|payload| payload == "*"), "{point} {name}");
            // What only some servers take for the name is no reason to look away.
            let is_sure = !matches!(name, "id[a" | "+id");
            let dropped = inspect(vec![(point, DirectiveAction::DropClass(None))], &request);
            assert_eq!(dropped.attack, !is_sure, "{point} {name}");
        }
    }
    let below = query("id[a][b]=1%27%20union%20select%20password%20from%20users--");
    for (point, is_patched) in
        [("query.id.a", true), ("query.id.a.b", true), ("query.id.b", false), ("query.a", false)]
    {
        let patched = inspect(vec![(point, patch())], &below);
        assert_eq!(patched.kinds().contains(&(0, HitKind::Patched)), is_patched, "{point}");
    }
    let cookies: &[(&[u8], &[u8])] = &[(b"cookie", b"id[a]=1' union select password from users--")];
    let cookie = RequestView { headers: cookies, ..EMPTY };
    assert!(inspect(vec![("cookie.id", patch())], &cookie).kinds().contains(&(0, HitKind::Patched)));
}

#[test]
fn parsers_are_switched_below_a_field() {
    let off = |enabled| DirectiveAction::Parser { parser: Parser::Base64, enabled };
    let encoded = query("id[a]=MScgVU5JT04gU0VMRUNUIHBhc3N3b3JkIEZST00gdXNlcnMtLQ==");
    assert!(inspect(vec![], &encoded).attack);
    assert!(!inspect(vec![("query.id", off(false))], &encoded).attack);
    assert!(inspect(vec![("query.id", off(false)), ("query.id.a", off(true))], &encoded).attack);
}

#[test]
fn every_name_that_a_part_may_have_is_its_name() {
    let attack = "1' union select password from users--";
    for disposition in [
        "form-data; name=\"x\"; name=\"f\"",
        "form-data; name=\"x\"; name*=utf-8''f",
        "form-data; name=\"x\"; name*0=\"f\"",
        "form-data; name=\"\\f\"",
        "form-data; name=\"f",
        "form-data; name=f; x",
        "form-data; y; name='f'",
        "form-data;\r\n name=\"f\"",
        "form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"f\"",
        "form-data; name=\"x\";\r\n\tname=\"f[a]\"",
    ] {
        let body = multipart(&format!("Content-Disposition: {disposition}"), attack);
        let request = multipart_request(&body);
        let patched = inspect(vec![("body.f", DirectiveAction::Patch(Some(AttackClass::Sqli)))], &request);
        assert!(patched.kinds().contains(&(0, HitKind::Patched)), "{disposition}");
        let masked = inspect(vec![("body.f", DirectiveAction::Mask)], &request);
        assert!(
            masked.attack && !masked.payloads.iter().any(|payload| payload.contains("union")),
            "{disposition}"
        );
        // Where it may be called something else, that counts.
        let may_be_another = disposition.contains("\"x\"");
        let dropped = inspect(vec![("body.f", DirectiveAction::DropClass(None))], &request);
        assert_eq!(dropped.attack && may_be_another, may_be_another, "{disposition}");
        let other = inspect(vec![("body.x", DirectiveAction::DropClass(None))], &request);
        assert!(other.attack, "{disposition}");
    }
}

#[test]
fn segments_that_servers_number_differently_are_all_looked_at() {
    let list = vec![
        ("path.5", DirectiveAction::Patch(Some(AttackClass::Rce))),
        ("action_name", detector("passwd")),
        ("path.0", DirectiveAction::DropClass(None)),
        ("path.5", DirectiveAction::Mask),
    ];
    let directives = compiled(list);
    let request = RequestView { path: b"/;cat%20%2fetc%2fpasswd/b", ..EMPTY };
    let mut inspector = engine().inspector().unwrap();
    for (unsure_segments, expected) in
        [(false, vec![]), (true, vec![(1, HitKind::Detected), (0, HitKind::Patched)])]
    {
        let applied = Applied {
            directives: &directives,
            active: &[0, 1, 2, 3],
            unseen_body_bytes: 0,
            unsure_segments,
            path_readings: &[],
            trace: false,
        };
        let report = inspector.inspect_applying(engine(), &request, applied, &mut || false);
        let mut outcome = Outcome::of(&report).kinds();
        outcome.dedup();
        assert_eq!(outcome, expected);
        assert_eq!(report.attack, unsure_segments);
        assert!(report.findings.iter().all(|found| found.payload == b"*"));
    }
}
