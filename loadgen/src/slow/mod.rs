//! Clients that are slow on purpose: they hold a target's connections with heads or bodies that never end, or with answers
//! that they hardly read. What matters is how long the target lets them, and what ordinary requests see meanwhile.

mod connection;
mod report;

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub use self::report::{Moment, Report};
use self::{
    connection::{Shared, SlowClient},
    report::Ends,
};
use crate::{
    net::{self, Watcher},
    run::{self, Limit, Load, RunError, Target, share},
};

/// Deadlines are looked at so often, so a shorter pace would not be kept.
const SHORTEST_PACE: Duration = Duration::from_millis(100);
/// How often it is noted how many connections are open.
const SAMPLE: Duration = Duration::from_millis(250);
/// How often threads look whether it is over.
const POLL: Duration = Duration::from_millis(20);
/// How long connections get to go away at the end.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The most moments of a report; with more, every other one is dropped.
const MOST_MOMENTS: usize = 2_000;

/// What is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A head that gets one more field at each step and never ends.
    Header,
    /// A body that gets one more byte at each step and never comes to its declared length.
    Body,
    /// An answer that is read through a small socket buffer, once at each step.
    Reader,
}

impl Kind {
    /// What it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::Reader => "reader",
        }
    }
}

/// What slow clients do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to, the request, how many connections and threads, how long (a duration), TLS, and the patience for the set-up
    /// of connections. Its load is not used.
    pub request: run::Options,
    /// What is slow.
    pub kind: Kind,
    /// The time between two steps, at least 100 ms, to 100 ms.
    pub pace: Duration,
    /// Ordinary requests a second to the same target meanwhile, over connections of their own; none without.
    pub probe_rate: Option<f64>,
    /// A target does well if no slow connection lives longer.
    pub cut_within: Option<Duration>,
}

/// Is slow until the end, or until `interrupted` becomes true. Connections that end are made anew.
///
/// # Errors
///
/// The options make no sense, the target can't be reached, or a thread can't be started.
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<Report, RunError> {
    let length = check(options)?;
    let target = Target::reach(&options.request)?;
    let shared = Arc::new(Shared::new(options, target));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads = options.request.threads.clamp(1, options.request.connections);
        let mut workers = Vec::new();
        for index in 0..threads {
            let connections = share(options.request.connections, index, threads);
            let shared = Arc::clone(&shared);
            let work = move || net::run_on_ring(|| drive(shared, connections));
            let thread = std::thread::Builder::new().name(format!("slow-{index}"));
            workers.push(thread.spawn_scoped(scope, work).map_err(RunError::Thread)?);
        }
        let probe = options.probe_rate.map(|rate| {
            let request = probe_options(options, rate, length);
            scope.spawn(move || run::run(&request, interrupted))
        });
        let mut moments = Vec::new();
        while began.elapsed() < length && !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(POLL);
            note_moment(&mut moments, began.elapsed(), shared.open.load(Ordering::Relaxed));
        }
        let elapsed = began.elapsed();
        shared.over.store(true, Ordering::Relaxed);
        let mut ends = Ends::default();
        for worker in workers {
            let own = worker.join().map_err(|_| RunError::Thread(io::Error::other("a thread panicked")))?;
            ends.add(&own.map_err(RunError::Thread)?);
        }
        let probe = probe.map(|probe| {
            probe.join().map_err(|_| RunError::Thread(io::Error::other("the probe's thread panicked")))?
        });
        let probe = probe.transpose()?;
        Ok(Report::new(options, elapsed, interrupted.load(Ordering::Relaxed), &ends, moments, probe))
    })
}

fn check(options: &Options) -> Result<Duration, RunError> {
    run::check(&options.request)?;
    let wrong = |what: &str| Err(RunError::Request(what.to_owned()));
    if options.request.scenario.is_some() {
        return wrong("slow clients send one kind of request, so they go with no scenario");
    }
    if options.pace < SHORTEST_PACE {
        return wrong("the pace must be at least 100 ms");
    }
    match options.request.limit {
        Limit::Duration(length) => Ok(length),
        Limit::Requests(_) => wrong("slow clients need a duration"),
    }
}

fn probe_options(options: &Options, rate: f64, length: Duration) -> run::Options {
    run::Options {
        load: Load::Rate(rate),
        limit: Limit::Duration(length),
        connections: 16,
        threads: 1,
        ..options.request.clone()
    }
}

fn note_moment(moments: &mut Vec<Moment>, at: Duration, open: usize) {
    let seconds = at.as_secs_f64();
    if moments.last().is_some_and(|last: &Moment| seconds - last.seconds < SAMPLE.as_secs_f64()) {
        return;
    }
    if moments.len() == MOST_MOMENTS {
        let mut is_kept = false;
        moments.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }
    moments.push(Moment { seconds, open });
}

/// One thread's slow connections.
async fn drive(shared: Arc<Shared>, connections: usize) -> Ends {
    let watcher = Watcher::new();
    monoio::spawn(Rc::clone(&watcher).run());
    let ends = Rc::new(RefCell::new(Ends::default()));
    for _ in 0..connections {
        let client = SlowClient::new(Arc::clone(&shared), Rc::clone(&watcher), Rc::clone(&ends));
        monoio::spawn(client.run());
    }
    while !shared.over.load(Ordering::Relaxed) {
        monoio::time::sleep(POLL).await;
    }
    // What is still being connected by then ends with the thread.
    watcher.stop(STOP_GRACE).await;
    ends.take()
}
