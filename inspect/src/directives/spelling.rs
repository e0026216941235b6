//! When a name in a request is one that a directive names.

use crate::directives::selector::Pick;

/// How much of a difference between two names doesn't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// None of it.
    Exact,
    /// Case, which servers ignore that bind names to fields of a program.
    AnyCase,
    /// Case, and `-`, `_` and `.` for each other: a CGI variable doesn't tell them apart.
    AnyHeader,
    /// Case, and a blank, a dot, an open bracket and `_` for each other: some read the first three as the last.
    AnyField,
}

impl Spelling {
    /// Whether two names are the same.
    pub(super) fn same(self, written: &[u8], name: &[u8]) -> bool {
        match self {
            Self::Exact => written == name,
            Self::AnyCase => written.eq_ignore_ascii_case(name),
            Self::AnyHeader | Self::AnyField => {
                let same = |(written, name): (&u8, &u8)| {
                    written.eq_ignore_ascii_case(name) || (self.folds(*written) && self.folds(*name))
                };
                written.len() == name.len() && written.iter().zip(name).all(same)
            }
        }
    }

    /// Whether a byte is the same as each other one of its kind.
    const fn folds(self, byte: u8) -> bool {
        match self {
            Self::Exact | Self::AnyCase => false,
            Self::AnyHeader => matches!(byte, b'-' | b'_' | b'.'),
            Self::AnyField => matches!(byte, b'_' | b'.' | b' ' | b'['),
        }
    }
}

/// How many picks a step's text takes: one that is the same, or several that are its pieces between dots.
pub(super) fn taken(text: &[u8], picks: &[Pick], spelling: Spelling) -> usize {
    let taken_by = |name: &[u8]| match text.split_at_checked(name.len()) {
        Some((start, rest)) if spelling.same(start, name) => match rest {
            [] => 1,
            [joint, rest @ ..] if *joint == b'.' || spelling.folds(*joint) => {
                match taken(rest, &picks[1..], spelling) {
                    0 => 0,
                    more => 1 + more,
                }
            }
            _ => 0,
        },
        _ => 0,
    };
    match picks.first() {
        None => 0,
        Some(Pick::Any) => 1,
        Some(Pick::Name { text, decoded, .. }) => match (taken_by(text), decoded) {
            (0, Some(decoded)) => taken_by(decoded),
            (taken, _) => taken,
        },
    }
}
