//! Hexadecimal digits that stand for text.

use crate::decode::percent::hex;

/// Shorter values are numbers and colours.
const ENCODED_BYTES_MIN: usize = 12;

/// Whether all of `input` is an even number of digits, with or without `0x`, and the first of them stand for printable
/// ASCII.
pub(crate) fn may_be_text(input: &[u8]) -> bool {
    let digits = digits(input);
    digits.len() >= ENCODED_BYTES_MIN
        && digits.len().is_multiple_of(2)
        && digits.chunks_exact(2).take(4).all(|pair| byte(pair).is_some_and(is_text_byte))
}

/// Appends what `input` stands for, if all of it is printable ASCII with something that is no letter and no digit: hashes
/// and identifiers are not. Otherwise `out` stays as it is.
pub(crate) fn decode_text(input: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let whole = digits(input).chunks_exact(2).all(|pair| {
        let byte = byte(pair).filter(|byte| is_text_byte(*byte));
        out.extend(byte);
        byte.is_some()
    });
    if !whole || out[start..].iter().all(u8::is_ascii_alphanumeric) {
        out.truncate(start);
    }
}

fn digits(input: &[u8]) -> &[u8] {
    input.strip_prefix(b"0x").unwrap_or(input)
}

fn byte(pair: &[u8]) -> Option<u8> {
    match pair {
        [high, low] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

const fn is_text_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if may_be_text(input) {
            decode_text(input, &mut out);
        }
        out
    }

    #[test]
    fn text_is_decoded() {
        assert_eq!(decoded(b"3c7363726970743e"), b"<script>");
        assert_eq!(decoded(b"0x2f6574632f706173737764"), b"/etc/passwd");
    }

    #[test]
    fn numbers_and_hashes_stay() {
        for input in [
            "",
            "3c73",
            "8f14e45fceea167a5a36dedd4bea2543",
            "616263646566",
            "3c7363726970743",
            "12345678901234",
        ] {
            assert_eq!(decoded(input.as_bytes()), b"", "{input}");
        }
    }
}
