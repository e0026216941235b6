//! Byte strings eight or sixteen bytes at a time, as numbers whose lowest byte is the first one: names and path segments are short,
//! so that a call into a search made for long texts costs more than it finds.

use wide::u8x16;

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
        _ => short_word(rest),
    }
}

/// Less than eight bytes as a word.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    if let (Some(&first), Some(&last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(last)) << (8 * (length - 4));
        return u64::from(u32::from_le_bytes(first)) | last;
    }
    let Some(&first) = bytes.first() else { return 0 };
    // of three bytes each is another one, of fewer some are the same
    let at = |index: usize| u64::from(bytes[index]) << (8 * index);
    u64::from(first) | at(length / 2) | at(length - 1)
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

/// Sixteen bytes, compared at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block(u8x16);

impl Block {
    /// The bytes from `at` on, as zeros behind the end.
    #[inline(always)]
    pub(crate) fn at(bytes: &[u8], at: usize) -> Self {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(&full) = rest.first_chunk() {
            return Self::new(full);
        }
        let halves = u128::from(word(rest, 8)) << 64 | u128::from(word(rest, 0));
        Self::new(halves.to_le_bytes())
    }

    #[inline(always)]
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        Self(u8x16::new(bytes))
    }

    /// A bit for each byte that is `byte`, the lowest one for the first.
    #[inline(always)]
    pub(crate) fn equal(self, byte: u8) -> u64 {
        self.0.simd_eq(u8x16::splat(byte)).to_bitmask().into()
    }

    /// A bit for each ASCII letter in upper case.
    #[inline(always)]
    pub(crate) fn capitals(self) -> u64 {
        let from_a = self.0 - u8x16::splat(b'A');
        from_a.min(u8x16::splat(b'Z' - b'A')).simd_eq(from_a).to_bitmask().into()
    }
}

/// Goes over the bytes in blocks, each with its place. Some may be seen twice, and zeros behind the end.
#[inline(always)]
pub(crate) fn for_each_block(bytes: &[u8], mut act: impl FnMut(usize, Block)) {
    let (full, rest) = bytes.as_chunks();
    let mut at = 0;
    for chunk in full {
        act(at, Block::new(*chunk));
        at += 16;
    }
    if !rest.is_empty() {
        match bytes.last_chunk() {
            Some(last) => act(bytes.len() - 16, Block::new(*last)),
            None => act(0, Block::at(bytes, 0)),
        }
    }
}

/// Goes over the bytes word by word, each with its place.
#[inline(always)]
pub(crate) fn for_each_word(bytes: &[u8], mut act: impl FnMut(usize, u64)) {
    let (full, rest) = bytes.as_chunks();
    let mut at = 0;
    for chunk in full {
        act(at, u64::from_le_bytes(*chunk));
        at += 8;
    }
    if !rest.is_empty() {
        act(at, word(bytes, at));
    }
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
    fn every_byte_is_compared_and_lowered_for_itself() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                let mut text = [byte.wrapping_add(1); 16];
                text[at] = byte;
                assert_eq!(Block::new(text).equal(byte), 1 << at, "{byte} {at}");
                let capitals =
                    text.iter().rev().fold(0, |bits, byte| bits << 1 | u64::from(byte.is_ascii_uppercase()));
                assert_eq!(Block::new(text).capitals(), capitals, "{byte} {at}");
                let lowered = lower(word(&text, 8)).to_le_bytes();
                assert_eq!(lowered, text[8..].to_ascii_lowercase()[..], "{byte} {at}");
            }
        }
    }

    #[test]
    fn blocks_are_all_that_there_is() {
        let text: Vec<u8> = (1..60).collect();
        for length in 0..=text.len() {
            let mut seen = vec![0; length];
            for_each_block(&text[..length], |at, block| {
                for place in at..length.min(at + 16) {
                    let bits = block.equal(text[place]);
                    assert_eq!(bits, 1 << (place - at), "{length} {place}");
                    seen[place] += 1;
                }
                assert_eq!(
                    block.equal(0).count_ones() as usize,
                    (at + 16).saturating_sub(length),
                    "{length}"
                );
            });
            assert!(seen.iter().all(|times| *times > 0), "{length}");
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
