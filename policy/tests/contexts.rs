//! Contexts, hosts, locations, lists, errors and explanations.

mod common;

use std::collections::BTreeMap;

use Mode::{Block, Monitoring, Off, SafeBlocking};
use common::*;
use weir_policy::*;

fn map(header: &str, entries: &[(&str, Mode)]) -> Option<ModeByHeader> {
    let contains: BTreeMap<_, _> = entries.iter().map(|&(text, mode)| (text.to_owned(), mode)).collect();
    Some(ModeByHeader { header: header.into(), contains })
}

#[test]
fn each_key_is_inherited_on_its_own() {
    let http = ContextSource {
        application: Some(7),
        disable_acl: Some(true),
        ..context(Some(Block), Some(Override::Strict))
    };
    let own = LocationSource {
        context: ContextSource { application: Some(9), ..context(None, Some(Override::Off)) },
        ..location("/own", None, None)
    };
    let acl = LocationSource {
        context: ContextSource { disable_acl: Some(false), ..context(Some(Off), None) },
        ..location("/acl", None, None)
    };
    let source = PolicySource {
        http,
        servers: vec![server("s", context(None, None), vec![own, acl])],
        ..PolicySource::default()
    };
    let policy = policy(&source);
    let explain = |path| policy.explain(&get("s", path), ORDINARY.parse().unwrap(), NOW);
    let rows = [
        ("/", None, Block, "http", Override::Strict, "http", 7),
        ("/own", Some("/own"), Block, "http", Override::Off, "location /own", 9),
        ("/acl", Some("/acl"), Off, "location /acl", Override::Strict, "http", 7),
    ];
    for (path, location, mode, mode_from, allow, allow_from, application) in rows {
        let explained = explain(path);
        assert_eq!(explained.location.as_deref(), location);
        assert_eq!((explained.local_mode.value, &*explained.local_mode.from), (mode, mode_from), "{path}");
        let policy = &explained.mode_allow_override;
        assert_eq!((policy.value, &*policy.from), (allow, allow_from), "{path}");
        assert_eq!(explained.application, application);
    }
}

#[test]
fn defaults_are_monitoring_and_on() {
    let source =
        PolicySource { servers: vec![server("s", context(None, None), vec![])], ..PolicySource::default() };
    let explained = policy(&source).explain(&get("s", "/"), ORDINARY.parse().unwrap(), NOW);
    assert_eq!(explained.local_mode, Sourced { value: Monitoring, from: "default".into() });
    assert_eq!(explained.mode_allow_override, Sourced { value: Override::On, from: "default".into() });
    assert_eq!(explained.application, -1);
}

#[test]
fn the_environment_sets_the_mode_of_http_alone() {
    let http = ContextSource {
        mode_from_environment: true,
        mode_by_header: map("User-Agent", &[("bot", Off)]),
        ..context(Some(Block), Some(Override::Strict))
    };
    let servers =
        vec![server("a", context(None, None), vec![]), server("b", context(Some(Off), None), vec![])];
    let policy = policy(&PolicySource { http, servers, ..PolicySource::default() });
    let bot: [(&[u8], &[u8]); 1] = [(b"user-agent", b"bot")];
    let explain = |host| {
        let facts = RequestFacts { headers: &bot, ..get(host, "/") };
        policy.explain(&facts, ORDINARY.parse().unwrap(), NOW)
    };
    assert_eq!(explain("a").local_mode, Sourced { value: Block, from: "environment".into() });
    assert_eq!(explain("a").mode_allow_override.from, "http");
    assert_eq!(explain("b").local_mode.from, "server b");
}

#[test]
fn a_header_chooses_the_local_mode_from_the_most_local_context_outwards() {
    let crawler = LocationSource {
        context: ContextSource {
            mode_by_header: map("x-team", &[("red", SafeBlocking)]),
            ..context(None, None)
        },
        ..location("/map", None, None)
    };
    let http =
        ContextSource { mode_by_header: map("user-agent", &[("Curl", Off)]), ..context(Some(Block), None) };
    let bots = map("User-Agent", &[("Googlebot", Off), ("evil", Block)]);
    let bots = ContextSource { mode_by_header: bots, ..context(Some(Monitoring), Some(Override::Strict)) };
    let source = PolicySource {
        http,
        servers: vec![
            server("s", bots, vec![crawler, location("/fixed", Some(SafeBlocking), None)]),
            server("t", context(None, None), vec![]),
        ],
        ..PolicySource::default()
    };
    let policy = policy(&source);
    let rows: [(&str, &str, &str, &str, Mode, &str); 9] = [
        ("s", "/", "User-Agent", "Mozilla (Googlebot/2.1)", Off, "server s"),
        ("s", "/", "user-agent", "googlebot", Monitoring, "server s"),
        ("s", "/", "User-Agent", "evil Googlebot", Block, "server s"),
        ("s", "/fixed", "User-Agent", "Googlebot", SafeBlocking, "location /fixed"),
        ("s", "/map", "X-Team", "infrared", SafeBlocking, "location /map"),
        ("s", "/map", "User-Agent", "Googlebot", Off, "server s"),
        ("s", "/map", "Accept", "Googlebot", Monitoring, "server s"),
        ("s", "/map", "User-Agent", "Curl", Monitoring, "server s"),
        ("t", "/", "User-Agent", "Curl/8", Off, "http"),
    ];
    for (host, path, name, value, mode, from) in rows {
        let headers = [(name.as_bytes(), value.as_bytes())];
        let facts = RequestFacts { headers: &headers, ..get(host, path) };
        let explained = policy.explain(&facts, ORDINARY.parse().unwrap(), NOW);
        assert_eq!(
            explained.local_mode,
            Sourced { value: mode, from: from.into() },
            "{host}{path} {name}: {value}"
        );
        assert_eq!(explained.mode, mode, "no rule says otherwise");
    }
}

#[test]
fn the_first_server_answers_where_none_is_the_default() {
    let servers = |default| {
        let mut servers =
            vec![server("a", context(None, None), vec![]), server("b", context(None, None), vec![])];
        servers[1].default = default;
        servers
    };
    for (default, expected) in [(false, "a"), (true, "b")] {
        let policy = policy(&PolicySource { servers: servers(default), ..PolicySource::default() });
        let name = |host| policy.server_name(resolve(&policy, &get(host, "/"), ORDINARY).server).to_owned();
        assert_eq!([name("a"), name("B.:80"), name("other"), name("")], ["a", "b", expected, expected]);
    }
}

#[test]
fn locations_rank_as_in_nginx_and_see_the_normalised_path() {
    let with = |path: &str, kind| LocationSource { kind, ..location(path, None, None) };
    let locations = vec![
        with("/", MatchKind::Prefix),
        with("/docs", MatchKind::Prefix),
        with("/docs", MatchKind::Exact),
        with("/docs/final", MatchKind::PrefixFinal),
        with("/docs/final/longer", MatchKind::Prefix),
    ];
    let source = PolicySource {
        servers: vec![server("s", context(None, None), locations.clone())],
        ..PolicySource::default()
    };
    let policy = policy(&source);
    let rows = [
        ("/", 0),
        ("/doc", 0),
        ("/docs", 2),
        ("/docs/", 1),
        ("/docsx", 1),
        ("/docs/final/x", 3),
        ("/docs/final/longer/x", 4),
        ("//docs", 2),
        ("/x/../docs", 2),
        ("/%64ocs", 2),
        ("/docs%2F", 1),
    ];
    for (path, index) in rows {
        let found = resolve(&policy, &get("s", path), ORDINARY).location;
        assert_eq!(policy.location_position(found), Some((0, Some(index))), "{path}");
        assert_eq!(policy.location_path(found), Some(&*locations[index].path), "{path}");
    }
    let asterisk = resolve(&policy, &RequestFacts { method: b"OPTIONS", ..get("s", "*") }, ORDINARY).location;
    assert_eq!(policy.location_position(asterisk), Some((0, None)));
    assert_eq!((policy.server_count(), policy.location_count()), (1, 6));
}

fn stage(policy: &Policy, client: &str) -> (Option<List>, Stage) {
    let resolution = resolve(policy, &get("s", "/"), client);
    (resolution.list, resolution.stage)
}

#[test]
fn locations_are_compared_in_the_encoding_of_requests() {
    let locations: Vec<LocationSource> =
        ["/caf%c3%a9", "/a b", "/naïve", "/$meta", "/x%3ay"].map(|path| location(path, None, None)).into();
    let source = PolicySource {
        servers: vec![server("s", context(None, None), locations)],
        ..PolicySource::default()
    };
    let compiled = compile(source.clone()).unwrap();
    let warnings: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("requests for `/x:y` don't meet it"), "{warnings:?}");
    for (path, index) in [
        ("/caf%c3%a9", Some(0)),
        ("/caf%C3%A9/x", Some(0)),
        ("/caf%C3%a9", Some(0)),
        ("/a%20b", Some(1)),
        ("/na%c3%afve", Some(2)),
        ("/$meta", Some(3)),
        ("/%24meta", None),
        ("/x%3Ay", Some(4)),
    ] {
        let found = resolve(&compiled.policy, &get("s", path), ORDINARY).location;
        assert_eq!(compiled.policy.location_position(found), Some((0, index)), "{path}");
    }
    let twice = ["/%c3", "/%C3"].map(|path| location(path, None, None)).into();
    let twice = PolicySource { servers: vec![server("s", context(None, None), twice)], ..source };
    let errors = compile(twice).map(|_| ()).unwrap_err();
    assert!(errors[0].to_string().contains("another location"), "{errors:?}");
}

#[test]
fn lists_that_are_read_and_what_waits_for_a_verdict() {
    let build = |mode, phase, disable_acl| {
        let context = ContextSource { disable_acl: Some(disable_acl), ..context(Some(mode), None) };
        let servers = vec![server("s", context, vec![])];
        policy(&PolicySource { servers, lists: lists(), acl_access_phase: phase, ..PolicySource::default() })
    };
    let inspect = |hold| Stage::Inspect { hold };
    for phase in [true, false] {
        let off = build(Off, phase, false);
        for client in [ORDINARY, GRAY, DENIED, ALLOWED] {
            assert_eq!(stage(&off, client), (None, Stage::PassUninspected));
        }
        for (mode, gray) in [
            (Monitoring, (None, inspect(false))),
            (SafeBlocking, (Some(List::Gray), inspect(true))),
            (Block, (None, inspect(true))),
        ] {
            let policy = build(mode, phase, false);
            assert_eq!(stage(&policy, ORDINARY), (None, inspect(mode == Block)));
            assert_eq!(stage(&policy, GRAY), gray, "{mode}");
            assert_eq!(stage(&policy, ALLOWED), (Some(List::Allow), Stage::PassUninspected));
            let denied = if phase { Stage::BlockNow(Reason::DenyList) } else { inspect(mode != Monitoring) };
            assert_eq!(stage(&policy, DENIED), (Some(List::Deny), denied), "{mode}");
            let unread = build(mode, phase, true);
            for client in [ORDINARY, GRAY, DENIED, ALLOWED] {
                assert_eq!(stage(&unread, client), (None, inspect(mode == Block)));
            }
        }
    }
}

#[test]
fn an_explanation_names_the_entry_and_serialises_to_the_documented_fields() {
    let mut source = PolicySource {
        servers: vec![server("s", context(Some(Block), None), vec![location("/a", None, None)])],
        rules: vec![rule(2, RuleMode::Set(SafeBlocking), "/a/**"), rule(1, RuleMode::Default, "")],
        lists: lists(),
        ..PolicySource::default()
    };
    source.lists[0].expires = Some(NOW + 1);
    let policy = policy(&source);
    let explained = policy.explain(&get("s", "/x/../a/b?c"), GRAY.parse().unwrap(), NOW);
    let json: serde_json::Value = serde_json::to_value(&explained).unwrap();
    let expected = serde_json::json!({
        "server": "s",
        "server_by": {"kind": "exact", "pattern": "s"},
        "location": "/a",
        "contexts": [
                { "context": "http", "mode": null, "mode_by_header": null, "mode_allow_override": null, "application": null, "disable_acl": null },
                { "context": "server s", "mode": "block", "mode_by_header": null, "mode_allow_override": null, "application": null, "disable_acl": null },
                { "context": "location /a", "mode": null, "mode_by_header": null, "mode_allow_override": null, "application": null, "disable_acl": null },
            ],
            "application": -1,
        "local_mode": {"value": "block", "from": "server s"},
        "local_mode_by_header": null,
        "mode_allow_override": {"value": "on", "from": "default"},
        "rules": [
            {"id": 2, "type": "mode", "mode": "safe_blocking", "wins": true,
             "why": "it is the most specific rule that matches, and mode_allow_override is on"},
            {"id": 1, "type": "mode", "mode": "default", "wins": false,
             "why": "rule 2 is more specific: it constrains path 0, which this one leaves open"},
        ],
        "mode": "safe_blocking",
        "mode_from": "rule 2",
        "list": "gray",
        "list_entry": {"list": "gray", "source": "address", "name": "192.0.2.2/32", "expires": NOW + 1,
                       "reason": "gray for a test"},
        "list_entries": [
            {"list": "gray", "source": "address", "name": "192.0.2.2/32", "expires": NOW + 1,
             "reason": "gray for a test", "applications": [], "wins": true,
             "why": "no entry of the allow and deny lists holds for this client, and the mode is safe_blocking"},
        ],
        "list_entry_count": 1,
        "normalised_path": "/a/b",
    });
    assert_eq!(json, expected);
    let later = policy.explain(&get("s", "/a/b"), GRAY.parse().unwrap(), NOW + 1);
    assert_eq!((later.list, later.list_entry), (None, None), "it has expired");
}

#[test]
fn all_errors_are_reported_with_their_places() {
    let regex = LocationSource { kind: MatchKind::Regex, ..location("x(", None, None) };
    let locations =
        vec![location("nope", None, None), location("/a", None, None), location("/a", None, None), regex];
    let mut twin = server("s", context(None, None), vec![]);
    twin.default = true;
    twin.hosts = vec!["S.".into(), "a:80".into()];
    let mut first = server("s", context(None, None), locations);
    first.default = true;
    first.context.mode_by_header = map("no name", &[]);
    let rules = vec![
        rule(1, RuleMode::Default, "/a*b"),
        when(rule(1, RuleMode::Default, ""), Point::Path(0), Test::Regex, "(x"),
        when(rule(2, RuleMode::Default, ""), Point::Header("a b".into()), Test::Equal, "x"),
        when(rule(3, RuleMode::Default, ""), Point::Path(9999), Test::Equal, "x"),
    ];
    let errors =
        compile(PolicySource { servers: vec![first, twin], rules, ..PolicySource::default() }).unwrap_err();
    let found: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.place, error.key)).collect();
    assert_eq!(
        found,
        [
            "server `s`: name",
            "server `s`: default",
            "server `s`: hosts[0]",
            "server `s`: hosts[1]",
            "server `s`: mode_by_header.header",
            "server `s`: mode_by_header.contains",
            "server `s`, location `nope`: path",
            "server `s`, location `/a`: path",
            "server `s`, location `x(`: path",
            "rule 1: id",
            "rule 1: uri",
            "rule 1: when[0].value",
            "rule 2: when[0].point",
            "rule 3: when[0].point",
        ]
    );
    assert!(compile(PolicySource::default()).is_err(), "a policy without a server");
}

#[test]
fn oddities_are_warned_of_and_compile() {
    let contradiction = rule(3, RuleMode::Default, "/a/b");
    let contradiction = when(contradiction, Point::Path(0), Test::Equal, "b");
    let never_absent = when(rule(4, RuleMode::Default, ""), Point::Method, Test::Absent, "");
    let source = PolicySource {
        servers: vec![server("s", context(None, None), vec![location("/a//b", None, None)])],
        rules: vec![
            rule(2, RuleMode::Default, "/a/**"),
            rule(1, RuleMode::Default, "/a/**"),
            contradiction,
            never_absent,
        ],
        lists: lists(),
        ..PolicySource::default()
    };
    let compiled = compile(source).unwrap();
    let warnings: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
    let starts = [
        "server `s`, location `/a//b`: requests are compared after normalisation",
        "rule 3: it matches nothing: its conditions on path 0 exclude each other",
        "rule 4: it matches nothing: method is never absent",
        "rule 2: it never wins: rule 1 has the same conditions",
    ];
    assert_eq!(warnings.len(), starts.len(), "{warnings:#?}");
    for (warning, start) in warnings.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warning}");
    }
}
