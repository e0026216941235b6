//! Decoders: from bytes as they travel to bytes as an application sees them.

pub(crate) mod base64;
pub(crate) mod entities;
mod escapes;
mod graphql;
pub(crate) mod hex;
pub(crate) mod inflate;
pub(crate) mod json;
mod packed;
pub(crate) mod percent;
mod pieces;
mod unicode;

use crate::arena::{Arena, Step, Value};
use crate::directives::{Parser, ParserSet, Scope};
use crate::limits::OverLimit;
use crate::place::Place;
use crate::reading;
use json::{JsonReader, Target};
use packed::Unpacker;
use percent::Plus;

/// At most this many decoders lie before a value whose percent-encoding is still undone.
const PERCENT_ROUNDS: u8 = 3;

/// After how many values the caller is asked again whether the time is up. Ordinary requests have fewer.
const VALUES_PER_ASKED_TIME: usize = 1024;

/// Decodes what is encoded inside values, again and again within the limits. Reused.
#[derive(Debug, Default)]
pub(crate) struct Expander {
    /// A copy of the value that is being decoded into the arena.
    input: Vec<u8>,
    json: JsonReader,
    unpacker: Unpacker,
}

/// What can be undone in a value that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Percent,
    Base64,
    Hex,
    Entities,
    Escapes,
    LookAlikes,
    Nuls,
    Packed,
    DataUrl,
    Token,
}

impl Expander {
    /// Adds to the arena what decoders make of its values, until nothing new comes, a limit is hit or the time is up. One
    /// decoder at a time is applied to a value and the next to what it made, so that work is linear in the input.
    pub(crate) fn expand(
        &mut self,
        scope: &Scope<'_>,
        arena: &mut Arena,
        time_is_up: &mut dyn FnMut() -> bool,
    ) {
        let mut index = 0;
        self.unpacker.reset();
        while let Some(value) = arena.values().get(index).copied() {
            index += 1;
            if index.is_multiple_of(VALUES_PER_ASKED_TIME) && time_is_up() {
                return arena.hit_limit(OverLimit::Time);
            }
            let bytes = arena.slice(value.span);
            if is_ordinary(bytes) {
                continue;
            }
            reading::note(bytes.len());
            let off = scope.parsers_off(value.node, arena);
            let json = looks_like_json(bytes) && !off.has(Parser::Json);
            let mut encoding = encoding(bytes, &value, off, Tried::default());
            let strings = strings(bytes, off);
            let padding = padding(bytes);
            if !json && encoding.is_none() && strings.is_none() && padding.is_none() {
                continue;
            }
            if value.depth >= arena.limits().decoder_depth {
                arena.hit_limit(OverLimit::Depth);
                continue;
            }
            self.input.clear();
            self.input.extend_from_slice(bytes);
            if json && self.expand_json(value, arena) {
                continue;
            }
            if let Some(padding) = padding {
                let span = arena.copy(&self.input[padding..]);
                let node = arena.node(value.node, Step::Decoder("padding"));
                arena.add(span, node, value.place, value.depth + 1);
            }
            if let Some(strings) = strings {
                strings(&self.input, value, arena);
            }
            let mut tried = Tried::default();
            while let Some(next) = encoding {
                if self.undo(next, value, arena) {
                    break;
                }
                // It only looked like that.
                tried.add(next);
                encoding = self::encoding(&self.input, &value, off, tried);
            }
        }
    }

    /// Whether something came out.
    fn undo(&mut self, encoding: Encoding, value: Value, arena: &mut Arena) -> bool {
        reading::note(self.input.len());
        let input = &mut self.input;
        let (name, span) = match encoding {
            Encoding::Percent => {
                ("percent", arena.write(|bytes| percent::decode(input, Plus::Literal, bytes)))
            }
            Encoding::Base64 => {
                // Mail wraps its lines, and most decoders skip their ends.
                if memchr::memchr(b'\n', input).is_some() {
                    input.retain(|byte| !matches!(byte, b'\r' | b'\n'));
                }
                ("base64", arena.write(|bytes| _ = base64::decode_text(input, bytes)))
            }
            Encoding::DataUrl => {
                let data = data_of_url(input).unwrap_or_default();
                ("base64", arena.write(|bytes| _ = base64::decode_text(data, bytes)))
            }
            Encoding::Packed => return self.unpacker.unpack(input, value, arena),
            Encoding::Nuls => {
                ("nul", arena.write(|bytes| bytes.extend(input.iter().filter(|byte| **byte != 0))))
            }
            Encoding::Hex => ("hex", arena.write(|bytes| hex::decode_text(input, bytes))),
            Encoding::LookAlikes => ("unicode", arena.write(|bytes| unicode::decode(input, bytes))),
            // What only looks like a token to its end may hide something else as well.
            Encoding::Token => {
                pieces::add_token(input, value, arena);
                return false;
            }
            Encoding::Entities => ("html", arena.write(|bytes| entities::decode(input, bytes))),
            Encoding::Escapes => ("escapes", arena.write(|bytes| escapes::decode(input, bytes))),
        };
        if span.len() > 0 {
            let node = arena.node(value.node, Step::Decoder(name));
            arena.add(span, node, value.place, value.depth + 1);
        }
        span.len() > 0
    }

    /// Reads a value as JSON and says whether it is that, to all readers, to its end.
    fn expand_json(&mut self, value: Value, arena: &mut Arena) -> bool {
        let node = arena.node(value.node, Step::Part("json"));
        let target = Target { node, place: value.place, depth: value.depth + 1 };
        let text = self.input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.input);
        let ending = self.json.read(text, target, arena);
        if ending == json::Ending::Truncated {
            arena.dispute(node);
        }
        ending == json::Ending::Complete
    }

    /// Reads a JSON body; see [`JsonReader::read`].
    pub(crate) fn read_json(&mut self, input: &[u8], target: Target, arena: &mut Arena) -> json::Ending {
        self.json.read(input, target, arena)
    }
}

/// What was tried to undo in a value without any outcome.
#[derive(Debug, Clone, Copy, Default)]
struct Tried(u16);

impl Tried {
    const fn add(&mut self, encoding: Encoding) {
        self.0 |= 1 << encoding as u16;
    }

    const fn has(self, encoding: Encoding) -> bool {
        self.0 & 1 << encoding as u16 != 0
    }
}

/// A byte that escapes begin with.
const ESCAPE: u8 = 1;

/// A byte that look-alikes of ASCII begin with.
const LOOK_ALIKE: u8 = 2;

/// A byte that some readers skip.
const NUL: u8 = 4;

/// What each byte may be the begin of.
static MARKS: [u8; 256] = {
    let mut table = [0; 256];
    table[b'%' as usize] = ESCAPE;
    table[b'&' as usize] = ESCAPE;
    table[b'\\' as usize] = ESCAPE;
    table[0xc0] = LOOK_ALIKE;
    table[0xc1] = LOOK_ALIKE;
    table[0xe0] = LOOK_ALIKE;
    table[0xe2] = LOOK_ALIKE;
    table[0xef] = LOOK_ALIKE;
    table[0] = NUL;
    table
};

/// The marks of all bytes of a value. Most values are short, where a table is faster than vectors.
fn marks(bytes: &[u8]) -> u8 {
    const SHORT_BYTES_MAX: usize = 48;
    if bytes.len() <= SHORT_BYTES_MAX {
        return bytes.iter().fold(0, |marks, byte| marks | MARKS[*byte as usize]);
    }
    // One pass without a branch, which compilers make vectors of.
    let (chunks, rest) = bytes.as_chunks::<32>();
    let (mut escapes, mut nuls, mut all) = (0, 0, 0);
    for chunk in chunks {
        for byte in chunk {
            escapes |= u8::from(*byte == b'%') | u8::from(*byte == b'&') | u8::from(*byte == b'\\');
            nuls |= u8::from(*byte == 0);
            all |= *byte;
        }
    }
    let rest = rest.iter().fold(0, |marks, byte| marks | MARKS[*byte as usize]);
    rest | (escapes * ESCAPE) | (nuls * NUL) | if all.is_ascii() { 0 } else { LOOK_ALIKE }
}

/// Whether nothing is encoded in a value: what most values are told to be, and at once.
fn is_ordinary(bytes: &[u8]) -> bool {
    bytes.len() < PADDING_BYTES_MIN
        && !begins_unusually(bytes)
        && !holds_marks(bytes)
        && !hex::may_be_text(bytes)
        && !base64::may_be_text(bytes)
}

/// Whether a value begins as JSON does, or as what [`strings`] and [`encoding_by_begin`] look for.
fn begins_unusually(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b'{' | b'[' | b'\t'..=b'\r' | b' ', ..]
            | [b's' | b'a' | b'O', b':', ..]
            | [b'q', b'u', b'e', ..]
            | [b'm', b'u', b't', ..]
            | [b's', b'u', b'b', ..]
            | [b'f', b'r', b'a', ..]
            | [b'e', b'y' | b'w' | b'A' | b'F' | b'J' | b'N', ..]
            | [b'H', b'4', ..]
            | [b'b' | b'B', b'e' | b'E', b'a' | b'A', ..]
            | [b'd' | b'D', b'a' | b'A', b't' | b'T', ..]
    )
}

/// Whether [`marks`] may find any in a value.
fn holds_marks(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        return bytes.as_chunks::<16>().0.iter().any(block_holds_marks) || block_holds_marks(last);
    }
    // Shorter values are read in two halves, which may overlap.
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return block_holds_marks(&joined(u64::from_le_bytes(*first), u64::from_le_bytes(*last)));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let halves = u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
        return block_holds_marks(&joined(halves, halves));
    }
    bytes.iter().any(|byte| matches!(byte, 0 | b'%' | b'&' | b'\\' | 0x80..))
}

fn joined(first: u64, last: u64) -> [u8; 16] {
    (u128::from(first) | u128::from(last) << 64).to_le_bytes()
}

/// As [`holds_marks`], without a branch for each byte, so that compilers make vectors of it.
fn block_holds_marks(block: &[u8; 16]) -> bool {
    let marks = block.map(|byte| {
        u8::from(byte == 0)
            | u8::from(byte == b'%')
            | u8::from(byte == b'&')
            | u8::from(byte == b'\\')
            | u8::from(byte >= 0x80)
    });
    u128::from_ne_bytes(marks) != 0
}

/// The fewest bytes that count as padding: no word or identifier is as long.
const PADDING_BYTES_MIN: usize = 512;

/// The most bytes behind padding that are looked at alone.
const PADDED_BYTES_MAX: usize = 16 << 10;

/// The length of the letters and digits, or of the one byte again and again, that a long value begins with, if something
/// short follows: what an expression for a whole value would not look behind.
fn padding(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < PADDING_BYTES_MIN {
        return None;
    }
    let first = bytes[0];
    let length = if first.is_ascii_alphanumeric() {
        bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
    } else {
        bytes.iter().take_while(|byte| **byte == first).count()
    };
    (length >= PADDING_BYTES_MIN && (1..=PADDED_BYTES_MAX).contains(&(bytes.len() - length)))
        .then_some(length)
}

/// How the strings are taken out of a value that is put together from strings.
type Strings = fn(&[u8], Value, &mut Arena);

/// Whether a value is put together from strings. What else is encoded in it is undone as well: it may only look like that.
fn strings(bytes: &[u8], off: ParserSet) -> Option<Strings> {
    if pieces::is_serialized(bytes) {
        Some(pieces::add_strings)
    } else if !off.has(Parser::GraphQl) && graphql::may_be_document(bytes) {
        Some(graphql::add_strings)
    } else {
        None
    }
}

/// What to undo in a value next.
fn encoding(bytes: &[u8], value: &Value, off: ParserSet, tried: Tried) -> Option<Encoding> {
    let marks = marks(bytes);
    let is_open = |encoding| !tried.has(encoding);
    if marks & ESCAPE != 0 {
        let is_read = value.depth < PERCENT_ROUNDS && !off.has(Parser::Percent);
        if is_read && is_open(Encoding::Percent) && has_percent_escape(bytes) {
            return Some(Encoding::Percent);
        }
        if !off.has(Parser::HtmlJs) {
            if is_open(Encoding::Entities) && entities::are_hidden_in(bytes) {
                return Some(Encoding::Entities);
            }
            if is_open(Encoding::Escapes) && escapes::are_in(bytes) {
                return Some(Encoding::Escapes);
            }
        }
    }
    if marks == 0 && is_open(Encoding::Hex) && hex::may_be_text(bytes) {
        return Some(Encoding::Hex);
    }
    // A media type can hold any byte.
    let by_begin = encoding_by_begin(bytes, tried)
        .filter(|encoding| marks & ESCAPE == 0 || *encoding == Encoding::DataUrl);
    if let Some(encoding) = by_begin {
        let parser = if encoding == Encoding::Token { Parser::Jwt } else { Parser::Base64 };
        if !(off.has(parser) || encoding == Encoding::Packed && off.has(Parser::Gzip)) {
            return Some(encoding);
        }
    }
    if marks == 0 && is_open(Encoding::Base64) && base64::may_be_text(bytes) && !off.has(Parser::Base64) {
        return Some(Encoding::Base64);
    }
    if marks & LOOK_ALIKE != 0 && is_open(Encoding::LookAlikes) && unicode::are_in(bytes) {
        Some(Encoding::LookAlikes)
    } else if marks & NUL != 0 && is_open(Encoding::Nuls) && value.place != Place::File {
        Some(Encoding::Nuls)
    } else {
        None
    }
}

/// What a value shows to be by its first bytes.
fn encoding_by_begin(bytes: &[u8], tried: Tried) -> Option<Encoding> {
    let is_open = |encoding| !tried.has(encoding);
    match bytes.first()? {
        b'e' | b'H' if is_open(Encoding::Packed) && packed::is_packed(bytes) => Some(Encoding::Packed),
        b'e' | b'b' | b'B' if is_open(Encoding::Token) && pieces::is_token(bytes) => Some(Encoding::Token),
        b'd' | b'D' if is_open(Encoding::DataUrl) && data_of_url(bytes).is_some() => Some(Encoding::DataUrl),
        _ => None,
    }
}

/// How far behind its begin the data of a `data:` URL is looked for, in bytes.
const MEDIA_TYPE_BYTES_MAX: usize = 128;

/// What a `data:` URL holds in base64 (RFC 2397).
fn data_of_url(bytes: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b";base64,";
    let (scheme, rest) = bytes.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"data:") {
        return None;
    }
    let start = &rest[..rest.len().min(MEDIA_TYPE_BYTES_MAX)];
    let position = memchr::memmem::find(start, MARK)?;
    Some(&rest[position + MARK.len()..])
}

fn has_percent_escape(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).any(|position| percent::is_escape(&bytes[position..]))
}

/// What some editors begin a text in UTF-8 with, and readers skip.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a value inside a request is worth a try as JSON: an object or a list from end to end.
fn looks_like_json(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    matches!(text.trim_ascii(), [b'{', .., b'}'] | [b'[', .., b']'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arena::{ROOT, Span};

    fn encoding_of(bytes: &[u8]) -> Option<Encoding> {
        let span = Span { start: 0, end: 0 };
        let value = Value { span, node: ROOT, place: Place::Query, depth: 0 };
        encoding(bytes, &value, ParserSet::NONE, Tried::default())
    }

    /// Values that look like something, whole and damaged.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        const BEGINS: &[&str] = &[
            "",
            "{",
            "[",
            " ",
            "s:1",
            "a:2",
            "O:3",
            "query",
            "{a",
            "fragment ",
            "eyJ",
            "ewo",
            "Bearer eyJ",
            "H4sI",
            "eJw",
            "data:a;base64,",
            "DATA:;base64,",
            "0x3c",
            "3c7363726970743e",
            "PHNjcmlwdD4",
            "YWJj",
            "w6nDqcOpw6n",
            "abc",
        ];
        const MIDDLES: &[&str] =
            &["", "a", "{x:\"y\"}", "abcdefgh", "%41", "&#60;", "\\x3c", "\0", "\u{ff1c}", "\u{e9}", "."];
        const ENDS: &[&str] = &["", "}", "]", "=", "==", "x", "\u{2215}"];
        (
            prop::sample::select(BEGINS),
            prop::collection::vec(prop::sample::select(MIDDLES), 0..8),
            prop::sample::select(ENDS),
        )
            .prop_map(|(begin, middles, end)| format!("{begin}{}{end}", middles.concat()).into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_undone_in_what_is_ordinary(bytes in prop_oneof![value(), prop::collection::vec(any::<u8>(), 1..40)]) {
            if is_ordinary(&bytes) {
                prop_assert!(!looks_like_json(&bytes));
                prop_assert!(strings(&bytes, ParserSet::NONE).is_none());
                prop_assert_eq!(encoding_of(&bytes), None);
                prop_assert_eq!(padding(&bytes), None);
            }
        }
    }

    #[test]
    fn most_values_are_ordinary() {
        for text in ["In stock, ships soon", "Item 7", "42", "dark blue", "8f14e45fceea167a5a36dedd4bea2543"]
        {
            assert!(is_ordinary(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_begins_like_base64_may_hide_something_else() {
        assert_eq!(encoding_of("PHNjcmlwdD4 \u{ff1c}script\u{ff1e}x".as_bytes()), Some(Encoding::LookAlikes));
        assert_eq!(encoding_of(b"info.php\0.jpg"), Some(Encoding::Nuls));
        assert_eq!(encoding_of(b"PHNjcmlwdD4="), Some(Encoding::Base64));
    }
}
