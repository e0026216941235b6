//! Values that are put together from pieces: web tokens (RFC 7519) and PHP's serialization.

use crate::arena::{Arena, Step, Value};
use crate::decode::base64;
use crate::limits::OverLimit;

/// The most strings that are taken from one serialized value.
const STRINGS_MAX: usize = 4096;

/// Whether a value may be a web token, signed or not: its header is a JSON object in base64, so that its first letters
/// stand for a brace and what may follow one. The word before it, as in credentials, may be there.
pub(crate) fn is_token(input: &[u8]) -> bool {
    let token = without_scheme(input);
    matches!(token, [b'e', b'y', b'A' | b'B' | b'I'..=b'L', ..] | [b'e', b'w', b'k'..=b'r' | b'0'..=b'3', ..])
        && memchr::memchr(b'.', token).is_some()
}

/// The token behind `Bearer`.
fn without_scheme(input: &[u8]) -> &[u8] {
    match input.split_at_checked(BEARER.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER) => token,
        _ => input,
    }
}

const BEARER: &[u8] = b"bearer ";

/// Whether a value starts as a serialized string, list or object does.
pub(crate) fn is_serialized(input: &[u8]) -> bool {
    matches!(input, [b's' | b'a' | b'O', b':', b'0'..=b'9', ..])
}

/// Adds the header and the claims of a web token.
pub(crate) fn add_token(token: &[u8], value: Value, arena: &mut Arena) {
    for part in without_scheme(token).split(|byte| *byte == b'.').take(2) {
        let span = arena.write(|bytes| _ = base64::decode_text(part, bytes));
        let node = arena.node(value.node, Step::Decoder("jwt"));
        arena.add(span, node, value.place, value.depth + 1);
    }
}

/// Adds the strings of a serialized value.
pub(crate) fn add_strings(text: &[u8], value: Value, arena: &mut Arena) {
    let mut rest = text;
    for taken_count in 0.. {
        let Some(start) = memchr::memmem::find(rest, b":\"") else { return };
        if taken_count == STRINGS_MAX {
            return arena.hit_limit(OverLimit::Values);
        }
        rest = &rest[start + 2..];
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let span = arena.write(|bytes| bytes.extend_from_slice(&rest[..end]));
        let node = arena.node(value.node, Step::Decoder("php"));
        arena.add(span, node, value.place, value.depth + 1);
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::ROOT;
    use crate::limits::Limits;
    use crate::place::Place;

    #[test]
    fn only_strings_that_are_left_out_set_the_limit() {
        let over_limit = |count: usize| {
            let mut arena = Arena::new(Limits::default());
            let text = "s:1:\"a\";".repeat(count);
            let node = arena.node(ROOT, Step::Part("query"));
            let value = Value { span: arena.copy(text.as_bytes()), node, place: Place::Query, depth: 0 };
            add_strings(text.as_bytes(), value, &mut arena);
            arena.over_limit()
        };
        assert_eq!(over_limit(STRINGS_MAX), None);
        assert_eq!(over_limit(STRINGS_MAX + 1), Some(OverLimit::Values));
    }
}
