//! The limits of a head: what fits exactly passes, one byte more is refused as soon as it is certain.

use super::*;

const SMALL: HeadLimits = HeadLimits {
    head_bytes: 100,
    target_bytes: 10,
    header_count: 3,
    header_bytes: 40,
    method_bytes: 8,
    underscore_names: UnderscoreNames::Pass,
};

/// The first prefix that is refused, and why.
fn refused_after(bytes: &[u8], limits: &HeadLimits) -> (usize, u16, &'static str) {
    let error = parse_request(bytes, limits).unwrap_err();
    let mut head = RequestHead::default();
    let length = (0..=bytes.len()).find(|length| head.parse(&bytes[..*length], limits).is_err()).unwrap();
    (length, error.status, error.code)
}

#[test]
fn targets() {
    parse_request(b"GET /234567890 HTTP/1.1\r\nHost: a\r\n\r\n", &SMALL).unwrap();
    let (_, status, code) = refused_after(b"GET /234567890x HTTP/1.1\r\nHost: a\r\n\r\n", &SMALL);
    assert_eq!((status, code), (414, "target_too_long"));
    // No need to wait for an end of the line.
    let (length, status, code) = refused_after(&[b"GET /", &[b'a'; 90][..]].concat(), &SMALL);
    assert_eq!((length, status, code), (25, 414, "target_too_long"));
    let long = [b"GET /", &vec![b'a'; 30_000][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut head = RequestHead::default();
    assert_eq!(head.parse(&long, &HeadLimits::default()).map_err(|error| error.status), Err(414));
    let fits = [b"GET /", &vec![b'a'; 24 * 1024 - 1][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    assert!(head.parse(&fits, &HeadLimits::default()).is_ok());
}

#[test]
fn heads() {
    let fill = |bytes: usize| {
        let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nA: 345678901234567890123\r\nX: ".to_vec();
        request.resize(bytes - 4, b'x');
        request.extend_from_slice(b"\r\n\r\n");
        request
    };
    let limits = HeadLimits { header_bytes: 100, ..SMALL };
    assert_eq!(parse_request(&fill(100), &limits).unwrap().1, 100);
    assert_eq!(refused_after(&fill(101), &limits), (100, 431, "head_too_large"));
    let endless = b"GET / HTTP/1.1\r\nHost: a\r\nA: bbbbbbbbbbbbbbbbb\r\nC: ".repeat(4);
    assert_eq!(refused_after(&endless, &HeadLimits { header_count: 100, ..limits }).2, "head_too_large");
}

#[test]
fn fields() {
    parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\n\r\n", &SMALL).unwrap();
    let four = b"GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\nF: g\r\n\r\n";
    assert_eq!(refused_after(four, &SMALL), (four.len() - 2, 431, "too_many_headers"));
    let exact = b"GET / HTTP/1.1\r\nHost: a\r\nX: 45678901234567890123456789012345678\r\n\r\n";
    parse_request(exact, &SMALL).unwrap();
    let longer = b"GET / HTTP/1.1\r\nHost: a\r\nX: 456789012345678901234567890123456789\r\n\r\n";
    assert_eq!(refused_after(longer, &SMALL), (25 + 40, 431, "header_too_large"));
    let mut many = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    many.extend_from_slice(&b"A: b\r\n".repeat(usize::from(MAX_HEADER_COUNT) - 1));
    let unlimited = HeadLimits { header_count: u16::MAX, ..HeadLimits::default() };
    let mut head = RequestHead::default();
    assert!(head.parse(&[&many[..], b"\r\n"].concat(), &unlimited).is_ok());
    assert_eq!(head.fields().len(), usize::from(MAX_HEADER_COUNT));
    many.extend_from_slice(b"A: b\r\n\r\n");
    assert_eq!(head.parse(&many, &unlimited).map_err(|error| error.code), Err("too_many_headers"));
    let hundred_and_one = [b"GET / HTTP/1.1\r\nHost: a\r\n", &b"A: b\r\n".repeat(100)[..], b"\r\n"].concat();
    assert_eq!(head.parse(&hundred_and_one, &HeadLimits::default()).map_err(|error| error.status), Err(431));
}

#[test]
fn methods() {
    parse_request(b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", &SMALL).unwrap();
    assert_eq!(refused_after(b"PROPPATCH / HTTP/1.1\r\n", &SMALL), (9, 501, "method_too_long"));
}
