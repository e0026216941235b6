//! Modes, lists and rules end to end, and what the events say about it.

use crate::support::client::{get, post};
use crate::support::command::run;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

const ATTACK: &str = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";
const CLEAN: &str = "/?id=1";

/// Last numbers of the addresses that clients come from.
const ORDINARY: u8 = 1;
const ALLOWED: u8 = 10;
const DENIED: u8 = 20;
const GRAY: u8 = 30;

const LISTS: &str = "[[entry]]\nlist = \"allow\"\naddress = \"127.0.0.10\"\n\
                     [[entry]]\nlist = \"deny\"\naddress = \"127.0.0.20/32\"\nreason = \"scanner\"\n\
                     [[entry]]\nlist = \"gray\"\naddress = \"127.0.0.30\"\n\
                     [[entry]]\nlist = \"deny\"\naddress = \"127.0.0.40\"\nexpires = \"2020-01-01T00:00:00Z\"\n\
                     [[entry]]\nlist = \"deny\"\naddress = \"127.0.0.50\"\napplications = [7]\n\
                     [[entry]]\nlist = \"deny\"\naddress = \"127.0.0.0/8\"\napplications = [99]\n";

/// Status and events (class and action) of a request.
type Outcome<'a> = (u16, &'a [(&'a str, &'a str)]);

const PASSES: Outcome<'_> = (200, &[]);
const RECORDED: Outcome<'_> = (200, &[("sqli", "monitored")]);
const BLOCKED: Outcome<'_> = (403, &[("sqli", "blocked")]);
const SOURCE: Outcome<'_> = (403, &[("blocked_source", "blocked")]);

/// Asks from every source, clean and hostile, and compares with the table.
#[track_caller]
fn expect_table(mode: &str, phase: &str, rows: &[(u8, Outcome<'_>, Outcome<'_>)]) {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode(mode)
        .http(&format!("acl_access_phase = \"{phase}\""))
        .lists(LISTS)
        .start();
    let mut passed = 0;
    for (source, clean, hostile) in rows {
        for (target, (status, events)) in [(CLEAN, clean), (ATTACK, hostile)] {
            let context = format!("{mode}, phase {phase}, from {source}: {target}");
            let answer = node.connect_from(*source).get(target);
            assert_eq!(answer.status(), *status, "{context}");
            passed += usize::from(*status == 200);
            let id = answer.field("x-request-id").unwrap();
            let found = crate::support::eventually("the request's events", || {
                let found: Vec<_> =
                    node.events().into_iter().filter(|event| event["request_id"] == id).collect();
                (found.len() >= events.len()).then_some(found)
            });
            let seen: Vec<(&str, &str)> = found
                .iter()
                .map(|event| (event["attack_class"].as_str().unwrap(), event["action"].as_str().unwrap()))
                .collect();
            assert_eq!(seen, *events, "{context}");
        }
    }
    assert_eq!(origin.requests().len(), passed, "{mode}, phase {phase}");
    // Events that are not due would be here by now: this one came after them.
    let total: usize = rows.iter().map(|(_, clean, hostile)| clean.1.len() + hostile.1.len()).sum();
    assert_eq!(node.events().len(), total, "{mode}, phase {phase}: {:#?}", node.events());
}

#[test]
fn off_lets_everything_through_and_reads_no_list() {
    let passes = |source| (source, PASSES, PASSES);
    expect_table("off", "on", &[ORDINARY, ALLOWED, DENIED, GRAY].map(passes));
    expect_table("off", "off", &[ORDINARY, ALLOWED, DENIED, GRAY].map(passes));
}

#[test]
fn monitoring_records_and_blocks_denied_sources_alone() {
    let rows = [
        (ORDINARY, PASSES, RECORDED),
        (ALLOWED, PASSES, PASSES),
        (DENIED, SOURCE, SOURCE),
        (GRAY, PASSES, RECORDED),
    ];
    expect_table("monitoring", "on", &rows);
}

#[test]
fn safe_blocking_blocks_attacks_of_gray_sources() {
    let rows = [
        (ORDINARY, PASSES, RECORDED),
        (ALLOWED, PASSES, PASSES),
        (DENIED, SOURCE, SOURCE),
        (GRAY, PASSES, BLOCKED),
    ];
    expect_table("safe_blocking", "on", &rows);
}

#[test]
fn block_blocks_attacks_of_all_but_allowed_sources() {
    let rows = [
        (ORDINARY, PASSES, BLOCKED),
        (ALLOWED, PASSES, PASSES),
        (DENIED, SOURCE, SOURCE),
        (GRAY, PASSES, BLOCKED),
        // Entries that have ended or are for another application don't count.
        (40, PASSES, BLOCKED),
        (50, PASSES, BLOCKED),
    ];
    expect_table("block", "on", &rows);
}

#[test]
fn without_the_access_phase_monitoring_never_blocks() {
    expect_table("monitoring", "off", &[(DENIED, PASSES, RECORDED), (ORDINARY, PASSES, RECORDED)]);
}

#[test]
fn without_the_access_phase_denied_sources_are_analysed_and_then_blocked() {
    for mode in ["safe_blocking", "block"] {
        let origin = Origin::echoing_targets();
        let node =
            Setup::new(origin.address).mode(mode).http("acl_access_phase = \"off\"").lists(LISTS).start();
        for target in [CLEAN, ATTACK] {
            assert_eq!(node.connect_from(DENIED).get(target).status(), 403, "{mode}: {target}");
        }
        // Held like all that could end in a block.
        assert_eq!(node.connect_from(DENIED).ask(post("/", b"a=b")).status(), 403, "{mode}");
        assert_eq!(origin.connections(), 0, "{mode}");
        let events = crate::support::eventually("an event of the attack", || {
            let events = node.events();
            events.iter().any(|event| event["attack_class"] == "sqli").then_some(events)
        });
        assert!(events.iter().all(|event| event["action"] == "blocked"), "{events:#?}");
    }
}

#[test]
fn lists_are_not_read_where_the_acl_is_disabled() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .lists(LISTS)
        .server("[[server.location]]\npath = \"/open\"\ndisable_acl = \"on\"")
        .start();
    assert_eq!(node.connect_from(DENIED).get("/").status(), 403);
    assert_eq!(node.connect_from(DENIED).get("/open").status(), 200);
}

#[test]
fn list_entries_hold_for_their_applications() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .lists(LISTS)
        .server("[[server.location]]\npath = \"/seven\"\napplication = 7")
        .start();
    assert_eq!(node.connect_from(50).get("/").status(), 200);
    assert_eq!(node.connect_from(50).get("/seven").status(), 403);
    assert_eq!(node.connect_from(51).get("/seven").status(), 200);
}

#[test]
fn an_event_says_everything_about_a_blocked_attack() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .rules("general_mode = \"default\"\n[[rule]]\nid = 42\ntype = \"mode\"\nmode = \"block\"\nuri = \"/shop/**\"\n")
        .server("application = 5")
        .start();
    let before = std::time::SystemTime::now();
    let answer = node.connect_from(9).ask(
        "GET /shop/a?x=1&id=1%27%20UNION%20SELECT%20password%20FROM%20users-- HTTP/1.1\r\n\
         Host: Site.example:8080\r\nUser-Agent: <script>alert(1)</script>\r\n\r\n",
    );
    assert_eq!(answer.status(), 403);
    let events = node.await_events(2);
    let event = events.iter().find(|event| event["attack_class"] == "sqli").unwrap();
    let time = event["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(std::time::SystemTime::from(time) + std::time::Duration::from_secs(1) >= before, "{event}");
    let expected = [
        ("request_id", answer.field("x-request-id").unwrap().into()),
        ("client_ip", "127.0.0.9".into()),
        ("server", "site".into()),
        ("application", 5.into()),
        ("method", "GET".into()),
        ("host", "Site.example:8080".into()),
        ("path", "/shop/a".into()),
        ("point", "query.id".into()),
        ("signatures", serde_json::json!(["sqli-union-select"])),
        ("mode", "block".into()),
        ("mode_source", "rule".into()),
        ("rule_id", 42.into()),
        ("list", serde_json::Value::Null),
        ("action", "blocked".into()),
        ("reason", "attack".into()),
        ("status", 403.into()),
    ];
    for (field, value) in expected {
        assert_eq!(event[field], value, "{field}: {event}");
    }
    assert!(event["payload"].as_str().unwrap().contains("UNION SELECT password"), "{event}");
    let other = events.iter().find(|event| event["attack_class"] == "xss").unwrap();
    assert_eq!((&other["point"], &other["request_id"]), (&"header.user-agent".into(), &event["request_id"]));
    assert_eq!(node.metric("weir_attacks_total", &[("class", "sqli"), ("action", "blocked")]), 1);
    assert_eq!(node.metric("weir_attacks_total", &[("class", "xss"), ("action", "blocked")]), 1);
    assert_eq!(node.metric("weir_blocked_total", &[("reason", "attack")]), 1);
    let labels = [("server", "site"), ("mode", "block"), ("verdict", "block")];
    assert_eq!(node.metric("weir_requests_total", &labels), 1);
    assert_eq!(node.metric("weir_events_dropped_total", &[]), 0);
}

#[test]
fn an_event_says_where_a_denied_source_came_from() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).lists(LISTS).start();
    let answer = node.connect_from(DENIED).get("/x?secret=1");
    assert_eq!(answer.status(), 403);
    let event = node.await_event_of(&answer);
    for (field, value) in [
        ("attack_class", "blocked_source"),
        ("list", "deny"),
        ("reason", "deny_list"),
        ("action", "blocked"),
        ("mode", "monitoring"),
        ("mode_source", "local"),
        ("client_ip", "127.0.0.20"),
        ("path", "/x"),
    ] {
        assert_eq!(event[field], value, "{field}: {event}");
    }
    assert_eq!(event["status"], 403);
    assert_eq!(node.metric("weir_blocked_total", &[("reason", "deny_list")]), 1);
}

#[test]
fn attacks_in_bodies_are_blocked_before_the_origin_gets_them() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    let json = r#"{"user":{"name":"1' UNION SELECT password FROM users--"}}"#;
    let json_request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    let cases: [(Vec<u8>, &str); 4] = [
        (post("/", b"a=b&id=1'+UNION+SELECT+password+FROM+users--"), "body.id"),
        (json_request.into_bytes(), "body.json.user.name"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nCookie: s=1%27%20UNION%20SELECT%20password%20FROM%20users--\r\n\r\n".to_vec(),
            "cookie.s",
        ),
        (get("/a?q=%2531%2527%2520UNION%2520SELECT%2520password%2520FROM%2520users--").into_bytes(), "query.q"),
    ];
    let mut client = node.connect();
    for (request, point) in cases {
        let answer = client.ask(request);
        assert_eq!(answer.status(), 403, "{point}");
        let event = node.await_event_of(&answer);
        let found = event["point"].as_str().unwrap();
        assert!(found.starts_with(point), "{found} is not {point}");
    }
    assert_eq!(client.get("/clean").text(), "/clean", "all of it on one connection");
    assert_eq!(origin.targets(), ["/clean"]);
}

#[test]
fn an_attack_in_a_streamed_body_is_recorded() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").start();
    let answer = node.connect().ask(post("/s", b"id=1'+UNION+SELECT+password+FROM+users--"));
    assert_eq!(answer.status(), 200);
    let event = node.await_event_of(&answer);
    assert_eq!((&event["action"], &event["status"]), (&"monitored".into(), &200.into()), "{event}");
}

#[test]
fn a_block_answer_suits_its_client() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    let mut client = node.connect();
    let request = |method: &str, accept: &str| {
        format!("{method} {ATTACK} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
    };
    let html = client.ask(request("GET", "text/html,application/xhtml+xml,*/*;q=0.8"));
    assert_eq!((html.status(), html.field("content-type")), (403, Some("text/html; charset=utf-8")));
    assert!(html.text().contains(html.field("x-request-id").unwrap()));
    assert!(!html.text().contains("UNION"), "nothing of the attack is echoed");
    let json = client.ask(request("GET", "application/json"));
    assert_eq!((json.status(), json.field("content-type")), (403, Some("application/json")));
    let page: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(page["request_id"], json.field("x-request-id").unwrap());
    client.send(request("HEAD", "*/*"));
    let head = client.answer_without_body();
    assert_eq!(head.status(), 403);
    assert!(head.has("content-length"));
    // A blocked upload is read to its end; then the connection serves on.
    let blocked = client.ask(post(ATTACK, &crate::support::pattern(100_000)));
    assert_eq!((blocked.status(), blocked.has("connection")), (403, false));
    assert_eq!(client.get("/clean").text(), "/clean");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_denied_upload_is_answered_before_its_body() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).lists(LISTS).start();
    let mut client = node.connect_from(DENIED);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status(), 403, "and no 100 before it");
    let mut endless = node.connect_from(DENIED);
    endless.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert_eq!(endless.answer().status(), 403);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_upload_that_its_head_blocks_is_answered_before_its_body() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    let head = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    let mut client = node.connect();
    let answer = client.ask(head(ATTACK));
    assert_eq!((answer.status(), answer.field("connection")), (403, Some("close")), "and no 100 before it");
    client.finish_sending();
    client.expect_close();
    let event = node.await_event_of(&answer);
    assert_eq!((&event["action"], &event["status"]), (&"blocked".into(), &403.into()));
    // What only the body could tell is awaited, and looked at with the head once.
    let mut client = node.connect();
    assert_eq!(client.ask(head("/clean")).status(), 100);
    assert_eq!(client.ask("hello").text(), "/clean");
    assert_eq!(origin.targets(), ["/clean"]);
    assert_eq!(node.events().len(), 1);
}

#[test]
fn the_environment_sets_the_mode() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").variable("WEIR_MODE", "block").start();
    assert_eq!(node.get(ATTACK).status(), 403);
    let node = Setup::new(origin.address).mode("block").variable("WEIR_MODE", "off").start();
    assert_eq!(node.get(ATTACK).status(), 200);
    let node = Setup::new(origin.address).mode("block").variable("WEIR_MODE", "").start();
    assert_eq!(node.get(ATTACK).status(), 403, "empty is unset");
    // It is the most global mode alone: what is set closer wins.
    let node =
        Setup::new(origin.address).server("mode = \"monitoring\"").variable("WEIR_MODE", "block").start();
    assert_eq!(node.get(ATTACK).status(), 200);
}

#[test]
fn hosts_and_locations_pick_server_origin_and_mode() {
    let first = Origin::answering(|_| crate::support::origin::ok(b"first"));
    let second = Origin::answering(|_| crate::support::origin::ok(b"second"));
    let node = Setup::new(first.address)
        .server(
            "hosts = [\"site.example\"]\n\
             [[server.location]]\npath = \"/login\"\nmode = \"block\"\n\
             [[server.location]]\npath = \"/exact\"\nmatch = \"exact\"\norigin = \"second\"",
        )
        .more(&format!(
            "[[origin]]\nname = \"second\"\naddresses = [\"{}\"]\n\
             [[server]]\nname = \"other\"\nhosts = [\"*.other.example\"]\norigin = \"second\"\nmode = \"block\"",
            second.address
        ))
        .start();
    let ask = |host: &str, target: &str| {
        node.connect().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    assert_eq!(ask("site.example", "/").text(), "first");
    assert_eq!(ask("SITE.example:80", "/exact").text(), "second");
    assert_eq!(ask("site.example", "/exact/not").text(), "first");
    assert_eq!(ask("a.b.other.example", "/").text(), "second");
    assert_eq!(ask("other.example", "/").text(), "first", "a wildcard is not the name itself");
    assert_eq!(ask("unknown.example", "/").text(), "first");
    assert_eq!(ask("site.example", ATTACK).status(), 200);
    let attack_at = |path: &str| ATTACK.replacen('/', path, 1);
    assert_eq!(ask("site.example", &attack_at("/login")).status(), 403);
    assert_eq!(ask("site.example", &attack_at("/a/../%6cogin")).status(), 403, "compared as normalised");
    assert_eq!(ask("a.other.example", ATTACK).status(), 403);
    assert_eq!(node.metric("weir_requests_total", &[("server", "other"), ("verdict", "block")]), 1);
}

#[test]
fn overrides_hold_for_rules() {
    let rules = "[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"off\"\nuri = \"/**\"\n";
    let origin = Origin::echoing_targets();
    for (policy, status) in [("on", 200), ("strict", 403), ("off", 403)] {
        let node = Setup::new(origin.address)
            .mode("block")
            .http(&format!("mode_allow_override = \"{policy}\""))
            .rules(rules)
            .start();
        let answer = node.connect().ask(get("/x?id=1%27%20UNION%20SELECT%20password%20FROM%20users--"));
        assert_eq!(answer.status(), status, "{policy}");
    }
}

#[test]
fn a_mode_by_header_counts_in_every_context() {
    let origin = Origin::echoing_targets();
    let map =
        |texts: &str| format!("mode_by_header = {{ header = \"User-Agent\", contains = {{ {texts} }} }}");
    let server = |name: &str, keys: &str, location: &str| {
        format!(
            "[[server]]\nname = \"{name}\"\nhosts = [\"{name}\"]\norigin = \"app\"\n{keys}\n\
             [[server.location]]\npath = \"/place\"\n{location}\n"
        )
    };
    let node = Setup::new(origin.address)
        .mode("block")
        .http(&map("probe = \"off\", watch = \"monitoring\""))
        .more(&server("plain", "", &map("probe = \"block\"")))
        .more(&server("own", &map("watch = \"block\""), "mode = \"monitoring\""))
        .start();
    let ask = |host: &str, path: &str, agent: &str| {
        let attack = ATTACK.trim_start_matches('/');
        node.connect()
            .ask(format!("GET {path}{attack} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\r\n"))
            .status()
    };
    // host, path, agent, blocked: the closest context whose map has a text in the header decides
    for (host, path, agent, blocked) in [
        ("plain", "/", "curl", true),
        ("plain", "/", "my-probe/1", false),
        ("plain", "/", "watch", false),
        ("plain", "/", "watch probe", false),
        ("plain", "/place", "my-probe/1", true),
        ("plain", "/place", "watch", false),
        ("own", "/", "watch", true),
        ("own", "/", "probe", false),
        ("own", "/", "curl", true),
        ("own", "/place", "curl", false),
        ("own", "/place", "watch", false),
    ] {
        assert_eq!(ask(host, path, agent) == 403, blocked, "{host}{path} by {agent}");
    }
}

#[test]
fn the_forwarding_header_of_trusted_proxies_says_who_the_client_is() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .http("trusted_proxies = [\"127.0.0.100\", \"10.0.0.0/8\"]")
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"203.0.113.7\"\n[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.20\"\n")
        .start();
    let ask = |from: u8, forwarded: &str| {
        node.connect_from(from)
            .ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {forwarded}\r\n\r\n"))
    };
    assert_eq!(ask(100, "203.0.113.7").status(), 403);
    assert_eq!(ask(100, "203.0.113.7, 10.1.2.3").status(), 403, "trusted hops are skipped");
    assert_eq!(ask(100, "203.0.113.7, 198.51.100.1").status(), 200, "what a stranger wrote isn't believed");
    assert_eq!(ask(1, "203.0.113.7").status(), 200, "nobody else is believed");
    assert_eq!(ask(20, "198.51.100.1").status(), 403, "nor can a denied peer hide");
    let answer = ask(100, "203.0.113.7");
    assert_eq!(node.await_event_of(&answer)["client_ip"], "203.0.113.7");
    let forwarded: Vec<String> = origin
        .requests()
        .iter()
        .map(|request| request.field("x-forwarded-for").unwrap().to_owned())
        .collect();
    assert_eq!(forwarded, ["203.0.113.7, 198.51.100.1", "127.0.0.1"]);
    let scheme = |from: u8| {
        let request = "GET /scheme HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
        assert_eq!(node.connect_from(from).ask(request).status(), 200);
        origin.requests().last().unwrap().field("x-forwarded-proto").unwrap().to_owned()
    };
    assert_eq!((scheme(100), scheme(1)), ("https".to_owned(), "http".to_owned()));
}

#[test]
fn another_header_may_say_who_the_client_is() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .http("trusted_proxies = [\"127.0.0.0/8\"]\nreal_ip_header = \"X-Client\"")
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"203.0.113.0/24\"\n")
        .start();
    let ask = |field: &str| {
        node.connect().ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}: 203.0.113.7\r\n\r\n"))
    };
    assert_eq!(ask("x-client").status(), 403);
    assert_eq!(ask("X-Forwarded-For").status(), 200);
}

#[test]
fn a_mode_that_does_not_exist_in_the_environment_stops_the_start() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    let path = setup.write_config();
    let output = crate::support::node::weir()
        .args(["run", "--config"])
        .arg(&path)
        .env("WEIR_MODE", "blocking")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("WEIR_MODE") && errors.contains("blocking") && errors.contains("safe_blocking"),
        "{errors}"
    );
    assert_eq!(run("check", &path, &[]).code, 0, "the file itself is in order");
}
