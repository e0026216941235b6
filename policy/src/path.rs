//! The path as locations and conditions see it: percent-encoded unreserved characters decoded, the digits of other
//! percent-encodings in upper case, repeated slashes merged, dot segments removed. What is forwarded isn't touched.

use crate::bytes;

/// Whether RFC 3986 section 2.3 calls the character unreserved.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(crate) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The character that the bytes start with when they are `%` and two hex digits.
pub(crate) fn percent_decoded(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

/// Whether the character can stand in the path of a request without being encoded.
const fn is_sent_raw(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'?')
}

/// Appends the bytes with percent-encoded unreserved characters decoded and other percent-encodings in upper case
/// (RFC 3986 sections 6.2.2.1 and 6.2.2.2).
pub(crate) fn normalise_encodings(raw: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < raw.len() {
        at += match percent_decoded(&raw[at..]) {
            Some(byte) if is_unreserved(byte) => {
                out.push(byte);
                3
            }
            Some(byte) => {
                push_encoded(byte, out);
                3
            }
            None => {
                out.push(raw[at]);
                1
            }
        };
    }
}

fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// The digits of percent-encodings in upper case.
pub(crate) fn upper_case_encodings(text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    for at in 0..out.len() {
        if percent_decoded(&out[at..]).is_some() {
            out[at + 1..at + 3].make_ascii_uppercase();
        }
    }
    out
}

/// A path as a config says it, in the encoding in which it is compared: what requests can't hold as it is (spaces,
/// controls, all that isn't ASCII) is percent-encoded, and what is encoded is so in the normalised way.
pub(crate) fn encoded(path: &str) -> Vec<u8> {
    let mut sendable = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        if is_sent_raw(byte) {
            sendable.push(byte);
        } else {
            push_encoded(byte, &mut sendable);
        }
    }
    let mut out = Vec::with_capacity(sendable.len());
    normalise_encodings(&sendable, &mut out);
    out
}

/// The text with reserved characters decoded that clients may send as they are, if it encodes any: `/a:b` for `/a%3Ab`.
///
/// What means something to some server in that form (`/`, `\\`, `;` and `%`) stays encoded.
pub(crate) fn needlessly_encoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let decoded = percent_decoded(&text[at..])
            .filter(|byte| is_sent_raw(*byte) && !is_unreserved(*byte) && !b"/\\;%".contains(byte));
        out.push(decoded.unwrap_or(text[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    (out.len() < text.len()).then_some(out)
}

/// The first percent-encoding with a digit in lower case, which no normalised path holds.
pub(crate) fn lower_case_encoding(text: &str) -> Option<&str> {
    let is_one = |at: &usize| {
        let encoding = text.as_bytes().get(*at..*at + 3);
        encoding
            .is_some_and(|bytes| percent_decoded(bytes).is_some() && bytes.iter().any(u8::is_ascii_lowercase))
    };
    let at = (0..text.len()).find(is_one)?;
    text.get(at..at + 3)
}

/// The deepest segment that is kept apart, counted from 0.
pub(crate) const MAX_SEGMENT: u32 = 255;

/// Slashes around so many segments.
const MAX_SLASHES: usize = MAX_SEGMENT as usize + 2;

/// Buffers for a path, reused from request to request.
#[derive(Debug)]
pub(crate) struct PathScratch {
    buffer: Vec<u8>,
    slashes: [u32; MAX_SLASHES],
}

impl Default for PathScratch {
    fn default() -> Self {
        Self { buffer: Vec::new(), slashes: [0; MAX_SLASHES] }
    }
}

/// A normalised path and its parts (spec S3.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where its first slashes are; none if it doesn't start with one.
    slashes: &'a [u32],
    /// What is behind its last slash starts here; 0 if there is none.
    action_start: usize,
    /// There, the first dot, or the end.
    name_end: usize,
    /// There, what is behind the last dot; 0 without a dot.
    extension_start: usize,
}

impl<'a> Path<'a> {
    /// Normalises a path as received.
    ///
    /// An empty path is `/`. Dot segments that lead above the root are dropped. A path that doesn't start with a slash
    /// (the `*` of OPTIONS) stays as it is.
    #[inline]
    pub(crate) fn normalise(raw: &'a [u8], scratch: &'a mut PathScratch) -> Self {
        let PathScratch { buffer, slashes } = scratch;
        let mut bytes = if raw.is_empty() { b"/" } else { raw };
        let mut found = find_slashes(bytes, slashes);
        if found.needs_work && bytes[0] == b'/' {
            rewrite(raw, buffer);
            bytes = buffer;
            found = find_slashes(bytes, slashes);
        }
        let slashes = if bytes[0] == b'/' { &slashes[..found.count.min(MAX_SLASHES)] } else { &[] };
        let Slashes { behind_last: action_start, name_end, extension_start, .. } = found;
        Self { bytes, slashes, action_start, name_end, extension_start }
    }

    /// A segment before the last one, counted from 0.
    pub(crate) fn segment(&self, index: u32) -> Option<&'a [u8]> {
        let start = *self.slashes.get(index as usize)? as usize + 1;
        let end = *self.slashes.get(index as usize + 1)? as usize;
        self.bytes.get(start..end)
    }

    /// The last segment up to its first dot.
    pub(crate) fn action_name(&self) -> &'a [u8] {
        self.bytes.get(self.action_start..self.name_end).unwrap_or_default()
    }

    /// The last segment from its last dot on.
    pub(crate) fn action_ext(&self) -> Option<&'a [u8]> {
        if self.extension_start == 0 { None } else { self.bytes.get(self.extension_start..) }
    }
}

/// What a search for slashes finds.
#[derive(Debug, Clone, Copy)]
struct Slashes {
    count: usize,
    /// What follows the last one starts here; 0 if there is none.
    behind_last: usize,
    /// The first dot behind it, or the end.
    name_end: usize,
    /// What follows the last dot behind it; 0 without one.
    extension_start: usize,
    /// There is `%`, `//` or `/.`, so that the path may not be normalised.
    needs_work: bool,
}

/// What 64 bytes hold, a bit for each, the lowest one for the first.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    slashes: u64,
    dots: u64,
    /// Not 0 if there is a `%`.
    percents: u64,
}

impl Marks {
    /// Those of at most 64 bytes.
    #[inline(always)]
    fn of(bytes: &[u8]) -> Self {
        let mut marks = Self::default();
        bytes::for_each_block(bytes, |at, block| {
            marks.slashes |= block.equal(b'/') << at;
            marks.dots |= block.equal(b'.') << at;
            marks.percents |= block.equal(b'%');
        });
        marks
    }
}

/// Writes down where the first slashes of a path are, and what else one pass finds.
#[inline]
fn find_slashes(path: &[u8], slashes: &mut [u32; MAX_SLASHES]) -> Slashes {
    let mut found =
        Slashes { count: 0, behind_last: 0, name_end: path.len(), extension_start: 0, needs_work: false };
    let mut start = 0;
    // the block before ended in a slash
    let mut slash_before = 0;
    loop {
        let end = path.len().min(start + 64);
        let marks = Marks::of(&path[start..end]);
        let behind_slashes = marks.slashes << 1 | slash_before;
        found.needs_work |= behind_slashes & (marks.slashes | marks.dots) | marks.percents != 0;
        let mut left = marks.slashes;
        while left != 0 {
            let at = start + left.trailing_zeros() as usize;
            if let Some(place) = slashes.get_mut(found.count) {
                *place = at as u32;
            }
            found.count += 1;
            left &= left - 1;
        }
        let mut dots = marks.dots;
        if marks.slashes != 0 {
            let last = 63 - marks.slashes.leading_zeros();
            found.behind_last = start + last as usize + 1;
            dots &= (u64::MAX << 1) << last;
            (found.name_end, found.extension_start) = (path.len(), 0);
        }
        if dots != 0 {
            if found.extension_start == 0 {
                found.name_end = start + dots.trailing_zeros() as usize;
            }
            found.extension_start = start + 64 - dots.leading_zeros() as usize;
        }
        if end == path.len() {
            return found;
        }
        slash_before = marks.slashes >> 63;
        start = end;
    }
}

/// Writes the normalised form of a path that starts with a slash.
fn rewrite(raw: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    let mut at = 0;
    while at < raw.len() {
        let (byte, width) = match percent_decoded(&raw[at..]) {
            Some(byte) if is_unreserved(byte) => (byte, 3),
            Some(byte) => {
                push_encoded(byte, buffer);
                at += 3;
                continue;
            }
            None => (raw[at], 1),
        };
        at += width;
        if byte == b'/' {
            end_segment(buffer);
        } else {
            buffer.push(byte);
        }
    }
    // a last dot segment leaves its slash behind
    if let Some(kept) = without_dot_segment(buffer) {
        buffer.truncate(kept);
    }
}

/// Appends the slash that ends the last segment of `buffer`, unless that segment is empty or a dot segment.
fn end_segment(buffer: &mut Vec<u8>) {
    if let Some(kept) = without_dot_segment(buffer) {
        buffer.truncate(kept);
    } else if buffer.last() != Some(&b'/') {
        buffer.push(b'/');
    }
}

/// The length, slash included, that remains of a path whose last segment is `.` or `..`.
fn without_dot_segment(path: &[u8]) -> Option<usize> {
    if path.ends_with(b"/.") {
        return Some(path.len() - 1);
    }
    let parent = path.strip_suffix(b"/..")?;
    Some(parent.iter().rposition(|&byte| byte == b'/').map_or(1, |slash| slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        let table: [(&str, &str); 27] = [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("*", "*"),
            ("/a/b", "/a/b"),
            ("/a//b///c", "/a/b/c"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/../../x", "/x"),
            ("/a/..", "/"),
            ("/a//../b", "/b"),
            ("/%61%2Db", "/a-b"),
            ("/%2e%2E/x", "/x"),
            ("/a/%2e./b", "/b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf%c3%a9%3a/%zc", "/caf%C3%A9%3A/%zc"),
            ("/%%c3%a", "/%%C3%a"),
            ("/a%20b%zz%4", "/a%20b%zz%4"),
            ("/...", "/..."),
            ("/.hidden", "/.hidden"),
            ("/..a/b..", "/..a/b.."),
            ("/%2561", "/%2561"),
            ("/a/%2E", "/a/"),
        ];
        for (raw, expected) in table {
            let mut scratch = PathScratch { buffer: b"left over".to_vec(), slashes: [7; MAX_SLASHES] };
            let path = Path::normalise(raw.as_bytes(), &mut scratch);
            assert_eq!(path.bytes, expected.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn the_last_segment_is_split_at_its_first_and_last_dot() {
        let table: [(&str, &str, Option<&str>); 7] = [
            ("", "", None),
            ("login", "login", None),
            ("index.php", "index", Some("php")),
            ("cb-common.ffc63abe.chunk.js.map", "cb-common", Some("map")),
            (".htaccess", "", Some("htaccess")),
            ("a.", "a", Some("")),
            (".", "", Some("")),
        ];
        for (action, name, extension) in table {
            let expected = (name.as_bytes(), extension.map(str::as_bytes));
            for before in ["x/", "/", "/a.b/", "/a.b/.c/d/", "/aa.bbb/"] {
                // a last segment `.` of a path from `/` on is normalised away
                if action == "." && before.starts_with('/') {
                    continue;
                }
                let text = format!("{before}{action}");
                let mut scratch = PathScratch::default();
                let path = Path::normalise(text.as_bytes(), &mut scratch);
                assert_eq!((path.action_name(), path.action_ext()), expected, "{text}");
            }
        }
    }

    #[test]
    fn paths_of_configs_are_brought_into_the_encoding_of_requests() {
        for (path, expected) in [
            ("/a b", "/a%20b"),
            ("/café", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%61#\u{1}\u{7f}", "/a%23%01%7F"),
            ("/$m:q@d+e", "/$m:q@d+e"),
            ("/%24m%2f", "/%24m%2F"),
        ] {
            assert_eq!(String::from_utf8_lossy(&encoded(path)), expected, "{path}");
        }
        for (path, expected) in
            [("/%24m%2F", Some("/$m%2F")), ("/%2F%5C%3B%25%3F%23%20%C3", None), ("/$m%zz%2", None)]
        {
            let found = needlessly_encoded(path.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path}");
        }
        assert_eq!(lower_case_encoding("^é%C3%a9"), Some("%a9"));
        assert_eq!(lower_case_encoding("^%C3%[aA]9%2"), None);
        assert_eq!(upper_case_encodings(b"%61b%c3c%zz"), b"%61b%C3c%zz");
    }

    fn places_of_slashes(text: &str) -> Vec<u32> {
        (0..).zip(text.bytes()).filter(|&(_, byte)| byte == b'/').map(|(at, _)| at).collect()
    }

    /// Every place in a word for what one pass has to see.
    #[test]
    fn slashes_and_work_are_found_wherever_they_are() {
        for length in 1..20 {
            let plain = "a".repeat(length);
            for (odd, needs_work) in
                [("%", true), ("//", true), ("/.", true), ("./", false), ("/", false), ("a.", false)]
            {
                let text = format!("/{plain}{odd}{plain}");
                let mut slashes = [0; MAX_SLASHES];
                let found = find_slashes(text.as_bytes(), &mut slashes);
                assert_eq!(found.needs_work, needs_work, "{text}");
                let expected = places_of_slashes(&text);
                assert_eq!(&slashes[..found.count], expected, "{text}");
                assert_eq!(found.behind_last as u32, expected.last().unwrap() + 1, "{text}");
            }
        }
    }

    /// What is looked for may stand on both sides of the end of a block of 64 bytes.
    #[test]
    fn long_paths_are_cut_wherever_short_ones_are() {
        for length in 55..75 {
            let plain = "a".repeat(length);
            for (odd, needs_work) in [("//", true), ("/.", true), ("%", true), ("./", false), ("..", false)] {
                for (name, extension) in [("b", None), ("b.c.d", Some("d")), (".", Some(""))] {
                    let text = format!("/{plain}{odd}x/{plain}{name}");
                    let mut slashes = [0; MAX_SLASHES];
                    let found = find_slashes(text.as_bytes(), &mut slashes);
                    assert_eq!(found.needs_work, needs_work, "{text}");
                    let expected = places_of_slashes(&text);
                    assert_eq!(&slashes[..found.count], expected, "{text}");
                    let action = text.rsplit('/').next().unwrap();
                    let start = text.len() - action.len();
                    assert_eq!(found.behind_last, start, "{text}");
                    assert_eq!(found.name_end, start + action.find('.').unwrap_or(action.len()), "{text}");
                    let expected = extension.map_or(0, |extension| text.len() - extension.len());
                    assert_eq!(found.extension_start, expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn segments_behind_the_deepest_one_still_have_an_action() {
        let deep = "/a".repeat(MAX_SLASHES + 5);
        let text = format!("{deep}/b.c");
        let mut scratch = PathScratch::default();
        let path = Path::normalise(text.as_bytes(), &mut scratch);
        assert_eq!((path.action_name(), path.action_ext()), (&b"b"[..], Some(&b"c"[..])));
        assert_eq!(path.segment(MAX_SEGMENT), Some(&b"a"[..]));
        let text = "/a".repeat(MAX_SEGMENT as usize + 1);
        let path = Path::normalise(text.as_bytes(), &mut scratch);
        assert_eq!((path.segment(MAX_SEGMENT - 1), path.segment(MAX_SEGMENT)), (Some(&b"a"[..]), None));
    }

    #[test]
    fn segments_before_the_last_one_are_counted() {
        let mut scratch = PathScratch::default();
        let path = Path::normalise(b"/a//bc/d", &mut scratch);
        let segments = [0, 1, 2, 3].map(|index| path.segment(index));
        assert_eq!(segments, [Some(&b"a"[..]), Some(b"bc"), None, None]);
        assert_eq!(Path::normalise(b"x/y/z", &mut scratch).segment(0), None);
    }
}
