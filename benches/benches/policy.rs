//! Resolution of a request: host, location, rules and lists, at 1,000 locations, 10,000 mode rules and 100,000 list
//! entries, for few requests (whatever they need is in the caches) and for many. Bar: 150 ns.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use weir_policy::{
    Condition, ContextSource, Finding, List, ListEntry, LocationSource, MatchKind, Mode, Override, Point,
    Policy, PolicySource, RequestFacts, RuleKind, RuleMode, RuleSource, Scratch, ServerSource, Test, compile,
};

const SERVERS: usize = 20;
const LOCATIONS_PER_SERVER: usize = 50;
/// How many different requests come in turn.
const REQUESTS: [usize; 2] = [64, 4096];

/// Numbers that look random and are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn servers() -> Vec<ServerSource> {
    let location = |index: usize| LocationSource {
        path: format!("/service{index}/"),
        kind: MatchKind::Prefix,
        context: ContextSource {
            mode: Some(Mode::ALL[index % 4]),
            mode_allow_override: Some([Override::On, Override::Strict, Override::Off][index % 3]),
            ..ContextSource::default()
        },
    };
    let server = |index: usize| ServerSource {
        name: format!("server{index}"),
        hosts: vec![format!("shop{index}.example"), format!("*.shop{index}.example")],
        default: index == 0,
        context: ContextSource { application: Some(index as i64), ..ContextSource::default() },
        locations: (0..LOCATIONS_PER_SERVER).map(location).collect(),
    };
    (0..SERVERS).map(server).collect()
}

/// Scopes of several shapes: by endpoint, by endpoint and method, by host, by application, by subtree.
fn rules(count: usize) -> Vec<RuleSource> {
    let equal = |point, value: String| Condition { point, is: Test::Equal, value };
    let rule = |index: usize| {
        let (service, resource) = (index % LOCATIONS_PER_SERVER, index / LOCATIONS_PER_SERVER);
        let path = format!("/service{service}/items/resource{resource}");
        let (uri, when) = match index % 8 {
            0..=3 => (path, vec![]),
            4 => (path, vec![equal(Point::Method, "POST".into())]),
            5 => (format!("shop{}.example{path}", index % SERVERS), vec![]),
            6 => (format!("/service{service}/items/resource{resource}/**"), vec![]),
            _ => (path, vec![equal(Point::Instance, (index % SERVERS).to_string())]),
        };
        let mode = RuleMode::Set(Mode::ALL[index % 4]);
        RuleSource { id: index as u64 + 1, kind: RuleKind::Mode(mode), uri: Some(uri), when }
    };
    (0..count).map(rule).collect()
}

fn lists(count: usize) -> Vec<ListEntry> {
    let mut numbers = Numbers(1);
    let entry = |index: usize| {
        let (address, prefix) = if index.is_multiple_of(2) {
            let address = Ipv4Addr::from(numbers.next() as u32);
            (IpAddr::V4(address), if index.is_multiple_of(10) { 24 } else { 32 })
        } else {
            let address = 0x2001_0db8 << 96 | u128::from(numbers.next()) << 32;
            (IpAddr::V6(Ipv6Addr::from(address)), if index % 10 == 1 { 64 } else { 128 })
        };
        ListEntry {
            list: List::ALL[index % 3],
            address: IpNet::new(address, prefix).unwrap().trunc(),
            applications: if index.is_multiple_of(16) { vec![1, 2] } else { vec![] },
            expires: index.is_multiple_of(8).then_some(2_000_000_000),
            reason: None,
        }
    };
    (0..count).map(entry).collect()
}

fn policy(rule_count: usize, list_entries: usize) -> Policy {
    let source = PolicySource {
        servers: servers(),
        general_mode: RuleMode::Set(Mode::Monitoring),
        rules: rules(rule_count),
        lists: lists(list_entries),
        ..PolicySource::default()
    };
    compile(source).unwrap().policy
}

/// What differs between the requests.
struct Request {
    host: String,
    path: String,
    method: &'static str,
    client: IpAddr,
}

fn requests() -> Vec<Request> {
    let mut numbers = Numbers(2);
    let request = |_| {
        let server = numbers.below(SERVERS);
        let subdomain = if numbers.below(4) == 0 { "www." } else { "" };
        let (service, resource) = (numbers.below(LOCATIONS_PER_SERVER), numbers.below(250));
        Request {
            host: format!("{subdomain}shop{server}.example"),
            path: format!("/service{service}/items/resource{resource}"),
            method: if numbers.below(3) == 0 { "POST" } else { "GET" },
            client: if numbers.below(4) == 0 {
                IpAddr::V6(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(numbers.next()) << 32))
            } else {
                IpAddr::V4(Ipv4Addr::from(numbers.next() as u32))
            },
        }
    };
    (0..REQUESTS[1]).map(request).collect()
}

const HEADERS: [(&[u8], &[u8]); 6] = [
    (b"host", b"shop.example"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"cookie", b"session=5f2b6d0c8a1e4f37"),
    (b"connection", b"keep-alive"),
];

fn resolve(criterion: &mut Criterion) {
    let requests = requests();
    let mut group = criterion.benchmark_group("policy");
    // Without lists: what the mode alone costs (host, location, rules).
    for (rule_count, list_entries) in [(10_000, 0), (10, 100_000), (10_000, 100_000), (100_000, 100_000)] {
        let policy = policy(rule_count, list_entries);
        for request_count in REQUESTS {
            let requests = &requests[..request_count];
            let mut scratch = Scratch::default();
            let mut next = 0;
            let name = format!("resolve/{rule_count}_rules/{list_entries}_entries/{request_count}_requests");
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let request = &requests[next % request_count];
                    next += 1;
                    let facts = RequestFacts {
                        method: request.method.as_bytes(),
                        scheme: b"https",
                        proto: b"HTTP/1.1",
                        host: request.host.as_bytes(),
                        path: request.path.as_bytes(),
                        query: Some(b"page=2&sort=name"),
                        headers: &HEADERS,
                    };
                    let resolution =
                        policy.resolve(&mut scratch, black_box(&facts), request.client, 1_800_000_000);
                    black_box(policy.verdict(&resolution, Finding::None))
                });
            });
        }
    }
    let source = PolicySource { servers: servers(), rules: rules(10_000), ..PolicySource::default() };
    group.sample_size(10);
    group
        .bench_function("compile/10000_rules", |bencher| bencher.iter(|| compile(black_box(source.clone()))));
    group.finish();
}

criterion_group!(benches, resolve);
criterion_main!(benches);
