//! The timer wheel of a worker: coarse, lazy, and free of allocation once warm.
//!
//! A connection has one [`Deadline`]. Moving it later, which is what nearly every event does, is a store: the
//! entry in the wheel stays where it is and is put forward when it fires too early. Only an earlier deadline
//! adds an entry. Deadlines are kept to a tick ([`TICK`]) and never fire early.

use std::time::Duration;

use crate::io::Monotonic;

/// The wheel's resolution: a deadline fires at most this much late.
pub(crate) const TICK: Duration = Duration::from_millis(20);
const TICK_NANOS: u64 = 20_000_000;
/// Slots of the wheel. Deadlines further away than `SLOTS` ticks (20 s) pass through the last slot again.
const SLOTS: usize = 1024;
const WORDS: usize = SLOTS / 64;
const NEVER: u64 = u64::MAX;

/// When something is to happen to a connection. Lives in the connection.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// The moment asked for, in nanoseconds; `NEVER` if none.
    at: u64,
    /// The tick of the wheel's entry that will look at this deadline; `NEVER` if there is none.
    entry: u64,
}

impl Default for Deadline {
    fn default() -> Self {
        Self { at: NEVER, entry: NEVER }
    }
}

impl Deadline {
    /// Forgets the deadline. Its entry in the wheel is dropped when its tick comes.
    pub(crate) fn clear(&mut self) {
        self.at = NEVER;
    }
}

/// An entry whose tick has come. Whether its deadline has passed is for [`TimerWheel::check`] to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fired<K> {
    pub(crate) key: K,
    tick: u64,
}

/// A hashed wheel of entries with keys of type `K`.
#[derive(Debug)]
pub(crate) struct TimerWheel<K> {
    slots: Vec<Vec<Fired<K>>>,
    /// One bit a slot: whether it has entries.
    occupied: [u64; WORDS],
    /// The next tick to look at; all earlier ones are done.
    next_tick: u64,
}

impl<K: Copy> TimerWheel<K> {
    /// A wheel whose time starts at `now`.
    pub(crate) fn new(now: Monotonic) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; WORDS],
            next_tick: now.0 / TICK_NANOS,
        }
    }

    /// Asks for `deadline` to fire at `at`.
    pub(crate) fn set(&mut self, deadline: &mut Deadline, key: K, at: Monotonic) {
        deadline.at = at.0;
        let tick = self.tick_of(at.0);
        if tick < deadline.entry {
            deadline.entry = tick;
            self.insert(Fired { key, tick });
        }
    }

    /// The tick in which a deadline fires: rounded up, so that nothing fires early, and within the wheel.
    fn tick_of(&self, at: u64) -> u64 {
        let tick = at.div_ceil(TICK_NANOS);
        tick.clamp(self.next_tick, self.next_tick + SLOTS as u64 - 1)
    }

    fn insert(&mut self, entry: Fired<K>) {
        let slot = slot_of(entry.tick);
        self.slots[slot].push(entry);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// When the wheel wants to be looked at next.
    pub(crate) fn next(&self) -> Option<Monotonic> {
        let start = slot_of(self.next_tick);
        // The first word is looked at twice: its bits from `start` on first, the ones before it last.
        for step in 0..=WORDS {
            let index = (start / 64 + step) % WORDS;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == WORDS {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros() as usize;
                let distance = (slot + SLOTS - start) % SLOTS;
                return Some(Monotonic((self.next_tick + distance as u64) * TICK_NANOS));
            }
        }
        None
    }

    /// Takes the entries whose tick has come, up to `now`.
    pub(crate) fn expire(&mut self, now: Monotonic, fired: &mut Vec<Fired<K>>) {
        let last = now.0 / TICK_NANOS;
        // After a long pause one round over all slots takes every entry: none lies further ahead.
        let end = last.min(self.next_tick + SLOTS as u64 - 1);
        let mut tick = self.next_tick;
        while tick <= end {
            let slot = slot_of(tick);
            if self.occupied[slot / 64] & (1 << (slot % 64)) != 0 {
                fired.append(&mut self.slots[slot]);
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
            tick += 1;
        }
        self.next_tick = self.next_tick.max(last + 1);
    }

    /// Whether the deadline behind a fired entry has passed. If not, it's put forward in the wheel.
    pub(crate) fn check(&mut self, deadline: &mut Deadline, fired: &Fired<K>, now: Monotonic) -> bool {
        if deadline.entry != fired.tick {
            return false; // a later `set` made another entry, which counts
        }
        deadline.entry = NEVER;
        if deadline.at == NEVER {
            return false;
        }
        if deadline.at <= now.0 {
            deadline.at = NEVER;
            return true;
        }
        let at = Monotonic(deadline.at);
        self.set(deadline, fired.key, at);
        false
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic(milliseconds * 1_000_000)
    }

    fn run(wheel: &mut TimerWheel<u32>, deadline: &mut Deadline, now: Monotonic) -> bool {
        let mut fired = Vec::new();
        wheel.expire(now, &mut fired);
        let mut passed = false;
        for entry in &fired {
            passed |= wheel.check(deadline, entry, now);
        }
        passed
    }

    #[test]
    fn fires_once_and_not_early() {
        let mut wheel = TimerWheel::new(at(0));
        let mut deadline = Deadline::default();
        wheel.set(&mut deadline, 1, at(101));
        assert!(!run(&mut wheel, &mut deadline, at(100)));
        assert_eq!(wheel.next(), Some(at(120)));
        assert!(run(&mut wheel, &mut deadline, at(120)));
        assert!(!run(&mut wheel, &mut deadline, at(500)));
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn moving_later_makes_no_new_entry() {
        let mut wheel = TimerWheel::new(at(0));
        let mut deadline = Deadline::default();
        for step in 0..1000 {
            wheel.set(&mut deadline, 1, at(100 + step));
        }
        assert_eq!(wheel.slots.iter().map(Vec::len).sum::<usize>(), 1);
        assert!(!run(&mut wheel, &mut deadline, at(200)));
        assert!(run(&mut wheel, &mut deadline, at(1120)));
    }

    #[test]
    fn moving_earlier_counts() {
        let mut wheel = TimerWheel::new(at(0));
        let mut deadline = Deadline::default();
        wheel.set(&mut deadline, 1, at(5000));
        wheel.set(&mut deadline, 1, at(50));
        assert!(run(&mut wheel, &mut deadline, at(60)));
        wheel.set(&mut deadline, 1, at(9000));
        assert!(!run(&mut wheel, &mut deadline, at(5000)));
        assert!(run(&mut wheel, &mut deadline, at(9000)));
    }

    #[test]
    fn further_than_the_wheel_is_long() {
        let mut wheel = TimerWheel::new(at(7));
        let mut deadline = Deadline::default();
        wheel.set(&mut deadline, 1, at(75_000));
        let mut now = 7;
        let mut passed_at = None;
        while passed_at.is_none() {
            now = wheel.next().map_or(now + 1, |next| next.0 / 1_000_000);
            if run(&mut wheel, &mut deadline, at(now)) {
                passed_at = Some(now);
            }
        }
        assert_eq!(passed_at, Some(75_000));
    }

    #[test]
    fn cleared_deadlines_stay_silent_even_after_a_long_pause() {
        let mut wheel = TimerWheel::new(at(0));
        let mut deadline = Deadline::default();
        wheel.set(&mut deadline, 1, at(100));
        deadline.clear();
        assert!(!run(&mut wheel, &mut deadline, at(3_600_000)));
        wheel.set(&mut deadline, 1, at(3_600_100));
        assert!(run(&mut wheel, &mut deadline, at(7_200_000)));
    }
}
