//! The ways in which servers read a path that is written oddly.
//!
//! Policy sees a path with percent-encoded unreserved characters, repeated slashes and dot segments normalised. An origin
//! may do more, less, or the same in another order: decode `%2f`, take `\` for a slash, drop `;parameters`, decode twice,
//! keep repeated slashes. A client that knows its origin could so reach one place while policy looks at another. The
//! readings here are what such a path may mean; who decides takes the strictest of them.

/// More decoding than this is done by nobody.
const DECODINGS_MAX: usize = 2;

/// How many readings a path has beside the literal one.
const READINGS: usize = 6;

/// Buffers for the readings of a path, reused from request to request.
#[derive(Debug, Default)]
pub struct PathReadings {
    readings: [Vec<u8>; READINGS],
    spare: Vec<u8>,
}

impl PathReadings {
    /// What `path` may mean to a server, or nothing if all servers read it alike. Readings may equal each other.
    ///
    /// Each is to be normalised like any path. A path that doesn't start with a slash has no other reading. What can't
    /// stand in a path as it is (spaces, controls, all that isn't ASCII) stays encoded in all of them.
    #[inline]
    pub fn of(&mut self, path: &[u8]) -> &[Vec<u8>] {
        if looks_plain(path) || !path.starts_with(b"/") {
            return &[];
        }
        if is_ambiguous(path) {
            self.read(path);
            return &self.readings;
        }
        if !holds_encoded_reserved(path) {
            return &[];
        }
        // `/%24x`: nothing that divides paths, so that all servers read one of two names in it.
        decode(path, 1, &mut self.readings[0]);
        &self.readings[..1]
    }

    /// Whether these, which are all readings of a path beside the literal one, may divide it into segments in different
    /// ways.
    pub const fn divide_differently(readings: &[Vec<u8>]) -> bool {
        readings.len() == READINGS
    }

    /// A reading of the path asked for last.
    pub fn get(&self, number: usize) -> &[u8] {
        self.readings.get(number).map_or(&[], Vec::as_slice)
    }

    fn read(&mut self, path: &[u8]) {
        let Self { readings: [decoded, folded, stripped_first, decoded_twice, kept, unmerged], spare } = self;
        decode(path, 1, decoded);
        slashes_for_backslashes(decoded, spare);
        strip_parameters(spare, folded);
        strip_parameters(path, spare);
        decode(spare, 1, stripped_first);
        stripped_first.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        decode(path, DECODINGS_MAX, decoded_twice);
        slashes_for_backslashes(decoded_twice, spare);
        strip_parameters(spare, decoded_twice);
        keep_odd_segments(path, kept);
        resolve_without_merging(path, unmerged);
    }
}

/// Whether nothing in the path needs a second look: one pass without branches.
#[inline]
fn looks_plain(path: &[u8]) -> bool {
    let odd = path.iter().fold(false, |odd, byte| odd | matches!(byte, b'%' | b'\\' | b';'));
    let behind = path.get(1..).unwrap_or_default();
    let pairs = path.iter().zip(behind);
    !pairs.fold(odd, |odd, (first, second)| odd | ((*first == b'/') & matches!(second, b'/' | b'.')))
}

/// Whether servers may differ over the path.
fn is_ambiguous(path: &[u8]) -> bool {
    let is_odd_byte = |at: usize| match path[at] {
        b'\\' | b';' => true,
        b'%' => matches!(decoded_at(&path[at..]), Some(b'/' | b'\\' | b';' | b'%' | b'.')),
        _ => false,
    };
    (0..path.len()).any(is_odd_byte)
        || segments(path).any(is_dot_segment)
        || path.windows(2).any(|two| two == b"//")
}

/// Whether decoding changes what isn't normalised anyway.
fn holds_encoded_reserved(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).any(|at| {
        decoded_at(&path[at..]).is_some_and(|byte| {
            is_sent_raw(byte) && !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        })
    })
}

/// Whether the character can stand in the path of a request without being encoded.
fn is_sent_raw(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'?')
}

/// What a server reads at the start of the bytes where it decodes, and from how many of them.
fn read_at(bytes: &[u8]) -> (u8, usize) {
    match decoded_at(bytes) {
        // A `%` that would begin no encoding is the character itself.
        Some(b'%') if !begins_with_two_digits(&bytes[3..]) => (b'%', 1),
        Some(byte) if is_sent_raw(byte) => (byte, 3),
        _ => (bytes[0], 1),
    }
}

/// Whether two hex digits come next, encoded ones counted.
fn begins_with_two_digits(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    (0..2).all(|_| {
        let (byte, width) = match (rest.first(), decoded_at(rest)) {
            (_, Some(byte)) => (byte, 3),
            (Some(byte), None) => (*byte, 1),
            (None, None) => return false,
        };
        rest = &rest[width..];
        byte.is_ascii_hexdigit()
    })
}

fn decoded_at(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    match bytes {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// Decodes percent-encoded characters that can stand in a path as they are, so many times over.
fn decode(path: &[u8], times: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(path);
    for _ in 0..times {
        let mut written = 0;
        let mut at = 0;
        while at < out.len() {
            let (byte, width) = read_at(&out[at..]);
            out[written] = byte;
            written += 1;
            at += width;
        }
        out.truncate(written);
    }
}

fn slashes_for_backslashes(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend(path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }));
}

/// Drops `;` and what follows it in each segment.
fn strip_parameters(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut in_parameters = false;
    for byte in path {
        in_parameters = (in_parameters || *byte == b';') && *byte != b'/';
        if !in_parameters {
            out.push(*byte);
        }
    }
}

/// What stands between slashes, the empty start before the first one left out.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(1)
}

/// How many dots a segment consists of, encoded ones counted; none if there is anything else in it.
fn dots(segment: &[u8]) -> Option<usize> {
    let mut rest = segment;
    let mut count = 0;
    while let Some(first) = rest.first() {
        let width = match (first, decoded_at(rest)) {
            (b'.', _) => 1,
            (_, Some(b'.')) => 3,
            _ => return None,
        };
        rest = &rest[width..];
        count += 1;
    }
    Some(count)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(dots(segment), Some(1 | 2))
}

/// The path of a server that leaves dot segments and empty ones as they are: they become ordinary names here, which no
/// normalisation takes away.
fn keep_odd_segments(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = segments(path).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        let is_odd = is_dot_segment(segment) || (segment.is_empty() && !is_last);
        out.push(b'/');
        out.extend_from_slice(if is_odd { b"..." } else { segment });
    }
}

/// The path of a server that resolves dot segments without merging slashes first: an empty segment is one that `..` can
/// remove.
fn resolve_without_merging(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for segment in segments(path) {
        match dots(segment) {
            Some(1) => {}
            Some(2) => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let mut readings = PathReadings::default();
        let all = readings.of(path.as_bytes()).iter();
        all.map(|reading| String::from_utf8_lossy(reading).into_owned()).collect()
    }

    #[test]
    fn plain_paths_have_one_reading() {
        for path in [
            "",
            "*",
            "/",
            "/a",
            "/a/b.c",
            "/a/",
            "/.well-known/x",
            "/a/...",
            "/a/.b/..c/d..",
            "/a%20b",
            "/caf%C3%A9",
            "/caf%c3%a9/%20%00%23%3f%7F",
            "/%61%2d",
            "/a=b,c!d",
            "/%zz%2",
            "a/../b",
        ] {
            assert_eq!(readings(path), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn odd_paths_have_all_their_readings() {
        // Path; decoded, folded, stripped first, decoded twice, kept, unmerged; `=` is the path itself.
        let table: [(&str, [&str; READINGS]); 9] = [
            ("/off/..%2fx", ["/off/../x", "/off/../x", "/off/../x", "/off/../x", "=", "="]),
            ("/off/..%5Cx", ["/off/..\\x", "/off/../x", "/off/../x", "/off/../x", "=", "="]),
            ("/off/..\\x", ["=", "/off/../x", "/off/../x", "/off/../x", "=", "="]),
            ("/off/..;a=b/x", ["=", "/off/../x", "/off/../x", "/off/../x", "=", "="]),
            ("/off/..%3b/x", ["/off/..;/x", "/off/../x", "/off/..;/x", "/off/../x", "=", "="]),
            ("/off/..%252fx", ["/off/..%2fx", "/off/..%2fx", "/off/..%2fx", "/off/../x", "=", "="]),
            ("/a;b%2fc/d", ["/a;b/c/d", "/a/c/d", "/a/d", "/a/c/d", "=", "="]),
            ("/php/../off", ["=", "=", "=", "=", "/php/.../off", "/off"]),
            (
                "/php//%2e./off/.",
                [
                    "/php//../off/.",
                    "/php//../off/.",
                    "/php//../off/.",
                    "/php//../off/.",
                    "/php/.../.../off/...",
                    "/php/off",
                ],
            ),
        ];
        for (path, expected) in table {
            let expected = expected.map(|reading| if reading == "=" { path } else { reading });
            assert_eq!(readings(path), expected, "{path}");
        }
    }

    #[test]
    fn encoded_reserved_characters_are_read_decoded_too() {
        for (path, decoded) in [
            ("/%24meta", "/$meta"),
            ("/p%3aq", "/p:q"),
            ("/c%40d/e%2Bf", "/c@d/e+f"),
            ("/a%20b%c3%a9%21", "/a%20b%c3%a9!"),
        ] {
            assert_eq!(readings(path), [decoded], "{path}");
        }
        // An encoded `%` that begins nothing stays what it is.
        for path in ["/100%25", "/100%25/x", "/%25%C3%A9", "/%25%7a1"] {
            assert!(readings(path).iter().all(|reading| reading == path || path == "/%25%7a1"), "{path}");
        }
        assert_eq!(readings("/%25%32%46")[0], "/%2F");
    }

    #[test]
    fn paths_that_lead_above_the_root_stay_below_it() {
        for path in ["/..", "/../..", "/%2e%2e/%2e%2e", "//..//..", "/.", "//"] {
            for reading in readings(path) {
                assert!(reading.starts_with('/'), "{path}: {reading}");
            }
        }
    }
}
