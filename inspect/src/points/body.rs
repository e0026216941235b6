//! Bodies: read as their content types say, and as what they look like.

use std::borrow::Cow;

use crate::arena::{Arena, Bomb, NodeId, ROOT, Step};
use crate::decode::Expander;
use crate::decode::inflate::{self, Ended, INFLATED_BYTES_MAX};
use crate::decode::json::{Ending, Target, lenient};
use crate::decode::percent::{self, Plus};
use crate::directives::{Parser, ParserSet, Scope};
use crate::limits::OverLimit;
use crate::place::Place;
use crate::points::charset;
use crate::points::form::Pairs;
use crate::points::multipart::{self, Found};
use crate::points::xml;
use crate::request::RequestView;

/// How much of a body is looked at to tell what it is.
const SNIFFED_BYTES: usize = 1024;

/// How much of what was read as JSON is looked at again with the text behind it, in bytes.
const CONTEXT_BYTES: usize = 32;

/// What the Content-Type fields say. All of them count: which one a server believes is its own choice.
#[derive(Debug, Clone, Copy, Default)]
struct Claims {
    form: bool,
    multipart: bool,
    xml: bool,
    json: bool,
    utf_16: bool,
    utf_32: bool,
    utf_7: bool,
    /// A file, which an application keeps as it is.
    file: bool,
    /// What the body isn't read as, whatever it says.
    off: ParserSet,
}

/// Parts of the types that compressed files have.
const FILES: [&[u8]; 4] = [b"octet-stream", b"zip", b"tar", b"compress"];

impl Claims {
    fn of<'a>(content_types: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut claims = Self::default();
        for content_type in content_types {
            claims.form |= mentions(content_type, b"x-www-form-urlencoded");
            claims.multipart |= mentions(content_type, b"multipart/");
            claims.xml |= mentions(content_type, b"xml");
            claims.json |= mentions(content_type, b"json");
            claims.file |= FILES.iter().any(|word| mentions(content_type, word));
            claims.utf_16 |= mentions(content_type, b"utf-16") || mentions(content_type, b"ucs-2");
            claims.utf_32 |= mentions(content_type, b"utf-32") || mentions(content_type, b"ucs-4");
        }
        claims
    }
}

/// The values of all fields with this name.
fn fields<'a>(headers: &[(&'a [u8], &'a [u8])], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

fn content_types<'a>(headers: &[(&'a [u8], &'a [u8])]) -> impl Iterator<Item = &'a [u8]> {
    fields(headers, b"content-type")
}

/// Whether the lower-case `word` is in the text, in any case.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// How many compressions around a body are undone.
const COMPRESSIONS_MAX: usize = 3;

/// Adds the values of the body, if there is one: as it is, and with compression and wide characters undone. Whether a
/// server undoes them is its own choice.
pub(super) fn add(scope: &Scope<'_>, expander: &mut Expander, arena: &mut Arena) {
    let request = scope.request();
    if request.body.is_empty() {
        return;
    }
    let node = arena.node(ROOT, Step::Part("body"));
    let off = scope.parsers_off(node, arena);
    let claims = Claims { off, ..Claims::of(content_types(request.headers)) };
    let declaration =
        request.body.strip_prefix(b"<?xml").and_then(|rest| rest.split(|byte| *byte == b'>').next());
    let names = || content_types(request.headers).chain(declaration);
    if names().any(charset::names_unread) {
        arena.hit_limit(OverLimit::Encoding);
    }
    let claims = Claims { utf_7: names().any(charset::names_utf_7), ..claims };
    add_in_charsets(request.body, request, claims, node, expander, arena);
    if !off.has(Parser::Gzip) {
        inflated(request, claims, node, expander, arena);
    }
}

/// Undoes the compression that Content-Encoding fields name, the last first (RFC 9110 section 8.4), or that shows.
fn inflated(
    request: &RequestView<'_>,
    claims: Claims,
    mut node: NodeId,
    expander: &mut Expander,
    arena: &mut Arena,
) {
    let codings = |headers| {
        let items = fields(headers, b"content-encoding").flat_map(|value| value.split(|byte| *byte == b','));
        let items = items.map(<[u8]>::trim_ascii);
        items.filter(|item| !item.is_empty() && !item.eq_ignore_ascii_case(b"identity"))
    };
    let count = codings(request.headers).count();
    let mut body = Cow::Borrowed(request.body);
    for undone in 0..count.max(COMPRESSIONS_MAX + 1) {
        let coding = count.checked_sub(undone + 1).and_then(|index| codings(request.headers).nth(index));
        let shows_gzip = inflate::is_gzip(&body) && !claims.file;
        let is_gzip = coding.is_some_and(|coding| mentions(coding, b"gzip"));
        let is_deflate = coding.is_some_and(|coding| mentions(coding, b"deflate"));
        let (name, (bytes, ended)) = if shows_gzip || is_gzip || is_deflate {
            inflate::by_bytes(&body, is_gzip, INFLATED_BYTES_MAX)
        } else if coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"br")) {
            ("br", inflate::brotli(&body))
        } else {
            if coding.is_some() {
                arena.hit_limit(OverLimit::Encoding);
            }
            return;
        };
        match ended {
            Ended::TooMuch(read) => {
                arena.hit_limit(OverLimit::DecodedBytes);
                if inflate::is_bomb(read, bytes.len()) {
                    arena.found_bomb(node, Bomb::Compression);
                }
            }
            Ended::Broken if coding.is_some() => arena.hit_limit(OverLimit::Encoding),
            Ended::Broken | Ended::Whole | Ended::Cut => {}
        }
        if bytes.is_empty() {
            return;
        }
        if undone == COMPRESSIONS_MAX {
            return arena.hit_limit(OverLimit::Depth);
        }
        node = arena.node(node, Step::Decoder(name));
        add_in_charsets(&bytes, request, claims, node, expander, arena);
        body = Cow::Owned(bytes);
    }
}

/// Adds a body as it is, and in the wide characters that it may be written in.
fn add_in_charsets(
    body: &[u8],
    request: &RequestView<'_>,
    claims: Claims,
    node: NodeId,
    expander: &mut Expander,
    arena: &mut Arena,
) {
    // A byte order mark is no part of any format.
    add_read(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body), request, claims, node, expander, arena);
    if claims.utf_7 {
        let mut text = Vec::new();
        charset::decode_utf_7(body, &mut text);
        let node = arena.node(node, Step::Decoder("utf-7"));
        add_read(&text, request, claims, node, expander, arena);
        if claims.form && memchr::memchr(b'%', body).is_some() {
            // Forms are decoded before their character set is.
            let mut decoded = Vec::new();
            percent::decode(body, Plus::Literal, &mut decoded);
            text.clear();
            charset::decode_utf_7(&decoded, &mut text);
            add_read(&text, request, claims, node, expander, arena);
        }
    }
    for charset in charset::guesses(body, claims.utf_16, claims.utf_32) {
        let mut text = Vec::new();
        charset.decode(body, &mut text);
        let node = arena.node(node, Step::Decoder(charset.name()));
        add_read(&text, request, claims, node, expander, arena);
    }
}

/// Adds the values of a body in every way that it may be read.
///
/// Its type and its looks can differ, and so do servers in which of them they believe: it is read as what its types say,
/// as what it looks like, and as a whole where these leave bytes out.
fn add_read(
    body: &[u8],
    request: &RequestView<'_>,
    claims: Claims,
    node: NodeId,
    expander: &mut Expander,
    arena: &mut Arena,
) {
    arena.cut_behind((!request.body_complete).then_some(body));
    add_readings(body, request, claims, node, expander, arena);
    arena.cut_behind(None);
}

fn add_readings(
    body: &[u8],
    request: &RequestView<'_>,
    claims: Claims,
    node: NodeId,
    expander: &mut Expander,
    arena: &mut Arena,
) {
    let off = claims.off;
    let found = if (claims.multipart || body.starts_with(b"--")) && !off.has(Parser::Multipart) {
        multipart::add(body, content_types(request.headers), node, arena)
    } else {
        Found::Nothing
    };
    if found == Found::Parts && claims.multipart {
        if claims.form && !off.has(Parser::FormUrlencoded) {
            form(body, node, arena);
        }
        return;
    }
    let document = without_guard(body);
    let is_json = starts_as_json(document, claims.json) && !off.has(Parser::Json);
    let is_whole_json = is_json && json(document, request, claims, node, expander, arena) == Ending::Complete;
    // What starts as JSON is no binary file, and most bodies do.
    let is_binary = !is_json && is_binary(body);
    let is_xml = (looks_like_xml(body) || (claims.xml && !is_json && !is_binary)) && !off.has(Parser::Xml);
    // In whole JSON without `=` a form has no value that is not a string of the document.
    let is_form = if off.has(Parser::FormUrlencoded) {
        false
    } else if claims.form {
        !is_whole_json || memchr::memchr(b'=', body).is_some()
    } else {
        !is_json && !is_xml && !is_binary && looks_like_form(body)
    };
    if is_form {
        form(body, node, arena);
    }
    if is_xml {
        let node = arena.node(node, Step::Part("xml"));
        xml::add(body, node, arena);
    }
    let is_text_too = is_form && !claims.form && holds_what_forms_encode(body);
    if is_xml || found != Found::Nothing || is_text_too || !(is_json || is_form) {
        let place = if is_binary && !is_xml && found == Found::Nothing { Place::File } else { Place::Body };
        whole(body, node, place, arena);
    }
}

/// The body behind the mark `)]}'` that some write before JSON, so that it is no script.
fn without_guard(body: &[u8]) -> &[u8] {
    let Some(rest) = body.trim_ascii_start().strip_prefix(b")]}'") else { return body };
    rest.strip_prefix(b",").unwrap_or(rest)
}

/// A bracket at the start, or a string or a comment where the body says that it is JSON.
fn starts_as_json(body: &[u8], says_json: bool) -> bool {
    let start = body.trim_ascii_start();
    matches!(start.first(), Some(b'{' | b'['))
        || (says_json && (start.starts_with(b"\"") || lenient::comment_length(start).is_some()))
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

/// Whether there is something that a form would encode, so that what looks like a form may be a text.
fn holds_what_forms_encode(body: &[u8]) -> bool {
    let start = &body[..body.len().min(SNIFFED_BYTES)];
    start.iter().any(|byte| matches!(byte, b' ' | b'\'' | b'"' | b'<' | b'>' | b'(' | b'`' | b'{' | b'|'))
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

/// A body that is not JSON to its end is also a text from there on, and one that not all readers take for JSON from its
/// start. Where it says that it is JSON and isn't, that is told.
fn json(
    body: &[u8],
    request: &RequestView<'_>,
    claims: Claims,
    node: NodeId,
    expander: &mut Expander,
    arena: &mut Arena,
) -> Ending {
    let json_node = arena.node(node, Step::Part("json"));
    let target = Target { node: json_node, place: Place::Body, depth: 0 };
    let ending = expander.read_json(body, target, arena);
    match ending {
        Ending::Complete => {}
        Ending::Sloppy => whole(body, node, Place::Body, arena),
        Ending::Truncated if request.body_complete => arena.dispute(json_node),
        Ending::Truncated => {}
        Ending::Stopped(position) => {
            if claims.json {
                arena.hit_limit(OverLimit::Encoding);
            }
            // With a bit of what was read: it may belong to what follows.
            whole(&body[position.saturating_sub(CONTEXT_BYTES)..], node, Place::Body, arena);
        }
    }
    ending
}

fn whole(text: &[u8], node: NodeId, place: Place, arena: &mut Arena) {
    let span = arena.write(|bytes| bytes.extend_from_slice(text));
    arena.add_from(text, span, node, place, 0);
}
