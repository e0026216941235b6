//! XML bodies: the text of elements and the values of attributes, without a tree.
//!
//! What is no well-formed XML does no harm: each step takes at least one byte, and the body as a whole is a value beside
//! these.

mod entities;

use crate::arena::{Arena, Bomb, NodeId, Step};
use crate::limits::OverLimit;
use crate::place::Place;
use crate::reading;
use entities::Entities;

/// Adds the texts, attribute values and comments of a document. An element's point is named after it alone, not after
/// those around it. A text is what lies between two tags, as applications see it: with CDATA sections and the document's
/// own entities, without comments. All texts joined are one more value, because an application can ask for that.
pub(super) fn add(document: &[u8], node: NodeId, arena: &mut Arena) {
    let entities = Entities::of(document);
    read(document, node, &entities, arena);
    let other = entities.other_reading();
    if let Some(other) = &other {
        read(document, node, other, arena);
    }
    if entities.multiplies() || other.as_ref().is_some_and(Entities::multiplies) {
        arena.found_bomb(node, Bomb::Entities);
    }
    if entities.is_over() || other.is_some_and(|other| other.is_over()) {
        arena.hit_limit(OverLimit::DecodedBytes);
    }
}

fn read(document: &[u8], node: NodeId, entities: &Entities<'_>, arena: &mut Arena) {
    let mut element = node;
    let mut rest = document;
    let mut count = 0;
    while !rest.is_empty() {
        if arena.is_full() {
            return;
        }
        let (run, after) = rest.split_at(text_length(rest));
        if !run.trim_ascii().is_empty() {
            count += usize::from(text(run, element, entities, arena));
            comments(run, element, arena);
        }
        rest = match after {
            [] => return join(document, count, node, entities, arena),
            [b'<', b'!' | b'/', ..] => split(after, b">").1,
            _ => {
                let (found, after) = tag(&after[1..], node, entities, arena);
                element = found;
                after
            }
        };
    }
    join(document, count, node, entities, arena);
}

/// The length of the text that the input starts with: up to a tag or a declaration.
fn text_length(input: &[u8]) -> usize {
    let mut position = 0;
    while let Some(offset) = memchr::memchr(b'<', &input[position..]) {
        reading::note(offset);
        position += offset;
        let markup = &input[position..];
        let Some((_, mark)) = inside_text(markup) else { return position };
        position = input.len() - split(markup, mark).1.len();
    }
    input.len()
}

/// Markup that does not end a text: its length at the start and the mark that ends it.
fn inside_text(markup: &[u8]) -> Option<(usize, &'static [u8])> {
    if markup.starts_with(b"<![CDATA[") {
        Some((9, b"]]>"))
    } else if markup.starts_with(b"<!--") {
        Some((4, b"-->"))
    } else if markup.starts_with(b"<?") {
        Some((2, b"?>"))
    } else {
        None
    }
}

/// Appends a text as an application sees it.
fn write_text(mut run: &[u8], entities: &Entities<'_>, out: &mut Vec<u8>) {
    while let Some(position) = memchr::memchr(b'<', run) {
        entities.write(&run[..position], out);
        let markup = &run[position..];
        let Some((length, mark)) = inside_text(markup) else { return };
        let (content, after) = split(&markup[length..], mark);
        if length == 9 {
            out.extend_from_slice(content);
        }
        run = after;
    }
    entities.write(run, out);
}

/// Adds the comments inside a text.
fn comments(mut run: &[u8], node: NodeId, arena: &mut Arena) {
    while let Some(position) = memchr::memchr(b'<', run) {
        let markup = &run[position..];
        let Some((length, mark)) = inside_text(markup) else { return };
        let (content, after) = split(&markup[length..], mark);
        if length == 4 && !arena.is_full() {
            let span = arena.write(|bytes| bytes.extend_from_slice(content));
            arena.add(span, node, Place::Body, 0);
        }
        run = after;
    }
}

/// Adds all texts of a document as one value, if there are several.
fn join(document: &[u8], count: usize, node: NodeId, entities: &Entities<'_>, arena: &mut Arena) {
    if count < 2 {
        return;
    }
    let span = arena.write(|bytes| {
        let mut rest = document;
        while !rest.is_empty() {
            let (run, after) = rest.split_at(text_length(rest));
            if !run.trim_ascii().is_empty() {
                write_text(run, entities, bytes);
            }
            rest = behind_markup(after);
        }
    });
    arena.add(span, node, Place::Body, 0);
}

/// Reads a start tag from its name on; returns its point and what follows the tag.
fn tag<'a>(input: &'a [u8], node: NodeId, entities: &Entities<'_>, arena: &mut Arena) -> (NodeId, &'a [u8]) {
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
                text(content, node, entities, arena);
                rest = after;
            }
            _ => rest = after,
        }
    }
    (element, b"")
}

/// What follows a tag or a declaration; quoted values may hold the sign that ends it.
fn behind_markup(input: &[u8]) -> &[u8] {
    if matches!(input, [b'<', b'!' | b'/', ..]) {
        return split(input, b">").1;
    }
    let mut rest = input;
    while let Some(position) = memchr::memchr2(b'>', b'=', rest) {
        let sign = rest[position];
        rest = &rest[position + 1..];
        if sign == b'>' {
            return rest;
        }
        if let Some((quote @ (b'"' | b'\''), quoted)) = rest.trim_ascii_start().split_first() {
            rest = split(quoted, &[*quote]).1;
        }
    }
    b""
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | 0x80..)
}

/// What lies before a mark and after it; without the mark, all lies before.
fn split<'a>(input: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    let found = memchr::memmem::find(input, mark);
    reading::note(found.unwrap_or(input.len()));
    match found {
        Some(position) => (&input[..position], &input[position + mark.len()..]),
        None => (input, b""),
    }
}

/// Adds a text and says whether anything is in it.
fn text(content: &[u8], node: NodeId, entities: &Entities<'_>, arena: &mut Arena) -> bool {
    let trimmed = content.trim_ascii();
    if trimmed.is_empty() {
        return false;
    }
    let span = arena.write(|bytes| write_text(trimmed, entities, bytes));
    arena.add_from(content, span, node, Place::Body, 0);
    span.len() > 0
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
            ("xml", " text A <e>tail"),
        ];
        let expected = expected.map(|(label, text)| (label.to_owned(), text.to_owned()));
        assert_eq!(values(document), expected);
    }

    #[test]
    fn a_text_is_what_an_application_sees() {
        let expected = [("xml.a", "1 2<3 > 4"), ("xml.a", " 2 ")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(values("<a>1<!-- 2 --> 2<![CDATA[<3 >]]><?pi ?> 4</a>"), expected);
        let joined = values("<a>1<b c='&x;'>2</b><b>3</b>4<!ENTITY x '5'></a>");
        assert_eq!(joined.last().unwrap(), &("xml".to_owned(), "1234".to_owned()));
        assert!(joined.contains(&("xml.b.c".to_owned(), "5".to_owned())));
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
