//! Helpers of the end-to-end tests: the binary as an operator runs it, origins and clients around it.

pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod dns;
pub(crate) mod h11;
pub(crate) mod haproxy;
pub(crate) mod load;
pub(crate) mod message;
pub(crate) mod mmdb;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod origin;
pub(crate) mod pki;
pub(crate) mod setup;
pub(crate) mod strict;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: the machine may be busy, and no test asserts a time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `found` has something to give.
///
/// # Panics
/// If that never happens; `what` says what was waited for.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Bytes that look like nothing else and differ from place to place, so that a lost or doubled part shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Letters only: nothing in it is an attack or framing.
        bytes.extend(state.to_be_bytes().map(|byte| b'a' + byte % 26));
    }
    bytes.truncate(length);
    bytes
}

/// Random numbers that are the same in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// The next number below `below`.
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// Changes, removes or doubles some bytes.
    pub(crate) fn disturb(&mut self, sound: &[u8]) -> Vec<u8> {
        const STRANGE: &[u8] = b"\0\r\n\t :;,=%/\\\x7f\x80\xff09azAZ\"";
        let mut bytes = sound.to_vec();
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len());
            match self.next(4) {
                0 => bytes[at] = STRANGE[self.next(STRANGE.len())],
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, STRANGE[self.next(STRANGE.len())]),
                _ => {
                    let end = (at + self.next(20)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes
    }
}
