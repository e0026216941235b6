//! `[listener.limits]`: what holds for the connections of one listener, and what servers and locations set over it.

use std::net::Ipv4Addr;

use weir::proxy_protocol::{Endpoints, write_v1};

use crate::support::client::{Client, ORDINARY, get, post};
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::origin::{Origin, ok};
use crate::support::pattern;
use crate::support::setup::Setup;

/// A listener beside the first one, with limits of its own.
fn second(limits: &str) -> String {
    format!("[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\n[listener.limits]\n{limits}")
}

/// A connection that is served.
fn served(node: &Node, source: Ipv4Addr) -> Client {
    let mut client = Client::connect(node.address, source);
    assert_eq!(client.get("/").status(), 200);
    client
}

/// Whether a new connection is closed before a byte comes back.
fn is_turned_away(mut client: Client) -> bool {
    client.send(get("/"));
    client.rest().bytes.is_empty()
}

#[test]
fn a_listener_has_limits_of_its_own_for_heads_and_connections() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .limits("keep_alive_requests = 3")
        .more(&second("target_bytes = \"256B\"\nkeep_alive_requests = 1"))
        .more(&second("head_timeout = \"200ms\"").replace("\"second\"", "\"hasty\""))
        .start();
    let second = node.address_of("second");
    let long = format!("/{}", "t".repeat(300));
    assert_eq!(node.get(&long).status(), 200);
    assert_eq!(Client::connect(second, ORDINARY).get(&long).status(), 414);

    assert!(!node.connect().get("/").has("connection"));
    let mut once = Client::connect(second, ORDINARY);
    assert_eq!(once.get("/").field("connection"), Some("close"));
    once.expect_close();

    // A connection whose first byte is late gets no answer.
    let hasty = node.address_of("hasty");
    let answer = eventually("a head that begins in time", || {
        let mut slow = Client::connect(hasty, ORDINARY);
        slow.send("GET / HT");
        Some(slow.rest().bytes).filter(|bytes| !bytes.is_empty())
    });
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[test]
fn location_wins_over_server_over_listener_over_http() {
    let origin = Origin::answering(|request| ok(request.body.len().to_string().as_bytes()));
    let node = Setup::new(origin.address)
        .limits("request_body_bytes = \"40B\"")
        .server(
            "limits.body_timeout = \"1h\"\n[[server.location]]\npath = \"/location\"\nlimits.request_body_bytes = \"10B\"",
        )
        .more(
            "[[server]]\nname = \"own\"\nhosts = [\"own.example\"]\norigin = \"app\"\nlimits.request_body_bytes = \"20B\"",
        )
        .more(&second("request_body_bytes = \"30B\"\nbody_timeout = \"200ms\""))
        .start();
    let second = node.address_of("second");
    let longest = |address, host: &str, target: &str| {
        let fits = |length: &usize| {
            let request = String::from_utf8(post(target, &pattern(*length))).unwrap();
            let request = request.replace("site.example", host);
            Client::connect(address, ORDINARY).ask(request).status() == 200
        };
        [10, 20, 30, 40].into_iter().rfind(fits)
    };
    assert_eq!(longest(node.address, "site.example", "/"), Some(40), "http");
    assert_eq!(longest(second, "site.example", "/"), Some(30), "the listener wins over http");
    assert_eq!(longest(second, "own.example", "/"), Some(20), "the server wins over the listener");
    assert_eq!(longest(node.address, "own.example", "/"), Some(20));
    assert_eq!(longest(second, "site.example", "/location"), Some(10), "the location wins over the server");
    assert_eq!(longest(node.address, "site.example", "/location"), Some(10));

    // Each key by itself: the listener's time-out holds where no server says otherwise.
    let slow = |host: &str| {
        let mut client = Client::connect(second, ORDINARY);
        client.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\nhalf"));
        client
    };
    let mut patient = slow("site.example");
    assert_eq!(slow("own.example").answer().status(), 408);
    patient.send("whole");
    assert_eq!(patient.answer().text(), "9", "the server's time-out is longer than the listener's");
}

#[test]
fn a_listener_has_a_share_of_max_connections() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).more(&second("max_connections = 1")).start();
    let second = node.address_of("second");
    let mut only = Client::connect(second, ORDINARY);
    assert_eq!(only.get("/").status(), 200);
    assert!(is_turned_away(Client::connect(second, ORDINARY)));
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "listener_max_connections")]), 1);
    assert_eq!(node.get("/").status(), 200, "the other listener goes on");
    drop(only);
    node.await_metric("weir_connections", &[], 0);
    assert_eq!(Client::connect(second, ORDINARY).get("/").status(), 200);
}

#[test]
fn an_address_has_connections_per_address_at_all_workers_together() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).workers(2).limits("connections_per_address = 8").start();
    let mut held: Vec<Client> = (0..8).map(|_| served(&node, ORDINARY)).collect();
    for _ in 0..4 {
        assert!(is_turned_away(node.connect()));
    }
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "connections_per_address")]), 4);
    let told = node.await_log("the refusal", |entry| entry["connections_per_address"] == 8);
    assert_eq!((&told["address"], &told["listener"]), (&"127.0.0.1".into(), &"public".into()), "{told}");
    let other = served(&node, Ipv4Addr::new(127, 0, 0, 2));
    // A place is free again once a connection has ended.
    held.truncate(7);
    node.await_metric("weir_connections", &[], 8);
    held.push(served(&node, ORDINARY));
    assert!(is_turned_away(node.connect()));
    drop(other);
}

#[test]
fn a_reload_changes_the_cap_and_keeps_the_count() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("connections_per_address = 2").start();
    let held = [served(&node, ORDINARY), served(&node, ORDINARY)];
    assert!(is_turned_away(node.connect()));
    let text = node.setup.text().replace("connections_per_address = 2", "connections_per_address = 3");
    node.setup.write("weir.toml", text);
    node.signal("HUP");
    node.await_metric("weir_config_generation", &[], 2);
    eventually("the node to be ready", || (node.admin_get("/ready").status() == 200).then_some(()));
    let third = served(&node, ORDINARY);
    assert!(is_turned_away(node.connect()), "the two from before count");
    drop((held, third));
}

#[test]
fn trusted_proxies_are_not_capped_and_what_their_headers_name_is() {
    let origin = Origin::echoing_targets();
    let limits = "connections_per_address = 1";
    let node = Setup::new(origin.address)
        .http("trusted_proxies = [\"127.0.0.9\"]")
        .limits(limits)
        .more("[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\nproxy_protocol = true")
        .start();
    let proxy = Ipv4Addr::new(127, 0, 0, 9);
    let held = [served(&node, proxy), served(&node, proxy)];
    let second = node.address_of("second");
    let through = |source: &str| {
        let endpoints =
            Endpoints { source: source.parse().unwrap(), destination: "198.51.100.1:80".parse().unwrap() };
        let mut header = Vec::new();
        write_v1(&endpoints, &mut header);
        let mut client = Client::connect(second, proxy);
        client.send(header);
        client
    };
    let mut first = through("[2001:db8::1]:1000");
    assert_eq!(first.get("/").status(), 200);
    assert!(is_turned_away(through("[2001:db8::2]:1000")), "one network of 64 bits is one client");
    assert_eq!(through("[2001:db8:0:1::1]:1000").get("/").status(), 200);
    drop((held, first));
}
