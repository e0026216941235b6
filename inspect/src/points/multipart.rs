//! Multipart bodies (RFC 7578, RFC 2046 section 5.1), read in every way that servers read them.
//!
//! Servers differ in what they take for a delimiter (a boundary anywhere, at the start of any line, or on a line of its
//! own behind CRLF) and in whether they go on behind the closing one. So a body with delimiters that not all of them see
//! is read once each way, and what lies before, behind and around the parts is looked at too.

mod boundary;
mod names;
mod parameters;
mod transfer;

use crate::arena::{Arena, NodeId, Span, Step};
use crate::decode::percent::{self, Plus};
use crate::limits::OverLimit;
use crate::place::Place;
use crate::points::charset;
use crate::reading;
use boundary::Boundaries;
use memchr::memmem::Finder;
use names::Names;
use parameters::Parameters;
use transfer::Transfer;

/// What reading a body as multipart found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No delimiter, so that it is something else.
    Nothing,
    /// Parts, but also something that other readers would read differently or that lies outside of the parts.
    PartsAndMore,
    /// Parts from the first byte to the last.
    Parts,
}

/// How many bodies of parts inside of parts are read.
const NESTED_MAX: u8 = 2;

/// How often each byte of a body may be looked at for delimiters: four boundaries that are read in three ways, and parts
/// of parts that are read again in each of them.
const LOOKS_MAX: usize = 48;

/// Where the parts of a body go.
#[derive(Debug, Clone, Copy)]
struct Home {
    /// The point above the parts.
    node: NodeId,
    /// The name of the part that they lie in.
    outer: Option<Span>,
    /// How many parts they lie in.
    depth: u8,
}

/// Where parts are added, and how many bytes may still be looked at for delimiters.
struct Reader<'a> {
    arena: &'a mut Arena,
    bytes_left: usize,
}

/// Adds the parts of a body whose boundary these Content-Type fields name, or that starts with one.
pub(super) fn add<'a>(
    body: &[u8],
    content_types: impl Iterator<Item = &'a [u8]>,
    node: NodeId,
    arena: &mut Arena,
) -> Found {
    let mut reader = Reader { arena, bytes_left: body.len().saturating_mul(LOOKS_MAX) };
    add_at(body, content_types, Home { node, outer: None, depth: 0 }, &mut reader)
}

fn add_at<'a>(
    body: &[u8],
    content_types: impl Iterator<Item = &'a [u8]>,
    home: Home,
    reader: &mut Reader<'_>,
) -> Found {
    let boundaries = Boundaries::of(content_types, body);
    if boundaries.is_over {
        reader.arena.hit_limit(OverLimit::Depth);
    }
    let (mut any, mut more) = (false, boundaries.disputed);
    for delimiter in boundaries.as_slice() {
        let finder = Finder::new(delimiter.as_bytes());
        let mut last_count = 0;
        for strictness in [Strictness::Anywhere, Strictness::LineStart, Strictness::WholeLine] {
            let Some(bytes_left) = reader.bytes_left.checked_sub(body.len()) else {
                reader.arena.hit_limit(OverLimit::Depth);
                more = true;
                break;
            };
            reader.bytes_left = bytes_left;
            let delimiters = Delimiters { body, finder: &finder, strictness, position: 0 };
            let count = delimiters.count();
            if count == 0 || count == last_count {
                continue;
            }
            more |= last_count > 0;
            last_count = count;
            any = true;
            more |= pieces(delimiters, home, reader);
        }
    }
    match (any, more) {
        (false, _) => Found::Nothing,
        (true, true) => Found::PartsAndMore,
        (true, false) => Found::Parts,
    }
}

/// What a server takes for a delimiter, from the most to the fewest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// The boundary anywhere.
    Anywhere,
    /// The boundary at the start of a line, whatever follows.
    LineStart,
    /// The boundary behind CRLF or at the body's start, then blanks and the end of the line or of the body.
    WholeLine,
}

/// The delimiters of a body: where each begins and ends, from the dashes to the boundary's end.
#[derive(Debug, Clone, Copy)]
struct Delimiters<'a> {
    body: &'a [u8],
    finder: &'a Finder<'a>,
    strictness: Strictness,
    position: usize,
}

impl Iterator for Delimiters<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.position + self.finder.find(&self.body[self.position..])?;
            let end = start + self.finder.needle().len();
            reading::note(end - self.position);
            self.position = end;
            let (before, after) = (&self.body[..start], &self.body[end..]);
            let counts = match self.strictness {
                Strictness::Anywhere => true,
                Strictness::LineStart => matches!(before.last(), None | Some(b'\r' | b'\n')),
                Strictness::WholeLine => (start == 0 || before.ends_with(b"\r\n")) && ends_line(after),
            };
            if counts {
                return Some((start, end));
            }
        }
    }
}

/// Whether the closing dashes, if any, blanks and the end of the line follow a boundary.
fn ends_line(after: &[u8]) -> bool {
    let after = skip_blanks(after.strip_prefix(b"--").unwrap_or(after));
    after.is_empty() || after.starts_with(b"\n") || after.starts_with(b"\r\n")
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

/// Adds all that the delimiters part from each other. Says whether something but white space lies outside of the parts.
fn pieces(delimiters: Delimiters<'_>, home: Home, reader: &mut Reader<'_>) -> bool {
    let body = delimiters.body;
    let mut outside = false;
    let mut start = 0;
    let mut is_part = false;
    for (end, next) in delimiters.chain([(body.len(), body.len())]) {
        if reader.arena.is_full() {
            break;
        }
        let piece = &body[start..end];
        start = next;
        // Behind the closing delimiter a reader may stop or go on: it is text, and what follows it may be parts again.
        if is_part && !piece.starts_with(b"--") {
            part(piece, home, reader);
        } else if !piece.trim_ascii().is_empty() && piece.trim_ascii() != b"--" {
            outside = true;
            add_text(piece, home.node, Place::Body, reader.arena);
        }
        is_part = true;
    }
    outside
}

/// One part, from the end of its delimiter to the next delimiter.
fn part(part: &[u8], home: Home, reader: &mut Reader<'_>) {
    let arena = &mut *reader.arena;
    let part = skip_line_end(part);
    let (head, content) = split_head(part);
    let whole_content = content;
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let mut names = Names::default();
    dispositions(head).for_each(|field| names.read(field));
    let mut names = names.all();
    let (name, is_own) = match (names.next(), home.outer) {
        (Some(name), _) => (arena.copy(name), true),
        // It is a value already, at the part around this one.
        (None, Some(outer)) => (outer, false),
        (None, None) => {
            // No server would know what to do with it, but one might do something.
            add_text(part, home.node, Place::Body, arena);
            return nested(head, content, home, reader);
        }
    };
    let node = arena.node(home.node, Step::Name(name));
    if is_own {
        arena.add(name, node, Place::Name, 0);
        // Some give what lies in a part its name.
        home.outer.into_iter().for_each(|outer| arena.also_named(node, outer));
    }
    for name in names {
        let span = arena.copy(name);
        arena.also_named(node, span);
        arena.add(span, node, Place::Name, 0);
    }
    let place = if is_file(head) && !is_json(head) { Place::File } else { Place::Body };
    let transfer = add_head(head, node, arena);
    let span = arena.copy(content);
    arena.add_from(whole_content, span, node, place, 0);
    if let Some(charset) = charset::sniff(content) {
        let node = arena.node(node, Step::Decoder(charset.name()));
        let span = arena.write(|bytes| charset.decode(content, bytes));
        arena.add(span, node, place, 1);
    }
    if let Some(transfer) = transfer {
        let node = arena.node(node, Step::Decoder(transfer.name()));
        let span = arena.write(|bytes| transfer.decode(content, bytes));
        arena.add(span, node, place, 1);
    }
    nested(head, content, Home { outer: Some(name), ..home }, reader);
}

/// Adds the parts that a part holds, if its head says so.
fn nested(head: &[u8], content: &[u8], home: Home, reader: &mut Reader<'_>) {
    let types = || content_types(head).filter(|value| is_multipart(value));
    if types().next().is_none() || reader.arena.is_full() {
        return;
    }
    if home.depth == NESTED_MAX {
        return reader.arena.hit_limit(OverLimit::Depth);
    }
    add_at(content, types(), Home { depth: home.depth + 1, ..home }, reader);
}

fn is_multipart(content_type: &[u8]) -> bool {
    const TYPE: &[u8] = b"multipart/";
    content_type.windows(TYPE.len()).any(|window| window.eq_ignore_ascii_case(TYPE))
}

/// The values of all Content-Type fields in a part's head, with the lines that continue them.
fn content_types(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields(head, b"content-type")
}

/// Adds what a part's head holds besides the part's name. Returns how the content is encoded.
fn add_head(head: &[u8], node: NodeId, arena: &mut Arena) -> Option<Transfer> {
    let mut transfer = None;
    for line in lines(head).map(<[u8]>::trim_ascii) {
        let (name, value) = field(line).unwrap_or((b"", line));
        if name.eq_ignore_ascii_case(DISPOSITION) {
            add_file_names(value, node, arena);
            if parameters::is_usual_disposition(value) {
                continue;
            }
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            transfer = transfer.or(Transfer::named(value));
        }
        if !is_harmless_field(name, value) {
            let node = arena.node(node, Step::Part("head"));
            let shown = arena.write(|bytes| bytes.extend(name.iter().map(u8::to_ascii_lowercase)));
            let node = if name.is_empty() { node } else { arena.node(node, Step::Name(shown)) };
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
                arena.add(shown, node, Place::Name, 0);
            }
            add_text(value, node, Place::Header, arena);
        }
    }
    transfer
}

/// Adds the names of a file that a Content-Disposition field gives, also one in pieces (RFC 2231 section 3): in their
/// order, and by their numbers where those say another one.
fn add_file_names(field: &[u8], node: NodeId, arena: &mut Arena) {
    const NAME: &[u8] = b"filename";
    let add = |span, arena: &mut Arena| {
        let node = arena.node(node, Step::Part("filename"));
        arena.add(span, node, Place::FileName, 0);
    };
    // Each piece's number and where it lies in `joined`.
    let (mut joined, mut pieces) = (Vec::new(), Vec::new());
    for (key, value) in Parameters::new(field, true) {
        let (start, rest) = key.split_at(key.len().min(NAME.len()));
        if !start.eq_ignore_ascii_case(NAME) {
            continue;
        }
        let value = if matches!(rest, b"*" | b"*0*") { without_charset(value) } else { value };
        match rest {
            b"" | b"*" => {
                let span = arena.write(|bytes| percent::decode(value, Plus::Literal, bytes));
                add(span, arena);
            }
            [b'*', number @ ..] if number.first().is_some_and(u8::is_ascii_digit) => {
                let digits = number.iter().take_while(|byte| byte.is_ascii_digit());
                let number = digits.fold(0_u32, |number, digit| {
                    number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
                });
                let start = joined.len();
                percent::decode(value, Plus::Literal, &mut joined);
                pieces.push((number, start..joined.len()));
            }
            _ => {}
        }
    }
    if !joined.is_empty() {
        let span = arena.copy(&joined);
        add(span, arena);
    }
    if !pieces.is_sorted_by_key(|(number, _)| *number) {
        pieces.sort_by_key(|(number, _)| *number);
        let span = arena.write(|bytes| {
            pieces.into_iter().for_each(|(_, piece)| bytes.extend_from_slice(&joined[piece]));
        });
        add(span, arena);
    }
}

/// An encoded value without the character set and the language that stand before it: `UTF-8'en'`.
fn without_charset(value: &[u8]) -> &[u8] {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let is_name = |part: &[u8]| {
        part.len() <= CHARSET_BYTES_MAX
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match (parts.next(), parts.next(), parts.next()) {
        (Some(charset), Some(language), Some(text)) if is_name(charset) && is_name(language) => text,
        _ => value,
    }
}

/// The longest name of a character set or a language before an encoded value.
const CHARSET_BYTES_MAX: usize = 32;

const DISPOSITION: &[u8] = b"content-disposition";

/// Whether a field of a part's head is of the usual ones and holds a media type, a length or the name of an encoding.
fn is_harmless_field(name: &[u8], value: &[u8]) -> bool {
    const USUAL: [&[u8]; 3] = [b"content-type", b"content-length", b"content-transfer-encoding"];
    let is_usual = name.is_empty() || USUAL.iter().any(|usual| name.eq_ignore_ascii_case(usual));
    let is_word_byte = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'/' | b';' | b'.' | b'-' | b'+' | b'_' | b'=')
    };
    is_usual
        && value.iter().all(is_word_byte)
        && !value.starts_with(b";")
        && memchr::memchr_iter(b'/', value).count() <= 1
        && memchr::memmem::find(value, b"..").is_none()
}

/// The name and value of a line in a part's head.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
}

/// The values of all Content-Disposition fields in a part's head, with the lines that continue them.
fn dispositions(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields(head, DISPOSITION)
}

/// The values of all fields with this name, with the lines that continue them.
fn fields<'a>(head: &'a [u8], wanted: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines(head)
        .filter_map(field)
        .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value)
}

/// The lines of a part's head, each with those that continue it.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let goes_on = |at: &usize| matches!(rest.get(at + 1), Some(b' ' | b'\t'));
        let end = memchr::memchr_iter(b'\n', rest).find(|at| !goes_on(at)).unwrap_or(rest.len());
        let line = &rest[..end];
        let is_over = rest.is_empty();
        rest = rest.get(end + 1..).unwrap_or_default();
        (!is_over).then_some(line)
    })
}

/// Whether every server takes the part for an uploaded file. Some know no `filename*`, an empty name says nothing to
/// some, and which of several fields or parameters counts differs, as does whether a backslash escapes a quote.
fn is_file(head: &[u8]) -> bool {
    let names_file = |field, escapes| {
        let mut file_names = Parameters::new(field, escapes)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"filename"))
            .map(|(_, value)| value)
            .peekable();
        file_names.peek().is_some() && file_names.all(|file_name| !file_name.is_empty())
    };
    // Single quotes are quotes to some, unless double ones are around them.
    let unquoted = |field: &[u8]| parameters::is_usual_disposition(field) || !field.contains(&b'\'');
    // Lines that continue a field are not seen by all.
    let is_one_line = |field: &[u8]| !field.contains(&b'\n');
    dispositions(head).all(|field| {
        names_file(field, true) && names_file(field, false) && unquoted(field) && is_one_line(field)
    })
}

/// Whether a part says that it is JSON: scripts send documents as files without a name of their own, and applications read
/// them by this type.
fn is_json(head: &[u8]) -> bool {
    content_types(head)
        .any(|value| value.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/json")))
}

/// Splits a part at its first empty line; without one it is all head.
fn split_head(part: &[u8]) -> (&[u8], &[u8]) {
    let mut position = 0;
    while let Some(length) = memchr::memchr(b'\n', &part[position..]) {
        let line = &part[position..position + length];
        position += length + 1;
        if matches!(line, b"" | b"\r") {
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

fn add_text(text: &[u8], node: NodeId, place: Place, arena: &mut Arena) {
    let span = arena.write(|bytes| bytes.extend_from_slice(text));
    arena.add_from(text, span, node, place, 0);
}

#[cfg(test)]
mod tests;
