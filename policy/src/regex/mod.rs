//! Regular expressions of conditions: their dialect (spec S3.3), and how one scan asks many of them.
//!
//! A regex is parsed into a [`Tree`](tree::Tree) over bytes and two marks, the beginning and the end of the value. What
//! Hyperscan has no words for, complement and intersection, is worked out as an automaton and written as an ordinary
//! expression again ([`automaton`]). The values of one kind of point stand in one buffer, each in a frame of two bytes that
//! no pattern of that kind takes for anything else ([`matcher`]).

mod automaton;
mod matcher;
mod parse;
mod print;
mod set;
mod translate;
mod tree;

pub(crate) use matcher::{Buffer, Failure, Matcher, MatcherBuilder, Scanner};
pub use translate::{TranslatedRegex, translate_regex};

/// Why a regex can't be used, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub expected: String,
}

impl Refusal {
    fn new(problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { problem: problem.into(), expected: expected.into() }
    }
}

/// Longer regexes are refused.
const MAX_LENGTH: usize = 4_000;

/// A regex that can be matched, in the form that is compiled: without complement, intersection and beginnings.
#[derive(Debug, Clone)]
pub(crate) struct Regex {
    /// What may stand at the beginning of a value.
    at_start: tree::Tree,
    /// What may stand anywhere.
    anywhere: tree::Tree,
    /// It matches the values in which those don't occur.
    is_complement: bool,
}

/// What can be said of a regex without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It matches no value.
    Nothing,
    /// It matches every value that isn't empty.
    Everything,
    /// Neither is plain to see.
    Some,
}

/// What regexes that are matched together may add up to, in bytes and marks; and how many of these may come of counts like
/// `{100}`, which take most of the time to compile.
const MAX_POSITIONS: usize = 1_000_000;
const MAX_COUNTED_POSITIONS: usize = 40_000;

/// The size of regexes that are matched together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    positions: usize,
    counted: usize,
}

impl Size {
    pub(crate) fn add(&mut self, regex: &Regex) {
        for tree in [&regex.at_start, &regex.anywhere] {
            self.positions = self.positions.saturating_add(tree.positions());
            self.counted = self.counted.saturating_add(tree.counted_positions());
        }
    }

    pub(crate) const fn add_size(&mut self, other: Self) {
        self.positions = self.positions.saturating_add(other.positions);
        self.counted = self.counted.saturating_add(other.counted);
    }

    pub(crate) const fn is_too_large(&self) -> bool {
        self.positions > MAX_POSITIONS || self.counted > MAX_COUNTED_POSITIONS
    }

    pub(crate) fn refusal(problem: &str) -> Refusal {
        let expected = format!(
            "at most {MAX_POSITIONS} characters with counts like `{{100}}` written out, and {MAX_COUNTED_POSITIONS} that \
             come of such counts"
        );
        Refusal::new(problem, expected)
    }
}

impl Regex {
    /// Reads a regex. `any_case`: ASCII letters match in either case.
    pub(crate) fn new(text: &str, any_case: bool) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new(
                "the regex is empty, and so would match every value",
                "a regex, or no condition",
            ));
        }
        if text.len() > MAX_LENGTH {
            let problem = format!("the regex is {} bytes long", text.len());
            return Err(Refusal::new(
                problem,
                format!("at most {MAX_LENGTH} bytes; several rules may share the work"),
            ));
        }
        let tree = parse::parse(text, any_case)?;
        tree.check_size()?;
        if !tree.needs_automaton() {
            return Ok(Self::plain(&tree, false));
        }
        match (automaton::rewrite(&tree), tree.complement_of_whole_value()) {
            (Ok(at_start), _) => Ok(Self { at_start, anywhere: tree::Tree::Nothing, is_complement: false }),
            (Err(_), Some(inner)) => Ok(Self::plain(&inner, true)),
            (Err(refusal), None) => Err(refusal),
        }
    }

    fn plain(tree: &tree::Tree, is_complement: bool) -> Self {
        Self { at_start: tree.after_beginning(), anywhere: tree.without_beginnings(), is_complement }
    }

    /// Whether it matches nothing or everything, as far as that is plain to see.
    pub(crate) fn scope(&self) -> Scope {
        // one that is matched as a complement was too large to be seen through
        if self.is_complement {
            Scope::Some
        } else if self.anywhere.is_nullable() || self.at_start.is_nullable() {
            Scope::Everything
        } else if self.anywhere == tree::Tree::Nothing && self.at_start == tree::Tree::Nothing {
            Scope::Nothing
        } else {
            Scope::Some
        }
    }
}

/// Whether a regex is matched as a complement.
#[cfg(test)]
pub(crate) fn is_asked_by_what_it_leaves_out(text: &str) -> bool {
    Regex::new(text, false).is_ok_and(|regex| regex.is_complement)
}

/// Whether no value meets both regexes, as far as that can be worked out.
pub(crate) fn is_disjoint(a: &str, b: &str) -> bool {
    match (parse::parse(a, false), parse::parse(b, false)) {
        (Ok(a), Ok(b)) => automaton::have_common_value(&[a, b]).is_ok_and(|common| !common),
        _ => false,
    }
}

/// Whether some value is known to meet both regexes, of the values that `within` says (a regex too) if it does. `any_case`:
/// ASCII letters of the two match in either case.
pub(crate) fn have_common_value(a: &str, b: &str, within: Option<&str>, any_case: bool) -> bool {
    let (both, within) = ([a, b].into_iter().map(|text| (text, any_case)), within.map(|text| (text, false)));
    let trees: Result<Vec<_>, _> =
        both.chain(within).map(|(text, any_case)| parse::parse(text, any_case)).collect();
    trees.is_ok_and(|trees| automaton::have_common_value(&trees).unwrap_or(false))
}

#[cfg(test)]
mod tests;
