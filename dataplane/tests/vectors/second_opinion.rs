//! What is forwarded is what was inspected: every accepted request of the cases, and of random mutations of them, is
//! read again by h11 and by the tests' strict reader, and all agree on method, target, fields and body.

use weir::http::{
    BodyFraming, ChunkLimits, ChunkedDecoder, ForwardFacts, HeadLimits, LAST_CHUNK, Progress, RequestHead,
    write_chunk, write_request_head,
};

use super::table::{self, REQUESTS};
use super::{Finish, converse};
use crate::support::Seeded;
use crate::support::h11::{self, H11, H11Origin, Understood};
use crate::support::message::Inbox;
use crate::support::message::Otherwise;
use crate::support::setup::Setup;
use crate::support::strict::{self, StrictRequest};

/// Fields that end at the node, or that it writes itself.
const NOT_PASSED_ON: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-real-ip",
    "x-request-id",
];

/// Of those, the ones that the node also knows where another byte stands for `-`.
const KNOWN_IN_CGI: &[&str] = &["content-length", "transfer-encoding", "x-real-ip", "x-request-id"];

fn is_passed_on(name: &str, connection_options: &[String]) -> bool {
    let as_cgi = name.replace(|byte: char| !byte.is_ascii_alphanumeric(), "-");
    !NOT_PASSED_ON.contains(&name)
        && !KNOWN_IN_CGI.contains(&as_cgi.as_str())
        && !as_cgi.starts_with("x-forwarded-")
        && !as_cgi.starts_with("x-client-certificate-")
        && !name.starts_with("proxy-")
        && !connection_options.iter().any(|option| option == name)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A request as both sides of the node must see it.
#[derive(Debug, PartialEq, Eq)]
struct Essence {
    method: String,
    target: String,
    host: String,
    /// End-to-end fields in their order, names as they came.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What of a client's request is to reach the origin.
fn essence_of_sent(sent: &StrictRequest) -> Essence {
    let options: Vec<String> = sent
        .values("connection")
        .flat_map(|value| {
            text(value).split(',').map(|option| option.trim().to_ascii_lowercase()).collect::<Vec<_>>()
        })
        .collect();
    let fields = sent
        .fields
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| is_passed_on(&name.to_ascii_lowercase(), &options))
        .collect();
    let method = text(&sent.method);
    let mut target = text(&sent.target);
    let mut host = sent.values("host").next().map(text).unwrap_or_default();
    let scheme = target.find("://").filter(|_| !target.starts_with('/'));
    if let Some(scheme) = scheme {
        let behind = &target[scheme + 3..];
        let (authority, path) = behind.split_at(behind.find(['/', '?']).unwrap_or(behind.len()));
        host = authority.to_owned();
        target = match (path, method.as_str()) {
            ("", "OPTIONS") => "*".to_owned(),
            ("", _) => "/".to_owned(),
            (path, _) if path.starts_with('?') => format!("/{path}"),
            (path, _) => path.to_owned(),
        };
    }
    Essence { method, target, host, fields, body: sent.body.clone() }
}

/// What an origin understands, with what the node adds taken away.
fn essence_of_received(received: &Understood) -> Essence {
    let fields: Vec<(String, String)> =
        received.fields.iter().map(|(name, value)| (text(name), text(value))).collect();
    let hosts: Vec<&String> =
        fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value).collect();
    assert_eq!(hosts.len(), 1, "{fields:?}");
    let host = hosts[0].clone();
    let fields =
        fields.into_iter().filter(|(name, _)| is_passed_on(&name.to_ascii_lowercase(), &[])).collect();
    assert_eq!(received.version, b"1.1");
    Essence {
        method: text(&received.method),
        target: text(&received.target),
        host,
        fields,
        body: received.body.clone(),
    }
}

fn understood_strictly(request: StrictRequest) -> Understood {
    Understood {
        method: request.method,
        target: request.target,
        version: request.version.strip_prefix(b"HTTP/").unwrap_or_default().to_vec(),
        fields: request.fields,
        body: request.body,
    }
}

/// The requests in what a client sends, as the strict reader has them, up to the first that it refuses.
fn sent_requests(bytes: &[u8]) -> Vec<StrictRequest> {
    let mut rest = bytes;
    let mut requests = Vec::new();
    loop {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        match strict::read_request(rest) {
            Ok(request) => {
                rest = &rest[request.length..];
                requests.push(request);
            }
            Err(_) => return requests,
        }
    }
}

/// What h11 said it had understood, from the answers that a client heard.
fn replies(heard: &[u8], methods: &[String]) -> Vec<Result<Understood, String>> {
    let mut inbox = Inbox::default();
    let mut stream = heard;
    let mut replies = Vec::new();
    while replies.len() < methods.len() {
        let Ok(head) = inbox.head(&mut stream) else { break };
        match head.status() {
            100 => continue,
            200 if methods[replies.len()] == "HEAD" => replies.push(Err("no body to HEAD".to_owned())),
            200 | 599 => {
                let answer = inbox.body(&mut stream, head, Otherwise::UntilClose).unwrap();
                replies.push(h11::read_reply(&answer.body));
            }
            _ => break,
        }
    }
    replies
}

#[test]
fn h11_as_the_origin_understands_every_accepted_case_as_it_was_sent() {
    for mode in ["off", "block"] {
        let origin = H11Origin::start();
        let node = Setup::new(origin.address).mode(mode).detection("min_score = 1000").start();
        let mut compared = 0;
        for (suite, _) in REQUESTS {
            for case in table::read(suite) {
                let sent = sent_requests(&case.parts.concat());
                let methods: Vec<String> = sent.iter().map(|request| text(&request.method)).collect();
                let heard = converse(node.address, &case.parts, Finish::AtOnce);
                let replies = replies(&heard, &methods);
                // The strict reader goes on behind a request that ends the connection, the node doesn't.
                let accepted =
                    case.answers.split(", ").filter(|answer| ["200", "304"].contains(answer)).count();
                assert_eq!(replies.len(), accepted, "{mode} {suite} {}: {}", case.id, heard.escape_ascii());
                for (sent, reply) in sent.iter().zip(replies).filter(|(sent, _)| sent.method != b"HEAD") {
                    let received =
                        reply.unwrap_or_else(|error| panic!("{mode} {suite} {}: {error}", case.id));
                    let mut wanted = essence_of_sent(sent);
                    if wanted.host.is_empty() {
                        wanted.host = origin.address.to_string();
                    }
                    assert_eq!(essence_of_received(&received), wanted, "{mode} {suite} {}", case.id);
                    compared += 1;
                }
            }
        }
        assert!(compared > 150, "only {compared} requests were compared");
    }
}

/// The node's codecs without the node: the view that is inspected, and the bytes that are forwarded.
struct Passed {
    inspected: Essence,
    forwarded: Vec<u8>,
}

/// Takes a request through the codecs; `None` where it is refused or not whole. `held` is whether its body is forwarded
/// in one piece with its length, or as it came.
fn pass(bytes: &[u8], held: bool) -> Option<Passed> {
    let mut head = RequestHead::default();
    let Ok(Progress::Complete { consumed }) = head.parse(bytes, &HeadLimits::default()) else { return None };
    let rest = &bytes[consumed..];
    let mut body = Vec::new();
    let mut pieces = Vec::new();
    match head.framing() {
        BodyFraming::None => {}
        BodyFraming::Length(length) => {
            body.extend_from_slice(rest.get(..usize::try_from(length).ok()?)?);
            pieces.extend_from_slice(&body);
        }
        BodyFraming::Chunked => {
            let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
            let mut used = 0;
            while !decoder.is_finished() {
                let chunk = decoder.decode(&rest[used..]).ok().filter(|chunk| chunk.consumed > 0)?;
                let data = &rest[used..][chunk.data.clone()];
                body.extend_from_slice(data);
                write_chunk(data, &mut pieces);
                used += chunk.consumed;
            }
            pieces.extend_from_slice(LAST_CHUNK);
        }
    }
    let framing = match head.framing() {
        BodyFraming::Chunked if held => BodyFraming::Length(body.len() as u64),
        framing => framing,
    };
    let facts = ForwardFacts {
        websocket: false,
        fallback_host: b"fallback.example",
        client_ip: b"192.0.2.1",
        client_certificate: None,
        peer_is_trusted: false,
        scheme: b"http",
        request_id: b"0123456789abcdef0123456789abcdef",
        body: framing,
    };
    let mut forwarded = Vec::new();
    write_request_head(&head, bytes, &facts, &mut forwarded);
    forwarded.extend_from_slice(if held { &body } else { &pieces });
    let options: Vec<String> = head
        .headers(bytes)
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| {
            text(value).split(',').map(|option| option.trim().to_ascii_lowercase()).collect::<Vec<_>>()
        })
        .collect();
    let fields = head
        .headers(bytes)
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| is_passed_on(&name.to_ascii_lowercase(), &options))
        .collect();
    let host = if head.host(bytes).is_empty() { b"fallback.example" } else { head.host(bytes) };
    let inspected = Essence {
        method: text(head.method(bytes)),
        target: text(head.target(bytes)),
        host: text(host),
        fields,
        body,
    };
    Some(Passed { inspected, forwarded })
}

/// Messages to start from.
struct Corpus {
    accepted: Vec<Vec<u8>>,
    all: Vec<Vec<u8>>,
}

impl Corpus {
    fn read() -> Self {
        let cases = REQUESTS.iter().flat_map(|(suite, _)| table::read(suite));
        let all: Vec<Vec<u8>> =
            cases.map(|case| case.parts.concat()).filter(|bytes| (16..4096).contains(&bytes.len())).collect();
        let accepted = all.iter().filter(|bytes| pass(bytes, false).is_some()).cloned().collect();
        Self { accepted, all }
    }

    /// One of them, mostly one that is accepted.
    fn pick(&self, random: &mut Seeded) -> &[u8] {
        let from = if random.next(4) > 0 { &self.accepted } else { &self.all };
        &from[random.next(from.len())]
    }

    /// A case, or the start of one and the end of another, disturbed in a few places.
    fn mutated(&self, random: &mut Seeded) -> Vec<u8> {
        let first = self.pick(random);
        if random.next(3) > 0 {
            return random.disturb(first);
        }
        let second = self.pick(random);
        let line_start = |random: &mut Seeded, bytes: &[u8]| {
            let starts: Vec<usize> = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).collect();
            if starts.is_empty() { bytes.len() } else { starts[random.next(starts.len())] }
        };
        let (end, start) = (line_start(random, first), line_start(random, second));
        let joined = [&first[..end], &second[start..]].concat();
        if joined.len() < 16 || random.next(2) == 0 { joined } else { random.disturb(&joined) }
    }
}

/// Checks one message; true if it was accepted.
fn check(h11: &mut H11, message: &[u8], held: bool) -> Result<bool, String> {
    let Some(passed) = pass(message, held) else { return Ok(false) };
    // The strict reader must have understood the client in the same way: nothing was accepted that it refuses.
    let sent = strict::read_request(message.strip_prefix(b"\r\n").unwrap_or(message))
        .map_err(|error| format!("the strict reader refuses what was accepted: {error}"))?;
    let mut sent = essence_of_sent(&sent);
    if sent.host.is_empty() {
        sent.host = "fallback.example".to_owned();
    }
    if sent != passed.inspected {
        return Err(format!("sent {sent:?}\ninspected {:?}", passed.inspected));
    }
    let strictly = strict::read_request(&passed.forwarded)
        .map_err(|error| format!("the strict reader refuses what is forwarded: {error}"))?;
    if strictly.length != passed.forwarded.len() {
        return Err("bytes are left behind what is forwarded".to_owned());
    }
    let by_h11 =
        h11.read(&passed.forwarded).map_err(|error| format!("h11 refuses what is forwarded: {error}"))?;
    for (who, received) in [("the strict reader", understood_strictly(strictly)), ("h11", by_h11)] {
        let received = essence_of_received(&received);
        if received != passed.inspected {
            return Err(format!("{who} has {received:?}\ninspected {:?}", passed.inspected));
        }
    }
    Ok(true)
}

/// `WEIR_MUTATIONS` says how many; `WEIR_MUTATION_SEED` runs one alone.
#[test]
fn mutations_of_the_cases_are_forwarded_as_they_were_inspected() {
    let corpus = Corpus::read();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("WEIR_MUTATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_MUTATIONS").unwrap_or(50_000),
    };
    let mut h11 = H11::start();
    let mut accepted = 0;
    let tried = seeds.end - seeds.start;
    for seed in seeds {
        let mut random = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let message = corpus.mutated(&mut random);
        match check(&mut h11, &message, random.next(2) == 0) {
            Ok(was_accepted) => accepted += u64::from(was_accepted),
            Err(error) => panic!("WEIR_MUTATION_SEED={seed}\n{}\n{error}", message.escape_ascii()),
        }
    }
    assert!(tried < 1000 || accepted * 10 > tried, "of {tried} mutations only {accepted} were accepted");
}
