//! What clients ask, and what origins make of it.

use std::time::Duration;

use super::random::pattern;

/// How a request's body is sent.
#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Length(Vec<u8>),
    /// In chunks of this size.
    Chunked(Vec<u8>, usize),
    /// Framing headers and body bytes as they are: a body that can't be completed.
    Raw(&'static str),
    /// What the client says in a WebSocket.
    Tunnel(Vec<u8>),
}

/// What a client may get for a request.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The origin's answer.
    pub(super) origin: bool,
    /// Answers of the worker's own.
    pub(super) ours: Vec<u16>,
    /// No answer, or a part of it and then the end of the connection.
    pub(super) cut: bool,
    /// An origin may see it.
    pub(super) reaches: bool,
}

/// A request, the answer that its origin gives, and what may become of it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) tag: String,
    pub(super) method: &'static str,
    pub(super) host: &'static str,
    pub(super) query: &'static str,
    pub(super) version: &'static str,
    pub(super) headers: &'static str,
    pub(super) body: Body,
    pub(super) expects_continue: bool,
    pub(super) reply: Reply,
    pub(super) outcome: Outcome,
    /// Not a byte of it may reach the origin before all of it was sent by the client.
    pub(super) held: bool,
}

impl Request {
    fn new(method: &'static str, host: &'static str, body: Body) -> Self {
        Self {
            tag: String::new(),
            method,
            host,
            query: "",
            version: "1.1",
            headers: "",
            body,
            expects_continue: false,
            reply: Reply::default(),
            outcome: Outcome { origin: true, ours: Vec::new(), cut: false, reaches: true },
            held: host == super::setup::BLOCK,
        }
    }

    pub(super) fn get(host: &'static str) -> Self {
        Self::new("GET", host, Body::None)
    }

    pub(super) fn head(host: &'static str) -> Self {
        Self::new("HEAD", host, Body::None)
    }

    /// A POST with a Content-Length and a clean body.
    pub(super) fn post(host: &'static str, length: usize) -> Self {
        Self::new("POST", host, Body::Length(pattern(host, length)))
    }

    /// A POST in chunks with a clean body.
    pub(super) fn post_chunked(host: &'static str, length: usize, chunk: usize) -> Self {
        Self::new("POST", host, Body::Chunked(pattern(host, length), chunk))
    }

    /// Opens a WebSocket and says so many bytes in it; the origin says as many.
    pub(super) fn websocket(host: &'static str, length: usize) -> Self {
        let request = Self::new("GET", host, Body::Tunnel(pattern(host, length))).with(|request| {
            // Its bytes follow once the origin has agreed.
            request.held = false;
            request.headers = HANDSHAKE;
        });
        request.replied(|reply| {
            reply.status = 101;
            reply.headers = ACCEPTED;
            reply.framing = ReplyFraming::Tunnel;
            reply.length = length;
            reply.early = true;
        })
    }

    /// Whether it asks for a WebSocket.
    pub(super) fn tunnels(&self) -> bool {
        matches!(self.body, Body::Tunnel(_))
    }

    pub(super) fn with(self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self;
        change(&mut changed);
        changed
    }

    pub(super) fn replied(self, change: impl FnOnce(&mut Reply)) -> Self {
        self.with(|request| change(&mut request.reply))
    }

    /// It must be answered by the worker, with one of these, and never reach an origin.
    pub(super) fn refused(self, statuses: &[u16]) -> Self {
        let outcome = Outcome { origin: false, ours: statuses.to_vec(), cut: false, reaches: false };
        self.with(|request| request.outcome = outcome)
    }

    /// It may also be answered with one of these by the worker.
    pub(super) fn or_ours(self, statuses: &[u16]) -> Self {
        self.with(|request| request.outcome.ours.extend_from_slice(statuses))
    }

    /// It may also be cut off.
    pub(super) fn or_cut(self) -> Self {
        self.with(|request| request.outcome.cut = true)
    }

    /// The answer is the worker's: the origin fails, or the client does on the way.
    pub(super) fn fails(self, statuses: &[u16]) -> Self {
        self.with(|request| request.outcome.origin = false).or_ours(statuses)
    }

    /// Whether it may be sent twice.
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS")
    }

    pub(super) fn target(&self) -> String {
        format!("/t/{}{}", self.tag, self.query)
    }

    /// The body as the origin is to see it; none if there is no whole one.
    pub(super) fn content(&self) -> Option<&[u8]> {
        match &self.body {
            Body::None => Some(b""),
            Body::Length(data) | Body::Chunked(data, _) | Body::Tunnel(data) => Some(data),
            Body::Raw(_) => None,
        }
    }

    /// Its bytes: head, body.
    pub(super) fn wire(&self) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!(
            "{} {} HTTP/{}\r\nHost: {}\r\nX-Tag: {}\r\n{}",
            self.method,
            self.target(),
            self.version,
            self.host,
            self.tag,
            self.headers
        );
        if self.expects_continue {
            head.push_str("Expect: 100-continue\r\n");
        }
        let mut body = Vec::new();
        match &self.body {
            Body::None => {}
            Body::Tunnel(data) => body.extend_from_slice(data),
            Body::Length(data) => {
                head.push_str(&format!("Content-Length: {}\r\n", data.len()));
                body.extend_from_slice(data);
            }
            Body::Chunked(data, chunk) => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                body = chunked(data, *chunk);
            }
            Body::Raw(text) => {
                let (framing, bytes) = text.split_once("\r\n\r\n").unwrap();
                head.push_str(framing);
                head.push_str("\r\n");
                body.extend_from_slice(bytes.as_bytes());
            }
        }
        head.push_str("\r\n");
        (head.into_bytes(), body)
    }
}

/// The handshake of RFC 6455 section 1.3.
const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPTED: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn chunked(data: &[u8], chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in data.chunks(chunk) {
        out.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// How an origin frames its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReplyFraming {
    Length,
    Chunked(usize),
    UntilClose,
    /// No framing header and no body, as for 204.
    Nothing,
    /// What the origin says in a WebSocket.
    Tunnel,
}

/// How an origin's connection goes on after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    Keep,
    /// It is closed, so long after the answer.
    Close(Duration),
    /// It is reset.
    Reset(Duration),
}

/// What an origin does with a request.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) version: &'static str,
    pub(super) headers: &'static str,
    pub(super) length: usize,
    pub(super) framing: ReplyFraming,
    pub(super) interim: Vec<u16>,
    /// Answers as soon as the head is there.
    pub(super) early: bool,
    /// Doesn't read for so long once it has the head.
    pub(super) deaf: Duration,
    pub(super) delay: Duration,
    /// The answer leaves in pieces of so many bytes, so far apart. 0 = in one.
    pub(super) piece: usize,
    pub(super) pace: Duration,
    /// Only so many bytes of the answer are sent.
    pub(super) cut_at: Option<usize>,
    /// Bytes that follow the answer and belong to none.
    pub(super) excess: &'static [u8],
    pub(super) after: After,
    /// Never answers.
    pub(super) silent: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: 200,
            version: "1.1",
            headers: "",
            length: 300,
            framing: ReplyFraming::Length,
            interim: Vec::new(),
            early: false,
            deaf: Duration::ZERO,
            delay: Duration::ZERO,
            piece: 0,
            pace: Duration::ZERO,
            cut_at: None,
            excess: b"",
            after: After::Keep,
            silent: false,
        }
    }
}

impl Reply {
    /// The body that a client is to get.
    pub(super) fn content(&self, request: &Request) -> Vec<u8> {
        let without = request.method == "HEAD" || self.framing == ReplyFraming::Nothing;
        if without { Vec::new() } else { pattern(&request.tag, self.length) }
    }

    /// The answer's bytes, cut where it is to be cut.
    pub(super) fn wire(&self, request: &Request) -> Vec<u8> {
        let mut out = String::new();
        for status in &self.interim {
            out.push_str(&format!("HTTP/1.1 {status} Wait\r\nLink: </style.css>\r\n\r\n"));
        }
        out.push_str(&format!("HTTP/{} {} Whatever\r\n", self.version, self.status));
        out.push_str(&format!("X-Answer-To: {}\r\n{}", request.tag, self.headers));
        match self.framing {
            ReplyFraming::Length => out.push_str(&format!("Content-Length: {}\r\n", self.length)),
            ReplyFraming::Chunked(_) => out.push_str("Transfer-Encoding: chunked\r\n"),
            ReplyFraming::UntilClose | ReplyFraming::Nothing | ReplyFraming::Tunnel => {}
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        let content = self.content(request);
        match self.framing {
            ReplyFraming::Chunked(size) if request.method != "HEAD" => {
                out.extend_from_slice(&chunked(&content, size));
            }
            _ => out.extend_from_slice(&content),
        }
        out.extend_from_slice(self.excess);
        if let Some(length) = self.cut_at {
            out.truncate(length);
        }
        out
    }
}
