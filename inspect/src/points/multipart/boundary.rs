//! The boundaries that a multipart body may be read with.
//!
//! A Content-Type can name its boundary twice, in pieces, or so that one server ends it earlier than another. All
//! readings are kept, so that the body can be read with each of them.

use crate::decode::percent::{self, Plus};
use crate::reading;

/// The most readings that are kept. One is usual.
const BOUNDARIES_MAX: usize = 4;

/// The longest boundary that is looked for, in bytes. RFC 2046 allows 70.
const BOUNDARY_BYTES_MAX: usize = 256;

/// The most mentions of a boundary that are read, in all fields together.
const MENTIONS_MAX: usize = 16;

/// How much of a field is looked at behind a mention, in bytes: a boundary and what may stand around it.
const MENTION_BYTES_MAX: usize = 4 * BOUNDARY_BYTES_MAX;

/// A boundary with the two dashes before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delimiter {
    bytes: [u8; BOUNDARY_BYTES_MAX + 2],
    length: usize,
}

impl Delimiter {
    const DASHES: Self = Self { bytes: [b'-'; BOUNDARY_BYTES_MAX + 2], length: 2 };

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// False if it does not fit.
    fn push(&mut self, bytes: impl Iterator<Item = u8>) -> bool {
        for byte in bytes {
            let Some(place) = self.bytes.get_mut(self.length) else { return false };
            *place = byte;
            self.length += 1;
        }
        true
    }
}

/// The different boundaries of one request.
#[derive(Debug)]
pub(super) struct Boundaries {
    delimiters: [Delimiter; BOUNDARIES_MAX],
    count: usize,
    mentions: usize,
    /// Whether servers can disagree about the boundary.
    pub(super) disputed: bool,
    /// Whether there are more mentions than are read.
    pub(super) is_over: bool,
}

impl Boundaries {
    /// The boundaries that Content-Type fields name, and the one that the body starts with.
    pub(super) fn of<'a>(content_types: impl Iterator<Item = &'a [u8]>, body: &[u8]) -> Self {
        let mut boundaries = Self {
            delimiters: [Delimiter::DASHES; BOUNDARIES_MAX],
            count: 0,
            mentions: 0,
            disputed: false,
            is_over: false,
        };
        content_types.for_each(|content_type| boundaries.read(content_type));
        if let Some(first) = first_line(body) {
            boundaries.add(first.iter().copied());
        }
        boundaries.disputed |= boundaries.count > 1;
        boundaries
    }

    pub(super) fn as_slice(&self) -> &[Delimiter] {
        &self.delimiters[..self.count]
    }

    /// Adds every reading of every mention in one field.
    fn read(&mut self, content_type: &[u8]) {
        const NAME: &[u8] = b"boundary";
        let mut pieces = Delimiter::DASHES;
        for position in 0..content_type.len().saturating_sub(NAME.len()) {
            let (name, after) = content_type[position..].split_at(NAME.len());
            if !name.eq_ignore_ascii_case(NAME) {
                continue;
            }
            if self.mentions == MENTIONS_MAX {
                (self.disputed, self.is_over) = (true, true);
                break;
            }
            self.mentions += 1;
            let cut = &after[..after.len().min(MENTION_BYTES_MAX)];
            self.disputed |= cut.len() < after.len();
            let after = cut;
            reading::note(after.len());
            let Some(equals) = memchr::memchr(b'=', after) else { continue };
            let value = after[equals + 1..].trim_ascii_start();
            if let Some(quoted) = value.strip_prefix(b"\"") {
                let first = memchr::memchr(b'"', quoted).unwrap_or(quoted.len());
                let last = super::parameters::closing_quote(quoted);
                self.add(quoted[..first].iter().copied());
                self.add(quoted[..last].iter().copied());
                self.add(quoted[..last].iter().copied().filter(|byte| *byte != b'\\'));
            } else {
                let whole = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let is_end = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
                self.add(whole.split(is_end).next().unwrap_or_default().iter().copied());
                self.add(whole.iter().copied());
            }
            if after[..equals].contains(&b'*') {
                self.extended(value, &mut pieces);
            }
        }
        if pieces.length > 2 {
            self.add(pieces.as_bytes()[2..].iter().copied());
        }
    }

    /// A value with a character set and percent escapes (RFC 2231), which may be a piece of the whole.
    fn extended(&mut self, value: &[u8], pieces: &mut Delimiter) {
        let value = value.split(|byte| *byte == b';').next().unwrap_or_default();
        let value = value.rsplit(|byte| *byte == b'\'').next().unwrap_or_default();
        let mut decoded = Vec::new();
        percent::decode(value, Plus::Literal, &mut decoded);
        let plain = decoded.iter().copied().filter(|byte| !matches!(byte, b'"' | b' '));
        self.add(plain.clone());
        self.disputed |= !pieces.push(plain);
    }

    fn add(&mut self, boundary: impl Iterator<Item = u8>) {
        let mut delimiter = Delimiter::DASHES;
        let fits = delimiter.push(boundary) && delimiter.length > 2;
        if self.as_slice().iter().any(|known| known.as_bytes() == delimiter.as_bytes()) {
            return;
        }
        if !fits || self.count == BOUNDARIES_MAX {
            self.disputed = true;
            return;
        }
        self.delimiters[self.count] = delimiter;
        self.count += 1;
    }
}

/// The boundary that the body's first line looks like: two dashes before it and a part's head behind it.
fn first_line(body: &[u8]) -> Option<&[u8]> {
    let line = body.strip_prefix(b"--")?.split(|byte| *byte == b'\n').next()?;
    let next = &body[line.len() + 2..];
    let has_head = next.get(1..9).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    has_head.then_some(line.trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundaries(content_types: &[&str], body: &str) -> (Vec<String>, bool) {
        let boundaries = Boundaries::of(content_types.iter().map(|text| text.as_bytes()), body.as_bytes());
        let text = |delimiter: &Delimiter| String::from_utf8_lossy(&delimiter.as_bytes()[2..]).into_owned();
        (boundaries.as_slice().iter().map(text).collect(), boundaries.disputed)
    }

    #[test]
    fn a_usual_field_has_one_reading() {
        for field in [
            "multipart/form-data; boundary=x",
            "multipart/form-data; Boundary=\"x\"; charset=utf-8",
            "multipart/form-data;boundary = x ;a=b",
        ] {
            let expected = (vec!["x".to_owned()], false);
            assert_eq!(boundaries(&[field], "--x\r\nContent-Disposition: form-data"), expected, "{field}");
        }
    }

    #[test]
    fn every_reading_of_an_odd_field_is_kept() {
        let cases: [(&str, &[&str]); 6] = [
            ("multipart/form-data; boundary=q; boundary=x", &["q", "x"]),
            ("multipart/form-data; xboundary=q; boundary=\"x\"", &["q", "x"]),
            ("multipart/form-data; boundary=x,y z", &["x", "x,y z"]),
            ("multipart/form-data; boundary=\"x\\\"y\"", &["x\\", "x\\\"y", "x\"y"]),
            ("multipart/form-data; boundary*=utf-8''%78; boundary=q", &["utf-8''%78", "x", "q"]),
            ("multipart/form-data; boundary*0=a; boundary*1=b", &["a", "b", "ab"]),
        ];
        for (field, expected) in cases {
            let (found, disputed) = boundaries(&[field], "");
            assert_eq!(found, expected, "{field}");
            assert!(disputed, "{field}");
        }
        assert_eq!(boundaries(&["multipart/x; boundary=q", "a/b; boundary=x"], "").0, ["q", "x"]);
    }

    #[test]
    fn mentions_without_end_are_read_up_to_a_limit() {
        let read = |field: String| Boundaries::of([field.as_bytes()].into_iter(), b"");
        for mention in ["boundary=", "boundary", "boundary=\"", "boundary*=", "boundary=x;"] {
            let few = read(format!("multipart/mixed; {}=", mention.repeat(MENTIONS_MAX)));
            assert!(!few.is_over && few.mentions == MENTIONS_MAX, "{mention}");
            let many = read(format!("multipart/mixed; {}=", mention.repeat(4 * MENTIONS_MAX)));
            assert!(many.is_over && many.disputed && many.mentions == MENTIONS_MAX, "{mention}");
        }
    }

    #[test]
    fn what_is_not_kept_is_disputed() {
        let long = format!("multipart/form-data; boundary={}", "a".repeat(257));
        assert_eq!(boundaries(&[&long], ""), (vec![], true));
        let many = "multipart/form-data; boundary=a; boundary=b; boundary=c; boundary=d; boundary=e";
        assert_eq!(boundaries(&[many], "").0.len(), 4);
        assert_eq!(boundaries(&["boundary", "text/plain", ""], "text"), (vec![], false));
        let far = format!("multipart/form-data; boundary=x{}y", " ".repeat(2000));
        assert_eq!(boundaries(&[&far], ""), (vec!["x".to_owned()], true));
    }
}
