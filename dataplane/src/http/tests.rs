//! Tests of the codecs together.

use super::*;

#[test]
fn a_request_is_parsed_and_forwarded() {
    let bytes = b"\r\nGET /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nConnection: X-Drop\r\nX-Drop: 1\r\n\
        X-Forwarded-For: 6.6.6.6\r\nEmpty:\r\nCookie: k=v \r\n\r\nrest";
    let mut head = RequestHead::default();
    let progress = head.parse(bytes, &HeadLimits::default()).unwrap();
    assert_eq!(progress, Progress::Complete { consumed: bytes.len() - 4 });
    assert_eq!(head.path(bytes), b"/a/b");
    assert_eq!(head.query(bytes), Some(&b"c=d"[..]));
    assert_eq!(head.host(bytes), b"a.example");
    assert_eq!(head.header(bytes, b"cookie"), Some(&b"k=v"[..]));
    let facts = ForwardFacts {
        client_ip: b"192.0.2.1",
        peer_is_trusted: false,
        scheme: b"https",
        request_id: b"0123",
        body: BodyFraming::None,
    };
    let mut out = Vec::new();
    write_request_head(&head, bytes, &facts, &mut out);
    assert_eq!(
        out.escape_ascii().to_string(),
        b"GET /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nEmpty: \r\nCookie: k=v\r\n\
        X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n\
        X-Request-Id: 0123\r\n\r\n"
            .escape_ascii()
            .to_string()
    );
}
