//! Addresses that are left out for a while because of what requests met there. Each worker judges for itself.

use std::time::Duration;

use crate::config::OutlierConfig;
use crate::io::Monotonic;
use crate::telemetry::EjectionReason;

/// What this worker's requests met at one address.
#[derive(Debug, Default)]
pub(crate) struct Outliers {
    state: State,
    /// Connections in a row that could not be made.
    connect_failures: u32,
    /// Requests in a row that failed.
    request_failures: u32,
    /// Times in a row that it was left out; how long the last time, and when that ended or will end.
    ejections: u32,
    last_time: Duration,
    last_end: Monotonic,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Used like any other.
    #[default]
    In,
    /// Left out until then; the next request after that finds out whether it works again.
    Out(Monotonic, EjectionReason),
    /// That request is under way.
    Trial(Trial, EjectionReason),
}

/// The request that finds out whether an address works again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Trial {
    /// Until then it is waited for.
    until: Monotonic,
    /// The head of its answer came: if that hasn't broken off until then, it is good enough. If nothing is heard until then,
    /// another request tries.
    answering: bool,
}

impl Outliers {
    /// Whether requests may go there.
    #[inline]
    pub(crate) fn is_usable(&self, now: Monotonic) -> bool {
        match self.state {
            State::In => true,
            State::Out(until, _) | State::Trial(Trial { until, .. }, _) => until <= now,
        }
    }

    /// Whether the address is left out, or hasn't shown since that it works again.
    #[inline]
    pub(crate) fn is_ejected(&self) -> bool {
        self.state != State::In
    }

    /// A request goes to the address. If it is the one that tries it, others wait for `time` at most. Gives whether the
    /// address is used again from now on, as the last one that tried it is still being answered.
    #[inline]
    pub(crate) fn chosen(&mut self, now: Monotonic, time: Duration) -> bool {
        match self.state {
            State::Trial(Trial { until, answering: true }, _) if until <= now => {
                self.state = State::In;
                return true;
            }
            State::Out(until, reason) | State::Trial(Trial { until, .. }, reason) if until <= now => {
                self.state = State::Trial(Trial { until: now.after(time), answering: false }, reason);
            }
            _ => {}
        }
        false
    }

    /// A connection is ready. Gives whether the address is used again from now on.
    pub(crate) fn connected(&mut self) -> bool {
        self.connect_failures = 0;
        let proves = matches!(self.state, State::Trial(_, EjectionReason::Connect));
        if proves {
            self.state = State::In;
        }
        proves
    }

    /// The head of an answer came that is no failure so far.
    #[inline]
    pub(crate) fn answering(&mut self) {
        if let State::Trial(trial, _) = &mut self.state {
            trial.answering = true;
        }
    }

    /// A whole answer came that is no failure. Gives whether the address is used again from now on. Answers to what was under
    /// way when it was left out prove nothing.
    #[inline]
    pub(crate) fn answered(&mut self) -> bool {
        self.request_failures = 0;
        let proves = matches!(self.state, State::Trial(..));
        if proves {
            self.state = State::In;
        }
        proves
    }

    /// Something failed. Gives whether the address is to be left out for it.
    pub(crate) fn failed(&mut self, reason: EjectionReason, settings: &OutlierConfig) -> bool {
        let (count, limit) = match reason {
            EjectionReason::Connect => (&mut self.connect_failures, settings.connect_failures),
            _ => (&mut self.request_failures, settings.request_failures),
        };
        *count = count.saturating_add(1);
        match self.state {
            State::In => limit.is_some_and(|limit| *count >= limit),
            // What else is under way fails as well.
            State::Out(..) => false,
            State::Trial(..) => true,
        }
    }

    /// Leaves the address out. Gives for how long.
    pub(crate) fn eject(
        &mut self,
        reason: EjectionReason,
        settings: &OutlierConfig,
        now: Monotonic,
    ) -> Duration {
        // Whoever behaved well for as long as it was left out before begins anew.
        let behaved_well = now.since(self.last_end) > self.last_time;
        self.ejections = if behaved_well { 1 } else { self.ejections.saturating_add(1) };
        let time = settings.base_ejection_time.saturating_mul(self.ejections).min(settings.max_ejection_time);
        self.last_time = time;
        self.last_end = now.after(time);
        self.connect_failures = 0;
        self.request_failures = 0;
        self.state = State::Out(self.last_end, reason);
        time
    }
}

/// Whether a status counts as a failure.
#[inline]
pub(crate) fn is_failure(settings: &OutlierConfig, status: u16) -> bool {
    settings.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
}

/// Whether one more of `all` addresses, of which `ejected` are left out, may be left out for failed requests. One always
/// may.
pub(crate) fn has_room(settings: &OutlierConfig, ejected: usize, all: usize) -> bool {
    ejected == 0 || (ejected + 1) * 100 <= all * settings.max_ejected_percent as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> OutlierConfig {
        OutlierConfig {
            connect_failures: Some(1),
            request_failures: Some(3),
            statuses: vec![(502, 504)],
            base_ejection_time: Duration::from_secs(10),
            max_ejection_time: Duration::from_secs(25),
            max_ejected_percent: 50,
        }
    }

    const fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn failures_count_in_a_row_and_each_kind_by_itself() {
        let mut outliers = Outliers::default();
        for _ in 0..2 {
            assert!(!outliers.failed(EjectionReason::Reset, &settings()));
            assert!(!outliers.failed(EjectionReason::Status, &settings()));
            assert!(!outliers.answered());
        }
        assert!(!outliers.failed(EjectionReason::Reset, &settings()));
        assert!(!outliers.failed(EjectionReason::Timeout, &settings()));
        assert!(outliers.failed(EjectionReason::Status, &settings()));
        let never = OutlierConfig { connect_failures: None, ..settings() };
        assert!(!Outliers::default().failed(EjectionReason::Connect, &never));
        assert!(Outliers::default().failed(EjectionReason::Connect, &settings()));
    }

    #[test]
    fn one_request_tries_an_address_before_the_others_follow() {
        let mut outliers = Outliers::default();
        assert_eq!(outliers.eject(EjectionReason::Connect, &settings(), at(100)), Duration::from_secs(10));
        assert!(!outliers.is_usable(at(109)));
        assert!(!outliers.answered() && !outliers.connected(), "what was under way proves nothing");
        assert!(outliers.is_usable(at(110)) && outliers.is_ejected());
        assert!(!outliers.chosen(at(110), Duration::from_secs(3)));
        assert!(!outliers.is_usable(at(112)) && outliers.is_usable(at(113)));
        assert!(outliers.connected() && outliers.is_usable(at(112)) && !outliers.is_ejected());
    }

    #[test]
    fn an_answer_that_lasts_is_good_enough_unless_it_breaks_off_at_once() {
        let time = Duration::from_secs(3);
        for (begins, is_back) in [(false, false), (true, true)] {
            let mut outliers = Outliers::default();
            outliers.eject(EjectionReason::Truncated, &settings(), at(100));
            outliers.chosen(at(110), time);
            if begins {
                outliers.answering();
            }
            assert!(!outliers.is_usable(at(112)), "it may still break off");
            assert_eq!(outliers.chosen(at(113), time), is_back);
            assert_eq!(outliers.is_ejected(), !is_back);
            assert_eq!(
                outliers.failed(EjectionReason::Truncated, &settings()),
                !is_back,
                "back, it has all its chances"
            );
        }
    }

    #[test]
    fn the_time_grows_up_to_its_limit_and_good_behaviour_is_forgiven() {
        let mut outliers = Outliers::default();
        let mut now = 100;
        for seconds in [10, 20, 25, 25] {
            let time = outliers.eject(EjectionReason::Reset, &settings(), at(now));
            assert_eq!(time.as_secs(), seconds);
            now += seconds;
            outliers.chosen(at(now), Duration::from_secs(3));
            assert!(outliers.failed(EjectionReason::Reset, &settings()), "one failure is enough");
        }
        outliers.chosen(at(now), Duration::from_secs(3));
        outliers.answered();
        assert_eq!(outliers.eject(EjectionReason::Reset, &settings(), at(now + 26)).as_secs(), 10);
    }

    #[test]
    fn one_may_always_be_left_out_and_others_up_to_the_share() {
        let room = |ejected, all| has_room(&settings(), ejected, all);
        assert!(room(0, 2) && !room(1, 2) && !room(1, 3) && room(1, 4) && !room(2, 4));
        let none = OutlierConfig { max_ejected_percent: 0, ..settings() };
        assert!(has_room(&none, 0, 2) && !has_room(&none, 1, 100));
        assert!(is_failure(&settings(), 503) && !is_failure(&settings(), 500));
    }
}
