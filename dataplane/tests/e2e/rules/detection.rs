//! Virtual patches, detectors, and signs that don't count.

use serde_json::Value;

use super::rule;
use crate::support::client::{chunked_post, post};
use crate::support::message::Message;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

const SQLI: &str = "1%27%20UNION%20SELECT%20password%20FROM%20users--";
const JSON_SQLI: &str = r#"{"id":"1' UNION SELECT password FROM users--"}"#;

fn json_post(body: &str) -> String {
    format!(
        "POST /api HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The events of a request, of which there is at least one.
fn events_of(node: &Node, answer: &Message) -> Vec<Value> {
    node.await_event_of(answer);
    let id = answer.field("x-request-id").unwrap().to_owned();
    node.events().into_iter().filter(|event| event["request_id"] == id).collect()
}

fn of_class<'a>(events: &'a [Value], class: &str) -> &'a Value {
    let found = events.iter().find(|event| event["attack_class"] == class);
    found.unwrap_or_else(|| panic!("no event of {class}: {events:#?}"))
}

#[test]
fn patches_block_in_every_mode_but_off() {
    let rules = rule(7, "type = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = [\"query\", \"id\"]");
    for (mode, status) in [("off", 200), ("monitoring", 403), ("safe_blocking", 403), ("block", 403)] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).rules(&rules).start();
        let answer = node.get(&format!("/?id={SQLI}"));
        assert_eq!(answer.status(), status, "{mode}");
        if mode == "off" {
            continue;
        }
        assert_eq!(origin.connections(), 0, "{mode}: nothing reached the origin");
        let events = events_of(&node, &answer);
        for class in ["sqli", "vpatch"] {
            let event = of_class(&events, class);
            assert_eq!((&event["reason"], &event["action"]), (&"virtual_patch".into(), &"blocked".into()));
            assert_eq!((&event["rule_id"], &event["status"]), (&7.into(), &403.into()), "{class}");
        }
        assert_eq!(of_class(&events, "vpatch")["point"], "query.id");
        node.await_metric("weir_blocked_total", &[("reason", "virtual_patch")], 1);
        node.await_metric("weir_attacks_total", &[("class", "vpatch"), ("action", "blocked")], 1);
        // The same sign elsewhere is the mode's business.
        let elsewhere = if mode == "block" { 403 } else { 200 };
        assert_eq!(node.get(&format!("/?other={SQLI}")).status(), elsewhere, "{mode}");
        assert_eq!(node.get("/?id=1").status(), 200, "{mode}");
    }
}

#[test]
fn allowlisted_clients_are_not_patched() {
    let rules = rule(1, "type = \"virtual_patch\"\nattack_type = \"any\"\npoint = [\"query\", \"debug\"]");
    let origin = Origin::echoing_targets();
    let lists = "[[entry]]\nlist = \"allow\"\naddress = \"127.0.0.10\"\n";
    let node = Setup::new(origin.address).rules(&rules).lists(lists).start();
    assert_eq!(node.connect_from(10).get("/?debug=1").status(), 200);
    assert_eq!(node.connect_from(11).get("/?debug=1").status(), 403);
}

#[test]
fn any_is_the_presence_of_the_point() {
    let rules = [
        rule(1, "type = \"virtual_patch\"\nattack_type = \"any\"\npoint = [[\"header\", \"X-DEBUG\"]]"),
        rule(2, "type = \"virtual_patch\"\nattack_type = \"any\"\npoint = \"body.json.admin\""),
    ]
    .concat();
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules(&rules).start();
    let mut client = node.connect();
    let with_field = "GET / HTTP/1.1\r\nHost: a.example\r\nx-debug:\r\n\r\n";
    assert_eq!(client.ask(with_field).status(), 403, "an empty field is one");
    assert_eq!(client.ask(json_post(r#"{"admin":false}"#)).status(), 403, "whatever its value is");
    assert_eq!(client.ask(json_post(r#"{"user":"admin"}"#)).status(), 200);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_request_whose_body_is_patched_waits_for_its_verdict() {
    let rules = rule(3, "type = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = \"body.json.id\"");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").rules(&rules).start();
    // In pieces, the hostile one last.
    let mut client = node.connect();
    let (first, last) = JSON_SQLI.split_at(20);
    client.send(chunked_post("/").replace("\r\n\r\n", "\r\nContent-Type: application/json\r\n\r\n"));
    client.send(format!("{:x}\r\n{first}\r\n", first.len()));
    assert_eq!(origin.connections(), 0, "held");
    client.send(format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()));
    assert_eq!(client.answer().status(), 403);
    assert_eq!(origin.connections(), 0, "and never forwarded");
    assert_eq!(node.connect().ask(json_post(r#"{"id":"1"}"#)).status(), 200);
    assert_eq!(origin.request().body, br#"{"id":"1"}"#);
}

#[test]
fn a_patched_head_is_looked_at_before_a_body_streams() {
    let rules = rule(3, "type = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = \"query.id\"");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").rules(&rules).start();
    let answer = node.connect().ask(post(&format!("/?id={SQLI}"), b"a=b"));
    assert_eq!((answer.status(), origin.connections()), (403, 0));
    // A clean one streams, and what is in its body is recorded once.
    let answer = node.connect().ask(post("/?id=1", b"q=<script>alert(1)</script>"));
    assert_eq!(answer.status(), 200);
    let events = events_of(&node, &answer);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["action"], "monitored");
}

#[test]
fn detectors_find_patch_or_only_watch() {
    let rules = [
        rule(1, "type = \"regex\"\nregex = \"^badbot/[0-9]\"\nattack_type = \"scanner\"\npoint = \"header.user-agent\""),
        rule(2, "type = \"regex\"\nregex = \"^/old[.]cgi$\"\nattack_type = \"vpatch\"\npoint = [\"path\"]"),
        rule(
            3,
            "type = \"regex\"\nregex = \"test[0-9]\"\nattack_type = \"rce\"\nexperimental = true\npoint = \"query.*\"",
        ),
    ]
    .concat();
    let by_bot = "GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: badbot/1\r\n\r\n";
    for (mode, bot_status) in [("monitoring", 200), ("block", 403)] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).rules(&rules).start();
        let answer = node.connect().ask(by_bot);
        assert_eq!(answer.status(), bot_status, "{mode}");
        let event = node.await_event_of(&answer);
        assert_eq!(
            (&event["attack_class"], &event["point"]),
            (&"scanner".into(), &"header.user-agent".into())
        );
        assert_eq!((&event["rule_id"], &event["reason"]), (&1.into(), &"attack".into()));
        assert_eq!(event["signatures"], serde_json::json!(["rule-1"]));

        let answer = node.get("/old.cgi");
        assert_eq!(answer.status(), 403, "{mode}");
        let event = node.await_event_of(&answer);
        assert_eq!((&event["attack_class"], &event["reason"]), (&"vpatch".into(), &"virtual_patch".into()));

        let answer = node.get("/?q=test7");
        assert_eq!(answer.status(), 200, "{mode}: never blocks");
        let event = node.await_event_of(&answer);
        assert_eq!((&event["experimental"], &event["attack_class"]), (&true.into(), &"rce".into()));
        assert_eq!((&event["reason"], &event["action"]), (&"none".into(), &"monitored".into()));
        assert_eq!(node.get("/?q=test").status(), 200);
    }
}

#[test]
fn a_detector_is_ignored_where_a_rule_says_so() {
    let rules = [
        rule(1, "type = \"regex\"\nregex = \"secret\"\nattack_type = \"scanner\"\npoint = \"query.*\""),
        rule(2, "type = \"ignore_regex\"\nrule = 1\npoint = \"query.note\"\nuri = \"/notes/**\""),
    ]
    .concat();
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").rules(&rules).start();
    assert_eq!(node.get("/notes/1?note=secret").status(), 200);
    assert_eq!(node.get("/notes/1?other=secret").status(), 403);
    assert_eq!(node.get("/other?note=secret").status(), 403);
}

#[test]
fn signs_do_not_count_where_rules_say_so() {
    let rules = [
        rule(1, "type = \"disable_attack_type\"\nattack_type = \"sqli\"\npoint = \"query.sql\""),
        rule(2, "type = \"disable_attack_type\"\nattack_type = \"any\"\npoint = \"query.any\""),
        rule(3, "type = \"binary_data\"\npoint = \"query.bin\""),
        rule(4, "type = \"parser_state\"\nparser = \"base64\"\nenabled = false\npoint = \"query.plain\""),
    ]
    .concat();
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").rules(&rules).start();
    let xss = "%3Cscript%3Ealert(1)%3C/script%3E";
    let encoded = "MScgdW5pb24gc2VsZWN0IHBhc3N3b3JkIGZyb20gdXNlcnMtLSA%3D";
    for (target, status) in [
        (format!("/?sql={SQLI}"), 200),
        (format!("/?sql={xss}"), 403),
        (format!("/?any={SQLI}{xss}"), 200),
        (format!("/?other={SQLI}"), 403),
        (format!("/?bin={SQLI}"), 200),
        (format!("/?plain={encoded}"), 200),
        (format!("/?other={encoded}"), 403),
        (format!("/?sql={SQLI}&other={SQLI}"), 403),
    ] {
        assert_eq!(node.get(&target).status(), status, "{target}");
    }
}

#[test]
fn one_signature_is_switched_off_at_a_point() {
    let origin = Origin::echoing_targets();
    let attack = "/?id=%3Cscript%3Ealert(1)%3C/script%3E";
    let node = Setup::new(origin.address).mode("block").start();
    let answer = node.get(attack);
    assert_eq!(answer.status(), 403);
    let event = node.await_event_of(&answer);
    let rules: String = event["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .zip(1..)
        .map(|(signature, id)| {
            rule(id, &format!("type = \"disable_signature\"\nsignature = {signature}\npoint = \"query.id\""))
        })
        .collect();
    let node = Setup::new(origin.address).mode("block").rules(&rules).start();
    assert_eq!(node.get(attack).status(), 200);
    assert_eq!(node.get(&attack.replace("id=", "name=")).status(), 403);
}

#[test]
fn inspection_time_is_bounded_by_rules() {
    let origin = Origin::echoing_targets();
    let words: String = (0..60_000).map(|number| format!("a{number}=1' or select x&")).collect();
    let request = post("/upload/x", words.as_bytes());
    let general = rule(1, "type = \"over_time_limit\"\ntime_limit = \"1ms\"\naction = \"block\"");
    let shielded =
        rule(2, "type = \"over_time_limit\"\ntime_limit = \"1ms\"\naction = \"pass\"\nuri = \"/upload/**\"");
    let noise: String = (3..40)
        .map(|id| rule(id, "type = \"disable_attack_type\"\nattack_type = \"any\"\npoint = \"body.*\""))
        .collect();
    let node = Setup::new(origin.address).mode("block").rules(&format!("{general}{noise}")).start();
    let answer = node.connect().ask(&request);
    assert_eq!(answer.status(), 403);
    let event = node.await_event_of(&answer);
    assert_eq!((&event["attack_class"], &event["reason"]), (&"overlimit_res".into(), &"over_limit".into()));
    let rules = format!("{general}{shielded}{noise}");
    let node = Setup::new(origin.address).mode("block").rules(&rules).start();
    assert_eq!(node.connect().ask(&request).status(), 200, "the more specific rule counts");
}

/// A parameter is also what keys in brackets make of it, and a part is also what another reader of its head calls it.
#[test]
fn rules_cover_what_lies_below_a_field_and_every_name_of_a_part() {
    let rules = [
        rule(1, "type = \"virtual_patch\"\nattack_type = \"sqli\"\npoint = [\"query\", \"id\"]"),
        rule(2, "type = \"mask\"\npoint = [\"query\", \"secret\"]"),
        rule(3, "type = \"virtual_patch\"\nattack_type = \"any\"\npoint = [\"body\", \"f\"]"),
        rule(4, "type = \"rate_limit\"\nrate = 1\nper = \"1d\"\npoint = [\"query\", \"user\"]"),
        rule(5, "type = \"disable_attack_type\"\nattack_type = \"any\"\npoint = [\"query\", \"free\"]"),
        rule(6, "type = \"mode\"\nmode = \"off\"\n[[rule.when]]\npoint = [\"query\", \"off\"]\nis = \"equal\"\nvalue = \"1\""),
    ]
    .concat();
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules(&rules).start();
    for name in ["id", "id[]", "id%5B0%5D", "id[a][b]"] {
        assert_eq!(node.get(&format!("/?{name}={SQLI}")).status(), 403, "{name}");
        // A condition is about the parameter of exactly that name.
        let switched_off = node.get(&format!("/?off=1&{name}={SQLI}")).status();
        let not_so = node.get(&format!("/?off[]=1&{name}={SQLI}")).status();
        assert_eq!((switched_off, not_so), (200, 403), "{name}");
    }
    for name in ["secret", "secret[]", "secret[a][b]"] {
        let answer = node.get(&format!("/?{name}={SQLI}"));
        assert_eq!((answer.status(), &node.await_event_of(&answer)["payload"]), (200, &"*".into()), "{name}");
    }
    assert_eq!(node.get("/?user[name]=a").status(), 200);
    assert_eq!(node.get("/?user[id]=a").status(), 503, "counted by its value");
    assert_eq!(node.get("/?user=b").status(), 200);
    let findings = |name: &str| {
        let url = format!("http://a.example/?{name}={SQLI}");
        let (_, explained) = node.api("POST", "/v1/explain", &serde_json::json!({ "url": url }).to_string());
        explained["findings"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((findings("free[a]"), findings("free[a") > 0), (0, true), "only what all servers take for it");
    let disposition = |names: &str| {
        let body = format!("--b\r\nContent-Disposition: form-data; {names}\r\n\r\n1\r\n--b--\r\n");
        let length = body.len();
        node.connect().ask(format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: multipart/form-data; boundary=b\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    };
    for names in
        ["name=\"f\"", "name=\"x\"; name=\"f\"", "name=\"x\"; name*=utf-8''f", "name=f", "name=\"f[]\""]
    {
        assert_eq!(disposition(names).status(), 403, "{names}");
    }
    assert_eq!(disposition("name=\"x\"").status(), 200);
}
