//! Rules over the admin API: what was answered is in force, and says where it comes from.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

const ATTACK: &str = "?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

/// Two rules of the file, in front of an origin that answers everything.
fn node(workers: usize) -> (Origin, Node) {
    let origin = Origin::echoing_targets();
    let rules = r#"
general_mode = "monitoring"
[[rule]]
id = 1
type = "mode"
mode = "block"
uri = "/file/**"
[[rule]]
id = 7
type = "mode"
mode = "off"
uri = "/off/**"
"#;
    let node = Setup::new(origin.address).workers(workers).rules(rules).start();
    (origin, node)
}

/// What an attack below a path gets.
#[track_caller]
fn attack(node: &Node, path: &str) -> u16 {
    node.get(&format!("{path}{ATTACK}")).status()
}

#[track_caller]
fn rule(node: &Node, id: u64) -> Value {
    let (status, rules) = node.api("GET", "/v1/rules", "");
    assert_eq!(status, 200, "{rules}");
    let found = rules["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == id).cloned();
    found.unwrap_or(Value::Null)
}

fn blocking(uri: &str) -> String {
    json!({ "type": "mode", "mode": "block", "uri": uri }).to_string()
}

#[test]
fn a_rule_is_in_force_when_it_is_answered() {
    let (_origin, node) = node(2);
    assert_eq!(attack(&node, "/api/x"), 200);
    let (status, answer) = node.api("POST", "/v1/rules", &blocking("/api/**"));
    assert_eq!(
        (status, &answer["id"], &answer["rule"]["source"]),
        (201, &json!(8), &json!("api")),
        "{answer}"
    );
    for _ in 0..20 {
        assert_eq!(attack(&node, "/api/x"), 403, "on every worker");
    }
    let (status, answer) = node.api("PUT", "/v1/rules/8", &blocking("/other/**"));
    assert_eq!((status, &answer["id"]), (200, &json!(8)), "{answer}");
    assert_eq!((attack(&node, "/api/x"), attack(&node, "/other/x")), (200, 403));
    assert_eq!(node.api("DELETE", "/v1/rules/8", "").0, 200);
    assert_eq!(attack(&node, "/other/x"), 200);
    assert_eq!(node.api("DELETE", "/v1/rules/8", "").0, 404);
    assert_eq!(node.api("GET", "/v1/rules/8", "").0, 404);
}

#[test]
fn connections_and_running_requests_are_not_touched() {
    let (_origin, node) = node(1);
    let mut client = node.connect();
    assert_eq!(client.get("/api/x").status(), 200);
    for id in 20..30 {
        let (status, answer) = node.api("PUT", &format!("/v1/rules/{id}"), &blocking("/api/**"));
        assert_eq!(status, 201, "{answer}");
        assert_eq!(client.get("/api/x").status(), 200, "the connection is the same");
    }
    assert_eq!(client.get(&format!("/api/x{ATTACK}")).status(), 403);
}

/// Begins an upload below `/api`, and waits until its head was judged.
fn begun_upload(node: &Node, body: &str) -> Client {
    let mut client = node.connect();
    let length = body.len();
    client.send(format!(
        "POST /api/x HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(client.head().status(), 100);
    client
}

/// With 10,000 rules in the store, what a change is answered with holds on each worker for requests that begin after it, and
/// for none that began before.
#[test]
fn a_change_reaches_every_worker_and_no_running_request() {
    const WORKERS: usize = 4;
    let (_origin, node) = node(WORKERS);
    let changed = |method: &str, path: &str, body: &str| {
        match node.api(method, path, body) {
            (200 | 201, _) => {}
            // A worker was busy for long: it is still to come.
            (202, _) => node.await_metric("weir_workers", &[("state", "ready")], WORKERS as u64),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            node.api("GET", "/status", "").1["workers_ready"],
            WORKERS,
            "each serves the new generation"
        );
    };
    let mut rules: Vec<Value> = (1000..11_000)
        .map(|id| json!({ "id": id, "type": "mode", "mode": "off", "uri": format!("/bulk{id}/**") }))
        .collect();
    rules.push(json!({ "id": 5, "type": "mode", "mode": "block", "uri": "/api/**" }));
    changed("PUT", "/v1/rules", &json!({ "rules": rules }).to_string());

    let attack = ATTACK.trim_start_matches('?');
    let mut clients: Vec<Client> = (0..8 * WORKERS).map(|_| node.connect()).collect();
    for (mode, before, after) in [("off", 403, 200), ("block", 200, 403)] {
        let mut running = begun_upload(&node, attack);
        for client in &mut clients {
            assert_eq!(client.get(&format!("/api/x{ATTACK}")).status(), before, "before {mode}");
        }
        let rule = json!({ "type": "mode", "mode": mode, "uri": "/api/**" });
        changed("PUT", "/v1/rules/5", &rule.to_string());
        for client in &mut clients {
            assert_eq!(client.get(&format!("/api/x{ATTACK}")).status(), after, "{mode}");
        }
        assert_eq!(running.ask(attack).status(), before, "it began before {mode}");
    }
}

#[test]
fn the_layer_hides_and_replaces_what_the_file_says() {
    let (_origin, node) = node(1);
    assert_eq!((attack(&node, "/file/x"), attack(&node, "/off/x")), (403, 200));
    assert_eq!(rule(&node, 1)["source"], "file");
    assert!(rule(&node, 1)["place"].as_str().unwrap().contains("rules.toml:3:"));

    assert_eq!(node.api("DELETE", "/v1/rules/1", "").0, 200);
    assert_eq!(attack(&node, "/file/x"), 200);
    assert_eq!(node.api("GET", "/v1/rules", "").1["removed"], json!([1]));
    assert_eq!(node.api("POST", "/v1/reload", "").0, 200);
    assert_eq!(attack(&node, "/file/x"), 200, "a reload keeps the layer");

    assert_eq!(node.api("PUT", "/v1/rules/7", &blocking("/off/**")).0, 200);
    assert_eq!(attack(&node, "/off/x"), 403);
    assert_eq!(rule(&node, 7)["source"], "api");

    assert_eq!(node.api("DELETE", "/v1/rules/7?only=api", "").0, 200);
    assert_eq!((attack(&node, "/off/x"), rule(&node, 7)["source"].as_str()), (200, Some("file")));
    let (status, answer) = node.api("DELETE", "/v1/rules?only=api", "");
    assert_eq!((status, &answer["deleted"]), (200, &json!(1)));
    assert_eq!(attack(&node, "/file/x"), 403);
    assert_eq!(node.api("DELETE", "/v1/rules/7?only=api", "").0, 404);
    assert_eq!(node.api("DELETE", "/v1/rules", "").0, 400, "not by accident");
}

#[test]
fn a_set_of_rules_is_replaced_as_a_whole() {
    let (_origin, node) = node(1);
    let set = json!({ "general_mode": "block", "rules": [
        { "id": 7, "type": "mode", "mode": "off", "uri": "/off/**" },
        { "id": 30, "type": "mode", "mode": "off", "when": [{ "point": ["path", 0], "is": "equal", "value": "api" }] },
    ]});
    let (status, answer) = node.api("PUT", "/v1/rules", &set.to_string());
    assert_eq!((status, &answer["rule_count"]), (200, &json!(2)), "{answer}");
    assert_eq!((attack(&node, "/x"), attack(&node, "/api/x"), attack(&node, "/off/x")), (403, 200, 200));
    assert_eq!(
        (rule(&node, 7)["source"].as_str(), rule(&node, 30)["source"].as_str()),
        (Some("file"), Some("api"))
    );
    assert_eq!(rule(&node, 1), Value::Null);

    // What was got may be sent back, and changes nothing.
    let got = node.admin_get("/v1/rules");
    let (status, answer) = node.api("PUT", "/v1/rules", &got.text());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(node.admin_get("/v1/rules").field("etag"), got.field("etag"));

    assert_eq!(node.api("PATCH", "/v1/rules", r#"{"general_mode": null}"#).0, 200);
    assert_eq!(attack(&node, "/x"), 200);
    assert_eq!(node.api("GET", "/v1/rules", "").1["general_mode_source"], "file");
}

#[test]
fn wrong_rules_are_refused_whole_and_the_field_is_named() {
    let (_origin, node) = node(1);
    let before = node.admin_get("/v1/rules").text();
    for (body, field, message) in [
        (json!({ "rules": [{ "id": 2, "type": "mode", "mode": "blck" }] }), "rules[0].mode", "blck"),
        (
            json!({ "rules": [{ "id": 2, "type": "mode", "mode": "off" }, { "id": 3, "type": "mode", "mode": "off",
                "when": [{ "point": ["path", 0], "is": "equals", "value": "a" }] }] }),
            "rules[1].when[0].is",
            "equals",
        ),
        (
            json!({ "rules": [{ "id": 2, "type": "mode", "mode": "off", "hosts": 1 }] }),
            "rules[0].hosts",
            "unknown",
        ),
        (json!({ "rules": [{ "id": 2, "type": "mode" }] }), "rules[0].mode", "no \"mode\""),
        (json!({ "rules": [{ "type": "mode", "mode": "off" }] }), "rules[0].id", "no \"id\""),
        (json!({ "rules": [{ "id": 2, "type": "mod", "mode": "off" }] }), "rules[0].type", "mod"),
        (
            json!({ "rules": [{ "id": 2, "type": "mode", "mode": "off" }, { "id": 2, "type": "mode", "mode": "off" }] }),
            "rules[1].id",
            "second",
        ),
        (json!({ "rules": [{ "id": 2, "type": "mode", "mode": "off", "uri": "a b" }] }), "rules[0].uri", ""),
        (json!({ "general_mode": "x", "rules": [] }), "general_mode", "\"x\""),
        (json!({ "rule": [] }), "rule", "unknown key"),
        (json!({ "general_mode": "block" }), "rules", "no \"rules\""),
        (json!({ "rules": {} }), "rules", "list of objects"),
        (json!({ "rules": [7] }), "rules", "found 7"),
        (json!([]), "", "object"),
    ] {
        let (status, answer) = node.api("PUT", "/v1/rules", &body.to_string());
        assert_eq!((status, answer["code"].as_str()), (400, Some("invalid")), "{body}: {answer}");
        let errors = answer["errors"].as_array().unwrap();
        let found = errors.iter().find(|error| error["field"] == field);
        let found = found.unwrap_or_else(|| panic!("{body}: no error of {field}: {answer}"));
        assert!(found["message"].as_str().unwrap().contains(message), "{body}: {answer}");
    }
    for body in ["", "{", "{\"rules\": []} x", "\u{0}", "{\"rules\": [], \"rules\": []}", "null", "\"x\""] {
        assert_eq!(node.api("PUT", "/v1/rules", body).0, 400, "{body:?}");
    }
    assert_eq!(
        node.api("PUT", "/v1/rules/7", &json!({ "id": 8, "type": "mode", "mode": "off" }).to_string()).0,
        400
    );
    assert_eq!(node.api("PUT", "/v1/rules/0", &blocking("/a/**")).0, 404);
    assert_eq!(node.api("PUT", "/v1/rules/x", &blocking("/a/**")).0, 404);
    let (status, answer) = node.api("PUT", "/v1/rules/99999999999999999999", &blocking("/a/**"));
    assert_eq!((status, &answer["errors"][0]["field"]), (404, &json!("id")), "{answer}");
    let (status, answer) =
        node.api("POST", "/v1/rules", r#"{"id":99999999999999999999,"type":"mode","mode":"off"}"#);
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("id")), "{answer}");
    assert_eq!(answer["errors"][0]["advice"], "for example \"id\": 1");
    for (body, field) in
        [("{}", "url"), (r#"{"url":"/","client":"x"}"#, "client"), (r#"{"url":"/","x":1}"#, "x")]
    {
        let (status, answer) = node.api("POST", "/v1/explain", body);
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!(field)), "{answer}");
    }
    let taken = json!({ "id": 7, "type": "mode", "mode": "off" }).to_string();
    assert_eq!(node.api("POST", "/v1/rules", &taken).0, 409);
    assert_eq!(node.admin_get("/v1/rules").text(), before, "nothing has changed");
    assert_eq!(
        std::fs::read_dir(node.setup.folder.path().join("state")).unwrap().count(),
        1,
        "nor on the disk"
    );
}

#[test]
fn a_change_for_another_version_is_refused() {
    let (_origin, node) = node(1);
    let tag = node.admin_get("/v1/rules").field("etag").unwrap().to_owned();
    let put = |tag: &str, uri: &str| {
        node.admin_call("PUT", "/v1/rules/50", &[&format!("If-Match: {tag}")], &blocking(uri))
    };
    let first = put(&tag, "/a/**");
    assert_eq!(first.status(), 201, "{}", first.text());
    let stale = put(&tag, "/b/**");
    assert_eq!(stale.status(), 412, "{}", stale.text());
    assert_eq!(put(first.field("etag").unwrap(), "/c/**").status(), 200);
    assert_eq!(put("*", "/d/**").status(), 200);
    assert_eq!(rule(&node, 50)["uri"], "/d/**");
}

#[test]
fn a_file_that_contradicts_the_layer_is_refused() {
    let (_origin, node) = node(1);
    let file = std::fs::read_to_string(node.setup.folder.path().join("rules.toml")).unwrap();
    assert_eq!(node.api("PUT", "/v1/rules/7", &blocking("/off/**")).0, 200);
    assert_eq!(node.api("PUT", "/v1/rules/9", &blocking("/new/**")).0, 201);
    let refused = |text: &str, expected: &str| {
        node.setup.write("rules.toml", text);
        let (status, answer) = node.api("POST", "/v1/reload", "");
        assert_eq!(status, 422, "{answer}");
        assert!(answer.to_string().contains(expected), "{answer}");
        assert_eq!(attack(&node, "/off/x"), 403, "the old set stays in force");
    };
    refused(&file.replace("/off/**", "/elsewhere/**"), "rule 7 was changed here");
    refused(&file.replace("id = 1\n", "id = 9\n"), "made another rule 9");
    // Writing into the file what the API says settles it: the rule is the file's then.
    let same = file.replace("mode = \"off\"\nuri = \"/off/**\"", "mode = \"block\"\nuri = \"/off/**\"");
    node.setup.write("rules.toml", &same);
    assert_eq!(node.api("POST", "/v1/reload", "").0, 200);
    assert_eq!(rule(&node, 7)["source"], "file");
    // A rule that the file no longer has is the API's alone.
    assert_eq!(node.api("DELETE", "/v1/rules/1", "").0, 200);
    node.setup.write("rules.toml", "");
    assert_eq!(node.api("POST", "/v1/reload", "").0, 200);
    let (_, rules) = node.api("GET", "/v1/rules", "");
    assert_eq!(rules["rules"].as_array().unwrap().len(), 1, "{rules}");
    assert_eq!(rules["removed"], json!([]));
}

#[test]
fn a_rule_with_the_highest_id_leaves_the_others() {
    let (_origin, node) = node(1);
    let with_id = |id: i64| json!({ "id": id, "type": "mode", "mode": "block", "uri": "/a/**" }).to_string();
    assert_eq!(node.api("POST", "/v1/rules", &with_id(i64::MAX)).0, 201);
    let (status, answer) = node.api("POST", "/v1/rules", &blocking("/b/**"));
    assert_eq!((status, answer["code"].as_str()), (409, Some("conflict")), "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("send the rule with an id"), "{answer}");
    assert_eq!(node.api("POST", "/v1/rules", &with_id(50)).0, 201, "as it was told to");
    assert_eq!(node.api("POST", "/v1/rules", &with_id(50)).0, 409);
}

#[test]
fn the_outside_of_requests_is_judged_too() {
    let (_origin, node) = node(1);
    let allow = |answer: crate::support::message::Message| answer.field("allow").unwrap().to_owned();
    let answer = node.admin_request("POST", "/v1/rules/7", "{}");
    assert_eq!(answer.status(), 405);
    assert!(allow(answer).contains("PUT"));
    assert_eq!(node.admin_request("OPTIONS", "/v1/ip-lists", "").status(), 405);
    for (field, status) in [
        ("Content-Type: text/plain", 415),
        ("Content-Type: application/toml", 415),
        ("Content-Encoding: gzip", 415),
        ("Content-Type: application/json; charset=utf-8", 201),
        ("Content-Type: application/x-www-form-urlencoded", 201),
        ("X-Nothing: 1", 201),
    ] {
        let answer = node.admin_call("POST", "/v1/rules", &[field], &blocking("/a/**"));
        assert_eq!(answer.status(), status, "{field}: {}", answer.text());
    }
    assert_eq!(node.admin_get("/v1/rules?limit=1").status(), 400);
    assert_eq!(node.admin_request("DELETE", "/v1/rules/7?only=me", "").status(), 400);
    let url = node.admin_url("/v1/rules");
    let arguments =
        ["-s", "--max-time", "120", "-X", "PUT", "-H", "Content-Length: 99999999999", "--noproxy", "*"];
    let too_large = Command::new("curl").args(arguments).arg(url).output().unwrap();
    let answer: Value = serde_json::from_slice(&too_large.stdout).unwrap();
    assert_eq!(answer["code"], "body_too_large", "{answer}");
}

/// The elements of `rules` that an explanation has for a path below the node's host: id, `source`, `place` from the file's name on.
fn told(node: &Node, path: &str) -> Vec<(Value, Value, String)> {
    let (status, explained) = node.api("POST", "/v1/explain", &json!({ "url": path }).to_string());
    assert_eq!(status, 200, "{explained}");
    let rules = explained["rules"].as_array().unwrap().iter();
    let place = |rule: &Value| rule["place"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    rules.map(|rule| (rule["id"].clone(), rule["source"].clone(), place(rule))).collect()
}

#[test]
fn explain_tells_where_each_rule_and_the_general_mode_come_from() {
    let (_origin, node) = node(1);
    let (file, api) = (json!("file"), json!("api"));
    let general = |source: &Value, place: &str| (Value::Null, source.clone(), place.to_owned());
    let of_file = (json!(1), file.clone(), "rules.toml:3:1".to_owned());
    assert_eq!(told(&node, "/file/x"), [of_file.clone(), general(&file, "rules.toml:2:16")]);
    assert_eq!(node.api("POST", "/v1/rules", &blocking("/file/x")).0, 201);
    let of_api = |line| (json!(8), api.clone(), format!("rules.json:{line}:9"));
    assert_eq!(told(&node, "/file/x"), [of_api(2), of_file.clone(), general(&file, "rules.toml:2:16")]);
    for mode in ["block", "default"] {
        assert_eq!(node.api("PATCH", "/v1/rules", &json!({ "general_mode": mode }).to_string()).0, 200);
        let expected = [of_api(3), of_file.clone(), general(&api, "rules.json:2:1")];
        assert_eq!(told(&node, "/file/x"), expected);
    }
}

#[test]
fn what_is_odd_about_the_rules_in_force_can_be_asked_for() {
    let (_origin, node) = node(1);
    let warnings = || serde_json::from_str::<Value>(&node.admin_get("/v1/rules").text()).unwrap();
    assert_eq!(warnings()["warning_count"], 0);
    let absent = json!({ "type": "mode", "mode": "off",
        "when": [{ "point": ["query", "a"], "is": "absent", "value": "x" }] });
    let (status, answer) = node.api("POST", "/v1/rules", &absent.to_string());
    let told = answer["warnings"][0].as_str().unwrap_or_default();
    assert!(status == 201 && told.contains("when[0].value has no effect"), "{answer}");
    // another change doesn't tell it again, but it is still there
    let (status, answer) = node.api("POST", "/v1/rules", &blocking("/z/**"));
    assert_eq!((status, &answer["warnings"]), (201, &json!([])), "{answer}");
    let now = warnings();
    assert_eq!((&now["warning_count"], now["warnings"].as_array().unwrap().len()), (&json!(1), 1), "{now}");
    // and what was got may be sent back
    assert_eq!(node.api("PUT", "/v1/rules", &now.to_string()).0, 200);
}

#[test]
fn all_that_is_wrong_with_a_set_of_rules_is_told_in_one_round() {
    let (_origin, node) = node(1);
    let sent = json!({ "rules": [
        { "id": 1, "type": "mode", "mode": "blok", "uri": "/a*b", "url": "/" },
        { "id": 2, "type": "regex", "regex": "(a", "attack_type": "xss", "point": ["query", "a"] },
        { "id": 3, "type": "mode", "mode": "off", "when": [
            { "point": ["path", 0], "is": "equal", "value": "x" },
            { "point": ["path", 1], "is": "regex", "value": "a(?=b)" }] },
        5,
        { "id": 6, "type": "rate_limit", "rate": 1, "burst": 1, "delay": 2 },
    ] });
    let (status, answer) = node.api("PUT", "/v1/rules", &sent.to_string());
    assert_eq!((status, &answer["code"]), (400, &json!("invalid")), "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    let told = |field: &str, words: &str| {
        let found = errors.iter().find(|error| error["field"] == field);
        let found = found.unwrap_or_else(|| panic!("{field}: {answer:#}"));
        assert!(found.to_string().contains(words), "{field}: {found}");
        assert!(found["line"].is_u64() && found["column"].is_u64(), "{found}");
    };
    told("rules[0].mode", "did you mean");
    told("rules[0].url", "unknown key");
    told("rules[1].regex", "`(` without its `)`");
    told("rules[2].when[1].value", "looks around");
    told("rules", "allowed is a list of objects");
    told("rules[4].delay", "at most as many as burst");
    // errors at their keys, and a reference that leads nowhere, also where something else is wrong
    let ignore = |rule: u64| format!(r#"{{"id":7,"type":"ignore_regex","rule":{rule},"point":"query.q"}}"#);
    for (sent, expected) in [
        (format!(r#"[{}]"#, ignore(99)), vec![("rules[0].rule", 49)]),
        (
            format!(r#"[{}, {{"id":8,"type":"mode"}}]"#, ignore(99)),
            vec![("rules[0].rule", 49), ("rules[1].mode", 72)],
        ),
        // it may be this one that is meant
        (
            format!(r#"[{}, {{"id":8,"type":"regex"}}]"#, ignore(8)),
            vec![("rules[1].regex", 71), ("rules[1].attack_type", 71), ("rules[1].point", 71)],
        ),
        (r#"[{"id":1,"type":"mask","type":"mode"}]"#.to_owned(), vec![("rules[0].type", 34)]),
        (r#"[{"id":1,"type":"mask","point":["remote_addr"]}]"#.to_owned(), vec![("rules[0].point", 42)]),
        (r#"[{"id":1,"type":"mode","mode":"off","uri":"a b"}]"#.to_owned(), vec![("rules[0].uri", 53)]),
    ] {
        let (status, answer) = node.api("PUT", "/v1/rules", &format!(r#"{{"rules": {sent}}}"#));
        let errors = answer["errors"].as_array().unwrap();
        let found: Vec<(&str, u64)> = errors
            .iter()
            .map(|error| (error["field"].as_str().unwrap(), error["column"].as_u64().unwrap_or(0)))
            .collect();
        assert_eq!((status, found), (400, expected), "{sent}: {answer:#}");
    }
    // what is read right is judged by the compiler alone, with all else that is in force
    let sent = json!({ "type": "ignore_regex", "rule": 99, "point": ["query"] });
    let (status, answer) = node.api("POST", "/v1/rules", &sent.to_string());
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("rule")), "{answer}");
    for (text, told) in [("", "it is empty"), ("[]", "an object with the keys general_mode, rules")] {
        let (status, answer) = node.api("PUT", "/v1/rules", text);
        assert!(status == 400 && answer["error"].as_str().unwrap().contains(told), "{text}: {answer}");
    }
    let sent = json!({ "entries": [
        { "list": "deny", "address": "192.0.2.1", "reason": "a\u{1b}b" },
        { "list": "deny", "address": "192.0.2.1:80" },
        { "list": "deny", "address": "192.0.2.1-192.0.2.9" },
    ] });
    let (status, answer) = node.api("POST", "/v1/ip-lists", &sent.to_string());
    assert_eq!((status, answer["errors"].as_array().unwrap().len()), (400, 3), "{answer}");
    let sent = json!({ "entries": [
        { "list": "deny", "address": "192.0.2.1" },
        { "list": "deny", "country": "NL" },
    ] });
    let (status, answer) = node.api("POST", "/v1/ip-lists", &sent.to_string());
    let errors = &answer["errors"];
    assert_eq!((status, &errors[0]["field"]), (400, &json!("entries[1].country")), "{answer}");
}
