//! Regexes in Hyperscan's words.

use std::fmt::Write;

use super::set::ByteSet;
use super::tree::Tree;

/// Two bytes that stand around a value in a buffer and that no pattern takes for anything else; and the byte that those two
/// are written as inside a value, which no pattern tells apart from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) beginning: u8,
    pub(super) end: u8,
    pub(super) instead: u8,
}

impl Frame {
    /// A byte of a value, any one.
    pub(super) fn any_byte(self) -> ByteSet {
        ByteSet::of(self.beginning).union(ByteSet::of(self.end)).complement()
    }
}

/// Appends one byte.
pub(super) fn write_byte(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        // writing to a String can't fail
        let _ = write!(out, "\\x{byte:02x}");
    }
}

fn write_set(set: ByteSet, frame: Option<Frame>, out: &mut String) {
    let set = frame.map_or(set, |frame| set.intersection(frame.any_byte()));
    if set == ByteSet::ALL {
        return out.push('.');
    }
    if set.len() == 1 {
        set.bytes().for_each(|byte| write_byte(byte, out));
        return;
    }
    // a class of all but a few is shorter, and recognised as what it is; no bytes at all are all but all
    let (shown, sign) = if set.len() > 128 || set.is_empty() { (set.complement(), "^") } else { (set, "") };
    out.push('[');
    out.push_str(sign);
    for (first, last) in shown.ranges() {
        write_byte(first, out);
        if first != last {
            out.push('-');
            write_byte(last, out);
        }
    }
    out.push(']');
}

/// Appends the regex, in parentheses where it is a part of something. Beginnings, complements and intersections are gone.
/// Without a frame the text is a value and nothing else.
pub(super) fn write_tree(tree: &Tree, frame: Option<Frame>, out: &mut String) {
    match tree {
        Tree::Byte(set) => write_set(*set, frame, out),
        Tree::End => match frame {
            Some(frame) => write_byte(frame.end, out),
            None => out.push_str("\\z"),
        },
        Tree::Sequence(parts) => {
            for part in parts {
                if matches!(part, Tree::Any(_)) {
                    write_group(part, frame, out)
                } else {
                    write_tree(part, frame, out)
                }
            }
        }
        Tree::Any(parts) => {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                write_tree(part, frame, out);
            }
        }
        Tree::Repeat(inner, min, max) => {
            if matches!(**inner, Tree::Byte(_) | Tree::End) {
                write_tree(inner, frame, out);
            } else {
                write_group(inner, frame, out);
            }
            let _ = match (min, max) {
                (0, None) => write!(out, "*"),
                (1, None) => write!(out, "+"),
                (0, Some(1)) => write!(out, "?"),
                (min, None) => write!(out, "{{{min},}}"),
                (min, Some(max)) if min == max => write!(out, "{{{min}}}"),
                (min, Some(max)) => write!(out, "{{{min},{max}}}"),
            };
        }
        Tree::Empty => out.push_str("(?:)"),
        // matches no byte
        Tree::Nothing | Tree::Beginning | Tree::All(_) | Tree::Not(_) => write_set(ByteSet::NONE, frame, out),
    }
}

fn write_group(tree: &Tree, frame: Option<Frame>, out: &mut String) {
    out.push_str("(?:");
    write_tree(tree, frame, out);
    out.push(')');
}
