//! Random numbers that are the same in every run, and inputs made with them.

/// The longest input.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// Bytes that parsers treat in a special way.
const STRANGE: &[u8] = b"\0\r\n\t :;,=%/\\\"'<>&?#[]{}()+-._0x9aAfFzZ\x01\x0b\x1f\x7f\x80\xc3\xa9\xff";

/// A generator (splitmix64): small, and good enough to choose with.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a case.
    pub fn new(case: u64) -> Self {
        Self(case.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    /// Cuts `input` at random places, some of which may be the same.
    pub fn pieces<'a>(&mut self, input: &'a [u8]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = (0..self.below(5)).map(|_| self.below(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
    }

    /// An input made of seeds and pieces of a dictionary.
    pub(crate) fn mutated(&mut self, seeds: &[&[u8]], dictionary: &[&[u8]]) -> Vec<u8> {
        let mut input = self.pick(seeds).map_or_else(Vec::new, |seed| seed.to_vec());
        if self.below(4) == 0
            && let Some(other) = self.pick(seeds)
        {
            let end = self.below(input.len() + 1);
            input.truncate(end);
            input.extend_from_slice(&other[self.below(other.len() + 1)..]);
        }
        for _ in 0..=self.below(6) {
            self.change(&mut input, dictionary);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, dictionary: &[&[u8]]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(8) {
            0 => input.insert(at, self.pick(STRANGE).copied().unwrap_or_default()),
            1 if at < input.len() => input[at] = self.pick(STRANGE).copied().unwrap_or_default(),
            2 if at < input.len() => input[at] ^= 1 << self.below(8),
            3 if at < end => drop(input.drain(at..end)),
            4 if at < end => {
                let part = input[at..end].to_vec();
                let times = 1 + self.below(20);
                input.splice(at..at, part.repeat(times));
            }
            5 => input.truncate(at),
            6 => input.insert(at, self.number() as u8),
            _ => {
                let piece = self.pick(dictionary).copied().unwrap_or_default();
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}
