//! Regexes in conditions, in the constructor and as locations.

mod common;

use common::*;
use weir_policy::*;

const SET: RuleMode = RuleMode::Set(Mode::Block);

fn source(rules: Vec<RuleSource>) -> PolicySource {
    let server = ServerSource { default: true, ..server("s", context(Some(Mode::Monitoring), None), vec![]) };
    PolicySource { servers: vec![server], rules, ..PolicySource::default() }
}

fn regex(id: u64, point: Point, value: &str) -> RuleSource {
    when(rule(id, SET, ""), point, Test::Regex, value)
}

/// The rule that sets the mode.
fn winner(policy: &Policy, facts: &RequestFacts<'_>) -> Option<u64> {
    let resolution = resolve(policy, facts, ORDINARY);
    let explained = policy.explain(facts, ORDINARY.parse().unwrap(), NOW);
    assert_eq!(explained.resolution, resolution);
    let winner = explained.rules.iter().find(|rule| rule.wins).map(|rule| rule.id);
    assert_eq!(
        winner,
        if let ModeSource::Rule(id) = resolution.mode_source { Some(id) } else { None },
        "explain asks rules one by one"
    );
    winner
}

#[test]
fn every_point_can_be_asked_by_regex() {
    let header = |name: &str| Point::Header(name.into());
    let table = [
        (Point::Instance, "^-1$", "^1$"),
        (header("HOST"), "[.]example$", "[.]example:8080$x"),
        (header("HOST"), "^WWW[.]EXAMPLE:8080$", "^example$"),
        (Point::Path(0), "^a.c$", "b$"),
        (Point::Path(1), "^d$", "^a"),
        (Point::Path(2), "^(~(x))$", "."),
        (Point::ActionName, "^in", "php"),
        (Point::ActionExt, "^php[0-9]*$", "^ph$"),
        (Point::Method, "^(GET|HEAD)$", "^POST$"),
        (Point::Scheme, "^http$", "https"),
        (Point::Proto, "^1[.][01]$", "HTTP"),
        (Point::Query("q".into()), "^x y$", "%20"),
        (Point::Query("q".into()), "^second$", "^secondx"),
        (header("user-AGENT"), "^curl/[0-9]", "^Curl"),
        (header("X-Two"), "^b$", "^ab$"),
        (Point::Uri, "^/abc/d/index[.]php[?]q=x", "//"),
    ];
    let headers: [(&[u8], &[u8]); 3] = [(b"User-Agent", b"curl/8"), (b"x-two", b"a"), (b"X-TWO", b"b")];
    let facts = RequestFacts {
        headers: &headers,
        ..get("www.Example.:8080", "//%61bc/d/index.php?q=x%20y&q=second")
    };
    for (point, yes, no) in table {
        for (value, expected) in [(yes, point != Point::Path(2)), (no, false)] {
            let found = winner(&policy(&source(vec![regex(1, point.clone(), value)])), &facts);
            assert_eq!(found.is_some(), expected, "{point}: {value}");
        }
    }
}

#[test]
fn many_regexes_of_a_kind_answer_each_for_itself() {
    let mut rules: Vec<RuleSource> = (0..300)
        .map(|number| regex(number + 1, Point::Query(format!("k{}", number % 7)), &format!("^v{number}$")))
        .collect();
    rules.extend((0..9).map(|index| regex(1_000 + u64::from(index), Point::Path(index), "^deep$")));
    let policy = policy(&source(rules));
    for (query, expected) in [
        ("k0=v0", Some(1)),
        ("k1=v0", None),
        ("k1=v1&k0=v7", Some(8)),
        ("k4=x&k4=v298&k4=", Some(299)),
        ("", None),
    ] {
        assert_eq!(winner(&policy, &get("s", &format!("/?{query}"))), expected, "{query}");
    }
    assert_eq!(winner(&policy, &get("s", "/a/b/c/deep/x")), Some(1_003));
    assert_eq!(winner(&policy, &get("s", "/a/b/c/d/deep")), None);
}

#[test]
fn a_regex_ranks_between_iequal_and_the_wildcard() {
    let rules = vec![
        regex(1, Point::Path(0), "^a"),
        when(rule(2, SET, ""), Point::Path(0), Test::Iequal, "AB"),
        when(rule(3, SET, ""), Point::Path(0), Test::Equal, "ac"),
        rule(4, SET, "/*/**"),
    ];
    let policy = policy(&source(rules));
    let of = |target| winner(&policy, &get("s", target));
    assert_eq!(["/ab/", "/ac/", "/ad/", "/x/", "/"].map(of), [Some(2), Some(3), Some(1), Some(4), None]);
}

#[test]
fn documented_examples_of_the_constructor() {
    let policy = policy(&source(vec![rule(1, SET, "example.com/user/{{[0-9]}}")]));
    let of = |target| winner(&policy, &get("example.com", target)).is_some();
    assert_eq!(["/user/3445", "/user/3445/888", "/user/x"].map(of), [true, false, false]);
}

fn with_locations(locations: &[(&str, MatchKind)]) -> Policy {
    let locations = locations
        .iter()
        .map(|(path, kind)| LocationSource {
            path: (*path).into(),
            kind: *kind,
            context: ContextSource::default(),
        })
        .collect();
    let server = ServerSource { default: true, ..server("s", ContextSource::default(), locations) };
    policy(&PolicySource { servers: vec![server], ..PolicySource::default() })
}

/// The rows are those that nginx's documentation of `location` gives, and some between them.
#[test]
fn locations_rank_as_in_nginx() {
    let policy = with_locations(&[
        ("/", MatchKind::Exact),
        ("/", MatchKind::Prefix),
        ("/documents/", MatchKind::Prefix),
        ("/images/", MatchKind::PrefixFinal),
        (r"\.(gif|jpg|jpeg)$", MatchKind::RegexNocase),
        (r"\.gif$", MatchKind::Regex),
        (r"^/d\w+/x", MatchKind::Regex),
        ("/images/deep/", MatchKind::Prefix),
    ]);
    let of =
        |target| policy.location_position(resolve(&policy, &get("s", target), ORDINARY).location).unwrap().1;
    let table = [
        ("/", Some(0)),
        ("/index.html", Some(1)),
        ("/documents/document.html", Some(2)),
        ("/images/1.gif", Some(3)),
        ("/documents/1.JPG", Some(4)),
        ("/a.gif", Some(4)),
        ("/images/deep/1.gif", Some(4)),
        ("/images/deep/1.png", Some(7)),
        ("/documents/x", Some(6)),
        ("/documents/%78", Some(6)),
        ("/documents/X", Some(2)),
    ];
    for (target, expected) in table {
        assert_eq!(of(target), expected, "{target}");
    }
}

#[test]
fn regexes_that_cannot_be_used_are_named() {
    let table = [
        (regex(1, Point::Uri, r"\.php$"), "when[0].value", "characters are escaped by brackets"),
        (regex(1, Point::Uri, ""), "when[0].value", "empty"),
        (regex(1, Point::Uri, "((a{200}){200}){200}"), "when[0].value", "characters long"),
        (rule(1, SET, "/a/{{(}}"), "uri", "without its `)`"),
        (rule(1, SET, "/a{{b}}"), "uri", "part of a component"),
    ];
    for (rule, key, problem) in table {
        let errors = compile(source(vec![rule])).unwrap_err();
        assert_eq!((errors.len(), errors[0].key.as_str()), (1, key));
        assert!(errors[0].problem.contains(problem), "{}", errors[0]);
    }
    for path in [r"(", r"a(?=b)", r"(a)\1", "", &"a".repeat(1_001)] {
        let location =
            LocationSource { path: path.into(), kind: MatchKind::Regex, context: ContextSource::default() };
        let server = server("s", ContextSource::default(), vec![self::location("/", None, None), location]);
        let errors = compile(PolicySource { servers: vec![server], ..PolicySource::default() }).unwrap_err();
        assert!(matches!(errors[0].place, Place::Location { location: 1, .. }), "{path}: {errors:?}");
    }
}

#[test]
fn regexes_that_say_nothing_are_warned_of() {
    for (value, says) in [("a*", "matches every uri"), ("a^", "matches nothing"), ("^(~(a))$", "")] {
        let warnings = compile(source(vec![regex(1, Point::Uri, value)])).unwrap().warnings;
        assert_eq!(warnings.is_empty(), says.is_empty(), "{value}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.message.contains(says)), "{value}: {warnings:?}");
    }
}

/// The rules that are warned of, and a word of the warning.
fn warnings(rules: Vec<RuleSource>) -> Vec<String> {
    let warnings = compile(source(rules)).unwrap().warnings;
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn ties_and_shadows_are_warned_of_and_nothing_else_is() {
    let milder =
        |rule: RuleSource| RuleSource { kind: RuleKind::Mode(RuleMode::Set(Mode::Monitoring)), ..rule };
    let path = |id, value| regex(id, Point::Path(0), value);
    let tie = warnings(vec![path(1, "^a"), milder(path(2, "b$"))]);
    assert!(tie.len() == 1 && tie[0].starts_with("rule 2: it ties with rule 1:"), "{tie:?}");
    assert_eq!(warnings(vec![path(1, "^a"), milder(path(2, "^b"))]), [""; 0], "no value meets both");
    assert_eq!(warnings(vec![path(1, "^a"), path(2, "b$")]), [""; 0], "the mode is the same");
    let apart = vec![path(1, "^a"), milder(when(path(2, "b$"), Point::Path(1), Test::Absent, ""))];
    assert_eq!(warnings(apart), [""; 0], "one is more specific");
    let shadow = warnings(vec![
        when(path(1, "^a"), Point::Instance, Test::Equal, "-1"),
        path(2, "^a"),
        when(path(3, "^a"), Point::Method, Test::Equal, "GET"),
        path(4, "^b"),
    ]);
    let starts = ["rule 3: it never wins: rule 1 goes", "rule 2: it never wins: rule 1 goes"];
    assert_eq!(shadow.len(), starts.len(), "{shadow:?}");
    assert!(shadow.iter().zip(starts).all(|(told, start)| told.starts_with(start)), "{shadow:?}");
    let unknown = warnings(vec![when(rule(1, SET, ""), Point::Instance, Test::Equal, "7")]);
    assert!(
        unknown.len() == 1 && unknown[0].contains("no server or location has application `7`"),
        "{unknown:?}"
    );
}

/// What is said of two rules, of which the second one is milder.
fn said_of(first: RuleSource, second: RuleSource) -> String {
    let milder = RuleSource { kind: RuleKind::Mode(RuleMode::Set(Mode::Monitoring)), ..second };
    warnings(vec![first, milder]).join("; ")
}

#[test]
fn a_host_hides_and_ties_with_itself_on_a_port() {
    let at = |id, uri| rule(id, SET, uri);
    let get = |rule| when(rule, Point::Method, Test::Equal, "GET");
    let hides = "rule 2: it never wins: rule 1 goes before it";
    let ties = "rule 2: it ties with rule 1:";
    let table = [
        (at(1, "shop/**"), at(2, "shop:8080/**"), hides),
        (at(1, "SHOP/**"), get(at(2, "shop:8080/**")), ""),
        (get(at(1, "shop/**")), get(at(2, "shop:8080/**")), hides),
        (at(1, "shop:8080/**"), at(2, "shop/**"), ties),
        (get(at(1, "shop:8080/**")), get(at(2, "shop/**")), ties),
        (get(at(1, "shop:8080/**")), at(2, "shop/**"), ""),
        (at(1, "shop:8080/**"), at(2, "shop:8081/**"), ""),
        (at(1, "shop:8080/**"), at(2, "shop2/**"), ""),
        (at(1, "shop:8080/a"), at(2, "shop/b"), ""),
    ];
    for (first, second, expected) in table {
        let shown = format!("{first:?} {second:?}");
        let said = said_of(first, second);
        assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{shown}: {said}");
    }
    let same = warnings(vec![at(1, "shop:8080/**"), at(2, "shop/**")]);
    assert_eq!(same, [""; 0], "the mode is the same");
    let with = |rule, mode| RuleSource { kind: RuleKind::Mode(RuleMode::Set(mode)), ..rule };
    let mut many: Vec<_> = (1..=24)
        .map(|id| {
            let mode = if id % 2 == 0 { Mode::Block } else { Mode::SafeBlocking };
            with(rule(id, SET, &format!("shop:{}/**", 8000 + id)), mode)
        })
        .collect();
    many.push(with(at(25, "shop/**"), Mode::Monitoring));
    let told = warnings(many);
    assert_eq!(told.len(), 24, "each port ties with the host, and none with another: {told:#?}");
}

#[test]
fn regexes_tie_where_a_point_has_a_value_for_both() {
    let host = || Point::Header("Host".into());
    let table = [
        (host(), "^shop[.]", "[.]EXAMPLE$", true),
        (host(), "^A", "^a", true),
        (host(), "^a", "^b", false),
        (host(), "shop", ":8080$", true),
        (host(), "^shop", "[.]$", false),
        (host(), "^a", "/", false),
        (Point::Method, "^P", "^[A-Z]U", true),
        (Point::Method, "^A", "^a", false),
        (Point::Method, "A .*B", "B", false),
    ];
    for (point, first, second, expected) in table {
        let said = said_of(regex(1, point.clone(), first), regex(2, point, second));
        assert_eq!(said.contains("rule 2: it ties with rule 1"), expected, "{first} {second}: {said}");
    }
    // each has a value in common with the other, and all three haven't
    let both =
        |id, first, second| when(regex(id, Point::Path(0), first), Point::Path(0), Test::Regex, second);
    assert_eq!(said_of(both(1, "^a.", "^.b$"), both(2, "^a.", "^.c?.$")), "");
}
