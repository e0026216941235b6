//! The opening handshake of a WebSocket (RFC 6455 section 4): which requests are one, and which answers accept it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::edits::HeaderEdits;
use super::fields::{self, FieldId};
use super::forward::{append, append_status_line, append_visible_fields};
use super::framing::BodyFraming;
use super::request::RequestHead;
use super::response::ResponseHead;

/// What the key is hashed with (RFC 6455 section 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key, which is 16 random bytes in base64.
const KEY_BYTES: usize = 24;
/// Bytes of the answer to a key, which is a SHA-1 in base64.
const ACCEPT_BYTES: usize = 28;

/// The key of a request that opens a WebSocket as RFC 6455 section 4.2.1 asks: `GET` of HTTP/1.1 without a body,
/// `Connection: upgrade`, `websocket` among the protocols of `Upgrade`, version 13, and one key of 16 bytes.
///
/// `None` for every other request. An upgrade that is none of these is not forwarded: the request then is an ordinary
/// one.
pub fn websocket_key<'a>(head: &'a RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if !head.upgrade() || head.method(bytes) != b"GET" || head.framing() != BodyFraming::None {
        return None;
    }
    let asks = head.fields().iter().filter(|field| field.id == FieldId::Upgrade).any(|field| {
        let mut protocols = field.value.of(bytes).split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        protocols.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    });
    if !asks || only(head.headers(bytes), b"sec-websocket-version") != Some(b"13") {
        return None;
    }
    let key = only(fields::pairs(head.fields(), bytes), b"sec-websocket-key");
    let key = key.filter(|key| key.len() == KEY_BYTES)?;
    let mut decoded = [0; KEY_BYTES];
    let length = STANDARD.decode_slice(key, &mut decoded).ok()?;
    (length == 16).then_some(key)
}

/// Whether a 101 accepts the WebSocket that was asked for with `key`: it names that protocol and no other, and carries
/// the one answer to the key. Whoever sends it has understood the handshake, so what follows is no HTTP.
pub fn accepts_websocket(head: &ResponseHead, bytes: &[u8], key: &[u8]) -> bool {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(ACCEPT_SUFFIX);
    let mut expected = [0; ACCEPT_BYTES];
    let encoded = STANDARD.encode_slice(hash.finalize(), &mut expected);
    head.status() == 101
        && head.upgrade()
        && only(head.headers(bytes), b"upgrade").is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"))
        && encoded == Ok(ACCEPT_BYTES)
        && only(head.headers(bytes), b"sec-websocket-accept") == Some(&expected)
}

/// Appends the head that tells the client of an accepted WebSocket: the origin's end-to-end fields in their order, and
/// the switch of protocols in our own words.
pub fn write_switch_head(head: &ResponseHead, bytes: &[u8], request_id: &[u8], out: &mut Vec<u8>) {
    append_status_line(head, bytes, out);
    append_visible_fields(head, bytes, HeaderEdits::NONE, out);
    append(out, &[b"Connection: upgrade\r\nUpgrade: websocket\r\nX-Request-Id: ", request_id, b"\r\n\r\n"]);
}

/// The value of a field that must be there exactly once.
fn only<'a>(mut headers: impl Iterator<Item = (&'a [u8], &'a [u8])>, name_lower: &[u8]) -> Option<&'a [u8]> {
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case(name_lower))?;
    let again = headers.any(|(name, _)| name.eq_ignore_ascii_case(name_lower));
    (!again).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadLimits, Progress};

    const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// The answer to that key, as RFC 6455 section 1.3 works it out.
    const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn key_of(text: &str) -> Option<String> {
        let mut head = RequestHead::default();
        let whole = head.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!(whole, Progress::Complete { consumed: text.len() });
        websocket_key(&head, text.as_bytes()).map(|key| String::from_utf8_lossy(key).into_owned())
    }

    fn accepted(text: &str) -> bool {
        let mut head = ResponseHead::default();
        head.parse_answer(text.as_bytes(), false, true, &HeadLimits::default()).unwrap();
        accepts_websocket(&head, text.as_bytes(), b"dGhlIHNhbXBsZSBub25jZQ==")
    }

    #[test]
    fn a_handshake_and_what_is_none() {
        assert_eq!(key_of(HANDSHAKE).as_deref(), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(key_of(&HANDSHAKE.replace("Upgrade: websocket", "upgrade: h2c, WebSocket")).is_some());
        for (part, instead) in [
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Upgrade: websocket\r\n", ""),
            ("Connection: Upgrade", "Connection: keep-alive"),
            ("Version: 13", "Version: 8"),
            ("Sec-WebSocket-Version: 13\r\n", ""),
            ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: dGhlIHNhbXBsZSBub25jZQ"),
            ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: !!!!IHNhbXBsZSBub25jZQ=="),
            ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: dGhlIHNhbXBsZSBub25jZWJi"),
            ("Host: a\r\n", "Host: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            ("Host: a\r\n", "Host: a\r\nContent-Length: 0\r\n"),
        ] {
            assert_eq!(key_of(&HANDSHAKE.replace(part, instead)), None, "{part} -> {instead}");
        }
    }

    #[test]
    fn an_answer_that_accepts_and_ones_that_do_not() {
        assert!(accepted(ACCEPTED));
        assert!(accepted(&ACCEPTED.replace("Upgrade: websocket", "upgrade: WebSocket")));
        for (part, instead) in [
            ("s3pP", "s3pQ"),
            ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", ""),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c"),
            ("Upgrade: websocket", "Upgrade: websocket, h2c"),
            ("Connection: Upgrade", "Connection: close"),
            ("101 Switching Protocols", "200 OK"),
        ] {
            assert!(!accepted(&ACCEPTED.replace(part, instead)), "{part} -> {instead}");
        }
    }

    #[test]
    fn the_switch_is_told_in_our_words() {
        let origin = ACCEPTED.replace("\r\n\r\n", "\r\nKeep-Alive: 5\r\nContent-Length: 7\r\nX-A: b\r\n\r\n");
        let mut head = ResponseHead::default();
        head.parse_answer(origin.as_bytes(), false, true, &HeadLimits::default()).unwrap();
        let mut out = Vec::new();
        write_switch_head(&head, origin.as_bytes(), b"0123", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-A: b\r\n\
             Connection: upgrade\r\nUpgrade: websocket\r\nX-Request-Id: 0123\r\n\r\n"
        );
    }
}
