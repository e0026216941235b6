//! Percent-encoding (RFC 3986 section 2.1) as forms and lenient servers read it.

use crate::reading;

/// How a plus sign is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    /// As itself: paths, cookies, headers.
    Literal,
    /// As a space: queries and forms.
    Space,
}

/// Appends `input` with its escapes decoded. Broken escapes stay as they are. Besides `%hh`, the `%uhhhh` form that some
/// servers read is decoded to UTF-8, its full-width letters to ASCII, as those servers do.
#[inline]
pub(crate) fn decode(input: &[u8], plus: Plus, out: &mut Vec<u8>) {
    // Most names and values are short, and nothing in them is encoded.
    const SHORT_BYTES_MAX: usize = 24;
    if input.len() <= SHORT_BYTES_MAX && !input.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return out.extend_from_slice(input);
    }
    decode_escapes(input, plus, out);
}

fn decode_escapes(input: &[u8], plus: Plus, out: &mut Vec<u8>) {
    reading::note(input.len());
    let mut rest = input;
    loop {
        let next = match plus {
            Plus::Literal => memchr::memchr(b'%', rest),
            Plus::Space => memchr::memchr2(b'%', b'+', rest),
        };
        let Some(position) = next else {
            out.extend_from_slice(rest);
            return;
        };
        out.extend_from_slice(&rest[..position]);
        rest = &rest[position..];
        let taken = if rest[0] == b'+' {
            out.push(b' ');
            1
        } else if let Some(byte) = escape(rest) {
            out.push(byte);
            3
        } else if let Some(character) = wide_escape(rest) {
            push_character(character, out);
            6
        } else {
            out.push(b'%');
            1
        };
        rest = &rest[taken..];
    }
}

/// Whether `input` starts with something that [`decode`] would decode.
pub(crate) fn is_escape(input: &[u8]) -> bool {
    escape(input).is_some() || wide_escape(input).is_some()
}

fn escape(input: &[u8]) -> Option<u8> {
    match input {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

fn wide_escape(input: &[u8]) -> Option<u32> {
    match input {
        [b'%', b'u' | b'U', digits @ ..] => hex_number(digits.get(..4)?),
        _ => None,
    }
}

/// The value of a hexadecimal digit.
pub(crate) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The value of up to eight hexadecimal digits.
pub(crate) fn hex_number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, digit| Some(number << 4 | u32::from(hex(*digit)?)))
}

/// Appends a code point as UTF-8, full-width forms as their ASCII look-alikes, and what is no character as U+FFFD.
pub(crate) fn push_character(code_point: u32, out: &mut Vec<u8>) {
    let folded = match code_point {
        0xff01..=0xff5e => code_point - 0xff01 + 0x21,
        _ => code_point,
    };
    let character = char::from_u32(folded).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &str, plus: Plus) -> String {
        let mut out = Vec::new();
        decode(input.as_bytes(), plus, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn escapes_and_pluses() {
        assert_eq!(decoded("a%20b+c", Plus::Space), "a b c");
        assert_eq!(decoded("a%20b+c", Plus::Literal), "a b+c");
        assert_eq!(decoded("%3Cscript%3e", Plus::Literal), "<script>");
        assert_eq!(decoded("%253c", Plus::Literal), "%3c");
    }

    #[test]
    fn broken_escapes_stay() {
        for text in ["100%", "%", "%4", "%zz", "%u12", "%u12g4"] {
            assert_eq!(decoded(text, Plus::Space), text);
        }
    }

    #[test]
    fn wide_escapes() {
        assert_eq!(decoded("%u003cb%uff1e", Plus::Literal), "<b>");
        assert_eq!(decoded("%ud800", Plus::Literal), "\u{fffd}");
    }
}
