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

/// The interpreter.
mod literal {
    use super::*;

    pub(super) struct Answer {
        pub(super) server: usize,
        pub(super) location: Option<usize>,
        pub(super) application: i64,
        pub(super) mode: Mode,
        pub(super) source: ModeSource,
        pub(super) list: Option<List>,
        /// Every mode rule that matches, the winner first.
        pub(super) rules: Vec<u64>,
        /// The rules of other types that hold, by type.
        pub(super) effects: Vec<(RuleType, Vec<u64>)>,
    }

    /// The regex that `#2` stands for.
    fn regex_of<'a>(regexes: &'a [Naive], text: &str) -> &'a Naive {
        &regexes[text.strip_prefix('#').unwrap().parse::<usize>().unwrap()]
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Name and port of a Host value or of what one is compared with.
    fn name_and_port(host: &str) -> (String, Option<String>) {
        let (name, port) =
            host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port.to_owned())));
        (name.trim_end_matches('.').to_lowercase(), port)
    }

    fn server(source: &PolicySource, host: &str) -> usize {
        let (host, _) = name_and_port(host);
        let mut best: Option<(usize, usize)> = None;
        for (index, server) in source.servers.iter().enumerate() {
            for pattern in &server.hosts {
                let length = match pattern.strip_prefix('*') {
                    Some(suffix) if host.ends_with(suffix) && host.len() >= suffix.len() => suffix.len(),
                    None if *pattern == host => usize::MAX,
                    _ => continue,
                };
                if best.is_none_or(|(longest, _)| length > longest) {
                    best = Some((length, index));
                }
            }
        }
        let default = source.servers.iter().position(|server| server.default).unwrap_or(0);
        best.map_or(default, |(_, index)| index)
    }

    /// Percent-encoded unreserved characters, then slashes, then dot segments.
    pub(super) fn normalise(path: &str) -> String {
        let mut decoded = path.to_owned();
        for character in ('0'..='9').chain('A'..='Z').chain('a'..='z').chain("-._~".chars()) {
            let code = character as u32;
            decoded = decoded.replace(&format!("%{code:02x}"), &format!("\0{character}"));
            decoded = decoded.replace(&format!("%{code:02X}"), &format!("\0{character}"));
        }
        let decoded = decoded.replace('\0', "");
        let mut kept: Vec<&str> = Vec::new();
        let segments: Vec<&str> = decoded.split('/').skip(1).collect();
        for segment in &segments {
            match *segment {
                "" | "." => {}
                ".." => drop(kept.pop()),
                segment => kept.push(segment),
            }
        }
        let directory = matches!(segments.last(), None | Some(&("" | "." | "..")));
        let joined = format!("/{}", kept.join("/"));
        if directory && joined != "/" { joined + "/" } else { joined }
    }

    fn location(server: &ServerSource, path: &str, regexes: &[Naive]) -> Option<usize> {
        let all = || server.locations.iter().enumerate();
        if let Some((index, _)) = all().find(|(_, at)| at.kind == MatchKind::Exact && at.path == path) {
            return Some(index);
        }
        let prefixes = all().filter(|(_, at)| {
            matches!(at.kind, MatchKind::Prefix | MatchKind::PrefixFinal) && path.starts_with(&at.path)
        });
        let longest = prefixes.max_by_key(|(_, at)| at.path.len());
        if let Some((index, at)) = longest
            && at.kind == MatchKind::PrefixFinal
        {
            return Some(index);
        }
        let first = all().find(|(_, at)| match at.kind {
            MatchKind::Regex => regex_of(regexes, &at.path).occurs_in(path.as_bytes()),
            MatchKind::RegexNocase => regex_of(regexes, &at.path).in_any_case().occurs_in(path.as_bytes()),
            _ => false,
        });
        first.or(longest).map(|(index, _)| index)
    }

    /// A condition with the constructor's `*` among the tests.
    #[derive(Debug, Clone, PartialEq)]
    enum Is {
        Equal(String),
        Iequal(String),
        /// Name, and a port if only that one is meant.
        Host(String, Option<String>),
        Absent,
        Regex(String),
        Wildcard,
    }

    type Conditions = Vec<(Point, Is)>;

    fn constructor(uri: &str) -> Conditions {
        let mut conditions = Vec::new();
        let (rest, query) = uri.split_once('?').map_or((uri, ""), |(rest, query)| (rest, query));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is = |text: &str| match text.strip_prefix("{{") {
            Some(regex) => Is::Regex(regex.trim_end_matches('}').to_owned()),
            None if text == "*" => Is::Wildcard,
            None => Is::Equal(text.to_owned()),
        };
        if !host.is_empty() {
            let (name, port) = name_and_port(host);
            conditions.push((Point::Header("HOST".into()), Is::Host(name, port)));
        }
        if !path.is_empty() {
            let mut components: Vec<&str> = path[1..].split('/').collect();
            let last = components.pop().unwrap();
            let stars = components.iter().position(|component| *component == "**");
            for (index, component) in components.iter().take(stars.unwrap_or(usize::MAX)).enumerate() {
                conditions.push((Point::Path(index as u32), is(component)));
            }
            if last != "**" {
                if stars.is_none() {
                    conditions.push((Point::Path(components.len() as u32), Is::Absent));
                }
                let (name, extension) = action(last);
                conditions.push((Point::ActionName, is(&name)));
                conditions.push((Point::ActionExt, extension.map_or(Is::Absent, |extension| is(&extension))));
            }
        }
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            conditions.push((Point::Query(name.into()), is(value)));
        }
        conditions
    }

    fn action(last: &str) -> (String, Option<String>) {
        let parts: Vec<&str> = last.split('.').collect();
        let extension = (parts.len() > 1).then(|| parts[parts.len() - 1].to_owned());
        (parts[0].to_owned(), extension)
    }

    fn conditions(rule: &RuleSource) -> Conditions {
        let mut conditions = constructor(rule.uri.as_deref().unwrap_or(""));
        for Condition { point, is, value } in &rule.when {
            let is_host = matches!(point, Point::Header(name) if name.eq_ignore_ascii_case("host"));
            let is = match is {
                Test::Equal | Test::Iequal if is_host => {
                    let (name, port) = name_and_port(value);
                    Is::Host(name, port)
                }
                Test::Equal => Is::Equal(value.clone()),
                Test::Iequal => Is::Iequal(value.clone()),
                Test::Absent => Is::Absent,
                Test::Regex => Is::Regex(value.clone()),
            };
            conditions.push((point.clone(), is));
        }
        conditions
    }

    fn values(point: &Point, facts: &RequestFacts<'_>, path: &str, application: i64) -> Vec<String> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (last, directories) = segments.split_last().unwrap();
        let query = facts.query.map(text);
        let one = |value: String| vec![value];
        match point {
            Point::Instance => one(application.to_string()),
            Point::Header(name) if name.eq_ignore_ascii_case("host") => {
                Some(text(facts.host)).filter(|host| !host.is_empty()).into_iter().collect()
            }
            Point::Header(name) => facts
                .headers
                .iter()
                .filter(|(key, _)| text(key).to_lowercase() == name.to_lowercase())
                .map(|(_, value)| text(value))
                .collect(),
            Point::Path(index) => {
                directories.get(*index as usize).map(ToString::to_string).into_iter().collect()
            }
            Point::ActionName => one(action(last).0),
            Point::ActionExt => action(last).1.into_iter().collect(),
            Point::Method => one(text(facts.method)),
            Point::Scheme => one(text(facts.scheme)),
            Point::Proto => one(text(facts.proto).replace("HTTP/", "")),
            Point::Query(name) => query
                .unwrap_or_default()
                .split('&')
                .filter(|parameter| !parameter.is_empty())
                .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.replace("%61", "a").replace('+', " "))
                .collect(),
            Point::Uri => one(query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))),
        }
    }

    fn holds(point: &Point, is: &Is, values: &[String], regexes: &[Naive]) -> bool {
        match is {
            Is::Regex(text) => {
                let regex = regex_of(regexes, text);
                let is_host = matches!(point, Point::Header(name) if name.eq_ignore_ascii_case("host"));
                values.iter().any(|value| {
                    if !is_host {
                        return regex.occurs_in(value.as_bytes());
                    }
                    let (name, port) = name_and_port(value);
                    let with_port = port.map(|port| format!("{name}:{port}")).unwrap_or_default();
                    let regex = regex.in_any_case();
                    regex.occurs_in(name.as_bytes()) || regex.occurs_in(with_port.as_bytes())
                })
            }
            Is::Absent => values.is_empty(),
            Is::Equal(wanted) => values.contains(wanted),
            Is::Iequal(wanted) => values.iter().any(|value| value.to_lowercase() == wanted.to_lowercase()),
            Is::Host(name, port) => values.iter().any(|value| {
                let (found, found_port) = name_and_port(value);
                found == *name && (port.is_none() || found_port == *port)
            }),
            Is::Wildcard => values.iter().any(|value| !value.is_empty()),
        }
    }

    /// The point's place in the order of comparison.
    fn place(point: &Point) -> (u32, u32, String) {
        let plain = |place| (place, 0, String::new());
        match point {
            Point::Instance => plain(0),
            Point::Header(name) if name.eq_ignore_ascii_case("host") => plain(1),
            Point::Path(index) => (2, *index, String::new()),
            Point::ActionName => plain(3),
            Point::ActionExt => plain(4),
            Point::Method => plain(5),
            Point::Scheme => plain(6),
            Point::Proto => plain(7),
            Point::Query(name) => (8, 0, name.clone()),
            Point::Header(name) => (9, 0, name.to_lowercase()),
            Point::Uri => plain(10),
        }
    }

    /// How the conditions constrain a place: the ranks of its different conditions, best first.
    fn ranks(conditions: &Conditions, at: &(u32, u32, String)) -> Vec<u32> {
        let mut different: Vec<Is> = Vec::new();
        for (point, is) in conditions {
            let is = if let Is::Iequal(value) = is { Is::Iequal(value.to_lowercase()) } else { is.clone() };
            if place(point) == *at && !different.contains(&is) {
                different.push(is);
            }
        }
        let mut ranks: Vec<u32> = different
            .iter()
            .map(|is| match is {
                Is::Equal(_) | Is::Absent => 0,
                Is::Iequal(_) | Is::Host(..) => 1,
                Is::Regex(_) => 2,
                Is::Wildcard => 3,
            })
            .collect();
        ranks.sort_unstable();
        ranks
    }

    /// `Less` is the more specific one.
    fn compare(a: &Conditions, b: &Conditions) -> Ordering {
        let mut places: Vec<_> = a.iter().chain(b).map(|(point, _)| place(point)).collect();
        places.sort();
        for at in places {
            // an end of the ranks is an unconstrained point: worse than any rank
            let with_end = |conditions| ranks(conditions, &at).into_iter().chain([9]);
            let order = with_end(a).cmp(with_end(b));
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    fn strictness(mode: RuleMode) -> i32 {
        match mode {
            RuleMode::Default => -1,
            RuleMode::Set(mode) => mode as i32,
        }
    }

    fn local_mode(contexts: &[&ContextSource], headers: &[(&[u8], &[u8])]) -> Mode {
        for context in contexts {
            if let Some(map) = &context.mode_by_header {
                let mut modes = Vec::new();
                for (name, value) in headers {
                    for (needle, mode) in &map.contains {
                        if text(name).to_lowercase() == map.header.to_lowercase()
                            && text(value).contains(needle)
                        {
                            modes.push(*mode);
                        }
                    }
                }
                if let Some(strictest) = modes.into_iter().max() {
                    return strictest;
                }
            }
            if let Some(mode) = context.mode {
                return mode;
            }
        }
        Mode::Monitoring
    }

    fn list(source: &PolicySource, client: IpAddr, application: i64, mode: Mode, now: u64) -> Option<List> {
        let read: &[List] = match mode {
            Mode::Off => &[],
            Mode::SafeBlocking => &[List::Allow, List::Deny, List::Gray],
            Mode::Monitoring | Mode::Block => &[List::Allow, List::Deny],
        };
        let holds = |entry: &ListEntry| {
            entry.address.contains(&client)
                && entry.expires.is_none_or(|expires| expires > now)
                && (entry.applications.is_empty() || entry.applications.contains(&application))
        };
        let on = |list: &&List| source.lists.iter().any(|entry| entry.list == **list && holds(entry));
        read.iter().find(on).copied()
    }

    /// How two rules of one type are ordered beside their conditions.
    fn order_of_kinds(a: &RuleKind, b: &RuleKind) -> Ordering {
        match (a, b) {
            (
                RuleKind::RateLimit { rate: rate_a, per: per_a, .. },
                RuleKind::RateLimit { rate: rate_b, per: per_b, .. },
            ) => (f64::from(*rate_a) / per_a.as_secs_f64())
                .total_cmp(&(f64::from(*rate_b) / per_b.as_secs_f64())),
            _ => Ordering::Equal,
        }
    }

    /// Spec S3.4 point 8.
    fn effects(mut matching: Vec<(Conditions, &RuleSource)>) -> Vec<(RuleType, Vec<u64>)> {
        matching.sort_by(|(a, rule_a), (b, rule_b)| {
            order_of_kinds(&rule_a.kind, &rule_b.kind).then(compare(a, b)).then(rule_a.id.cmp(&rule_b.id))
        });
        let mut by_type = Vec::new();
        for (_, rule_type) in RuleType::NAMES.iter().filter(|(_, rule_type)| *rule_type != RuleType::Mode) {
            let of_type = matching.iter().filter(|(_, rule)| rule.kind.rule_type() == *rule_type);
            let of_type: Vec<&RuleSource> = of_type.map(|(_, rule)| *rule).collect();
            let ids = |rules: &[&RuleSource]| rules.iter().map(|rule| rule.id).collect::<Vec<_>>();
            let mut holding = match rule_type {
                RuleType::OverTimeLimit => ids(&of_type[..of_type.len().min(1)]),
                RuleType::UploadSize => {
                    let mut first: Vec<&RuleSource> = Vec::new();
                    for rule in &of_type {
                        if !first.iter().any(|other| other.kind.point() == rule.kind.point()) {
                            first.push(rule);
                        }
                    }
                    let mut ids = ids(&first);
                    ids.sort_unstable(); // no order between points
                    ids
                }
                _ => ids(&of_type),
            };
            if *rule_type == RuleType::ResponseHeader {
                holding.reverse();
            }
            by_type.push((*rule_type, holding));
        }
        by_type
    }

    pub(super) fn resolve(
        source: &PolicySource,
        regexes: &[Naive],
        facts: &RequestFacts<'_>,
        client: IpAddr,
        now: u64,
    ) -> Answer {
        let server_index = server(source, &text(facts.host));
        let server = &source.servers[server_index];
        let path = normalise(&text(facts.path));
        let location = location(server, &path, regexes);
        let mut contexts = vec![&server.context, &source.http];
        if let Some(index) = location {
            contexts.insert(0, &server.locations[index].context);
        }
        let application = contexts.iter().find_map(|context| context.application).unwrap_or(-1);
        let local = local_mode(&contexts, facts.headers);
        let allow = contexts.iter().find_map(|context| context.mode_allow_override).unwrap_or(Override::On);
        let mut matching: Vec<(Conditions, RuleMode, Option<u64>)> =
            vec![(vec![], source.general_mode, None)];
        let mut others = Vec::new();
        for rule in &source.rules {
            let conditions = conditions(rule);
            let all_hold = conditions
                .iter()
                .all(|(point, is)| holds(point, is, &values(point, facts, &path, application), regexes));
            match rule.kind {
                _ if !all_hold => {}
                RuleKind::Mode(mode) => matching.push((conditions, mode, Some(rule.id))),
                _ => others.push((conditions, rule)),
            }
        }
        matching.sort_by(|a, b| {
            compare(&a.0, &b.0).then(strictness(b.1).cmp(&strictness(a.1))).then(a.2.cmp(&b.2))
        });
        let (_, cloud, id) = &matching[0];
        let from_rule = id.map_or(ModeSource::General, ModeSource::Rule);
        let (mode, source_of_mode) = match (allow, cloud) {
            (Override::On, RuleMode::Set(mode)) => (*mode, from_rule),
            (Override::Strict, RuleMode::Set(mode)) if *mode > local => (*mode, from_rule),
            _ => (local, ModeSource::Local),
        };
        let disable_acl = contexts.iter().find_map(|context| context.disable_acl).unwrap_or(false);
        let list = if disable_acl { None } else { list(source, client, application, mode, now) };
        let runs = mode != Mode::Off && list != Some(List::Allow);
        Answer {
            effects: effects(if runs { others } else { Vec::new() }),
            server: server_index,
            location,
            application,
            mode,
            source: source_of_mode,
            list,
            rules: matching.iter().filter_map(|(_, _, id)| *id).collect(),
        }
    }

    /// Spec S1.8, line by line, for the findings of built-in detectors.
    pub(super) fn blocks(mode: Mode, list: Option<List>, access_phase: bool, attack: bool) -> bool {
        if mode == Mode::Off {
            return false;
        }
        let mut deny_pending = false;
        match list {
            Some(List::Allow) => return false,
            Some(List::Deny) if access_phase => return true,
            Some(List::Deny) if mode >= Mode::SafeBlocking => deny_pending = true,
            _ => {}
        }
        let gray = list == Some(List::Gray);
        deny_pending || (attack && (mode == Mode::Block || (mode == Mode::SafeBlocking && gray)))
    }
}

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
const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/a", "/b", "/a.b"];

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
    let host = prop::sample::select(vec!["", "", "", "a", "B.a", "A:80"]);
    let directories = prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "{{#0}}"]), 0..3);
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
    let query = prop::sample::select(vec!["", "", "", "?a=a", "?b=*", "?a&b=b", "?a={{#2}}"]);
    (host, directories, tail, query).prop_map(|(host, directories, tail, query)| {
        let directories: String = directories.iter().map(|directory| format!("{directory}/")).collect();
        format!("{host}/{directories}{tail}{query}")
    })
}

fn kind() -> impl Strategy<Value = RuleKind> {
    let point = |text: &str| PointSelector::parse_text(text).unwrap();
    let time = Duration::from_secs;
    let values = || vec!["v".to_owned()];
    prop_oneof![
        6 => rule_mode().prop_map(RuleKind::Mode),
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
        let numbered = (1..).zip(rules);
        numbered.map(|(id, (kind, uri, when))| RuleSource { id, kind, uri, when }).collect()
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

fn source() -> impl Strategy<Value = PolicySource> {
    (context(), servers(), rule_mode(), rules(), lists(), any::<bool>()).prop_map(
        |(http, servers, general_mode, rules, lists, acl_access_phase)| PolicySource {
            http,
            servers,
            general_mode,
            rules,
            lists,
            acl_access_phase,
            ..PolicySource::default()
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
    query: Option<String>,
    headers: Vec<(&'static str, &'static str)>,
    client: IpAddr,
}

fn request() -> impl Strategy<Value = Request> {
    let select = |values: &[&'static str]| prop::sample::select(values.to_vec());
    let segment =
        select(&["a", "b", "A", "a", "b", "", ".", "..", "%61", "%2e", "a.b", "a.", "a.b.A", "%2F", "%2561"]);
    let path = prop::collection::vec(segment, 1..5)
        .prop_map(|segments| segments.into_iter().map(|segment| format!("/{segment}")).collect());
    let parameter = select(&["a=a", "a=b", "b=", "a", "b=b", "a=%61", "a=a+b", "", "c=a", "a=A"]);
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
        path,
        prop::option::of(query),
        prop::collection::vec(header, 0..4),
        address(),
    )
        .prop_map(|(method, scheme, proto, host, path, query, headers, client)| Request {
            method,
            scheme,
            proto,
            host,
            path,
            query,
            headers,
            client,
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
    let found = policy.resolve(scratch, &facts, request.client, 100);
    let expected = literal::resolve(template, regexes, &facts, request.client, 100);
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
    let ids: Vec<u64> = policy.effect_rules().map(|rule| rule.id).collect();
    let effects = policy.effects(scratch);
    for (rule_type, rules) in &expected.effects {
        let mut of_type: Vec<u64> =
            effects.of(*rule_type).iter().map(|effect| ids[effect.0 as usize]).collect();
        if *rule_type == RuleType::UploadSize {
            of_type.sort_unstable();
        }
        same(rule_type.as_str(), &of_type, rules);
    }
    let explained = policy.explain(&facts, request.client, 100);
    same("explained resolution", &explained.resolution, &found);
    let modes: Vec<u64> =
        explained.rules.iter().filter(|rule| rule.kind == "mode").map(|rule| rule.id).collect();
    same("explained rules", &modes, &expected.rules);
    let holding = explained.rules.iter().filter(|rule| rule.wins && rule.kind != "mode").count();
    same("explained effects", &holding, &effects.all().len());
    same("explained path", &explained.normalised_path, &literal::normalise(&request.path));
    if differences.is_empty() {
        return Ok(());
    }
    let config = as_toml(&written_out(template, regexes), &facts, &request.client.to_string());
    Err(format!("{}\n\n{config}", differences.join("\n")))
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
        let policy = match compile(&source) {
            Ok(compiled) => compiled.policy,
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
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}
