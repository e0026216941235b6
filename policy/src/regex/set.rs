//! Sets of bytes.

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) const NONE: Self = Self([0; 4]);
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    pub(crate) fn of(byte: u8) -> Self {
        let mut set = Self::NONE;
        set.insert(byte);
        set
    }

    pub(crate) fn range(first: u8, last: u8) -> Self {
        let mut set = Self::NONE;
        (first..=last).for_each(|byte| set.insert(byte));
        set
    }

    pub(crate) const fn insert(&mut self, byte: u8) {
        self.0[byte as usize / 64] |= 1 << (byte % 64);
    }

    pub(crate) const fn contains(self, byte: u8) -> bool {
        self.0[byte as usize / 64] & 1 << (byte % 64) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn len(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    pub(crate) fn complement(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&byte| self.contains(byte))
    }

    /// With both cases of each ASCII letter of which it has one.
    pub(crate) fn in_any_case(self) -> Self {
        let mut set = self;
        for byte in self.bytes() {
            set.insert(byte.to_ascii_lowercase());
            set.insert(byte.to_ascii_uppercase());
        }
        set
    }

    /// Its parts without gaps, as first and last bytes.
    pub(crate) fn ranges(self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in self.bytes() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(byte) => *last = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }
}

/// Sets of bytes that none of `sets` tells apart.
pub(crate) fn partition(sets: impl Iterator<Item = ByteSet>) -> Vec<ByteSet> {
    let mut parts = vec![ByteSet::ALL];
    for set in sets {
        let split = |part: &ByteSet| [part.intersection(set), part.intersection(set.complement())];
        parts = parts.iter().flat_map(split).filter(|part| !part.is_empty()).collect();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_cut_into_ranges_and_parts() {
        let set = ByteSet::range(b'a', b'c').union(ByteSet::of(0xff)).union(ByteSet::of(0));
        assert_eq!(set.ranges(), [(0, 0), (b'a', b'c'), (0xff, 0xff)]);
        assert_eq!(ByteSet::ALL.ranges(), [(0, 0xff)]);
        let parts = partition([set, ByteSet::range(b'b', b'd')].into_iter());
        assert_eq!(parts.iter().map(|part| part.len()).sum::<u32>(), 256);
        assert!(parts.contains(&ByteSet::range(b'b', b'c')) && parts.contains(&ByteSet::of(b'd')));
        assert_eq!(parts.len(), 4);
    }
}
