//! What `explain` says of a request is what happens to it: random rules of all types, lists and requests at a node that runs.
//!
//! A case that differs is printed as the rules, what `explain` said, what happened, and a curl command.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::Seeded;
use crate::support::command::run_with_input;
use crate::support::eventually;
use crate::support::message::Message;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

/// Sets of rules, unless the environment asks for more.
const ROUNDS: usize = 8;
const REQUESTS: usize = 60;
const RULES: u64 = 24;

const LOCATIONS: &str = r#"
[[server.location]]
path = "/block"
mode = "block"
[[server.location]]
path = "/safe"
mode = "safe_blocking"
[[server.location]]
path = "/off"
mode = "off"
[[server.location]]
path = "/strict"
mode = "safe_blocking"
mode_allow_override = "strict"
[[server.location]]
path = "/own"
mode = "block"
mode_allow_override = "off"
[[server.location]]
path = "/unlisted"
disable_acl = true
# whoever asks for this is on the deny list: an event tells that all before it are written
[[server.location]]
path = "/last"
mode = "monitoring"
mode_allow_override = "off"
"#;

const LISTS: &str = r#"
[[entry]]
list = "allow"
address = "127.0.0.21"
[[entry]]
list = "deny"
address = "127.0.0.22"
[[entry]]
list = "gray"
address = "127.0.0.23"
[[entry]]
list = "deny"
address = "127.0.0.99"
"#;

const SQLI: &str = "1' UNION SELECT password FROM users--";

/// One of these.
fn one<T: Clone>(seeded: &mut Seeded, of: &[T]) -> T {
    of[seeded.next(of.len())].clone()
}

/// The status of a rate limit, by which its answers are told from those of others.
fn status_of(rule: u64) -> u64 {
    450 + rule
}

fn random_rule(seeded: &mut Seeded, id: u64) -> Value {
    let point = one(seeded, &["query.id", "query", "header.x-a", "body.f", "body", "query.*"]);
    let class = one(seeded, &["sqli", "xss", "any"]);
    let mode = one(seeded, &["off", "monitoring", "safe_blocking", "block", "default"]);
    let word = one(seeded, &["zz[0-9]", "^hel", "script", "~(e)"]);
    let is_on = seeded.next(2) == 0;
    let mut rule = match seeded.next(14) {
        0..=2 => json!({ "type": "mode", "mode": mode }),
        3 => json!({ "type": "virtual_patch", "attack_type": class, "point": point }),
        4 => {
            json!({ "type": "regex", "regex": word, "attack_type": "scanner", "experimental": is_on, "point": point })
        }
        5 => json!({ "type": "regex", "regex": word, "attack_type": "vpatch", "point": point }),
        6 => json!({ "type": "disable_attack_type", "attack_type": class, "point": point }),
        7 => json!({ "type": "disable_signature", "signature": "sqli-union-select", "point": point }),
        8 => json!({ "type": "binary_data", "point": point }),
        9 => json!({ "type": "parser_state", "parser": "base64", "enabled": is_on, "point": point }),
        10 => {
            json!({ "type": "mask", "point": one(seeded, &["query.id", "header.x-a", "body.f", "path.0"]) })
        }
        11 => {
            let action = one(seeded, &["set", "append", "delete"]);
            let values = if action == "delete" { json!([]) } else { json!([format!("v{id}")]) };
            json!({ "type": "response_header", "action": action, "name": one(seeded, &["X-R", "x-r", "X-S"]), "values": values })
        }
        12 => json!({
            "type": "rate_limit", "rate": 1 + seeded.next(3) / 2, "per": "1d", "status": status_of(id), "point": "header.x-key",
        }),
        _ => {
            let action = one(seeded, &["inherited", "monitoring", "block", "off"]);
            let mut rule = json!({ "type": "upload_size", "limit": "20B", "action": action });
            if is_on {
                rule["point"] = json!("body.f");
            }
            rule
        }
    };
    rule["id"] = json!(id);
    if let Some(uri) =
        one(seeded, &[None, None, Some("/block/**"), Some("/**/x"), Some("/safe/*"), Some("/{{^s}}/**")])
    {
        rule["uri"] = json!(uri);
    }
    if seeded.next(3) == 0 {
        let (point, is, value) = one(
            seeded,
            &[
                (json!(["method"]), "equal", "POST"),
                (json!(["header", "x-a"]), "absent", ""),
                (json!(["header", "x-client-certificate-subject"]), "regex", "me"),
                (json!(["query", "id"]), "regex", "."),
                (json!(["path", 0]), "iequal", "BLOCK"),
            ],
        );
        rule["when"] = json!([{ "point": point, "is": is, "value": value }]);
    }
    rule
}

/// A request, and the last part of the address that it comes from.
struct Case {
    client: u8,
    method: &'static str,
    target: String,
    headers: Vec<String>,
    body: String,
}

impl Case {
    fn random(seeded: &mut Seeded, number: usize) -> Self {
        let value = |seeded: &mut Seeded| match seeded.next(6) {
            0 | 1 => "hello".to_owned(),
            2 => SQLI.to_owned(),
            3 => "<script>alert(1)</script>".to_owned(),
            4 => "zz7".to_owned(),
            _ => STANDARD.encode(SQLI),
        };
        let encode = |value: String| {
            let byte = |byte: u8| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            };
            value.bytes().map(byte).collect::<String>()
        };
        let place = one(seeded, &["/block", "/safe", "/off", "/strict", "/own", "/unlisted", "/a"]);
        let mut target = format!("{place}{}", one(seeded, &["/x", "/y", "/d/x", ""]));
        if seeded.next(2) == 0 {
            target.push_str(&format!("?id={}", encode(value(seeded))));
        }
        let mut headers = Vec::new();
        if seeded.next(3) == 0 {
            headers.push(format!("X-A: {}", value(seeded)));
        }
        if seeded.next(2) == 0 {
            headers.push(format!("X-Key: key{number}"));
        }
        let (method, body) = match seeded.next(2) {
            0 => ("GET", String::new()),
            _ => ("POST", format!("f={}", encode(value(seeded)))),
        };
        if method == "POST" {
            headers.push("Content-Type: application/x-www-form-urlencoded".to_owned());
            headers.push(match seeded.next(3) {
                0 => "Transfer-Encoding: chunked".to_owned(),
                _ => format!("Content-Length: {}", body.len()),
            });
        }
        if seeded.next(8) == 0 {
            headers.push("X-Client-Certificate-Subject: CN=me".to_owned());
        }
        Self { client: one(seeded, &[1, 1, 1, 21, 22, 23, 23]), method, target, headers, body }
    }

    fn bytes(&self) -> String {
        let headers: String = self.headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!("{} {} HTTP/1.1\r\nHost: site.example\r\n{headers}\r\n", self.method, self.target);
        match headers.contains("chunked") {
            true => format!("{head}{:x}\r\n{}\r\n0\r\n\r\n", self.body.len(), self.body),
            false => format!("{head}{}", self.body),
        }
    }

    fn batch_line(&self) -> String {
        let client = format!("127.0.0.{}", self.client);
        format!("{}\n", json!({ "client": client, "raw_base64": STANDARD.encode(self.bytes()) }))
    }

    fn curl(&self) -> String {
        let headers: String = self.headers.iter().map(|header| format!(" -H {header:?}")).collect();
        let body = if self.body.is_empty() { String::new() } else { format!(" --data-raw {:?}", self.body) };
        format!(
            "curl -i --interface 127.0.0.{} -X {}{headers}{body} 'http://NODE{}'",
            self.client, self.method, self.target
        )
    }
}

/// The ids of the rules whose effect is one of these.
fn rules_that(explained: &Value, effects: &[&str]) -> BTreeSet<u64> {
    let did = explained["effects"].as_array().unwrap().iter();
    let did = did.filter(|effect| effects.iter().any(|name| effect["effect"] == *name));
    did.map(|effect| effect["rule"].as_u64().unwrap()).collect()
}

/// Fields that rules gave the answer, by name in lower case.
fn edited_fields(explained: &Value) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for effect in explained["effects"].as_array().unwrap() {
        let (name, value) = match effect["detail"].as_str().unwrap_or("").split_once(' ') {
            Some((name, value)) => (name.to_ascii_lowercase(), value.to_owned()),
            None => continue,
        };
        match effect["effect"].as_str().unwrap() {
            "sets_header" => drop(fields.insert(name, vec![value])),
            "appends_header" => fields.entry(name).or_default().push(value),
            _ => {}
        }
    }
    fields
}

/// What differs between what was said and what happened.
fn differences(explained: &Value, answer: &Message, events: &[&Value]) -> Vec<String> {
    let mut found = Vec::new();
    let mut same = |what: &str, said: Value, happened: Value| {
        if said != happened {
            found.push(format!("{what}: said {said}, happened {happened}"));
        }
    };
    let blocks = explained["verdict"] == "block";
    same("status", json!(if blocks { 403 } else { 200 }), json!(answer.status()));
    same("recorded", explained["recorded"].clone(), json!(!events.is_empty()));
    let mode_from = explained["mode_from"].as_str().unwrap();
    let (source, rule) = mode_from.split_once(' ').unwrap_or((mode_from, ""));
    let mode_rule = rule.parse::<u64>().ok();
    for event in events {
        for field in ["server", "application", "mode", "list", "reason"] {
            same(field, explained[field].clone(), event[field].clone());
        }
        same("mode_source", json!(source), event["mode_source"].clone());
        same("mode_rule_id", json!(mode_rule), event["mode_rule_id"].clone());
        same("action", json!(if blocks { "blocked" } else { "monitored" }), event["action"].clone());
        same("client", explained["client"].clone(), event["client_ip"].clone());
        let evidence =
            explained["findings"].as_array().unwrap().iter().chain(explained["effects"].as_array().unwrap());
        let shows = |one: &&Value| {
            ["point", "payload"].iter().all(|key| one[*key] == event[*key])
                && (one["class"] == event["attack_class"]
                    || (event["attack_class"] == "vpatch"
                        && one["effect"] == "blocks"
                        && one["rule"] == event["rule_id"]))
        };
        let is_told =
            event["attack_class"] != "blocked_source" && event["attack_class"] != "file_upload_violation";
        if is_told && evidence.clone().find(shows).is_none() {
            same("evidence", explained["findings"].clone(), (*event).clone());
        }
    }
    let told = rules_that(explained, &["blocks", "finds", "watches", "records", "is_judged_by_the_mode"]);
    let of_events = events.iter().flat_map(|event| event["rules"].as_array().unwrap());
    let of_events: BTreeSet<u64> = of_events.map(|rule| rule.as_u64().unwrap()).collect();
    same("rules", json!(told), json!(of_events));
    if answer.status() == 200 {
        let got = |name: &str| -> Vec<String> {
            let fields = answer.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
            fields.map(|(_, value)| value.clone()).collect()
        };
        let edited = edited_fields(explained);
        for name in ["x-r", "x-s"] {
            same(name, json!(edited.get(name).cloned().unwrap_or_default()), json!(got(name)));
        }
    }
    found
}

/// Sends a request, and once more where a rate limit counts it: the second one is refused by just that rule.
fn send(node: &Node, case: &Case, explained: &Value) -> (Message, Option<String>) {
    let answer = node.connect_from(case.client).ask(case.bytes());
    let counting = rules_that(explained, &["counts"]);
    let Some(rule) = counting.first() else { return (answer, None) };
    // a rate of one or two a day
    let again = || u64::from(node.connect_from(case.client).ask(case.bytes()).status());
    again();
    let (refused, said) = (again(), status_of(*rule));
    let wrong = (refused != said).then(|| format!("rate: said rule {rule} counts, happened {refused}"));
    (answer, wrong)
}

/// Waits until all events so far are written, and gives them by request.
fn all_events(node: &Node) -> BTreeMap<String, Vec<Value>> {
    let last = node.connect_from(99).ask("GET /last HTTP/1.1\r\nHost: site.example\r\n\r\n");
    let id = last.field("x-request-id").unwrap().to_owned();
    let events = eventually("the last event", || {
        Some(node.events()).filter(|events| events.iter().any(|event| event["request_id"] == *id))
    });
    let mut by_request: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in events {
        by_request.entry(event["request_id"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    by_request
}

#[test]
fn what_is_explained_of_random_rules_is_what_happens() {
    let origin = Origin::echoing_targets();
    let node =
        Setup::new(origin.address).detection("time_limit = \"1m\"").server(LOCATIONS).lists(LISTS).start();
    let mut seeded = Seeded(20);
    let rounds = std::env::var("WEIR_EXPLAINED_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (mut blocked, mut recorded, mut rated) = (0, 0, 0);
    for round in 0..rounds {
        let rules: Vec<Value> = (1..=RULES).map(|id| random_rule(&mut seeded, id)).collect();
        let general = one(&mut seeded, &["default", "monitoring", "block", "off"]);
        let set = json!({ "general_mode": general, "rules": rules });
        let (status, answer) = node.api("PUT", "/v1/rules", &set.to_string());
        assert_eq!(status, 200, "{answer:#}\n{set:#}");
        let cases: Vec<Case> =
            (0..REQUESTS).map(|number| Case::random(&mut seeded, round * REQUESTS + number)).collect();
        let batch: String = cases.iter().map(Case::batch_line).collect();
        let done = run_with_input("explain", &node.setup.config_path(), &["--batch", "-"], batch.as_bytes());
        let explained = done.json_lines();
        assert_eq!(explained.len(), cases.len(), "{}", done.stderr);
        let answers: Vec<_> =
            cases.iter().zip(&explained).map(|(case, explained)| send(&node, case, explained)).collect();
        let events = all_events(&node);
        for ((case, explained), (answer, wrong_rate)) in cases.iter().zip(&explained).zip(answers) {
            let id = answer.field("x-request-id").unwrap_or_default();
            let own: Vec<&Value> = events.get(id).into_iter().flatten().collect();
            let mut found = differences(explained, &answer, &own);
            rated += usize::from(!rules_that(explained, &["counts"]).is_empty());
            found.extend(wrong_rate);
            assert!(
                found.is_empty(),
                "{found:#?}\n{LOCATIONS}\n{LISTS}\n{set:#}\n{}\nsaid {explained:#}\nhappened {own:#?}",
                case.curl()
            );
            blocked += usize::from(explained["verdict"] == "block");
            recorded += usize::from(explained["recorded"] == true);
        }
    }
    assert!(blocked > 50 && recorded > 50 && rated > 20, "{blocked} {recorded} {rated}");
}
