//! Bodies in UTF-7 (RFC 2152), where that is announced, and in UTF-16 and UTF-32, which parsers of JSON (RFC 4627 section 3) and XML recognise by themselves.

use arrayvec::ArrayVec;

use crate::decode::percent::push_character;
use crate::reading;

/// How characters are laid out in units of two or four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf16Big,
    Utf16Little,
    Utf32Big,
    Utf32Little,
}

use Charset::{Utf16Big, Utf16Little, Utf32Big, Utf32Little};

/// What a body may be written in, from its first bytes and from what its type says.
pub(super) fn guesses(body: &[u8], says_utf_16: bool, says_utf_32: bool) -> &'static [Charset] {
    let has_mark = matches!(body, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    match sniff(body) {
        // A first character of another script can look like an ASCII one in the other order of bytes.
        Some(Utf16Big) if says_utf_16 && !has_mark => &[Utf16Big, Utf16Little],
        Some(Utf16Little) if says_utf_16 && !has_mark => &[Utf16Little, Utf16Big],
        Some(Utf16Big) => &[Utf16Big],
        Some(Utf16Little) => &[Utf16Little],
        Some(Utf32Big) => &[Utf32Big],
        Some(Utf32Little) => &[Utf32Little],
        // Without a mark, readers differ in the order of bytes that they take.
        None if says_utf_16 => &[Utf16Big, Utf16Little],
        None if says_utf_32 => &[Utf32Big, Utf32Little],
        None => &[],
    }
}

/// The layout that a byte order mark or the NUL bytes around a first ASCII character show.
pub(super) fn sniff(bytes: &[u8]) -> Option<Charset> {
    let is_text = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match *bytes {
        [0xff, 0xfe, 0, 0, ..] => Some(Utf32Little),
        [0, 0, 0xfe, 0xff, ..] => Some(Utf32Big),
        [0xff, 0xfe, ..] => Some(Utf16Little),
        [0xfe, 0xff, ..] => Some(Utf16Big),
        [first, 0, 0, 0, ..] if is_text(first) => Some(Utf32Little),
        [0, 0, 0, first, ..] if is_text(first) => Some(Utf32Big),
        [first, 0, ..] if is_text(first) => Some(Utf16Little),
        [0, first, ..] if is_text(first) => Some(Utf16Big),
        _ => None,
    }
}

/// How the names of character sets begin in which ASCII characters have their own bytes, or which are read here, without
/// marks between letters and digits. Others, such as EBCDIC's, can hide anything.
const READ: [&[u8]; 27] = [
    b"utf",
    b"ucs",
    b"unicode",
    b"usascii",
    b"ascii",
    b"ansi",
    b"iso",
    b"latin",
    b"l1",
    b"windows",
    b"win",
    b"cp125",
    b"koi8",
    b"gb",
    b"xgb",
    b"big5",
    b"xbig5",
    b"shiftjis",
    b"sjis",
    b"xsjis",
    b"euc",
    b"xeuc",
    b"tis",
    b"macintosh",
    b"xmac",
    b"ksc5601",
    b"hzgb2312",
];

/// Whole names of other such character sets.
const READ_WHOLE: [&[u8]; 1] = [b"binary"];

/// The numbers of code pages in which ASCII characters have their own bytes; those of EBCDIC lie between them.
const ASCII_PAGES: [&[u8]; 42] = [
    b"367", b"437", b"720", b"737", b"775", b"819", b"850", b"852", b"855", b"856", b"857", b"858", b"860",
    b"861", b"862", b"863", b"864", b"865", b"866", b"868", b"869", b"874", b"912", b"913", b"914", b"915",
    b"916", b"920", b"921", b"922", b"923", b"932", b"936", b"942", b"943", b"949", b"950", b"954", b"964",
    b"970", b"1252", b"65001",
];

/// The most marks and letters of a character set's name that are compared.
const NAME_BYTES_MAX: usize = 32;

/// The most bytes behind a key that are looked at for a character set's name.
const VALUE_BYTES_MAX: usize = 64;

/// The most bytes of a star and a number behind the name of a parameter.
const SECTION_BYTES_MAX: usize = 8;

/// Whether a type or an XML declaration names a character set that isn't known to be read here.
pub(super) fn names_unread(text: &[u8]) -> bool {
    named(text).any(|name| {
        let name = plain(name);
        let page = name.strip_prefix(b"cp").or_else(|| name.strip_prefix(b"ibm"));
        !name.is_empty()
            && !READ.iter().any(|begin| name.starts_with(begin))
            && !READ_WHOLE.contains(&name.as_slice())
            && !page.is_some_and(|page| ASCII_PAGES.contains(&page))
    })
}

/// Whether a type or an XML declaration names UTF-7.
pub(super) fn names_utf_7(text: &[u8]) -> bool {
    named(text).any(|name| memchr::memmem::find(&plain(name), b"utf7").is_some())
}

/// The character sets that a type or an XML declaration names, also in a parameter that is encoded or in pieces
/// (RFC 2231): `charset*=us-ascii''ibm037`.
fn named(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'=', text).filter_map(|at| {
        let before = text[..at].trim_ascii_end();
        let key = without_section(before);
        let is_key = [&b"charset"[..], b"encoding"].iter().any(|name| {
            key.len().checked_sub(name.len()).is_some_and(|start| key[start..].eq_ignore_ascii_case(name))
        });
        if !is_key {
            return None;
        }
        let quotes_or_blanks = |byte: &&u8| matches!(byte, b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n');
        let value = &text[at + 1..];
        let value = &value[value.iter().take_while(quotes_or_blanks).count()..];
        let is_encoded = key.len() < before.len();
        let ends = |byte: &u8| {
            matches!(byte, b';' | b',' | b'"' | b'\t'..=b'\r' | b' ' | b'?' | b'>' | b'=')
                || *byte == b'\'' && !is_encoded
        };
        let value = &value[..value.len().min(VALUE_BYTES_MAX)];
        let value = &value[..value.iter().position(ends).unwrap_or(value.len())];
        reading::note(value.len());
        // Behind a character set and a language, in which the name itself is written.
        value.rsplit(|byte| *byte == b'\'').next()
    })
}

/// A parameter's name without the star that says that its value is encoded, and the number of a piece before it.
fn without_section(name: &[u8]) -> &[u8] {
    let section = name.iter().rev().take(SECTION_BYTES_MAX);
    let length = section.take_while(|byte| byte.is_ascii_digit() || **byte == b'*').count();
    let (key, section) = name.split_at(name.len() - length);
    if section.starts_with(b"*") { key } else { name }
}

/// A name's letters and digits in lower case: what is compared of it.
fn plain(name: &[u8]) -> ArrayVec<u8, NAME_BYTES_MAX> {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    letters.map(u8::to_ascii_lowercase).take(NAME_BYTES_MAX).collect()
}

/// Appends the text in UTF-8: what lies between a plus sign and the first byte that is no base64 is UTF-16.
pub(super) fn decode_utf_7(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    let mut units = Vec::new();
    while let Some(position) = memchr::memchr(b'+', rest) {
        out.extend_from_slice(&rest[..position]);
        rest = &rest[position + 1..];
        let (mut bits, mut count, mut length) = (0_u32, 0, 0);
        units.clear();
        for byte in rest {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => break,
            };
            length += 1;
            bits = bits << 6 | u32::from(sextet);
            count += 6;
            if count >= 8 {
                count -= 8;
                units.push((bits >> count & 0xff) as u8);
            }
        }
        Utf16Big.decode(&units, out);
        // A minus sign ends the run and, right behind the plus sign, stands for that.
        let minus = rest.get(length) == Some(&b'-');
        if length == 0 {
            out.push(b'+');
        }
        rest = &rest[length + usize::from(minus)..];
    }
    out.extend_from_slice(rest);
}

impl Charset {
    /// What a point's name shows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Utf16Big | Utf16Little => "utf-16",
            Utf32Big | Utf32Little => "utf-32",
        }
    }

    /// Appends the text in UTF-8, without a byte order mark. What is no character becomes U+FFFD; a last piece of a unit
    /// is left out.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<u8>) {
        let pair = |pair: &[u8]| match self {
            Utf16Big | Utf32Big => u32::from(pair[0]) << 8 | u32::from(pair[1]),
            Utf16Little | Utf32Little => u32::from(pair[1]) << 8 | u32::from(pair[0]),
        };
        let wide = matches!(self, Utf32Big | Utf32Little);
        let mut units = bytes.chunks_exact(if wide { 4 } else { 2 }).map(|unit| match self {
            Utf16Big | Utf16Little => pair(unit),
            Utf32Big => pair(unit) << 16 | pair(&unit[2..]),
            Utf32Little => pair(&unit[2..]) << 16 | pair(unit),
        });
        let mut next = units.next().filter(|first| *first != 0xfeff).or_else(|| units.next());
        while let Some(unit) = next {
            next = units.next();
            match (unit, next) {
                (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) if !wide => {
                    push_character(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
                    next = units.next();
                }
                _ => push_character(unit, out),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        sniff(bytes)?.decode(bytes, &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn texts_are_recognised_and_decoded() {
        let text = "{\u{e9}\u{1f600}}";
        for mark in ["", "\u{feff}"] {
            let text_with_mark = format!("{mark}{text}");
            let utf_16: Vec<u16> = text_with_mark.encode_utf16().collect();
            let utf_32: Vec<u32> = text_with_mark.chars().map(u32::from).collect();
            for bytes in [
                utf_16.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<u8>>(),
                utf_16.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
                utf_32.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
                utf_32.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            ] {
                assert_eq!(decoded(&bytes).as_deref(), Some(text), "{bytes:?}");
            }
        }
        assert_eq!(decoded(b"a\0\x00\xd8b\0c").as_deref(), Some("a\u{fffd}b"));
    }

    #[test]
    fn other_bytes_are_left_alone() {
        for bytes in [&b""[..], b"a", b"ab", b"\0\0\0\0\x05abcde", b"\x01\0\x02\0", b"\x1f\x8b\x08\0"] {
            assert_eq!(decoded(bytes), None, "{bytes:?}");
        }
        assert_eq!(guesses(b"ab", true, false), [Utf16Big, Utf16Little]);
        assert_eq!(guesses(b"ab", false, true), [Utf32Big, Utf32Little]);
        assert!(guesses(b"ab", false, false).is_empty());
        assert_eq!(guesses(b"a\0", true, false), [Utf16Little, Utf16Big]);
        assert_eq!(guesses(b"\xff\xfea\0", true, false), [Utf16Little]);
    }

    #[test]
    fn utf_7_is_decoded() {
        let decoded = |text: &str| {
            let mut out = Vec::new();
            decode_utf_7(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(decoded("+ADw-script+AD4-a+AD0AIg-x"), "<script>a=\"x");
        assert_eq!(decoded("1 +- 1 + 2 +ZeVnLA"), "1 + 1 + 2 \u{65e5}\u{672c}");
    }

    #[test]
    fn character_sets_that_are_not_read_are_known() {
        for text in [
            "a/b;charset=\"ibm037\"",
            "<?xml version='1.0' encoding='cp037'",
            "a/b; Charset = CP1140",
            "a/b; charset=cp273",
            "a/b; charset=x-unknown",
            "a/b; charset=cp870",
            "a/b; charset=cp939",
            "a/b; charset=ibm875",
            "a/b; charset=cp8500",
            "a/b; charset*=us-ascii''ibm037",
            "a/b; charset*0*=us-ascii'en'cp; charset*1=930",
            "a/b; charset=utf-8=; charset=ibm037",
        ] {
            assert!(names_unread(text.as_bytes()), "{text}");
        }
        for text in [
            "text/xml; charset=utf-8",
            "a/b;charset=\"ISO-8859-1\"",
            "a/b; charset=Shift_JIS",
            "a/b; charset=windows-1252",
            "a/b; charset=",
            "a/b; charset=binary",
            "a/b; charset=ks_c_5601-1987",
            "a/b; charset=cp437",
            "a/b; charset=IBM850",
            "a/b; charset=cp936",
            "a/b; charset=hz-gb-2312",
            "a/b; charset=x-mac-cyrillic",
            "a/b; charset*=us-ascii''utf-8",
            "a/b; charset*=UTF-8",
            "multipart/form-data; boundary=cp037",
            "application/vnd.ibm.modcap",
            "utf-7",
        ] {
            assert!(!names_unread(text.as_bytes()), "{text}");
        }
        assert!(names_utf_7(b"text/xml; charset=UTF-7") && !names_utf_7(b"utf-7"));
        assert!(names_utf_7(b"text/xml; charset=utf7") && names_utf_7(b"a/b; charset='UNICODE-1-1-UTF_7'"));
    }
}
