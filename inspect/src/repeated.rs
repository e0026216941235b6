//! Values that a request repeats: each is looked at closely once, so that repetition doesn't use up what closer looks may
//! cost.

use crate::arena::Arena;
use crate::inspector::Nomination;

/// From this many nominations of a request on, equal ones are looked for: ordinary requests have few.
const NOMINATIONS_MIN: usize = 256;

/// The longest values that are compared, in bytes.
const COMPARED_BYTES_MAX: usize = 256;

/// Slots of the table. A power of two.
const SLOTS: usize = 1 << 15;

/// How many slots are looked at before a nomination counts as new.
const PROBES_MAX: usize = 4;

/// The mark of a slot without a nomination.
const EMPTY: u32 = u32::MAX;

/// A table of nominations by rule and value. It takes no memory until a request has many.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    slots: Vec<u32>,
    is_used: bool,
}

impl Repeated {
    /// Forgets the last request.
    pub(crate) fn reset(&mut self) {
        if self.is_used {
            self.slots.fill(EMPTY);
            self.is_used = false;
        }
    }

    /// Whether an equal value was nominated by the same rule before. If not, `new` is kept as the one that is pushed to
    /// `nominations` next.
    pub(crate) fn knows(&mut self, new: Nomination, nominations: &[Nomination], arena: &Arena) -> bool {
        if nominations.len() < NOMINATIONS_MIN {
            return false;
        }
        let value = bytes(new, arena);
        if value.len() > COMPARED_BYTES_MAX {
            return false;
        }
        self.slots.resize(SLOTS, EMPTY);
        self.is_used = true;
        let start = hash(new.rule, value);
        for probe in 0..PROBES_MAX {
            let slot = &mut self.slots[start.wrapping_add(probe) % SLOTS];
            match nominations.get(*slot as usize) {
                Some(known) if known.rule == new.rule && bytes(*known, arena) == value => return true,
                Some(_) => {}
                None => {
                    *slot = u32::try_from(nominations.len()).unwrap_or(EMPTY);
                    return false;
                }
            }
        }
        false
    }
}

fn bytes(nomination: Nomination, arena: &Arena) -> &[u8] {
    arena.slice(arena.values()[nomination.value as usize].span)
}

/// A number that differs for most pairs. Who finds pairs with the same one has them looked at one by one.
fn hash(rule: u32, value: &[u8]) -> usize {
    let start = 0xcbf2_9ce4_8422_2325 ^ u64::from(rule);
    let hash = value.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    (hash >> 20) as usize
}
