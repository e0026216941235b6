//! The path as locations and conditions see it: percent-encoded unreserved characters decoded, repeated slashes merged,
//! dot segments removed. What is forwarded isn't touched.

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

/// Appends the bytes with percent-encoded unreserved characters decoded.
pub(crate) fn decode_unreserved(raw: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < raw.len() {
        match percent_decoded(&raw[at..]) {
            Some(byte) if is_unreserved(byte) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(raw[at]);
                at += 1;
            }
        }
    }
}

/// The normalised path: `raw` itself where nothing is to be done, otherwise `buffer`, which is overwritten.
///
/// An empty path is `/`. Dot segments that lead above the root are dropped. A path that doesn't start with a slash (the
/// `*` of OPTIONS) stays as it is.
pub(crate) fn normalise<'a>(raw: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if raw.is_empty() {
        return b"/";
    }
    if raw[0] != b'/' || !needs_work(raw) {
        return raw;
    }
    buffer.clear();
    let mut at = 0;
    while at < raw.len() {
        let (byte, width) = match percent_decoded(&raw[at..]) {
            Some(byte) if is_unreserved(byte) => (byte, 3),
            _ => (raw[at], 1),
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
    buffer
}

fn needs_work(raw: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in raw {
        if byte == b'%' || (previous == b'/' && (byte == b'/' || byte == b'.')) {
            return true;
        }
        previous = byte;
    }
    false
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

/// The last segment's name (to its first dot) and extension (after its last dot), spec S3.1.
pub(crate) fn split_action(segment: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(first) = memchr::memchr(b'.', segment) else { return (segment, None) };
    let last = memchr::memrchr(b'.', segment).unwrap_or(first);
    (&segment[..first], Some(&segment[last + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        let table: [(&str, &str); 24] = [
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
            ("/a%20b%zz%4", "/a%20b%zz%4"),
            ("/...", "/..."),
            ("/.hidden", "/.hidden"),
            ("/..a/b..", "/..a/b.."),
            ("/%2561", "/%2561"),
            ("/a/%2E", "/a/"),
        ];
        for (raw, expected) in table {
            let mut buffer = b"left over".to_vec();
            assert_eq!(normalise(raw.as_bytes(), &mut buffer), expected.as_bytes(), "{raw}");
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
        for (segment, name, extension) in table {
            let expected = (name.as_bytes(), extension.map(str::as_bytes));
            assert_eq!(split_action(segment.as_bytes()), expected, "{segment}");
        }
    }
}
