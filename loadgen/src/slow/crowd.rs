//! Slow clients at work, on threads of their own.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Options,
    connection::{Shared, SlowClient},
    pace::Steps,
    report::Ends,
};
use crate::{
    net::{self, Watcher},
    run::{RunError, Target, share},
};

/// How often threads look whether it is over.
const POLL: Duration = Duration::from_millis(20);
/// How long connections get to go away at the end.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// All slow clients of a run or of one slice of it.
pub(super) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Ends>>>,
}

impl Crowd {
    /// Starts them; they make their connections one by one.
    pub(super) fn gather(options: &Options, target: &Arc<Target>) -> Result<Self, RunError> {
        let shared = Arc::new(Shared::new(options, Arc::clone(target)));
        let connections = options.request.connections;
        let count = options.request.threads.clamp(1, connections);
        let (began, pace, seed) = (Instant::now(), options.pace, options.seed);
        let mut threads = Vec::new();
        for index in 0..count {
            let numbers = (0..share(connections, index, count)).map(move |number| number * count + index);
            let steps = numbers.map(move |number| Steps::new(began, pace, seed, number, connections));
            let shared = Arc::clone(&shared);
            let work = move || net::run_on_ring(|| drive(shared, steps));
            let thread = std::thread::Builder::new().name(format!("slow-{index}"));
            threads.push(thread.spawn(work).map_err(RunError::Thread)?);
        }
        Ok(Self { shared, threads })
    }

    /// Connections that are up.
    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Clients that are up and slow by now, or were once.
    pub(super) fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Closes all connections; says how they ended before and now.
    pub(super) fn dismiss(mut self) -> Result<Ends, RunError> {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut ends = Ends::default();
        for thread in self.threads.drain(..) {
            let own = thread.join().map_err(|_| RunError::Thread(io::Error::other("a thread panicked")))?;
            ends.add(&own.map_err(RunError::Thread)?);
        }
        Ok(ends)
    }
}

impl Drop for Crowd {
    /// Whatever went wrong beside them, threads don't stay behind.
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// One thread's slow connections.
async fn drive(shared: Arc<Shared>, clients: impl Iterator<Item = Steps>) -> Ends {
    let watcher = Watcher::new();
    monoio::spawn(Rc::clone(&watcher).run());
    let ends = Rc::new(RefCell::new(Ends::default()));
    for steps in clients {
        let client = SlowClient::new(Arc::clone(&shared), Rc::clone(&watcher), Rc::clone(&ends), steps);
        monoio::spawn(client.run());
    }
    while !shared.over.load(Ordering::Relaxed) {
        monoio::time::sleep(POLL).await;
    }
    // What is still being connected by then ends with the thread.
    watcher.stop(STOP_GRACE).await;
    ends.take()
}
