//! Compressed data: gzip (RFC 1952), zlib (RFC 1950), bare deflate (RFC 1951) and brotli (RFC 7932).

use std::io::Read;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// The most bytes that one body is inflated to.
pub(crate) const INFLATED_BYTES_MAX: usize = 1 << 20;

/// The first buffer of a member, in bytes; it doubles as needed.
const INFLATED_BYTES_START: usize = 4 << 10;

/// The most gzip members that are inflated.
const MEMBERS_MAX: usize = 64;

/// How many times its own size data may grow to at the limit, before it is taken for a bomb.
const RATIO_MAX: usize = 100;

/// The buffer between brotli's input and its state, in bytes.
const BROTLI_INPUT_BYTES: usize = 4 << 10;

/// Whether data that was cut at the limit grows as no ordinary data does: by the bytes that were read until then.
pub(crate) const fn is_bomb(read_bytes: usize, inflated_bytes: usize) -> bool {
    inflated_bytes / RATIO_MAX >= read_bytes
}

/// Inflates brotli. Its window is part of its state and takes up to 16 MiB while this runs.
pub(crate) fn brotli(input: &[u8]) -> (Vec<u8>, Ended) {
    let mut out = Vec::new();
    let limit = INFLATED_BYTES_MAX as u64 + 1;
    let mut rest = input;
    let read = {
        let mut reader = brotli_decompressor::Decompressor::new(&mut rest, BROTLI_INPUT_BYTES).take(limit);
        reader.read_to_end(&mut out)
    };
    if out.len() > INFLATED_BYTES_MAX {
        out.truncate(INFLATED_BYTES_MAX);
        return (out, Ended::TooMuch(input.len() - rest.len()));
    }
    // A body that is cut ends in an error as well; what was inflated until then counts.
    let ended = if read.is_err() && out.is_empty() { Ended::Broken } else { Ended::Whole };
    (out, ended)
}

/// How inflating ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the end of the data.
    Whole,
    /// In the midst of it: the input is cut.
    Cut,
    /// At the limit of bytes, or of members, after so many bytes of the input.
    TooMuch(usize),
    /// At something that is no compressed data.
    Broken,
}

/// Whether the bytes start like gzip.
pub(crate) fn is_gzip(input: &[u8]) -> bool {
    input.starts_with(&[0x1f, 0x8b, 8])
}

/// Inflates gzip with all its members, to at most `limit` bytes.
pub(crate) fn gzip(input: &[u8], limit: usize) -> (Vec<u8>, Ended) {
    let mut out = Vec::new();
    let mut rest = input;
    let mut count = 0;
    while let Some(data) = behind_gzip_head(rest) {
        if count == MEMBERS_MAX {
            return (out, Ended::TooMuch(input.len() - rest.len()));
        }
        count += 1;
        let (used, ended) = inflate(data, 0, limit, &mut out);
        if let Ended::TooMuch(used) = ended {
            return (out, Ended::TooMuch(input.len() - data.len() + used));
        }
        if !matches!(ended, Ended::Whole | Ended::Cut) {
            return (out, ended);
        }
        // The check sum and the length are not checked: some readers do not either.
        rest = data.get(used + 8..).unwrap_or_default();
    }
    (out, if count == 0 { Ended::Broken } else { Ended::Whole })
}

/// Inflates what a Content-Encoding of `deflate` means, to at most `limit` bytes: zlib, or without its head to some.
pub(crate) fn deflate(input: &[u8], limit: usize) -> (Vec<u8>, Ended) {
    let mut out = Vec::new();
    let (_, ended) = inflate(input, inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER, limit, &mut out);
    if ended != Ended::Broken || !out.is_empty() {
        return (out, ended);
    }
    let (_, ended) = inflate(input, 0, limit, &mut out);
    (out, ended)
}

/// Inflates what calls itself `gzip` or `deflate` by what its bytes are, to at most `limit` bytes, and returns the name of
/// that: many readers look at the bytes alone.
pub(crate) fn by_bytes(input: &[u8], says_gzip: bool, limit: usize) -> (&'static str, (Vec<u8>, Ended)) {
    if is_gzip(input) {
        return ("gzip", gzip(input, limit));
    }
    if !says_gzip || is_zlib(input) {
        return ("deflate", deflate(input, limit));
    }
    // Bare deflate has no mark: other bytes that call themselves gzip may look like the begin of it.
    let mut out = Vec::new();
    match inflate(input, 0, limit, &mut out) {
        (used, Ended::Whole) if used == input.len() => ("deflate", (out, Ended::Whole)),
        (_, ended @ Ended::TooMuch(_)) => ("deflate", (out, ended)),
        _ => ("gzip", (Vec::new(), Ended::Broken)),
    }
}

/// Whether the bytes start like zlib (RFC 1950 section 2.2).
fn is_zlib(input: &[u8]) -> bool {
    match input {
        [method, flags, ..] => {
            method & 0x0f == 8
                && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
                && flags & 0x20 == 0
        }
        _ => false,
    }
}

/// Appends the inflated data, up to `limit` bytes in `out`, and returns how many bytes of the input it took.
fn inflate(input: &[u8], flags: u32, limit: usize, out: &mut Vec<u8>) -> (usize, Ended) {
    let flags = flags
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | inflate_flags::TINFL_FLAG_IGNORE_ADLER32
        | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let mut state = Box::<DecompressorOxide>::default();
    let start = out.len();
    let (mut used, mut written) = (0, start);
    loop {
        if written == out.len() {
            if written >= limit {
                return (used, Ended::TooMuch(used));
            }
            let more = (written - start).max(INFLATED_BYTES_START);
            out.resize((written + more).min(limit), 0);
        }
        // Distances reach back into this member only.
        let (status, taken, made) =
            decompress(&mut state, &input[used..], &mut out[start..], written - start, flags);
        used += taken;
        written += made;
        match status {
            TINFLStatus::HasMoreOutput if written == out.len() => {}
            TINFLStatus::Done => {
                out.truncate(written);
                return (used, Ended::Whole);
            }
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                out.truncate(written);
                return (used, Ended::Cut);
            }
            _ => {
                out.truncate(written);
                return (used, Ended::Broken);
            }
        }
    }
}

/// What follows the head of a gzip member.
fn behind_gzip_head(input: &[u8]) -> Option<&[u8]> {
    const FIXED_BYTES: usize = 10;
    if !is_gzip(input) {
        return None;
    }
    let flags = *input.get(3)?;
    let mut rest = input.get(FIXED_BYTES..)?;
    if flags & 4 != 0 {
        let length = usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]));
        rest = rest.get(2 + length..)?;
    }
    // A file name and a comment, each up to a NUL byte.
    for flag in [8, 16] {
        if flags & flag != 0 {
            rest = &rest[memchr::memchr(0, rest)? + 1..];
        }
    }
    if flags & 2 != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    fn member(head: &[u8], text: &[u8]) -> Vec<u8> {
        [&[0x1f, 0x8b, 8], head, &compress_to_vec(text, 6), &[0; 8]].concat()
    }

    #[test]
    fn all_members_of_gzip_are_inflated() {
        let plain = member(&[0; 7], b"one ");
        let named = member(&[0b11110, 0, 0, 0, 0, 0, 0, 2, 0, b'x', b'y', b'n', 0, b'c', 0, 1, 2], b"two");
        assert_eq!(
            gzip(&[plain.clone(), named].concat(), INFLATED_BYTES_MAX),
            (b"one two".to_vec(), Ended::Whole)
        );
        let (cut, ended) = gzip(&member(&[0; 7], &b"ab".repeat(100_000))[..60], INFLATED_BYTES_MAX);
        assert!(ended == Ended::Whole && cut.starts_with(b"abab"));
        assert_eq!(gzip(&plain[..5], 9), (vec![], Ended::Broken));
        assert_eq!(gzip(&[&plain[..10], &[0xff; 20]].concat(), 9).1, Ended::Broken);
    }

    #[test]
    fn deflate_has_two_meanings() {
        let text = b"a text, a text, a text".repeat(2000);
        assert_eq!(deflate(&compress_to_vec(&text, 6), INFLATED_BYTES_MAX), (text.clone(), Ended::Whole));
        assert_eq!(
            deflate(&compress_to_vec_zlib(&text, 6), INFLATED_BYTES_MAX),
            (text.clone(), Ended::Whole)
        );
    }

    #[test]
    fn bytes_say_what_they_are() {
        let text = b"a text, a text, a text".repeat(2000);
        let (bare, zlib) = (compress_to_vec(&text, 6), compress_to_vec_zlib(&text, 6));
        for says_gzip in [true, false] {
            let read = |input: &[u8]| by_bytes(input, says_gzip, INFLATED_BYTES_MAX);
            assert_eq!(read(&bare), ("deflate", (text.clone(), Ended::Whole)));
            assert_eq!(read(&zlib), ("deflate", (text.clone(), Ended::Whole)));
            assert_eq!(read(&zlib[..40]).1.1, Ended::Cut);
            assert_eq!(read(&member(&[0; 7], &text)), ("gzip", (text.clone(), Ended::Whole)));
        }
        for other in [&b"Keep this text as it is"[..], b"{\"a\":1}", b"", &bare[..40]] {
            assert_eq!(by_bytes(other, true, INFLATED_BYTES_MAX), ("gzip", (vec![], Ended::Broken)));
        }
    }

    #[test]
    fn brotli_is_inflated() {
        assert_eq!(brotli(b"\x0b\x02\x80hello\x03"), (b"hello".to_vec(), Ended::Whole));
        assert_eq!(brotli(b"\xff\xff\xff\xff no such thing").1, Ended::Broken);
        assert_eq!(brotli(b"").0, b"");
    }

    #[test]
    fn a_bomb_is_cut() {
        let bomb = member(&[0; 7], &vec![0; 3 << 20]);
        let (out, ended) = gzip(&bomb, INFLATED_BYTES_MAX);
        assert!(
            out.len() == INFLATED_BYTES_MAX
                && matches!(ended, Ended::TooMuch(read) if is_bomb(read, out.len()))
        );
        assert!(is_bomb(bomb.len(), out.len()) && !is_bomb(20 << 10, out.len()));
        let many = member(&[0; 7], b"").repeat(MEMBERS_MAX + 1);
        let all_but_one = many.len() / (MEMBERS_MAX + 1) * MEMBERS_MAX;
        assert_eq!(gzip(&many, INFLATED_BYTES_MAX).1, Ended::TooMuch(all_but_one));
        let small = member(&[0; 7], &vec![0; 700 << 10]);
        assert!(matches!(gzip(&small.repeat(4), INFLATED_BYTES_MAX).1, Ended::TooMuch(_)));
    }
}
