//! Rules of types other than `mode`: where they hold, and which of several counts (spec S3.4 point 8).

mod common;

use std::time::Duration;

use common::*;
use weir_policy::*;

fn point(text: &str) -> PointSelector {
    PointSelector::parse_text(text).unwrap()
}

fn effect(id: u64, kind: RuleKind, uri: &str) -> RuleSource {
    RuleSource { id, kind, uri: Some(uri.into()), when: vec![] }
}

fn mask(id: u64, uri: &str) -> RuleSource {
    effect(id, RuleKind::Mask { point: point("query.a") }, uri)
}

fn over_time(id: u64, uri: &str) -> RuleSource {
    let kind = RuleKind::OverTimeLimit { time_limit: Duration::from_secs(id), action: OverTimeAction::Pass };
    effect(id, kind, uri)
}

fn rate_limit(id: u64, rate: u32, per_seconds: u64, uri: &str) -> RuleSource {
    let per = Duration::from_secs(per_seconds);
    effect(id, RuleKind::RateLimit { rate, per, burst: 0, delay: 0, status: 503, point: None }, uri)
}

fn upload(id: u64, at: Option<&str>, uri: &str) -> RuleSource {
    effect(id, RuleKind::UploadSize { limit: id, action: UploadAction::Block, point: at.map(point) }, uri)
}

fn header(id: u64, uri: &str) -> RuleSource {
    let values = vec!["v".to_owned()];
    effect(id, RuleKind::ResponseHeader { action: HeaderAction::Set, name: "X-A".into(), values }, uri)
}

fn source(mode: Mode, rules: Vec<RuleSource>) -> PolicySource {
    PolicySource {
        servers: vec![server("a", context(Some(mode), None), vec![location("/off", Some(Mode::Off), None)])],
        rules,
        lists: lists(),
        ..PolicySource::default()
    }
}

/// The ids of the rules that hold, of one type or of all.
fn holding(policy: &Policy, target: &str, client: &str, rule_type: Option<RuleType>) -> Vec<u64> {
    let ids: Vec<u64> = policy.effect_rules().map(|rule| rule.id).collect();
    let mut scratch = Scratch::default();
    let facts = get("a", target);
    policy.resolve(&mut scratch, &facts, client.parse().unwrap(), NOW);
    let effects = policy.effects(&scratch);
    let of = rule_type.map_or(effects.all(), |rule_type| effects.of(rule_type));
    let found: Vec<u64> = of.iter().map(|effect| ids[effect.0 as usize]).collect();
    if rule_type.is_none() {
        let explained = policy.explain(&facts, client.parse().unwrap(), NOW);
        let told = explained.rules.iter().filter(|rule| rule.wins && rule.kind != "mode");
        assert_eq!(told.map(|rule| rule.id).collect::<Vec<_>>(), found, "explain agrees");
    }
    found
}

#[test]
fn all_rules_of_an_additive_type_hold_the_most_specific_one_first() {
    let rules = vec![mask(1, "/**"), mask(2, "/a/**"), mask(3, "/a/b"), mask(4, "/x/**"), mask(5, "/a/**")];
    let policy = policy(&source(Mode::Block, rules));
    assert_eq!(holding(&policy, "/a/b", ORDINARY, None), [3, 2, 5, 1]);
    assert_eq!(holding(&policy, "/x/y", ORDINARY, None), [4, 1]);
    assert_eq!(holding(&policy, "/z", ORDINARY, None), [1]);
}

#[test]
fn of_limits_the_most_specific_one_counts() {
    let rules = vec![
        over_time(1, "/**"),
        over_time(2, "/a/**"),
        over_time(3, "/a/**"),
        upload(4, None, "/**"),
        upload(5, None, "/a/**"),
        upload(6, Some("body.file"), "/**"),
    ];
    let policy = policy(&source(Mode::Block, rules));
    assert_eq!(holding(&policy, "/a/b", ORDINARY, None), [2, 5, 6]);
    assert_eq!(holding(&policy, "/z", ORDINARY, None), [1, 4, 6]);
    let lost: Vec<_> = policy
        .explain(&get("a", "/a/b"), ORDINARY.parse().unwrap(), NOW)
        .rules
        .into_iter()
        .filter(|rule| !rule.wins)
        .map(|rule| format!("{}: {}", rule.id, rule.why))
        .collect();
    let expected = [
        "3: rule 2 is as specific and its id is lower",
        "1: rule 2 is more specific: it constrains path 0, which this one leaves open",
        "4: rule 5 is more specific: it constrains path 0, which this one leaves open",
    ];
    assert_eq!(lost, expected);
}

#[test]
fn a_further_condition_on_a_point_is_told_as_such() {
    let further = when(over_time(1, ""), Point::Path(0), Test::Equal, "a");
    let rules = vec![when(further, Point::Path(0), Test::Regex, "a"), over_time(2, "/a/**")];
    let explained =
        policy(&source(Mode::Block, rules)).explain(&get("a", "/a/b"), ORDINARY.parse().unwrap(), NOW);
    let why = "rule 1 is more specific: it has one more condition on path 0, regex";
    assert_eq!(explained.rules[1].why, why);
}

#[test]
fn a_parser_is_switched_by_the_most_specific_rule_for_its_point() {
    let state = |id, enabled, at, uri| {
        effect(id, RuleKind::ParserState { parser: Parser::Base64, enabled, point: point(at) }, uri)
    };
    let rules = vec![
        state(1, false, "query", "/**"),
        state(2, true, "query", "/a/**"),
        state(3, false, "query.b", "/**"),
    ];
    let policy = policy(&source(Mode::Block, rules));
    let found = holding(&policy, "/a/x", ORDINARY, Some(RuleType::ParserState));
    assert_eq!(found.len(), 2);
    assert!(found.contains(&2) && found.contains(&3));
}

#[test]
fn rate_limits_stand_in_the_order_of_their_rates() {
    let rules =
        vec![rate_limit(1, 5, 1, "/a/**"), rate_limit(2, 100, 60, "/**"), rate_limit(3, 4, 1, "/a/b")];
    let policy = policy(&source(Mode::Monitoring, rules));
    assert_eq!(holding(&policy, "/a/b", ORDINARY, Some(RuleType::RateLimit)), [2, 3, 1]);
}

#[test]
fn the_most_specific_header_rule_has_the_last_word() {
    let rules = vec![header(1, "/a/b"), header(2, "/a/**"), header(3, "/**"), mask(4, "/**")];
    let policy = policy(&source(Mode::Monitoring, rules));
    assert_eq!(holding(&policy, "/a/b", ORDINARY, Some(RuleType::ResponseHeader)), [3, 2, 1]);
    assert_eq!(holding(&policy, "/a/b", ORDINARY, None), [4, 3, 2, 1]);
}

#[test]
fn nothing_runs_where_the_mode_is_off_or_the_client_allowlisted() {
    let denied =
        PolicySource { acl_access_phase: true, ..source(Mode::Block, vec![mask(1, ""), header(2, "")]) };
    assert_eq!(holding(&policy(&denied), "/", DENIED, None), [1], "events of blocked requests are masked");
    let policy = policy(&source(Mode::Block, vec![mask(1, "")]));
    assert_eq!(holding(&policy, "/", ORDINARY, None), [1]);
    assert_eq!(holding(&policy, "/off", ORDINARY, None), []);
    assert_eq!(holding(&policy, "/", ALLOWED, None), []);
    for (target, client, why) in [("/off", ORDINARY, "mode is off"), ("/", ALLOWED, "allow list")] {
        let explained = policy.explain(&get("a", target), client.parse().unwrap(), NOW);
        assert!(explained.rules[0].why.contains(why), "{:?}", explained.rules);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let header = |action, name: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        RuleKind::ResponseHeader { action, name: name.into(), values }
    };
    let limit = |rate, burst, delay, status| RuleKind::RateLimit {
        rate,
        per: Duration::from_secs(1),
        burst,
        delay,
        status,
        point: None,
    };
    let regex = |attack_type| RuleKind::Regex {
        regex: "a".into(),
        attack_type,
        point: point("query.a"),
        experimental: false,
    };
    let table = [
        (RuleKind::Mask { point: point("remote_addr") }, "point"),
        (RuleKind::VirtualPatch { attack_type: AttackType::Vpatch, point: point("body") }, "attack_type"),
        (regex(AttackType::Any), "attack_type"),
        (RuleKind::IgnoreRegex { rule: 9, point: point("body") }, "rule"),
        (RuleKind::IgnoreRegex { rule: 1, point: point("body") }, "rule"),
        (header(HeaderAction::Set, "Content-Length", &["1"]), "name"),
        (header(HeaderAction::Set, "a b", &["1"]), "name"),
        (header(HeaderAction::Set, "A", &[]), "values"),
        (header(HeaderAction::Delete, "A", &["1"]), "values"),
        (header(HeaderAction::Append, "A", &["ok", "a\r\nb"]), "values[1]"),
        (limit(0, 0, 0, 503), "rate"),
        (limit(1, 1, 2, 503), "delay"),
        (limit(1, 1, 1, 200), "status"),
    ];
    for (kind, key) in table {
        let source = source(Mode::Block, vec![effect(1, kind.clone(), "")]);
        let errors = compile(source).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(), [key], "{kind:?}");
    }
    let rules = vec![
        effect(1, regex(AttackType::Vpatch), ""),
        effect(2, RuleKind::IgnoreRegex { rule: 1, point: point("query.a") }, ""),
    ];
    assert!(compile(source(Mode::Block, rules)).is_ok());
}

#[test]
fn masks_hold_for_readings_that_are_not_inspected() {
    let policy =
        policy(&source(Mode::Block, vec![mask(1, "/off/**"), over_time(2, "/off/**"), mask(3, "/no/**")]));
    let mut scratch = Scratch::default();
    let client: std::net::IpAddr = ORDINARY.parse().unwrap();
    for (literal, other) in [("/off/x", "/shop"), ("/shop", "/off/x")] {
        let placed = policy.resolve_readings(&mut scratch, &get("a", literal), &[other], &client.into(), NOW);
        assert_eq!((placed.resolution.mode, placed.differ), (Mode::Block, true), "{literal}");
        let held: Vec<u32> = policy.effects(&scratch).all().iter().map(|effect| effect.0).collect();
        let ids: Vec<u64> = policy.effect_rules().map(|rule| rule.id).collect();
        assert_eq!(held.iter().map(|number| ids[*number as usize]).collect::<Vec<_>>(), [1], "{literal}");
    }
}
