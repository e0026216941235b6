//! Look-alikes of ASCII that lenient readers take for it: full-width forms, other slashes and quotes, and overlong UTF-8
//! (RFC 3629 section 3 forbids it).

/// Whether `input` holds a look-alike that no text needs. Full-width commas, brackets and colons are the punctuation of
/// Chinese and Japanese, so they alone are none.
pub(crate) fn are_in(input: &[u8]) -> bool {
    memchr::memchr3_iter(0xef, 0xe2, 0xc0, input).chain(memchr::memchr2_iter(0xc1, 0xe0, input)).any(
        |position| {
            look_alike(&input[position..]).is_some_and(|(ascii, _)| {
                ascii.is_ascii_alphanumeric()
                    || matches!(
                        ascii,
                        b'<' | b'>' | b'\'' | b'"' | b'`' | b'|' | b'&' | b'$' | b'.' | b'/' | b'\\' | b'='
                    )
            })
        },
    )
}

/// Appends `input` with all look-alikes replaced.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(&byte) = rest.first() {
        let taken = match look_alike(rest) {
            Some((ascii, length)) => {
                out.push(ascii);
                length
            }
            None => {
                out.push(byte);
                1
            }
        };
        rest = &rest[taken..];
    }
}

/// The ASCII character that `input` starts with in another form, and the length of that form.
fn look_alike(input: &[u8]) -> Option<(u8, usize)> {
    match *input {
        [0xef, high @ 0xbc..=0xbd, low @ 0x80..=0xbf, ..] => {
            let offset = (u32::from(high) - 0xbc) * 64 + u32::from(low) - 0x80;
            // U+FF01 to U+FF5E stand for U+0021 to U+007E.
            let ascii = u8::try_from(offset + 0x20).ok().filter(u8::is_ascii_graphic)?;
            (offset > 0).then_some((ascii, 3))
        }
        // The fraction slash and the division slash.
        [0xe2, 0x81, 0x84, ..] | [0xe2, 0x88, 0x95, ..] => Some((b'/', 3)),
        [first @ 0xc0..=0xc1, second @ 0x80..=0xbf, ..] => Some(((first & 1) << 6 | second & 0x3f, 2)),
        [0xe0, second @ 0x80..=0x81, third @ 0x80..=0xbf, ..] => Some(((second & 1) << 6 | third & 0x3f, 3)),
        // What decoders that do not look at the second byte make a slash and a backslash of.
        [0xc0, 0x2f, ..] => Some((b'/', 2)),
        [0xc0, 0x5c, ..] => Some((b'\\', 2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decode(input, &mut out);
        out
    }

    #[test]
    fn look_alikes_are_replaced() {
        assert_eq!(decoded("\u{ff1c}script\u{ff1e} \u{ff41}\u{2215}\u{2044}".as_bytes()), b"<script> a//");
        assert_eq!(decoded(b"..\xc0\xaf..\xc1\x9c\xc0\xae\xe0\x80\xaf"), b"../..\\./");
    }

    #[test]
    fn other_characters_stay() {
        for text in ["\u{ff5f}", "\u{ff00}", "\u{20ac}", "\u{c0}", "\u{4e2d}\u{3002}", "a"] {
            assert_eq!(decoded(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn chinese_punctuation_hides_nothing() {
        assert!(!are_in(
            "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{ff08}\u{4e00}\u{ff09}\u{ff01}".as_bytes()
        ));
        assert!(are_in("\u{ff0e}\u{ff0e}\u{ff0f}".as_bytes()) && are_in(b"a\xc0\xaf"));
    }
}
