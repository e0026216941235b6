//! Heads that are no sound HTTP are refused in every mode and never reach an origin; bodies that turn out to be broken
//! never complete there.

use crate::support::client::{chunked_post, get};
use crate::support::message::End;
use crate::support::node::Node;
use crate::support::origin::Origin;
use crate::support::setup::Setup;
use crate::support::{Seeded, eventually};

/// A head and the status that refuses it.
struct BadHead {
    /// The point of the checklist that it stands for.
    point: u32,
    status: u16,
    bytes: Vec<u8>,
}

fn bad(point: u32, status: u16, bytes: impl AsRef<[u8]>) -> BadHead {
    BadHead { point, status, bytes: bytes.as_ref().to_vec() }
}

/// A sound request with these fields in place of what a GET would have.
fn with_fields(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n\r\n")
}

fn with_target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: site.example\r\n\r\n")
}

fn bad_request_lines() -> Vec<BadHead> {
    vec![
        bad(1, 400, "GET / HTTP/1.1\nHost: a\n\n"),
        bad(1, 400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        bad(1, 400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        bad(1, 400, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        bad(1, 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n"),
        bad(2, 400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(2, 400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(3, 501, "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(3, 400, "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(3, 400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(3, 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(3, 400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(3, 501, format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(100))),
        bad(4, 505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        bad(4, 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        bad(4, 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        bad(4, 400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
        bad(4, 400, "GET /\r\nHost: a\r\n\r\n"),
        bad(4, 400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        bad(5, 405, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"),
        bad(5, 405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(5, 400, with_target("a.example:443")),
        bad(5, 400, with_target("*")),
        bad(5, 400, with_target("index.html")),
        bad(5, 400, with_target("ftp://site.example/")),
        bad(5, 400, with_target("http://other.example/")),
        bad(5, 400, with_target("http://user@site.example/")),
        bad(6, 400, with_target("/a#b")),
        bad(6, 400, with_target("/a\u{7f}")),
        bad(6, 400, with_target("/a\tb")),
        bad(6, 400, with_target("/a b")),
        bad(6, 400, with_target("/caf\u{e9}")),
        bad(6, 400, with_target("/a\0b")),
        bad(7, 414, with_target(&format!("/{}", "a".repeat(25 * 1024)))),
        bad(7, 431, with_fields(&format!("X-Long: {}", "a".repeat(33 * 1024)))),
        bad(7, 431, with_fields("X: y\r\n".repeat(120).trim_end())),
    ]
}

fn bad_fields() -> Vec<BadHead> {
    vec![
        bad(8, 400, with_fields("Bad Name: x")),
        bad(8, 400, with_fields("Name : x")),
        bad(8, 400, with_fields(": x")),
        bad(8, 400, with_fields("no colon")),
        bad(8, 400, with_fields("X: folded\r\n over two lines")),
        bad(8, 400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        bad(9, 400, with_fields("X: a\0b")),
        bad(9, 400, with_fields("X: a\u{1}b")),
        bad(9, 400, with_fields("X: a\u{7f}b")),
        bad(10, 400, "GET / HTTP/1.1\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost: a:port\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        bad(10, 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        bad(16, 400, with_fields("Connection: host")),
        bad(16, 400, with_fields("Connection: close, Content-Length")),
        bad(16, 400, with_fields("Connection: transfer-encoding")),
        bad(16, 400, with_fields("Cookie: a=b\r\nConnection: cookie")),
        bad(16, 400, with_fields("Connection: authorization")),
        bad(16, 400, with_fields("Connection: X-Forwarded-For")),
        bad(31, 417, with_fields("Content-Length: 1\r\nExpect: the-unexpected")),
    ]
}

fn bad_framing() -> Vec<BadHead> {
    let lengths =
        ["+5", "-1", "0x5", "5_0", "5 0", "5,5", "5, 5", "", "9223372036854775808", "5\t", "five", "5.0"];
    let codings = [
        "chunked, chunked",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "",
        "identity",
        "chunked, gzip",
        "\u{b}chunked",
        "\tchunked",
        "chunked,",
        ", chunked",
        "chunk ed",
    ];
    let mut all = vec![
        bad(11, 400, with_fields("Content-Length: 5\r\nContent-Length: 5")),
        bad(11, 400, with_fields("Content-Length: 5\r\nContent-Length: 6")),
        bad(12, 400, with_fields("Content-Length: 4\r\nTransfer-Encoding: chunked")),
        bad(12, 400, with_fields("Transfer-Encoding: chunked\r\nContent-Length: 4")),
        bad(13, 400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        bad(14, 501, with_fields("Transfer-Encoding: gzip, chunked")),
        bad(14, 400, with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        bad(14, 400, with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
        bad(14, 400, with_fields("Transfer-Encoding : chunked")),
        bad(14, 400, with_fields("Transfer-Encoding:\r\n chunked")),
    ];
    all.extend(lengths.iter().map(|length| bad(11, 400, with_fields(&format!("Content-Length: {length}")))));
    all.extend(
        codings.iter().map(|coding| bad(14, 400, with_fields(&format!("Transfer-Encoding: {coding}")))),
    );
    all
}

/// What stands behind each bad head: it must not be taken for a request.
const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: site.example\r\n\r\n";

/// Asks for a page: had anything reached the origin before, it would be seen now.
#[track_caller]
fn expect_nothing_but_a_probe(node: &Node, origin: &Origin, context: &str) {
    assert_eq!(node.get("/probe").status(), 200, "{context}");
    assert_eq!(origin.targets(), ["/probe"], "{context}");
    assert_eq!(origin.connections(), 1, "{context}");
}

#[track_caller]
fn refuses_heads(mode: &str, heads: &[BadHead]) {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode(mode).start();
    let mut failures = Vec::new();
    for head in heads {
        let shown =
            format!("point {}: {}", head.point, head.bytes[..head.bytes.len().min(120)].escape_ascii());
        let mut client = node.connect();
        client.send([&head.bytes, SMUGGLED.as_bytes()].concat());
        client.finish_sending();
        let rest = client.rest();
        let text = String::from_utf8_lossy(&rest.bytes).into_owned();
        if !text.starts_with(&format!("HTTP/1.1 {} ", head.status)) {
            failures.push(format!(
                "{shown}: not {}: {}",
                head.status,
                text.lines().next().unwrap_or_default()
            ));
        }
        let close = text.split("\r\n").any(|line| line.eq_ignore_ascii_case("connection: close"));
        if !close || text.matches("HTTP/1.1 ").count() != 1 {
            failures.push(format!("{shown}: the answer is not the last word: {text}"));
        }
    }
    assert!(failures.is_empty(), "{mode}: {failures:#?}");
    assert_eq!(node.metric("weir_protocol_errors_total", &[]), heads.len() as u64, "{mode}");
    expect_nothing_but_a_probe(&node, &origin, mode);
}

#[test]
fn bad_request_lines_are_refused_in_every_mode() {
    for mode in ["off", "monitoring", "block"] {
        refuses_heads(mode, &bad_request_lines());
    }
}

#[test]
fn bad_fields_are_refused_in_every_mode() {
    for mode in ["off", "monitoring", "block"] {
        refuses_heads(mode, &bad_fields());
    }
}

#[test]
fn bad_framing_is_refused_in_every_mode() {
    for mode in ["off", "monitoring", "block"] {
        refuses_heads(mode, &bad_framing());
    }
}

#[test]
fn a_refusal_carries_its_reason_and_an_id() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let answer = node.connect().ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.field("x-request-id").unwrap().len(), 32);
    assert!(answer.text().contains("duplicate_host"), "{answer:?}");
    assert_eq!(
        node.metric("weir_protocol_errors_total", &[("status", "400"), ("code", "duplicate_host")]),
        1
    );
}

#[test]
fn a_refused_head_makes_an_event_of_what_is_known() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let answer = node.connect().ask("DELETE /secret?token=1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let event = node.await_event_of(&answer);
    for (field, value) in [
        ("reason", "protocol"),
        ("code", "duplicate_host"),
        ("action", "blocked"),
        ("client_ip", "127.0.0.1"),
        ("method", "DELETE"),
        ("path", "/secret"),
        ("host", ""),
    ] {
        assert_eq!(event[field], value, "{event}");
    }
    assert_eq!((&event["status"], &event["application"]), (&400.into(), &(-1).into()), "{event}");
    assert!(
        event["server"].is_null() && event["mode"].is_null() && event["attack_class"].is_null(),
        "{event}"
    );
    assert!(event.get("suppressed_before").is_none(), "{event}");
}

#[test]
fn a_refused_body_makes_an_event_with_all_that_its_head_said() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode("block")
        .server("[server.limits]\nrequest_body_bytes = \"10B\"")
        .start();
    for (request, status, code) in [
        (chunked_post("/x") + "zz\r\n", 400, "bad_chunk_size"),
        (chunked_post("/x") + "b\r\nlonger-body\r\n0\r\n\r\n", 413, "request_body_too_long"),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n".to_owned(),
            413,
            "request_body_too_long",
        ),
    ] {
        let answer = node.connect().ask(request);
        let event = node.await_event_of(&answer);
        assert_eq!((&event["status"], &event["code"]), (&status.into(), &code.into()), "{event}");
        assert_eq!((&event["server"], &event["mode"]), (&"site".into(), &"block".into()), "{event}");
        assert_eq!((&event["path"], &event["reason"]), (&"/x".into(), &"protocol".into()), "{event}");
    }
}

#[test]
fn a_flood_of_garbage_does_not_fill_the_event_file() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).events("refusals_per_second = 1").start();
    for _ in 0..200 {
        assert_eq!(node.connect().ask("garbage\r\n\r\n").status(), 400);
    }
    assert_eq!(node.metric("weir_protocol_errors_total", &[]), 200);
    let suppressed = node.metric("weir_events_suppressed_total", &[]) as usize;
    assert!(suppressed > 0, "200 refusals, each with an event");
    node.await_events(200 - suppressed);
    let silent = Setup::new(origin.address).events("refusals_per_second = 0").start();
    assert_eq!(silent.connect().ask("garbage\r\n\r\n").status(), 400);
    assert_eq!(silent.metric("weir_events_suppressed_total", &[]), 0);
    assert!(silent.events().is_empty());
}

#[test]
fn a_bad_head_behind_a_good_one_ends_the_connection_after_the_answer() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/good") + "BAD\r\n\r\n" + &get("/after"));
    assert_eq!(client.answer().text(), "/good");
    assert_eq!(client.answer().status(), 400);
    client.finish_sending();
    client.expect_close();
    assert_eq!(origin.targets(), ["/good"]);
}

#[test]
fn a_tls_client_on_a_plain_port_is_refused() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.answer().status(), 400);
    expect_nothing_but_a_probe(&node, &origin, "TLS");
}

/// Bodies that break: what comes behind the first, sound chunk.
fn broken_chunks() -> Vec<(&'static str, Vec<u8>)> {
    let cases: [(&str, &[u8]); 20] = [
        ("no hex digits", b"xyz\r\n"),
        ("no digits at all", b"\r\n"),
        ("an extension without a size", b";ext\r\n"),
        ("a space before the size", b" 5\r\nhello\r\n"),
        ("a space behind the size", b"5 \r\nhello\r\n"),
        ("a tab behind the size", b"5\t\r\nhello\r\n"),
        ("a hex prefix", b"0x5\r\nhello\r\n"),
        ("a plus", b"+5\r\nhello\r\n"),
        ("a minus", b"-5\r\nhello\r\n"),
        ("an underscore", b"1_0\r\nhello\r\n"),
        ("LF alone behind the size", b"5\nhello\r\n"),
        ("CR alone behind the size", b"5\rhello\r\n"),
        ("no line end behind the data", b"5\r\nhello0\r\n\r\n"),
        ("LF alone behind the data", b"5\r\nhello\n0\r\n\r\n"),
        ("more data than the size", b"5\r\nhello world\r\n0\r\n\r\n"),
        ("a size beyond 64 bits", b"10000000000000005\r\nhello\r\n"),
        ("a size that overflows", b"FFFFFFFFFFFFFFFF\r\nhello\r\n"),
        ("a bare LF in an extension", b"5;a\nb\r\nhello\r\n"),
        ("a NUL in an extension", b"5;a\0b\r\nhello\r\n"),
        ("a trailer that is no field", b"0\r\nno field\r\n\r\n"),
    ];
    let mut all: Vec<(&str, Vec<u8>)> = cases.iter().map(|(what, bytes)| (*what, bytes.to_vec())).collect();
    all.push((
        "an endless size line",
        [b"5;".to_vec(), vec![b'a'; 5000], b"\r\nhello\r\n".to_vec()].concat(),
    ));
    all.push(("endless trailers", [b"0\r\n".to_vec(), b"X: y\r\n".repeat(4000), b"\r\n".to_vec()].concat()));
    all.push(("endless extensions", b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(1000)));
    all
}

#[test]
fn a_broken_body_never_completes_at_the_origin() {
    for mode in ["off", "monitoring"] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).start();
        for (number, (what, bytes)) in broken_chunks().into_iter().enumerate() {
            let mut client = node.connect();
            client.send(chunked_post("/broken") + "4\r\ngood\r\n");
            eventually("the sound part to arrive", || (origin.connections() == number + 1).then_some(()));
            client.send(bytes);
            client.finish_sending();
            let rest = client.rest();
            assert!(rest.bytes.starts_with(b"HTTP/1.1 400 "), "{mode}, {what}: {rest:?}");
            assert_eq!(origin.await_end(number), End::Reset, "{mode}, {what}");
        }
        assert_eq!(origin.requests().len(), 0, "{mode}");
        assert!(!String::from_utf8(origin.raw()).unwrap().contains("hello world"), "{mode}");
    }
}

#[test]
fn a_broken_body_that_is_held_never_reaches_the_origin() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    for (what, bytes) in broken_chunks() {
        let mut client = node.connect();
        client.send(chunked_post("/broken") + "4\r\ngood\r\n");
        client.send(bytes);
        client.finish_sending();
        let rest = client.rest();
        assert!(rest.bytes.starts_with(b"HTTP/1.1 400 "), "{what}: {rest:?}");
    }
    expect_nothing_but_a_probe(&node, &origin, "block");
}

#[test]
fn a_held_request_that_is_refused_for_its_body_counts_as_blocked() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    let answer = node.connect().ask(chunked_post("/broken") + "xyz\r\n");
    assert_eq!(answer.status(), 400);
    assert_eq!(
        node.metric("weir_requests_total", &[("verdict", "pass")]),
        0,
        "nothing went on to the origin"
    );
    assert_eq!(node.metric("weir_requests_total", &[("verdict", "block")]), 1);
    assert_eq!(node.metric("weir_blocked_total", &[("reason", "protocol")]), 1);
}

#[test]
fn a_held_body_that_breaks_off_never_reaches_the_origin() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    for request in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let request = format!("POST /cut HTTP/1.1\r\nHost: site.example\r\n{request}");
        let mut client = node.connect();
        client.send(&request);
        client.finish_sending();
        drop(client.rest());
        let mut client = node.connect();
        client.send(&request);
        client.reset();
    }
    node.await_metric("weir_connections", &[], 0);
    expect_nothing_but_a_probe(&node, &origin, "block");
}

#[test]
fn what_follows_a_body_is_the_next_request() {
    for mode in ["off", "monitoring", "block"] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).start();
        let mut client = node.connect();
        client.send(chunked_post("/one") + "3\r\nabc\r\n0\r\n\r\n" + &get("/two"));
        assert_eq!(client.answer().text(), "/one", "{mode}");
        assert_eq!(client.answer().text(), "/two", "{mode}");
        // A length of its own ends a body too, whatever the bytes behind it look like.
        client.send("GET /three HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /four HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().text(), "/three", "{mode}");
        assert_eq!(client.answer().text(), "/four", "{mode}");
        assert_eq!(origin.targets(), ["/one", "/two", "/three", "/four"], "{mode}");
    }
}

#[test]
fn disturbed_requests_leave_the_node_in_order() {
    let sound: [&[u8]; 3] = [
        b"GET /path?query=1 HTTP/1.1\r\nHost: site.example\r\nCookie: a=b\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello=worldGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n0\r\nT: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for mode in ["monitoring", "block"] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).start();
        let mut seeded = Seeded(7);
        for round in 0..600 {
            let bytes = seeded.disturb(sound[round % sound.len()]);
            let mut client = node.connect();
            let cut = seeded.next(bytes.len() + 1);
            client.send(&bytes[..cut]);
            client.send(&bytes[cut..]);
            client.finish_sending();
            // Whatever it is, it comes to an end.
            drop(client.rest());
        }
        assert_eq!(node.get("/still-here").status(), 200, "{mode}");
        node.await_metric("weir_connections", &[], 0);
        assert_eq!(node.metric("weir_upstream_connections", &[("state", "active")]), 0, "{mode}");
        assert_eq!(node.metric("weir_upstream_connections", &[("state", "connecting")]), 0, "{mode}");
    }
}
