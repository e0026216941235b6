//! Requests that are refused and requests that pass, by the point of the rules that they test.

use super::*;

/// Puts header lines into a request that is fine otherwise.
fn get_with(lines: &[u8]) -> Vec<u8> {
    [b"POST /p HTTP/1.1\r\nHost: a.example\r\n", lines, b"\r\n\r\n"].concat()
}

/// Checks a table of whole heads: name, bytes, status, code.
fn check_refusals(table: &[(&str, &[u8], u16, &str)]) {
    for (name, bytes, status, code) in table {
        let error = refused(bytes);
        assert_eq!((error.status, error.code), (*status, *code), "{name}");
        assert!(error.detail.len() > 20, "{name}: the detail helps nobody");
    }
}

#[test]
fn line_ends_and_leading_lines() {
    check_refusals(&[
        ("1 bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare_lf"),
        ("1 bare LF behind a field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "bare_lf"),
        ("1 bare LF as the last line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare_lf"),
        ("1 bare LF alone", b"GET / HTTP/1.1\nHost: a\n\n", 400, "bare_lf"),
        ("1 bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400, "bare_cr"),
        ("1 bare CR in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\rY: z\r\n\r\n", 400, "bare_cr"),
        ("1 bare CR in the target", b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_cr"),
        ("1 bare CR behind the version", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "bare_cr"),
        ("1 CR before the last CRLF", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", 400, "bare_cr"),
        ("2 two empty lines", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "leading_empty_lines"),
        ("2 LF in front", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_lf"),
        ("2 CR in front", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_cr"),
        ("2 space in front", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not_http"),
        ("2 a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00", 400, "not_http"),
    ]);
    let (_, consumed) =
        parse_request(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET", &HeadLimits::default()).unwrap();
    assert_eq!(consumed, 29);
}

#[test]
fn methods() {
    for method in ["GET", "HEAD", "PROPFIND", "M-SEARCH", "VERSION-CONTROL", "X1", "MY_VERB"] {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let head = accepted(&bytes);
        assert_eq!(head.method(&bytes), method.as_bytes());
        assert_eq!(head.is_head(), method == "HEAD");
    }
    check_refusals(&[
        ("3 lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "unknown_method"),
        ("3 mixed case", b"Get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "unknown_method"),
        ("3 other token", b"G!T / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "unknown_method"),
        ("3 no token", b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("3 CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method_not_allowed"),
        ("3 TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        ("3 33 bytes", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", 501, "method_too_long"),
        ("3 33 bytes and no more", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", 501, "method_too_long"),
    ]);
    accepted(b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn request_lines_and_versions() {
    check_refusals(&[
        ("4 HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported_version"),
        ("4 HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "unsupported_version"),
        ("4 HTTP/0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "unsupported_version"),
        ("4 lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "bad_version"),
        ("4 two digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("4 one number", b"GET / HTTP/2\r\nHost: a\r\n\r\n", 400, "bad_version"),
        ("4 no version", b"GET /\r\n\r\n", 400, "bad_request_line"),
        ("4 another protocol", b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", 400, "bad_version"),
        ("4 two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("4 two spaces behind", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_version"),
        ("4 a tab between", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("4 trailing space", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "bad_request_line"),
        ("4 space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_version"),
    ]);
    let bytes = b"GET / HTTP/1.0\r\n\r\n";
    let head = accepted(bytes);
    assert_eq!(head.version(), Version::Http10);
    assert_eq!(head.host(bytes), b"");
    assert!(!head.keep_alive());
}

#[test]
fn target_forms() {
    // Request line, target, path, query, host.
    type Row = (&'static str, &'static str, &'static str, Option<&'static str>, &'static str);
    let table: [Row; 15] = [
        ("GET /", "/", "/", None, "a"),
        ("GET /a/b?c=d?e", "/a/b?c=d?e", "/a/b", Some("c=d?e"), "a"),
        ("GET /?", "/?", "/", Some(""), "a"),
        ("GET //x//y", "//x//y", "//x//y", None, "a"),
        ("GET /a:b@c", "/a:b@c", "/a:b@c", None, "a"),
        ("GET /\"<>{}|\\^`%zz", "/\"<>{}|\\^`%zz", "/\"<>{}|\\^`%zz", None, "a"),
        ("OPTIONS *", "*", "*", None, "a"),
        ("GET http://a/p?q", "/p?q", "/p", Some("q"), "a"),
        ("GET HTTPS://A/p", "/p", "/p", None, "A"),
        ("GET http://a", "/", "/", None, "a"),
        ("OPTIONS http://a", "*", "*", None, "a"),
        ("GET http://a/?http://b", "/?http://b", "/", Some("http://b"), "a"),
        ("GET http://a?b=/c?d", "/?b=/c?d", "/", Some("b=/c?d"), "a"),
        ("OPTIONS http://a?", "/?", "/", Some(""), "a"),
        ("GET http://a:80/p", "/p", "/p", None, "a:80"),
    ];
    for (line, target, path, query, host) in table {
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let head = accepted(&bytes);
        assert_eq!(head.target(&bytes), target.as_bytes(), "{line}");
        assert_eq!(head.path(&bytes), path.as_bytes(), "{line}");
        assert_eq!(head.query(&bytes), query.map(str::as_bytes), "{line}");
        assert_eq!(head.host(&bytes), host.as_bytes(), "{line}");
    }
    check_refusals(&[
        ("5 asterisk with GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_form"),
        ("5 asterisk and more", b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_form"),
        ("5 authority-form", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_form"),
        ("5 no slash", b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_form"),
        ("5 other scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_form"),
        ("5 userinfo", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
        ("5 no authority", b"GET http:///p HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
        ("5 mismatch", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch"),
        ("5 port mismatch", b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch"),
        ("5 other scheme's port", b"GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch"),
        ("5 port and query", b"GET http://a:b?c HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
        ("5 no Host beside it", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "missing_host"),
        ("6 fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment_in_target"),
        ("6 fragment in a query", b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment_in_target"),
        ("6 UTF-8", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(), 400, "bad_target_byte"),
        ("6 byte above 127", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_byte"),
        ("6 NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_byte"),
        ("6 DEL", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_byte"),
        ("6 tab", b"GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target_byte"),
    ]);
    let bytes = b"GET http://A.example:80/p HTTP/1.0\r\n\r\n";
    assert_eq!(accepted(bytes).host(bytes), b"A.example:80");
    let bytes = b"GET http://a:?b HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = accepted(bytes);
    assert_eq!((head.target(bytes), head.host(bytes)), (&b"/?b"[..], &b"a:"[..]));
    // The same head again: nothing of the last target is left.
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let joined = b"GET http://a?b HTTP/1.1\r\nHost: a:80\r\n\r\n";
    for _ in 0..2 {
        head.parse(joined, &limits).unwrap();
        assert_eq!((head.target(joined), head.host(joined)), (&b"/?b"[..], &b"a"[..]));
    }
}

#[test]
fn names_and_values() {
    check_refusals(&[
        ("8 space before the colon", &get_with(b"X : y"), 400, "bad_header_name"),
        ("8 tab before the colon", &get_with(b"X\t: y"), 400, "bad_header_name"),
        ("8 folded value", &get_with(b"X: y\r\n z"), 400, "leading_space"),
        ("8 folded with a tab", &get_with(b"X: y\r\n\tz"), 400, "leading_space"),
        ("8 first line folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "leading_space"),
        ("8 a line of spaces", &get_with(b"X: y\r\n  "), 400, "leading_space"),
        ("8 no colon", &get_with(b"X"), 400, "bad_header_name"),
        ("8 empty name", &get_with(b": y"), 400, "bad_header_name"),
        ("8 name above 127", &get_with(b"X\xe9: y"), 400, "bad_header_name"),
        ("8 brackets in a name", &get_with(b"X[1]: y"), 400, "bad_header_name"),
        ("8 NUL in a name", &get_with(b"X\0: y"), 400, "bad_header_name"),
        ("9 NUL in a value", &get_with(b"X: y\0"), 400, "bad_header_value"),
        ("9 DEL in a value", &get_with(b"X: y\x7f"), 400, "bad_header_value"),
        ("9 escape in a value", &get_with(b"X: \x1b[0m"), 400, "bad_header_value"),
        ("9 vertical tab in a value", &get_with(b"X: \x0by"), 400, "bad_header_value"),
    ]);
    let bytes =
        get_with(b"X_Y: under\r\nEmpty:\r\nBlank: \t \r\nObs: \xe9\xff\r\nTab: \ta\tb\t \r\nX_Y: two");
    let head = accepted(&bytes);
    let values: [(&[u8], &[u8]); 6] = [
        (b"x_y", b"under"),
        (b"empty", b""),
        (b"blank", b""),
        (b"obs", b"\xe9\xff"),
        (b"tab", b"a\tb"),
        (b"host", b"a.example"),
    ];
    for (name, value) in values {
        assert_eq!(head.header(&bytes, name), Some(value));
    }
    assert_eq!(head.header(&bytes, b"absent"), None);
    assert_eq!(head.headers(&bytes).count(), 7);
    assert_eq!(head.headers(&bytes).last(), Some((&b"X_Y"[..], &b"two"[..])));
}

#[test]
fn hosts() {
    check_refusals(&[
        ("10 none", b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400, "missing_host"),
        ("10 two", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "duplicate_host"),
        ("10 two equal", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "duplicate_host"),
        ("10 two in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "duplicate_host"),
        ("10 empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_host"),
        ("10 comma", b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "bad_host"),
        ("10 slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_host"),
        ("10 space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_host"),
        ("10 userinfo", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "bad_host"),
        ("10 port of letters", b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400, "bad_host"),
        ("10 port too large", b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "bad_host"),
    ]);
}

#[test]
fn names_with_underscores_by_policy() {
    let bytes = get_with(b"X_A: 1\r\nX-B: 2\r\nContent_Length: 9\r\nTRANSFER_ENCODING: chunked");
    let head = |underscore_names| {
        let limits = HeadLimits { underscore_names, ..HeadLimits::default() };
        parse_request(&bytes, &limits).map(|(head, _)| head).map_err(|error| (error.status, error.code))
    };
    let forwarded = |head: &RequestHead| {
        let kept: Vec<_> = head.fields().iter().filter(|field| !field.hop_by_hop).collect();
        kept.iter()
            .map(|field| String::from_utf8_lossy(field.name.of(&bytes)).into_owned())
            .collect::<Vec<_>>()
    };
    let passed = head(UnderscoreNames::Pass).unwrap();
    assert_eq!(forwarded(&passed), ["Host", "X_A", "X-B"], "framing in any spelling is ours");
    let dropped = head(UnderscoreNames::Drop).unwrap();
    assert_eq!(forwarded(&dropped), ["Host", "X-B"]);
    assert_eq!(dropped.header(&bytes, b"x_a"), Some(&b"1"[..]), "inspection sees it");
    assert_eq!(head(UnderscoreNames::Reject).unwrap_err(), (400, "underscore_in_header_name"));
}

#[test]
fn content_lengths() {
    for (value, length) in [("0", 0), ("5", 5), ("007", 7), ("9223372036854775807", i64::MAX as u64)] {
        let bytes = get_with(format!("Content-Length: {value}").as_bytes());
        assert_eq!(accepted(&bytes).framing(), BodyFraming::Length(length));
    }
    for value in [
        "",
        "+5",
        "-1",
        "0x5",
        "5_0",
        "5 0",
        "5,5",
        "5, 5",
        "5;",
        "\"5\"",
        "5.0",
        "1e3",
        "\t5",
        "5\t",
        "5 ",
        "9223372036854775808",
        "99999999999999999999999999",
        "\u{0665}",
    ] {
        let error = refused(&get_with(format!("Content-Length: {value}").as_bytes()));
        assert_eq!((error.status, error.code), (400, "bad_content_length"), "11 {value:?}");
    }
    check_refusals(&[
        (
            "11 two equal",
            &get_with(b"Content-Length: 5\r\nContent-Length: 5"),
            400,
            "duplicate_content_length",
        ),
        (
            "11 two unequal",
            &get_with(b"Content-Length: 5\r\nCONTENT-LENGTH: 6"),
            400,
            "duplicate_content_length",
        ),
    ]);
    assert_eq!(accepted(&get_with(b"X: y")).framing(), BodyFraming::None);
    // A name that only looks alike frames nothing.
    assert_eq!(accepted(&get_with(b"Content_Length: 5")).framing(), BodyFraming::None);
}

#[test]
fn transfer_encodings() {
    for value in ["chunked", "Chunked", "CHUNKED ", "  chunked"] {
        let head = accepted(&get_with(format!("Transfer-Encoding: {value}").as_bytes()));
        assert_eq!(head.framing(), BodyFraming::Chunked);
    }
    for value in [
        "",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked, chunked",
        "chunked, gzip",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "chunked,",
        ",chunked",
        "gzip",
        "identity, chunked",
        "\tchunked",
        "chunked\t",
        "chun ked",
        "gzip chunked",
        "gzip, chunked, chunked",
    ] {
        let error = refused(&get_with(format!("Transfer-Encoding: {value}").as_bytes()));
        assert_eq!((error.status, error.code), (400, "bad_transfer_encoding"), "14 {value:?}");
    }
    let split_over_two = get_with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    let gzip_apart = get_with(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked");
    check_refusals(&[
        (
            "12 length first",
            &get_with(b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
            400,
            "length_and_transfer_encoding",
        ),
        (
            "12 coding first",
            &get_with(b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
            400,
            "length_and_transfer_encoding",
        ),
        (
            "13 in 1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "transfer_encoding_in_http10",
        ),
        ("14 gzip", &get_with(b"Transfer-Encoding: gzip, chunked"), 501, "unsupported_transfer_encoding"),
        (
            "14 two codings",
            &get_with(b"Transfer-Encoding: x-gzip,deflate,chunked"),
            501,
            "unsupported_transfer_encoding",
        ),
        ("14 twice", &split_over_two, 400, "duplicate_transfer_encoding"),
        ("14 gzip in a field of its own", &gzip_apart, 400, "bad_transfer_encoding"),
        ("14 vertical tab", &get_with(b"Transfer-Encoding: \x0bchunked"), 400, "bad_header_value"),
        ("14 space before the colon", &get_with(b"Transfer-Encoding : chunked"), 400, "bad_header_name"),
    ]);
}

#[test]
fn connection_options() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Cookie",
        "Authorization",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "x-forwarded-anything",
        "X_Forwarded_For",
        "Forwarded",
        "X-Real-IP",
        "Content-Type",
        "Content-Encoding",
    ] {
        let error = refused(&get_with(format!("Connection: close, {name}").as_bytes()));
        assert_eq!((error.status, error.code), (400, "connection_names_end_to_end_field"), "16 {name}");
    }
    let many = format!("Connection: {}", "a,".repeat(33));
    check_refusals(&[
        ("16 no token", &get_with(b"Connection: a b"), 400, "bad_connection"),
        ("16 too many", &get_with(many.as_bytes()), 400, "too_many_connection_options"),
    ]);
    // Lines, keep-alive.
    for (lines, keep_alive) in [
        ("X: y", true),
        ("Connection: keep-alive", true),
        ("Connection: close", false),
        ("Connection: CLOSE", false),
        ("Connection: TE, close", false),
        ("Connection: keep-alive\r\nConnection: close", false),
        ("Connection: TE\r\nTE: trailers", true),
        ("Connection: ,, ,", true),
    ] {
        assert_eq!(accepted(&get_with(lines.as_bytes())).keep_alive(), keep_alive, "16 {lines}");
    }
    let kept_10 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert!(!accepted(kept_10).keep_alive());
}

#[test]
fn expectations_and_upgrades() {
    check_refusals(&[
        ("31 another", &get_with(b"Expect: tea"), 417, "unsupported_expectation"),
        ("31 a list", &get_with(b"Expect: 100-continue, tea"), 417, "unsupported_expectation"),
        ("31 empty", &get_with(b"Expect:"), 417, "unsupported_expectation"),
    ]);
    for (lines, expects) in [
        ("Expect: 100-continue\r\nContent-Length: 5", true),
        ("Expect: 100-Continue\r\nTransfer-Encoding: chunked", true),
        ("Expect: 100-continue\r\nContent-Length: 0", false),
        ("Expect: 100-continue", false),
        ("Content-Length: 5", false),
    ] {
        assert_eq!(accepted(&get_with(lines.as_bytes())).expects_continue(), expects, "31 {lines}");
    }
    assert!(
        !accepted(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").expects_continue()
    );
    assert!(accepted(&get_with(b"Connection: Upgrade\r\nUpgrade: websocket")).upgrade());
    assert!(!accepted(&get_with(b"Upgrade: websocket")).upgrade());
    assert!(!accepted(&get_with(b"Connection: Upgrade")).upgrade());
}

#[test]
fn bodies_are_allowed_with_every_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").into_bytes();
        let (head, consumed) = parse_request(&bytes, &HeadLimits::default()).unwrap();
        assert_eq!(head.framing(), BodyFraming::Length(3), "21 {method}");
        assert_eq!(&bytes[consumed..], b"abc");
    }
}

#[test]
fn a_head_is_reused() {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    let first = b"POST /long/path?query HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(head.parse(first, &limits), Ok(Progress::Complete { consumed: first.len() }));
    let memory = head.fields().as_ptr();
    let second = b"HEAD / HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(head.parse(&second[..9], &limits), Ok(Progress::Incomplete));
    assert_eq!(head.parse(second, &limits), Ok(Progress::Complete { consumed: second.len() }));
    assert_eq!(head.fields().as_ptr(), memory, "the list of fields was allocated anew");
    assert_eq!(head.query(second), None);
    assert_eq!(head.host(second), b"b");
    assert_eq!(head.framing(), BodyFraming::None);
    assert!(head.keep_alive() && head.is_head() && !head.upgrade());
    assert!(head.parse(b"\n", &limits).is_err());
    assert_eq!(head.parse(second, &limits), Ok(Progress::Complete { consumed: second.len() }));
    // A smaller buffer, or a smaller limit, in the middle of a head.
    assert_eq!(head.parse(b"GET /aaaaaaaaaaaaaaaaaaa", &limits), Ok(Progress::Incomplete));
    assert_eq!(head.parse(b"GET", &limits), Ok(Progress::Incomplete));
    let smaller = HeadLimits { head_bytes: 2, ..limits };
    assert_eq!(head.parse(b"GET /", &smaller).map_err(|error| error.code), Err("head_too_large"));
}
