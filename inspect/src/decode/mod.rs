//! Decoders: from bytes as they travel to bytes as an application sees them.

pub(crate) mod base64;
pub(crate) mod entities;
mod escapes;
mod graphql;
mod hex;
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
use json::{JsonReader, Target};
use packed::Unpacker;
use percent::Plus;

/// At most this many decoders lie before a value whose percent-encoding is still undone.
const PERCENT_ROUNDS: u8 = 3;

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
    /// Adds to the arena what decoders make of its values, until nothing new comes or a limit is hit. One decoder at a
    /// time is applied to a value and the next to what it made, so that work is linear in the input.
    pub(crate) fn expand(&mut self, scope: &Scope<'_>, arena: &mut Arena) {
        let mut index = 0;
        self.unpacker.reset();
        while let Some(value) = arena.values().get(index).copied() {
            index += 1;
            let bytes = arena.slice(value.span);
            let off = scope.parsers_off(value.node, arena);
            let json = looks_like_json(bytes) && !off.has(Parser::Json);
            let encoding = encoding(bytes, &value, off);
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
            if let Some(encoding) = encoding {
                self.undo(encoding, value, arena);
            }
        }
    }

    fn undo(&mut self, encoding: Encoding, value: Value, arena: &mut Arena) {
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
            Encoding::Token => return pieces::add_token(input, value, arena),
            Encoding::Entities => ("html", arena.write(|bytes| entities::decode(input, bytes))),
            Encoding::Escapes => ("escapes", arena.write(|bytes| escapes::decode(input, bytes))),
        };
        if span.len() > 0 {
            let node = arena.node(value.node, Step::Decoder(name));
            arena.add(span, node, value.place, value.depth + 1);
        }
    }

    /// Reads a value as JSON and says whether it is that, to all readers, to its end.
    fn expand_json(&mut self, value: Value, arena: &mut Arena) -> bool {
        let node = arena.node(value.node, Step::Part("json"));
        let target = Target { node, place: value.place, depth: value.depth + 1 };
        let ending = self.json.read(&self.input, target, arena);
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
fn encoding(bytes: &[u8], value: &Value, off: ParserSet) -> Option<Encoding> {
    let marks = marks(bytes);
    if marks & ESCAPE != 0 {
        if value.depth < PERCENT_ROUNDS && !off.has(Parser::Percent) && has_percent_escape(bytes) {
            return Some(Encoding::Percent);
        } else if off.has(Parser::HtmlJs) {
            // Neither entities nor escapes are undone.
        } else if entities::are_hidden_in(bytes) {
            return Some(Encoding::Entities);
        } else if escapes::are_in(bytes) {
            return Some(Encoding::Escapes);
        }
    } else if hex::may_be_text(bytes) {
        return Some(Encoding::Hex);
    } else if let Some(encoding) = encoding_by_begin(bytes) {
        let parser = if encoding == Encoding::Token { Parser::Jwt } else { Parser::Base64 };
        if !(off.has(parser) || encoding == Encoding::Packed && off.has(Parser::Gzip)) {
            return Some(encoding);
        }
    } else if base64::may_be_text(bytes) && !off.has(Parser::Base64) {
        return Some(Encoding::Base64);
    }
    if marks & LOOK_ALIKE != 0 && unicode::are_in(bytes) {
        Some(Encoding::LookAlikes)
    } else if marks & NUL != 0 && value.place != Place::File {
        Some(Encoding::Nuls)
    } else {
        None
    }
}

/// What a value shows to be by its first bytes.
fn encoding_by_begin(bytes: &[u8]) -> Option<Encoding> {
    match bytes.first()? {
        b'e' | b'H' if packed::is_packed(bytes) => Some(Encoding::Packed),
        b'e' | b'b' | b'B' if pieces::is_token(bytes) => Some(Encoding::Token),
        b'd' | b'D' if data_of_url(bytes).is_some() => Some(Encoding::DataUrl),
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

/// Whether a value inside a request is worth a try as JSON: an object or a list from end to end.
fn looks_like_json(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', .., b'}'] | [b'[', .., b']'])
}
