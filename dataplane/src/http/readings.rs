//! The ways in which servers read a path that is written oddly.
//!
//! Policy sees a path with percent-encoded unreserved characters, repeated slashes and dot segments normalised. An origin
//! may do more, less, or the same in another order: decode `%2f`, take `\` for a slash, drop `;parameters`, decode twice,
//! keep repeated slashes. A client that knows its origin could so reach one place while policy looks at another. The
//! readings here are what such a path may mean; who decides takes the strictest of them.
//!
//! A reading is a [`Base`] and the [`Step`]s that follow. What comes out is written so that the normalisation of policy
//! changes nothing in it: what a server decodes once must not be decoded again behind its back, or `%252e%252e` would
//! take away the segment that this server serves.

use Step::{Backslashes, Decode, DecodeWide, Merge, Parameters, Resolve};

/// What a server does to a path, in the order of the steps of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Decodes all percent-encodings, once.
    Decode,
    /// The same with the form `%uhhhh`.
    DecodeWide,
    /// Takes `\` for `/`.
    Backslashes,
    /// Drops `;` and what follows it in each segment.
    Parameters,
    /// Removes dot segments; an empty segment is one that `..` can remove.
    Resolve,
    /// Merges slashes and removes dot segments.
    Merge,
}

/// What several readings begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// Unreserved characters decoded.
    Written,
    /// That, with [`Step::Merge`]: what policy sees first.
    Normalised,
    /// Decoded.
    Decoded,
    /// That, with [`Step::Merge`].
    Resolved,
    /// Decoded twice.
    Twice,
    /// Parameters dropped, then decoded.
    ParametersFirst,
    /// Decoded with the form `%uhhhh`.
    Wide,
}

const BASES: usize = Base::Wide as usize + 1;

/// All readings beside the normalised one. One without a step that would change nothing is in here as well, so that
/// [`is_superfluous`] may pass over the one that has it.
const READINGS: [(Base, &[Step]); 28] = [
    (Base::Written, &[]),
    (Base::Written, &[Resolve]),
    (Base::Written, &[Resolve, Merge]),
    (Base::Written, &[Backslashes, Resolve]),
    (Base::Written, &[Parameters, Merge]),
    (Base::Normalised, &[Decode]),
    (Base::Normalised, &[Decode, Merge]),
    (Base::Normalised, &[Parameters, Decode, Merge]),
    (Base::Decoded, &[]),
    (Base::Decoded, &[Merge]),
    (Base::Decoded, &[Resolve]),
    (Base::Decoded, &[Backslashes, Merge]),
    (Base::Decoded, &[Parameters, Merge]),
    (Base::Decoded, &[Backslashes, Parameters, Merge]),
    (Base::Decoded, &[Backslashes, Merge, Parameters, Merge]),
    (Base::Resolved, &[Parameters, Merge]),
    (Base::Resolved, &[Decode, Merge]),
    (Base::Resolved, &[Parameters, Decode, Merge]),
    (Base::Twice, &[Merge]),
    (Base::Twice, &[Backslashes, Merge]),
    (Base::Twice, &[Parameters, Merge]),
    (Base::Twice, &[Backslashes, Parameters, Merge]),
    (Base::ParametersFirst, &[Merge]),
    (Base::ParametersFirst, &[Backslashes, Merge]),
    (Base::ParametersFirst, &[Decode, Merge]),
    (Base::Wide, &[Backslashes, Merge]),
    (Base::Wide, &[Backslashes, Merge, Parameters, Merge]),
    (Base::Wide, &[DecodeWide, Backslashes, Merge]),
];

/// The most readings of one path, the normalised one included.
const READINGS_MAX: usize = READINGS.len() + 1;

const _: () = assert!(READINGS_MAX <= weir_policy::READINGS_MAX);

/// Which readings of a path can differ from others.
#[derive(Debug, Clone, Copy)]
struct Oddities {
    backslashes: bool,
    parameters: bool,
    encoded_twice: bool,
    wide: bool,
}

/// Buffers for the readings of a path, reused from request to request.
#[derive(Debug, Default)]
pub struct PathReadings {
    /// Those of this path come first.
    readings: Vec<Vec<u8>>,
    bases: [Vec<u8>; BASES],
    work: Vec<u8>,
    spare: Vec<u8>,
    /// How many of the readings are of this path.
    count: usize,
    divides_differently: bool,
}

impl PathReadings {
    /// What `path` may mean to a server beside its normalised form, each meaning once; nothing if all servers read it
    /// alike.
    ///
    /// Each is written as the normalised path is, and normalising it changes nothing. Dot segments and empty segments that
    /// a server keeps are `...`. What can't stand in a path as it is (spaces, controls, all that isn't ASCII) and a `%`
    /// are encoded. A path that doesn't start with a slash has no other reading.
    #[inline]
    pub fn of(&mut self, path: &[u8]) -> &[Vec<u8>] {
        self.count = 0;
        self.divides_differently = false;
        if looks_plain(path) || !path.starts_with(b"/") {
            return &[];
        }
        let ambiguous = is_ambiguous(path);
        if ambiguous || holds_encoded_reserved(path) {
            self.read(path, ambiguous);
        }
        &self.readings[..self.count]
    }

    /// Whether the readings of the path asked for last may divide it into segments in different ways.
    pub const fn divides_differently(&self) -> bool {
        self.divides_differently
    }

    /// A reading of the path asked for last.
    pub fn get(&self, number: usize) -> &[u8] {
        self.readings.get(number).map_or(&[], Vec::as_slice)
    }

    /// The normalised form of a path, and with `others` what else it may mean: at least one.
    pub fn forms<'a>(&'a mut self, path: &'a [u8], others: bool) -> impl Iterator<Item = &'a [u8]> {
        let is_plain = looks_plain(path) || !path.starts_with(b"/");
        if others {
            self.of(path);
        } else {
            self.count = 0;
        }
        if !is_plain && self.count == 0 {
            self.fill_normalised(path);
        }
        let normalised = if is_plain { path } else { &self.bases[Base::Normalised as usize] };
        std::iter::once(normalised).chain(self.readings[..self.count].iter().map(Vec::as_slice))
    }

    /// Whether the normalised form of the path divides it otherwise than its slashes do.
    pub fn normalising_divides(&mut self, path: &[u8]) -> bool {
        if looks_plain(path) || !path.starts_with(b"/") {
            return false;
        }
        self.fill_normalised(path);
        self.bases[Base::Written as usize] != self.bases[Base::Normalised as usize]
    }

    fn fill_normalised(&mut self, path: &[u8]) {
        let [written, normalised, ..] = &mut self.bases;
        write_normalised(path, written);
        merge(written, normalised);
    }

    #[cold]
    #[inline(never)]
    fn read(&mut self, path: &[u8], ambiguous: bool) {
        let oddities = self.fill_bases(path);
        if !ambiguous {
            // `/%24x`: nothing that divides paths, so that all servers read one of two names in it.
            return self.add(Base::Resolved, &[]);
        }
        for (base, steps) in READINGS {
            if !is_superfluous(base, steps, oddities) {
                self.add(base, steps);
            }
        }
        self.divides_differently = self.count > 0;
    }

    fn fill_bases(&mut self, path: &[u8]) -> Oddities {
        self.fill_normalised(path);
        let Self { bases, spare, .. } = self;
        let [_, _, decoded, resolved, twice, parameters_first, wide] = bases;
        decode(path, false, decoded);
        merge(decoded, resolved);
        decode(decoded, false, twice);
        drop_parameters(path, spare);
        decode(spare, false, parameters_first);
        decode(path, true, wide);
        Oddities {
            backslashes: twice.contains(&b'\\'),
            parameters: twice.contains(&b';'),
            encoded_twice: decoded != twice,
            wide: decoded.windows(2).any(|two| two[0] == b'%' && matches!(two[1], b'u' | b'U')),
        }
    }

    /// Adds a reading unless it is known.
    fn add(&mut self, base: Base, steps: &[Step]) {
        let Self { readings, bases, work, spare, count, .. } = self;
        work.clear();
        work.extend_from_slice(&bases[base as usize]);
        for step in steps {
            match step {
                Decode => decode(work, false, spare),
                DecodeWide => decode(work, true, spare),
                Backslashes => slashes_for_backslashes(work, spare),
                Parameters => drop_parameters(work, spare),
                Resolve => resolve(work, spare),
                Merge => merge(work, spare),
            }
            std::mem::swap(work, spare);
        }
        if *count == readings.len() {
            readings.push(Vec::new());
        }
        let is_decoded = !matches!(base, Base::Written | Base::Normalised) || steps.contains(&Decode);
        let (known, rest) = readings.split_at_mut(*count);
        let Some(reading) = rest.first_mut() else { return };
        write_reading(work, is_decoded, reading);
        if *reading != bases[Base::Normalised as usize] && !known.contains(reading) {
            *count += 1;
        }
    }
}

/// Whether a reading comes to the same as the one without a step that changes nothing.
fn is_superfluous(base: Base, steps: &[Step], oddities: Oddities) -> bool {
    let decodes_twice = match base {
        Base::Twice => true,
        Base::Resolved | Base::ParametersFirst => steps.contains(&Decode),
        _ => false,
    };
    let is_wide = base == Base::Wide;
    (is_wide && !oddities.wide)
        || (decodes_twice && !oddities.encoded_twice)
        || (!is_wide && !oddities.backslashes && steps.contains(&Backslashes))
        || (!is_wide
            && !oddities.parameters
            && (steps.contains(&Parameters) || base == Base::ParametersFirst))
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
        b'%' => {
            matches!(decoded_at(&path[at..]), Some(b'/' | b'\\' | b';' | b'%' | b'.'))
                || wide_at(&path[at..]).is_some()
        }
        _ => false,
    };
    (0..path.len()).any(is_odd_byte)
        || path.split(|byte| *byte == b'/').any(is_dot_segment)
        || path.windows(2).any(|two| two == b"//")
}

/// Whether decoding changes what isn't normalised anyway.
fn holds_encoded_reserved(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path)
        .any(|at| decoded_at(&path[at..]).is_some_and(|byte| is_sent_raw(byte) && !is_unreserved(byte)))
}

/// Whether the character can stand in the path of a request without being encoded.
const fn is_sent_raw(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'?')
}

/// Whether RFC 3986 section 2.3 calls the character unreserved.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// The character that the bytes start with when they are `%` and two hex digits.
fn decoded_at(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    match bytes {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// The character that the bytes start with when they are `%u` and four hex digits: full-width forms as their ASCII
/// look-alikes, halves of surrogate pairs as U+FFFD.
fn wide_at(bytes: &[u8]) -> Option<char> {
    let [b'%', b'u' | b'U', digits @ ..] = bytes else { return None };
    let digits = digits.get(..4)?.iter().map(|byte| (*byte as char).to_digit(16));
    let code = digits.into_iter().try_fold(0, |number, digit| Some(number << 4 | digit?))?;
    let folded = if matches!(code, 0xff01..=0xff5e) { code - 0xff01 + 0x21 } else { code };
    Some(char::from_u32(folded).unwrap_or(char::REPLACEMENT_CHARACTER))
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

fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Decodes percent-encoded unreserved characters, and writes the digits of others in upper case. A `%` that would begin an
/// encoding only afterwards is encoded.
fn write_normalised(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = path;
    while let Some(first) = rest.first() {
        let width = match decoded_at(rest) {
            Some(byte) if is_unreserved(byte) => {
                out.push(byte);
                3
            }
            Some(byte) => {
                push_encoded(byte, out);
                3
            }
            None if *first == b'%' && begins_with_two_digits(&rest[1..]) => {
                push_encoded(b'%', out);
                1
            }
            None => {
                out.push(*first);
                1
            }
        };
        rest = &rest[width..];
    }
}

/// Decodes the percent-encodings of a path once.
pub fn decode_path(path: &[u8], out: &mut Vec<u8>) {
    decode(path, false, out);
}

/// Decodes percent-encodings once, with `wide` also those of the form `%uhhhh`.
fn decode(path: &[u8], wide: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut rest = path;
    while let Some(percent) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..percent]);
        rest = &rest[percent..];
        let width = match (decoded_at(rest), wide_at(rest)) {
            (Some(byte), _) => {
                out.push(byte);
                3
            }
            (None, Some(character)) if wide => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                6
            }
            _ => {
                out.push(b'%');
                1
            }
        };
        rest = &rest[width..];
    }
    out.extend_from_slice(rest);
}

fn slashes_for_backslashes(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend(path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }));
}

fn drop_parameters(path: &[u8], out: &mut Vec<u8>) {
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

fn resolve(path: &[u8], out: &mut Vec<u8>) {
    remove_dots(path, false, out);
}

fn merge(path: &[u8], out: &mut Vec<u8>) {
    remove_dots(path, true, out);
}

/// Removes dot segments, above the root as well (RFC 3986 section 5.2.4); with `merges` empty ones first, but for the
/// last. The last slash stays.
fn remove_dots(path: &[u8], merges: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut rest = segments(path).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        if is_dot_segment(segment) {
            if segment.len() == 2 {
                out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            }
            if is_last {
                out.push(b'/');
            }
        } else if !segment.is_empty() || is_last || !merges {
            out.push(b'/');
            out.extend_from_slice(segment);
        }
    }
}

/// Writes a path as normalised paths are written. Dot segments and empty ones that are left in it become ordinary names,
/// which no normalisation takes away.
fn write_reading(path: &[u8], is_decoded: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut rest = segments(path).peekable();
    while let Some(segment) = rest.next() {
        out.push(b'/');
        if is_dot_segment(segment) || (segment.is_empty() && rest.peek().is_some()) {
            out.extend_from_slice(b"...");
            continue;
        }
        for byte in segment {
            match *byte {
                b'%' if is_decoded => push_encoded(b'%', out),
                byte if is_sent_raw(byte) => out.push(byte),
                byte => push_encoded(byte, out),
            }
        }
    }
}

#[cfg(test)]
mod tests;
