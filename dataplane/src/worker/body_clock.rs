//! How long a client has had for its body.

use crate::io::Monotonic;

/// Counts the time in which a body was read: not that in which its request waited for its turn under a rate limit, nor that
/// in which its origin had to take some of it first.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct BodyClock {
    /// When it would have begun if it had never stopped.
    began: Monotonic,
    stopped: Option<Monotonic>,
}

impl BodyClock {
    pub(crate) fn starting(now: Monotonic) -> Self {
        Self { began: now, stopped: None }
    }

    /// The body isn't read from now on.
    pub(crate) fn stop(&mut self, now: Monotonic) {
        self.stopped.get_or_insert(now);
    }

    /// It is read again.
    pub(crate) fn go_on(&mut self, now: Monotonic) {
        if let Some(stopped) = self.stopped.take() {
            self.began = self.began.after(now.since(stopped));
        }
    }

    /// The time that the client has had.
    pub(crate) fn elapsed(&self, now: Monotonic) -> std::time::Duration {
        self.stopped.unwrap_or(now).since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_in_which_it_stands_still_does_not_count() {
        let at = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        let mut clock = BodyClock::starting(at(10));
        assert_eq!(clock.elapsed(at(12)), Duration::from_secs(2));
        clock.stop(at(12));
        clock.stop(at(15));
        assert_eq!(clock.elapsed(at(20)), Duration::from_secs(2), "from the first stop on");
        clock.go_on(at(22));
        clock.go_on(at(23));
        assert_eq!(clock.elapsed(at(25)), Duration::from_secs(5));
    }
}
