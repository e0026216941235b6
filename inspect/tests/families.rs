//! Families of attacks at all places of a request and in all encodings: which share of them is found.
//!
//! The shares are floors: a payload that is missed today may stay missed, but a change must not lose a family.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use weir_inspect::{Engine, EngineOptions, Inspector, Pack, RequestView};

/// The classes and their payloads.
const FAMILIES: [(&str, &str); 6] = [
    ("sqli", include_str!("families/sqli.txt")),
    ("xss", include_str!("families/xss.txt")),
    ("rce", include_str!("families/rce.txt")),
    ("ptrav", include_str!("families/ptrav.txt")),
    ("template", include_str!("families/template.txt")),
    ("other", include_str!("families/other.txt")),
];

const AGENTS: &str = include_str!("families/agents.txt");

/// The share of each class that is found in a plain query value, in percent.
const CLASS_FLOORS: [(&str, usize); 6] =
    [("sqli", 97), ("xss", 98), ("rce", 96), ("ptrav", 97), ("template", 97), ("other", 93)];

/// The share that is found at each place over all encodings, and in each encoding over all places, in percent.
const PLACE_FLOOR: usize = 88;
/// Lists with semicolons and brackets are usual in User-Agent.
const AGENT_FLOOR: usize = 80;
const ENCODING_FLOOR: usize = 90;

/// Each pair of a place and an encoding is tried with one payload in so many, another part of them each time.
const STRIDE: usize = 12;

const PLACES: [&str; 18] = [
    "path",
    "query",
    "query name",
    "header",
    "user agent",
    "cookie",
    "referer",
    "form",
    "multipart",
    "file name",
    "json",
    "json key",
    "xml",
    "xml attribute",
    "soap",
    "text",
    "graphql",
    "graphql in a query",
];

const ENCODINGS: [&str; 11] = [
    "plain",
    "url",
    "url all",
    "base64",
    "base64 flat",
    "js",
    "html",
    "html decimal",
    "hex",
    "percent u",
    "upper",
];

/// A request in the making.
#[derive(Default)]
struct Request {
    path: String,
    query: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// The payloads of a file, with their signs for control characters replaced.
fn payloads(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    let control = |character| match character {
        '␊' => '\n',
        '␍' => '\r',
        '␉' => '\t',
        '␋' => '\x0b',
        '␀' => '\0',
        other => other,
    };
    lines.map(|line| line.chars().map(control).collect()).collect()
}

fn percent(text: &str, all: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if !all && (byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
    }
    out
}

fn base64(text: &str, padded: bool) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            out.push(char::from(LETTERS[bits >> (18 - 6 * position) & 63]));
        }
        if padded {
            out.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
    }
    out
}

fn each(text: &str, show: impl Fn(u32) -> String) -> String {
    text.chars().map(|character| show(u32::from(character))).collect()
}

fn encode(encoding: &str, payload: &str) -> String {
    match encoding {
        "plain" => payload.to_owned(),
        "url" => percent(payload, false),
        "url all" => percent(payload, true),
        "base64" => base64(payload, true),
        "base64 flat" => base64(payload, false),
        "js" => each(payload, |number| format!("\\u{number:04x}")),
        "html" => each(payload, |number| format!("&#x{number:x};")),
        "html decimal" => each(payload, |number| format!("&#{number};")),
        "hex" => payload.bytes().fold(String::new(), |out, byte| out + &format!("{byte:02x}")),
        "percent u" => each(payload, |number| format!("%u{number:04x}")),
        "upper" => payload.to_uppercase(),
        _ => unreachable!("{encoding}"),
    }
}

fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '.. => out.push(character),
            control => write!(out, "\\u{:04x}", u32::from(control)).unwrap(),
        }
    }
    out + "\""
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn line(text: &str) -> String {
    text.chars().filter(|character| !"\r\n\0".contains(*character)).collect()
}

fn place(name: &str, payload: &str) -> Request {
    let get = Request { path: "/app".to_owned(), ..Request::default() };
    let header =
        |name, value| Request { headers: vec![(name, value)], path: "/app".to_owned(), ..Request::default() };
    let post = |content_type: &str, body| Request { body, ..header("content-type", content_type.to_owned()) };
    let query = |query| Request { query: Some(query), path: "/app".to_owned(), ..Request::default() };
    let part = |head: &str, content: &str| {
        let body = format!(
            "--bbb\r\nContent-Disposition: form-data; name=\"q\"{head}\r\n\r\n{content}\r\n--bbb--\r\n"
        );
        post("multipart/form-data; boundary=bbb", body)
    };
    let graphql = format!("{{user(id: {}) {{ name }} }}", json_string(payload));
    match name {
        "path" => Request { path: format!("/app/{}", percent(payload, false)), ..get },
        "query" => query(format!("a=1&q={}", percent(payload, false))),
        "query name" => query(format!("{}=1", percent(payload, false))),
        "header" => header("x-custom", line(payload)),
        "user agent" => header("user-agent", line(payload)),
        "cookie" => header("cookie", format!("a=1; sid={}", percent(payload, false))),
        "referer" => header("referer", format!("http://shop.example/x?q={}", percent(payload, false))),
        "form" => post("application/x-www-form-urlencoded", format!("a=1&q={}", percent(payload, false))),
        "multipart" => part("", payload),
        "file name" => part(&format!("; filename=\"{}\"", line(payload).replace('"', "%22")), "x"),
        "json" => post("application/json", format!("{{\"a\":1,\"q\":{{\"b\":[{}]}}}}", json_string(payload))),
        "json key" => post("application/json", format!("{{{}:1}}", json_string(payload))),
        "xml" => post("text/xml", format!("<?xml version=\"1.0\"?><a><b>{}</b></a>", xml_text(payload))),
        "xml attribute" => {
            post("text/xml", format!("<?xml version=\"1.0\"?><a><b c=\"{}\"/></a>", xml_text(payload)))
        }
        "soap" => post(
            "application/soap+xml",
            format!(
                "<s:Envelope xmlns:s=\"urn:x\"><s:Body><m><n><![CDATA[{payload}]]></n></m></s:Body></s:Envelope>"
            ),
        ),
        "text" => post("text/plain", payload.to_owned()),
        "graphql" => {
            post("application/json", format!("{{\"query\":{}}}", json_string(&format!("query {graphql}"))))
        }
        "graphql in a query" => query(format!("query={}", percent(&graphql, false))),
        _ => unreachable!("{name}"),
    }
}

fn engine() -> Engine {
    Engine::compile(Pack::embedded(), EngineOptions::default()).unwrap()
}

fn is_attack(engine: &Engine, inspector: &mut Inspector, request: &Request) -> bool {
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b"host", b"shop.example")];
    headers.extend(request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let view = RequestView {
        method: b"POST",
        path: request.path.as_bytes(),
        query: request.query.as_deref().map(str::as_bytes),
        headers: &headers,
        body: request.body.as_bytes(),
        body_complete: true,
    };
    inspector.inspect(engine, &view).attack
}

/// How many of something are found.
#[derive(Default)]
struct Share {
    found: usize,
    all: usize,
    missed: Vec<String>,
}

impl Share {
    fn add(&mut self, found: bool, what: &str) {
        self.all += 1;
        self.found += usize::from(found);
        if !found {
            self.missed.push(what.to_owned());
        }
    }

    fn check(&self, name: &str, floor: usize) {
        let Self { found, all, missed } = self;
        println!("{name}: {found} of {all}");
        assert!(
            found * 100 >= floor * all,
            "{name}: {found} of {all}, at least {floor} % expected; missed: {missed:#?}"
        );
    }
}

#[test]
fn each_class_is_found_in_a_plain_query() {
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    for ((class, text), (name, floor)) in FAMILIES.into_iter().zip(CLASS_FLOORS) {
        assert_eq!(class, name);
        let mut share = Share::default();
        for payload in payloads(text) {
            share.add(is_attack(&engine, &mut inspector, &place("query", &payload)), &payload);
        }
        share.check(class, floor);
    }
    let mut share = Share::default();
    for agent in payloads(AGENTS) {
        share.add(is_attack(&engine, &mut inspector, &place("user agent", &agent)), &agent);
    }
    share.check("scanners", 90);
}

#[test]
fn every_place_and_every_encoding_is_looked_at() {
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let all: Vec<String> = FAMILIES.iter().flat_map(|(_, text)| payloads(text)).collect();
    let mut shares: BTreeMap<(&str, &str), Share> = BTreeMap::new();
    for (pair, (place_name, encoding)) in
        PLACES.into_iter().flat_map(|place| ENCODINGS.map(|encoding| (place, encoding))).enumerate()
    {
        for payload in all.iter().skip(pair % STRIDE).step_by(STRIDE) {
            let found = is_attack(&engine, &mut inspector, &place(place_name, &encode(encoding, payload)));
            let what = format!("{payload} ({place_name}, {encoding})");
            shares.entry(("place", place_name)).or_default().add(found, &what);
            shares.entry(("encoding", encoding)).or_default().add(found, &what);
        }
    }
    for ((kind, name), share) in &shares {
        let floor = match (*kind, *name) {
            ("place", "user agent") => AGENT_FLOOR,
            ("place", _) => PLACE_FLOOR,
            _ => ENCODING_FLOOR,
        };
        share.check(&format!("{kind} {name}"), floor);
    }
}
