//! Requests outside of any schedule, whose answers matter and not their times.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};

pub(crate) use super::connection::{Answered, Failure};
use super::{
    Limit, Load, Options, RunError,
    connection::Client,
    schedule::Schedule,
    statistics::Progress,
    target::Target,
    worker::{self, Worker},
};
use crate::net::{self, Watcher};

/// How long connections get to go away at the end.
const STOP_GRACE: Duration = Duration::from_millis(200);

/// One request's end, and how long it took.
pub(crate) struct Outcome {
    /// The index of the request.
    pub(crate) index: usize,
    pub(crate) answer: Result<u16, Failure>,
    pub(crate) time: Duration,
}

/// Asks a target `count` times, each kind of request once at least: each answer's status, body, and whether the connection
/// stays open. A connection that should be closed in place of an answer has status 0.
///
/// # Errors
///
/// A sentence about the first request without an answer.
pub(crate) fn ask(target: &Arc<Target>, timeout: Duration, count: usize) -> Result<Vec<Answered>, String> {
    let asked = net::run_on_ring(|| async {
        let worker = idle_worker(target, timeout);
        let mut client = Client::new(Rc::clone(&worker), 0);
        let mut answers = Vec::new();
        for number in 0..count.max(target.traffic.kinds.len()) {
            let explain = |Failure { kind, details }| {
                format!("request {} has no answer: {kind} ({details})", number + 1)
            };
            answers.push(client.ask(number).await.map_err(explain)?);
        }
        client.finish().await;
        Ok(answers)
    });
    asked.map_err(|error| format!("no ring: {error}"))?
}

/// Sends each of `requests` once over the connections that `options` say. With `fresh` each has a connection of its own.
/// The outcomes come in any order; after an interruption some are missing.
///
/// # Errors
///
/// A thread can't be started.
pub(crate) fn ask_all(
    options: &Options,
    target: &Arc<Target>,
    requests: &[&[u8]],
    fresh: bool,
    interrupted: &AtomicBool,
) -> Result<Vec<Outcome>, RunError> {
    let next = AtomicUsize::new(0);
    let threads = options.threads.clamp(1, options.connections);
    let share = |index: usize| {
        let connections = worker::share(options.connections, index, threads);
        let next = &next;
        move || {
            net::run_on_ring(|| async {
                let worker = idle_worker(target, options.timeout);
                // Only those whose answers are there are looked at.
                let mut working: FuturesUnordered<_> = (0..connections)
                    .map(|_| {
                        let client = Client::new(Rc::clone(&worker), 0);
                        ask_some(client, requests, next, fresh, interrupted)
                    })
                    .collect();
                let mut outcomes = Vec::new();
                while let Some(some) = working.next().await {
                    outcomes.extend(some);
                }
                worker.watcher.stop(STOP_GRACE).await;
                outcomes
            })
        }
    };
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for index in 0..threads {
            let thread = std::thread::Builder::new().name(format!("replay-{index}"));
            handles.push(thread.spawn_scoped(scope, share(index)).map_err(RunError::Thread)?);
        }
        let mut all = Vec::with_capacity(requests.len());
        for handle in handles {
            let outcomes =
                handle.join().map_err(|_| RunError::Thread(io::Error::other("a thread panicked")))?;
            all.extend(outcomes.map_err(RunError::Thread)?);
        }
        Ok(all)
    })
}

async fn ask_some(
    mut client: Client,
    requests: &[&[u8]],
    next: &AtomicUsize,
    fresh: bool,
    interrupted: &AtomicBool,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while !interrupted.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = requests.get(index) else { break };
        let began = Instant::now();
        let answer = if request.is_empty() {
            // There is nothing to answer, and no sense in waiting for it.
            Err(Failure { kind: "empty", details: "the record has no request".to_owned() })
        } else {
            client.ask_raw(request, fresh).await.map(|(status, _, _)| status)
        };
        outcomes.push(Outcome { index, answer, time: began.elapsed() });
    }
    client.finish().await;
    outcomes
}

/// What a client needs, without anything to send.
fn idle_worker(target: &Arc<Target>, timeout: Duration) -> Rc<Worker> {
    let watcher = Watcher::new();
    monoio::spawn(Rc::clone(&watcher).run());
    let schedule = Schedule::new(&Load::Closed, Limit::Requests(1), Instant::now(), Duration::ZERO, 0, 1);
    Rc::new(Worker::new(Arc::clone(target), watcher, schedule, Arc::new(Progress::default()), timeout, 1))
}
