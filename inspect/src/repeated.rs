//! Values that a request repeats: each is looked at closely once, so that repetition doesn't use up what closer looks may
//! cost.

use crate::arena::Arena;

/// From this many nominations of a request on, equal values are looked for: ordinary requests have few.
const NOMINATIONS_MIN: usize = 256;

/// The longest values that are compared, in bytes.
const COMPARED_BYTES_MAX: usize = 256;

/// Slots of the table. A power of two.
const SLOTS: usize = 1 << 15;

/// How many slots are looked at before a value counts as new.
const PROBES_MAX: usize = 4;

/// The mark of a slot without a value, and of no value asked for.
const EMPTY: u32 = u32::MAX;

/// A table of values that patterns match in. It takes no memory until a request has many.
#[derive(Debug)]
pub(crate) struct Repeated {
    slots: Vec<u32>,
    is_used: bool,
    /// The value that was asked for last, and the answer: a scan reports a value's matches one after the other, so each
    /// value is read once.
    last: u32,
    last_is_repeated: bool,
}

impl Default for Repeated {
    fn default() -> Self {
        Self { slots: Vec::new(), is_used: false, last: EMPTY, last_is_repeated: false }
    }
}

impl Repeated {
    /// Forgets the last request.
    pub(crate) fn reset(&mut self) {
        self.last = EMPTY;
        if self.is_used {
            self.slots.fill(EMPTY);
            self.is_used = false;
        }
    }

    /// Whether another value at the same place has the same bytes and was asked for before. What a pattern finds in one of
    /// two such values it finds in the other.
    #[inline]
    pub(crate) fn knows(&mut self, value: u32, nominations: usize, arena: &Arena) -> bool {
        if nominations < NOMINATIONS_MIN {
            return false;
        }
        if self.last != value {
            self.last = value;
            self.last_is_repeated = self.look_up(value, arena);
        }
        self.last_is_repeated
    }

    fn look_up(&mut self, number: u32, arena: &Arena) -> bool {
        let values = arena.values();
        let value = values[number as usize];
        if value.span.len() > COMPARED_BYTES_MAX {
            return false;
        }
        self.slots.resize(SLOTS, EMPTY);
        self.is_used = true;
        let bytes = arena.slice(value.span);
        let start = hash(bytes);
        for probe in 0..PROBES_MAX {
            let slot = &mut self.slots[start.wrapping_add(probe) % SLOTS];
            let Some(known) = values.get(*slot as usize) else {
                *slot = number;
                return false;
            };
            if *slot == number {
                return false;
            }
            if known.place == value.place && arena.slice(known.span) == bytes {
                return true;
            }
        }
        false
    }
}

/// A number that differs for most pairs. Who finds pairs with the same one has them looked at one by one.
fn hash(value: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = value.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |hash: u64, word: &[u8; 8]| {
        let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 32)
    };
    mix(words.iter().fold(value.len() as u64, mix), &last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{ROOT, Step};
    use crate::limits::Limits;
    use crate::place::Place;

    #[test]
    fn only_equal_values_at_the_same_place_are_known() {
        let mut arena = Arena::new(Limits::default());
        let node = arena.node(ROOT, Step::Part("query"));
        let long = [b'a'; COMPARED_BYTES_MAX + 1];
        let short = &long[..COMPARED_BYTES_MAX];
        for (bytes, place) in [
            (&b"union select"[..], Place::Query),
            (b"union select", Place::Body),
            (b"union selecT", Place::Query),
            (b"union select", Place::Query),
            (short, Place::Query),
            (short, Place::Query),
            (&long, Place::Query),
            (&long, Place::Query),
        ] {
            let span = arena.copy(bytes);
            arena.add(span, node, place, 0);
        }
        let mut repeated = Repeated::default();
        let expected = [false, false, false, true, false, true, false, false];
        for _ in 0..2 {
            let known = [0, 1, 2, 3, 4, 5, 6, 7].map(|value| repeated.knows(value, NOMINATIONS_MIN, &arena));
            assert_eq!(known, expected);
        }
        repeated.reset();
        assert!(!repeated.knows(3, NOMINATIONS_MIN, &arena), "the last request is forgotten");
        assert!(!repeated.knows(0, NOMINATIONS_MIN - 1, &arena), "few nominations are all looked at");
    }
}
