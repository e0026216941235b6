//! XML bodies: the text of elements and the values of attributes, without a tree.
//!
//! What is no well-formed XML does no harm: each step takes at least one byte, and the body as a whole is a value beside
//! these.

use crate::arena::{Arena, NodeId, Step};
use crate::decode::entities;
use crate::place::Place;

/// Adds the texts, attribute values, comments and CDATA sections of a document. An element's point is named after it
/// alone, not after those around it.
pub(super) fn add(document: &[u8], node: NodeId, arena: &mut Arena) {
    let mut element = node;
    let mut rest = document;
    while let Some(position) = memchr::memchr(b'<', rest) {
        if arena.is_full() {
            return;
        }
        text(&rest[..position], element, arena);
        rest = &rest[position + 1..];
        rest = if let Some(section) = rest.strip_prefix(b"![CDATA[") {
            let (content, after) = split(section, b"]]>");
            raw(content, element, arena);
            after
        } else if let Some(comment) = rest.strip_prefix(b"!--") {
            let (content, after) = split(comment, b"-->");
            raw(content, element, arena);
            after
        } else if matches!(rest.first(), Some(b'!' | b'?' | b'/')) {
            split(rest, b">").1
        } else {
            let (found, after) = tag(rest, node, arena);
            element = found;
            after
        };
    }
    text(rest, element, arena);
}

/// Reads a start tag from its name on; returns its point and what follows the tag.
fn tag<'a>(input: &'a [u8], node: NodeId, arena: &mut Arena) -> (NodeId, &'a [u8]) {
    let name_length = input.iter().take_while(|byte| is_name_byte(**byte)).count();
    let name = arena.write(|bytes| bytes.extend_from_slice(&input[..name_length]));
    let element = arena.node(node, Step::Name(name));
    let mut rest = &input[name_length..];
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'>' => return (element, after),
            _ if is_name_byte(byte) => {
                let length = rest.iter().take_while(|byte| is_name_byte(**byte)).count();
                let attribute = &rest[..length];
                rest = rest[length..].trim_ascii_start();
                let Some(value) = rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else { continue };
                let Some((&quote, quoted)) =
                    value.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))
                else {
                    rest = value;
                    continue;
                };
                let (content, after) = split(quoted, &[quote]);
                let name = arena.write(|bytes| bytes.extend_from_slice(attribute));
                let node = arena.node(element, Step::Name(name));
                text(content, node, arena);
                rest = after;
            }
            _ => rest = after,
        }
    }
    (element, b"")
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | 0x80..)
}

/// What lies before a mark and after it; without the mark, all lies before.
fn split<'a>(input: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match memchr::memmem::find(input, mark) {
        Some(position) => (&input[..position], &input[position + mark.len()..]),
        None => (input, b""),
    }
}

fn text(content: &[u8], node: NodeId, arena: &mut Arena) {
    let content = content.trim_ascii();
    if !content.is_empty() {
        let span = arena.write(|bytes| entities::decode(content, bytes));
        arena.add(span, node, Place::Body, 0);
    }
}

fn raw(content: &[u8], node: NodeId, arena: &mut Arena) {
    let span = arena.write(|bytes| bytes.extend_from_slice(content));
    arena.add(span, node, Place::Body, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::ROOT;
    use crate::limits::Limits;

    fn values(document: &str) -> Vec<(String, String)> {
        let mut arena = Arena::new(Limits::default());
        let node = arena.node(ROOT, Step::Part("xml"));
        add(document.as_bytes(), node, &mut arena);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        arena
            .values()
            .iter()
            .map(|value| (arena.label(value.node, &[]), text(arena.slice(value.span))))
            .collect()
    }

    #[test]
    fn texts_and_attributes_have_names() {
        let document = "<?xml version='1.0'?><!DOCTYPE a><a><b id=\"1 &lt; 2\" x='y>'> text &#x41; </b><c/><!-- note -->\
                        <d><![CDATA[<e>]]></d></a>tail";
        let expected = [
            ("xml.b.id", "1 < 2"),
            ("xml.b.x", "y>"),
            ("xml.b", "text A"),
            ("xml.c", " note "),
            ("xml.d", "<e>"),
            ("xml.d", "tail"),
        ];
        let expected = expected.map(|(label, text)| (label.to_owned(), text.to_owned()));
        assert_eq!(values(document), expected);
    }

    #[test]
    fn broken_documents_end() {
        for document in [
            "<",
            "<a",
            "<a b",
            "<a b=",
            "<a b=\"",
            "<![CDATA[",
            "<!--",
            "< <<>>",
            "<a =\"x\" \"y\">",
            "</",
            "<a b=c>",
        ] {
            values(document);
        }
        assert_eq!(values("<a b='unfin"), [("xml.a.b".to_owned(), "unfin".to_owned())]);
    }
}
