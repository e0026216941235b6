//! Conditions that can never hold, and entries of lists that say nothing: what is warned of, and what isn't.

mod common;

use common::*;
use weir_policy::*;

fn source(rules: Vec<RuleSource>, lists: Vec<ListEntry>) -> PolicySource {
    PolicySource {
        servers: vec![server("s", context(None, None), vec![])],
        rules,
        lists,
        ..PolicySource::default()
    }
}

fn warnings(source: &PolicySource) -> Vec<String> {
    let compiled = compile(source).unwrap_or_else(|errors| panic!("{errors:#?}"));
    compiled.warnings.iter().map(ToString::to_string).collect()
}

fn query(name: &str) -> Point {
    Point::Query(name.into())
}

#[test]
fn conditions_that_no_request_meets_are_told() {
    use Point::{ActionExt, ActionName, Method, Path, Scheme, Uri};
    let host = || Point::Header("host".into());
    type Conditions = Vec<(Point, Test, &'static str)>;
    let table: [(&str, Conditions, &str); 35] = [
        ("", vec![(Path(0), Test::Absent, ""), (Path(1), Test::Equal, "a")], "where path 0 is absent"),
        ("", vec![(Path(1), Test::Absent, ""), (Path(0), Test::Equal, "a")], ""),
        ("/a", vec![(Path(3), Test::Regex, "x")], "where path 0 is absent, path 3"),
        ("/{{a/b}}/c", vec![], "path 0 never holds a `/`"),
        ("/{{a[/]?b}}/c", vec![], ""),
        ("/{{x.y}}", vec![], ""),
        ("/{{x[.]y}}", vec![], "action_name ends before the first `.`"),
        ("", vec![(ActionName, Test::Equal, "a.b")], "action_name ends before the first `.`"),
        ("", vec![(ActionExt, Test::Equal, "tar.gz")], "action_ext begins behind the last `.`"),
        ("", vec![(ActionExt, Test::Equal, "gz")], ""),
        ("", vec![(ActionName, Test::Equal, "")], ""),
        ("", vec![(Path(0), Test::Equal, "..")], "never a dot segment"),
        ("", vec![(Path(0), Test::Iequal, "a/b")], "never holds a `/`"),
        ("", vec![(Path(0), Test::Equal, "%61")], "requests are seen with `a`"),
        ("", vec![(Path(0), Test::Equal, "%2F")], ""),
        ("", vec![(Path(0), Test::Equal, "%2f%c3")], ""),
        ("", vec![(Path(0), Test::Equal, "a%3Ab")], "it isn't met by `a:b` in path 0"),
        ("/a%3ab", vec![], "it isn't met by `a:b` in action_name: write that for `a%3Ab`"),
        ("", vec![(Path(0), Test::Regex, "^caf%c3")], "it never meets `%c3`: requests are seen with `%C3`"),
        ("", vec![(Path(0), Test::Equal, "é")], "write it percent-encoded"),
        ("", vec![(host(), Test::Equal, "a:99999")], "`99999` is no port"),
        ("", vec![(host(), Test::Equal, "a:8080")], ""),
        ("a:http/x", vec![], "`http` is no port"),
        ("", vec![(Scheme, Test::Equal, "ftp")], "scheme is `http` or `https`"),
        ("", vec![(Scheme, Test::Equal, "HTTP")], "scheme is `http` or `https`"),
        ("", vec![(Scheme, Test::Iequal, "HTTP")], ""),
        ("", vec![(Scheme, Test::Regex, "^https$")], ""),
        ("", vec![(Method, Test::Regex, "GET POST")], "method is one word"),
        ("", vec![(Method, Test::Regex, "^(GET|POST)$")], ""),
        ("", vec![(Uri, Test::Equal, "login")], "uri begins with a `/`"),
        ("", vec![(Uri, Test::Equal, "/a//b?c")], "uri has its path normalised: `/a/b`"),
        ("?a=1&a=2", vec![], "its conditions on query a exclude each other: it matches requests alone that"),
        ("?a=1&b=2", vec![], ""),
        ("", vec![(query("a"), Test::Equal, "x.y"), (query("a"), Test::Regex, "x[.]")], ""),
        (
            "",
            vec![(Path(0), Test::Equal, "ab"), (Path(0), Test::Regex, "^b")],
            "on path 0 exclude each other",
        ),
    ];
    for (uri, conditions, expected) in table {
        let mut rule = rule(1, RuleMode::Set(Mode::Block), uri);
        for (point, is, value) in &conditions {
            rule = when(rule, point.clone(), *is, value);
        }
        let told = warnings(&source(vec![rule], vec![]));
        let at = format!("{uri} {conditions:?}: {told:?}");
        assert_eq!(told.is_empty(), expected.is_empty(), "{at}");
        assert!(told.iter().all(|told| told.starts_with("rule 1: it") && told.contains(expected)), "{at}");
    }
}

#[test]
fn equal_and_iequal_are_compared_with_regexes() {
    let both = |is, value: &str, regex: &str| {
        let rule = when(rule(1, RuleMode::Set(Mode::Block), ""), Point::Method, is, value);
        warnings(&source(vec![when(rule, Point::Method, Test::Regex, regex)], vec![])).len()
    };
    assert_eq!(both(Test::Equal, "A^-B", "^A[\\^][\\-]B$"), 0);
    assert_eq!(both(Test::Iequal, "get", "^G"), 0);
    assert_eq!(both(Test::Equal, "get", "^G"), 1);
    assert_eq!(both(Test::Regex, "^P", "^G"), 1);
}

fn entry(list: List, address: &str) -> ListEntry {
    ListEntry { list, address: address.parse().unwrap(), applications: vec![], expires: None, reason: None }
}

#[test]
fn entries_that_say_nothing_new_are_told() {
    let until = |end, entry| ListEntry { expires: Some(end), ..entry };
    let of = |applications: &[i64], entry| ListEntry { applications: applications.into(), ..entry };
    let deny = |address| entry(List::Deny, address);
    let table: [(Vec<ListEntry>, &[usize]); 10] = [
        (vec![deny("10.0.0.0/8"), deny("10.0.0.0/8"), deny("10.0.0.0/8")], &[2, 3]),
        (vec![deny("10.1.0.0/16"), deny("10.0.0.0/8")], &[1]),
        (vec![deny("10.1.0.0/16"), entry(List::Gray, "10.0.0.0/8")], &[]),
        (vec![deny("10.1.0.0/16"), until(9, deny("10.0.0.0/8"))], &[]),
        (vec![until(8, deny("10.1.0.0/16")), until(9, deny("10.0.0.0/8"))], &[1]),
        (vec![deny("10.1.0.0/16"), of(&[-1], deny("10.0.0.0/8"))], &[]),
        (vec![of(&[-1], deny("10.1.0.0/16")), of(&[-1], deny("10.0.0.0/8"))], &[1]),
        (vec![of(&[-1], deny("10.0.0.0/8")), deny("10.0.0.0/8")], &[1]),
        (vec![deny("::ffff:10.0.0.1/128"), deny("10.0.0.1/32")], &[2]),
        (vec![deny("2001:db8::1/128"), deny("2001:db8::/32"), deny("2001:db9::/32")], &[1]),
    ];
    for (lists, expected) in table {
        let shown = format!("{lists:?}");
        let told = warnings(&source(vec![], lists));
        let expected: Vec<String> =
            expected.iter().map(|number| format!("list entry {number}: it says nothing new")).collect();
        assert_eq!(told.len(), expected.len(), "{shown}: {told:#?}");
        assert!(told.iter().zip(&expected).all(|(told, start)| told.starts_with(start)), "{told:#?}");
    }
}

#[test]
fn the_same_is_told_of_what_addresses_are() {
    let about = |applications: &[i64], attribute, name: &str| AttributeEntry {
        list: List::Deny,
        attribute,
        name: name.to_owned(),
        applications: applications.into(),
        expires: None,
        reason: None,
    };
    let source = PolicySource {
        attribute_lists: vec![
            about(&[-1], Attribute::Country, "NL"),
            about(&[], Attribute::Country, "NL"),
            about(&[], Attribute::Proxy, "NL"),
            about(&[8], Attribute::Country, "DE"),
        ],
        ..source(vec![], vec![])
    };
    let told = warnings(&source);
    assert_eq!(
        told,
        [
            "list entry 4: no server or location has application 8; there is -1",
            "list entry 1: it says nothing new: `deny country NL` holds for all that it holds for",
        ]
    );
}

#[test]
fn applications_that_no_place_has_are_told_a_few_times() {
    let entries = (0..50).map(|last| ListEntry {
        applications: vec![-1, 7],
        ..entry(List::Deny, &format!("10.0.0.{last}/32"))
    });
    let told = warnings(&source(vec![], entries.collect()));
    assert_eq!(told.len(), 21, "{told:#?}");
    assert_eq!(told[0], "list entry 1: no server or location has application 7; there is -1");
    assert_eq!(
        told[20],
        "policy: 30 more entries of the lists name applications that no server or location has"
    );
}

#[test]
fn a_network_with_bits_behind_its_prefix_is_refused() {
    let errors = compile(&source(vec![], vec![entry(List::Deny, "10.0.0.1/8")])).unwrap_err();
    let [error] = &errors[..] else { panic!("{errors:#?}") };
    assert_eq!((error.place.to_string(), &*error.key), ("list entry 1".to_owned(), "address"));
    assert_eq!(error.expected, "`10.0.0.0/8` for the network, or `10.0.0.1` for the address alone");
}
