//! Byte strings eight bytes at a time, as numbers whose lowest byte is the first one: names and path segments are short,
//! so that a call into a search made for long texts costs more than it finds.

/// Every byte 1.
pub(crate) const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of every byte.
const HIGH_BITS: u64 = ONES << 7;

/// The eight bytes from `at` on, as zeros behind the end.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(&full) = rest.first_chunk() {
        return u64::from_le_bytes(full);
    }
    match bytes.last_chunk() {
        // the last eight bytes without those before `at`
        Some(&last) if !rest.is_empty() => u64::from_le_bytes(last) >> (64 - 8 * rest.len()),
        _ => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// The high bit of each byte that is `byte`.
#[inline]
pub(crate) const fn matching(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * byte as u64);
    // no byte carries into the next one, so that every answer is exact
    let not_zero = ((zero_where_equal & !HIGH_BITS) + !HIGH_BITS) | zero_where_equal;
    !not_zero & HIGH_BITS
}

/// Not 0 if one of the bytes is `byte`; which one isn't told.
#[inline]
pub(crate) const fn any(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * byte as u64);
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGH_BITS
}

/// The index of the first byte in what [`matching`] gave; not for 0.
#[inline]
pub(crate) const fn first(matches: u64) -> usize {
    (matches.trailing_zeros() / 8) as usize
}

/// The index of the last byte in what [`matching`] gave; not for 0.
#[inline]
pub(crate) const fn last(matches: u64) -> usize {
    7 - (matches.leading_zeros() / 8) as usize
}

/// With ASCII letters in lower case.
#[inline]
pub(crate) const fn lower(word: u64) -> u64 {
    let low_bits = word & !HIGH_BITS;
    // the sums reach the high bit from `A` on, and from behind `Z` on
    let from_a = low_bits + ONES * (0x80 - b'A' as u64);
    let behind_z = low_bits + ONES * (0x80 - b'Z' as u64 - 1);
    let letters = from_a & !behind_z & !word & HIGH_BITS;
    word | letters >> 2
}

/// Goes over the bytes word by word, each with its place.
#[inline(always)]
pub(crate) fn for_each_word(bytes: &[u8], mut act: impl FnMut(usize, u64)) {
    let (full, rest) = bytes.as_chunks();
    for (at, chunk) in (0..).step_by(8).zip(full) {
        act(at, u64::from_le_bytes(*chunk));
    }
    if !rest.is_empty() {
        let at = bytes.len() - rest.len();
        act(at, word(bytes, at));
    }
}

/// Where the byte is first.
#[inline]
pub(crate) fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    (0..bytes.len()).step_by(8).find_map(|at| {
        let matches = matching(word(bytes, at), byte);
        (matches != 0).then(|| at + first(matches))
    })
}

/// Where the byte is last.
#[inline]
pub(crate) fn last_position(bytes: &[u8], byte: u8) -> Option<usize> {
    let mut found = None;
    for_each_word(bytes, |at, word| {
        let matches = matching(word, byte);
        if matches != 0 {
            found = Some(at + last(matches));
        }
    });
    found
}

/// Writes the bytes in lower case.
#[inline]
pub(crate) fn write_lower(bytes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for_each_word(bytes, |_, word| out.extend_from_slice(&lower(word).to_le_bytes()));
    out.truncate(bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_in_zeros() {
        let text = b"abcdefghijk";
        for length in 0..=text.len() {
            for at in 0..=length + 1 {
                let mut expected = [0; 8];
                for (to, from) in expected.iter_mut().zip(text[..length].iter().skip(at)) {
                    *to = *from;
                }
                assert_eq!(word(&text[..length], at).to_le_bytes(), expected, "{length} {at}");
            }
        }
    }

    #[test]
    fn every_byte_is_matched_and_lowered_for_itself() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut text = [byte.wrapping_add(1); 8];
                text[at] = byte;
                let found = matching(u64::from_le_bytes(text), byte);
                assert_eq!((found.count_ones(), first(found), last(found)), (1, at, at), "{byte} {at}");
                assert_ne!(any(u64::from_le_bytes(text), byte), 0, "{byte} {at}");
                assert_eq!(any(u64::from_le_bytes(text), byte.wrapping_sub(1)), 0, "{byte} {at}");
                let lowered = lower(u64::from_le_bytes(text)).to_le_bytes();
                assert_eq!(lowered, text.map(|byte| byte.to_ascii_lowercase()), "{byte} {at}");
            }
        }
        assert_eq!((first(matching(0, 0)), last(matching(0, 0))), (0, 7));
    }

    #[test]
    fn first_and_last_positions_are_those_of_a_search() {
        for length in 0..20 {
            for (one, other) in (0..length).flat_map(|one| (one..length).map(move |other| (one, other))) {
                let mut text = vec![b'.' - 1; length];
                (text[one], text[other]) = (b'.', b'.');
                assert_eq!((position(&text, b'.'), last_position(&text, b'.')), (Some(one), Some(other)));
                assert_eq!((position(&text, b'/'), last_position(&text, b'/')), (None, None));
            }
        }
    }

    #[test]
    fn texts_of_every_length_are_lowered() {
        let text = b"WWW.Shop.Example:8080[\xc4\xdf";
        for length in 0..=text.len() {
            let mut lowered = b"left over".to_vec();
            write_lower(&text[..length], &mut lowered);
            assert_eq!(lowered, text[..length].to_ascii_lowercase());
        }
    }
}
