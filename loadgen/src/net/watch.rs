//! Deadlines and stopping: one table per thread of what its connections wait for.
//!
//! A timer for every receive would cost more than the receive, so each connection notes the tick at which its present
//! wait ends, and one task looks at all of them every [`TICK`].

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    io,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use monoio::io::{CancelHandle, Canceller};

/// How often deadlines are looked at, and so how exact they are.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// All watched connections of one thread.
#[derive(Default)]
pub(crate) struct Watcher {
    tick: Cell<u64>,
    stopping: Cell<bool>,
    next_key: Cell<u64>,
    watches: RefCell<HashMap<u64, Rc<Slot>>>,
}

struct Slot {
    canceller: RefCell<Canceller>,
    /// The tick at which the present wait is given up; `u64::MAX` for none.
    expires_at: Cell<u64>,
    expired: Cell<bool>,
    /// Who waits for nothing but the stop.
    waiter: RefCell<Option<Waker>>,
}

/// Ends what one connection waits for at a moment of the caller's choice, where a [`TICK`] is too coarse.
pub(crate) struct Alarm(Rc<Slot>);

/// One connection's entry in its thread's [`Watcher`]; dropped with the connection.
pub(crate) struct Watch {
    slot: Rc<Slot>,
    watcher: Rc<Watcher>,
    key: u64,
}

impl Watcher {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    pub(crate) fn add(self: &Rc<Self>) -> Watch {
        let slot = Rc::new(Slot {
            canceller: RefCell::new(Canceller::new()),
            expires_at: Cell::new(u64::MAX),
            expired: Cell::new(false),
            waiter: RefCell::new(None),
        });
        let key = self.next_key.get();
        self.next_key.set(key + 1);
        self.watches.borrow_mut().insert(key, Rc::clone(&slot));
        Watch { slot, watcher: Rc::clone(self), key }
    }

    /// How many connections live.
    pub(crate) fn len(&self) -> usize {
        self.watches.borrow().len()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Ends every wait, now and in future, and waits up to `grace` for the connections to be gone.
    pub(crate) async fn stop(&self, grace: Duration) {
        const STEP: Duration = Duration::from_millis(5);
        self.stopping.set(true);
        let mut waited = Duration::ZERO;
        while waited < grace {
            for slot in self.watches.borrow().values() {
                slot.cancel();
            }
            if self.len() == 0 {
                break;
            }
            monoio::time::sleep(STEP).await;
            waited += STEP;
        }
    }

    /// Looks at the deadlines until the thread stops.
    pub(crate) async fn run(self: Rc<Self>) {
        while !self.stopping.get() {
            monoio::time::sleep(TICK).await;
            let now = self.tick.get() + 1;
            self.tick.set(now);
            for slot in self.watches.borrow().values() {
                if slot.expires_at.get() <= now {
                    slot.expires_at.set(u64::MAX);
                    slot.expired.set(true);
                    slot.cancel();
                }
            }
        }
    }
}

impl Slot {
    fn cancel(&self) {
        let cancelled = self.canceller.take().cancel();
        self.canceller.replace(cancelled);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

impl Alarm {
    /// Ends the wait that is under way as if its time were over.
    pub(crate) fn ring(&self) {
        self.0.expired.set(true);
        self.0.cancel();
    }
}

impl Watch {
    /// Gives everything that this connection waits for from now on `limit` time, or as long as it takes.
    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        let expires_at = limit.map_or(u64::MAX, |limit| {
            let ticks = limit.as_millis().div_ceil(TICK.as_millis());
            // One more, because the present tick is partly over.
            self.watcher.tick.get().saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)).saturating_add(1)
        });
        self.slot.expires_at.set(expires_at);
        self.slot.expired.set(false);
    }

    pub(crate) fn alarm(&self) -> Alarm {
        Alarm(Rc::clone(&self.slot))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.watcher.is_stopping()
    }

    /// Waits until `moment`, or until it stops.
    pub(crate) async fn pause_until(&self, moment: Instant) {
        let stopped = std::future::poll_fn(|context| {
            if self.is_stopping() {
                return Poll::Ready(());
            }
            self.slot.waiter.replace(Some(context.waker().clone()));
            Poll::Pending
        });
        monoio::select! {
            () = monoio::time::sleep_until(moment.into()) => {}
            () = stopped => {}
        }
    }

    /// Runs one operation that the deadline or a stop can end. Behind the deadline, until there is another one, it ends
    /// at once: the deadline may come when the operation before is complete and its task has not run yet.
    ///
    /// # Errors
    ///
    /// `TimedOut` after the deadline, `Interrupted` after a stop, or the operation's own error.
    pub(crate) async fn guard<B, F, Fut>(&self, operation: F) -> (io::Result<usize>, B)
    where
        F: FnOnce(CancelHandle) -> Fut,
        Fut: Future<Output = (io::Result<usize>, B)>,
    {
        let handle =
            if self.slot.expired.get() { cancelled() } else { self.slot.canceller.borrow().handle() };
        let (result, buffer) = operation(handle).await;
        (result.map_err(|error| self.explain(error)), buffer)
    }

    fn explain(&self, error: io::Error) -> io::Error {
        const ECANCELED: i32 = 125;
        if error.raw_os_error() != Some(ECANCELED) {
            error
        } else if self.slot.expired.get() {
            io::Error::new(io::ErrorKind::TimedOut, "the peer took too long")
        } else {
            io::Error::new(io::ErrorKind::Interrupted, "stopped")
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher.watches.borrow_mut().remove(&self.key);
    }
}

/// A handle whose operation ends before it begins.
fn cancelled() -> CancelHandle {
    let canceller = Canceller::new();
    let handle = canceller.handle();
    // What it gives back is for operations to come.
    let _next = canceller.cancel();
    handle
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use monoio::io::CancelableAsyncReadRent;

    use super::*;
    use crate::net::run_on_ring;

    #[test]
    fn a_deadline_between_two_operations_ends_the_next() {
        let (own, _silent) = UnixStream::pair().unwrap();
        let ended = run_on_ring(|| async {
            let watch = Watcher::new().add();
            own.set_nonblocking(monoio::utils::is_legacy()).unwrap();
            let mut stream = monoio::net::UnixStream::from_std(own).unwrap();
            let mut receive =
                async || watch.guard(|handle| stream.cancelable_read(vec![0_u8; 1], handle)).await.0;
            watch.alarm().ring();
            let first = monoio::select! {
                received = receive() => Some(received.unwrap_err().kind()),
                () = monoio::time::sleep(Duration::from_secs(20)) => None,
            };
            // With another deadline it goes on.
            watch.set_limit(Some(Duration::ZERO));
            monoio::spawn(Rc::clone(&watch.watcher).run());
            (first, receive().await.unwrap_err().kind())
        });
        assert_eq!(ended.unwrap(), (Some(io::ErrorKind::TimedOut), io::ErrorKind::TimedOut));
    }
}
