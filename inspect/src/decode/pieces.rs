//! Values that are put together from pieces: web tokens (RFC 7519) and PHP's serialization.

use crate::arena::{Arena, Step, Value};
use crate::decode::base64;

/// The most strings that are taken from one serialized value.
const STRINGS_MAX: usize = 64;

/// Whether a value may be a web token: its header is a JSON object in base64.
pub(crate) fn is_token(input: &[u8]) -> bool {
    input.starts_with(b"eyJ") && memchr::memchr(b'.', input).is_some()
}

/// Whether a value starts as a serialized string, list or object does.
pub(crate) fn is_serialized(input: &[u8]) -> bool {
    matches!(input, [b's' | b'a' | b'O', b':', b'0'..=b'9', ..])
}

/// Adds the header and the claims of a web token.
pub(crate) fn add_token(token: &[u8], value: Value, arena: &mut Arena) {
    for part in token.split(|byte| *byte == b'.').take(2) {
        let span = arena.write(|bytes| _ = base64::decode_text(part, bytes));
        let node = arena.node(value.node, Step::Decoder("jwt"));
        arena.add(span, node, value.place, value.depth + 1);
    }
}

/// Adds the strings of a serialized value.
pub(crate) fn add_strings(text: &[u8], value: Value, arena: &mut Arena) {
    let mut rest = text;
    for _ in 0..STRINGS_MAX {
        let Some(start) = memchr::memmem::find(rest, b":\"") else { return };
        rest = &rest[start + 2..];
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let span = arena.write(|bytes| bytes.extend_from_slice(&rest[..end]));
        let node = arena.node(value.node, Step::Decoder("php"));
        arena.add(span, node, value.place, value.depth + 1);
        rest = &rest[end..];
    }
}
