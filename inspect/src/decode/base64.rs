//! Base64 (RFC 4648 sections 4 and 5) that holds text.

/// Shorter values are words and identifiers that happen to have base64's letters.
const ENCODED_BYTES_MIN: usize = 12;

/// Below [`ENCODED_BYTES_MIN`], down to this, what is encoded must hold a mark that no word has.
const SHORT_BYTES_MIN: usize = 8;

/// A cheap look at whether [`decode_text`] is worth a try: the length fits, the first letters encode text and the last
/// one is one of base64 or padding.
#[inline]
pub(crate) fn may_be_text(input: &[u8]) -> bool {
    input.len() >= SHORT_BYTES_MIN
        && input.first_chunk().and_then(decode_letters).is_some_and(|bytes| {
            if bytes.iter().all(u8::is_ascii) {
                bytes.iter().all(is_text_byte)
            } else {
                input.len() >= ENCODED_BYTES_MIN && starts_as_text(bytes)
            }
        })
        && input.last().is_some_and(|byte| *byte == b'=' || sextet(*byte).is_some())
}

/// Whether text in UTF-8 can start with these bytes.
fn starts_as_text(bytes: [u8; 3]) -> bool {
    // Most words decode to a byte at the start that no character begins with.
    !matches!(bytes[0], 0x80..0xc2) && is_text(&bytes)
}

/// Appends what `input` encodes, if all of it is base64 in either alphabet and encodes text: printable characters and
/// white space in UTF-8, perhaps with some NUL bytes. A space stands for the plus sign that a form's decoding has made one. Otherwise `out` stays as
/// it is and the answer is false.
pub(crate) fn decode_text(input: &[u8], out: &mut Vec<u8>) -> bool {
    let stripped = input.strip_suffix(b"==").or_else(|| input.strip_suffix(b"=")).unwrap_or(input);
    if input.len() < SHORT_BYTES_MIN || stripped.len() % 4 == 1 {
        return false;
    }
    let start = out.len();
    let whole = stripped.chunks(4).all(|chunk| {
        let Some(bytes) = decode_chunk(chunk) else { return false };
        let decoded = &bytes[..chunk.len() - 1];
        out.extend_from_slice(decoded);
        decoded.iter().all(|byte| is_text_byte(byte) || *byte == 0)
    });
    let long_enough = input.len() >= ENCODED_BYTES_MIN || out[start..].iter().any(|byte| is_mark(*byte));
    if whole && long_enough && nuls_are_few(&out[start..]) && std::str::from_utf8(&out[start..]).is_ok() {
        return true;
    }
    out.truncate(start);
    false
}

/// Whether NUL bytes are at most every second one and not the first: serialized objects and wide characters have some.
fn nuls_are_few(text: &[u8]) -> bool {
    text.first() != Some(&0) && memchr::memchr_iter(0, text).count() <= text.len() / 2
}

/// Appends the bytes that `input` encodes, if all of it is base64 in either alphabet. Otherwise `out` stays as it is and the
/// answer is false.
pub(crate) fn decode_bytes(input: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let stripped = input.strip_suffix(b"==").or_else(|| input.strip_suffix(b"=")).unwrap_or(input);
    let whole = stripped.len() % 4 != 1
        && stripped.chunks(4).all(|chunk| {
            decode_chunk(chunk).inspect(|bytes| out.extend_from_slice(&bytes[..chunk.len() - 1])).is_some()
        });
    if !whole {
        out.truncate(start);
    }
    whole
}

/// Punctuation that the short attacks are made of.
const fn is_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'<' | b'>'
            | b'\''
            | b'"'
            | b'('
            | b'{'
            | b'['
            | b';'
            | b'|'
            | b'&'
            | b'$'
            | b'/'
            | b'\\'
            | b'*'
            | b'='
            | b'`'
    )
}

/// Decodes four letters.
#[inline]
fn decode_letters(letters: &[u8; 4]) -> Option<[u8; 3]> {
    let sextets = letters.map(|letter| SEXTETS[letter as usize]);
    // No sextet has the two high bits, which the mark of what is none has.
    if sextets.iter().fold(0, |bits, sextet| bits | sextet) == NO_SEXTET {
        return None;
    }
    let [first, second, third, fourth] = sextets;
    Some([first << 2 | second >> 4, second << 4 | third >> 2, third << 6 | fourth])
}

/// Decodes up to four letters, as if zeros followed.
fn decode_chunk(chunk: &[u8]) -> Option<[u8; 3]> {
    if let Ok(letters) = chunk.try_into() {
        return decode_letters(letters);
    }
    let mut bits = 0_u32;
    for position in 0..4 {
        let sextet = match chunk.get(position) {
            Some(&letter) => sextet(letter)?,
            None => 0,
        };
        bits = bits << 6 | u32::from(sextet);
    }
    let [_, first, second, third] = bits.to_be_bytes();
    Some([first, second, third])
}

/// Whether the bytes are text: UTF-8 without control characters but white space. It may be cut inside a character.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let is_utf_8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf_8 && bytes.iter().all(is_text_byte)
}

/// Text has no control characters but white space.
fn is_text_byte(byte: &u8) -> bool {
    !byte.is_ascii_control() || byte.is_ascii_whitespace()
}

/// The mark in [`SEXTETS`] of bytes that are no letters of base64.
const NO_SEXTET: u8 = 0xff;

/// What each byte stands for, in both alphabets.
static SEXTETS: [u8; 256] = {
    let mut table = [NO_SEXTET; 256];
    let mut index = 0;
    while index < 26 {
        table[b'A' as usize + index] = index as u8;
        table[b'a' as usize + index] = index as u8 + 26;
        index += 1;
    }
    let mut digit = 0;
    while digit < 10 {
        table[b'0' as usize + digit] = digit as u8 + 52;
        digit += 1;
    }
    table[b'+' as usize] = 62;
    table[b'-' as usize] = 62;
    table[b' ' as usize] = 62;
    table[b'/' as usize] = 63;
    table[b'_' as usize] = 63;
    table
};

fn sextet(letter: u8) -> Option<u8> {
    Some(SEXTETS[letter as usize]).filter(|sextet| *sextet != NO_SEXTET)
}

#[cfg(test)]
mod tests {
    use super::decode_text;

    fn decoded(input: &str) -> Option<String> {
        let mut out = b"before ".to_vec();
        let is_text = decode_text(input.as_bytes(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(is_text || text == "before ");
        is_text.then(|| text["before ".len()..].to_owned())
    }

    #[test]
    fn text_is_decoded() {
        assert_eq!(decoded("PHNjcmlwdD5hPC9zY3JpcHQ+").as_deref(), Some("<script>a</script>"));
        assert_eq!(decoded("MSBvciAxPTEgLS0=").as_deref(), Some("1 or 1=1 --"));
        assert_eq!(decoded("MSBvciAxPTEgLS0").as_deref(), Some("1 or 1=1 --"));
        assert_eq!(decoded("e3s3Kjd9fQ==").as_deref(), Some("{{7*7}}"));
        assert_eq!(decoded("O2lkO2lk").as_deref(), Some(";id;id"));
        assert_eq!(decoded("Tzo0OiJBIjp7MDoAQQB9").as_deref(), Some("O:4:\"A\":{0:\0A\0}"));
        assert_eq!(decoded("YT8 YT8 YT8 ").as_deref(), Some("a?>a?>a?>"));
        assert_eq!(decoded("w6nDqcOpw6nDqQ==").as_deref(), Some("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"));
    }

    #[test]
    fn what_is_no_text_stays() {
        for input in [
            "",
            "YWJj",
            "8f14e45fceea167a5a36",
            "AAAAAAAAAAAAAAAA",
            "MSBvciAx\nPTEgLS0=",
            "MSBvciAxPTEgL",
            "YWJjZGVm",
        ] {
            assert_eq!(decoded(input), None, "{input}");
        }
    }
}
