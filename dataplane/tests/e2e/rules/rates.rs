//! Rate limits.

use super::rule;
use crate::support::client::get;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

/// How many of `count` requests pass, and the statuses of the others.
fn passed(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn each_client_has_a_rate_in_every_mode_but_off() {
    let rules = rule(5, "type = \"rate_limit\"\nrate = 1\nper = \"hour\"\nburst = 2\ndelay = 2");
    for mode in ["off", "monitoring", "block"] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).workers(2).rules(&rules).start();
        let statuses: Vec<u16> = (0..6).map(|_| node.connect_from(2).get("/").status()).collect();
        let expected = if mode == "off" { [200; 6] } else { [200, 200, 200, 503, 503, 503] };
        assert_eq!(statuses, expected, "{mode}: two workers share the rate");
        assert_eq!(node.connect_from(3).get("/").status(), 200, "{mode}: another client");
        if mode != "off" {
            assert_eq!(origin.requests().len(), 4);
            node.await_metric("weir_blocked_total", &[("reason", "rate_limit")], 3);
            assert_eq!(node.events().len(), 0, "refused requests without signs aren't recorded");
        }
    }
}

#[test]
fn refused_requests_are_recorded_if_they_carry_signs() {
    let rules = rule(5, "type = \"rate_limit\"\nrate = 1\nper = \"1d\"\nstatus = 429");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").rules(&rules).start();
    assert_eq!(node.get("/").status(), 200);
    let answer = node.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E");
    assert_eq!(answer.status(), 429);
    let event = node.await_event_of(&answer);
    assert_eq!((&event["attack_class"], &event["reason"]), (&"xss".into(), &"rate_limit".into()));
    assert_eq!((&event["action"], &event["rule_id"]), (&"blocked".into(), &5.into()));
    // The connection goes on.
    let mut client = node.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 429);
    }
}

#[test]
fn requests_are_told_apart_by_any_point() {
    let with =
        |point: &str| rule(1, &format!("type = \"rate_limit\"\nrate = 1\nper = \"hour\"\npoint = {point}"));
    let json = |id: &str| {
        let body = format!("{{\"user\":{{\"id\":{id}}}}}");
        format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let fields = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n");
    let cases = [
        ("[\"header\", \"X-KEY\"]", fields("x-key: a"), fields("x-key: b"), fields("x-other: a")),
        (
            "[\"cookie\", \"sid\"]",
            fields("Cookie: a=1; sid=x"),
            fields("Cookie: sid=y"),
            fields("Cookie: a=1"),
        ),
        ("\"query.k\"", get("/?k=1"), get("/?k=2"), get("/?j=1")),
        ("\"body.json.user.id\"", json("17"), json("18"), json("null").replace("id", "no")),
        ("[\"method\"]", get("/a"), "HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(), String::new()),
    ];
    for (point, one, other, without) in cases {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode("monitoring").rules(&with(point)).start();
        let ask = |request: &str| {
            let mut client = node.connect();
            client.send(request);
            client.head().status()
        };
        assert_eq!([ask(&one), ask(&one)], [200, 503], "{point}");
        assert_eq!([ask(&other), ask(&other)], [200, 503], "{point}: another value");
        if !without.is_empty() {
            assert_eq!([ask(&without), ask(&without)], [200, 200], "{point}: requests without it");
        }
    }
}

#[test]
fn the_lowest_rate_whose_point_is_there_counts() {
    let rules = [
        rule(1, "type = \"rate_limit\"\nrate = 1\nper = \"hour\"\nburst = 4\ndelay = 4\npoint = \"header.x-key\""),
        rule(2, "type = \"rate_limit\"\nrate = 1\nper = \"1d\"\nburst = 1\ndelay = 1\npoint = \"header.x-tenant\""),
    ]
    .concat();
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules(&rules).start();
    let ask = |fields: &str| {
        node.connect().ask(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n")).status()
    };
    let statuses: Vec<u16> = (0..8).map(|_| ask("x-key: 1\r\nx-tenant: 1")).collect();
    assert_eq!(passed(&statuses), 2, "{statuses:?}");
    let statuses: Vec<u16> = (0..8).map(|_| ask("x-key: 1")).collect();
    assert_eq!(passed(&statuses), 5, "{statuses:?}");
}

#[test]
fn paced_requests_are_answered_in_the_end() {
    let rules = rule(1, "type = \"rate_limit\"\nrate = 2\nburst = 3");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").rules(&rules).start();
    let waiting = || node.metric("weir_limit_hits_total", &[("limit", "rate_limit_paced")]);
    // Until one had to wait: on a slow machine a place may drain before the next request is here.
    let mut rounds = 0;
    while waiting() == 0 {
        let mut clients: Vec<_> = (0..4).map(|_| node.connect()).collect();
        for client in &mut clients {
            client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc");
        }
        let statuses: Vec<u16> = clients.iter_mut().map(|client| client.answer().status()).collect();
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        rounds += 1;
        assert!(rounds < 50, "no request had to wait");
    }
    assert!(origin.requests().iter().all(|request| request.body == b"abc"));
}

#[test]
fn a_reload_does_not_let_everybody_in_anew() {
    let rules = rule(1, "type = \"rate_limit\"\nrate = 1\nper = \"1d\"");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules(&rules).start();
    assert_eq!([node.get("/").status(), node.get("/").status()], [200, 503]);
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    assert_eq!(node.get("/").status(), 503);
}

#[test]
fn a_rule_that_says_something_else_begins_anew() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let put = |more: &str| {
        let rule = format!("{{ \"id\": 1, \"type\": \"rate_limit\", \"rate\": 1, \"per\": \"1d\"{more} }}");
        let (status, answer) = node.api("PUT", "/v1/rules", &format!("{{ \"rules\": [{rule}] }}"));
        assert_eq!(status, 200, "{answer}");
    };
    let two = || [node.get("/?k=a").status(), node.get("/?k=a").status()];
    put("");
    assert_eq!(two(), [200, 503]);
    put(", \"status\": 429");
    assert_eq!(two(), [429, 429], "the status has no part in it");
    put(", \"status\": 429, \"burst\": 1, \"delay\": 1");
    assert_eq!(two(), [200, 200]);
    put(", \"point\": [\"query\", \"k\"]");
    assert_eq!(two(), [200, 503]);
    put(", \"point\": [\"query\", \"k\"], \"uri\": \"/**\"");
    assert_eq!(two(), [503, 503]);
}

#[test]
fn a_path_has_one_bucket_however_it_is_spelled() {
    let rules = rule(1, "type = \"rate_limit\"\nrate = 1\nper = \"1d\"\npoint = [\"path\", 1]");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules(&rules).start();
    assert_eq!(node.get("/user/ann").status(), 200);
    for path in ["/user/ann", "/user/%61nn", "//user/ann", "/./user/ann", "/x/..%2fuser/ann", "/user/ann;v=1"]
    {
        assert_eq!(node.get(path).status(), 503, "{path}");
    }
    assert_eq!([node.get("/user/bob").status(), node.get("/user").status()], [200, 200]);
}

#[test]
fn every_value_at_the_point_counts() {
    let rules = rule(1, "type = \"rate_limit\"\nrate = 1\nper = \"1d\"\npoint = \"query.user\"");
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).rules(&rules).start();
    let asked = |query: &str| node.get(&format!("/?{query}")).status();
    assert_eq!([asked("user=admin"), asked("user=admin")], [200, 503]);
    assert_eq!(asked("user=r1&user=admin"), 503);
    assert_eq!(asked("user=r2&user=r3&user[]=admin"), 503);
    let others: String = (0..30).map(|number| format!("user=o{number}&")).collect();
    assert_eq!(asked(&format!("{others}user=admin")), 503, "the last one is always counted");
    assert_eq!([asked("user=new&user=newer"), asked("user=newer")], [200, 503]);
}
