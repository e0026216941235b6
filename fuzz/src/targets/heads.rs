//! Heads of requests and responses: the same however they are split, and what is forwarded reads back.

use weir::http::{
    BodyFraming, ForwardFacts, HeadError, HeadLimits, HeaderEdits, Progress, RequestHead, ResponseFacts,
    ResponseHead, Version, websocket_key, write_request_head, write_response_head,
};

use crate::{Random, Target};

const DICTIONARY: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"GET ",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, x\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"http://a:80/b",
    b"http://a?b",
    b"[::1]:80",
    b"%2f..%5c",
    b": ",
    b"a_b",
];

pub(super) const REQUEST: Target = Target {
    name: "request_head",
    seeds: &[
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"\r\nPOST /a/b?c=d HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\nCookie: a=b\r\n\r\nhello",
        b"PUT http://a.example/x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\nHost: [::1]:8080\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=x\r\nProxy: y\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
    dictionary: DICTIONARY,
    quick_cases: 40_000,
    prepare: || Box::new(request),
};

fn request(input: &[u8], random: &mut Random) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let whole = head.parse(input, &limits);
    let mut split = RequestHead::default();
    assert_eq!(
        in_pieces(input, random, |bytes| split.parse(bytes, &limits)),
        whole,
        "splits change the outcome"
    );
    let consumed = match whole {
        Ok(Progress::Complete { consumed }) => consumed,
        Ok(Progress::Incomplete) => return,
        Err(error) => {
            assert!(matches!(error.status, 400..=499 | 501 | 505), "{error:?}");
            return;
        }
    };
    assert!(consumed <= input.len());
    let key = websocket_key(&head, input).filter(|_| random.below(2) == 0);
    let body = match random.below(3) {
        _ if key.is_some() => BodyFraming::None,
        0 => BodyFraming::None,
        1 => BodyFraming::Length(random.number() >> 1),
        _ => BodyFraming::Chunked,
    };
    let facts = ForwardFacts {
        fallback_host: b"fallback",
        client_ip: b"192.0.2.1",
        client_certificate: None,
        peer_is_trusted: random.below(2) == 0,
        scheme: b"http",
        request_id: b"0123456789abcdef0123456789abcdef",
        body,
        websocket: key.is_some(),
    };
    let mut forwarded = Vec::new();
    write_request_head(&head, input, &facts, &mut forwarded);
    // Fields are added, so that the limits of what comes in don't hold for what goes out.
    let roomy = HeadLimits {
        head_bytes: 1 << 20,
        header_bytes: 1 << 20,
        header_count: weir::http::MAX_HEADER_COUNT,
        ..limits
    };
    let mut again = RequestHead::default();
    let outcome = again.parse(&forwarded, &roomy);
    assert_eq!(outcome, Ok(Progress::Complete { consumed: forwarded.len() }), "{}", forwarded.escape_ascii());
    assert_eq!(again.method(&forwarded), head.method(input));
    assert_eq!(again.target(&forwarded), head.target(input));
    assert!(head.host(input).is_empty() || again.host(&forwarded) == head.host(input));
    assert_eq!((again.version(), again.framing()), (Version::Http11, body));
    // What is no handshake any more must not look like one to the origin.
    assert_eq!(websocket_key(&again, &forwarded), key);
}

pub(super) const RESPONSE: Target = Target {
    name: "response_head",
    seeds: &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 301 Moved\r\nLocation: /\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Request-Id: 7\r\n\r\n",
        b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    ],
    dictionary: DICTIONARY,
    quick_cases: 40_000,
    prepare: || Box::new(response),
};

fn response(input: &[u8], random: &mut Random) {
    let limits = HeadLimits::default();
    let was_head = random.below(4) == 0;
    let mut head = ResponseHead::default();
    let whole = head.parse(input, was_head, &limits);
    let mut split = ResponseHead::default();
    let pieces = in_pieces(input, random, |bytes| split.parse(bytes, was_head, &limits));
    assert_eq!(pieces, whole, "splits change the outcome");
    let Ok(Progress::Complete { .. }) = whole else {
        assert!(whole.is_err_and(|error| error.status == 502) || whole == Ok(Progress::Incomplete));
        return;
    };
    let facts = ResponseFacts {
        client_version: Version::Http11,
        keep_alive: true,
        framing: head.framing_for(Version::Http11),
        request_id: b"77",
        edits: HeaderEdits::NONE,
    };
    let mut relayed = Vec::new();
    write_response_head(&head, input, &facts, &mut relayed);
    let roomy = HeadLimits { head_bytes: 1 << 20, header_count: weir::http::MAX_HEADER_COUNT, ..limits };
    let mut again = ResponseHead::default();
    let outcome = again.parse(&relayed, was_head, &roomy);
    assert_eq!(outcome, Ok(Progress::Complete { consumed: relayed.len() }), "{}", relayed.escape_ascii());
    assert_eq!(again.status(), head.status());
    assert!(head.is_interim() || again.framing() == facts.framing, "{:?}", again.framing());
}

/// Parses as the bytes come in, piece by piece.
fn in_pieces(
    input: &[u8],
    random: &mut Random,
    mut parse: impl FnMut(&[u8]) -> Result<Progress, HeadError>,
) -> Result<Progress, HeadError> {
    let mut seen = 0;
    let mut outcome = parse(&[]);
    for piece in random.pieces(input) {
        if outcome != Ok(Progress::Incomplete) {
            break;
        }
        seen += piece.len();
        outcome = parse(&input[..seen]);
    }
    outcome
}
