//! A lenient JSON reader (RFC 8259) that turns a document into named values.
//!
//! It takes what tolerant parsers take (bare words, trailing commas, several documents in a row), keeps what it found up
//! to an error, and holds its own stack, so that depth costs memory that is bounded and never the thread's stack.

use crate::arena::{Arena, NodeId, Span, Step};
use crate::decode::percent::{hex_number, push_character};
use crate::limits::OverLimit;
use crate::place::Place;

/// How many names are remembered at once. A power of two.
const NAMES_KEPT: usize = 32;

/// How reading a document ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The input is well formed, as far as leniency goes.
    Complete,
    /// The input ended inside a value.
    Truncated,
    /// From this offset on it is not JSON, or it is too deep or too much.
    Stopped(usize),
}

/// An open object or list.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: NodeId,
    /// The name of the current member, unless this is a list.
    name: Span,
    /// The point of the current member, once something needs one: most numbers never do.
    member: Option<NodeId>,
    /// How many elements a list has so far; `None` in an object.
    index: Option<u32>,
}

/// The reader's memory, reused.
#[derive(Debug, Default)]
pub(crate) struct JsonReader {
    frames: Vec<Frame>,
    /// Names of this document that are in the arena already, by a hash of theirs: the objects of a list all have the
    /// same, and once is enough.
    names: [Option<Span>; NAMES_KEPT],
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    Key,
    Colon,
    CommaOrEnd,
}

/// Where the values of a document go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The point of the document.
    pub(crate) node: NodeId,
    /// The place of its strings. Keys are names.
    pub(crate) place: Place,
    /// How many decoders the values have behind them.
    pub(crate) depth: u8,
}

impl JsonReader {
    /// Reads `input` and adds its strings, keys and unusual bare words to the arena. Numbers and the three literals are
    /// checked, not added: nothing can hide in them.
    pub(crate) fn read(&mut self, input: &[u8], target: Target, arena: &mut Arena) -> Ending {
        self.frames.clear();
        self.names = [None; NAMES_KEPT];
        let mut expect = Expect::Value;
        let mut position = 0;
        loop {
            position += input[position..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let Some(&byte) = input.get(position) else {
                let whole = self.frames.is_empty() && position > 0;
                return if whole { Ending::Complete } else { Ending::Truncated };
            };
            if arena.is_full() {
                arena.hit_limit(OverLimit::Values);
                return Ending::Stopped(position);
            }
            match (expect, byte) {
                (Expect::Value, b'{' | b'[') => {
                    if self.frames.len() >= arena.limits().json_depth {
                        arena.hit_limit(OverLimit::Depth);
                        return Ending::Stopped(position);
                    }
                    let node = self.start_value(target, arena);
                    let index = (byte == b'[').then_some(0);
                    self.frames.push(Frame { node, name: NO_NAME, member: None, index });
                    expect = if byte == b'{' { Expect::Key } else { Expect::Value };
                    position += 1;
                }
                (Expect::Key | Expect::CommaOrEnd, b'}') | (Expect::Value | Expect::CommaOrEnd, b']') => {
                    let in_list = byte == b']';
                    match self.frames.pop() {
                        Some(frame) if frame.index.is_some() == in_list => {}
                        _ => return Ending::Stopped(position),
                    }
                    expect = self.after_value();
                    position += 1;
                }
                (Expect::Key, b'"') => {
                    let end = self.key(input, position, target, arena);
                    let Some(end) = end else { return Ending::Truncated };
                    position = end;
                    expect = Expect::Colon;
                }
                (Expect::Value, b'"') => {
                    let node = self.start_value(target, arena);
                    let (span, end) = string(input, position, arena);
                    arena.add(span, node, target.place, target.depth);
                    let Some(end) = end else { return Ending::Truncated };
                    position = end;
                    expect = self.after_value();
                }
                (Expect::Colon, b':') => {
                    position += 1;
                    expect = Expect::Value;
                }
                (Expect::CommaOrEnd, b',') => {
                    position += 1;
                    let in_list = self.frames.last().is_some_and(|frame| frame.index.is_some());
                    expect = if in_list { Expect::Value } else { Expect::Key };
                }
                (Expect::Value, b'0'..=b'9' | b'-' | b'+' | b'.' | b'a'..=b'z' | b'A'..=b'Z') => {
                    let length = bare_length(&input[position..]);
                    let word = &input[position..position + length];
                    if is_harmless_word(word) && !arena.keeps_all() {
                        self.skip_value();
                    } else {
                        let node = self.start_value(target, arena);
                        let span = arena.write(|bytes| bytes.extend_from_slice(word));
                        arena.add(span, node, target.place, target.depth);
                    }
                    position += length;
                    expect = self.after_value();
                }
                _ => return Ending::Stopped(position),
            }
        }
    }

    /// The point of the value that starts here.
    fn start_value(&mut self, target: Target, arena: &mut Arena) -> NodeId {
        match self.frames.last_mut() {
            None => target.node,
            Some(frame) => match &mut frame.index {
                None => *frame.member.get_or_insert_with(|| arena.node(frame.node, Step::Name(frame.name))),
                Some(index) => {
                    let node = arena.node(frame.node, Step::Index(*index));
                    *index += 1;
                    node
                }
            },
        }
    }

    /// As [`JsonReader::start_value`], for a value that needs no point.
    fn skip_value(&mut self) {
        if let Some(Frame { index: Some(index), .. }) = self.frames.last_mut() {
            *index += 1;
        }
    }

    /// Reads the name whose opening quote is at `position` and makes it a value, unless it is known. The offset after the
    /// closing quote is `None` when the input ends first.
    fn key(&mut self, input: &[u8], position: usize, target: Target, arena: &mut Arena) -> Option<usize> {
        let slot = plain_end(&input[position + 1..]).map(|length| {
            let name = &input[position + 1..position + 1 + length];
            (name, &mut self.names[hash(name) % NAMES_KEPT])
        });
        let frame = self.frames.last_mut()?;
        frame.member = None;
        if let Some((name, Some(known))) = &slot
            && arena.slice(*known) == *name
        {
            frame.name = *known;
            return Some(position + name.len() + 2);
        }
        let (span, end) = string(input, position, arena);
        let node = arena.node(frame.node, Step::Name(span));
        arena.add(span, node, Place::Name, target.depth);
        frame.name = span;
        frame.member = Some(node);
        if let Some((_, slot)) = slot {
            *slot = Some(span);
        }
        end
    }

    fn after_value(&self) -> Expect {
        if self.frames.is_empty() { Expect::Value } else { Expect::CommaOrEnd }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_')
}

/// The length of the bare word or number that `input` starts with. What follows it without a comma or a bracket belongs to
/// it: a reader that puts documents together from text takes it so.
fn bare_length(input: &[u8]) -> usize {
    let word = input.iter().take_while(|byte| is_word(**byte)).count();
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'\n' | b'\r');
    let rest = &input[word..];
    match rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')) {
        Some(byte) if !ends(byte) && !matches!(byte, b'{' | b'[' | b'"') => {
            word + rest
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b'\n'))
                .unwrap_or(rest.len())
        }
        _ => word,
    }
}

fn is_harmless_word(word: &[u8]) -> bool {
    matches!(word, b"true" | b"false" | b"null")
        || word.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
}

/// The name of what has none.
const NO_NAME: Span = Span { start: 0, end: 0 };

/// A number that differs for most names.
fn hash(name: &[u8]) -> usize {
    let ends = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => name.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    };
    ((ends ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}

/// The length of the string that `input` begins inside of, if it ends and nothing in it is escaped.
fn plain_end(input: &[u8]) -> Option<usize> {
    quote_or_backslash(input).filter(|position| input[*position] == b'"')
}

/// Where the first quote or backslash is. Strings in documents are short, so the first bytes are looked at in words.
fn quote_or_backslash(input: &[u8]) -> Option<usize> {
    const WORDS: usize = 4;
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    // The lowest zero byte of a word becomes its lowest set high bit; higher ones may be wrong.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & ONES << 7;
    let words = input.as_chunks::<8>().0;
    let words = &words[..words.len().min(WORDS)];
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let looked_at = 8 * words.len();
    memchr::memchr2(b'"', b'\\', &input[looked_at..]).map(|offset| looked_at + offset)
}

/// Unescapes the string whose opening quote is at `start` into the arena. The offset after the closing quote is `None`
/// when the input ends first.
fn string(input: &[u8], start: usize, arena: &mut Arena) -> (Span, Option<usize>) {
    if let Some(length) = plain_end(&input[start + 1..]) {
        return (arena.copy(&input[start + 1..start + 1 + length]), Some(start + length + 2));
    }
    let mut end = None;
    let span = arena.write(|bytes| {
        let mut position = start + 1;
        while let Some(offset) = memchr::memchr2(b'"', b'\\', &input[position..]) {
            bytes.extend_from_slice(&input[position..position + offset]);
            position += offset;
            if input[position] == b'"' {
                end = Some(position + 1);
                return;
            }
            position += unescape(&input[position..], bytes);
        }
        bytes.extend_from_slice(&input[position..]);
    });
    (span, end)
}

/// Appends what the escape at the start of `input` stands for and returns its length, at least 1 and at most the rest.
pub(crate) fn unescape(input: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(&kind) = input.get(1) else {
        out.push(b'\\');
        return 1;
    };
    match kind {
        b'n' => out.push(b'\n'),
        b't' => out.push(b'\t'),
        b'r' => out.push(b'\r'),
        b'b' => out.push(8),
        b'f' => out.push(12),
        b'"' | b'\\' | b'/' => out.push(kind),
        b'u' => return unescape_unicode(input, out),
        _ => out.extend_from_slice(&[b'\\', kind]),
    }
    2
}

fn unescape_unicode(input: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(first) = input.get(2..6).and_then(hex_number) else {
        out.extend_from_slice(b"\\u");
        return 2;
    };
    let second = match input.get(6..8) {
        Some(b"\\u") if (0xd800..0xdc00).contains(&first) => input.get(8..12).and_then(hex_number),
        _ => None,
    };
    match second {
        Some(low @ 0xdc00..0xe000) => {
            push_character(0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00), out);
            12
        }
        _ => {
            push_character(first, out);
            6
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::ROOT;
    use crate::limits::Limits;

    fn read_with(limits: Limits, input: &str) -> (Vec<(String, String)>, Ending, Option<OverLimit>) {
        let mut arena = Arena::new(limits);
        let node = arena.node(ROOT, Step::Part("json"));
        let target = Target { node, place: Place::Body, depth: 0 };
        let ending = JsonReader::default().read(input.as_bytes(), target, &mut arena);
        let values = arena.values().iter().filter(|value| value.place == Place::Body);
        let values = values.map(|value| {
            let text = String::from_utf8_lossy(arena.slice(value.span)).into_owned();
            (arena.label(value.node, &[]), text)
        });
        (values.collect(), ending, arena.over_limit())
    }

    fn read(input: &str) -> (Vec<(String, String)>, Ending) {
        let (values, ending, _) = read_with(Limits::default(), input);
        (values, ending)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn strings_are_named_by_their_way() {
        let (values, ending) =
            read(r#"{"user":{"name":"Ann","tags":["a",1,{"b":"c"}]},"n":-1.5e3,"t":true}"#);
        let expected = [("json.user.name", "Ann"), ("json.user.tags.0", "a"), ("json.user.tags.2.b", "c")];
        assert_eq!((values, ending), (pairs(&expected), Ending::Complete));
    }

    #[test]
    fn escapes_are_undone() {
        let (values, _) = read(r#"["\u003cb\u003E\n\"\/\\", "\ud83d\ude00", "\ud83dx", "\q\u12"]"#);
        let texts: Vec<_> = values.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["<b>\n\"/\\", "\u{1f600}", "\u{fffd}x", "\\q\\u12"]);
    }

    #[test]
    fn truncated_and_broken_documents_keep_what_they_had() {
        assert_eq!(read(r#"{"a":"b","c":"unfin"#).1, Ending::Truncated);
        assert_eq!(read(r#"{"a":"b","c":"unfin"#).0, pairs(&[("json.a", "b"), ("json.c", "unfin")]));
        assert_eq!(read(r#"{"a":"b"; x"#), (pairs(&[("json.a", "b")]), Ending::Stopped(8)));
        assert_eq!(read("[1,2}").1, Ending::Stopped(4));
        assert_eq!(read("").1, Ending::Truncated);
        assert_eq!(read("\"a\\").1, Ending::Truncated);
    }

    #[test]
    fn leniency() {
        let (values, ending) = read("{\"a\":sleep,}\n{\"b\":\"x\"}");
        assert_eq!((values, ending), (pairs(&[("json.a", "sleep"), ("json.b", "x")]), Ending::Complete));
    }

    #[test]
    fn depth_and_count_are_limited() {
        let deep = "[".repeat(100_000);
        let (_, ending, over) = read_with(Limits::default(), &deep);
        assert_eq!((ending, over), (Ending::Stopped(64), Some(OverLimit::Depth)));
        let wide = format!("[{}]", "\"x\",".repeat(100));
        let (values, _, over) = read_with(Limits { values: 10, ..Limits::default() }, &wide);
        assert_eq!((values.len(), over), (10, Some(OverLimit::Values)));
    }
}
