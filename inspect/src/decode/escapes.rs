//! Escapes inside the strings of scripts: `\x3c`, `\u003c`, `\u{3c}` and `\074`.

use crate::decode::percent::{hex_number, push_character};

/// Whether there is an escape that stands for a character by its number.
pub(crate) fn are_in(input: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', input).any(|position| escape(&input[position..]).is_some())
}

/// Appends `input` with its numeric escapes replaced. Others stay as they are.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(position) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..position]);
        rest = &rest[position..];
        let taken = match escape(rest) {
            Some((character, length)) => {
                push_character(character, out);
                length
            }
            None => {
                out.push(b'\\');
                1
            }
        };
        rest = &rest[taken..];
    }
    out.extend_from_slice(rest);
}

/// The character and the length of the escape that `input` starts with.
fn escape(input: &[u8]) -> Option<(u32, usize)> {
    match input {
        [b'\\', b'x', digits @ ..] => Some((hex_number(digits.get(..2)?)?, 4)),
        [b'\\', b'u', b'{', digits @ ..] => {
            let length = digits.iter().take(8).position(|byte| *byte == b'}').filter(|length| *length > 0)?;
            Some((hex_number(&digits[..length])?, 4 + length))
        }
        [b'\\', b'u', digits @ ..] => Some((hex_number(digits.get(..4)?)?, 6)),
        // Three digits below 0o200: no back reference of an expression looks like that.
        [b'\\', high @ b'0'..=b'1', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
            let number = u32::from(high - b'0') << 6 | u32::from(middle - b'0') << 3 | u32::from(low - b'0');
            Some((number, 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_escapes_are_replaced() {
        let mut out = Vec::new();
        decode(b"\\x61\\u006c\\u{65}\\u{000072}\\164 \\n\\\\ \\u{} \\x4 \\19", &mut out);
        assert_eq!(out, b"alert \\n\\\\ \\u{} \\x4 \\19");
        assert!(are_in(b"a\\x3c") && !are_in(b"c:\\users\\xavier\\n"));
    }
}
