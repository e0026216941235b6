//! Bodies: read as their content type says, or else as what they look like.

use crate::arena::{Arena, NodeId, ROOT, Step};
use crate::decode::Expander;
use crate::decode::json::{Ending, Target};
use crate::decode::percent::Plus;
use crate::place::Place;
use crate::points::form::Pairs;
use crate::points::{multipart, xml};
use crate::request::RequestView;

/// What a body is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
    Xml,
    Text,
    Binary,
}

/// How much of a body is looked at to tell what it is.
const SNIFFED_BYTES: usize = 1024;

/// Adds the values of the body, if there is one.
pub(super) fn add(
    request: &RequestView<'_>,
    content_type: &[u8],
    expander: &mut Expander,
    arena: &mut Arena,
) {
    // A byte order mark is no part of any format.
    let body = request.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(request.body);
    if body.is_empty() {
        return;
    }
    let node = arena.node(ROOT, Step::Part("body"));
    let says_form = says_form(content_type);
    if let Some(boundary) = multipart_boundary(content_type, body)
        && multipart::add(body, boundary, node, arena)
    {
        // Looks do not overrule the type: whoever believes the type reads a form.
        if says_form {
            form(body, node, arena);
        }
        return;
    }
    match kind(says_form, body) {
        Kind::Form => form(body, node, arena),
        Kind::Json => {
            if json(body, node, expander, arena) != Ending::Complete && says_form {
                form(body, node, arena);
            }
        }
        Kind::Xml => {
            whole(body, node, Place::Body, arena);
            let node = arena.node(node, Step::Part("xml"));
            xml::add(body, node, arena);
        }
        Kind::Text => whole(body, node, Place::Body, arena),
        Kind::Binary => whole(body, node, Place::File, arena),
    }
}

fn says_form(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// What a body without parts is read as. JSON often comes with the type of a form, so its looks count first.
fn kind(says_form: bool, body: &[u8]) -> Kind {
    if starts_as_json(body) {
        return Kind::Json;
    }
    if says_form {
        return Kind::Form;
    }
    if looks_like_xml(body) {
        return Kind::Xml;
    }
    if is_binary(body) {
        return Kind::Binary;
    }
    if looks_like_form(body) { Kind::Form } else { Kind::Text }
}

/// The boundary, if the content type says multipart or the body begins like that.
fn multipart_boundary<'a>(content_type: &'a [u8], body: &'a [u8]) -> Option<&'a [u8]> {
    const TYPE: &[u8] = b"multipart/";
    let named = content_type.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE));
    if named || body.starts_with(b"--") { multipart::boundary(content_type, body) } else { None }
}

fn starts_as_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// A tag, declaration or comment at the start.
fn looks_like_xml(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start(), [b'<', b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z' | b'_', ..])
}

/// A name of ordinary characters, then `=`, and no white space at the start: what a form looks like.
fn looks_like_form(body: &[u8]) -> bool {
    let start = &body[..body.len().min(SNIFFED_BYTES)];
    let is_name_byte = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'%' | b'+' | b'$')
    };
    match memchr::memchr(b'=', start) {
        Some(position) if position > 0 => start[..position].iter().all(|byte| is_name_byte(*byte)),
        _ => false,
    }
}

/// Control characters that no text has, early in the body.
fn is_binary(body: &[u8]) -> bool {
    let start = &body[..body.len().min(SNIFFED_BYTES)];
    let controls = start.iter().filter(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31)).count();
    controls * 32 > start.len()
}

fn form(body: &[u8], node: NodeId, arena: &mut Arena) {
    Pairs { node, values: Place::Body, names: Place::Name, plus: Plus::Space }.add(body, arena);
}

/// A body that is not JSON to its end is also a text from there on.
fn json(body: &[u8], node: NodeId, expander: &mut Expander, arena: &mut Arena) -> Ending {
    let json_node = arena.node(node, Step::Part("json"));
    let target = Target { node: json_node, place: Place::Body, depth: 0 };
    let ending = expander.read_json(body, target, arena);
    if let Ending::Stopped(position) = ending {
        whole(&body[position..], node, Place::Body, arena);
    }
    ending
}

fn whole(text: &[u8], node: NodeId, place: Place, arena: &mut Arena) {
    let span = arena.write(|bytes| bytes.extend_from_slice(text));
    arena.add(span, node, place, 0);
}
