//! Requests go to the origin and answers come back, byte for byte, whatever frames them.

use crate::support::client::{chunked_post, get, post};
use crate::support::message::End;
use crate::support::nginx::Nginx;
use crate::support::origin::{Gate, Origin, ok};
use crate::support::pattern;
use crate::support::setup::Setup;

const MEBIBYTE: usize = 1024 * 1024;

#[test]
fn a_page_of_nginx_comes_through_curl() {
    let nginx = Nginx::plain("");
    let node = Setup::new(nginx.address).start();
    let output = node.curl(&["-i"], "/index.html");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nthe page\n"), "{text}");
    assert_eq!(nginx.await_access_log(1), ["200 GET /index.html HTTP/1.1|-|-"]);
}

#[test]
fn a_large_file_of_nginx_comes_through_unchanged() {
    let nginx = Nginx::plain("");
    let file = pattern(8 * MEBIBYTE);
    nginx.serve_file("large", &file);
    let node = Setup::new(nginx.address).start();
    let answer = node.get("/large");
    assert_eq!((answer.status(), answer.chunked), (200, false));
    assert!(answer.body == file, "{} bytes", answer.body.len());
}

#[test]
fn a_large_upload_arrives_unchanged_in_every_mode() {
    for mode in ["off", "monitoring", "block"] {
        let origin = Origin::answering(|request| ok(request.body.len().to_string().as_bytes()));
        let node = Setup::new(origin.address).mode(mode).start();
        let body = pattern(8 * MEBIBYTE);
        let answer = node.connect().ask(post("/upload", &body));
        assert_eq!((answer.status(), answer.text()), (200, body.len().to_string()), "{mode}");
        let request = origin.request();
        assert!(request.body == body, "{mode}");
        assert!(!request.chunked, "{mode}: a length stays a length");
    }
}

#[test]
fn a_large_chunked_upload_and_download_arrive_unchanged_in_every_mode() {
    for mode in ["off", "monitoring", "block"] {
        let origin = Origin::answering(|request| {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            append_chunks(&mut answer, &request.body, 70_001);
            answer
        });
        let node = Setup::new(origin.address).mode(mode).start();
        let body = pattern(8 * MEBIBYTE);
        let mut request = chunked_post("/upload").into_bytes();
        append_chunks(&mut request, &body, 30_007);
        let mut client = node.connect();
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &request));
        let answer = client.answer();
        sending.join().unwrap().unwrap();
        assert_eq!((answer.status(), answer.chunked), (200, true), "{mode}");
        assert!(answer.body == body, "{mode}: {} bytes", answer.body.len());
        assert!(origin.request().body == body, "{mode}");
    }
}

fn append_chunks(out: &mut Vec<u8>, body: &[u8], size: usize) {
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
}

#[test]
fn a_body_of_tiny_pieces_arrives_whole() {
    let origin = Origin::answering(|request| ok(&request.body));
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for piece in chunked_post("/").as_bytes().chunks(3) {
        client.send(piece);
    }
    for piece in b"1;x=y\r\na\r\n0005\r\nbcdef\r\n0\r\nTrailer: dropped\r\n\r\n".chunks(1) {
        client.send(piece);
    }
    assert_eq!(client.answer().text(), "abcdef");
    let request = origin.request();
    assert!(!request.has("trailer"), "{request:?}");
    assert!(!String::from_utf8(origin.raw()).unwrap().contains("dropped"), "trailers are not forwarded");
}

#[test]
fn a_held_chunked_body_goes_on_with_its_length() {
    for (mode, chunked) in [("monitoring", true), ("block", false)] {
        let origin = Origin::answering(|request| ok(&request.body));
        let node = Setup::new(origin.address).mode(mode).start();
        let answer = node.connect().ask(chunked_post("/") + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!(answer.text(), "abcde", "{mode}");
        assert_eq!(origin.request().chunked, chunked, "{mode}");
    }
}

#[test]
fn answers_without_a_body_are_framed_without_one() {
    let origin = Origin::answering(|request| {
        match request.target() {
            "/none" => &b"HTTP/1.1 204 No Content\r\nX-Own: 1\r\n\r\n"[..],
            "/same" => b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 1234\r\n\r\n",
            "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
            "/head-chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/empty" => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
        }
        .to_vec()
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    let none = client.ask(get("/none"));
    assert_eq!((none.status(), none.field("x-own")), (204, Some("1")));
    assert!(!none.has("content-length") && !none.has("transfer-encoding"), "{none:?}");
    let same = client.ask(get("/same"));
    assert_eq!((same.status(), same.field("etag")), (304, Some("\"e\"")));
    client.send("HEAD /head HTTP/1.1\r\nHost: site.example\r\n\r\n");
    let head = client.answer_without_body();
    assert_eq!((head.status(), head.field("content-length")), (200, Some("77")));
    client.send("HEAD /head-chunked HTTP/1.1\r\nHost: site.example\r\n\r\n");
    assert_eq!(client.answer_without_body().status(), 200);
    assert_eq!(client.ask(get("/empty")).body, b"");
    // Had anything been misframed, this one would not be read in its place.
    let last = client.ask(get("/last"));
    assert_eq!((last.status(), last.text().as_str()), (404, "gone"));
    assert_eq!(origin.connections(), 1, "every answer left its connection fit for the next");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for number in 0..20 {
        let target = format!("/{number}");
        assert_eq!(client.get(&target).text(), target);
    }
    assert_eq!(node.get("/another-client").status(), 200);
    assert_eq!(origin.connections(), 1);
    assert_eq!(node.metric("weir_connections_accepted_total", &[]), 2);
    assert_eq!(node.metric("weir_upstream_connections_opened_total", &[("origin", "app")]), 1);
    assert_eq!(node.metric("weir_upstream_connections_reused_total", &[("origin", "app")]), 20);
    assert_eq!(node.metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")]), 1);
    assert_eq!(node.metric("weir_requests_total", &[("server", "site"), ("verdict", "pass")]), 21);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::answering(|request| ok(&[request.target().as_bytes(), &request.body].concat()));
    let node = Setup::new(origin.address).mode("block").start();
    let mut client = node.connect();
    let mut all = Vec::new();
    for number in 0..10 {
        all.extend(get(&format!("/get/{number}")).into_bytes());
        all.extend(post(&format!("/post/{number}/"), b"body"));
        // A blocked one in between takes its place in the row.
        all.extend(get("/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--").into_bytes());
    }
    client.send(all);
    for number in 0..10 {
        assert_eq!(client.answer().text(), format!("/get/{number}"));
        assert_eq!(client.answer().text(), format!("/post/{number}/body"));
        assert_eq!(client.answer().status(), 403);
    }
    assert_eq!(origin.requests().len(), 20);
}

#[test]
fn a_body_that_came_with_its_head_goes_on_with_it() {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It takes each request by one read: a node that sends twice leaves it with half of one.
    let origin = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut room = vec![0; 64 * 1024];
        for _ in 0..20 {
            let count = stream.read(&mut room).unwrap();
            let whole = room[..count].ends_with(b"<end>") || room[..count].ends_with(b"\r\n0\r\n\r\n");
            stream.write_all(&ok(if whole { b"whole" } else { b"part" })).unwrap();
        }
    });
    let node = Setup::new(address).mode("off").start();
    let mut client = node.connect();
    let body = [pattern(4000), b"<end>".to_vec()].concat();
    let mut chunked = chunked_post("/").into_bytes();
    append_chunks(&mut chunked, &body, 1000);
    for _ in 0..10 {
        for request in [&post("/", &body), &chunked] {
            client.send(request);
            assert_eq!(client.answer().text(), "whole");
        }
    }
    origin.join().unwrap();
}

#[test]
fn a_client_that_ends_its_side_is_still_answered() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/one") + &get("/two"));
    client.finish_sending();
    assert_eq!(client.answer().text(), "/one");
    assert_eq!(client.answer().text(), "/two");
    client.expect_close();
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_an_end() {
    let origin = Origin::answering(|request| {
        if request.target() == "/length" {
            return ok(b"with a length");
        }
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n".to_vec()
    });
    let node = Setup::new(origin.address).start();
    for (target, body) in [("/length", "with a length"), ("/chunked", "abcdef")] {
        let mut client = node.connect();
        client.send(format!("GET {target} HTTP/1.0\r\nHost: site.example\r\nConnection: keep-alive\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.chunked, answer.text().as_str()), (200, false, body));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(answer.first_line.starts_with("HTTP/1.1 "), "{answer:?}");
        client.expect_close();
    }
    assert!(origin.requests().iter().all(|request| request.first_line.ends_with(" HTTP/1.1")));
    let mut without_host = node.connect();
    assert_eq!(without_host.ask("GET /length HTTP/1.0\r\n\r\n").status(), 200);
}

#[test]
fn a_body_that_ends_with_the_connection_is_framed_anew() {
    let body = pattern(MEBIBYTE);
    let sent = body.clone();
    let origin = Origin::scripted(move |peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nX-Kind: until-close\r\n\r\n");
            peer.send(&sent);
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(
            (answer.status(), answer.chunked, answer.field("x-kind")),
            (200, true, Some("until-close"))
        );
        assert!(answer.body == body);
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn an_origin_of_http_1_0_is_understood() {
    let origin = Origin::scripted(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold");
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    assert_eq!(client.get("/").text(), "old");
    assert_eq!(client.get("/").text(), "old");
    assert_eq!(origin.connections(), 2, "such a connection isn't used twice");
}

#[test]
fn an_expectation_is_met_by_the_node_and_not_forwarded() {
    for mode in ["monitoring", "block"] {
        let origin = Origin::answering(|request| ok(&request.body));
        let node = Setup::new(origin.address).mode(mode).start();
        let mut client = node.connect();
        client.send(
            "POST / HTTP/1.1\r\nHost: site.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        );
        assert_eq!(client.answer().status(), 100, "{mode}");
        client.send("hello");
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"), "{mode}");
        assert!(!origin.request().has("expect"), "{mode}");
    }
}

#[test]
fn an_interim_answer_of_the_origin_is_not_taken_for_the_answer() {
    let origin = Origin::answering(|_| {
        let mut answer = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        answer.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
        answer.extend_from_slice(&ok(b"final"));
        answer
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    let hints = client.ask(get("/"));
    assert_eq!((hints.status(), hints.field("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(client.answer().text(), "final");
    // A client of 1.0 doesn't know interim answers.
    let mut old = node.connect();
    assert_eq!(old.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").text(), "final");
}

#[test]
fn the_origin_sees_who_asks_and_no_field_of_another_hop() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let answer = node.connect_from(9).ask(
        "GET /p?q=1 HTTP/1.1\r\nHost: Site.Example:8080\r\nUser-Agent: test\r\nConnection: keep-alive, X-Hop\r\n\
         X-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n\
         TE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy: http://evil\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.example\r\nX_Forwarded_For: 6.6.6.6\r\nX-Request-Id: chosen\r\nX-Kept: a,  b\r\n\
         Cookie: c=1\r\n\r\n",
    );
    assert_eq!(answer.status(), 200);
    let request = origin.request();
    assert_eq!(request.first_line, "GET /p?q=1 HTTP/1.1");
    assert_eq!(request.field("host"), Some("Site.Example:8080"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.9"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("Site.Example:8080"));
    assert_eq!(request.field("x-kept"), Some("a,  b"));
    assert_eq!(request.field("cookie"), Some("c=1"));
    let id = request.field("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(answer.field("x-request-id"), Some(id), "both sides are told the same id");
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "x-real-ip",
        "forwarded",
        "x_forwarded_for",
        "connection",
        "content-length",
        "transfer-encoding",
    ] {
        assert!(!request.has(name), "{name} was forwarded: {request:?}");
    }
    assert!(!String::from_utf8(origin.raw()).unwrap().contains("6.6.6.6"));
}

#[test]
fn the_client_sees_no_field_of_the_hop_to_the_origin() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          Proxy-Connection: keep-alive\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let node = Setup::new(origin.address).start();
    let answer = node.get("/");
    assert_eq!(answer.first_line, "HTTP/1.1 200 Fine");
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection"] {
        assert!(!answer.has(name), "{name}: {answer:?}");
    }
    let cookies: Vec<&str> = answer
        .fields
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[test]
fn the_target_goes_to_the_origin_as_it_came() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    let targets = ["/a/./b/../c//d", "/%7e%41?x=%2f&y", "/x;y=1,2?a[]=\"<>{}|\\^`", "/?", "//double"];
    for target in targets {
        assert_eq!(client.get(target).text(), target);
    }
    assert_eq!(
        client.ask("GET http://site.example/abs?q HTTP/1.1\r\nHost: site.example\r\n\r\n").text(),
        "/abs?q"
    );
    assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nHost: site.example\r\n\r\n").text(), "*");
    assert_eq!(
        client.ask("\r\nGET /after-empty-line HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "/after-empty-line"
    );
}

#[test]
fn a_slow_reader_of_a_big_answer_holds_nobody_up() {
    let big = pattern(8 * MEBIBYTE);
    let sent = big.clone();
    let origin =
        Origin::answering(move |request| ok(if request.target() == "/big" { &sent } else { b"small" }));
    let node = Setup::new(origin.address).start();
    let mut slow: Vec<_> = (0..4)
        .map(|_| {
            let mut client = crate::support::client::Client::connect_with_small_window(node.address);
            client.send(get("/big"));
            let head = client.head();
            assert_eq!(head.status(), 200);
            (client, head)
        })
        .collect();
    // The big answers stand still, all others flow.
    let mut quick = node.connect();
    for _ in 0..50 {
        assert_eq!(quick.get("/small").text(), "small");
    }
    assert_eq!(node.connect().get("/big").body.len(), big.len());
    for (mut client, head) in slow.drain(..) {
        assert!(client.body(head).unwrap().body == big);
    }
}

#[test]
fn a_slow_origin_holds_nobody_up() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            waits.pass();
        }
        ok(request.target().as_bytes())
    });
    let node = Setup::new(origin.address).start();
    let mut slow = node.connect();
    slow.send(get("/slow"));
    let mut quick = node.connect();
    for _ in 0..50 {
        assert_eq!(quick.get("/quick").text(), "/quick");
    }
    gate.open();
    assert_eq!(slow.answer().text(), "/slow");
}

#[test]
fn an_early_answer_to_a_big_upload_arrives() {
    for mode in ["off", "monitoring"] {
        let origin = Origin::scripted(|peer| {
            if peer.head().is_some() {
                peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo long");
                peer.read_to_end();
            }
        });
        let node = Setup::new(origin.address).mode(mode).start();
        let mut client = node.connect();
        let request = post("/upload", &pattern(8 * MEBIBYTE));
        let (first, rest) = request.split_at(64 * 1024);
        client.send(first);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (413, "too long"), "{mode}");
        assert_eq!(answer.field("connection"), Some("close"), "{mode}");
        // Nobody wants the rest any more: part of it is discarded, then the connection ends.
        client.send(rest);
        drop(client.rest());
        origin.await_end(0);
        assert_eq!(node.get("/next").status(), 413, "{mode}: the next request has a connection of its own");
        assert_eq!(origin.connections(), 2, "{mode}");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_origin_connection_along() {
    let origin = Origin::scripted(|peer| {
        if peer.request().is_some() {
            peer.read_to_end();
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    client.send(get("/never-answered"));
    crate::support::eventually("the request to arrive", || (origin.requests().len() == 1).then_some(()));
    client.reset();
    assert!(matches!(origin.await_end(0), End::Closed | End::Reset));
    node.await_metric("weir_connections", &[], 0);
}

#[test]
fn an_upload_that_breaks_off_never_looks_whole_to_the_origin() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    for request in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = node.connect();
        client.send(format!("POST /cut HTTP/1.1\r\nHost: site.example\r\n{request}"));
        let connection = crate::support::eventually("the first half to arrive", || {
            let raw = origin.raw();
            raw.ends_with(b"half")
                .then(|| origin.connections() - 1)
                .or_else(|| raw.ends_with(b"half\r\n").then(|| origin.connections() - 1))
        });
        client.finish_sending();
        assert_eq!(origin.await_end(connection), End::Reset);
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn requests_go_round_over_the_origins_addresses() {
    let first = Origin::answering(|_| ok(b"first"));
    let second = Origin::answering(|_| ok(b"second"));
    let node = Setup::new(first.address).address(second.address).start();
    let mut client = node.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (5, 5));
}

#[test]
fn several_workers_serve_one_address() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).workers(3).start();
    for number in 0..60 {
        let target = format!("/{number}");
        assert_eq!(node.get(&target).text(), target);
    }
    assert_eq!(node.metric("weir_workers", &[("state", "ready")]), 3);
    assert_eq!(node.metric("weir_requests_total", &[("verdict", "pass")]), 60);
}

#[test]
fn a_long_pipeline_is_answered_in_full() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).limits("keep_alive_requests = 0").start();
    let mut client = node.connect();
    let mut sender = client.stream.try_clone().unwrap();
    // More than the node keeps unread: it has to pause and go on.
    let all: String = (0..4000).map(|number| get(&format!("/{number}"))).collect();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, all.as_bytes()));
    for number in 0..4000 {
        assert_eq!(client.answer().text(), format!("/{number}"));
    }
    sending.join().unwrap().unwrap();
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_in_single_bytes_arrives_whole() {
    let origin = Origin::scripted(|peer| {
        while let Some(request) = peer.request() {
            let answer: &[u8] = match request.target() {
                "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: t\r\n\r\n",
                _ => b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
            };
            for byte in answer {
                peer.send([*byte]);
            }
        }
    });
    let node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/chunked").text(), "abcd");
        assert_eq!(client.get("/length").status(), 103);
        assert_eq!(client.answer().text(), "abcd");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn the_413_of_an_nginx_reaches_the_client_that_still_sends() {
    let nginx = Nginx::plain("location /small { client_max_body_size 1k; }");
    let node = Setup::new(nginx.address).start();
    let upload = node.setup.write("upload", pattern(4 * MEBIBYTE));
    let data = format!("@{}", upload.display());
    // Without the pause for 100, curl sends at once and finds out while it sends.
    for expect in ["Expect:", "Expect: 100-continue"] {
        let arguments = ["-o", "/dev/null", "-w", "%{http_code}", "-H", expect, "--data-binary", &data];
        let output = node.curl(&arguments, "/small");
        assert_eq!(output.stdout, b"413", "{expect}: {output:?}");
    }
}

#[test]
fn an_origin_that_answers_early_and_hangs_up_is_heard() {
    let origin = Origin::scripted(|peer| {
        if peer.head().is_some() {
            peer.send(
                "HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull",
            );
        }
    });
    let node = Setup::new(origin.address).start();
    for _ in 0..10 {
        let mut client = node.connect();
        let mut sender = client.stream.try_clone().unwrap();
        let request = post("/", &pattern(2 * MEBIBYTE));
        let sending = std::thread::spawn(move || drop(std::io::Write::write_all(&mut sender, &request)));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (507, "full"));
        drop(client);
        sending.join().unwrap();
    }
}

#[test]
fn clients_of_ipv6_are_served() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    let text = setup.text().replace(
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"",
        "[[listener]]\nname = \"public\"\naddress = \"[::1]:0\"",
    );
    setup.write("weir.toml", text);
    let node = crate::support::node::Node::start(setup);
    assert!(node.address.is_ipv6());
    let output = node.curl(&["-g"], "/six");
    assert_eq!(output.stdout, b"/six", "{output:?}");
    assert_eq!(origin.request().field("x-forwarded-for"), Some("::1"));
}

#[test]
fn many_clients_at_once_each_get_their_own_answers() {
    let origin = Origin::answering(|request| ok(&[request.target().as_bytes(), &request.body].concat()));
    let node = Setup::new(origin.address).workers(2).mode("block").origin("connections = 8").start();
    let address = node.address;
    let clients: Vec<_> = (0..24_usize)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client =
                    crate::support::client::Client::connect(address, crate::support::client::ORDINARY);
                for round in 0..40_usize {
                    let target = format!("/{number}/{round}");
                    let body = pattern((number * 7919 + round * 104_729) % 50_000);
                    let answer = client.ask(post(&target, &body));
                    assert_eq!(answer.status(), 200, "{target}");
                    assert!(answer.body == [target.as_bytes(), &body].concat(), "{target}");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert!(origin.connections() <= 16, "8 for each worker: {}", origin.connections());
    assert_eq!(node.metric("weir_requests_total", &[("verdict", "pass")]), 24 * 40);
}
