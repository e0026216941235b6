//! What the codecs cost for one request as a browser sends it: a head of about 700 bytes and thirteen fields.
//!
//! Run with `cargo bench -p weir-benches --bench head`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir::http::{
    BodyFraming, ForwardFacts, HeadLimits, Progress, RequestHead, ResponseFacts, ResponseHead, Version,
    write_request_head, write_response_head,
};

const REQUEST: &[u8] = b"GET /catalogue/shoes?colour=blue&size=42&page=2 HTTP/1.1\r\n\
    Host: shop.example\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Referer: https://shop.example/catalogue\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.7\r\n\
    Cookie: session=6f1b2c3d4e5f60718293a4b5c6d7e8f9; theme=dark; consent=1; basket=12-88-4\r\n\
    Cache-Control: max-age=0\r\n\
    \r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: origin\r\n\
    Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: private, max-age=60\r\n\
    ETag: \"65920080-400\"\r\n\
    \r\n";

fn requests(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let mut group = criterion.benchmark_group("request_head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let progress = head.parse(black_box(REQUEST), &limits);
            assert_eq!(progress, Ok(Progress::Complete { consumed: REQUEST.len() }));
        });
    });
    let facts = ForwardFacts {
        websocket: false,
        fallback_host: b"app.internal",
        client_ip: b"192.0.2.10",
        peer_is_trusted: false,
        scheme: b"https",
        request_id: b"0123456789abcdef0123456789abcdef",
        body: BodyFraming::None,
        client_certificate: None,
    };
    let mut out = Vec::new();
    group.bench_function("forward", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_request_head(&head, black_box(REQUEST), &facts, &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut head = ResponseHead::default();
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("response_head");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("parse_and_relay", |bencher| {
        bencher.iter(|| {
            let progress = head.parse(black_box(RESPONSE), false, &limits);
            assert_eq!(progress, Ok(Progress::Complete { consumed: RESPONSE.len() }));
            let facts = ResponseFacts {
                client_version: Version::Http11,
                keep_alive: true,
                framing: head.framing_for(Version::Http11),
                request_id: b"0123456789abcdef0123456789abcdef",
                edits: weir::http::HeaderEdits::NONE,
            };
            out.clear();
            write_response_head(&head, RESPONSE, &facts, &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, requests, responses);
criterion_main!(benches);
