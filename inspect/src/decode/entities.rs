//! HTML character references, as browsers read them.

use crate::decode::percent::{hex_number, push_character};

/// References by name that attacks are written with. No text needs `&colon;` or `&lpar;`.
const NAMES: [(&[u8], u8); 24] = [
    (b"amp", b'&'),
    (b"apos", b'\''),
    (b"bsol", b'\\'),
    (b"colon", b':'),
    (b"comma", b','),
    (b"dollar", b'$'),
    (b"equals", b'='),
    (b"excl", b'!'),
    (b"grave", b'`'),
    (b"gt", b'>'),
    (b"lbrace", b'{'),
    (b"lbrack", b'['),
    (b"lcub", b'{'),
    (b"lpar", b'('),
    (b"lsqb", b'['),
    (b"lt", b'<'),
    (b"newline", b'\n'),
    (b"num", b'#'),
    (b"period", b'.'),
    (b"quot", b'"'),
    (b"rpar", b')'),
    (b"semi", b';'),
    (b"sol", b'/'),
    (b"tab", b'\t'),
];

/// What every escaping of HTML produces: alone it is no sign of hiding.
const USUAL: [&[u8]; 5] = [b"amp", b"apos", b"gt", b"lt", b"quot"];

/// The most digits of a number behind its leading zeros, of which there can be any number.
const DIGITS_MAX: usize = 7;

/// Whether there is a reference other than those that ordinary escaping produces.
pub(crate) fn are_hidden_in(input: &[u8]) -> bool {
    memchr::memchr_iter(b'&', input).any(|position| {
        reference(&input[position..])
            .is_some_and(|_| !USUAL.iter().any(|usual| is_name(&input[position + 1..], usual)))
    })
}

/// Appends `input` with its references replaced.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(position) = memchr::memchr(b'&', rest) {
        out.extend_from_slice(&rest[..position]);
        rest = &rest[position..];
        let taken = match reference(rest) {
            Some((character, length)) => {
                push_character(character, out);
                length
            }
            None => {
                out.push(b'&');
                1
            }
        };
        rest = &rest[taken..];
    }
    out.extend_from_slice(rest);
}

/// The character and the length of the reference that `input` starts with.
fn reference(input: &[u8]) -> Option<(u32, usize)> {
    let after = input.strip_prefix(b"&")?;
    let Some(number) = after.strip_prefix(b"#") else {
        let (name, character) = NAMES.iter().find(|(name, _)| is_name(after, name))?;
        return Some((u32::from(*character), 1 + name.len() + 1));
    };
    let (digits, prefix, radix) = match number {
        [b'x' | b'X', digits @ ..] => (digits, 3, 16),
        _ => (number, 2, 10),
    };
    let is_digit = |byte: &u8| if radix == 16 { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    let significant = digits[zeros..].iter().take(DIGITS_MAX + 1).take_while(|byte| is_digit(byte)).count();
    let length = zeros + significant;
    let significant = &digits[zeros..length];
    if length == 0 || significant.len() > DIGITS_MAX {
        return None;
    }
    let character = if radix == 16 {
        hex_number(significant)?
    } else {
        significant.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    };
    let semicolon = usize::from(digits.get(length) == Some(&b';'));
    Some((character, prefix + length + semicolon))
}

/// Whether `input` starts with this name, in any case, and a semicolon.
fn is_name(input: &[u8], name: &[u8]) -> bool {
    input.len() > name.len() && input[..name.len()].eq_ignore_ascii_case(name) && input[name.len()] == b';'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &str) -> String {
        let mut out = Vec::new();
        decode(input.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(decoded("&#60;b&#x3E; &#0000060c &lt;&Colon;&lpar;"), "<b> <c <:(");
        assert_eq!(decoded("&#106avascript"), "javascript");
        assert_eq!(decoded(&format!("java&#{}115;cript", "0".repeat(1000))), "javascript");
        assert_eq!(decoded("&#xd800;&#9999999;"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn what_is_no_reference_stays() {
        for text in ["a & b", "&", "&#", "&#x", "&#x;", "&unknown;", "&lt", "a&b=c", "&#99999999;"] {
            assert_eq!(decoded(text), text);
        }
    }

    #[test]
    fn ordinary_escaping_hides_nothing() {
        assert!(!are_hidden_in(b"&lt;b&gt; &amp; &quot;x&quot; & y"));
        assert!(are_hidden_in(b"&lt;&#115;cript"));
        assert!(are_hidden_in(b"javascript&colon;x"));
    }
}
