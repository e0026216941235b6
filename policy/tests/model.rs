//! The compiled policy against a literal interpreter of spec S1 to S3, on random sources and requests.
//!
//! The interpreter shares no code with the compiler: it reads the source anew for each request, and matches regexes by
//! trying everything. Sources are generated as templates in which `#2` stands for the third regex of the case.
//!
//! `WEIR_MODEL_CASES` says how many requests are compared; a failing one is made small and printed as files and a command.

mod common;

use common::as_toml::as_toml;
use common::naive_regex::{Naive, plain_regex, regex};

use std::cell::RefCell;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use weir_policy::*;

#[path = "model/literal.rs"]
mod literal;

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(Mode::ALL.to_vec())
}

fn rule_mode() -> impl Strategy<Value = RuleMode> {
    prop_oneof![Just(RuleMode::Default), mode().prop_map(RuleMode::Set)]
}

fn context() -> impl Strategy<Value = ContextSource> {
    let policy = prop::sample::select(vec![Override::Off, Override::Strict, Override::On]);
    let contains = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "ab"]), mode(), 1..3);
    let map = (prop::sample::select(vec!["x-one", "X-TWO"]), contains).prop_map(|(header, contains)| {
        ModeByHeader {
            header: header.into(),
            contains: contains.into_iter().map(|(text, mode)| (text.to_owned(), mode)).collect(),
        }
    });
    (
        prop::option::of(mode()),
        prop::option::of(policy),
        prop::option::weighted(0.2, map),
        prop::option::of(-1..3_i64),
        prop::option::weighted(0.2, any::<bool>()),
    )
        .prop_map(|(mode, mode_allow_override, mode_by_header, application, disable_acl)| {
            ContextSource {
                mode,
                mode_from_environment: false,
                mode_allow_override,
                mode_by_header,
                application,
                disable_acl,
            }
        })
}

const HOSTS: [&str; 7] = ["a", "b.a", "c.b.a", "*.a", "*.b.a", "x", "*.x"];
const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/a", "/b", "/a.b", "/a%3ab"];

fn server() -> impl Strategy<Value = ServerSource> {
    let kind = prop::sample::select(vec![MatchKind::Prefix, MatchKind::Exact, MatchKind::PrefixFinal]);
    let plain = (prop::sample::select(PATHS.to_vec()), kind);
    let kind = prop::sample::select(vec![MatchKind::Regex, MatchKind::RegexNocase]);
    let regex = (prop::sample::select(vec!["#4", "#5"]), kind);
    let location = (prop_oneof![5 => plain, 1 => regex], context());
    (context(), prop::collection::vec(location, 0..6)).prop_map(|(context, locations)| {
        let mut taken = Vec::new();
        let locations = locations.into_iter().filter_map(|((path, kind), context)| {
            let key = (path, matches!(kind, MatchKind::Exact | MatchKind::Regex));
            let new = !taken.contains(&key);
            taken.push(key);
            new.then(|| LocationSource { path: path.into(), kind, context })
        });
        ServerSource { locations: locations.collect(), context, ..ServerSource::default() }
    })
}

fn servers() -> impl Strategy<Value = Vec<ServerSource>> {
    let owners = prop::collection::vec(prop::option::of(0..3_usize), HOSTS.len());
    (prop::collection::vec(server(), 1..4), owners, prop::option::of(0..3_usize)).prop_map(
        |(mut servers, owners, default)| {
            let count = servers.len();
            for (index, server) in servers.iter_mut().enumerate() {
                server.name = format!("server{index}");
                server.default = default.is_some_and(|default| default % count == index);
            }
            for (host, owner) in HOSTS.iter().zip(owners) {
                if let Some(owner) = owner {
                    servers[owner % count].hosts.push((*host).to_owned());
                }
            }
            servers
        },
    )
}

fn condition() -> impl Strategy<Value = Condition> {
    let word = || prop::sample::select(vec!["a", "A", "b", "", "a b"]);
    let point = prop_oneof![
        prop::sample::select(vec!["-1", "1", "2"]).prop_map(|value| (Point::Instance, value)),
        prop::sample::select(vec!["a", "B.a", "a:80", "a.", "b.a:81"])
            .prop_map(|value| (Point::Header("Host".into()), value)),
        (0..3_u32, word()).prop_map(|(index, value)| (Point::Path(index), value)),
        word().prop_map(|value| (Point::ActionName, value)),
        word().prop_map(|value| (Point::ActionExt, value)),
        prop::sample::select(vec!["GET", "post"]).prop_map(|value| (Point::Method, value)),
        prop::sample::select(vec!["http", "HTTPS"]).prop_map(|value| (Point::Scheme, value)),
        prop::sample::select(vec!["1.1", "HTTP/1.0"]).prop_map(|value| (Point::Proto, value)),
        (prop::sample::select(vec!["a", "b"]), word())
            .prop_map(|(name, value)| (Point::Query(name.into()), value)),
        (prop::sample::select(vec!["X-One", "x-two"]), word())
            .prop_map(|(name, value)| (Point::Header(name.into()), value)),
        prop::sample::select(vec!["/a", "/A/b?a=a", "/"]).prop_map(|value| (Point::Uri, value)),
    ];
    let test = prop::sample::select(vec![Test::Equal, Test::Equal, Test::Iequal, Test::Absent, Test::Regex]);
    (point, test, 0..4).prop_map(|((point, value), is, regex)| {
        let regex = format!("#{regex}");
        let value = if is == Test::Regex { regex.as_str() } else { value };
        let value = if point == Point::Proto { value.replace("HTTP/", "") } else { value.to_owned() };
        Condition { point, is, value }
    })
}

fn constructor() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["", "", "", "a", "B.a", "A:80", "https://b.a:81", "http://A"]);
    let directory = prop::sample::select(vec!["a", "b", "*", "{{#0}}", "%61", "a%3ab"]);
    let directories = prop::collection::vec(directory, 0..3);
    let tail = prop::sample::select(vec![
        "",
        "a",
        "*",
        "*.*",
        "a.b",
        "*.a",
        "**",
        "**/a",
        "**/*",
        "**/a.*",
        "**/",
        "{{#1}}",
        "{{#2}}.{{#3}}",
        "**/{{#0}}",
    ]);
    let query = prop::sample::select(vec!["", "", "", "?a=a", "?b=*", "?a&b=b", "?a={{#2}}", "?%61=%61"]);
    (host, directories, tail, query).prop_map(|(host, directories, tail, query)| {
        let directories: String = directories.iter().map(|directory| format!("{directory}/")).collect();
        format!("{host}/{directories}{tail}{query}")
    })
}

fn kind() -> impl Strategy<Value = RuleKind> {
    let point = |text: &str| PointSelector::parse_text(text).unwrap();
    let time = Duration::from_secs;
    let values = || vec!["v".to_owned()];
    let (sqli, point_a) = (AttackType::Sqli, || point("query.a"));
    let regex = "a".to_owned();
    let others = vec![
        RuleKind::VirtualPatch { attack_type: AttackType::Any, point: point_a() },
        RuleKind::Regex { regex, attack_type: sqli, point: point_a(), experimental: false },
        RuleKind::IgnoreRegex { rule: 0, point: point_a() },
        RuleKind::DisableAttackType { attack_type: sqli, point: point_a() },
        RuleKind::DisableSignature { signature: "s".into(), point: point_a() },
        RuleKind::BinaryData { point: point_a() },
        RuleKind::ParserState { parser: Parser::Jwt, enabled: true, point: point_a() },
        RuleKind::ParserState { parser: Parser::Jwt, enabled: false, point: point_a() },
        RuleKind::ParserState { parser: Parser::Jwt, enabled: false, point: point("query.b") },
        RuleKind::ParserState { parser: Parser::Xml, enabled: false, point: point_a() },
        RuleKind::OverTimeLimit { time_limit: time(2), action: OverTimeAction::Block },
        RuleKind::UploadSize { limit: 1, action: UploadAction::Off, point: None },
        RuleKind::ResponseHeader { action: HeaderAction::Delete, name: "A".into(), values: vec![] },
    ];
    prop_oneof![
        6 => rule_mode().prop_map(RuleKind::Mode),
        2 => prop::sample::select(others),
        1 => prop::sample::select(vec![
            RuleKind::Mask { point: point("query.a") },
            RuleKind::OverTimeLimit { time_limit: time(1), action: OverTimeAction::Pass },
            RuleKind::RateLimit { rate: 1, per: time(1), burst: 0, delay: 0, status: 503, point: None },
            RuleKind::RateLimit { rate: 50, per: time(60), burst: 0, delay: 0, status: 503, point: None },
            RuleKind::UploadSize { limit: 1, action: UploadAction::Block, point: None },
            RuleKind::UploadSize { limit: 1, action: UploadAction::Off, point: Some(point("body.a")) },
            RuleKind::ResponseHeader { action: HeaderAction::Set, name: "A".into(), values: values() },
        ]),
    ]
}

fn rules() -> impl Strategy<Value = Vec<RuleSource>> {
    let rule = (kind(), prop::option::of(constructor()), prop::collection::vec(condition(), 0..4));
    prop::collection::vec(rule, 0..12).prop_map(|rules| {
        let detector = rules.iter().position(|(kind, ..)| matches!(kind, RuleKind::Regex { .. }));
        let numbered = (1..).zip(rules);
        let rules = numbered.filter_map(|(id, (kind, uri, when))| {
            let kind = match (kind, detector) {
                (RuleKind::IgnoreRegex { point, .. }, Some(detector)) => {
                    RuleKind::IgnoreRegex { rule: detector as u64 + 1, point }
                }
                (RuleKind::IgnoreRegex { .. }, None) => return None,
                (kind, _) => kind,
            };
            Some(RuleSource { id, kind, uri, when })
        });
        rules.collect()
    })
}

/// The source with each `#2` written out.
fn written_out(template: &PolicySource, regexes: &[Naive]) -> PolicySource {
    let mut source = template.clone();
    for (index, regex) in regexes.iter().enumerate() {
        let (short, written) = (format!("#{index}"), regex.written());
        for rule in &mut source.rules {
            rule.uri = rule
                .uri
                .as_ref()
                .map(|uri| uri.replace(&format!("{{{{{short}}}}}"), &format!("{{{{{written}}}}}")));
            for condition in rule.when.iter_mut().filter(|condition| condition.value == short) {
                condition.value.clone_from(&written);
            }
        }
        for location in source.servers.iter_mut().flat_map(|server| &mut server.locations) {
            if location.path == short {
                location.path.clone_from(&written);
            }
        }
    }
    source
}

/// Addresses and networks that often meet.
fn address() -> impl Strategy<Value = IpAddr> {
    let ipv4 = (0..2_u8, 0..3_u8).prop_map(|(high, low)| IpAddr::V4(Ipv4Addr::new(10, high, 255, 253 + low)));
    let ipv6 = (0..2_u16, 0..3_u16)
        .prop_map(|(high, low)| IpAddr::V6(Ipv6Addr::new(0x2001, high, 0, 0, 0, 0, u16::MAX, 0xfffd + low)));
    prop_oneof![3 => ipv4, 1 => ipv6]
}

fn lists() -> impl Strategy<Value = Vec<ListEntry>> {
    let list = prop::sample::select(List::ALL.to_vec());
    let shorter = prop::sample::select(vec![0, 1, 2, 8, 16, 24, 32]);
    let entry = (
        list,
        address(),
        shorter,
        prop::collection::vec(-1..3_i64, 0..2),
        prop::option::of(prop::sample::select(vec![99_u64, 100, 101])),
    );
    let entry = entry.prop_map(|(list, address, shorter, applications, expires)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        ListEntry {
            list,
            address: IpNet::new(address, longest - shorter).unwrap().trunc(),
            applications,
            expires,
            reason: None,
        }
    });
    prop::collection::vec(entry, 0..8)
}

/// What addresses may be, and what entries are about.
fn attribute() -> impl Strategy<Value = (Attribute, &'static str)> {
    let attributes = vec![Attribute::Datacenter, Attribute::Proxy, Attribute::Country];
    (prop::sample::select(attributes), prop::sample::select(vec!["a", "b"]))
}

fn attribute_lists() -> impl Strategy<Value = Vec<AttributeEntry>> {
    let entry = (
        prop::sample::select(List::ALL.to_vec()),
        attribute(),
        prop::collection::vec(-1..3_i64, 0..2),
        prop::option::of(prop::sample::select(vec![99_u64, 100, 101])),
    );
    let entry = entry.prop_map(|(list, (attribute, name), applications, expires)| AttributeEntry {
        list,
        attribute,
        name: name.to_owned(),
        applications,
        expires,
        reason: None,
    });
    prop::collection::vec(entry, 0..4)
}

fn source() -> impl Strategy<Value = PolicySource> {
    (context(), servers(), rule_mode(), rules(), lists(), attribute_lists(), any::<bool>()).prop_map(
        |(http, servers, general_mode, rules, lists, attribute_lists, acl_access_phase)| PolicySource {
            http,
            servers,
            general_mode,
            rules,
            lists,
            attribute_lists,
            acl_access_phase,
            signature_classes: Default::default(),
        },
    )
}

#[derive(Debug, Clone)]
struct Request {
    method: &'static str,
    scheme: &'static str,
    proto: &'static str,
    host: &'static str,
    path: String,
    /// What the path may also mean.
    readings: Vec<String>,
    query: Option<String>,
    headers: Vec<(&'static str, &'static str)>,
    client: IpAddr,
    /// What the client's address is; of data centres and countries the last one counts.
    is: Vec<(Attribute, &'static str)>,
}

impl Request {
    /// The client as a database would describe it.
    fn client(&self, policy: &Policy) -> Client {
        let mut client = Client::from(self.client);
        let mut proxies = 0;
        for (attribute, name) in &self.is {
            let name = policy.attribute_name(*attribute, name).unwrap_or_default();
            match attribute {
                Attribute::Datacenter => client.attributes.datacenter = name,
                Attribute::Country => client.attributes.country = name,
                Attribute::Proxy => {
                    client.attributes.proxies[proxies] = name;
                    proxies += 1;
                }
            }
        }
        client
    }

    /// The same in words.
    fn is(&self) -> Vec<(Attribute, &'static str)> {
        let last = |attribute| self.is.iter().rfind(|(found, _)| *found == attribute).copied();
        let proxies = self.is.iter().filter(|(found, _)| *found == Attribute::Proxy).copied();
        proxies.chain(last(Attribute::Datacenter)).chain(last(Attribute::Country)).collect()
    }
}

fn request() -> impl Strategy<Value = Request> {
    let select = |values: &[&'static str]| prop::sample::select(values.to_vec());
    let segment = select(&[
        "a", "b", "A", "a", "b", "", ".", "..", "%61", "%2e", "a.b", "a.", "a.b.A", "%2F", "%2f", "a%3ab",
        "%2561",
    ]);
    let path = prop::collection::vec(segment, 1..5)
        .prop_map(|segments| segments.into_iter().map(|segment| format!("/{segment}")).collect::<String>());
    let readings = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(path.clone(), 1..4)];
    let parameter = select(&["a=a", "a=b", "b=", "a", "b=b", "a=%61", "a=a+b", "", "c=a", "a=A", "%61=b"]);
    let query = prop::collection::vec(parameter, 0..4).prop_map(|parameters| parameters.join("&"));
    let header = (select(&["x-one", "X-Two", "x-three"]), select(&["a", "b", "ab", "", "A"]));
    (
        select(&["GET", "POST", "post"]),
        select(&["http", "https"]),
        select(&["HTTP/1.0", "HTTP/1.1"]),
        select(&[
            "a", "A:80", "a:81", "a.:80", "b.a", "B.A.", "B.a:81", "c.b.a", "d.c.b.a", "e.a", "x", "y.x",
            "z", "", "a:80", "ba",
        ]),
        (path, readings),
        prop::option::of(query),
        prop::collection::vec(header, 0..4),
        address(),
        prop::collection::vec(attribute(), 0..3),
    )
        .prop_map(|(method, scheme, proto, host, (path, readings), query, headers, client, is)| {
            Request { method, scheme, proto, host, path, readings, query, headers, client, is }
        })
}

/// Requests to each source.
const REQUESTS: u32 = 25;

/// What is different, if anything is.
fn compare(
    template: &PolicySource,
    regexes: &[Naive],
    policy: &Policy,
    request: &Request,
    scratch: &mut Scratch,
) -> Result<(), String> {
    let headers: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let facts = RequestFacts {
        method: request.method.as_bytes(),
        scheme: request.scheme.as_bytes(),
        proto: request.proto.as_bytes(),
        host: request.host.as_bytes(),
        path: request.path.as_bytes(),
        query: request.query.as_deref().map(str::as_bytes),
        headers: &headers,
    };
    let client = request.client(policy);
    let found = policy.resolve_client(scratch, &facts, &client, 100);
    let expected = literal::resolve(template, regexes, &facts, (request.client, &request.is()), 100);
    let mut differences = Vec::new();
    let mut same = |what: &str, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        if found != expected {
            differences.push(format!("{what}: found {found}, by the letter {expected}"));
        }
    };
    same("location", &policy.location_position(found.location), &Some((expected.server, expected.location)));
    same("application", &found.application, &expected.application);
    same("mode", &(found.mode, found.mode_source), &(expected.mode, expected.source));
    same("list", &found.list, &expected.list);
    for (finding, attack) in [(Finding::None, false), (Finding::Attack, true)] {
        let blocks = literal::blocks(expected.mode, expected.list, template.acl_access_phase, attack);
        same("verdict", &policy.verdict(&found, finding).block, &blocks);
    }
    let effects = policy.effects(scratch);
    for (rule_type, rules) in &expected.effects {
        same(rule_type.as_str(), &ids_of(policy, effects, *rule_type), rules);
    }
    let holding_count = effects.all().len();
    let explained = policy.explain_client(&facts, &client, 100);
    let entries = explained.list_entries.iter().map(|covering| (&covering.entry, covering.wins));
    let mut entries: Vec<(String, bool)> = entries.map(|(entry, wins)| (entry.to_string(), wins)).collect();
    same("wins first", &entries.iter().skip(1).any(|(_, wins)| *wins), &false);
    same("the list that wins", &entries.first().is_some_and(|(_, wins)| *wins), &expected.list.is_some());
    entries.sort_unstable();
    let entries: Vec<String> = entries.into_iter().map(|(entry, _)| entry).collect();
    same("entries", &entries, &literal::entries_about(template, request.client, &request.is()));
    same("explained resolution", &explained.resolution, &found);
    let modes: Vec<u64> =
        explained.rules.iter().filter(|rule| rule.kind == "mode").map(|rule| rule.id).collect();
    same("explained rules", &modes, &expected.rules);
    let of_never = NEVER.with_borrow(|never| {
        let matching = explained.rules.iter().map(|rule| rule.id);
        matching.filter(|id| never.contains(id)).collect::<Vec<u64>>()
    });
    same("rules that were said to match nothing", &of_never, &Vec::<u64>::new());
    let holding = explained.rules.iter().filter(|rule| rule.wins && rule.kind != "mode").count();
    same("explained effects", &holding, &holding_count);
    same("explained path", &explained.normalised_path, &literal::normalise(&request.path));
    if !request.readings.is_empty() {
        compare_readings(template, regexes, policy, request, &facts, expected, scratch, &mut same);
    }
    if differences.is_empty() {
        return Ok(());
    }
    let mut config = as_toml(&written_out(template, regexes), &facts, &request.client.to_string());
    config.push_str(&format!("# the client is {:?}\n", request.is()));
    config.push_str(&format!("# the path may also mean {:?}\n", request.readings));
    Err(format!("{}\n\n{config}", differences.join("\n")))
}

/// The rules of a type that hold.
fn ids_of(policy: &Policy, effects: Effects<'_>, rule_type: RuleType) -> Vec<u64> {
    let ids: Vec<u64> = policy.effect_rules().map(|rule| rule.id).collect();
    let mut of_type: Vec<u64> = effects.of(rule_type).iter().map(|effect| ids[effect.0 as usize]).collect();
    if matches!(rule_type, RuleType::UploadSize | RuleType::ParserState) {
        of_type.sort_unstable();
    }
    of_type
}

/// The same where the path may mean something else too.
#[expect(clippy::too_many_arguments, reason = "what `compare` has at hand")]
fn compare_readings<'a>(
    template: &'a PolicySource,
    regexes: &[Naive],
    policy: &Policy,
    request: &Request,
    facts: &RequestFacts<'_>,
    literal: literal::Answer<'a>,
    scratch: &mut Scratch,
    same: &mut dyn FnMut(&str, &dyn std::fmt::Debug, &dyn std::fmt::Debug),
) {
    let (client, is) = (request.client(policy), request.is());
    let mut readings = vec![literal];
    for path in &request.readings {
        let facts = RequestFacts { path: path.as_bytes(), ..*facts };
        readings.push(literal::resolve(template, regexes, &facts, (request.client, &is), 100));
    }
    let found = policy.resolve_readings(scratch, facts, &request.readings, &client, 100);
    let expected = literal::merge(template, &readings);
    same("merged mode", &(found.resolution.mode, found.resolution.list), &(expected.mode, expected.list));
    let locations: Vec<_> =
        found.locations.iter().filter_map(|location| policy.location_position(*location)).collect();
    same("merged locations", &locations, &expected.locations);
    let effects = policy.effects(scratch);
    for (rule_type, rules) in &expected.effects {
        same(&format!("merged {}", rule_type.as_str()), &ids_of(policy, effects, *rule_type), rules);
    }
    same("every rate", &effects.every_rate_counts(), &expected.every_rate_counts);
    same("general time", &effects.general_time_limit_counts(), &expected.general_time_limit_counts);
    let phase = template.acl_access_phase;
    for (finding, attack) in [(Finding::None, false), (Finding::Attack, true)] {
        let mut blocked = readings.iter().map(|at| literal::blocks(at.mode, at.list, phase, attack));
        let blocks = policy.verdict(&found.resolution, finding).block;
        same("merged verdict", &blocks, &blocked.any(|blocks| blocks));
    }
    let holding = effects.all().len();
    let explained = policy.explain_readings(facts, &request.readings, &client, 100);
    same("merged resolution", &explained.resolution, &found.resolution);
    let told = explained.rules.iter().filter(|rule| rule.wins && rule.kind != "mode").count();
    same("merged explained effects", &told, &holding);
}

#[test]
fn the_compiled_policy_is_the_literal_one() {
    let cases = std::env::var("WEIR_MODEL_CASES").ok().map_or(100_000, |cases| cases.parse::<u32>().unwrap());
    let config =
        ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases.div_ceil(REQUESTS)) };
    let regexes = (prop::collection::vec(regex(), 4), prop::collection::vec(plain_regex(), 2));
    let strategy = (source(), regexes, prop::collection::vec(request(), REQUESTS as usize));
    let outcome = TestRunner::new(config).run(&strategy, |(template, (regexes, plain), requests)| {
        let regexes: Vec<Naive> = regexes.into_iter().chain(plain).collect();
        let source = written_out(&template, &regexes);
        let policy = match compile(source) {
            Ok(compiled) => {
                let never = compiled
                    .warnings
                    .iter()
                    .filter(|warning| warning.message.starts_with("it matches nothing"));
                let never: Vec<u64> = never
                    .filter_map(|warning| match &warning.place {
                        Place::Rule { id, .. } => Some(*id),
                        _ => None,
                    })
                    .collect();
                NEVER.set(never);
                compiled.policy
            }
            // exact or refused: some complements are too large
            Err(errors) if errors.iter().all(|error| error.problem.contains("too large an automaton")) => {
                return Err(TestCaseError::reject("too large"));
            }
            Err(errors) => return Err(TestCaseError::fail(format!("{errors:#?}"))),
        };
        for request in &requests {
            // one scratch serves one policy after another
            SCRATCH
                .with_borrow_mut(|scratch| compare(&template, &regexes, &policy, request, scratch))
                .map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    if let Err(TestError::Fail(reason, _)) = outcome {
        panic!("{reason}");
    }
    outcome.unwrap();
}

thread_local! {
    /// Rules of the policy that were warned of: they match nothing.
    static NEVER: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}
