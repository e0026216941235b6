//! An origin that can't serve a request: the client is told 502, 503 or 504 with a reason, the log, an event and the
//! metrics say the same, and a cut answer never looks whole.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::client::{Client, get, post};
use crate::support::message::{End, Message};
use crate::support::node::Node;
use crate::support::origin::{Gate, Origin, Peer, Unserved, ok};
use crate::support::setup::Setup;
use crate::support::{Seeded, eventually};

/// What a client that prefers JSON is told.
#[track_caller]
fn ask_for_reason(client: &mut Client) -> (Message, String) {
    let answer = client.ask("GET /x HTTP/1.1\r\nHost: site.example\r\nAccept: application/json\r\n\r\n");
    let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(page["status"], answer.status());
    assert_eq!(page["request_id"], answer.field("x-request-id").unwrap());
    let reason = page["reason"].as_str().unwrap().to_owned();
    (answer, reason)
}

/// Asks, and expects the failure everywhere that it is to be seen.
#[track_caller]
fn expect_failure(node: &Node, status: u16, reason: &str, metric_reason: &str) {
    let (answer, told) = ask_for_reason(&mut node.connect());
    assert_eq!((answer.status(), told.as_str()), (status, reason));
    let event = node.await_event_of(&answer);
    assert_eq!((&event["origin"], &event["origin_error"]), (&"app".into(), &reason.into()), "{event}");
    assert_eq!((&event["status"], &event["path"]), (&status.into(), &"/x".into()), "{event}");
    assert!(event["action"].is_null() && event["attack_class"].is_null(), "{event}");
    assert!(!event["origin_error_detail"].as_str().unwrap().is_empty(), "{event}");
    node.await_log("the failure", |entry| entry["origin"] == "app" && entry["reason"] == reason);
    let labels = [("origin", "app"), ("reason", metric_reason)];
    assert!(node.metric("weir_upstream_errors_total", &labels) >= 1, "weir_upstream_errors_total{labels:?}");
}

#[test]
fn nobody_listens() {
    let unserved = Unserved::reserve();
    let node = Setup::new(unserved.address).start();
    expect_failure(&node, 502, "connect_refused", "connect_refused");
    // The client's connection isn't to blame.
    let mut client = node.connect();
    assert_eq!((client.get("/").status(), client.get("/").status()), (502, 502));
}

#[test]
fn another_address_serves_what_a_dead_one_cannot() {
    let origin = Origin::echoing_targets();
    let unserved = Unserved::reserve();
    let node = Setup::new(unserved.address).address(origin.address).start();
    let mut client = node.connect();
    for _ in 0..6 {
        assert_eq!(client.ask(post("/", b"a=b")).status(), 200);
    }
    assert_eq!(node.events().len(), 0);
}

/// An address where connections are neither accepted nor refused: its queue is full.
struct BlackHole {
    address: SocketAddr,
    _socket: Socket,
    _queued: Vec<Socket>,
}

impl BlackHole {
    fn open() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        loop {
            let next = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let full = next.connect_timeout(&address.into(), std::time::Duration::from_millis(300)).is_err();
            queued.push(next);
            if full {
                return Self { address, _socket: socket, _queued: queued };
            }
        }
    }
}

#[test]
fn connecting_takes_too_long() {
    let hole = BlackHole::open();
    let node = Setup::new(hole.address).origin("connect_timeout = \"200ms\"").start();
    expect_failure(&node, 504, "connect_timeout", "connect_timeout");
}

#[test]
fn no_answer_comes() {
    let origin = Origin::scripted(Peer::read_to_end);
    let node = Setup::new(origin.address).origin("first_byte_timeout = \"200ms\"").start();
    expect_failure(&node, 504, "first_byte_timeout", "first_byte_timeout");
    assert!(matches!(origin.await_end(0), End::Closed | End::Reset), "the connection isn't used again");
}

#[test]
fn an_answer_stands_still() {
    let origin = Origin::scripted(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).origin("idle_timeout = \"200ms\"").start();
    let mut client = node.connect();
    client.send(get("/"));
    let head = client.head();
    let cut = client.body(head).unwrap_err();
    assert_eq!(cut.bytes, b"half");
    node.await_metric("weir_upstream_errors_total", &[("reason", "idle_timeout")], 1);
}

#[test]
fn the_origin_closes_without_a_word() {
    let origin = Origin::scripted(|peer| drop(peer.request()));
    let node = Setup::new(origin.address).start();
    expect_failure(&node, 502, "reset", "reset");
    assert_eq!(origin.connections(), 1, "a fresh connection that fails isn't tried again");
}

#[test]
fn the_origin_resets() {
    let origin = Origin::scripted(|peer| {
        drop(peer.request());
        peer.reset();
    });
    let node = Setup::new(origin.address).start();
    expect_failure(&node, 502, "reset", "reset");
}

#[test]
fn answers_that_are_no_sound_http_are_not_relayed() {
    let answers: &[&[u8]] = &[
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ];
    for bytes in answers {
        let shown = bytes.escape_ascii();
        let origin = Origin::answering(move |_| bytes.to_vec());
        let node = Setup::new(origin.address).start();
        let mut client = node.connect();
        let (answer, reason) = ask_for_reason(&mut client);
        assert_eq!((answer.status(), reason.as_str()), (502, "bad_response"), "{shown}");
        assert_eq!(node.await_event_of(&answer)["origin_error"], "bad_response", "{shown}");
        assert_eq!(client.get("/").status(), 502, "{shown}");
        assert_eq!(origin.connections(), 2, "{shown}: no such connection is used twice");
    }
}

#[test]
fn a_head_without_end_is_not_relayed() {
    let origin = Origin::answering(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
        answer.extend(b"X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(5000));
        answer
    });
    let node = Setup::new(origin.address).start();
    expect_failure(&node, 502, "bad_response", "bad_response");
}

#[test]
fn too_many_interim_answers_are_not_relayed() {
    let origin = Origin::answering(|_| b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000));
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/"));
    let statuses = eventually("the end of it", || {
        let status = client.head().status();
        (status != 102).then_some(status)
    });
    assert_eq!(statuses, 502);
}

/// Starts a node before an origin that sends `answer` and closes.
fn node_before(answer: &'static [u8]) -> (Node, Origin) {
    let origin = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            peer.send(answer);
        }
    });
    (Setup::new(origin.address).start(), origin)
}

#[test]
fn a_cut_answer_is_seen_as_cut_by_curl() {
    let cut: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf",
    ];
    for answer in cut {
        let shown = answer.escape_ascii();
        let (node, _origin) = node_before(answer);
        let output = node.curl(&[], "/");
        assert_eq!(output.status.code(), Some(18), "{shown}: {output:?}");
        assert_eq!(output.stdout, b"half", "{shown}");
        node.await_metric("weir_upstream_errors_total", &[("reason", "truncated")], 1);
    }
}

#[test]
fn a_reset_within_an_answer_is_seen_as_such() {
    let starts: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhalf",
    ];
    for start in starts {
        let shown = start.escape_ascii();
        let gate = Gate::closed();
        let waits = gate.clone();
        let origin = Origin::scripted(move |peer| {
            if peer.request().is_some() {
                peer.send(start);
                waits.pass();
                peer.reset();
            }
        });
        let node = Setup::new(origin.address).start();
        let mut client = node.connect();
        client.send(get("/"));
        let head = client.head();
        gate.open();
        let cut = client.body(head).expect_err("this body is not whole");
        assert_eq!(cut.bytes, b"half", "{shown}");
        node.await_metric("weir_upstream_errors_total", &[("reason", "truncated")], 1);
    }
}

#[test]
fn a_broken_chunk_behind_the_head_cuts_the_answer_off() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            waits.pass();
            peer.send("zz\r\n");
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/"));
    let head = client.head();
    gate.open();
    let cut = client.body(head).expect_err("this body is not whole");
    assert_eq!(cut.bytes, b"half");
    node.await_metric("weir_upstream_errors_total", &[("reason", "bad_response")], 1);
}

#[test]
fn a_broken_chunk_that_comes_with_the_head_is_no_answer_at_all() {
    let (node, _origin) =
        node_before(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n");
    let mut client = node.connect();
    let (answer, reason) = ask_for_reason(&mut client);
    assert_eq!((answer.status(), reason.as_str()), (502, "bad_response"));
    node.await_metric("weir_upstream_errors_total", &[("reason", "bad_response")], 1);
}

#[test]
fn a_cut_answer_to_a_client_of_http_1_0_ends_with_a_reset() {
    let (node, _origin) = node_before(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    let mut client = node.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let rest = client.rest();
    assert_eq!(rest.end, End::Reset, "where only the end marks the end, it must not be in order: {rest:?}");
}

#[test]
fn bytes_behind_an_answer_never_reach_a_client() {
    let origin = Origin::answering(|request| {
        let mut answer = ok(request.target().as_bytes());
        answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        answer
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for number in 0..5 {
        let target = format!("/{number}");
        assert_eq!(client.get(&target).text(), target);
    }
    assert_eq!(origin.connections(), 5, "no such connection is used twice");
}

#[test]
fn bytes_that_nobody_asked_for_end_an_idle_connection() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::scripted(move |peer| {
        if let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
            waits.pass();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    assert_eq!(client.get("/1").text(), "/1");
    node.await_metric("weir_upstream_connections", &[("state", "idle")], 1);
    gate.open();
    origin.await_end(0);
    assert_eq!(client.get("/2").text(), "/2");
}

/// An origin that answers the first request of its first connection, and closes that connection on the second: as one
/// does that took the connection for idle.
fn stale_once() -> Origin {
    Origin::scripted(|peer| {
        let limit = if peer.number == 0 { 1 } else { usize::MAX };
        for served in 0_usize.. {
            let Some(request) = peer.request() else { return };
            if served == limit {
                return;
            }
            peer.send(ok(&[request.target().as_bytes(), &request.body].concat()));
        }
    })
}

#[test]
fn a_stale_connection_is_made_up_for_once_where_repeating_is_safe() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        let origin = stale_once();
        let node = Setup::new(origin.address).start();
        let mut client = node.connect();
        assert_eq!(client.get("/first").status(), 200);
        client.send(format!("{method} /second HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = if method == "HEAD" { client.answer_without_body() } else { client.answer() };
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(origin.targets(), ["/first", "/second", "/second"], "{method}");
        assert_eq!(origin.connections(), 2, "{method}");
        assert_eq!(node.metric("weir_upstream_retries_total", &[("origin", "app")]), 1, "{method}");
        assert_eq!(node.events().len(), 0, "{method}");
    }
}

#[test]
fn a_put_is_repeated_only_while_all_of_its_body_is_held() {
    for (mode, status) in [("block", 200), ("monitoring", 502)] {
        let origin = stale_once();
        let node = Setup::new(origin.address).mode(mode).start();
        let mut client = node.connect();
        assert_eq!(client.get("/first").status(), 200);
        let answer = client.ask("PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(answer.status(), status, "{mode}");
        if status == 200 {
            assert_eq!(answer.text(), "/puthello");
        }
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    for mode in ["off", "monitoring", "block"] {
        let origin = stale_once();
        let node = Setup::new(origin.address).mode(mode).start();
        let mut client = node.connect();
        assert_eq!(client.get("/first").status(), 200);
        assert_eq!(client.ask(post("/pay", b"amount=1")).status(), 502, "{mode}");
        assert_eq!(origin.targets(), ["/first", "/pay"], "{mode}");
    }
}

#[test]
fn a_dead_address_is_passed_over_for_a_while() {
    let origin = Origin::echoing_targets();
    let unserved = Unserved::reserve();
    let node = Setup::new(origin.address).address(unserved.address).start();
    // Connections are closed after each answer, so that each request chooses anew.
    for number in 0..10 {
        assert_eq!(node.get(&format!("/{number}")).status(), 200);
    }
    let refused = [("origin", "app"), ("reason", "connect_refused")];
    assert_eq!(node.metric("weir_upstream_errors_total", &refused), 1);
    node.await_log("which address", |entry| entry["reason"] == "connect_refused");
}

#[test]
fn a_slow_origin_does_not_get_the_request_again() {
    let origin = Origin::scripted(|peer| {
        if let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
            drop(peer.request());
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).origin("first_byte_timeout = \"200ms\"").start();
    let mut client = node.connect();
    // The origin is a thread of the tests, which may be late.
    eventually("an answer in time", || (client.get("/first").status() == 200).then_some(()));
    assert_eq!(client.ask("DELETE /slow HTTP/1.1\r\nHost: a\r\n\r\n").status(), 504);
    let deleted = origin.targets().into_iter().filter(|target| target != "/first");
    assert_eq!(deleted.collect::<Vec<_>>(), ["/slow"]);
}

#[test]
fn a_request_is_repeated_once_and_not_again() {
    let origin = Origin::scripted(|peer| {
        // The first connection answers once; all others take the request and close.
        if let Some(request) = peer.request()
            && peer.number == 0
        {
            peer.send(ok(request.target().as_bytes()));
            drop(peer.request());
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    assert_eq!(client.get("/first").status(), 200);
    assert_eq!(client.get("/second").status(), 502);
    assert_eq!(origin.targets(), ["/first", "/second", "/second"]);
}

#[test]
fn an_origin_that_closes_an_idle_connection_costs_nothing() {
    let origin = Origin::scripted(|peer| {
        if let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for number in 0..5 {
        assert_eq!(client.ask(post(&format!("/{number}"), b"a=b")).status(), 200);
        // Known before it is used: not even a POST meets it.
        node.await_metric("weir_upstream_connections", &[], 0);
    }
}

#[test]
fn a_connection_that_the_origin_announces_to_close_is_not_used_again() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(post("/", b"a=b")).text(), "ok");
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_failed_upload_is_answered_while_the_client_still_sends() {
    let unserved = Unserved::reserve();
    let node = Setup::new(unserved.address).start();
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nstart");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.field("connection")), (502, Some("close")));
}

#[test]
fn a_listener_that_takes_connections_and_never_reads_is_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let node = Setup::new(listener.local_addr().unwrap())
        .origin("first_byte_timeout = \"300ms\"\nidle_timeout = \"300ms\"")
        .start();
    let request = post("/", &crate::support::pattern(24 * 1024 * 1024));
    let mut client = node.connect();
    let mut sender: TcpStream = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || drop(std::io::Write::write_all(&mut sender, &request)));
    assert_eq!(client.answer().status(), 504);
    drop(client.rest());
    sending.join().unwrap();
}

#[test]
fn disturbed_answers_leave_the_node_in_order() {
    const SOUND: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 11\r\n\r\nhello=world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n0\r\nT: x\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\nuntil the end",
    ];
    let seeded = std::sync::Mutex::new(Seeded(11));
    let origin = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            let answer = {
                let mut seeded = seeded.lock().unwrap();
                let kind = seeded.next(SOUND.len());
                seeded.disturb(SOUND[kind])
            };
            peer.send(answer);
        }
    });
    let node = Setup::new(origin.address).start();
    for _ in 0..600 {
        let mut client = node.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let rest = client.rest();
        assert!(rest.bytes.starts_with(b"HTTP/1.1 "), "every request is answered: {rest:?}");
    }
    node.await_metric("weir_connections", &[], 0);
    node.await_metric("weir_upstream_connections", &[], 0);
}
