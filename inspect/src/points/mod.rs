//! Takes a request apart into named values.

mod body;
mod charset;
mod form;
mod multipart;
mod xml;

use crate::arena::{Arena, NodeId, ROOT, Step};
use crate::decode::percent::{self, Plus};
use crate::decode::{Expander, base64, hex};
use crate::directives::{Parser, Scope};
use crate::place::Place;
use form::Pairs;

/// Adds all values of the request to the arena.
pub(crate) fn decompose(scope: &Scope<'_>, expander: &mut Expander, arena: &mut Arena) {
    let request = scope.request();
    path(request.path, arena);
    if let Some(query) = request.query {
        let node = arena.node(ROOT, Step::Part("query"));
        Pairs { node, values: Place::Query, names: Place::Name, plus: Plus::Space }.add(query, arena);
    }
    for (index, (name, value)) in request.headers.iter().enumerate() {
        if arena.is_full() {
            break;
        }
        header(u32::try_from(index).unwrap_or(u32::MAX), name, value, scope, arena);
    }
    body::add(scope, expander, arena);
}

/// The decoded path as a whole, and as values of their own the segments that hold more than plain file-name characters
/// or may be encoded.
fn path(raw: &[u8], arena: &mut Arena) {
    let node = arena.node(ROOT, Step::Part("path"));
    let whole = arena.write(|bytes| percent::decode(raw, Plus::Literal, bytes));
    arena.add(whole, node, Place::Path, 0);
    for (index, segment) in raw.strip_prefix(b"/").unwrap_or(raw).split(|byte| *byte == b'/').enumerate() {
        if arena.is_full() {
            return;
        }
        let is_plain = segment.iter().all(|byte| is_plain_path_byte(*byte));
        let may_be_encoded = || base64::may_be_text(segment) || hex::may_be_text(segment);
        if !is_plain || may_be_encoded() || arena.keeps_all() {
            let step = Step::Index(u32::try_from(index).unwrap_or(u32::MAX));
            let node = arena.node(node, step);
            let span = arena.write(|bytes| percent::decode(segment, Plus::Literal, bytes));
            arena.add(span, node, Place::Path, 0);
        }
    }
}

/// Headers in which clients of upload scripts give a file's name.
const FILE_NAME_HEADERS: [&[u8]; 5] =
    [b"x-filename", b"x-file-name", b"x_filename", b"x.filename", b"x-file"];

fn is_plain_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Whether a text may be the name of a scheme of authentication.
fn is_scheme(text: &[u8]) -> bool {
    (1..=SCHEME_BYTES_MAX).contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// The longest name of a scheme of authentication.
const SCHEME_BYTES_MAX: usize = 32;

/// Adds the name and the password of Basic credentials (RFC 7617 section 2), each as a value of its own.
fn credentials(encoded: &[u8], node: NodeId, arena: &mut Arena) {
    let node = arena.node(node, Step::Decoder("base64"));
    for part in ["user", "password"] {
        let node = arena.node(node, Step::Part(part));
        let span = arena.write(|bytes| {
            let start = bytes.len();
            // Names and passwords need be no UTF-8.
            _ = base64::decode_bytes(encoded, bytes);
            match memchr::memchr(b':', &bytes[start..]) {
                Some(colon) if part == "user" => bytes.truncate(start + colon),
                Some(colon) => _ = bytes.drain(start..=start + colon),
                None => bytes.truncate(start),
            }
        });
        arena.add(span, node, Place::Header, 1);
    }
}

fn header(index: u32, name: &[u8], value: &[u8], scope: &Scope<'_>, arena: &mut Arena) {
    let is_cookie = name.eq_ignore_ascii_case(b"cookie");
    if is_cookie && !scope.may_switch_parsers() {
        return form::cookies(value, arena);
    }
    let node = arena.node(ROOT, Step::Header(index));
    if is_cookie && !scope.parsers_off(node, arena).has(Parser::Cookie) {
        return form::cookies(value, arena);
    }
    if name.eq_ignore_ascii_case(b"referer") || name.eq_ignore_ascii_case(b"origin") {
        return form::url(value, node, arena);
    }
    // Credentials are encoded without their scheme; what is none of those is looked at as well.
    let has_scheme =
        name.eq_ignore_ascii_case(b"authorization") || name.eq_ignore_ascii_case(b"proxy-authorization");
    let is_basic = has_scheme
        && value.split_first_chunk::<6>().is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
    let value = match memchr::memchr2(b' ', b'\t', value) {
        Some(position) if has_scheme && is_scheme(&value[..position]) => value[position..].trim_ascii_start(),
        _ => value,
    };
    if is_basic {
        credentials(value, node, arena);
    }
    let place = if name.eq_ignore_ascii_case(b"user-agent") {
        Place::UserAgent
    } else if FILE_NAME_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        Place::FileName
    } else {
        Place::Header
    };
    let span = arena.write(|bytes| bytes.extend_from_slice(value));
    arena.add(span, node, place, 0);
}
