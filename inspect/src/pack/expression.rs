//! What a signature's expressions must be like.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The fewest bytes in a row that each match of a pattern must hold, unless the signature says why it can't.
pub(super) const LITERAL_BYTES_MIN: usize = 3;

/// Parses an expression as the confirming matcher does: bytes, no Unicode, `.` matches all.
pub(crate) fn parse(pattern: &str, caseless: bool) -> Result<Hir, String> {
    regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .case_insensitive(caseless)
        .build()
        .parse(pattern)
        .map_err(|error| error.to_string())
}

/// Checks what nominates: it needs a byte at least, and no anchors. Returns how many bytes in a row each match of it holds.
pub(super) fn check_pattern(pattern: &str, caseless: bool) -> Result<usize, String> {
    let parsed = parse(pattern, caseless).map_err(|error| format!("the pattern does not parse: {error}"))?;
    let properties = parsed.properties();
    if properties.minimum_len().unwrap_or(0) == 0 {
        return Err("the pattern can match nothing at all; it needs at least one byte".to_owned());
    }
    let anchors = [Look::Start, Look::End, Look::StartLF, Look::EndLF, Look::StartCRLF, Look::EndCRLF];
    if anchors.iter().any(|anchor| properties.look_set().contains(*anchor)) {
        return Err(
            "the pattern is anchored, but many values are scanned in one buffer: put `^` and `$` into \
                    `second` with confirm = \"regex\""
                .to_owned(),
        );
    }
    Ok(literal(&parsed).longest)
}

/// The literals that a part of an expression can't do without, by their least lengths in bytes.
#[derive(Debug, Clone, Copy)]
struct Literal {
    /// Of the longest anywhere.
    longest: usize,
    /// Of the one that each match begins with, and of the one that each ends with.
    first: usize,
    last: usize,
    /// Whether the part is nothing but literals.
    is_whole: bool,
}

impl Literal {
    const EMPTY: Self = Self { longest: 0, first: 0, last: 0, is_whole: true };
    const NONE: Self = Self { is_whole: false, ..Self::EMPTY };

    const fn of(bytes: usize) -> Self {
        Self { longest: bytes, first: bytes, last: bytes, is_whole: true }
    }

    fn then(self, next: Self) -> Self {
        Self {
            longest: self.longest.max(next.longest).max(self.last + next.first),
            first: if self.is_whole { self.first + next.first } else { self.first },
            last: if next.is_whole { next.last + self.last } else { next.last },
            is_whole: self.is_whole && next.is_whole,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            longest: self.longest.min(other.longest),
            first: self.first.min(other.first),
            last: self.last.min(other.last),
            is_whole: self.is_whole && other.is_whole,
        }
    }
}

fn literal(hir: &Hir) -> Literal {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Literal::EMPTY,
        HirKind::Literal(literal) => Literal::of(literal.0.len()),
        HirKind::Class(class) if is_letter(class) => Literal::of(1),
        HirKind::Class(_) => Literal::NONE,
        HirKind::Capture(capture) => literal(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(literal).fold(Literal::EMPTY, Literal::then),
        HirKind::Alternation(parts) => {
            parts.iter().map(literal).reduce(Literal::or).unwrap_or(Literal::EMPTY)
        }
        HirKind::Repetition(repetition) if repetition.min == 0 => Literal::NONE,
        HirKind::Repetition(repetition) => {
            let once = literal(&repetition.sub);
            let is_whole = once.is_whole && repetition.max == Some(repetition.min);
            (1..repetition.min.min(8)).fold(once, |all, _| all.then(once)).with_whole(is_whole)
        }
    }
}

impl Literal {
    const fn with_whole(self, is_whole: bool) -> Self {
        Self { is_whole, ..self }
    }
}

/// Whether a class is one letter in both cases, or two bytes at most, between which a matcher for literals needs no choice.
fn is_letter(class: &Class) -> bool {
    let Class::Bytes(class) = class else { return false };
    let bytes: Vec<u8> = class.iter().flat_map(|range| range.start()..=range.end()).take(3).collect();
    match bytes[..] {
        [_] => true,
        [first, second] => first.eq_ignore_ascii_case(&second),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_those_that_every_match_holds() {
        for (pattern, expected) in [
            ("abc", 3),
            ("(?:abc|defg)", 3),
            ("(?:foo|far)", 3),
            ("https?:", 4),
            ("x[0-9]{1,4}sleep\\(", 6),
            ("(?:a|)bc", 2),
            ("[ab]c", 1),
            ("(?:abc)?de", 2),
            ("(?:ab){2}c", 5),
            ("(?:ab){2,}c", 5),
            ("(?:a[0-9]){2,}bc", 2),
            ("\\babc\\b", 3),
            ("\\s{1,4}", 0),
            (".*", 0),
        ] {
            assert_eq!(literal(&parse(pattern, true).unwrap()).longest, expected, "{pattern}");
        }
    }
}
