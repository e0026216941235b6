//! Short ways to write sources and requests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod as_toml;
pub mod naive_regex;

use std::net::IpAddr;

use weir_policy::*;

pub const NOW: u64 = 1_800_000_000;
pub const ORDINARY: &str = "192.0.2.1";
pub const GRAY: &str = "192.0.2.2";
pub const DENIED: &str = "192.0.2.3";
pub const ALLOWED: &str = "192.0.2.4";

pub fn context(mode: Option<Mode>, policy: Option<Override>) -> ContextSource {
    ContextSource { mode, mode_allow_override: policy, ..ContextSource::default() }
}

pub fn location(path: &str, mode: Option<Mode>, policy: Option<Override>) -> LocationSource {
    LocationSource { path: path.into(), kind: MatchKind::Prefix, context: context(mode, policy) }
}

pub fn server(name: &str, context: ContextSource, locations: Vec<LocationSource>) -> ServerSource {
    ServerSource { name: name.into(), hosts: vec![name.into()], default: false, context, locations }
}

/// A rule by its scope in the constructor's form.
pub fn rule(id: u64, mode: RuleMode, uri: &str) -> RuleSource {
    RuleSource { id, kind: RuleKind::Mode(mode), uri: Some(uri.into()), when: vec![] }
}

pub fn when(mut rule: RuleSource, point: Point, is: Test, value: &str) -> RuleSource {
    rule.when.push(Condition { point, is, value: value.into() });
    rule
}

pub fn lists() -> Vec<ListEntry> {
    [(List::Gray, GRAY), (List::Deny, DENIED), (List::Allow, ALLOWED)]
        .map(|(list, address)| ListEntry {
            list,
            address: address.parse::<IpAddr>().unwrap().into(),
            applications: vec![],
            expires: None,
            reason: Some(format!("{} for a test", list.as_str())),
        })
        .into()
}

pub fn policy(source: &PolicySource) -> Policy {
    compile(source.clone()).unwrap_or_else(|errors| panic!("{errors:#?}")).policy
}

/// A GET of a target at a host.
pub fn get<'a>(host: &'a str, target: &'a str) -> RequestFacts<'a> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    RequestFacts {
        method: b"GET",
        scheme: b"http",
        proto: b"HTTP/1.1",
        host: host.as_bytes(),
        path: path.as_bytes(),
        query: query.map(str::as_bytes),
        headers: &[],
    }
}

pub fn resolve(policy: &Policy, facts: &RequestFacts<'_>, client: &str) -> Resolution {
    policy.resolve(&mut Scratch::default(), facts, client.parse().unwrap(), NOW)
}
