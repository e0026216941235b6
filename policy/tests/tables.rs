//! The tables of the behaviour specification, row by row.

mod common;

use Mode::{Block, Monitoring, Off, SafeBlocking};
use common::*;
use weir_policy::*;

/// What a client meets: blocked or not, with an event or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Blocked,
    Event,
    Pass,
}

fn outcome(policy: &Policy, facts: &RequestFacts<'_>, client: &str, finding: Finding) -> Outcome {
    let resolution = resolve(policy, facts, client);
    let verdict = policy.verdict(&resolution, finding);
    match resolution.stage {
        Stage::PassUninspected => assert!(!verdict.block && !verdict.record, "{resolution:?}"),
        Stage::BlockNow(reason) => assert!(verdict.block && verdict.reason == reason, "{resolution:?}"),
        Stage::Inspect { hold } => {
            assert!(hold || !verdict.block, "blocked without being held: {resolution:?}")
        }
    }
    match (verdict.block, verdict.record) {
        (true, _) => Outcome::Blocked,
        (false, true) => Outcome::Event,
        (false, false) => Outcome::Pass,
    }
}

fn set(mode: Mode) -> RuleMode {
    RuleMode::Set(mode)
}

/// Spec S2.4. `read_as_segments`: "second part = apply" as the n-th segment, whichever point that is; otherwise as the
/// literal `["path", 1]`. The example has to come out the same.
fn server_a(read_as_segments: bool) -> PolicySource {
    let (strict, on, off) = (Some(Override::Strict), Some(Override::On), Some(Override::Off));
    let mut apply = when(rule(1, RuleMode::Default, ""), Point::Method, Test::Equal, "POST");
    let mut main = rule(2, set(Block), "");
    let mut login = rule(3, set(Monitoring), "");
    if read_as_segments {
        apply.uri = Some("/main/apply".into());
        main.uri = Some("/main/**".into());
        login.uri = Some("/main/login".into());
    } else {
        apply = when(apply, Point::Path(0), Test::Equal, "main");
        apply = when(apply, Point::Path(1), Test::Equal, "apply");
        main = when(main, Point::Path(0), Test::Equal, "main");
        login = when(login, Point::Path(0), Test::Equal, "main");
        login = when(login, Point::Path(1), Test::Equal, "login");
    }
    let locations = vec![
        location("/main/login", Some(Block), strict),
        location("/main/signup", None, strict),
        location("/main/apply", Some(Block), on),
        location("/main/feedback", Some(SafeBlocking), off),
    ];
    PolicySource {
        http: context(Some(Block), None),
        servers: vec![server("server-a", context(Some(Monitoring), off), locations)],
        general_mode: set(Monitoring),
        rules: vec![apply, main, login],
        lists: lists(),
        ..PolicySource::default()
    }
}

#[test]
fn the_example_of_s2_4() {
    use Outcome::{Blocked, Event, Pass};
    // method, path, local mode (from), override (from), effective, malicious ordinary, malicious gray
    let rows = [
        (
            "GET",
            "/news",
            Monitoring,
            "server server-a",
            Override::Off,
            "server server-a",
            Monitoring,
            Event,
            Event,
        ),
        (
            "GET",
            "/main",
            Monitoring,
            "server server-a",
            Override::Off,
            "server server-a",
            Monitoring,
            Event,
            Event,
        ),
        (
            "GET",
            "/main/login",
            Block,
            "location /main/login",
            Override::Strict,
            "location /main/login",
            Block,
            Blocked,
            Blocked,
        ),
        (
            "GET",
            "/main/signup",
            Monitoring,
            "server server-a",
            Override::Strict,
            "location /main/signup",
            Block,
            Blocked,
            Blocked,
        ),
        (
            "GET",
            "/main/apply",
            Block,
            "location /main/apply",
            Override::On,
            "location /main/apply",
            Block,
            Blocked,
            Blocked,
        ),
        (
            "POST",
            "/main/apply",
            Block,
            "location /main/apply",
            Override::On,
            "location /main/apply",
            Block,
            Blocked,
            Blocked,
        ),
        (
            "GET",
            "/main/feedback",
            SafeBlocking,
            "location /main/feedback",
            Override::Off,
            "location /main/feedback",
            SafeBlocking,
            Event,
            Blocked,
        ),
    ];
    for read_as_segments in [true, false] {
        let policy = policy(&server_a(read_as_segments));
        for (method, path, local, local_from, allow, allow_from, mode, ordinary, gray) in rows {
            let facts = RequestFacts { method: method.as_bytes(), ..get("server-a", path) };
            let explanation = policy.explain(&facts, ORDINARY.parse().unwrap(), NOW);
            assert_eq!(explanation.local_mode, Sourced { value: local, from: local_from.into() }, "{path}");
            assert_eq!(
                explanation.mode_allow_override,
                Sourced { value: allow, from: allow_from.into() },
                "{path}"
            );
            assert_eq!(explanation.mode, mode, "{method} {path}");
            assert_eq!(outcome(&policy, &facts, ORDINARY, Finding::Attack), ordinary, "{method} {path}");
            assert_eq!(outcome(&policy, &facts, GRAY, Finding::Attack), gray, "{method} {path}");
            assert_eq!(outcome(&policy, &facts, GRAY, Finding::None), Pass, "{method} {path}");
            for finding in [Finding::None, Finding::Attack] {
                assert_eq!(outcome(&policy, &facts, DENIED, finding), Blocked, "{method} {path}");
                assert_eq!(outcome(&policy, &facts, ALLOWED, finding), Pass, "{method} {path}");
            }
        }
    }
}

#[test]
fn the_rule_that_wins_in_s2_4() {
    let policy = policy(&server_a(true));
    let rows: [(&str, &str, &[u64], ModeSource); 7] = [
        ("GET", "/news", &[], ModeSource::Local),
        ("GET", "/main/x", &[2], ModeSource::Local),
        ("GET", "/main/login", &[3, 2], ModeSource::Local),
        ("GET", "/main/signup", &[2], ModeSource::Rule(2)),
        ("GET", "/main/apply", &[2], ModeSource::Rule(2)),
        ("POST", "/main/apply", &[1, 2], ModeSource::Local),
        ("GET", "/main/feedback", &[2], ModeSource::Local),
    ];
    for (method, path, rules, from) in rows {
        let facts = RequestFacts { method: method.as_bytes(), ..get("server-a", path) };
        let explanation = policy.explain(&facts, ORDINARY.parse().unwrap(), NOW);
        assert_eq!(
            explanation.rules.iter().map(|rule| rule.id).collect::<Vec<_>>(),
            rules,
            "{method} {path}"
        );
        let winners: Vec<_> = explanation.rules.iter().filter(|rule| rule.wins).map(|rule| rule.id).collect();
        assert_eq!(winners, rules.iter().copied().take(1).collect::<Vec<_>>(), "{method} {path}");
        assert_eq!(explanation.mode_from, from, "{method} {path}");
    }
}

#[test]
fn the_second_example_s2_5() {
    let build = |cloud| {
        policy(&PolicySource {
            http: context(Some(Monitoring), None),
            servers: vec![
                server("server-a", context(None, Some(Override::Off)), vec![]),
                server(
                    "server-b",
                    context(None, Some(Override::On)),
                    vec![location("/main/login", None, Some(Override::Strict))],
                ),
            ],
            general_mode: cloud,
            ..PolicySource::default()
        })
    };
    // cloud rule, server A, server B, server B at /main/login
    let rows = [
        (RuleMode::Default, Monitoring, Monitoring, Monitoring),
        (set(Off), Monitoring, Off, Monitoring),
        (set(Monitoring), Monitoring, Monitoring, Monitoring),
        (set(SafeBlocking), Monitoring, SafeBlocking, SafeBlocking),
        (set(Block), Monitoring, Block, Block),
    ];
    for (cloud, a, b, login) in rows {
        let policy = build(cloud);
        let mode = |host, path| resolve(&policy, &get(host, path), ORDINARY).mode;
        assert_eq!([mode("server-a", "/x"), mode("server-a", "/main/login")], [a, a], "{cloud}");
        let general = policy.explain(&get("server-a", "/x"), ORDINARY.parse().unwrap(), NOW).general_mode;
        assert_eq!((general.mode, general.wins), (cloud, true));
        assert!(general.why.contains("mode_allow_override is off"), "{}", general.why);
        assert_eq!([mode("server-b", "/x"), mode("server-b", "/main/login/x")], [b, login], "{cloud}");
    }
}

/// One server with a local mode and a policy, and rules.
fn single(local: Mode, allow: Override, general: RuleMode, rules: Vec<RuleSource>) -> Policy {
    policy(&PolicySource {
        servers: vec![server("s", context(Some(local), Some(allow)), vec![])],
        general_mode: general,
        rules,
        lists: lists(),
        ..PolicySource::default()
    })
}

#[test]
fn discriminating_rows_of_s2_6() {
    use Outcome::{Blocked, Event, Pass};
    let attack = |policy: &Policy, method: &str, path: &str| {
        let facts = RequestFacts { method: method.as_bytes(), ..get("s", path) };
        outcome(policy, &facts, ORDINARY, Finding::Attack)
    };
    let scoped = single(Monitoring, Override::On, set(Block), vec![rule(1, RuleMode::Default, "/a/**")]);
    assert_eq!(attack(&scoped, "GET", "/a/x"), Event, "local, not the general mode");
    assert_eq!(attack(&scoped, "GET", "/b/x"), Blocked);

    let nested = vec![rule(1, set(Monitoring), "/a/**"), rule(2, set(Block), "/a/b")];
    let nested = single(Block, Override::On, RuleMode::Default, nested);
    assert_eq!([attack(&nested, "GET", "/a/b"), attack(&nested, "GET", "/a/c")], [Blocked, Event]);

    let post = when(rule(2, RuleMode::Default, "/a/**"), Point::Method, Test::Equal, "POST");
    let methods =
        single(Monitoring, Override::On, RuleMode::Default, vec![rule(1, set(Block), "/a/**"), post]);
    assert_eq!([attack(&methods, "POST", "/a/z"), attack(&methods, "GET", "/a/z")], [Event, Blocked]);

    let milder = single(Monitoring, Override::Strict, RuleMode::Default, vec![rule(1, set(Off), "")]);
    assert_eq!(attack(&milder, "GET", "/"), Event);

    let off = single(Block, Override::On, RuleMode::Default, vec![rule(1, set(Off), "")]);
    assert_eq!(outcome(&off, &get("s", "/"), DENIED, Finding::Attack), Pass, "lists aren't read");
    assert_eq!(resolve(&off, &get("s", "/"), DENIED).list, None);

    let raised = single(Off, Override::Strict, RuleMode::Default, vec![rule(1, set(Block), "")]);
    assert_eq!(attack(&raised, "GET", "/"), Blocked);

    let kept = single(Block, Override::Off, RuleMode::Default, vec![rule(1, set(Off), "")]);
    assert_eq!(attack(&kept, "GET", "/"), Blocked);

    let exact = when(rule(1, set(Monitoring), ""), Point::Path(0), Test::Equal, "a");
    let any_case = when(rule(2, set(Block), ""), Point::Path(0), Test::Iequal, "A");
    let ranked = single(SafeBlocking, Override::On, RuleMode::Default, vec![any_case, exact]);
    assert_eq!([attack(&ranked, "GET", "/a/x"), attack(&ranked, "GET", "/A/x")], [Event, Blocked]);
}

#[test]
fn other_documented_rules_of_s2_5() {
    let instance = |id, mode, value| when(rule(id, mode, ""), Point::Instance, Test::Equal, value);
    let https = when(instance(2, set(Monitoring), "42"), Point::Scheme, Test::Iequal, "HTTPS");
    let mut source = PolicySource {
        http: context(Some(Block), None),
        servers: vec![server("s", ContextSource::default(), vec![])],
        rules: vec![instance(1, set(Monitoring), "3"), https],
        ..PolicySource::default()
    };
    for (application, http, https) in
        [(3, Monitoring, Monitoring), (42, Block, Monitoring), (-1, Block, Block)]
    {
        source.servers[0].context.application = Some(application);
        let policy = policy(&source);
        let mode = |scheme| resolve(&policy, &RequestFacts { scheme, ..get("s", "/") }, ORDINARY).mode;
        assert_eq!([mode(b"http"), mode(b"https")], [http, https], "{application}");
    }
    let graphql = vec![rule(1, set(Block), "/graphql"), rule(2, set(Monitoring), "/graphql/v2")];
    let policy = single(Monitoring, Override::On, RuleMode::Default, graphql);
    let mode = |path| resolve(&policy, &get("s", path), ORDINARY).mode;
    assert_eq!([mode("/x"), mode("/graphql"), mode("/graphql/v2")], [Monitoring, Block, Monitoring]);
}

/// A client that adds a port, or the dot of the root, doesn't step out of a rule.
#[test]
fn a_host_without_a_port_is_meant_with_any() {
    // condition, Host value, matches
    let rows = [
        ("a.example", "a.example", true),
        ("a.example", "A.Example:8080", true),
        ("a.example", "a.example.", true),
        ("a.example", "a.example.:443", true),
        ("a.example", "a.example:", true),
        ("a.example", "b.example:80", false),
        ("a.example", "a.example.org", false),
        ("a.example.", "a.example:80", true),
        ("a.example:80", "a.example:80", true),
        ("A.example.:80", "a.example.:80", true),
        ("a.example:80", "a.example:8080", false),
        ("a.example:80", "a.example", false),
        ("[2001:db8::a]", "[2001:DB8::A]", true),
        ("[2001:db8::a]", "[2001:db8::a]:80", true),
        ("[2001:db8::a]:80", "[2001:db8::a]:81", false),
        ("[2001:db8::a]:80", "[2001:db8::a]", false),
    ];
    for (condition, host, expected) in rows {
        let facts = get(host, "/x");
        assert_eq!(
            matches(constructor(&format!("{condition}/x")), &facts),
            expected,
            "{condition} at {host}"
        );
        for is in [Test::Equal, Test::Iequal] {
            let rule = when(constructor(""), Point::Header("HOST".into()), is, condition);
            assert_eq!(matches(rule, &facts), expected, "{condition} at {host}");
        }
    }
}

/// Whether a rule with this scope matches.
fn matches(rule: RuleSource, facts: &RequestFacts<'_>) -> bool {
    let policy = single(Monitoring, Override::On, RuleMode::Default, vec![rule]);
    let resolution = resolve(&policy, facts, ORDINARY);
    let explained = policy.explain(facts, ORDINARY.parse().unwrap(), NOW);
    assert_eq!(!explained.rules.is_empty(), resolution.mode == Block, "explain and resolve agree");
    resolution.mode == Block
}

fn constructor(uri: &str) -> RuleSource {
    rule(1, set(Block), uri)
}

#[test]
fn uri_decomposition_of_s3_1() {
    // target, path, action_name, action_ext
    let rows: [(&str, &[&str], &str, Option<&str>); 6] = [
        ("/", &[], "", None),
        ("/login", &[], "login", None),
        ("/api/user", &["api"], "user", None),
        ("/blogs/123/index.php?q=aaa", &["blogs", "123"], "index", Some("php")),
        ("/api/user/", &["api", "user"], "", None),
        ("/s/cb-common.ffc63abe.chunk.js.map", &["s"], "cb-common", Some("map")),
    ];
    for (target, path, name, extension) in rows {
        let facts = get("s", target);
        let holds = |point, is, value| matches(when(constructor(""), point, is, value), &facts);
        for (index, segment) in (0..).zip(path) {
            assert!(holds(Point::Path(index), Test::Equal, segment), "{target}");
            assert!(!holds(Point::Path(index), Test::Absent, ""), "{target}");
        }
        assert!(holds(Point::Path(path.len() as u32), Test::Absent, ""), "{target}");
        assert!(holds(Point::ActionName, Test::Equal, name), "{target}");
        assert!(!holds(Point::ActionName, Test::Absent, ""), "{target}");
        assert_eq!(holds(Point::ActionExt, Test::Absent, ""), extension.is_none(), "{target}");
        if let Some(extension) = extension {
            assert!(holds(Point::ActionExt, Test::Equal, extension), "{target}");
        }
        assert!(holds(Point::Uri, Test::Equal, target), "{target}");
    }
}

#[test]
fn documented_matches_of_s3_2() {
    // constructor, target, matches
    let rows = [
        ("example.com/*/create/*.*", "/api/create/user.php", true),
        ("example.com/*/create/*.*", "/create/user.php", false),
        ("example.com/*/create/*.*", "/api/create", false),
        ("example.com/**/user", "/api/create/user", true),
        ("example.com/**/user", "/api/user", true),
        ("example.com/**/user", "/user", true),
        ("example.com/**/user", "/api/user/index.php", false),
        ("/main/**", "/main/x", true),
        ("/main/**", "/main/x/y.z", true),
        ("/main/**", "/main/", true),
        ("/main/**", "/main", false),
        ("/main/**", "/mainx/y", false),
        ("/a/*", "/a/b", true),
        ("/a/*", "/a/", false),
        ("/a/*", "/a/b.c", false),
        ("/a/*", "/a/b/c", false),
        ("/api/**/*.*", "/api/x/y.php?q=1", true),
        ("", "/anything", true),
        ("/a?q=1", "/a?q=1", true),
        ("/a?q=1", "/a?p=2&q=%31", true),
        ("/a?q=1", "/a?q=2", false),
        ("/a?q=1", "/a", false),
        ("https://EXAMPLE.com/a", "/a", true),
        ("example.org/a", "/a", false),
        ("example.com:8080/a", "/a", false),
    ];
    for (uri, target, expected) in rows {
        let facts = RequestFacts { ..get("example.com", target) };
        assert_eq!(matches(constructor(uri), &facts), expected, "{uri} and {target}");
    }
}

#[test]
fn conditions_on_every_point() {
    let headers: [(&[u8], &[u8]); 3] = [(b"X-Two", b"1"), (b"x-two", b"Z"), (b"X-Empty", b"")];
    let facts = RequestFacts { headers: &headers, ..get("Example.com:81", "/A/%62.c?k=v%20w&k=2&E=&flag") };
    let header = |name: &str| Point::Header(name.into());
    let query = |name: &str| Point::Query(name.into());
    let rows = [
        (Point::Method, Test::Equal, "GET", true),
        (Point::Method, Test::Equal, "get", false),
        (Point::Method, Test::Iequal, "get", true),
        (Point::Scheme, Test::Equal, "http", true),
        (Point::Proto, Test::Equal, "1.1", true),
        (Point::Proto, Test::Equal, "HTTP/1.1", true),
        (Point::Proto, Test::Equal, "1.0", false),
        (Point::Instance, Test::Equal, "-1", true),
        (Point::Path(0), Test::Equal, "A", true),
        (Point::Path(0), Test::Equal, "a", false),
        (Point::Path(0), Test::Iequal, "a", true),
        (Point::Path(1), Test::Absent, "", true),
        (Point::ActionName, Test::Equal, "b", true),
        (Point::ActionExt, Test::Iequal, "C", true),
        (query("k"), Test::Equal, "v w", true),
        (query("k"), Test::Equal, "2", true),
        (query("k"), Test::Absent, "", false),
        (query("e"), Test::Absent, "", true),
        (query("E"), Test::Equal, "", true),
        (query("flag"), Test::Equal, "", true),
        (header("X-TWO"), Test::Equal, "1", true),
        (header("x-Two"), Test::Iequal, "z", true),
        (header("x-two"), Test::Equal, "z", false),
        (header("x-other"), Test::Absent, "", true),
        (header("X-Empty"), Test::Absent, "", false),
        (header("HOST"), Test::Equal, "eXample.com:81", true),
        (header("HOST"), Test::Equal, "example.com", true),
        (header("HOST"), Test::Iequal, "EXAMPLE.com.", true),
        (header("HOST"), Test::Equal, "example.com:80", false),
        (header("HOST"), Test::Absent, "", false),
        (Point::Uri, Test::Equal, "/A/b.c?k=v%20w&k=2&E=&flag", true),
    ];
    for (point, is, value, expected) in rows {
        let rule = when(constructor(""), point.clone(), is, value);
        assert_eq!(matches(rule, &facts), expected, "{point} {is:?} {value}");
    }
}
