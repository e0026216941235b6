//! Order of rules (spec S3.4).

use super::*;
use crate::mode::Mode::{Block, Monitoring, Off};
use crate::point::{Condition, Point, Test};

fn rule(id: u64, mode: RuleMode, uri: &str, when: &[(Point, Test, &str)]) -> Rule {
    let condition = |(point, is, value): &(Point, Test, &str)| Condition {
        point: point.clone(),
        is: *is,
        value: (*value).to_owned(),
    };
    let when = when.iter().map(condition).collect();
    let source = RuleSource { id, kind: RuleKind::Mode(mode), uri: Some(uri.to_owned()), when };
    let mut remarks = Remarks::default();
    let checks = compile_checks(&source, &Place::Rule { index: 0, id }, &mut remarks);
    assert!(remarks.errors.is_empty(), "{:?}", remarks.errors);
    Rule { id: Some(id), mode, checks, index: 0 }
}

fn plain(id: u64, when: &[(Point, Test, &str)]) -> Rule {
    rule(id, RuleMode::Set(Block), "", when)
}

/// The rules are in their order.
fn assert_ordered(rules: &[Rule]) {
    for (place, earlier) in rules.iter().enumerate() {
        for later in &rules[place + 1..] {
            let order = (earlier.order(later), later.order(earlier));
            assert_eq!(order, (Ordering::Less, Ordering::Greater), "{earlier:?} and {later:?}");
        }
    }
}

#[test]
fn points_count_in_their_order() {
    let header = |name: &str| Point::Header(name.into());
    assert_ordered(&[
        plain(20, &[(Point::Instance, Test::Equal, "1")]),
        plain(19, &[(header("Host"), Test::Equal, "h")]),
        plain(18, &[(Point::Path(0), Test::Equal, "a")]),
        plain(17, &[(Point::Path(1), Test::Equal, "a")]),
        plain(16, &[(Point::ActionName, Test::Equal, "a")]),
        plain(15, &[(Point::ActionExt, Test::Equal, "a")]),
        plain(14, &[(Point::Method, Test::Equal, "GET")]),
        plain(13, &[(Point::Scheme, Test::Equal, "http")]),
        plain(12, &[(Point::Proto, Test::Equal, "1.1")]),
        plain(11, &[(Point::Query("a".into()), Test::Equal, "1")]),
        plain(10, &[(Point::Query("b".into()), Test::Equal, "1")]),
        plain(9, &[(header("A"), Test::Equal, "1")]),
        plain(8, &[(header("b"), Test::Equal, "1")]),
        plain(7, &[(Point::Uri, Test::Equal, "/")]),
        plain(6, &[]),
    ]);
}

#[test]
fn at_a_point_equal_and_absent_beat_iequal_beats_the_wildcard_beats_nothing() {
    assert_ordered(&[
        plain(9, &[(Point::Path(0), Test::Equal, "a"), (Point::Uri, Test::Equal, "/a/")]),
        plain(8, &[(Point::Path(0), Test::Absent, ""), (Point::Uri, Test::Iequal, "/a/")]),
        plain(7, &[(Point::Path(0), Test::Iequal, "a"), (Point::Path(1), Test::Equal, "b")]),
        plain(6, &[(Point::Path(0), Test::Iequal, "a")]),
        rule(5, RuleMode::Set(Block), "/*/**", &[]),
        plain(4, &[(Point::ActionName, Test::Equal, "a")]),
    ]);
}

#[test]
fn a_superset_of_conditions_beats_its_subset() {
    let conditions = [
        (Point::Header("HOST".into()), Test::Equal, "h"),
        (Point::Path(0), Test::Iequal, "a"),
        (Point::Path(0), Test::Equal, "A"),
        (Point::Method, Test::Equal, "GET"),
        (Point::Query("q".into()), Test::Absent, ""),
    ];
    for left_out in 0..conditions.len() {
        let mut fewer = conditions.to_vec();
        fewer.remove(left_out);
        assert_ordered(&[plain(2, &conditions), plain(1, &fewer)]);
    }
}

#[test]
fn ties_go_to_the_stricter_mode_and_then_to_the_lower_id() {
    let with = |id, mode| rule(id, mode, "/a/**", &[]);
    assert_ordered(&[
        with(5, RuleMode::Set(Block)),
        with(4, RuleMode::Set(Monitoring)),
        with(3, RuleMode::Set(Off)),
        with(1, RuleMode::Default),
        with(2, RuleMode::Default),
    ]);
}

#[test]
fn equal_on_the_host_ranks_as_iequal() {
    let host = |id, is, value| plain(id, &[(Point::Header("hOsT".into()), is, value)]);
    let (equal, iequal) = (host(1, Test::Equal, "A.example"), host(1, Test::Iequal, "a.EXAMPLE"));
    assert_eq!(equal.order(&iequal), Ordering::Equal);
    assert_eq!(equal.checks, iequal.checks);
}

#[test]
fn a_name_of_the_protocol_is_left_out() {
    let proto = |value| plain(1, &[(Point::Proto, Test::Equal, value)]).checks;
    assert_eq!(proto("HTTP/1.1"), proto("1.1"));
}

#[test]
fn a_constructor_that_no_request_can_meet_is_refused() {
    for uri in ["/é", "é/x", "/x?q=é", "/x/{{é}}/ü"] {
        assert!(constructor::parse(uri).is_err(), "{uri}");
    }
    assert!(constructor::parse("/%c3%a9").is_ok());
}

/// How many scans it takes to resolve a request by rules with these conditions.
fn scans(when: Vec<Vec<Condition>>, facts: &crate::RequestFacts<'_>, readings: &[&[u8]]) -> u32 {
    let rule = |(id, when)| RuleSource { id, kind: RuleKind::Mode(RuleMode::Set(Block)), uri: None, when };
    let mut rules: Vec<_> = (1..).zip(when).map(rule).collect();
    // Walked in their order to the very last one.
    rules.push(RuleSource {
        id: 5000,
        kind: RuleKind::Mode(RuleMode::Set(Off)),
        uri: None,
        when: Vec::new(),
    });
    let server = crate::ServerSource {
        name: "s".to_owned(),
        hosts: vec!["s".to_owned()],
        default: true,
        context: crate::ContextSource::default(),
        locations: Vec::new(),
    };
    let source = PolicySource { rules, servers: vec![server], ..PolicySource::default() };
    let policy = crate::compile(source).unwrap_or_else(|errors| panic!("{errors:#?}")).policy;
    let mut scratch = crate::Scratch::default();
    let client = crate::Client::from("192.0.2.1".parse::<std::net::IpAddr>().unwrap());
    let placed = policy.resolve_readings(&mut scratch, facts, readings, &client, 0);
    assert_eq!(placed.resolution.mode_source, ModeSource::Rule(5000), "no regex matches");
    scratch.matching.scanner.scans
}

fn regex(point: Point, value: impl Into<String>) -> Condition {
    Condition { point, is: Test::Regex, value: value.into() }
}

/// However many rules there are, and whichever of them ask: at most one scan for each kind of point.
#[test]
fn a_request_costs_one_scan_for_each_kind_of_point() {
    let mut when = Vec::new();
    for number in 0..200 {
        when.push(vec![regex(Point::Query(format!("k{}", number % 7)), format!("^v{number}$"))]);
        when.push(vec![regex(Point::Path(number % 9), format!("^s{number}$"))]);
        when.push(vec![regex(Point::Header(format!("x-{}", number % 5)), format!("^h{number}$"))]);
        when.push(vec![regex(Point::Uri, format!("^/u{number}$"))]);
        when.push(vec![regex(Point::ActionName, format!("^n{number}$"))]);
    }
    let headers: Vec<_> =
        (0..5).map(|number| (format!("X-{number}").into_bytes(), b"other".to_vec())).collect();
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let facts = facts(b"k0=1&k1=2&k2=3&k3=4&k4=5&k5=6&k6=7", &headers);
    assert_eq!(scans(when, &facts, &[]), 5);
}

/// Nor do those that are asked by what they leave out, however often a request repeats their points, and a path that may
/// be read in several ways is all that is asked anew.
#[test]
fn repeated_points_and_readings_of_the_path_cost_no_scan_of_their_own() {
    let mut when = Vec::new();
    for number in 0..20 {
        let complement = format!("^(~(.*(sqlmap|nikto|nmap|acunetix|tool{number}).*))$");
        assert!(crate::regex::is_asked_by_what_it_leaves_out(&complement));
        when.push(vec![regex(Point::Query(format!("k{}", number % 2)), complement.clone())]);
        when.push(vec![regex(Point::Header(format!("x-{}", number % 2)), complement.clone())]);
        when.push(vec![regex(Point::Path(0), complement)]);
        when.push(vec![regex(Point::Query("k0".into()), format!("^v{number}$"))]);
    }
    let query = "k0=nmap&k1=an+nmap".repeat(500);
    let headers: Vec<(&[u8], &[u8])> =
        (0..200).map(|number| (if number % 2 == 0 { &b"X-0"[..] } else { b"x-1" }, &b"nikto"[..])).collect();
    let facts = crate::RequestFacts { path: b"/nmap/x", ..facts(query.as_bytes(), &headers) };
    assert_eq!(scans(when.clone(), &facts, &[]), 3, "query, headers, path");
    let readings: [&[u8]; 3] = [b"/nikto/x", b"/anmap", b"/sqlmap/x"];
    // (the path of one of the readings has no segment that is asked for, and nothing to scan)
    assert_eq!(scans(when, &facts, &readings), 2 + 3);
}

fn facts<'a>(query: &'a [u8], headers: &'a [(&'a [u8], &'a [u8])]) -> crate::RequestFacts<'a> {
    crate::RequestFacts {
        method: b"GET",
        scheme: b"http",
        proto: b"HTTP/1.1",
        host: b"s",
        path: b"/a/b/c/d/e/f/g/h/i/name.ext",
        query: Some(query),
        headers,
    }
}
