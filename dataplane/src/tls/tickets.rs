//! Tickets by which clients resume their sessions: the keys that seal them, when those change, and what a ticket is good for.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use sha2::{Digest, Sha256};

use super::listener::{ClientAuthentication, ListenerTlsFiles};
use super::pem;

/// One key. The library changes it by itself once it is six hours old and forgets it after twelve, so a key that is used for
/// longer would end earlier than it should: [`TicketKeys::MAX_ROTATION`].
type Key = Arc<dyn ProducesTickets>;

/// The time since some beginning, never going back.
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// Keys of session tickets. One seals new tickets and the one before still opens its own; then it is forgotten, and with it
/// whoever records traffic loses the way into those sessions.
#[derive(Clone)]
pub struct TicketKeys(Arc<KeyRing>);

struct KeyRing {
    rotation: Duration,
    clock: Clock,
    keys: RwLock<Keys>,
}

struct Keys {
    /// Absent where the system had no randomness to give for it: there are no new tickets then until the next change.
    current: Option<Key>,
    previous: Option<Key>,
    /// When `current` becomes the previous one.
    next_change: Duration,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("rotation", &self.0.rotation).finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// The longest time that one key may seal tickets.
    pub const MAX_ROTATION: Duration = Duration::from_secs(6 * 3600);

    /// The keys of this process that change every `rotation`: shared by all listeners and workers that change theirs as
    /// often, and the same over reloads.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn of_this_process(rotation: Duration) -> Result<Self, String> {
        static RINGS: Mutex<Vec<Weak<KeyRing>>> = Mutex::new(Vec::new());
        let mut rings = RINGS.lock().unwrap_or_else(PoisonError::into_inner);
        rings.retain(|ring| ring.strong_count() > 0);
        let known = rings.iter().filter_map(Weak::upgrade).find(|ring| ring.rotation == rotation);
        if let Some(ring) = known {
            return Ok(Self(ring));
        }
        let began = Instant::now();
        let keys = Self::new(rotation, move || began.elapsed())?;
        rings.push(Arc::downgrade(&keys.0));
        Ok(keys)
    }

    /// Fresh keys that change every `rotation` of `clock`.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn new(
        rotation: Duration,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let current =
            Ticketer::new().map_err(|error| format!("keys for session tickets can't be made: {error}"))?;
        let next_change = clock() + rotation;
        let keys = RwLock::new(Keys { current: Some(current), previous: None, next_change });
        Ok(Self(Arc::new(KeyRing { rotation, clock: Box::new(clock), keys })))
    }
}

impl KeyRing {
    /// The key that seals and the one before, as of now.
    fn keys(&self) -> (Option<Key>, Option<Key>) {
        let now = (self.clock)();
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if now < keys.next_change {
                return (keys.current.clone(), keys.previous.clone());
            }
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.change(now, self.rotation);
        (keys.current.clone(), keys.previous.clone())
    }
}

impl Keys {
    /// Changes the keys if it's time, and as if somebody had looked at every change that was due.
    fn change(&mut self, now: Duration, rotation: Duration) {
        let Some(overdue) = now.checked_sub(self.next_change) else { return };
        let current = self.current.take();
        (self.previous, self.next_change) = match overdue < rotation {
            true => (current, self.next_change + rotation),
            false => (None, now + rotation),
        };
        match Ticketer::new() {
            Ok(key) => self.current = Some(key),
            Err(error) => tracing::error!(%error, "no new key for session tickets: sessions don't resume"),
        }
        tracing::debug!("the key of session tickets has changed");
    }
}

/// Tickets that are good under one way to judge clients alone.
///
/// rustls resumes a session without asking for a certificate again. So one that began where nobody is asked, or before a
/// certificate was revoked, must not be a way around the demand for one.
pub(super) struct BoundTickets {
    ring: Arc<KeyRing>,
    /// What clients are judged by.
    judgement: [u8; 32],
}

impl BoundTickets {
    pub(super) fn new(keys: &TicketKeys, files: &ListenerTlsFiles) -> Self {
        Self { ring: Arc::clone(&keys.0), judgement: judgement(files) }
    }
}

impl fmt::Debug for BoundTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundTickets")
    }
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    /// What clients are told, in seconds: the time that every ticket is good for, even one that was sealed right before its
    /// key changed.
    fn lifetime(&self) -> u32 {
        u32::try_from(self.ring.rotation.as_secs()).unwrap_or(u32::MAX).max(1)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (current, _) = self.ring.keys();
        current?.encrypt(&[&self.judgement, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (current, previous) = self.ring.keys();
        let opened = [current, previous].into_iter().flatten().find_map(|key| key.decrypt(cipher))?;
        opened.strip_prefix(&self.judgement).map(<[u8]>::to_vec)
    }
}

/// Tells apart how clients are judged: whether they are asked, by which authorities, and by which revocation lists.
fn judgement(files: &ListenerTlsFiles) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |kind: &[u8], file: Option<&PathBuf>| {
        // It was read a moment ago; if it's gone now, the digest is another one, and sessions begin anew.
        let content = file.map(|file| pem::read_bounded(file)).and_then(Result::ok).unwrap_or_default();
        hash.update(kind);
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    };
    match &files.client_authentication {
        ClientAuthentication::None => add(b"none", None),
        ClientAuthentication::Request(bundle) => add(b"request", Some(bundle)),
        ClientAuthentication::Require(bundle) => add(b"require", Some(bundle)),
    }
    files.client_crls.iter().for_each(|file| add(b"crl", Some(file)));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const ROTATION: Duration = Duration::from_secs(60);

    /// Keys whose clock is the number of seconds in the second value.
    fn keys() -> (TicketKeys, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(1000));
        let clock = Arc::clone(&now);
        let keys = TicketKeys::new(ROTATION, move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        (keys.unwrap(), now)
    }

    fn tickets(keys: &TicketKeys, judgement: u8) -> BoundTickets {
        BoundTickets { ring: Arc::clone(&keys.0), judgement: [judgement; 32] }
    }

    #[test]
    fn a_ticket_outlives_one_change_of_keys_and_no_second_one() {
        let (keys, now) = keys();
        let tickets = tickets(&keys, 0);
        let opens = |ticket: &[u8]| tickets.decrypt(ticket).as_deref() == Some(b"state");
        let first = tickets.encrypt(b"state").unwrap();
        now.store(1059, Ordering::Relaxed);
        let last_of_first = tickets.encrypt(b"state").unwrap();
        assert!(opens(&first));
        now.store(1060, Ordering::Relaxed);
        let second = tickets.encrypt(b"state").unwrap();
        assert!(
            opens(&first) && opens(&last_of_first) && opens(&second),
            "the previous key still opens its own"
        );
        now.store(1119, Ordering::Relaxed);
        assert!(opens(&last_of_first), "as long as clients were told");
        now.store(1120, Ordering::Relaxed);
        assert!(!opens(&first) && !opens(&last_of_first) && opens(&second));
        now.store(1180, Ordering::Relaxed);
        assert!(!opens(&second));
        assert_eq!(tickets.lifetime(), 60);
    }

    #[test]
    fn keys_end_in_time_where_nobody_came_for_long() {
        let (keys, now) = keys();
        let tickets = tickets(&keys, 0);
        let old = tickets.encrypt(b"state").unwrap();
        now.store(1121, Ordering::Relaxed);
        assert_eq!(tickets.decrypt(&old), None);
        // From here on the rhythm is the new key's.
        let new = tickets.encrypt(b"state").unwrap();
        now.store(1240, Ordering::Relaxed);
        assert!(tickets.decrypt(&new).is_some());
        now.store(1241, Ordering::Relaxed);
        assert!(tickets.decrypt(&new).is_none());
    }

    #[test]
    fn tickets_are_good_for_all_who_judge_alike_and_nobody_else() {
        let (keys, _) = keys();
        let ticket = tickets(&keys, 1).encrypt(b"state").unwrap();
        assert_eq!(tickets(&keys, 1).decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(tickets(&keys, 2).decrypt(&ticket), None);
        assert_eq!(tickets(&self::keys().0, 1).decrypt(&ticket), None, "other keys");
        for cut in [0, 1, ticket.len() / 2, ticket.len() - 1] {
            assert_eq!(tickets(&keys, 1).decrypt(&ticket[..cut]), None);
        }
    }

    #[test]
    fn listeners_with_one_rotation_share_their_keys_as_long_as_one_is_there() {
        let rotation = Duration::from_secs(17);
        let first = TicketKeys::of_this_process(rotation).unwrap();
        let second = TicketKeys::of_this_process(rotation).unwrap();
        let other = TicketKeys::of_this_process(Duration::from_secs(18)).unwrap();
        let ticket = tickets(&first, 0).encrypt(b"state").unwrap();
        assert!(tickets(&second, 0).decrypt(&ticket).is_some());
        assert!(tickets(&other, 0).decrypt(&ticket).is_none());
        drop((first, second));
        let anew = TicketKeys::of_this_process(rotation).unwrap();
        assert!(tickets(&anew, 0).decrypt(&ticket).is_none());
    }
}
