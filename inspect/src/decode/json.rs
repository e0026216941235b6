//! A lenient JSON reader (RFC 8259) that turns a document into named values.
//!
//! It takes what tolerant parsers take (see [`lenient`]) and says so, keeps what it found up to an error, and holds its own
//! stack, so that depth costs memory that is bounded and never the thread's stack.

pub(crate) mod lenient;

use crate::arena::{Arena, NodeId, Span, Step};
use crate::decode::percent::{hex_number, push_character};
use crate::limits::OverLimit;
use crate::place::Place;
use crate::reading;

/// How many names are remembered at once. A power of two.
const NAMES_KEPT: usize = 32;

/// How reading a document ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The input is one document, or several in a row.
    Complete,
    /// It is to some readers: others find something else in it, or nothing.
    Sloppy,
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
    /// Whether something came that is no JSON.
    sloppy: bool,
    /// How often something was missing or too much, so that it looks less like a document.
    faults: u8,
    /// Names of this document that are in the arena already, by a hash of theirs: the objects of a list all have the
    /// same, and once is enough.
    names: [Option<KnownName>; NAMES_KEPT],
    /// How many bytes of text behind bare words may still be added that are read on their own as well.
    tails_left: usize,
}

/// A name that is in the arena.
#[derive(Debug, Clone, Copy)]
struct KnownName {
    span: Span,
    /// What [`word_of`] makes of it: all there is to compare of a short one.
    word: u64,
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
    /// checked, not added: nothing can hide in them. The inside of what is no JSON is disputed.
    pub(crate) fn read(&mut self, input: &[u8], target: Target, arena: &mut Arena) -> Ending {
        self.sloppy = false;
        self.faults = 0;
        let ending = self.read_documents(input, target, arena);
        if self.sloppy || matches!(ending, Ending::Stopped(_)) {
            arena.dispute(target.node);
        }
        match ending {
            Ending::Complete | Ending::Truncated if self.sloppy => Ending::Sloppy,
            // What was read may be something else to others.
            Ending::Stopped(_) if self.sloppy => Ending::Stopped(0),
            ending => ending,
        }
    }

    fn read_documents(&mut self, input: &[u8], target: Target, arena: &mut Arena) -> Ending {
        self.frames.clear();
        self.names = [None; NAMES_KEPT];
        self.tails_left = input.len();
        let mut expect = Expect::Value;
        let mut position = 0;
        loop {
            position = skip_white_space(input, position);
            let Some(&byte) = input.get(position) else {
                let whole = self.frames.is_empty() && position > 0;
                return if whole { Ending::Complete } else { Ending::Truncated };
            };
            reading::note(1);
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
                        Some(frame) if frame.index.is_some() == in_list => {
                            // A comma stands before it.
                            self.sloppy |= expect != Expect::CommaOrEnd && !frame.is_empty();
                        }
                        _ => return Ending::Stopped(position),
                    }
                    (position, expect) = self.after_value(input, position + 1);
                }
                (Expect::Key, b'"') => {
                    let end = self.key(input, position, target, arena);
                    let Some(end) = end else { return Ending::Truncated };
                    let has_colon = input.get(end) == Some(&b':');
                    position = end + usize::from(has_colon);
                    expect = if has_colon { Expect::Value } else { Expect::Colon };
                }
                (Expect::Value, b'"') => {
                    let node = self.start_value(target, arena);
                    let (span, end) = string(input, position, &mut self.sloppy, arena);
                    // One that is closed doesn't go on behind the input.
                    let source = &input[..if end.is_none() { input.len() } else { position }];
                    arena.add_from(source, span, node, target.place, target.depth);
                    let Some(end) = end else { return Ending::Truncated };
                    (position, expect) = self.after_value(input, end);
                }
                (Expect::Colon, b':') => {
                    position += 1;
                    expect = Expect::Value;
                }
                (Expect::CommaOrEnd, b',') => {
                    position += 1;
                    expect = self.after_comma();
                }
                (Expect::Value, b'0'..=b'9' | b'-' | b'+' | b'.' | b'a'..=b'z' | b'A'..=b'Z') => {
                    let (length, end) = bare_length(&input[position..], &mut self.tails_left);
                    reading::note(length);
                    let word = &input[position..position + length];
                    let is_harmless = is_harmless_word(word);
                    self.sloppy |= !is_harmless;
                    if is_harmless && !arena.keeps_all() {
                        self.skip_value();
                    } else {
                        let node = self.start_value(target, arena);
                        let span = arena.write(|bytes| bytes.extend_from_slice(word));
                        arena.add_from(word, span, node, target.place, target.depth);
                    }
                    (position, expect) = self.after_value(input, position + end);
                }
                _ => match self.leniently(expect, input, position, target, arena) {
                    Some(next) => (position, expect) = next,
                    None => return Ending::Stopped(position),
                },
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

    /// Reads the name whose opening quote is at `position` and makes it a value, unless it is known and one is enough. The offset after the
    /// closing quote is `None` when the input ends first.
    fn key(&mut self, input: &[u8], position: usize, target: Target, arena: &mut Arena) -> Option<usize> {
        let rest = &input[position + 1..];
        let plain = plain_end(rest).filter(|_| !arena.judges_points());
        let slot = plain.map(|length| {
            let word = word_of(rest, length);
            (length, word, &mut self.names[slot_of(word, length)])
        });
        let frame = self.frames.last_mut()?;
        frame.member = None;
        if let Some((length, word, Some(known))) = &slot
            && known.word == *word
            && known.span.len() == *length
            && (*length <= WORD_BYTES || arena.slice(known.span) == &rest[..*length])
        {
            frame.name = known.span;
            return Some(position + length + 2);
        }
        let (span, end) = string(input, position, &mut self.sloppy, arena);
        let node = arena.node(frame.node, Step::Name(span));
        arena.add(span, node, Place::Name, target.depth);
        frame.name = span;
        frame.member = Some(node);
        if let Some((length, word, slot)) = slot
            && span.len() == length
        {
            *slot = Some(KnownName { span, word });
        }
        end
    }

    /// Where to read on behind the value that ends at `end`, and what may come there. A comma right behind it is read with
    /// it, as is almost always the case.
    #[inline]
    fn after_value(&self, input: &[u8], end: usize) -> (usize, Expect) {
        match self.frames.last() {
            None => (end, Expect::Value),
            Some(_) if input.get(end) != Some(&b',') => (end, Expect::CommaOrEnd),
            Some(frame) if frame.index.is_some() => (end + 1, Expect::Value),
            Some(_) => (end + 1, Expect::Key),
        }
    }

    fn after_comma(&self) -> Expect {
        if self.frames.is_empty() || self.is_in_list() { Expect::Value } else { Expect::Key }
    }

    fn is_in_list(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.index.is_some())
    }
}

impl Frame {
    fn is_empty(&self) -> bool {
        self.index.map_or(self.name == NO_NAME, |index| index == 0)
    }
}

/// The offset of the first byte from `position` on that is no white space.
#[inline]
fn skip_white_space(input: &[u8], position: usize) -> usize {
    match input.get(position) {
        Some(byte) if byte.is_ascii_whitespace() => {
            position + input[position..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
        }
        _ => position,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_')
}

/// The length of the bare word or number that `input` starts with. What follows it without a comma or a bracket belongs to
/// it: a reader that puts documents together from text takes it so. Also where to read on: a separator or a comment of
/// tolerant readers may come right behind the word. What is then read twice is taken from `tails_left`; with nothing left
/// the word is all.
fn bare_length(input: &[u8], tails_left: &mut usize) -> (usize, usize) {
    let word = input.iter().take_while(|byte| is_word(**byte)).count();
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'\n' | b'\r');
    let rest = &input[word..];
    match rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')) {
        Some(byte) if !ends(byte) && !matches!(byte, b'{' | b'[' | b'"') => {
            let tail = |text: &[u8]| text.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b'\n'));
            let next = rest.trim_ascii_start();
            if !next.starts_with(b";") && lenient::comment_length(next).is_none() {
                let length = word + tail(rest).unwrap_or(rest.len());
                return (length, length);
            }
            let looked_at = &rest[..rest.len().min(*tails_left)];
            let length = tail(looked_at).or_else(|| (looked_at.len() == rest.len()).then_some(rest.len()));
            // Where the end isn't found, looking for it for the next word would cost as much again.
            *tails_left = length.map_or(0, |length| *tails_left - length);
            (word + length.unwrap_or(0), word)
        }
        _ => (word, word),
    }
}

fn is_harmless_word(word: &[u8]) -> bool {
    matches!(word, b"true" | b"false" | b"null")
        || word.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
}

/// The name of what has none.
const NO_NAME: Span = Span { start: 0, end: 0 };

/// The bytes of a word.
const WORD_BYTES: usize = 8;

/// A number that differs for most names, and for all up to [`WORD_BYTES`] of the same length. The name is the first
/// `length` bytes of `input`.
#[inline]
fn word_of(input: &[u8], length: usize) -> u64 {
    let name = &input[..length];
    match (input.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) if length > WORD_BYTES => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
        }
        (Some(first), _) if length > 0 => {
            u64::from_le_bytes(*first) & (u64::MAX >> (8 * (WORD_BYTES - length)))
        }
        _ => name.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

fn slot_of(word: u64, length: usize) -> usize {
    ((word ^ length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % NAMES_KEPT
}

/// The length of the string that `input` begins inside of, if it ends and nothing in it is escaped.
#[inline]
fn plain_end(input: &[u8]) -> Option<usize> {
    quote_or_backslash(input).filter(|position| input[*position] == b'"')
}

/// Where the first quote or backslash is. Strings in documents are short, so the first bytes are looked at in words.
#[inline]
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
/// `sloppy` is set by an escape that readers take for different things.
#[inline]
fn string(input: &[u8], start: usize, sloppy: &mut bool, arena: &mut Arena) -> (Span, Option<usize>) {
    match plain_end(&input[start + 1..]) {
        Some(length) => (arena.copy(&input[start + 1..start + 1 + length]), Some(start + length + 2)),
        None => escaped_string(input, start, sloppy, arena),
    }
}

/// As [`string`], for one that holds escapes or doesn't end.
fn escaped_string(input: &[u8], start: usize, sloppy: &mut bool, arena: &mut Arena) -> (Span, Option<usize>) {
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
            *sloppy |= !is_escape(&input[position..]);
            position += unescape(&input[position..], bytes);
        }
        bytes.extend_from_slice(&input[position..]);
    });
    (span, end)
}

/// Whether JSON has the escape at the start of `input`, which may be cut.
fn is_escape(input: &[u8]) -> bool {
    match input.get(1) {
        Some(b'u') => input.get(2..6).is_none_or(|digits| hex_number(digits).is_some()),
        Some(kind) => matches!(kind, b'n' | b't' | b'r' | b'b' | b'f' | b'"' | b'\\' | b'/'),
        None => true,
    }
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
        let text = read(&format!("{{\"a\":\"b\" {}", "word ".repeat(100)));
        assert_eq!(text, (pairs(&[("json.a", "b")]), Ending::Stopped(0)));
        assert_eq!(read("{ user(id: \"x\") }"), (vec![], Ending::Stopped(0)));
        assert_eq!(read("[1,2}").1, Ending::Stopped(4));
        assert_eq!(read(r#"{"a":"b"}]"#).1, Ending::Stopped(9));
        assert_eq!(read("").1, Ending::Truncated);
        assert_eq!(read("\"a\\").1, Ending::Truncated);
    }

    #[test]
    fn what_tolerant_readers_take_is_read_and_told() {
        let table: [(&str, &[(&str, &str)]); 20] = [
            ("{\"a\":sleep,}\n{\"b\":\"x\"}", &[("json.a", "sleep"), ("json.b", "x")]),
            (r#"{'a':"x",'b\'c':'y\'"z'}"#, &[("json.a", "x"), ("json.b'c", "y'\"z")]),
            (r#"{a:"x",\u006b:y}"#, &[("json.a", "x"), ("json.k", "y")]),
            (r#"/*"*/{"a":1,/*"c*/"k":"x"}#"#, &[("json.k", "x")]),
            ("{\"a\":1,//\"\n\"k\":\"x\"#\n}", &[("json.k", "x")]),
            (r#"{"a":"x";"k"="y";l=>"z"}"#, &[("json.a", "x"), ("json.k", "y"), ("json.l", "z")]),
            (r#"{"a":"x","k":"y",}"#, &[("json.a", "x"), ("json.k", "y")]),
            (r#"["x",]"#, &[("json.0", "x")]),
            (r#"["x",,"y"]"#, &[("json.0", "x"), ("json.2", "y")]),
            (r#"{"a":"x",,"k":"y"}"#, &[("json.a", "x"), ("json.k", "y")]),
            (r#"{"a":"x" "k":"y"}"#, &[("json.a", "x"), ("json.k", "y")]),
            (r#"{"a":NaN,"k":-Infinity}"#, &[("json.a", "NaN"), ("json.k", "-Infinity")]),
            (r#"{"a":0x1,"k":"y"}"#, &[("json.a", "0x1"), ("json.k", "y")]),
            (r#"{"a":1/*"*/,"k":"x"}"#, &[("json.a", "1/*\"*/"), ("json.k", "x")]),
            (r#"{"a":1;"k":"x"}"#, &[("json.a", "1;\"k\":\"x\""), ("json.k", "x")]),
            (r#"{"a":1;drop table x,"k":"y"}"#, &[("json.a", "1;drop table x"), ("json.k", "y")]),
            (r#"{"a":sleep(5),"k":@x}"#, &[("json.a", "sleep(5)"), ("json.k", "@x")]),
            (r#"{"x":'"k":"', "b":"y"}"#, &[("json.x", "\"k\":\""), ("json.b", "y")]),
            (r#"{"a":"\u12","k":"y"}"#, &[("json.a", "\\u12"), ("json.k", "y")]),
            (r#"{"a":'x"#, &[("json.a", "x")]),
        ];
        for (input, expected) in table {
            let (values, ending) = read(input);
            assert_eq!(values, pairs(expected), "{input}");
            assert_eq!(ending, Ending::Sloppy, "{input}");
        }
        for strict in
            [r#"{"a":[],"b":{},"c":[1,{}]}"#, "{\"a\":\"\\n\"}\n{\"b\":-1.5e+3}", "[true,null,\"\\u0041\"]"]
        {
            assert_eq!(read(strict).1, Ending::Complete, "{strict}");
        }
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
