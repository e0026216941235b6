//! The strings of GraphQL documents (specification of October 2021, section 2.9.4).

use crate::arena::{Arena, Step, Value};
use crate::decode::json;
use crate::limits::OverLimit;

/// The most strings that are taken from one document.
const STRINGS_MAX: usize = 4096;

/// The mark around a string that may hold quotes and line ends.
const BLOCK: &[u8] = b"\"\"\"";

/// Whether a value may be a document with strings in it: an operation by name, or a selection.
pub(super) fn may_be_document(input: &[u8]) -> bool {
    // Most values begin otherwise, and that is known at their first byte.
    if !matches!(input.first(), Some(b'{' | b'q' | b'm' | b's' | b'f' | b'\t'..=b'\r' | b' ')) {
        return false;
    }
    let start = input.trim_ascii_start();
    let is_operation =
        [&b"query"[..], b"mutation", b"subscription", b"fragment"].iter().any(|word| start.starts_with(word));
    let is_selection =
        matches!(start, [b'{', b'a'..=b'z' | b'A'..=b'Z' | b'_' | b' ' | b'\n' | b'\r' | b'\t', ..]);
    (is_operation || is_selection)
        && memchr::memchr(b'{', start).is_some()
        && memchr::memchr(b'"', start).is_some()
}

/// Adds the strings of a document, unescaped.
pub(super) fn add_strings(document: &[u8], value: Value, arena: &mut Arena) {
    let mut rest = document;
    for taken_count in 0.. {
        let Some(start) = memchr::memchr(b'"', rest) else { return };
        if taken_count == STRINGS_MAX {
            return arena.hit_limit(OverLimit::Values);
        }
        rest = &rest[start..];
        let node = arena.node(value.node, Step::Decoder("graphql"));
        let mut taken = rest.len();
        let span = if let Some(block) = rest.strip_prefix(BLOCK) {
            let end = memchr::memmem::find(block, BLOCK).unwrap_or(block.len());
            taken = (end + 2 * BLOCK.len()).min(taken);
            arena.copy(&block[..end])
        } else {
            arena.write(|bytes| taken = unescape(rest, bytes))
        };
        arena.add(span, node, value.place, value.depth + 1);
        rest = &rest[taken..];
    }
}

/// Appends what the string at the start of `input` stands for and returns its length with both quotes.
fn unescape(input: &[u8], out: &mut Vec<u8>) -> usize {
    let mut position = 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &input[position..]) {
        out.extend_from_slice(&input[position..position + offset]);
        position += offset;
        if input[position] == b'"' {
            return position + 1;
        }
        position += json::unescape(&input[position..], out);
    }
    out.extend_from_slice(&input[position..]);
    input.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::ROOT;
    use crate::limits::Limits;
    use crate::place::Place;

    fn strings(document: &str) -> Vec<String> {
        let mut arena = Arena::new(Limits::default());
        let node = arena.node(ROOT, Step::Part("query"));
        let span = arena.copy(document.as_bytes());
        let value = Value { span, node, place: Place::Query, depth: 0 };
        add_strings(document.as_bytes(), value, &mut arena);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        arena.values().iter().map(|value| text(arena.slice(value.span))).collect()
    }

    #[test]
    fn strings_are_unescaped() {
        let document = r#"{ a(x: "one \"two\" \u0027", y: "") b(z: """a "block" of
text""") c(v: "open"#;
        assert_eq!(strings(document), ["one \"two\" '", "a \"block\" of\ntext", "open"]);
        assert_eq!(strings(r#"{a(b:"\"#), ["\\"]);
        assert_eq!(strings(r#"{a(b:"""#), [""; 0]);
        assert_eq!(strings(r#"{a(b:"""x"#), ["x"]);
    }

    #[test]
    fn only_strings_that_are_left_out_set_the_limit() {
        let over_limit = |count: usize| {
            let mut arena = Arena::new(Limits::default());
            let document = format!("{{a(b:[{}])}}", "\"c\" ".repeat(count));
            let node = arena.node(ROOT, Step::Part("query"));
            let value = Value { span: arena.copy(document.as_bytes()), node, place: Place::Query, depth: 0 };
            add_strings(document.as_bytes(), value, &mut arena);
            arena.over_limit()
        };
        assert_eq!(over_limit(STRINGS_MAX), None);
        assert_eq!(over_limit(STRINGS_MAX + 1), Some(OverLimit::Values));
    }

    #[test]
    fn documents_are_known_by_how_they_begin() {
        for text in [
            "query Q { a(b: \"c\") }",
            " {user(id:\"1\")}",
            "mutation { a(b: \"c\") }",
            "fragment f on T { a(b:\"\") }",
        ] {
            assert!(may_be_document(text.as_bytes()), "{text}");
        }
        for text in ["query { a }", "{\"a\":\"b\"}", "a query \"x\" {", "", "{"] {
            assert!(!may_be_document(text.as_bytes()), "{text}");
        }
    }
}
