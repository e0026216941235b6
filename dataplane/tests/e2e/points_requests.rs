//! The checklist of HTTP/1.1 framing, requests: one test a point, through a real node. The number is in the name.

use crate::support::client::{chunked_post, get};
use crate::support::eventually;
use crate::support::message::End;
use crate::support::node::Node;
use crate::support::origin::{Gate, Origin, ok};
use crate::support::setup::Setup;
use crate::vectors::{Finish, answers, converse};

/// A GET with these fields beside Host.
fn with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n\r\n")
}

/// A POST with these fields beside Host, and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n\r\n{body}")
}

/// A chunked POST with this body.
fn chunked(body: &str) -> String {
    chunked_post("/") + body
}

fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: site.example\r\n\r\n")
}

#[track_caller]
fn check_on(node: &Node, cases: &[(&str, String)]) {
    for (expected, request) in cases {
        let heard = converse(node.address, &[request.clone().into_bytes()], Finish::AtOnce);
        let shown = &request[..request.len().min(200)];
        assert_eq!(answers(&heard), *expected, "{shown:?}");
    }
}

/// Sends each request on a connection of its own and compares the answers; what is refused must not reach the origin.
#[track_caller]
fn check(cases: &[(&str, String)]) {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    check_on(&node, cases);
    let accepted =
        cases.iter().flat_map(|(expected, _)| expected.split(", ")).filter(|answer| *answer == "200");
    assert_eq!(origin.requests().len(), accepted.count());
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn point_01_lines_end_with_crlf_alone() {
    check(&[
        ("400 bare_lf", text("GET / HTTP/1.1\nHost: a\n\n")),
        ("400 bare_lf", text("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n")),
        ("400 bare_cr", text("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n")),
        ("400 bare_cr", text("GET / HTTP/1.1\rHost: a\r\n\r\n")),
    ]);
}

#[test]
fn point_02_one_empty_line_may_stand_before_a_request() {
    check(&[
        ("200", "\r\n".to_owned() + &get("/")),
        ("400 leading_empty_lines", "\r\n\r\n".to_owned() + &get("/")),
        ("400 bare_lf", "\n".to_owned() + &get("/")),
    ]);
}

#[test]
fn point_03_methods_are_tokens_in_upper_case_up_to_32_bytes() {
    let method = |method: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
    check(&[
        ("200", method("PROPFIND")),
        ("200", method(&"M".repeat(32))),
        ("501 method_too_long", method(&"M".repeat(33))),
        ("501 unknown_method", method("get")),
        ("400 bad_request_line", method("GE(T")),
    ]);
}

#[test]
fn point_04_versions_are_1_0_and_1_1() {
    let version = |version: &str| format!("GET / {version}\r\nHost: a\r\n\r\n");
    check(&[
        ("200", version("HTTP/1.0")),
        ("200", version("HTTP/1.1")),
        ("505 unsupported_version", version("HTTP/1.2")),
        ("505 unsupported_version", version("HTTP/2.0")),
        ("505 unsupported_version", text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
        ("400 bad_version", version("http/1.1")),
        ("400 bad_request_line", version("HTTP/1.10")),
    ]);
}

#[test]
fn point_05_target_forms() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let options = |target: &str| format!("OPTIONS {target} HTTP/1.1\r\nHost: site.example\r\n\r\n");
    check_on(
        &node,
        &[
            ("200", target("/a?b")),
            ("200", target("http://site.example/c")),
            ("200", target("HTTP://SITE.example/d")),
            ("200", target("http://site.example?e=/f")),
            ("200", target("http://site.example:80/g")),
            ("400 host_mismatch", target("https://site.example:80/")),
            ("400 host_mismatch", target("http://other.example/")),
            ("200", options("*")),
            ("400 bad_target_form", target("*")),
            ("400 bad_target_form", target("site.example:443")),
            ("405 method_not_allowed", text("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")),
            ("405 method_not_allowed", text("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ],
    );
    assert_eq!(origin.targets(), ["/a?b", "/c", "/d", "/?e=/f", "/g", "*"]);
    let hosts: Vec<_> =
        origin.requests().iter().map(|request| request.field("host").unwrap().to_owned()).collect();
    assert_eq!(
        hosts,
        ["site.example", "site.example", "SITE.example", "site.example", "site.example:80", "site.example"],
        "the target's host counts"
    );
}

#[test]
fn point_06_bytes_of_targets() {
    check(&[
        ("400 fragment_in_target", target("/a#b")),
        ("400 bad_version", target("/a b")),
        ("400 bad_target_byte", target("/a\tb")),
        ("400 bad_target_byte", target("/a\u{7f}")),
        ("400 bad_target_byte", target("/a\0b")),
        ("400 bad_target_byte", target("/caf\u{e9}")),
        ("200", target("/\"<>{}|\\^`?\"<>{}|\\^`")),
    ]);
}

#[test]
fn point_07_sizes_of_heads() {
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let sized = |bytes: usize| format!("X: {}", "v".repeat(bytes - "X: \r\n".len()));
    check(&[
        ("200", target(&format!("/{}", "a".repeat(24 * 1024 - 1)))),
        ("414 target_too_long", target(&format!("/{}", "a".repeat(24 * 1024)))),
        ("200", with(fields(99).trim_end())),
        ("431 too_many_headers", with(fields(100).trim_end())),
        ("200", with(&sized(8 * 1024))),
        ("431 header_too_large", with(&sized(8 * 1024 + 1))),
        ("431 head_too_large", with(&vec![sized(8 * 1024); 4].join("\r\n"))),
    ]);
}

#[test]
fn point_08_names_are_tokens_right_before_the_colon() {
    check(&[
        ("400 bad_header_name", with("Name : x")),
        ("400 bad_header_name", with("Bad Name: x")),
        ("400 bad_header_name", with(": x")),
        ("400 bad_header_name", with("no colon")),
        ("400 leading_space", with("X: folded\r\n over")),
        ("400 leading_space", text("GET / HTTP/1.1\r\n Host: a\r\n\r\n")),
        ("200", with("!#$%&'*+-.^`|~: x")),
    ]);
}

#[test]
fn point_09_values_hold_no_controls() {
    check(&[
        ("400 bad_header_value", with("X: a\0b")),
        ("400 bad_header_value", with("X: a\u{1}b")),
        ("400 bad_header_value", with("X: a\u{b}b")),
        ("400 bad_header_value", with("X: a\u{7f}b")),
        ("200", with("X: a\tb")),
        ("200", with("X: caf\u{e9}")),
    ]);
}

#[test]
fn point_10_exactly_one_sound_host() {
    let hosts = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n");
    check(&[
        ("400 missing_host", text("GET / HTTP/1.1\r\n\r\n")),
        ("200", text("GET / HTTP/1.0\r\n\r\n")),
        ("400 duplicate_host", hosts("Host: a\r\nHost: a")),
        ("400 bad_host", hosts("Host:")),
        ("400 bad_host", hosts("Host: user@a")),
        ("400 bad_host", hosts("Host: a, b")),
        ("400 bad_host", hosts("Host: a/b")),
        ("400 bad_host", hosts("Host: a b")),
        ("400 bad_host", hosts("Host: a:port")),
        ("400 bad_host", hosts("Host: a:65536")),
        ("200", hosts("Host: a:65535")),
        ("200", hosts("Host: [2001:db8::1]:80")),
        ("200", hosts("Host: a:")),
        ("200", hosts("Host: [2001:db8::1]:")),
    ]);
}

#[test]
fn point_11_lengths_are_plain_numbers() {
    let mut cases = vec![
        ("200", post("Content-Length: 5", "hello")),
        ("400 duplicate_content_length", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        ("400 duplicate_content_length", post("Content-Length: 5\r\nContent-Length: 6", "hello")),
    ];
    for value in
        ["+5", "-5", "5 ", "5\t", "\t5", "0x5", "5_0", "5,5", "5, 5", "5.0", "", "9223372036854775808"]
    {
        cases.push(("400 bad_content_length", post(&format!("Content-Length: {value}"), "hello")));
    }
    check(&cases);
}

#[test]
fn point_12_a_coding_and_a_length_together_are_refused() {
    check(&[
        (
            "400 length_and_transfer_encoding",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ),
        (
            "400 length_and_transfer_encoding",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        ),
    ]);
}

#[test]
fn point_13_http_1_0_knows_no_codings() {
    let request = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check(&[("400 transfer_encoding_in_http10", text(request))]);
}

#[test]
fn point_14_the_only_coding_is_chunked() {
    let coding = |value: &str| post(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n");
    let mut cases = vec![
        ("200", coding("chunked")),
        ("200", coding("CHUNKED")),
        ("200", coding("  chunked  ")),
        ("501 unsupported_transfer_encoding", coding("gzip, chunked")),
        ("400 duplicate_transfer_encoding", coding("chunked\r\nTransfer-Encoding: chunked")),
        ("400 bad_header_value", coding("\u{b}chunked")),
    ];
    for value in [
        "chunked, chunked",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "",
        ",chunked",
        "chunked,",
        "identity",
        "chunked, gzip",
        "\tchunked",
        "chunked\t",
    ] {
        cases.push(("400 bad_transfer_encoding", coding(value)));
    }
    check(&cases);
}

#[test]
fn point_15_names_with_underscores_by_policy() {
    let request = with("X_Under: 1\r\nX-Dash: 2");
    for (policy, answer, arrives) in [("pass", "200", true), ("drop", "200", false), ("reject", "400", false)]
    {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).http(&format!("underscore_headers = \"{policy}\"")).start();
        let heard = converse(node.address, &[request.clone().into_bytes()], Finish::AtOnce);
        assert!(answers(&heard).starts_with(answer), "{policy}");
        let requests = origin.requests();
        assert_eq!(requests.iter().any(|request| request.has("x_under")), arrives, "{policy}");
        assert_eq!(requests.iter().any(|request| request.has("x-dash")), answer == "200", "{policy}");
    }
}

#[test]
fn point_16_connection_options_strip_no_end_to_end_fields() {
    let mut cases = vec![("400 bad_connection", with("Connection: a b"))];
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Cookie",
        "Authorization",
        "X-Forwarded-For",
        "x-forwarded-proto",
    ] {
        cases.push(("400 connection_names_end_to_end_field", with(&format!("Connection: close, {name}"))));
    }
    check(&cases);
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let fields = "Connection: X-Hop, TE, keep-alive\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\nX-Stays: 1";
    assert_eq!(node.connect().ask(with(fields)).status(), 200);
    let request = origin.request();
    for name in ["connection", "x-hop", "te", "keep-alive"] {
        assert!(!request.has(name), "{name}: {request:?}");
    }
    assert!(request.has("x-stays"));
}

#[test]
fn point_17_forwarding_fields_of_strangers_are_dropped_and_set() {
    let claims = with(
        "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Port: 6",
    );
    for trusted in [false, true] {
        let origin = Origin::echoing_targets();
        let proxies = if trusted { "trusted_proxies = [\"127.0.0.1\"]" } else { "" };
        let node = Setup::new(origin.address).http(proxies).start();
        assert_eq!(node.connect().ask(claims.clone()).status(), 200);
        let request = origin.request();
        let expected = if trusted { "6.6.6.6, 127.0.0.1" } else { "127.0.0.1" };
        let forwarded_for = request.field("x-forwarded-for").unwrap();
        assert!(
            forwarded_for == expected || (trusted && forwarded_for.starts_with("6.6.6.6")),
            "{forwarded_for}"
        );
        assert_eq!(request.has("x-forwarded-port"), trusted);
        let believed = if trusted { "https" } else { "http" };
        assert_eq!(request.field("x-forwarded-proto"), Some(believed));
        assert!(!request.has("forwarded"), "nobody reads it, so nobody is deceived by it");
        assert_eq!(String::from_utf8(origin.raw()).unwrap().contains("6.6.6.6"), trusted);
    }
}

#[test]
fn point_18_chunks_are_read_to_the_letter() {
    let mut cases = vec![
        ("200", chunked("5\r\nhello\r\n0\r\n\r\n")),
        ("200", chunked("0000000000000005\r\nhello\r\n000\r\n\r\n")),
        ("200", chunked("5;a;b=c;d=\"e f\"\r\nhello\r\n0;x\r\n\r\n")),
        ("400 chunk_too_large", chunked("FFFFFFFFFFFFFFFF\r\nhello")),
        ("400 bad_chunk_end", chunked("5\r\nhelloX\r\n0\r\n\r\n")),
        ("400 bad_chunk_end", chunked("5\r\nhello\n0\r\n\r\n")),
        ("400 bad_chunk_end", chunked("5\r\nhello0\r\n\r\n")),
        ("400 chunk_line_too_large", chunked(&format!("5;{}\r\nhello", "a".repeat(4096)))),
    ];
    for size in ["", ";ext", " 5", "5 ", "5\t", "+5", "-5", "0x5", "5_0", "g", "5\n", "00000000000000005"] {
        cases.push(("400 bad_chunk_size", chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"))));
    }
    for extension in ["", " ", "a\0", "a\nb", "a[", "a b", "a=", "=b", "a=\"b"] {
        cases.push(("400 bad_chunk_extension", chunked(&format!("5;{extension}\r\nhello\r\n0\r\n\r\n"))));
    }
    check(&cases);
}

#[test]
fn point_19_extensions_and_trailers_are_limited_and_dropped() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let long = format!("1;{}\r\nx\r\n", "e".repeat(1000));
    check_on(
        &node,
        &[
            ("400 chunk_extensions_too_large", chunked(&(long.repeat(17) + "0\r\n\r\n"))),
            ("400 trailers_too_large", chunked(&format!("0\r\nX: {}\r\n\r\n", "t".repeat(17 * 1024)))),
            ("400 bad_trailer", chunked("0\r\nno field\r\n\r\n")),
            (
                "200",
                chunked(
                    "1;dropped=1\r\nx\r\n0\r\nHost: dropped\r\nContent-Length: 9\r\nCookie: dropped\r\n\r\n",
                ),
            ),
        ],
    );
    assert!(!origin.request().trailers);
    assert!(!String::from_utf8_lossy(&origin.raw()).contains("dropped"));
}

#[test]
fn point_20_bodies_are_framed_anew() {
    for (mode, framing) in [("off", "Transfer-Encoding: chunked\r\n"), ("block", "Content-Length: 10\r\n")] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).start();
        assert_eq!(
            node.connect().ask(chunked("0005;x\r\nhello\r\n0000005\r\nworld\r\n00;y\r\n\r\n")).status(),
            200
        );
        let raw = String::from_utf8(origin.raw()).unwrap();
        assert!(raw.contains(framing), "{mode}: {raw}");
        assert!(!raw.contains("0005") && !raw.contains(";x") && !raw.contains(";y"), "{mode}: {raw}");
        assert_eq!(origin.request().text(), "helloworld", "{mode}");
    }
}

#[test]
fn point_21_any_method_may_have_a_body_which_is_framed() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let origin = Origin::answering(|request| match request.first_line.starts_with("HEAD ") {
            true => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n".to_vec(),
            false => ok(b"body"),
        });
        let node = Setup::new(origin.address).start();
        let first = format!("{method} /one HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /");
        let heard = converse(node.address, &[(first + &get("/two")).into_bytes()], Finish::AtOnce);
        assert_eq!(answers(&heard), "200, 200", "{method}");
        assert_eq!(origin.targets(), ["/one", "/two"], "{method}");
        assert_eq!(origin.requests()[0].text(), "GET /", "{method}");
    }
}

#[test]
fn point_22_after_an_early_answer_the_connection_is_not_used_again() {
    let origin = Origin::scripted(|peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 403 Early\r\nContent-Length: 5\r\n\r\nearly");
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).mode("off").start();
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status(), answer.text(), answer.field("connection")),
        (403, "early".to_owned(), Some("close"))
    );
    client.send(get("/smuggled"));
    client.finish_sending();
    assert_eq!(client.rest().bytes, b"");
    assert!(!String::from_utf8(origin.raw()).unwrap().contains("smuggled"));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn point_23_bytes_behind_a_message_belong_to_the_next_or_to_nobody() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    check_on(
        &node,
        &[
            ("200, 200", post("Content-Length: 5", "hello") + &get("/next")),
            ("200", post("Content-Length: 5\r\nConnection: close", "hello") + &get("/behind-the-last")),
            ("200", text("GET / HTTP/1.0\r\n\r\n") + &get("/behind-the-last")),
        ],
    );
    assert!(!origin.targets().contains(&"/behind-the-last".to_owned()));
}

#[test]
fn point_24_pipelined_requests_are_forwarded_one_by_one() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/one" {
            waits.pass();
        }
        ok(request.target().as_bytes())
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/one") + &get("/two") + &get("/three"));
    eventually("the first one", || (origin.targets() == ["/one"]).then_some(()));
    node.connect().get("/other");
    assert_eq!(origin.targets(), ["/one", "/other"], "the others wait for the first one's answer");
    gate.open();
    assert_eq!(
        [client.answer(), client.answer(), client.answer()].map(|answer| answer.text()),
        ["/one", "/two", "/three"]
    );
}

#[test]
fn point_31_expectations() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    check_on(
        &node,
        &[
            ("100, 200", post("Content-Length: 5\r\nExpect: 100-continue", "hello")),
            ("100, 200", post("Content-Length: 5\r\nExpect: 100-Continue", "hello")),
            ("200", with("Expect: 100-continue")),
            ("417 unsupported_expectation", post("Content-Length: 5\r\nExpect: 200-ok", "hello")),
            ("400 bad_content_length", post("Content-Length: five\r\nExpect: 100-continue", "hello")),
            (
                "200",
                text("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"),
            ),
        ],
    );
    assert!(origin.requests().iter().all(|request| !request.has("expect")));
}

#[test]
fn point_32_no_protocol_is_switched_that_the_origin_was_not_asked_for() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let upgrade = with("Connection: upgrade\r\nUpgrade: foo/2") + &get("/next");
    check_on(&node, &[("200, 200", upgrade)]);
    let requests = origin.requests();
    assert!(
        requests.iter().all(|request| !request.has("upgrade") && !request.has("connection")),
        "{requests:?}"
    );
    assert_eq!(requests.len(), 2, "what follows is a request, not a tunnel");
}

#[test]
fn point_33_h2c_is_not_offered_to_origins() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__";
    check_on(&node, &[("200", with(fields))]);
    let request = origin.request();
    assert!(
        !request.has("upgrade") && !request.has("http2-settings") && !request.has("connection"),
        "{request:?}"
    );
}

#[test]
fn point_34_half_closed_clients() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("off").start();
    let mut client = node.connect();
    client.send(get("/whole"));
    client.finish_sending();
    assert_eq!(client.answer().text(), "/whole");
    client.expect_close();
    let mut client = node.connect();
    client.send(post("Content-Length: 10", "half"));
    client.finish_sending();
    drop(client.rest());
    assert_eq!(origin.await_end(0), End::Reset, "half a request never looks whole");
    assert_eq!(origin.targets(), ["/whole"]);
}

#[test]
fn point_35_an_answer_arrives_although_the_client_still_sends() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("lingering_timeout = \"1h\"").start();
    let mut client = node.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    client.send(vec![b'x'; 512 * 1024]);
    assert_eq!(client.answer().status(), 400);
    client.finish_sending();
    let rest = client.rest();
    assert_eq!((rest.end, rest.bytes.len()), (End::Closed, 0), "no reset before the client has ended");
}

#[test]
fn point_36_a_drain_announces_itself_in_the_next_answer() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |_| {
        waits.pass();
        ok(b"last")
    });
    let mut node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/"));
    node.await_metric("weir_upstream_connections", &[("state", "active")], 1);
    node.signal("TERM");
    eventually("the drain", || (node.admin_get("/ready").status() == 503).then_some(()));
    eventually("new connections to be refused", || {
        std::net::TcpStream::connect(node.address).err().map(drop)
    });
    gate.open();
    let answer = client.answer();
    assert_eq!((answer.text(), answer.field("connection")), ("last".to_owned(), Some("close")));
    client.expect_close();
    assert!(node.await_exit().success());
}

#[test]
fn point_37_requests_of_a_connection_are_limited() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("keep_alive_requests = 3").start();
    let mut client = node.connect();
    let closes: Vec<bool> = (0..3).map(|_| client.get("/").field("connection") == Some("close")).collect();
    assert_eq!(closes, [false, false, true]);
    client.expect_close();
}

#[test]
fn point_38_what_was_inspected_is_what_is_forwarded() {
    let odd = "/a/%2e%2E//b;c=%41?q=%27+or+1&Q=\"<>{}|\\^`";
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let request = format!(
        "GET {odd} HTTP/1.1\r\nhOsT: site.example\r\nX-Odd:\t a \"b\"\\  c\t \r\nx-odd: caf\u{e9}\r\n\r\n"
    );
    let _ = node.connect().ask(request);
    let raw = String::from_utf8(origin.raw()).unwrap();
    assert!(raw.starts_with(&format!("GET {odd} HTTP/1.1\r\nHost: site.example\r\n")), "{raw}");
    assert!(raw.contains("\r\nX-Odd: a \"b\"\\  c\r\nx-odd: caf\u{e9}\r\n"), "{raw}");
}
