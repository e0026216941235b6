//! What tolerant readers take that is no JSON: single quotes, names and texts without quotes, comments, `;` and `=` as
//! separators, and separators that are missing or too many.

use crate::arena::{Arena, Span, Step};
use crate::decode::json::{Expect, JsonReader, Target, unescape};
use crate::place::Place;
use crate::reading;

impl JsonReader {
    /// Reads on from a byte that JSON doesn't have there, which isn't white space. Returns where to go on and what may come
    /// then; nothing where no reader goes on.
    pub(super) fn leniently(
        &mut self,
        expect: Expect,
        input: &[u8],
        position: usize,
        target: Target,
        arena: &mut Arena,
    ) -> Option<(usize, Expect)> {
        self.sloppy = true;
        if let Some(length) = comment_length(&input[position..]) {
            reading::note(length);
            return Some((position + length, expect));
        }
        match (expect, input[position]) {
            (Expect::Value | Expect::Key | Expect::CommaOrEnd, b',' | b';') => {
                if expect == Expect::Value && self.is_in_list() {
                    self.skip_value();
                }
                Some((position + 1, self.after_comma()))
            }
            (Expect::Colon, b'=') => {
                let arrow = usize::from(input.get(position + 1) == Some(&b'>'));
                Some((position + 1 + arrow, Expect::Value))
            }
            // Something is missing in front of it: a comma, a name, a colon and its value, a value.
            (Expect::CommaOrEnd, _) => self.fault(position, self.after_comma()),
            (Expect::Key, b':' | b'=') => self.fault(position, Expect::Colon),
            (Expect::Key, b'{' | b'[') => self.fault(position, Expect::Value),
            (Expect::Colon, _) => self.fault(position, Expect::CommaOrEnd),
            (Expect::Value, b'}') if !self.frames.is_empty() && !self.is_in_list() => {
                self.fault(position, Expect::CommaOrEnd)
            }
            (Expect::Value, b':' | b'=') => self.fault(position + 1, Expect::Value),
            (Expect::Key, _) => {
                let (name, end) = text(input, position, arena)?;
                if input[position] != b'\'' && !input[position..end].iter().all(is_in_identifier) {
                    return None;
                }
                let frame = self.frames.last_mut()?;
                let node = arena.node(frame.node, Step::Name(name));
                arena.add(name, node, Place::Name, target.depth);
                frame.name = name;
                frame.member = Some(node);
                Some((end, Expect::Colon))
            }
            (Expect::Value, _) => {
                if self.frames.is_empty() {
                    self.fault(position, expect)?;
                }
                let (span, end) = text(input, position, arena)?;
                let node = self.start_value(target, arena);
                arena.add_from(&input[..end], span, node, target.place, target.depth);
                Some(self.after_value(input, end))
            }
        }
    }

    /// Goes on, unless there was too much of that.
    fn fault(&mut self, position: usize, expect: Expect) -> Option<(usize, Expect)> {
        self.faults += 1;
        (self.faults <= FAULTS_MAX).then_some((position, expect))
    }
}

/// The most faults after which it is still a document; text of other kinds has more.
const FAULTS_MAX: u8 = 16;

/// The length of the comment that starts here, if one does.
pub(crate) fn comment_length(input: &[u8]) -> Option<usize> {
    match input {
        [b'#', ..] | [b'/', b'/', ..] => Some(memchr::memchr2(b'\n', b'\r', input).unwrap_or(input.len())),
        [b'/', b'*', inside @ ..] => {
            Some(memchr::memmem::find(inside, b"*/").map_or(input.len(), |end| end + 4))
        }
        _ => None,
    }
}

/// Names without quotes are identifiers to tolerant readers; text of other kinds has more in it.
const fn is_in_identifier(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'.' | b'\\' | 0x80..)
}

/// A text in single quotes or none, with its escapes undone, and where it ends.
fn text(input: &[u8], position: usize, arena: &mut Arena) -> Option<(Span, usize)> {
    if input[position] == b'\'' {
        return Some(quoted(input, position, arena));
    }
    let length = input[position..].iter().take_while(|byte| !ends_word(**byte)).count();
    reading::note(length);
    let word = &input[position..position + length];
    (!word.is_empty()).then(|| (arena.write(|bytes| undo_escapes(word, bytes)), position + length))
}

/// A text in single quotes; one that is never closed ends with the input.
fn quoted(input: &[u8], start: usize, arena: &mut Arena) -> (Span, usize) {
    let mut end = start + 1;
    while let Some(offset) = memchr::memchr2(b'\'', b'\\', &input[end..]) {
        end += offset;
        if input[end] == b'\'' {
            break;
        }
        end = (end + 2).min(input.len());
    }
    if input.get(end) != Some(&b'\'') {
        end = input.len();
    }
    let span = arena.write(|bytes| undo_escapes(&input[start + 1..end], bytes));
    (span, (end + 1).min(input.len()))
}

fn undo_escapes(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(offset) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..offset]);
        rest = &rest[offset..];
        let length = if rest.get(1) == Some(&b'\'') {
            out.push(b'\'');
            2
        } else {
            unescape(rest, out)
        };
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// Whether a text without quotes ends before this byte.
const fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b';' | b'=' | b'"' | b'\'')
}
