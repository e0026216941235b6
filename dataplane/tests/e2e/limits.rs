//! Every limit has the outcome that the configuration reference names. Times are short here, and never measured.

use std::time::Duration;

use crate::support::client::{Client, chunked_post, get, post};
use crate::support::eventually;
use crate::support::message::End;
use crate::support::origin::{Gate, Origin, ok};
use crate::support::pattern;
use crate::support::setup::Setup;

const ATTACK: &[u8] = b"id=1' UNION SELECT password FROM users--";

/// A GET whose head has exactly `length` bytes.
fn head_of(length: usize) -> String {
    let shell = "GET / HTTP/1.1\r\nHost: site.example\r\nX-Pad: \r\n\r\n";
    shell.replace("X-Pad: ", &format!("X-Pad: {}", "p".repeat(length - shell.len())))
}

/// What the node says until it closes; nothing if it closes without a word.
fn answer_if_any(mut client: Client) -> Option<String> {
    Some(String::from_utf8(client.rest().bytes).unwrap()).filter(|answer| !answer.is_empty())
}

#[test]
fn a_head_may_be_as_large_as_head_bytes_and_no_larger() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("head_bytes = \"2KiB\"\ntarget_bytes = \"1KiB\"").start();
    assert_eq!(node.connect().ask(head_of(2048)).status(), 200);
    for length in [2049, 3000, 100_000] {
        let mut client = node.connect();
        client.send(head_of(length));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.field("connection")), (431, Some("close")), "{length}");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_target_may_be_as_long_as_target_bytes_and_no_longer() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("target_bytes = \"256B\"").start();
    let target = |length: usize| format!("/{}", "t".repeat(length - 1));
    assert_eq!(node.get(&target(256)).status(), 200);
    assert_eq!(node.get(&target(257)).status(), 414);
    assert_eq!(node.get(&target(20_000)).status(), 414);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_head_may_have_header_count_fields_and_no_more() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("header_count = 10").start();
    let request = |fields: usize| {
        let more: String = (1..fields).map(|number| format!("X-{number}: v\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: site.example\r\n{more}\r\n")
    };
    assert_eq!(node.connect().ask(request(10)).status(), 200);
    assert_eq!(node.connect().ask(request(11)).status(), 431);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_head_that_drips_is_answered_408() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("head_timeout = \"200ms\"").start();
    let mut tried = 0;
    // A connection whose first byte is late gets no answer: then another one is tried.
    let answer = eventually("a head that begins in time", || {
        tried += 1;
        let client = node.connect();
        let mut sender = client.stream.try_clone().unwrap();
        // Byte after byte, each sooner than the time-out: it is for the head as a whole.
        std::thread::spawn(move || {
            let endless = b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
            for byte in endless.take(10_000) {
                if std::io::Write::write_all(&mut sender, &[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        answer_if_any(client)
    });
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "head_timeout")]), tried);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_new_connection_that_says_nothing_is_under_head_timeout() {
    let origin = Origin::echoing_targets();
    let node =
        Setup::new(origin.address).limits("head_timeout = \"200ms\"\nkeep_alive_timeout = \"1h\"").start();
    // There is no request to answer: it is closed, with or without a 408.
    assert_eq!(node.connect().rest().end, End::Closed);
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive_timeout() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("keep_alive_timeout = \"200ms\"").start();
    let mut client = node.connect();
    assert_eq!(client.get("/").status(), 200);
    client.expect_close();
}

#[test]
fn the_last_of_keep_alive_requests_ends_the_connection() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("keep_alive_requests = 3").start();
    let mut client = node.connect();
    for _ in 0..2 {
        assert!(!client.get("/").has("connection"));
    }
    assert_eq!(client.get("/").field("connection"), Some("close"));
    client.expect_close();
}

#[test]
fn a_connection_is_closed_with_an_answer_once_it_is_old() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("connection_age_max = \"1s\"").start();
    let mut client = node.connect();
    eventually("the connection to grow old", || {
        std::thread::sleep(Duration::from_millis(50));
        (client.get("/").field("connection") == Some("close")).then_some(())
    });
    client.expect_close();
}

#[test]
fn a_client_that_asks_for_the_end_gets_it() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.field("connection"), Some("close"));
    client.expect_close();
}

#[test]
fn one_connection_more_than_max_connections_is_closed() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).node("max_connections = 2").start();
    let mut first = node.connect();
    let mut second = node.connect();
    assert_eq!(first.get("/").status(), 200);
    assert_eq!(second.get("/").status(), 200);
    let mut third = node.connect();
    third.send(get("/"));
    assert_eq!(third.rest().bytes, b"");
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "max_connections")]), 1);
    assert_eq!(second.get("/").status(), 200, "those that are open go on");
    drop(first);
    node.await_metric("weir_connections", &[], 1);
    assert_eq!(node.get("/").status(), 200);
}

#[test]
fn a_body_longer_than_request_body_bytes_is_answered_413() {
    for mode in ["off", "monitoring", "block"] {
        let origin = Origin::answering(|request| ok(request.body.len().to_string().as_bytes()));
        let node = Setup::new(origin.address)
            .mode(mode)
            .limits("request_body_bytes = \"64KiB\"")
            .server("[[server.location]]\npath = \"/small\"\n[server.location.limits]\nrequest_body_bytes = \"10B\"")
            .start();
        let body = pattern(64 * 1024);
        assert_eq!(node.connect().ask(post("/", &body)).text(), "65536", "{mode}");
        assert_eq!(node.connect().ask(post("/small", &body[..10])).text(), "10", "{mode}");
        assert_eq!(node.connect().ask(post("/", &pattern(64 * 1024 + 1))).status(), 413, "{mode}");
        assert_eq!(node.connect().ask(post("/small", &body[..11])).status(), 413, "{mode}");
        // What a length would have told at once comes out chunk by chunk.
        let mut client = node.connect();
        client.send(chunked_post("/small") + "a\r\n0123456789\r\n1\r\nx\r\n");
        let answer = client.answer();
        assert_eq!((answer.status(), answer.field("connection")), (413, Some("close")), "{mode}");
        drop(client);
        node.await_metric("weir_connections", &[], 0);
        assert_eq!(origin.requests().len(), 2, "{mode}: nothing too long arrived whole");
        assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "request_body_bytes")]), 3, "{mode}");
    }
}

#[test]
fn an_upload_that_waits_for_100_is_refused_without_it() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("request_body_bytes = \"10B\"").start();
    let answer = node
        .connect()
        .ask("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(answer.status(), 413);
}

#[test]
fn a_body_that_stands_still_is_answered_408() {
    for mode in ["monitoring", "block"] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).limits("body_timeout = \"200ms\"").start();
        for start in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
            let mut client = node.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{start}"));
            let answer = client.answer();
            assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")), "{mode}");
        }
        assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "body_timeout")]), 2, "{mode}");
        assert_eq!(origin.requests().len(), 0, "{mode}");
    }
}

#[test]
fn a_body_that_drips_is_answered_408() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .limits("body_rate_min_bytes = \"1MiB\"\nbody_rate_grace = \"100ms\"")
        .start();
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let mut sender = client.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while std::io::Write::write_all(&mut sender, b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(client.answer().status(), 408);
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "body_rate_min_bytes")]), 1);
}

#[test]
fn an_upload_that_waits_for_a_slow_origin_is_not_the_clients_fault() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::scripted(move |peer| {
        let Some(head) = peer.head() else { return };
        waits.pass();
        let Some(request) = peer.body(head) else { return };
        peer.send(ok(request.body.len().to_string().as_bytes()));
    });
    // Longer than this test may be held up while it sends.
    let node = Setup::new(origin.address).limits("body_timeout = \"4s\"\nbody_rate_min_bytes = 0").start();
    let mut client = node.connect();
    let mut sender = client.stream.try_clone().unwrap();
    // Far more than sockets and the node take in: the client can't go on before the origin reads.
    let body = pattern(24 * 1024 * 1024);
    let request = post("/", &body);
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &request));
    eventually("the upload to stand still", || {
        let before = node.metric("weir_received_bytes_total", &[]);
        std::thread::sleep(Duration::from_secs(5));
        (before > 0 && node.metric("weir_received_bytes_total", &[]) == before).then_some(())
    });
    gate.open();
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text()), (200, body.len().to_string()));
    sending.join().unwrap().unwrap();
}

#[test]
fn a_client_that_takes_no_answer_is_cut_off() {
    let big = pattern(16 * 1024 * 1024);
    let origin = Origin::answering(move |_| ok(&big));
    let node = Setup::new(origin.address).limits("send_timeout = \"300ms\"").start();
    let mut client = Client::connect_with_small_window(node.address);
    client.send(get("/"));
    node.await_metric("weir_limit_hits_total", &[("limit", "send_timeout")], 1);
    node.await_metric("weir_connections", &[], 0);
    assert_eq!(client.rest().end, End::Reset, "a cut answer doesn't end as if it were whole");
}

#[test]
fn a_held_body_beyond_body_limit_passes_where_the_config_says_so() {
    let origin = Origin::answering(|request| ok(request.body.len().to_string().as_bytes()));
    let node = Setup::new(origin.address).mode("block").detection("body_limit = \"1KiB\"").start();
    let body = pattern(300_000);
    let answer = node.connect().ask(post("/length", &body));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "300000"));
    let event = node.await_event_of(&answer);
    assert_eq!(event["attack_class"], "overlimit_res", "{event}");
    assert_eq!((&event["action"], &event["status"]), (&"monitored".into(), &200.into()), "{event}");

    let mut client = node.connect();
    let mut chunked = chunked_post("/chunked").into_bytes();
    for chunk in body.chunks(1000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = client.ask(chunked);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "300000"));
    assert!(origin.requests().iter().all(|request| request.body == body));
    // In whole and in one piece, the limit is met exactly: no event.
    assert_eq!(client.ask(post("/exact", &body[..1024])).text(), "1024");
    node.await_events(2);
}

#[test]
fn an_attack_at_the_start_of_a_long_body_is_blocked() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").detection("body_limit = \"1KiB\"").start();
    let body = [ATTACK, b"&pad=", &pattern(300_000)].concat();
    assert_eq!(node.connect().ask(post("/", &body)).status(), 403);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_beyond_body_limit_is_blocked_where_the_config_says_so() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode("block")
        .detection("body_limit = \"1KiB\"\nover_body_limit = \"block\"")
        .server("[[server.location]]\npath = \"/monitored\"\nmode = \"monitoring\"")
        .start();
    let body = pattern(300_000);
    let answer = node.connect().ask(post("/", &body));
    assert_eq!(answer.status(), 403);
    let event = node.await_event_of(&answer);
    assert_eq!(event["attack_class"], "overlimit_res", "{event}");
    assert_eq!((&event["action"], &event["reason"]), (&"blocked".into(), &"over_limit".into()), "{event}");
    assert_eq!(node.metric("weir_blocked_total", &[("reason", "over_limit")]), 1);
    // Another limit that is reached as well, and that lets pass, doesn't change that.
    let deep = ["[".repeat(100).as_bytes(), &body].concat();
    assert_eq!(node.connect().ask(post("/", &deep)).status(), 403);
    assert_eq!(origin.connections(), 0);
    let answer = node.connect().ask(post("/monitored", &body));
    assert_eq!(answer.status(), 200);
    assert_eq!(node.await_event_of(&answer)["action"], "monitored");
}

#[test]
fn requests_wait_for_a_connection_of_the_origin_and_are_refused_where_none_comes() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            waits.pass();
        }
        ok(request.target().as_bytes())
    });
    let node =
        Setup::new(origin.address).origin("connections = 1\nqueue = 1\nqueue_timeout = \"1h\"").start();
    let mut running = node.connect();
    running.send(get("/slow"));
    eventually("the connection to be in use", || (origin.requests().len() == 1).then_some(()));
    let mut waiting = node.connect();
    waiting.send(get("/waiting"));
    let sent = get("/slow").len() + get("/waiting").len();
    node.await_metric("weir_received_bytes_total", &[], sent as u64);
    // The queue holds one; whoever comes when it is full is refused.
    let mut refused = node.connect();
    eventually("the queue to be full", || (refused.get("/refused").status() == 503).then_some(()));
    assert!(node.metric("weir_limit_hits_total", &[("limit", "origin_queue")]) >= 1);
    gate.open();
    assert_eq!(running.answer().text(), "/slow");
    assert_eq!(waiting.answer().text(), "/waiting");
    assert_eq!(refused.get("/again").text(), "/again", "the refused client's connection lives on");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_request_that_waits_longer_than_queue_timeout_is_refused() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        waits.pass();
        ok(request.target().as_bytes())
    });
    let node = Setup::new(origin.address).origin("connections = 1\nqueue_timeout = \"100ms\"").start();
    let mut running = node.connect();
    running.send(get("/slow"));
    eventually("the connection to be in use", || (origin.requests().len() == 1).then_some(()));
    let answer = node.get("/waiting");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("queue_timeout"), "{answer:?}");
    assert_eq!(node.await_event_of(&answer)["origin_error"], "queue_timeout");
    gate.open();
    assert_eq!(running.answer().text(), "/slow");
}

#[test]
fn an_idle_connection_of_one_origin_makes_room_for_another_origin() {
    let first = Origin::echoing_targets();
    let second = Origin::answering(|_| ok(b"second"));
    let node = Setup::new(first.address)
        .node("origin_connections_total = 1")
        .server("[[server.location]]\npath = \"/second\"\norigin = \"second\"")
        .more(&format!(
            "[[origin]]\nname = \"second\"\naddresses = [\"{}\"]\nqueue_timeout = \"1h\"",
            second.address
        ))
        .start();
    let mut client = node.connect();
    assert_eq!(client.get("/first").text(), "/first");
    assert_eq!(client.get("/second").text(), "second");
    assert_eq!(client.get("/first").text(), "/first");
}

#[test]
fn unused_connections_to_the_origin_are_closed_after_their_time() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).origin("keep_alive_timeout = \"100ms\"").start();
    assert_eq!(node.get("/").status(), 200);
    assert_eq!(origin.await_end(0), End::Closed);
    node.await_metric("weir_upstream_connections", &[], 0);
    assert_eq!(node.get("/").status(), 200);
}

#[test]
fn connections_to_the_origin_serve_requests_per_connection() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).origin("requests_per_connection = 2").start();
    let mut client = node.connect();
    for _ in 0..6 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn connections_to_the_origin_end_at_their_age_however_busy_they_are() {
    let origin = Origin::echoing_targets();
    let node =
        Setup::new(origin.address).origin("connection_age_max = \"1s\"\nkeep_alive_timeout = \"1d\"").start();
    let mut client = node.connect();
    eventually("a second connection", || {
        assert_eq!(client.get("/").status(), 200);
        (origin.connections() > 1).then_some(())
    });
    // And unused ones too.
    let last = origin.connections() - 1;
    assert_eq!(origin.await_end(last), End::Closed);
    eventually("both to be counted", || {
        (node.metric("weir_limit_hits_total", &[("limit", "origin_connection_age")]) > 1).then_some(())
    });
    assert_eq!(node.events().len(), 0);
}

#[test]
fn every_limit_that_is_reached_is_counted() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .limits(
            "head_bytes = \"2KiB\"\ntarget_bytes = \"1KiB\"\nheader_count = 10\nkeep_alive_timeout = \"200ms\"\n\
             keep_alive_requests = 2\nlingering_bytes = \"1KiB\"",
        )
        .detection("body_limit = \"1KiB\"")
        .start();
    drop(node.connect().ask(head_of(3000)));
    drop(node.get(&format!("/{}", "t".repeat(1500))));
    drop(node.connect().ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(20))));
    drop(node.connect().ask(post("/", &pattern(2000))));
    let mut idle = node.connect();
    assert_eq!(idle.get("/").status(), 200);
    idle.expect_close();
    // Both at once: between them it would be idle, and closed if the second one were late.
    let mut twice = node.connect();
    twice.send(get("/") + &get("/"));
    assert_eq!((twice.answer().status(), twice.answer().status()), (200, 200));
    twice.expect_close();
    let missing: Vec<&str> = [
        "head_bytes",
        "target_bytes",
        "header_count",
        "inspected_body_bytes",
        "keep_alive_timeout",
        "keep_alive_requests",
    ]
    .into_iter()
    .filter(|limit| node.metric("weir_limit_hits_total", &[("limit", limit)]) == 0)
    .collect();
    assert!(missing.is_empty(), "reached and not counted: {missing:?}");
}

#[test]
fn a_blocked_client_can_not_hold_its_connection_with_the_rest_of_its_body() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .limits("lingering_timeout = \"200ms\"\nbody_timeout = \"1h\"")
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"127.0.0.1\"\n")
        .start();
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nstart");
    assert_eq!(client.answer().status(), 403);
    let mut sender = client.stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        // Each byte alone would keep the connection for as long as body_timeout allows.
        while std::io::Write::write_all(&mut sender, b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    drop(client.rest());
    dripping.join().unwrap();
    node.await_metric("weir_limit_hits_total", &[("limit", "lingering_timeout")], 1);
}
