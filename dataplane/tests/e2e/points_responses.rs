//! The checklist of HTTP/1.1 framing, responses: one test a point; and origins that are broken or malicious, which must
//! harm neither the node nor another client.

use crate::support::client::{chunked_post, get};
use crate::support::message::{End, Message};
use crate::support::node::Node;
use crate::support::origin::{Gate, Origin, ok};
use crate::support::setup::Setup;

/// An origin that answers `/bad` with these bytes and keeps the connection, and everything else in order.
fn origin_of(bad: impl Into<Vec<u8>>) -> Origin {
    let bad = bad.into();
    Origin::answering(move |request| match request.target() {
        "/bad" => bad.clone(),
        target => ok(target.as_bytes()),
    })
}

/// What a client hears of `/bad`; then another client, and where it lives on the same connection, must get what is theirs.
#[track_caller]
fn heard_of(bad: &[u8], request: &str) -> (Node, Origin, Message) {
    let origin = origin_of(bad);
    let node = Setup::new(origin.address).mode("off").start();
    let mut client = node.connect();
    client.send(request);
    let answer = if request.starts_with("HEAD ") { client.answer_without_body() } else { client.answer() };
    let shown = &bad[..bad.len().min(100)].escape_ascii();
    for target in ["/good/1", "/good/2"] {
        assert_eq!(node.get(target).text(), target, "behind {shown}");
    }
    if answer.field("connection") != Some("close") && !request.contains("HTTP/1.0") {
        assert_eq!(client.get("/good/3").text(), "/good/3", "behind {shown}");
    }
    (node, origin, answer)
}

#[track_caller]
fn status_of(bad: &str) -> u16 {
    heard_of(bad.as_bytes(), &get("/bad")).2.status()
}

#[test]
fn point_25_interim_answers() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    let origin = origin_of(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{fine}"));
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/bad"));
    assert_eq!(
        (client.answer().status(), client.answer().text()),
        (103, "fine".to_owned()),
        "100 is the node's own"
    );
    let mut old = node.connect();
    old.send("GET /bad HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(old.answer().text(), "fine", "HTTP/1.0 knows no interim answers");
    assert_eq!(status_of(&format!("{}{fine}", "HTTP/1.1 102 Wait\r\n\r\n".repeat(9))), 502);
    for switch in
        ["HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n"]
    {
        assert_eq!(status_of(switch), 502, "nobody asked for {switch:?}");
    }
}

#[test]
fn point_26_answers_without_a_body_have_none_whatever_they_say() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for status in ["204 No Content", "304 Not Modified"] {
        for framing in ["Content-Length: 57\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let bad = format!("HTTP/1.1 {status}\r\n{framing}\r\n{poison}");
            let (_, origin, answer) = heard_of(bad.as_bytes(), &get("/bad"));
            assert_eq!(answer.status().to_string(), status[..3]);
            assert!(!answer.has("transfer-encoding"), "{answer:?}");
            assert!(origin.connections() > 1, "a connection with bytes behind its answer is not used again");
        }
    }
    let bad = format!("HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n{poison}");
    let (_, origin, answer) = heard_of(bad.as_bytes(), "HEAD /bad HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status(), answer.field("content-length")), (200, Some("57")));
    assert!(origin.connections() > 1);
}

#[test]
fn point_27_contradictory_framing_of_an_answer_is_refused() {
    for (fields, status) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", 502),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", 502),
        ("Content-Length: 4\r\nContent-Length: 5", 502),
        ("Content-Length: 4, 5", 502),
        ("Content-Length: +4", 502),
        ("Content-Length: 0x4", 502),
        ("Content-Length: ", 502),
        ("Content-Length: 99999999999999999999", 502),
        ("Transfer-Encoding: gzip, chunked", 502),
        ("Transfer-Encoding: xchunked", 502),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 502),
        ("Content-Length: 4\r\nContent-Length: 4", 200),
        ("Content-Length: 4, 4", 200),
    ] {
        assert_eq!(status_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nbody")), status, "{fields}");
    }
    assert_eq!(status_of("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 502);
}

/// An origin that sends this and then ends the connection as `end` says.
fn ends_with(bytes: &'static str, end: End) -> (Node, Gate) {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            peer.send(bytes);
            if end == End::Reset {
                waits.pass();
                peer.reset();
            }
        }
    });
    (Setup::new(origin.address).start(), gate)
}

#[test]
fn point_28_a_body_that_ends_with_the_connection_is_framed_and_a_cut_one_stays_cut() {
    let bytes = "HTTP/1.1 200 OK\r\n\r\nall of it";
    let (node, _) = ends_with(bytes, End::Closed);
    let answer = node.get("/");
    assert_eq!((answer.text(), answer.chunked), ("all of it".to_owned(), true));
    let (node, gate) = ends_with(bytes, End::Reset);
    let mut client = node.connect();
    client.send(get("/"));
    let head = client.head();
    gate.open();
    assert_eq!(client.body(head).expect_err("it is cut").bytes, b"all of it");
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (node, _) = ends_with(cut, End::Closed);
        let mut client = node.connect();
        client.send(get("/"));
        let head = client.head();
        assert_eq!(client.body(head).expect_err("it is cut").bytes, b"half", "{cut}");
    }
}

#[test]
fn point_29_clients_of_http_1_0_get_no_chunks() {
    let bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n";
    let (_, _, answer) = heard_of(bad, "GET /bad HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((answer.text(), answer.chunked), ("hello".to_owned(), false));
    assert_eq!(answer.field("connection"), Some("close"), "only the end marks the end");
}

#[test]
fn point_30_fields_of_answers_are_checked_like_those_of_requests() {
    for field in [
        "X: a\0b",
        "X: a\u{1}b",
        "X: a\rSet-Cookie: injected",
        "X: a\nSet-Cookie: injected",
        "X: folded\r\n over",
        "X : y",
        "Bad Name: y",
        ": y",
        "no colon",
    ] {
        let (_, _, answer) = heard_of(
            format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 4\r\n\r\nbody").as_bytes(),
            &get("/bad"),
        );
        assert_eq!(answer.status(), 502, "{field:?}");
        assert!(!answer.has("set-cookie"), "{field:?}");
    }
    assert_eq!(status_of("HTTP/1.1 200 OK\r\nX: caf\u{e9}\r\nContent-Length: 4\r\n\r\nbody"), 200);
}

#[test]
fn bad_status_lines_are_refused() {
    for line in [
        "HTTP/1.1 99 Low",
        "HTTP/1.1 1000 High",
        "HTTP/1.1 20 Short",
        "HTTP/1.1 2OO Letters",
        "HTTP/1.1 -200 Sign",
        "HTTP/1.1  200 Blanks",
        "HTTP/1.1200 None",
        "HTTP/1.1",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "<html>no head at all</html>",
    ] {
        assert_eq!(status_of(&format!("{line}\r\nContent-Length: 4\r\n\r\nbody")), 502, "{line:?}");
    }
    assert_eq!(status_of("HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nbody"), 200, "a reason may be missing");
}

#[test]
fn floods_in_heads_are_refused() {
    let flood = |field: &str, count: usize| {
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 4\r\n\r\nbody", field.repeat(count))
    };
    assert_eq!(status_of(&flood("A: b\r\n", 300)), 502, "too many fields");
    assert_eq!(status_of(&flood(&format!("A: {}\r\n", "b".repeat(1000)), 40)), 502, "too large a head");
    assert_eq!(status_of(&flood(&format!("A: {}\r\n", "b".repeat(20_000)), 1)), 200, "one long field fits");
    assert_eq!(status_of(&"HTTP/1.1 102 x\r\nA: b\r\n\r\n".repeat(5000)), 502, "a flood of interim answers");
    assert_eq!(status_of(&flood("Connection: a\r\n", 90)), 502, "too many options of Connection");
}

#[test]
fn broken_chunks_of_an_answer_reach_nobody_as_a_whole() {
    for chunks in [
        "zz\r\n",
        "5\r\nhelloX",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;a[\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nhello",
        "5\r\nhello\r\n0\r\nno field\r\n\r\n",
    ] {
        let bad = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let (node, _, answer) = heard_of(bad.as_bytes(), &get("/bad"));
        assert_eq!(answer.status(), 502, "{chunks:?}");
        node.await_metric("weir_upstream_errors_total", &[("reason", "bad_response")], 1);
    }
    let long = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n",
        "e".repeat(5000)
    );
    assert_eq!(status_of(&long), 502, "an extension above the limit");
}

#[test]
fn bytes_behind_an_answer_poison_nobody() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (head, body) in [
        ("Content-Length: 4", "body"),
        ("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n"),
        ("Content-Length: 0", ""),
    ] {
        let bad = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}{poison}");
        let (_, origin, answer) = heard_of(bad.as_bytes(), &get("/bad"));
        assert_eq!(answer.status(), 200);
        assert!(!answer.text().contains("poison"));
        assert!(origin.connections() > 1, "{head}: that connection is not used again");
    }
}

#[test]
fn an_origin_that_speaks_before_it_is_asked_answers_nobody() {
    let origin = Origin::scripted(|peer| {
        if peer.number == 0 {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
            // A second answer to the same request could be taken for one to the next: nothing tells them apart.
            let _request = peer.request();
            return;
        }
        while let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let node = Setup::new(origin.address).start();
    // Whether the bytes come before or behind the request is a matter of luck: they are an answer, or no answer.
    let first = node.get("/first");
    assert!(first.status() == 502 || ["poison", "/first"].contains(&first.text().as_str()), "{first:?}");
    for number in 0..5 {
        let target = format!("/{number}");
        assert_eq!(node.get(&target).text(), target);
    }
}

#[test]
fn an_early_answer_of_an_origin_that_hangs_up_is_not_mixed_with_the_next() {
    let origin = Origin::scripted(|peer| {
        while let Some(head) = peer.head() {
            if head.target() == "/bad" {
                peer.send("HTTP/1.1 400 Early\r\nContent-Length: 5\r\n\r\nearly");
                return;
            }
            let Some(request) = peer.body(head) else { return };
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let node = Setup::new(origin.address).mode("off").start();
    for _ in 0..3 {
        let mut client = node.connect();
        client.send(chunked_post("/bad") + "4\r\npart\r\n");
        let answer = client.answer();
        assert!(answer.text() == "early" || answer.status() == 502, "{answer:?}");
        client.reset();
        assert_eq!(node.get("/next").text(), "/next");
    }
}
