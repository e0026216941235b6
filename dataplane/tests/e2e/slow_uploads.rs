//! Requests whose bodies come in slowly have a part of an origin's connections, and everybody else has the others.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use crate::support::client::{Client, get, post};
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::origin::{Gate, Origin, ok};
use crate::support::pattern;
use crate::support::setup::Setup;

/// Slow bodies, each on a connection that has begun and says nothing more.
fn slow_bodies(node: &Node, count: usize) -> Vec<Client> {
    let begin = |number: usize| {
        let mut client = node.connect();
        let framing =
            ["Content-Length: 1000000\r\n\r\nb", "Transfer-Encoding: chunked\r\n\r\n5\r\nb"][number % 2];
        client.send(format!("POST /slow HTTP/1.1\r\nHost: site.example\r\n{framing}"));
        client
    };
    let clients = (0..count).map(begin).collect();
    node.await_metric("weir_connections", &[], count as u64);
    clients
}

fn counting_bodies() -> Origin {
    Origin::answering(|request| ok(request.body.len().to_string().as_bytes()))
}

#[test]
fn a_thousand_slow_bodies_keep_nobody_else_from_the_origin() {
    for mode in ["off", "monitoring"] {
        let origin = counting_bodies();
        let node = Setup::new(origin.address)
            .mode(mode)
            .limits("body_timeout = \"1h\"\nbody_rate_min_bytes = 0")
            .origin("connections = 8\nqueue_timeout = \"1h\"")
            .start();
        let slow = slow_bodies(&node, 1000);
        // Six of the eight are for uploads.
        node.await_metric("weir_limit_hits_total", &[("limit", "origin_uploads")], 994);
        for _ in 0..20 {
            assert_eq!(node.get("/").status(), 200, "{mode}");
        }
        assert_eq!(node.connect().ask(post("/", &pattern(3000))).text(), "3000", "{mode}: whole at once");
        // As many clients send it: the head, then the body, in two parts.
        let mut client = node.connect();
        let body = pattern(100_000);
        let request = post("/", &body);
        let head = request.len() - body.len();
        client.send(&request[..head]);
        node.await_metric("weir_limit_hits_total", &[("limit", "origin_uploads")], 995);
        client.send(&request[head..head + 50_000]);
        client.send(&request[head + 50_000..]);
        assert_eq!(client.answer().text(), "100000", "{mode}: a body is collected, and then it is no upload");
        assert!(origin.connections() <= 8, "{mode}: {}", origin.connections());
        // A body that is longer than what is collected waits, and gets its turn.
        let body = pattern(1_000_000);
        client.send(post("/", &body));
        node.await_metric("weir_limit_hits_total", &[("limit", "origin_uploads")], 996);
        drop(slow);
        assert_eq!(client.answer().text(), "1000000", "{mode}");
    }
}

#[test]
fn an_upload_that_gets_none_of_the_connections_is_refused_in_time() {
    let origin = counting_bodies();
    let node = Setup::new(origin.address)
        .limits("body_timeout = \"1h\"\nbody_rate_min_bytes = 0")
        .origin("connections = 8\nupload_connections = 1\nqueue_timeout = \"200ms\"")
        .start();
    let slow = slow_bodies(&node, 1);
    // Its body is as far in as it is taken: what it waits for from then on is a connection.
    let body = pattern(1_000_000);
    let answer = node.connect().ask(post("/", &body));
    assert_eq!(answer.status(), 503);
    assert_eq!(node.await_event_of(&answer)["origin_error"], "queue_timeout");
    assert_eq!(node.get("/").status(), 200);
    drop(slow);
    eventually("the place", || (node.connect().ask(post("/", &body)).status() == 200).then_some(()));
}

#[test]
fn an_upload_that_waits_and_stops_sending_is_answered_408() {
    let origin = counting_bodies();
    let node = Setup::new(origin.address)
        .limits("body_timeout = \"1h\"\nbody_rate_min_bytes = 0")
        .server("[[server.location]]\npath = \"/brief\"\nlimits.body_timeout = \"200ms\"")
        .origin("connections = 2\nqueue_timeout = \"1h\"")
        .start();
    let slow = slow_bodies(&node, 1);
    let mut waits = node.connect();
    waits.send("POST /brief HTTP/1.1\r\nHost: site.example\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(waits.answer().status(), 408);
    assert_eq!(node.get("/").status(), 200);
    drop(slow);
}

#[test]
fn a_request_that_is_sent_again_and_has_to_wait_gets_a_fresh_connection() {
    // One address has a single connection, hangs up on it when it is asked for /again, and takes no other.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let once = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer)
            && !buffer[..length].starts_with(b"GET /again")
        {
            let _ = stream.write_all(&ok(b"once"));
        }
    });
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            waits.pass();
        }
        ok(request.target().as_bytes())
    });
    let node =
        Setup::new(origin.address).address(once).origin("connections = 2\nqueue_timeout = \"1h\"").start();
    // The addresses take turns: once this one has answered for the second time, the other one is next.
    let mut client = node.connect();
    let answers: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "once").count(), 2, "{answers:?}");
    while client.get("/").text() != "once" {}
    let mut slow = node.connect();
    slow.send(get("/slow"));
    eventually("the slow request", || origin.targets().contains(&"/slow".to_owned()).then_some(()));
    let mut again = node.connect();
    again.send(get("/again"));
    node.await_metric("weir_limit_hits_total", &[("limit", "origin_connections")], 1);
    gate.open();
    assert_eq!((slow.answer().text(), again.answer().text()), ("/slow".to_owned(), "/again".to_owned()));
    // It had failed on a connection that had served before, so it is not put on another such one.
    assert_eq!(origin.connections(), 2);
}
