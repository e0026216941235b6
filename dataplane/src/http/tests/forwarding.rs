//! What is written towards origins and clients.

use super::*;

const FACTS: ForwardFacts<'static> = ForwardFacts {
    websocket: false,
    fallback_host: b"app.internal",
    client_ip: b"192.0.2.1",
    peer_is_trusted: false,
    scheme: b"https",
    request_id: b"0123456789abcdef0123456789abcdef",
    body: BodyFraming::None,
    client_certificate: None,
};

/// What the origin gets for a request.
fn forwarded(request: &str, facts: &ForwardFacts<'_>) -> String {
    let head = accepted(request.as_bytes());
    let mut out = b"before".to_vec();
    write_request_head(&head, request.as_bytes(), facts, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

const TAIL: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n\
    X-Request-Id: 0123456789abcdef0123456789abcdef\r\n\r\n";

#[test]
fn end_to_end_fields_pass_in_order_and_the_others_stay() {
    let request = "POST /a?b=%20 HTTP/1.1\r\nUser-Agent: x\r\nHost: a.example\r\nConnection: keep-alive, X-Drop, TE\r\n\
        X-Drop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n\
        Proxy: http://evil\r\nTE: trailers\r\nTrailer: Digest\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABk\r\nExpect: 100-continue\r\nX-Request-Id: spoofed\r\nForwarded: for=6.6.6.6\r\n\
        X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
        X_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nx_y:  kept \r\nCookie: a=b\r\nCookie: c=d\r\n\r\n";
    let expected = "POST /a?b=%20 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\nx_y: kept\r\nCookie: a=b\r\n\
        Cookie: c=d\r\nTransfer-Encoding: chunked\r\n";
    let chunked = ForwardFacts { body: BodyFraming::Chunked, ..FACTS };
    assert_eq!(forwarded(request, &chunked), format!("{expected}{TAIL}"));
}

#[test]
fn our_framing_replaces_the_clients() {
    let request = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, line) in [
        (BodyFraming::None, ""),
        (BodyFraming::Length(0), "Content-Length: 0\r\n"),
        (BodyFraming::Length(u64::MAX), "Content-Length: 18446744073709551615\r\n"),
        (BodyFraming::Chunked, "Transfer-Encoding: chunked\r\n"),
    ] {
        let expected = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{line}{TAIL}");
        assert_eq!(forwarded(request, &ForwardFacts { body, ..FACTS }), expected);
    }
}

#[test]
fn targets_are_forwarded_in_origin_form() {
    for (line, written) in [
        ("GET http://a.example/x?y", "GET /x?y"),
        ("GET http://a.example", "GET /"),
        ("GET http://a.example?x=/y", "GET /?x=/y"),
        ("OPTIONS http://a.example", "OPTIONS *"),
        ("OPTIONS *", "OPTIONS *"),
        ("GET /%2e%2e//x", "GET /%2e%2e//x"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(
            forwarded(&request, &FACTS),
            format!("{written} HTTP/1.1\r\nHost: a.example\r\n{TAIL}"),
            "{line}"
        );
    }
    let old = forwarded("GET /x HTTP/1.0\r\n\r\n", &FACTS);
    assert!(old.starts_with("GET /x HTTP/1.1\r\nHost: app.internal\r\nX-Forwarded-For: "), "{old}");
    assert!(!old.contains("X-Forwarded-Host"));
}

#[test]
fn a_trusted_peer_is_believed() {
    let trusted = ForwardFacts { peer_is_trusted: true, ..FACTS };
    let forwarded_for = |values: &[&str]| {
        let lines: String = values.iter().map(|value| format!("X-Forwarded-For: {value}\r\n")).collect();
        let out = forwarded(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), &trusted);
        let line = out.lines().find_map(|line| line.strip_prefix("X-Forwarded-For: ")).unwrap().to_owned();
        assert_eq!(out.matches("X-Forwarded-For").count(), 1);
        line
    };
    assert_eq!(forwarded_for(&[]), "192.0.2.1");
    assert_eq!(forwarded_for(&[""]), "192.0.2.1");
    assert_eq!(forwarded_for(&["10.0.0.1"]), "10.0.0.1, 192.0.2.1");
    assert_eq!(forwarded_for(&["10.0.0.1, 10.0.0.2", "10.0.0.3"]), "10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.1");
    assert_eq!(forwarded_for(&["10.0.0.1, 192.0.2.1"]), "10.0.0.1, 192.0.2.1");
    let out = forwarded(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 8\r\n\
        X-Real-IP: 192.0.2.1\r\nX-Request-Id: theirs\r\n\r\n",
        &trusted,
    );
    assert_eq!(
        out,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 8\r\n\
        X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: 0123456789abcdef0123456789abcdef\r\n\r\n"
    );
}

/// What the client gets for a response.
fn relayed(response: &str, was_head: bool, facts: &ResponseFacts<'_>) -> String {
    let (head, _) = parse_response(response.as_bytes(), was_head).unwrap();
    let mut out = Vec::new();
    write_response_head(&head, response.as_bytes(), facts, &mut out);
    String::from_utf8(out).unwrap()
}

const RESPONSE: ResponseFacts<'static> = ResponseFacts {
    client_version: Version::Http11,
    keep_alive: true,
    framing: ResponseFraming::Length(5),
    request_id: b"77",
    edits: HeaderEdits::NONE,
};

#[test]
fn responses_are_framed_by_us() {
    let ok = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nServer: x\r\n";
    let with = |framing| ResponseFacts { framing, ..RESPONSE };
    let closing = ResponseFacts { keep_alive: false, ..RESPONSE };
    let old = ResponseFacts { client_version: Version::Http10, ..RESPONSE };
    let old_chunked = ResponseFacts { framing: ResponseFraming::Chunked, ..old };
    // Facts, what follows the end-to-end fields.
    for (facts, framing) in [
        (RESPONSE, "Content-Length: 5\r\n"),
        (with(ResponseFraming::Chunked), "Transfer-Encoding: chunked\r\n"),
        (with(ResponseFraming::UntilClose), "Connection: close\r\n"),
        (with(ResponseFraming::None), "Content-Length: 0\r\n"),
        (closing, "Content-Length: 5\r\nConnection: close\r\n"),
        (old, "Content-Length: 5\r\nConnection: close\r\n"),
        (old_chunked, "Connection: close\r\n"),
    ] {
        assert_eq!(
            relayed(ok, false, &facts),
            format!("{head}{framing}X-Request-Id: 77\r\n\r\n"),
            "{facts:?}"
        );
    }
}

#[test]
fn responses_without_a_body_keep_the_length_that_they_describe() {
    let none = ResponseFacts { framing: ResponseFraming::None, ..RESPONSE };
    for (response, was_head, written) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, "HTTP/1.1 200 OK\r\n"),
        (
            "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
            false,
            "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n",
        ),
        ("HTTP/1.1 204 Empty\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 204 Empty\r\n"),
    ] {
        assert_eq!(relayed(response, was_head, &none), format!("{written}X-Request-Id: 77\r\n\r\n"));
    }
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(relayed(hints, false, &none), hints);
}

#[test]
fn hop_by_hop_fields_of_responses_stay() {
    let response = "HTTP/1.0 200 \r\nConnection: keep-alive, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: timeout=5\r\n\
        Upgrade: h2c\r\nTrailer: x\r\nProxy-Authenticate: Basic\r\nX-Request-Id: origin\r\nSet-Cookie: a=b\r\n\
        Set-Cookie: c=d\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(
        relayed(response, false, &RESPONSE),
        "HTTP/1.1 200 \r\nX-Request-Id: origin\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn the_interim_answer_is_a_response() {
    let (head, consumed) = parse_response(CONTINUE, false).unwrap();
    assert_eq!((head.status(), consumed), (100, CONTINUE.len()));
}
