//! When one thread's requests are due.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use super::{Limit, Load, arrivals::Arrivals, statistics::Statistics};

/// One thread's share of the requests, handed out to its connections.
pub(super) struct Schedule {
    start: Instant,
    measured_from: Instant,
    /// No request is sent or due from here on.
    end: Cell<Option<Instant>>,
    stopped: Cell<bool>,
    /// When requests are due; `None` in a closed loop.
    arrivals: Option<Arrivals>,
    next: Cell<u64>,
    /// Of this thread, and of all threads.
    place: (u64, u64),
    /// Measured requests that may still be started.
    left: Cell<u64>,
    /// Connections that wait for a request to become due, longest wait first.
    idle: RefCell<VecDeque<Idle>>,
    /// Connections waited for a request when the schedule ended.
    idle_at_end: Cell<bool>,
    /// Connections that are still being made for the first time, and since when none is.
    missing: Cell<usize>,
    up_since: Cell<Instant>,
    /// What became due from the one time to the other is late because the generator itself was stopped.
    stall: Cell<Option<(Instant, Instant)>>,
}

/// What a request waited for that was not sent when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// For no connection: it was sent in time, or the generator was late.
    No,
    /// For an answer on one of the connections.
    BusyConnections,
    /// For connections that were being made at the start.
    SetUp,
}

/// A connection that waits.
struct Idle {
    waker: Waker,
    /// What it is to send, once that is due.
    given: Rc<Cell<Option<Start>>>,
}

/// A request to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Its number in the run, from 0; threads take turns.
    pub(super) number: u64,
    /// When it was due; in a closed loop, when it was handed out.
    pub(super) due: Instant,
    /// It counts: the warm-up is over.
    pub(super) measured: bool,
    /// What it waited for.
    pub(super) wait: Wait,
}

impl Schedule {
    /// The share of thread `index` of `threads`.
    pub(super) fn new(
        load: &Load,
        limit: Limit,
        start: Instant,
        warm_up: Duration,
        index: usize,
        threads: usize,
    ) -> Self {
        let measured_from = start + warm_up;
        let (end, left) = match limit {
            Limit::Duration(duration) => (Some(measured_from + duration), u64::MAX),
            Limit::Requests(all) => {
                let (threads, index) = (threads as u64, index as u64);
                (None, all / threads + u64::from(index < all % threads))
            }
        };
        Self {
            start,
            measured_from,
            end: Cell::new(end),
            stopped: Cell::new(false),
            arrivals: Arrivals::new(load, limit, warm_up, index, threads),
            next: Cell::new(0),
            place: (index as u64, threads as u64),
            left: Cell::new(left),
            idle: RefCell::new(VecDeque::new()),
            idle_at_end: Cell::new(false),
            missing: Cell::new(0),
            up_since: Cell::new(start),
            stall: Cell::new(None),
        }
    }

    /// So many connections will [join](Self::join).
    pub(super) fn expect(&self, connections: usize) {
        self.missing.set(connections);
    }

    /// One more connection is up, or was tried in vain.
    pub(super) fn join(&self) {
        let missing = self.missing.get().saturating_sub(1);
        self.missing.set(missing);
        if missing == 0 {
            self.up_since.set(Instant::now());
        }
    }

    /// The generator did nothing between these times, though it should have. What it has to make up for then keeps connections
    /// busy for about as long again.
    pub(super) fn note_stall(&self, from: Instant, to: Instant) {
        self.stall.set(Some((from, to + (to - from))));
    }

    pub(super) const fn measured_from(&self) -> Instant {
        self.measured_from
    }

    pub(super) const fn is_open_loop(&self) -> bool {
        self.arrivals.is_some()
    }

    /// How long it is until the first request may be sent.
    pub(super) fn until_start(&self) -> Duration {
        self.start.saturating_duration_since(Instant::now())
    }

    /// It was ended before its time.
    pub(super) const fn was_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// The time of the end, if it is known.
    pub(super) const fn end(&self) -> Option<Instant> {
        self.end.get()
    }

    /// Ends the schedule now, if it hasn't ended before.
    pub(super) fn stop(&self, now: Instant) {
        self.end.set(Some(self.end.get().map_or(now, |end| end.min(now))));
        self.stopped.set(true);
        self.release();
    }

    /// The time of the next request; `None` after the last.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let seconds = Duration::try_from_secs_f64(self.arrivals.as_ref()?.next()).ok()?;
        let due = self.start.checked_add(seconds)?;
        let over = self.left.get() == 0 || self.end.get().is_some_and(|end| due >= end);
        (!over).then_some(due)
    }

    /// Waits until a request is due and a connection is here to send it: this one. `None` after the last request.
    pub(super) async fn next(&self) -> Option<Start> {
        let mut given: Option<Rc<Cell<Option<Start>>>> = None;
        poll_fn(|context| {
            if let Some(start) = given.as_ref().and_then(|given| given.take()) {
                return Poll::Ready(Some(start));
            }
            let now = Instant::now();
            let due = if self.is_open_loop() {
                self.next_due()
            } else {
                let over = self.left.get() == 0 || self.end.get().is_some_and(|end| now >= end);
                (!over).then_some(now)
            };
            match due {
                None => Poll::Ready(None),
                // What is due but not sent at the end was missed.
                Some(_) if self.end.get().is_some_and(|end| now >= end) => Poll::Ready(None),
                Some(due) if due <= now => Poll::Ready(Some(self.hand_out(due, given.is_none()))),
                Some(_) => {
                    let given = given.get_or_insert_default();
                    let idle = Idle { waker: context.waker().clone(), given: Rc::clone(given) };
                    self.idle.borrow_mut().push_back(idle);
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn advance(&self) {
        self.next.set(self.next.get() + 1);
        if let Some(arrivals) = &self.arrivals {
            arrivals.advance();
        }
    }

    fn hand_out(&self, due: Instant, at_once: bool) -> Start {
        let number = self.next.get() * self.place.1 + self.place.0;
        self.advance();
        let measured = due >= self.measured_from;
        if measured && self.left.get() != u64::MAX {
            self.left.set(self.left.get() - 1);
            if self.left.get() == 0 {
                self.release();
            }
        }
        // With idle connections about, a late request is the generator's own lateness.
        let no_connection = at_once && self.is_open_loop() && self.idle.borrow().is_empty();
        let wait = if no_connection { self.wait_without_connection(due) } else { Wait::No };
        Start { number, due, measured, wait }
    }

    /// What a request waited for that was due while no connection was free.
    fn wait_without_connection(&self, due: Instant) -> Wait {
        match self.stall.get() {
            Some((from, to)) if from <= due && due < to => Wait::No,
            _ if self.missing.get() > 0 || due < self.up_since.get() => Wait::SetUp,
            _ => Wait::BusyConnections,
        }
    }

    /// Gives the requests that are due at `now` to waiting connections, as many as there are.
    pub(super) fn give_due(&self, now: Instant) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            let Some(idle) = self.idle.borrow_mut().pop_front() else { return };
            idle.given.set(Some(self.hand_out(due, false)));
            idle.waker.wake();
        }
    }

    /// Counts the measured requests that were due before the end and never sent, and notes what they waited for.
    pub(super) fn count_missed(&self, statistics: &mut Statistics) {
        // Without an end there is no time by which they should have been sent.
        if self.end.get().is_none() {
            return;
        }
        while let Some(due) = self.next_due() {
            if due >= self.measured_from {
                statistics.missed += 1;
                // With connections that waited for work, they are the generator's own fault.
                let wait = if self.idle_at_end.get() { Wait::No } else { self.wait_without_connection(due) };
                statistics.note_wait(wait);
            }
            self.advance();
        }
    }

    /// Wakes all waiting connections, to see that nothing more is due.
    pub(super) fn release(&self) {
        let waiting = self.idle.take();
        self.idle_at_end.set(self.idle_at_end.get() || !waiting.is_empty());
        waiting.into_iter().for_each(|idle| idle.waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Context};

    use super::*;

    fn due_times(threads: usize, limit: Limit) -> Vec<u64> {
        let start = Instant::now();
        let mut all = Vec::new();
        for index in 0..threads {
            let schedule = Schedule::new(&Load::Rate(1000.0), limit, start, Duration::ZERO, index, threads);
            while let Some(due) = schedule.next_due() {
                all.push((due - start).as_micros() as u64);
                schedule.hand_out(due, true);
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn threads_share_one_even_stream_of_due_times() {
        let expected: Vec<u64> = (0..20).map(|number| number * 1000).collect();
        for threads in [1, 2, 3] {
            assert_eq!(due_times(threads, Limit::Requests(20)), expected, "{threads} threads");
            assert_eq!(
                due_times(threads, Limit::Duration(Duration::from_millis(20))),
                expected,
                "{threads} threads"
            );
        }
    }

    #[test]
    fn warm_up_requests_do_not_count() {
        let start = Instant::now();
        let limit = Limit::Requests(5);
        let schedule = Schedule::new(&Load::Rate(1000.0), limit, start, Duration::from_millis(10), 0, 1);
        let mut measured = 0;
        let mut all = 0;
        while let Some(due) = schedule.next_due() {
            measured += u64::from(schedule.hand_out(due, true).measured);
            all += 1;
        }
        assert_eq!((measured, all), (5, 15));
    }

    /// What a waiting connection has got by now.
    fn look(connection: &mut Pin<Box<impl Future<Output = Option<Start>>>>) -> Option<Start> {
        match connection.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(start) => start,
            Poll::Pending => None,
        }
    }

    #[test]
    fn due_requests_go_to_those_who_wait_longest_and_no_others() {
        let start = Instant::now() - Duration::from_millis(2);
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let limit = Limit::Duration(Duration::from_secs(60));
        let schedule = Schedule::new(&Load::Rate(1.0), limit, start, Duration::ZERO, 0, 1);
        let mut connections = [(); 3].map(|()| Box::pin(schedule.next()));
        // The first request is due and goes to who asks first; the others wait.
        let numbers: Vec<_> = connections.iter_mut().map(|one| look(one).map(|start| start.number)).collect();
        assert_eq!(numbers, [Some(0), None, None]);
        let state = || (schedule.idle.borrow().len(), schedule.next_due());
        schedule.give_due(at(999));
        assert_eq!(state(), (2, Some(at(1000))));
        schedule.give_due(at(1000));
        assert_eq!(state(), (1, Some(at(2000))));
        // With more due than there are connections, the rest stays due.
        schedule.give_due(at(5000));
        assert_eq!(state(), (0, Some(at(3000))));
        let given: Vec<_> = connections[1..].iter_mut().map(|one| look(one).unwrap()).collect();
        assert_eq!(given.iter().map(|start| start.number).collect::<Vec<_>>(), [1, 2]);
        assert!(given.iter().all(|start| start.wait == Wait::No));
    }

    #[test]
    fn what_a_late_request_waited_for_is_told() {
        let start = Instant::now() - Duration::from_secs(10);
        let limit = Limit::Duration(Duration::from_secs(60));
        let schedule = Schedule::new(&Load::Rate(1.0), limit, start, Duration::ZERO, 0, 1);
        schedule.expect(2);
        let next = || look(&mut Box::pin(schedule.next())).unwrap().wait;
        schedule.join();
        // The other connection isn't there yet.
        assert_eq!(next(), Wait::SetUp);
        schedule.join();
        // What was due before it came is late for the same reason.
        assert_eq!(next(), Wait::SetUp);
        schedule.up_since.set(start);
        assert_eq!(next(), Wait::BusyConnections);
        // Due at 3 to 8 s, while nothing ran or behind that.
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        schedule.note_stall(at(4), at(6));
        let waits: Vec<_> = (3..9).map(|_| next()).collect();
        let expected = [Wait::BusyConnections, Wait::No, Wait::No, Wait::No, Wait::No, Wait::BusyConnections];
        assert_eq!(waits, expected);
    }

    #[test]
    fn due_requests_that_were_never_sent_are_missed() {
        let start = Instant::now() + Duration::from_secs(3600);
        let limit = Limit::Duration(Duration::from_millis(20));
        let missed = |schedule: &Schedule| {
            let mut statistics = Statistics::new();
            schedule.count_missed(&mut statistics);
            (statistics.missed, statistics.waited_for_connection)
        };
        let new = || Schedule::new(&Load::Rate(1000.0), limit, start, Duration::from_millis(10), 0, 1);
        // Nobody was free to send them.
        assert_eq!(missed(&new()), (20, 20));
        // Somebody was, and was given none.
        let schedule = new();
        assert_eq!(look(&mut Box::pin(schedule.next())), None);
        schedule.release();
        assert_eq!(missed(&schedule), (20, 0));
    }
}
