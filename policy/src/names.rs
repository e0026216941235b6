//! Texts that the policy names, with a number each. One table may hold those of many spaces, as do those of all points that
//! rules look at: so what a look-up reads, beside the slot itself, is the same for all of them.

use crate::bytes::word;

/// No number.
pub(crate) const NONE: u32 = u32::MAX;

/// A table from texts to numbers, by open addressing. It is filled when a policy is compiled; clients choose what is
/// looked up, never what is in it. The hash has random keys all the same, so that nobody can aim at its longest run.
#[derive(Debug)]
pub(crate) struct Names {
    keys: [u64; 2],
    /// A power of two of them, at least half of them free.
    slots: Box<[Slot]>,
    /// The texts longer than [`Ends`] tells apart.
    long: Vec<u8>,
    count: usize,
}

/// Half a cache line, so that none is in two.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    ends: Ends,
    /// Where in `long` the text starts.
    start: u32,
    /// [`NONE`] marks a free slot.
    number: u32,
}

const FREE: Slot = Slot { ends: Ends { first: 0, last: 0, length: 0, space: 0 }, start: 0, number: NONE };

/// The most bytes that [`Ends`] tells apart from all others.
const SHORT: usize = 16;

/// Length, first and last bytes of a text: all that there is of a short one. And its space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
    length: u32,
    space: u32,
}

impl Ends {
    #[inline(always)]
    fn of(space: u32, text: &[u8]) -> Self {
        let (first, last) = if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
        } else {
            (word(text, 0), 0)
        };
        Self { first, last, length: text.len() as u32, space }
    }
}

/// Both halves of the product.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product >> 64) as u64 ^ product as u64
}

impl Default for Names {
    fn default() -> Self {
        let random = ahash::RandomState::new();
        let keys = [random.hash_one(0), random.hash_one(1) | 1];
        Self { keys, slots: [FREE; 4].into(), long: Vec::new(), count: 0 }
    }
}

impl Names {
    /// Bytes of its tables.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots) + self.long.capacity()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    fn hash(&self, ends: Ends, text: &[u8]) -> usize {
        let [first_key, last_key] = self.keys;
        let length_and_space = u64::from(ends.space) << 32 | u64::from(ends.length);
        let mut hash = fold(ends.first ^ first_key, ends.last ^ last_key ^ length_and_space);
        if text.len() > SHORT {
            for at in (8..text.len() - 8).step_by(8) {
                hash = fold(hash ^ word(text, at), last_key);
            }
        }
        hash as usize
    }

    /// The text's number, or [`NONE`].
    #[inline]
    pub(crate) fn get(&self, text: &[u8]) -> u32 {
        self.get_in(0, text)
    }

    /// The number of a text of a space, or [`NONE`].
    #[inline(always)]
    pub(crate) fn get_in(&self, space: u32, text: &[u8]) -> u32 {
        if text.len() > SHORT { self.get_long(space, text) } else { self.find(space, text, |_| true) }
    }

    #[inline(never)]
    fn get_long(&self, space: u32, text: &[u8]) -> u32 {
        self.find(space, text, |slot| {
            let start = slot.start as usize;
            let Some(known) = self.long.get(start..start + text.len()) else { return false };
            // the ends are the same
            (8..text.len() - 8).step_by(8).all(|at| word(known, at) == word(text, at))
        })
    }

    /// The number of the first slot with the text's ends that `is_same` says to be it.
    #[inline(always)]
    fn find(&self, space: u32, text: &[u8], is_same: impl Fn(&Slot) -> bool) -> u32 {
        let ends = Ends::of(space, text);
        let mask = self.slots.len() - 1;
        let mut at = self.hash(ends, text) & mask;
        loop {
            let slot = &self.slots[at];
            if slot.number == NONE || (slot.ends == ends && is_same(slot)) {
                return slot.number;
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a text that isn't there, with a number other than [`NONE`].
    pub(crate) fn insert(&mut self, text: &[u8], number: u32) {
        self.insert_in(0, text, number);
    }

    /// Adds a text that isn't in the space, with a number other than [`NONE`].
    pub(crate) fn insert_in(&mut self, space: u32, text: &[u8], number: u32) {
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            let larger = vec![FREE; self.slots.len() * 2].into();
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.number != NONE {
                    self.place(slot);
                }
            }
        }
        let start = self.long.len() as u32;
        if text.len() > SHORT {
            self.long.extend_from_slice(text);
        }
        self.place(Slot { ends: Ends::of(space, text), start, number });
    }

    fn place(&mut self, new: Slot) {
        let text = self.long.get(new.start as usize..).unwrap_or_default();
        let is_long = new.ends.length as usize > SHORT;
        let text = if is_long { &text[..new.ends.length as usize] } else { &[] };
        let mask = self.slots.len() - 1;
        let mut at = self.hash(new.ends, text) & mask;
        while self.slots[at].number != NONE {
            at = (at + 1) & mask;
        }
        self.slots[at] = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_told_apart() {
        let text: Vec<u8> = (0..60).collect();
        let mut texts: Vec<Vec<u8>> = (0..text.len()).map(|length| text[..length].to_vec()).collect();
        texts.extend((1..9).map(|length| vec![0; length]));
        for length in [1, 3, 4, 7, 8, 15, 16, 17, 40] {
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 0x80;
                texts.push(other);
            }
        }
        texts.sort();
        texts.dedup();
        let mut names = Names::default();
        assert!(names.is_empty());
        let all = || [0, 1, 7].into_iter().flat_map(|space| texts.iter().map(move |text| (space, text)));
        for (number, (space, text)) in (0..).zip(all()) {
            assert_eq!(names.get_in(space, text), NONE, "{space} {text:?}");
            names.insert_in(space, text, number);
        }
        assert!(!names.is_empty());
        for (number, (space, text)) in (0..).zip(all()) {
            assert_eq!(names.get_in(space, text), number, "{space} {text:?}");
            assert_eq!(names.get_in(2, text), NONE, "{text:?}");
        }
    }
}
