//! Bytes with fields that differ from request to request, the same for the same seed and number.

use std::io::Write;

/// The longest random text of one field.
const MOST_CHARACTERS: usize = 65_536;
const FIELD_HELP: &str =
    "fields are ${int:1-1000}, ${letters:8}, ${hex:16}, ${choice:a|b|c} and ${number}; write $${ for ${";

/// Text with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Integer { low: u64, high: u64 },
    Letters(usize),
    Hex(usize),
    Choice(Vec<String>),
    Number,
}

/// Random numbers of one request: the generator splitmix64, from the run's seed and the request's number.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64, number: u64) -> Self {
        // Neighbouring numbers must not give streams that overlap.
        let mut start = Self(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        Self(start.next())
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to just below `limit`, which is over 0.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        ((self.next() as u128 * limit as u128) >> 64) as u64
    }
}

impl Template {
    /// No fields: these bytes as they are.
    pub(crate) fn fixed(bytes: &[u8]) -> Self {
        Self(if bytes.is_empty() { Vec::new() } else { vec![Piece::Text(bytes.to_vec())] })
    }

    /// Reads text with fields.
    ///
    /// # Errors
    ///
    /// A sentence about a field that isn't one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, field) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                literal += before;
                literal += "${";
                rest = &field[2..];
                continue;
            }
            literal += before;
            let (inside, after) = field[2..]
                .split_once('}')
                .ok_or_else(|| format!("a field is open at its end: {FIELD_HELP}"))?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into_bytes()));
            }
            pieces.push(
                Piece::parse(inside).ok_or_else(|| format!("${{{inside}}} is no field: {FIELD_HELP}"))?,
            );
            rest = after;
        }
        literal += rest;
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into_bytes()));
        }
        Ok(Self(pieces))
    }

    /// Appends bytes as they are.
    pub(crate) fn push_text(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Piece::Text(text)) => text.extend_from_slice(bytes),
            _ => self.0.push(Piece::Text(bytes.to_vec())),
        }
    }

    /// The bytes, if they are always the same.
    pub(crate) fn as_fixed(&self) -> Option<&[u8]> {
        match &self.0[..] {
            [] => Some(&[]),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the bytes of request `number`.
    pub(crate) fn fill(&self, out: &mut Vec<u8>, random: &mut Random, number: u64) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Integer { low, high } => {
                    let value = match (high - low).checked_add(1) {
                        Some(count) => low + random.below(count),
                        None => random.next(),
                    };
                    write_number(out, value);
                }
                Piece::Letters(count) => random_text(out, random, *count, b"abcdefghijklmnopqrstuvwxyz"),
                Piece::Hex(count) => random_text(out, random, *count, b"0123456789abcdef"),
                Piece::Choice(texts) => {
                    let index = random.below(texts.len() as u64) as usize;
                    out.extend_from_slice(texts[index].as_bytes());
                }
                Piece::Number => write_number(out, number),
            }
        }
    }
}

impl Piece {
    fn parse(field: &str) -> Option<Self> {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        let count = || value.parse().ok().filter(|count| (1..=MOST_CHARACTERS).contains(count));
        match name {
            "int" => {
                let (low, high) = value.split_once('-')?;
                let (low, high) = (low.parse().ok()?, high.parse().ok()?);
                (low <= high).then_some(Self::Integer { low, high })
            }
            "letters" => count().map(Self::Letters),
            "hex" => count().map(Self::Hex),
            "choice" => Some(Self::Choice(value.split('|').map(str::to_owned).collect())),
            "number" if value.is_empty() => Some(Self::Number),
            _ => None,
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    // Writing to a vector can't fail.
    let _written = write!(out, "{number}");
}

fn random_text(out: &mut Vec<u8>, random: &mut Random, count: usize, alphabet: &[u8]) {
    out.extend((0..count).map(|_| alphabet[random.below(alphabet.len() as u64) as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, seed: u64, number: u64) -> String {
        let mut out = Vec::new();
        Template::parse(text).unwrap().fill(&mut out, &mut Random::new(seed, number), number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_filled_within_their_ranges() {
        for number in 0..200 {
            let text = fill("a${int:7-9}b${letters:3}c${hex:4}d${choice:x|yy|}e${number}f$${g}", 1, number);
            let (int, rest) = text.strip_prefix('a').unwrap().split_once('b').unwrap();
            assert!(["7", "8", "9"].contains(&int), "{text}");
            assert!(rest[..3].bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
            let (hex, rest) = (&rest[4..8], &rest[9..]);
            assert!(hex.len() == 4 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
            let expected = ["x", "yy", ""].map(|choice| format!("{choice}e{number}f${{g}}"));
            assert!(expected.iter().any(|expected| expected == rest), "{text}");
        }
        assert!(fill("${int:0-18446744073709551615}", 1, 1).parse::<u64>().is_ok());
    }

    #[test]
    fn the_same_seed_and_number_give_the_same() {
        let text = "${hex:16}";
        assert_eq!(fill(text, 5, 9), fill(text, 5, 9));
        let all: std::collections::HashSet<_> =
            (0..50).flat_map(|seed| (0..50).map(move |number| fill(text, seed, number))).collect();
        assert_eq!(all.len(), 2500);
    }

    #[test]
    fn what_is_no_field_is_an_error() {
        for bad in [
            "${",
            "${int}",
            "${int:9-7}",
            "${int:-5}",
            "${hex:0}",
            "${hex:99999999}",
            "${number:1}",
            "${jndi:x}",
        ] {
            assert!(Template::parse(bad).unwrap_err().contains("fields are"), "{bad}");
        }
        assert_eq!(Template::parse("plain $ { } $$").unwrap().as_fixed(), Some(&b"plain $ { } $$"[..]));
    }
}
