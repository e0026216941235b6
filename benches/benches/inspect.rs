//! What inspection costs a request: the CPU time of one request on one core, without any input or output.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_inspect::{Engine, EngineOptions, Inspector, Pack, RequestView};

/// The headers of a browser.
const BROWSER_HEADERS: &[(&[u8], &[u8])] = &[
    (b"Host", b"www.shop.example"),
    (
        b"User-Agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0 Safari/537.36",
    ),
    (b"Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    (b"Accept-Language", b"en-GB,en;q=0.7,de;q=0.3"),
    (b"Referer", b"https://www.shop.example/catalogue/shoes?page=2&sort=price"),
    (b"Cookie", b"session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; _ga=GA1.2.1846372519.1719830412"),
    (b"Sec-Fetch-Mode", b"navigate"),
    (b"Upgrade-Insecure-Requests", b"1"),
];

/// A request of about 700 bytes.
const BROWSER_GET: RequestView<'_> = RequestView {
    method: b"GET",
    path: b"/catalogue/shoes/summer-collection/42",
    query: Some(b"colour=dark%20blue&size=42&from=19.90&q=running+shoes"),
    headers: BROWSER_HEADERS,
    body: b"",
    body_complete: true,
};

const JSON_HEADERS: &[(&[u8], &[u8])] =
    &[(b"Host", b"api.shop.example"), (b"Content-Type", b"application/json"), (b"User-Agent", b"curl/8.5.0")];

/// A document of about `bytes` bytes, with many short strings and numbers.
fn json_body(bytes: usize) -> Vec<u8> {
    let mut body = b"{\"items\":[".to_vec();
    let mut number = 0;
    while body.len() < bytes {
        if number > 0 {
            body.push(b',');
        }
        let item =
            format!("{{\"id\":{number},\"name\":\"Item {number}\",\"note\":\"In stock, ships soon\"}}");
        body.extend_from_slice(item.as_bytes());
        number += 1;
    }
    body.extend_from_slice(b"]}");
    body
}

/// A document of about `bytes` bytes whose strings are made to nominate signatures of all classes.
fn hostile_body(bytes: usize) -> Vec<u8> {
    let item = br#""<a onx=1 'or 1=(select sleep(1 ../ {{config ${jndi: ;cat ""#;
    let mut body = b"[".to_vec();
    while body.len() < bytes {
        body.extend_from_slice(item);
        body.push(b',');
    }
    body.extend_from_slice(b"0]");
    body
}

fn wire_bytes(request: &RequestView<'_>) -> u64 {
    let headers: usize = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let line =
        request.method.len() + request.path.len() + request.query.map_or(0, |query| query.len() + 1) + 12;
    (line + headers + 2 + request.body.len()) as u64
}

/// An engine and an inspector, with what measures them.
struct Bench<'a> {
    criterion: &'a mut Criterion,
    engine: Engine,
    inspector: Inspector,
}

impl Bench<'_> {
    fn run(&mut self, name: &str, request: &RequestView<'_>) {
        let mut group = self.criterion.benchmark_group("inspect");
        group.throughput(Throughput::Bytes(wire_bytes(request)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(self.inspector.inspect(&self.engine, black_box(request)).attack));
        });
        group.finish();
    }
}

fn inspect(criterion: &mut Criterion) {
    let engine =
        Engine::compile(Pack::embedded(), EngineOptions::default()).expect("the embedded pack compiles");
    let inspector = engine.inspector().expect("there is memory for an inspector");
    let mut bench = Bench { criterion, engine, inspector };
    let bare = RequestView { query: None, headers: &[(b"Host", b"shop.example")], path: b"/", ..BROWSER_GET };
    bench.run("bare GET", &bare);
    bench.run("browser GET, 700 bytes", &BROWSER_GET);
    for kib in [4, 64] {
        let body = json_body(kib * 1024);
        let request =
            RequestView { method: b"POST", headers: JSON_HEADERS, query: None, body: &body, ..BROWSER_GET };
        bench.run(&format!("JSON POST, {kib} KiB"), &request);
    }
    let body = hostile_body(64 * 1024);
    let request =
        RequestView { method: b"POST", headers: JSON_HEADERS, query: None, body: &body, ..BROWSER_GET };
    bench.run("hostile JSON POST, 64 KiB", &request);
    let query = b"id=1%27+union+select+1,2,version()--+&x=%3Cscript%3Ealert(1)";
    bench.run("browser GET with two attacks", &RequestView { query: Some(query), ..BROWSER_GET });
}

criterion_group!(benches, inspect);
criterion_main!(benches);
