//! Conditions that can never hold, and entries of lists that say nothing: what is warned of, and what isn't.

mod common;

use common::*;
use weir_policy::*;

fn source(rules: Vec<RuleSource>, lists: Vec<ListEntry>) -> PolicySource {
    PolicySource {
        servers: vec![server("s", context(None, None), vec![])],
        rules,
        lists,
        signature_classes: [("of-sqli".to_owned(), AttackType::Sqli)].into(),
        ..PolicySource::default()
    }
}

fn warnings(source: &PolicySource) -> Vec<String> {
    let compiled = compile(source.clone()).unwrap_or_else(|errors| panic!("{errors:#?}"));
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
        "list entries: 30 more entries of the lists name applications that no server or location has"
    );
}

#[test]
fn a_network_with_bits_behind_its_prefix_is_refused() {
    let errors = compile(source(vec![], vec![entry(List::Deny, "10.0.0.1/8")])).unwrap_err();
    let [error] = &errors[..] else { panic!("{errors:#?}") };
    assert_eq!((error.place.to_string(), &*error.key), ("list entry 1".to_owned(), "address"));
    assert_eq!(error.expected, "`10.0.0.0/8` for the network, or `10.0.0.1` for the address alone");
}

/// Other types of rules by a short name: what they do, as warnings compare it.
fn kind(name: &str) -> RuleKind {
    let point = |text: &str| PointSelector::parse_text(text).unwrap();
    let (name, value) = name.split_once(' ').unwrap_or((name, ""));
    let number = || value.split(' ').next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(5);
    let at = || value.split(' ').nth(1).map(point);
    let per = std::time::Duration::from_secs(1);
    let header = |action| {
        let values = if action == HeaderAction::Delete { vec![] } else { vec![value.to_owned()] };
        RuleKind::ResponseHeader { action, name: "X-A".into(), values }
    };
    match name {
        "mode" => RuleKind::Mode(value.parse().unwrap()),
        "time" => RuleKind::OverTimeLimit { time_limit: per * number(), action: OverTimeAction::Pass },
        "upload" => RuleKind::UploadSize { limit: number().into(), action: UploadAction::Block, point: at() },
        "upload_off" => {
            RuleKind::UploadSize { limit: number().into(), action: UploadAction::Off, point: at() }
        }
        "parser" => RuleKind::ParserState {
            parser: Parser::Base64,
            enabled: number() > 1,
            point: at().unwrap_or_else(|| point("query")),
        },
        "rate" => RuleKind::RateLimit { rate: number(), per, burst: 0, delay: 0, status: 503, point: at() },
        "set" => header(HeaderAction::Set),
        "append" => header(HeaderAction::Append),
        "delete" => header(HeaderAction::Delete),
        "mask" => RuleKind::Mask { point: point(value) },
        "binary" => RuleKind::BinaryData { point: point(value) },
        "sqli_off" => RuleKind::DisableAttackType { attack_type: AttackType::Sqli, point: point(value) },
        "any_off" => RuleKind::DisableAttackType { attack_type: AttackType::Any, point: point(value) },
        "xss_off" => RuleKind::DisableAttackType { attack_type: AttackType::Xss, point: point(value) },
        "any_patch" => RuleKind::VirtualPatch { attack_type: AttackType::Any, point: point(value) },
        "sqli_signature_off" => {
            RuleKind::DisableSignature { signature: "of-sqli".into(), point: point(value) }
        }
        "signature_off" => RuleKind::DisableSignature { signature: "s".into(), point: point(value) },
        "patch" => RuleKind::VirtualPatch { attack_type: AttackType::Sqli, point: point(value) },
        "detector" => RuleKind::Regex {
            regex: "a".into(),
            attack_type: AttackType::Scanner,
            point: point(value),
            experimental: false,
        },
        "ignore" => RuleKind::IgnoreRegex { rule: 1, point: point("query") },
        other => panic!("{other}"),
    }
}

#[test]
fn rules_of_each_type_that_never_count_are_told_with_the_one_that_hides_them() {
    // rules as (what, uri), numbered from 1, and what is told
    type Rules<'a> = &'a [(&'a str, &'a str)];
    let table: [(Rules<'_>, &[&str]); 52] = [
        (&[("time 1", "/a"), ("time 2", "/a")], &["rule 2: it never counts: rule 1 goes before it"]),
        (&[("time 1", "/a"), ("time 2", "/b")], &[]),
        (&[("time 1", "/a"), ("time 2", "/**")], &[]),
        (&[("upload 1", "/a"), ("upload 2", "/a")], &["rule 2: it never counts: rule 1"]),
        (&[("upload 1 body.x", "/a"), ("upload 2 body.y", "/a"), ("upload 3", "/a")], &[]),
        (&[("parser 0 query", "/a"), ("parser 9 query", "/a")], &["rule 2: it never counts: rule 1"]),
        (&[("parser 0 query", "/a"), ("parser 9 query.x", "/a")], &[]),
        (&[("rate 9", "/a"), ("rate 2", "/**")], &["rule 1: it never counts: rule 2 has no higher rate"]),
        (&[("rate 9", "/a"), ("rate 2 remote_addr", "/a")], &["rule 1: it never counts: rule 2"]),
        (&[("rate 9", "/**"), ("rate 2", "/a")], &[]),
        (&[("rate 9 query.k", "/a"), ("rate 2", "/a")], &[]),
        (&[("rate 9 query.k", "/a"), ("rate 2 query", "/a")], &[]),
        (
            &[("set a", "/a"), ("set b", "/a")],
            &["rule 2: it has no effect: rule 1 has the last word on `X-A`"],
        ),
        (&[("append a", "/a"), ("set b", "/a")], &[]),
        (&[("set a", "/a"), ("append b", "/a")], &["rule 2: it has no effect: rule 1"]),
        (&[("append a", "/a"), ("append b", "/a")], &[]),
        (&[("delete", "/a"), ("set b", "/a")], &["rule 2: it has no effect: rule 1"]),
        (&[("set a", "/a"), ("set b", "/**")], &[]),
        (&[("mask query.a", "/a"), ("mask query.a", "/a")], &["rule 2: it adds nothing: rule 1"]),
        (&[("mask query.a", "/a"), ("mask query.a", "/**")], &["rule 1: it adds nothing: rule 2"]),
        (&[("mask body.json.a", "/a"), ("mask body", "/a")], &["rule 1: it adds nothing: rule 2"]),
        (&[("mask query.a", "/a"), ("mask query.*", "/a")], &["rule 1: it adds nothing: rule 2"]),
        (&[("mask query.a", "/**"), ("mask query.b", "/a"), ("mask query", "/b")], &[]),
        (&[("sqli_off query", "/a"), ("sqli_off query.x", "/a")], &["rule 2: it adds nothing: rule 1"]),
        (
            &[("signature_off query", "/a"), ("signature_off query", "/a")],
            &["rule 2: it adds nothing: rule 1"],
        ),
        (&[("signature_off query", "/a"), ("sqli_off query", "/a"), ("binary query", "/a")], &[]),
        (
            &[
                ("signature_off query.a", "/a"),
                ("any_off query", "/a"),
                ("binary query", "/b"),
                ("xss_off query", "/a"),
            ],
            &[
                "rule 4: it adds nothing: rule 2 drops signs of all classes",
                "rule 1: it adds nothing: rule 2 drops signs of all classes",
            ],
        ),
        (
            &[("sqli_signature_off query.a", "/a"), ("sqli_off query", "/**")],
            &["rule 1: it adds nothing: rule 2 drops signs of sqli"],
        ),
        (&[("sqli_signature_off query", "/a"), ("sqli_off query.a", "/a"), ("xss_off query", "/a")], &[]),
        (&[("binary query", "/a"), ("any_off query", "/**")], &["rule 1: it adds nothing: rule 2 drops"]),
        (&[("any_off query.a", "/a"), ("sqli_off query", "/a"), ("detector query.a", "/a")], &[]),
        (&[("patch query.x", "/a"), ("any_patch query", "/**")], &["rule 1: it blocks nothing more: rule 2"]),
        (&[("patch query", "/a"), ("any_patch query.x", "/a")], &[]),
        (&[("patch query.x", "/a"), ("any_patch query", "/b")], &[]),
        (
            &[("patch query.x", "/a"), ("sqli_off query", "/a")],
            &["rule 1: it blocks nothing: rule 2 drops signs of sqli at its point"],
        ),
        (&[("patch query.x", "/a"), ("any_off query.x", "/a")], &["rule 1: it blocks nothing: rule 2 drops"]),
        (&[("patch query.x", "/a"), ("xss_off query", "/a"), ("any_off query", "/b")], &[]),
        (&[("any_patch query.x", "/a"), ("any_off query", "/a")], &[]),
        (&[("upload_off 1", "/a")], &["rule 1: it switches nothing off"]),
        (&[("upload_off 1", "/a"), ("upload 9", "/**")], &[]),
        (&[("upload_off 1", "/a"), ("upload 9 body", "/**")], &[]),
        (&[("upload_off 1 body.x", "/**"), ("upload 9 body.x", "/a")], &["rule 1: it switches nothing off"]),
        (&[("upload_off 1 body.x", "/a"), ("upload 9 body.y", "/**")], &["rule 1: it switches nothing off"]),
        (&[("parser 9 query", "/a")], &["rule 1: it switches nothing on: no rule"]),
        (&[("parser 9 query.x", "/a"), ("parser 0 body", "/**")], &[]),
        (&[("binary query", "/a"), ("binary query", "/a")], &["rule 2: it adds nothing: rule 1"]),
        (&[("patch query", "/a"), ("patch query.x", "/a")], &["rule 2: it adds nothing: rule 1"]),
        (&[("detector query", "/a"), ("detector query", "/a")], &["rule 2: it adds nothing: rule 1"]),
        (&[("detector query", "/a"), ("detector query", "/a"), ("ignore", "/b")], &[]),
        (
            &[("time 1", "/{{^x}}/**"), ("time 2", "/{{y$}}/**")],
            &["rule 2: it ties with rule 1: where both match, that one counts"],
        ),
        (
            &[("set 1", "/{{^x}}/**"), ("set 2", "/{{y$}}/**")],
            &["rule 2: it ties with rule 1: where both match, that one has the last"],
        ),
        (&[("append 1", "/{{^x}}/**"), ("time 2", "/{{y$}}/**"), ("append 3", "/{{y$}}/**")], &[]),
    ];
    for (rules, expected) in table {
        let numbered = rules.iter().zip(1..).map(|((what, uri), id)| RuleSource {
            id,
            kind: kind(what),
            uri: Some((*uri).to_owned()),
            when: vec![],
        });
        let told = warnings(&source(numbered.collect(), vec![]));
        assert_eq!(told.len(), expected.len(), "{rules:?}: {told:#?}");
        assert!(
            told.iter().zip(expected).all(|(told, start)| told.starts_with(start)),
            "{rules:?}: {told:#?}"
        );
    }
}

#[test]
fn rules_where_the_mode_is_always_off_are_told() {
    type Rules<'a> = &'a [(&'a str, &'a str)];
    let told = "it does nothing: rule 1 sets the mode `off`";
    let table: [(Rules<'_>, Option<Override>, Vec<u64>); 11] = [
        (&[("mode off", "/a/**"), ("patch query", "/a/**"), ("upload 1", "/a/b")], None, vec![2, 3]),
        (&[("mode off", "/a/**"), ("patch query", "/a/**")], Some(Override::On), vec![2]),
        (&[("mode off", "/a/**"), ("patch query", "/a/**")], Some(Override::Strict), vec![]),
        (&[("mode off", "/a/**"), ("patch query", "/a/**")], Some(Override::Off), vec![]),
        (&[("mode off", "/a"), ("patch query", "/**")], None, vec![]),
        (&[("mode block", "/a/**"), ("patch query", "/a/**")], None, vec![]),
        // one that goes before it may meet a request of the other
        (&[("mode off", "/a/**"), ("patch query", "/a/**"), ("mode block", "/a/b")], None, vec![]),
        (&[("mode off", "/a/**"), ("patch query", "/a/*"), ("mode block", "/a/{{^b}}")], None, vec![]),
        (&[("mode off", "/a/**"), ("patch query", "/a/*"), ("mode block", "/b/c")], None, vec![2]),
        (&[("mode off", "/a/**"), ("patch query", "/a/*"), ("mode block", "/a/b/c")], None, vec![2]),
        (&[("mode off", "/a/**"), ("mask query", "/a/b"), ("mode default", "/a/b")], None, vec![]),
    ];
    for (rules, policy, expected) in table {
        let numbered = rules.iter().zip(1..).map(|((what, uri), id)| RuleSource {
            id,
            kind: kind(what),
            uri: Some((*uri).to_owned()),
            when: vec![],
        });
        let mut source = source(numbered.collect(), vec![]);
        source.servers[0].context.mode_allow_override = policy;
        let expected: Vec<String> = expected.iter().map(|id| format!("rule {id}: {told}")).collect();
        let warnings = warnings(&source);
        assert_eq!(warnings.len(), expected.len(), "{rules:?}: {warnings:#?}");
        let mut pairs = warnings.iter().zip(&expected);
        assert!(pairs.all(|(found, start)| found.starts_with(start)), "{rules:?}: {warnings:#?}");
    }
}

#[test]
fn a_value_beside_absent_is_told_wherever_the_rule_comes_from() {
    for (value, told) in [("", 0), ("x", 1)] {
        let rule = RuleSource { id: 1, kind: kind("mode off"), uri: None, when: vec![] };
        let warnings = warnings(&source(vec![when(rule, query("a"), Test::Absent, value)], vec![]));
        assert_eq!(warnings.len(), told, "{warnings:?}");
        assert!(warnings.iter().all(|told| told.contains("when[0].value has no effect")), "{warnings:?}");
    }
}

#[test]
fn a_regex_for_one_value_is_hidden_by_that_value() {
    let with = |id, mode: &str, is, value: &str| {
        let rule = RuleSource { id, kind: kind(&format!("mode {mode}")), uri: None, when: vec![] };
        when(rule, Point::Path(0), is, value)
    };
    for (is, value, regex, hidden) in [
        (Test::Iequal, "Q", "^q$", true),
        (Test::Equal, "q", "^q$", true),
        (Test::Equal, "a.b", "^a[.]b$", true),
        (Test::Equal, "Q", "^q$", false),
        (Test::Iequal, "q", "^q", false),
        (Test::Iequal, "ab", "^a.$", false),
    ] {
        let rules = vec![with(1, "block", is, value), with(2, "off", Test::Regex, regex)];
        let told = warnings(&source(rules, vec![]));
        let expected = "rule 2: it never wins: rule 1 goes before it, and matches all that it matches";
        assert_eq!(told, if hidden { vec![expected] } else { vec![] }, "{value} {regex}");
    }
}

/// A number below a bound that looks random, and the next state (splitmix64).
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % bound as u64) as usize
}

#[test]
fn what_is_told_to_never_count_never_counts() {
    const TARGETS: [&str; 12] = [
        "/", "/a", "/A", "/b", "/a/a", "/a/b", "/b/a", "/a/x.php", "/a/?a=1", "/a?a=2", "/b/b/b", "/a/b?a=1",
    ];
    let values = ["a", "b", "A", "^a$", "^b", "^(a|b)$", "x", "^x$"];
    let (mut state, mut told_of) = (7, 0);
    for _ in 0..400 {
        let rules: Vec<RuleSource> = (1..=12)
            .map(|id| {
                let what =
                    ["mode block", "mode off", "mode default", "time 1", "time 2", "upload 1", "parser 0"];
                let uri = [None, Some("/a/**"), Some("/a"), Some("/**/a"), Some("/*")][below(&mut state, 5)];
                let kind = kind(what[below(&mut state, what.len())]);
                let mut rule = RuleSource { id, kind, uri: uri.map(Into::into), when: vec![] };
                for _ in 0..below(&mut state, 3) {
                    let points = [Point::Path(0), Point::Path(1), Point::ActionName, query("a")];
                    let point = points[below(&mut state, points.len())].clone();
                    let value = values[below(&mut state, values.len())];
                    let is = match value.strip_prefix('^') {
                        Some(_) => Test::Regex,
                        None => [Test::Equal, Test::Iequal][below(&mut state, 2)],
                    };
                    rule = when(rule, point, is, value);
                }
                rule
            })
            .collect();
        let source = source(rules, vec![]);
        let compiled = compile(source.clone()).unwrap();
        let hidden: Vec<u64> = compiled
            .warnings
            .iter()
            .filter(|warning| warning.message.starts_with("it never"))
            .filter_map(|warning| if let Place::Rule { id, .. } = warning.place { Some(id) } else { None })
            .collect();
        told_of += hidden.len();
        for target in TARGETS {
            let explained = compiled.policy.explain(&get("s", target), ORDINARY.parse().unwrap(), NOW);
            for rule in explained.rules.iter().filter(|rule| rule.wins) {
                assert!(!hidden.contains(&rule.id), "{target}: rule {} of {source:#?}", rule.id);
            }
        }
    }
    assert!(told_of > 200, "{told_of}");
}
