//! Heads of responses: which are refused, and how the others are framed.

use super::*;

fn response(status: &str, lines: &str) -> Vec<u8> {
    let separator = if lines.is_empty() { "" } else { "\r\n" };
    format!("{status}\r\n{lines}{separator}\r\n").into_bytes()
}

#[test]
fn framing_of_responses() {
    // Status line, fields, request was HEAD, framing, connection can be kept.
    type Row = (&'static str, &'static str, bool, ResponseFraming, bool);
    let table: [Row; 20] = [
        ("HTTP/1.1 200 OK", "Content-Length: 5", false, ResponseFraming::Length(5), true),
        ("HTTP/1.1 200 OK", "Content-Length: 5", true, ResponseFraming::None, true),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked", false, ResponseFraming::Chunked, true),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", true, ResponseFraming::None, true),
        ("HTTP/1.1 200 OK", "", false, ResponseFraming::UntilClose, false),
        ("HTTP/1.1 200 OK", "", true, ResponseFraming::None, true),
        ("HTTP/1.1 204 No Content", "Content-Length: 5", false, ResponseFraming::None, true),
        ("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked", false, ResponseFraming::None, true),
        ("HTTP/1.1 100 Continue", "", false, ResponseFraming::None, true),
        ("HTTP/1.1 103 Early Hints", "Link: </a>", false, ResponseFraming::None, true),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 5\r\nContent-Length: 5",
            false,
            ResponseFraming::Length(5),
            true,
        ),
        ("HTTP/1.1 200 OK", "Content-Length: 5, 5", false, ResponseFraming::Length(5), true),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 5\r\nConnection: close",
            false,
            ResponseFraming::Length(5),
            false,
        ),
        ("HTTP/1.0 200 OK", "Content-Length: 5", false, ResponseFraming::Length(5), false),
        (
            "HTTP/1.0 200 OK",
            "Content-Length: 5\r\nConnection: Keep-Alive",
            false,
            ResponseFraming::Length(5),
            true,
        ),
        ("HTTP/1.0 200 OK", "Connection: keep-alive", false, ResponseFraming::UntilClose, false),
        ("HTTP/1.1 200", "Content-Length: 0", false, ResponseFraming::Length(0), true),
        ("HTTP/1.1 200 ", "Content-Length: 0", false, ResponseFraming::Length(0), true),
        ("HTTP/1.1 999 Odd", "Content-Length: 0", false, ResponseFraming::Length(0), true),
        ("HTTP/1.1 200 \u{e9}", "Content-Length: 0", false, ResponseFraming::Length(0), true),
    ];
    for (status, lines, was_head, framing, keep_alive) in table {
        let bytes = response(status, lines);
        let (head, consumed) = parse_response(&bytes, was_head).unwrap();
        assert_eq!(consumed, bytes.len());
        assert_eq!((head.framing(), head.keep_alive()), (framing, keep_alive), "{status} {lines}");
        assert_eq!(head.is_interim(), status.contains(" 10"));
    }
}

#[test]
fn refused_responses() {
    let table: [(&str, &[u8], &str); 22] = [
        ("bare LF", b"HTTP/1.1 200 OK\nA: b\r\n\r\n", "bare_lf"),
        ("bare CR", b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "bare_cr"),
        ("empty line in front", b"\r\nHTTP/1.1 200 OK\r\n\r\n", "leading_empty_lines"),
        ("folded", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "leading_space"),
        ("space before the colon", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "bad_header_name"),
        ("NUL in a value", b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "bad_header_value"),
        ("not HTTP", b"SSH-2.0-x\r\n\r\n", "bad_status_line"),
        ("not HTTP, without an end", b"hello world", "bad_status_line"),
        ("HTTP/2", b"HTTP/2.0 200 OK\r\n\r\n", "bad_status_line"),
        ("short status", b"HTTP/1.1 20 OK\r\n\r\n", "bad_status_line"),
        ("long status", b"HTTP/1.1 2000 OK\r\n\r\n", "bad_status_line"),
        ("status 099", b"HTTP/1.1 099 OK\r\n\r\n", "bad_status"),
        ("switch", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "unexpected_upgrade"),
        (
            "27 both",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "length_and_transfer_encoding",
        ),
        (
            "27 unequal",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "unequal_content_lengths",
        ),
        ("27 unequal list", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "unequal_content_lengths"),
        ("27 sign", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "bad_content_length"),
        ("27 empty", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "bad_content_length"),
        (
            "gzip",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "unsupported_transfer_encoding",
        ),
        ("odd", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", "bad_transfer_encoding"),
        (
            "twice",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "duplicate_transfer_encoding",
        ),
        ("in 1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer_encoding_in_http10"),
    ];
    for (name, bytes, code) in table {
        let error = parse_response(bytes, false).map(|_| ()).unwrap_err();
        assert_eq!((error.status, error.code), (502, code), "{name}");
    }
}

#[test]
fn interim_responses_are_followed_by_another() {
    let bytes =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 404 Gone Away\r\n\
        Content-Length: 3\r\n\r\nabc";
    let mut head = ResponseHead::default();
    let mut position = 0;
    let mut start_of_last = 0;
    let mut statuses = Vec::new();
    while statuses.last().is_none_or(|status| *status < 200) {
        let rest = &bytes[position..];
        let Progress::Complete { consumed } = head.parse(rest, false, &HeadLimits::default()).unwrap() else {
            panic!("incomplete")
        };
        statuses.push(head.status());
        assert_eq!(head.is_interim(), head.status() < 200);
        start_of_last = position;
        position += consumed;
    }
    assert_eq!(statuses, [100, 103, 404]);
    assert_eq!(&bytes[position..], b"abc");
    let last = &bytes[start_of_last..];
    assert_eq!(head.reason(last), b"Gone Away");
    assert_eq!(head.header(last, b"content-length"), Some(&b"3"[..]));
    assert_eq!(head.content_length(), Some(3));
}

#[test]
fn framing_by_the_clients_version() {
    for (bytes, framing_10, framing_11) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], ResponseFraming::UntilClose, ResponseFraming::Chunked),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ResponseFraming::UntilClose,
            ResponseFraming::Chunked,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            ResponseFraming::Length(2),
            ResponseFraming::Length(2),
        ),
    ] {
        let (head, _) = parse_response(bytes, false).unwrap();
        assert_eq!(head.framing_for(Version::Http10), framing_10);
        assert_eq!(head.framing_for(Version::Http11), framing_11);
    }
}
