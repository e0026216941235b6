//! Multipart bodies (RFC 7578, RFC 2046 section 5.1), read as tolerantly as servers do.

use crate::arena::{Arena, NodeId, Step};
use crate::decode::percent::{self, Plus};
use crate::place::Place;

/// The longest boundary that is looked for, in bytes. RFC 2046 allows 70.
const BOUNDARY_BYTES_MAX: usize = 256;

/// The boundary that a content type names, or that the body starts with if it names none.
pub(super) fn boundary<'a>(content_type: &'a [u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let named = parameter(content_type, b"boundary");
    let boundary = named.or_else(|| {
        let line = body.strip_prefix(b"--")?.split(|byte| *byte == b'\n').next()?;
        let next = &body[line.len() + 2..];
        let has_header = next.get(1..9).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        has_header.then_some(line.trim_ascii_end())
    })?;
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then_some(boundary)
}

/// Adds the parts of a body. False if the boundary does not occur, so that it is something else.
pub(super) fn add(body: &[u8], boundary: &[u8], node: NodeId, arena: &mut Arena) -> bool {
    let mut delimiter = [0; BOUNDARY_BYTES_MAX + 2];
    let delimiter = &mut delimiter[..boundary.len() + 2];
    delimiter[..2].copy_from_slice(b"--");
    delimiter[2..].copy_from_slice(boundary);
    let finder = memchr::memmem::Finder::new(delimiter);
    let Some(first) = finder.find(body) else { return false };
    let mut rest = &body[first + delimiter.len()..];
    while !rest.starts_with(b"--") && !rest.is_empty() {
        if arena.is_full() {
            break;
        }
        let end = finder.find(rest);
        part(&rest[..end.unwrap_or(rest.len())], node, arena);
        let Some(end) = end else { break };
        rest = &rest[end + delimiter.len()..];
    }
    true
}

/// One part, from the end of its delimiter line to the next delimiter.
fn part(part: &[u8], node: NodeId, arena: &mut Arena) {
    let part = skip_line_end(part);
    let (head, content) = split_head(part);
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let disposition = field(head, b"content-disposition").unwrap_or_default();
    let Some(name) = parameter(disposition, b"name") else {
        // No server would know what to do with it, but one might do something.
        let span = arena.write(|bytes| bytes.extend_from_slice(part));
        return arena.add(span, node, Place::Body, 0);
    };
    let name = arena.write(|bytes| bytes.extend_from_slice(name));
    let node = arena.node(node, Step::Name(name));
    arena.add(name, node, Place::Name, 0);
    let file_name = parameter(disposition, b"filename").or_else(|| parameter(disposition, b"filename*"));
    if let Some(file_name) = file_name {
        let node = arena.node(node, Step::Part("filename"));
        let span = arena.write(|bytes| percent::decode(file_name, Plus::Literal, bytes));
        arena.add(span, node, Place::Body, 0);
    }
    let place = if file_name.is_some() { Place::File } else { Place::Body };
    let span = arena.write(|bytes| bytes.extend_from_slice(content));
    arena.add(span, node, place, 0);
}

/// Splits a part at its empty line; without one it is all head.
fn split_head(part: &[u8]) -> (&[u8], &[u8]) {
    let mut position = 0;
    while let Some(length) = memchr::memchr(b'\n', &part[position..]) {
        let line = &part[position..position + length];
        position += length + 1;
        if line.trim_ascii_end().is_empty() {
            return (&part[..position], &part[position..]);
        }
    }
    (part, b"")
}

fn skip_line_end(part: &[u8]) -> &[u8] {
    let start = part.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
    let rest = &part[start..];
    rest.strip_prefix(b"\n").unwrap_or(rest)
}

/// The value of a header field in a part's head, folded lines cut off.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        line[..colon].trim_ascii().eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    })
}

/// The value of a parameter such as `name="x"` or `name=x`, in any case; backslashes inside quotes are kept.
fn parameter<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = field;
    while let Some(position) = memchr::memchr2(b';', b',', rest) {
        rest = rest[position + 1..].trim_ascii_start();
        let equals = memchr::memchr(b'=', rest)?;
        let found = rest[..equals].trim_ascii().eq_ignore_ascii_case(name);
        let value = rest[equals + 1..].trim_ascii_start();
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = closing_quote(quoted);
                (&quoted[..end], &quoted[end..])
            }
            None => {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                (value[..end].trim_ascii(), &value[end..])
            }
        };
        if found {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// Where the quoted text ends: at its closing quote, or at its end without one.
fn closing_quote(quoted: &[u8]) -> usize {
    let mut position = 0;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &quoted[position..]) {
        position += offset;
        if quoted[position] == b'"' {
            return position;
        }
        position = (position + 2).min(quoted.len());
    }
    quoted.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::ROOT;
    use crate::limits::Limits;

    fn values(content_type: &str, body: &str) -> Option<Vec<(String, String, Place)>> {
        let mut arena = Arena::new(Limits::default());
        let node = arena.node(ROOT, Step::Part("body"));
        let boundary = boundary(content_type.as_bytes(), body.as_bytes())?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        add(body.as_bytes(), boundary, node, &mut arena).then(|| {
            let values = arena.values().iter();
            values
                .map(|value| (arena.label(value.node, &[]), text(arena.slice(value.span)), value.place))
                .collect()
        })
    }

    fn expected(rows: &[(&str, &str, Place)]) -> Vec<(String, String, Place)> {
        rows.iter().map(|(label, text, place)| ((*label).to_owned(), (*text).to_owned(), *place)).collect()
    }

    #[test]
    fn parts_are_fields_and_files() {
        let body = "preamble\r\n--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--x\r\n\
                    content-type: text/plain\r\nContent-Disposition: form-data; filename=\"f;\\\".txt\"; name=b\r\n\r\n\
                    data\r\n--x--\r\nepilogue";
        let rows = [
            ("body.a", "a", Place::Name),
            ("body.a", "1\r\n2", Place::Body),
            ("body.b", "b", Place::Name),
            ("body.b.filename", "f;\\\".txt", Place::Body),
            ("body.b", "data", Place::File),
        ];
        for content_type in ["multipart/form-data; boundary=x", "multipart/form-data; a=b; Boundary=\"x\""] {
            assert_eq!(values(content_type, body), Some(expected(&rows)), "{content_type}");
        }
    }

    #[test]
    fn unfinished_and_odd_bodies() {
        let rows = [("body.a", "a", Place::Name), ("body.a", "unfin", Place::Body)];
        let body = "--x\nContent-Disposition: form-data; name=a\n\nunfin";
        assert_eq!(values("multipart/form-data; boundary=x", body), Some(expected(&rows)));
        assert_eq!(values("", body), Some(expected(&rows)));
        assert_eq!(values("multipart/form-data; boundary=y", body), None);
        assert_eq!(values("multipart/form-data", "text"), None);
        let nameless = values("multipart/form-data; boundary=x", "--x\r\nnothing here");
        assert_eq!(nameless, Some(expected(&[("body", "nothing here", Place::Body)])));
    }
}
