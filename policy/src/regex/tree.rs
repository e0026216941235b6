//! A regex as a tree over bytes and the marks of a value's beginning and end.

use super::Refusal;
use super::set::ByteSet;

/// A part of a regex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tree {
    /// Matches nothing, not even the empty text.
    Nothing,
    /// Matches the empty text.
    Empty,
    /// One byte of the set.
    Byte(ByteSet),
    /// The beginning of the value.
    Beginning,
    /// The end of the value.
    End,
    /// One after the other.
    Sequence(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
    /// At least so often, and at most so often.
    Repeat(Box<Self>, u32, Option<u32>),
    /// All of them.
    All(Vec<Self>),
    /// Whatever the inner one doesn't match.
    Not(Box<Self>),
}

/// The most bytes and marks that a regex may have once its repeats are written out.
const MAX_POSITIONS: usize = 5_000;

impl Tree {
    pub(super) fn sequence(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut sequence = Vec::new();
        for part in parts {
            match part {
                Self::Nothing => return Self::Nothing,
                Self::Empty => {}
                Self::Sequence(inner) => sequence.extend(inner),
                part => sequence.push(part),
            }
        }
        match sequence.len() {
            0 => Self::Empty,
            1 => sequence.remove(0),
            _ => Self::Sequence(sequence),
        }
    }

    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut any = Vec::new();
        for part in parts {
            match part {
                Self::Nothing => {}
                Self::Any(inner) => any.extend(inner),
                part => any.push(part),
            }
        }
        any.sort();
        any.dedup();
        match any.len() {
            0 => Self::Nothing,
            1 => any.remove(0),
            _ => Self::Any(any),
        }
    }

    pub(super) fn repeat(inner: Self, min: u32, max: Option<u32>) -> Self {
        match (inner, min, max) {
            (_, _, Some(0)) | (Self::Empty, ..) | (Self::Nothing, 0, _) => Self::Empty,
            (Self::Nothing, ..) => Self::Nothing,
            (inner, 1, Some(1)) => inner,
            (inner, min, max) => Self::Repeat(Box::new(inner), min, max),
        }
    }

    /// Whether it matches the empty text, without marks.
    pub(super) fn is_nullable(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Nothing | Self::Byte(_) | Self::Beginning | Self::End => false,
            Self::Sequence(parts) | Self::All(parts) => parts.iter().all(Self::is_nullable),
            Self::Any(parts) => parts.iter().any(Self::is_nullable),
            Self::Repeat(inner, min, _) => *min == 0 || inner.is_nullable(),
            Self::Not(inner) => !inner.is_nullable(),
        }
    }

    /// Whether there is a complement or an intersection in it.
    pub(super) fn needs_automaton(&self) -> bool {
        match self {
            Self::All(_) | Self::Not(_) => true,
            Self::Sequence(parts) | Self::Any(parts) => parts.iter().any(Self::needs_automaton),
            Self::Repeat(inner, ..) => inner.needs_automaton(),
            _ => false,
        }
    }

    /// All leaves replaced.
    fn map(&self, leaf: &impl Fn(&Self) -> Self) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.map(leaf)).collect::<Vec<_>>();
        match self {
            Self::Sequence(parts) => Self::sequence(all(parts)),
            Self::Any(parts) => Self::any(all(parts)),
            Self::Repeat(inner, min, max) => Self::repeat(inner.map(leaf), *min, *max),
            Self::All(parts) => Self::All(all(parts)),
            Self::Not(inner) => Self::Not(Box::new(inner.map(leaf))),
            other => leaf(other),
        }
    }

    /// What of it can match behind the beginning: the beginning is nowhere any more.
    pub(super) fn without_beginnings(&self) -> Self {
        self.map(&|leaf| if *leaf == Self::Beginning { Self::Nothing } else { leaf.clone() })
    }

    /// What may follow where it starts by matching the beginning. For trees without complement and intersection.
    pub(super) fn after_beginning(&self) -> Self {
        match self {
            Self::Beginning => Self::Empty,
            Self::Any(parts) => Self::any(parts.iter().map(Self::after_beginning)),
            Self::Sequence(parts) => {
                // each part may be the one that matches the beginning if those before it match the empty text
                let mut ways = Vec::new();
                for (at, part) in parts.iter().enumerate() {
                    let rest = parts[at + 1..].iter().map(Self::without_beginnings);
                    ways.push(Self::sequence([part.after_beginning()].into_iter().chain(rest)));
                    if !part.is_nullable() {
                        break;
                    }
                }
                Self::any(ways)
            }
            Self::Repeat(inner, min, max) => {
                let less = max.map(|max| max - 1);
                let rest = Self::repeat(inner.without_beginnings(), min.saturating_sub(1), less);
                // (an inner one that matches the empty text makes the rest match it, too)
                Self::sequence([inner.after_beginning(), rest])
            }
            _ => Self::Nothing,
        }
    }

    /// What of it can match before the end: the end is nowhere any more.
    pub(super) fn without_ends(&self) -> Self {
        self.map(&|leaf| if *leaf == Self::End { Self::Nothing } else { leaf.clone() })
    }

    /// What may go before where it stops by matching the end. For trees without complement and intersection.
    pub(super) fn before_end(&self) -> Self {
        match self {
            Self::End => Self::Empty,
            Self::Any(parts) => Self::any(parts.iter().map(Self::before_end)),
            Self::Sequence(parts) => {
                // each part may be the one that matches the end if those behind it match the empty text
                let mut ways = Vec::new();
                for (at, part) in parts.iter().enumerate().rev() {
                    let start = parts[..at].iter().map(Self::without_ends);
                    ways.push(Self::sequence(start.chain([part.before_end()])));
                    if !part.is_nullable() {
                        break;
                    }
                }
                Self::any(ways)
            }
            Self::Repeat(inner, min, max) => {
                let less = max.map(|max| max - 1);
                let start = Self::repeat(inner.without_ends(), min.saturating_sub(1), less);
                Self::sequence([start, inner.before_end()])
            }
            _ => Self::Nothing,
        }
    }

    /// The sets of bytes in it.
    pub(super) fn sets(&self, out: &mut Vec<ByteSet>) {
        match self {
            Self::Byte(set) => out.push(*set),
            Self::Sequence(parts) | Self::Any(parts) | Self::All(parts) => {
                parts.iter().for_each(|part| part.sets(out));
            }
            Self::Repeat(inner, ..) | Self::Not(inner) => inner.sets(out),
            Self::Nothing | Self::Empty | Self::Beginning | Self::End => {}
        }
    }

    /// What whole values mustn't be, in a regex that says nothing else: `^(~(...))$`.
    pub(super) fn complement_of_whole_value(&self) -> Option<Self> {
        let Self::Sequence(parts) = self else { return None };
        match parts.as_slice() {
            [Self::Beginning, Self::Not(inner), Self::End] if !inner.needs_automaton() => {
                Some(Self::sequence([Self::Beginning, (**inner).clone(), Self::End]))
            }
            _ => None,
        }
    }

    /// Bytes and marks that come of counts alone.
    pub(super) fn counted_positions(&self) -> usize {
        match self {
            Self::Repeat(inner, min, max) => {
                let times = max.unwrap_or(*min).max(1) as usize;
                inner.positions().saturating_mul(times - 1).saturating_add(inner.counted_positions())
            }
            Self::Sequence(parts) | Self::Any(parts) | Self::All(parts) => {
                parts.iter().fold(0, |sum, part| sum.saturating_add(part.counted_positions()))
            }
            Self::Not(inner) => inner.counted_positions(),
            _ => 0,
        }
    }

    /// Bytes and marks once repeats are written out.
    pub(super) fn positions(&self) -> usize {
        match self {
            Self::Nothing | Self::Empty => 0,
            Self::Byte(_) | Self::Beginning | Self::End => 1,
            Self::Sequence(parts) | Self::Any(parts) | Self::All(parts) => {
                parts.iter().fold(0, |sum, part| sum.saturating_add(part.positions()))
            }
            Self::Repeat(inner, min, max) => {
                let times = max.unwrap_or(*min).max(1) as usize;
                inner.positions().saturating_mul(times)
            }
            Self::Not(inner) => inner.positions(),
        }
    }

    /// Refuses what would grow out of bounds.
    pub(super) fn check_size(&self) -> Result<(), Refusal> {
        let positions = self.positions();
        if positions > MAX_POSITIONS {
            return Err(Refusal::new(
                format!("with its repeats written out the regex is {positions} characters long"),
                format!("at most {MAX_POSITIONS}: smaller repeats, or `*` and `+`"),
            ));
        }
        Ok(())
    }
}
