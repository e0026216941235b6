//! What we write when we forward: heads made anew from the parsed view, and the frames of chunked bodies.

use super::edits::HeaderEdits;
use super::fields::{FieldId, HeaderField};
use super::framing::{BodyFraming, ResponseFraming};
use super::head::Version;
use super::request::RequestHead;
use super::response::ResponseHead;

/// The end of a chunked body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What we add or change when we forward a request. `Expect` is never forwarded: we answer it ourselves.
#[derive(Clone, Copy, Debug)]
pub struct ForwardFacts<'a> {
    /// The Host of a request that came without one.
    pub fallback_host: &'a [u8],
    /// The effective client's address as text; ends the `X-Forwarded-For` that the origin sees.
    pub client_ip: &'a [u8],
    /// The connection comes from a trusted proxy: its `X-Forwarded-*` and `X-Real-IP` are kept. Anyone else's are
    /// dropped and written anew.
    pub peer_is_trusted: bool,
    /// `http` or `https`, as the client's connection to us is.
    pub scheme: &'a [u8],
    /// The request's id, 32 hex digits; replaces what the client sent.
    pub request_id: &'a [u8],
    /// How we frame the body towards the origin.
    pub body: BodyFraming,
    /// The request opens a WebSocket, and the origin is asked for one.
    pub websocket: bool,
    /// What the listener found out about the client's certificate; absent if it asks for none.
    pub client_certificate: Option<CertificateFacts<'a>>,
}

/// How many fields tell of a client's certificate at most.
pub const CERTIFICATE_FIELDS: usize = 3;

/// What a listener found out about a client's certificate. Printable ASCII.
#[derive(Clone, Copy, Debug)]
pub struct CertificateFacts<'a> {
    /// `SUCCESS`, `NONE`, or `FAILED:` and the reason.
    pub verification: &'a [u8],
    /// The subject; empty without a certificate.
    pub subject: &'a [u8],
    /// SHA-256 over the certificate's DER in hexadecimal; empty without a certificate.
    pub fingerprint: &'a [u8],
}

impl<'a> CertificateFacts<'a> {
    /// The fields that tell of it, to origins and to the conditions of rules.
    pub fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let fields: [(&'a [u8], &'a [u8]); CERTIFICATE_FIELDS] = [
            (b"X-Client-Certificate-Verify", self.verification),
            (b"X-Client-Certificate-Subject", self.subject),
            (b"X-Client-Certificate-Fingerprint", self.fingerprint),
        ];
        fields.into_iter().filter(|(_, value)| !value.is_empty())
    }
}

/// What we add or change when we relay a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFacts<'a> {
    /// The version that the client speaks.
    pub client_version: Version,
    /// Whether the client's connection stays open afterwards.
    pub keep_alive: bool,
    /// How we frame the body towards the client.
    pub framing: ResponseFraming,
    /// The request's id; written if the origin sent no `X-Request-Id`.
    pub request_id: &'a [u8],
    /// Changes that rules make. Interim responses are left as they are.
    pub edits: HeaderEdits<'a>,
}

/// Appends the head of a request for the origin: request line, `Host`, the end-to-end fields in their order, our
/// framing, the forwarding fields, the final empty line. There is no `Connection`, because HTTP/1.1 connections persist,
/// unless the request opens a WebSocket.
///
/// `head` must be complete, and `bytes` the buffer that it was parsed from.
pub fn write_request_head(head: &RequestHead, bytes: &[u8], facts: &ForwardFacts<'_>, out: &mut Vec<u8>) {
    // HTTP/1.0 allows a request without Host, HTTP/1.1 (which we speak to the origin) doesn't.
    let host = if head.host(bytes).is_empty() { facts.fallback_host } else { head.host(bytes) };
    append(out, &[head.method(bytes), b" ", head.target(bytes), b" HTTP/1.1\r\nHost: ", host, b"\r\n"]);
    for field in head.fields() {
        if is_forwarded(field, facts.peer_is_trusted) {
            append_field(out, field, bytes);
        }
    }
    match facts.body {
        BodyFraming::None => {}
        BodyFraming::Length(length) => append_content_length(out, length),
        BodyFraming::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    append_forwarded_for(head, bytes, facts, out);
    let trusted_has = |id| facts.peer_is_trusted && head.fields().iter().any(|field| field.id == id);
    if !trusted_has(FieldId::XForwardedProto) {
        append(out, &[b"X-Forwarded-Proto: ", facts.scheme, b"\r\n"]);
    }
    if !trusted_has(FieldId::XForwardedHost) && !head.host(bytes).is_empty() {
        append(out, &[b"X-Forwarded-Host: ", head.host(bytes), b"\r\n"]);
    }
    for (name, value) in facts.client_certificate.into_iter().flat_map(CertificateFacts::fields) {
        append(out, &[name, b": ", value, b"\r\n"]);
    }
    if facts.websocket {
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
    }
    append(out, &[b"X-Request-Id: ", facts.request_id, b"\r\n\r\n"]);
}

/// Whether a request's field goes to the origin as it is.
fn is_forwarded(field: &HeaderField, peer_is_trusted: bool) -> bool {
    if field.hop_by_hop {
        return false;
    }
    match field.id {
        // Written by ourselves, or answered by ourselves. `Forwarded` would contradict the X-Forwarded-For we write.
        FieldId::Host
        | FieldId::Expect
        | FieldId::XRequestId
        | FieldId::XClientCertificate
        | FieldId::XForwardedFor
        | FieldId::Forwarded => false,
        FieldId::XForwardedHost | FieldId::XForwardedProto | FieldId::XForwardedOther | FieldId::XRealIp => {
            peer_is_trusted
        }
        _ => true,
    }
}

/// Writes one X-Forwarded-For: what a trusted peer sent, in its order, and the client's address, unless the list
/// already ends with it.
fn append_forwarded_for(head: &RequestHead, bytes: &[u8], facts: &ForwardFacts<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    let mut last = &b""[..];
    if facts.peer_is_trusted {
        for field in head.fields().iter().filter(|field| field.id == FieldId::XForwardedFor) {
            let value = field.value.of(bytes);
            if value.is_empty() {
                continue;
            }
            if !last.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(value);
            last = value;
        }
    }
    let last_address = last.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if last_address != facts.client_ip {
        let separator: &[u8] = if last.is_empty() { b"" } else { b", " };
        append(out, &[separator, facts.client_ip]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a response for the client: status line, the end-to-end fields in their order, our framing,
/// `Connection: close` where the connection ends, the final empty line.
///
/// `head` must be complete, and `bytes` the buffer that it was parsed from. Interim responses are written without
/// framing and id. An HTTP/1.0 client is always told that the connection ends, and never that chunks follow.
pub fn write_response_head(head: &ResponseHead, bytes: &[u8], facts: &ResponseFacts<'_>, out: &mut Vec<u8>) {
    append_status_line(head, bytes, out);
    let edits = if head.is_interim() { HeaderEdits::NONE } else { facts.edits };
    append_visible_fields(head, bytes, edits, out);
    if !head.is_interim() {
        append_response_framing(head, facts, out);
        let has_id = head.fields().iter().any(|field| field.id == FieldId::XRequestId);
        if !has_id && !edits.remove(b"x-request-id") {
            append(out, &[b"X-Request-Id: ", facts.request_id, b"\r\n"]);
        }
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn append_status_line(head: &ResponseHead, bytes: &[u8], out: &mut Vec<u8>) {
    let status = head.status();
    let digits =
        [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    append(out, &[b"HTTP/1.1 ", &digits, b" ", head.reason(bytes), b"\r\n"]);
}

/// Appends the fields that are meant for the client, in their order.
pub(super) fn append_visible_fields(
    head: &ResponseHead,
    bytes: &[u8],
    edits: HeaderEdits<'_>,
    out: &mut Vec<u8>,
) {
    for field in head.fields().iter().filter(|field| !field.hop_by_hop) {
        if edits.chosen.is_empty() || !edits.remove(field.name.of(bytes)) {
            append_field(out, field, bytes);
        }
    }
    edits.write(out);
}

fn append_response_framing(head: &ResponseHead, facts: &ResponseFacts<'_>, out: &mut Vec<u8>) {
    let is_10 = facts.client_version == Version::Http10;
    match facts.framing {
        // No body of its own: the origin's length describes what GET would have brought.
        ResponseFraming::None if head.framing() == ResponseFraming::None => {
            if let Some(length) = head.content_length().filter(|_| head.status() != 204) {
                append_content_length(out, length);
            }
        }
        // The caller leaves out a body that could be there: say so, or the client would wait for it.
        ResponseFraming::None => append_content_length(out, 0),
        ResponseFraming::Length(length) => append_content_length(out, length),
        ResponseFraming::Chunked if !is_10 => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        ResponseFraming::Chunked | ResponseFraming::UntilClose => {}
    }
    if !facts.keep_alive || is_10 || facts.framing == ResponseFraming::UntilClose {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

/// Appends one chunk: its size, the data, and the line ends. No data gives no chunk, because an empty one would end
/// the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        write_chunk_header(data.len(), out);
        append(out, &[data, b"\r\n"]);
    }
}

/// Appends the size line of a chunk of `length` bytes, at least 1. The caller sends the data and a CRLF behind it.
pub fn write_chunk_header(length: usize, out: &mut Vec<u8>) {
    debug_assert!(length > 0, "an empty chunk would end the body; send LAST_CHUNK for that");
    let mut digits = [0_u8; 2 * size_of::<usize>()];
    let mut first = digits.len();
    let mut rest = length;
    while rest > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
    }
    append(out, &[&digits[first..], b"\r\n"]);
}

/// Appends `Content-Length` with its line end.
pub(super) fn append_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    append_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal, without an allocation.
pub(super) fn append_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    let mut rest = number;
    while rest > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[first..]);
}

fn append_field(out: &mut Vec<u8>, field: &HeaderField, bytes: &[u8]) {
    append(out, &[field.name.of(bytes), b": ", field.value.of(bytes), b"\r\n"]);
}

/// Appends parts behind one another, with room made once.
#[inline]
pub(super) fn append(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
}
