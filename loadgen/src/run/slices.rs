//! Several targets in turn, for short slices of time, over connections that stay open in between.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Limit, Load, Options, RunError,
    connection::Client,
    schedule::Schedule,
    statistics::{Progress, Statistics},
    target::Target,
    worker::{self, Worker},
};
use crate::{
    net::{self, CpuUse, Watcher},
    processes::{CpuReading, ProcessTree},
};

/// How often a thread without a slice looks for the next.
const POLL: Duration = Duration::from_millis(1);
/// How often it is checked that the threads of a slice live.
const PATIENCE: Duration = Duration::from_millis(200);
/// The load goes on for this long at most behind the measured part, until all meters are read: a thread wakes up late, and
/// a window whose end has no load would read low.
const OVERRUN: Duration = Duration::from_secs(1);
/// How long connections get to go away at the end.
const STOP_GRACE: Duration = Duration::from_millis(200);

/// One slice.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// Index of the target.
    pub(crate) target: usize,
    pub(crate) start: Instant,
    /// What is sent but not measured, behind the start.
    pub(crate) warm_up: Duration,
    /// What is measured, behind the warm-up.
    pub(crate) length: Duration,
    /// Whose CPU time is taken.
    pub(crate) processes: Arc<ProcessTree>,
    /// The meters were read: the load ends.
    pub(crate) over: Arc<AtomicBool>,
}

/// What was measured between two readings of the target's CPU time, at the two ends of a slice's measured part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) length: Duration,
    /// Complete answers, to all threads.
    pub(crate) answers: u64,
    pub(crate) target_cpu: Duration,
}

/// What a slice found.
pub(crate) struct SliceOutcome {
    pub(crate) statistics: Statistics,
    pub(crate) window: Window,
    /// The share of their time in which the generator's threads ran or waited for a CPU, 0 to 1.
    pub(crate) busy: f64,
}

/// What one thread found; the first thread has the window.
struct Part {
    statistics: Statistics,
    window: Option<Window>,
    own_cpu: CpuUse,
}

/// Threads that hold connections to all targets.
pub(crate) struct Fleet {
    threads: Vec<(Sender<Slice>, JoinHandle<io::Result<()>>)>,
    parts: Receiver<io::Result<Part>>,
}

/// What one thread of a fleet needs.
struct Crew {
    index: usize,
    threads: usize,
    connections: usize,
    load: Load,
    timeout: Duration,
    targets: Vec<Arc<Target>>,
    /// Of all threads.
    progress: Vec<Arc<Progress>>,
}

impl Fleet {
    /// Starts the threads; their connections are made in each target's first slice.
    ///
    /// # Errors
    ///
    /// A thread can't be started.
    pub(crate) fn start(options: &Options, targets: &[Arc<Target>]) -> Result<Self, RunError> {
        let count = options.threads.clamp(1, options.connections);
        let progress: Vec<_> = (0..count).map(|_| Arc::new(Progress::default())).collect();
        let (results, parts) = channel();
        let mut threads = Vec::new();
        for index in 0..count {
            let (orders, received) = channel();
            let results = results.clone();
            let crew = Crew {
                index,
                threads: count,
                connections: worker::share(options.connections, index, count),
                load: options.load.clone(),
                timeout: options.timeout,
                targets: targets.to_vec(),
                progress: progress.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("load-{index}"));
            let handle = thread.spawn(move || net::run_on_ring(|| crew.serve(received, results)));
            threads.push((orders, handle.map_err(RunError::Thread)?));
        }
        Ok(Self { threads, parts })
    }

    /// Runs one slice and waits until its last answer is there.
    ///
    /// # Errors
    ///
    /// The target's CPU time can't be read, or a thread failed.
    pub(crate) fn run(&self, slice: &Slice) -> io::Result<SliceOutcome> {
        let died = || io::Error::other("a load thread ended before its time");
        for (orders, _handle) in &self.threads {
            orders.send(slice.clone()).map_err(|_| died())?;
        }
        let mut whole: Option<Part> = None;
        for _ in &self.threads {
            let part = loop {
                match self.parts.recv_timeout(PATIENCE) {
                    Ok(part) => break part?,
                    Err(RecvTimeoutError::Timeout)
                        if !self.threads.iter().any(|(_, handle)| handle.is_finished()) => {}
                    Err(_) => return Err(died()),
                }
            };
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.add(&part),
            }
        }
        let part = whole.ok_or_else(died)?;
        let window = part.window.ok_or_else(died)?;
        let time = window.length.as_secs_f64() * self.threads.len() as f64;
        let busy = (part.own_cpu.running + part.own_cpu.waiting).as_secs_f64() / time;
        Ok(SliceOutcome { statistics: part.statistics, window, busy })
    }

    /// Closes all connections and ends the threads.
    pub(crate) fn stop(self) {
        for (orders, handle) in self.threads {
            drop(orders);
            // A thread that panicked has said so already.
            let _panicked = handle.join();
        }
    }
}

impl Part {
    fn add(&mut self, other: &Self) {
        self.statistics.add(&other.statistics);
        self.window = self.window.or(other.window);
        self.own_cpu.running += other.own_cpu.running;
        self.own_cpu.waiting += other.own_cpu.waiting;
    }
}

impl Crew {
    async fn serve(self, orders: Receiver<Slice>, results: Sender<io::Result<Part>>) {
        let watcher = Watcher::new();
        monoio::spawn(Rc::clone(&watcher).run());
        let mut clients: Vec<Vec<Client>> = self.targets.iter().map(|_| Vec::new()).collect();
        loop {
            match orders.try_recv() {
                Ok(slice) => {
                    let part = self.run(&slice, &watcher, &mut clients[slice.target]).await;
                    if results.send(part).is_err() {
                        break;
                    }
                }
                Err(TryRecvError::Empty) => monoio::time::sleep(POLL).await,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        drop(clients);
        watcher.stop(STOP_GRACE).await;
    }

    async fn run(&self, slice: &Slice, watcher: &Rc<Watcher>, clients: &mut Vec<Client>) -> io::Result<Part> {
        let limit = Limit::Duration(slice.length + OVERRUN);
        let schedule = Schedule::new(&self.load, limit, slice.start, slice.warm_up, self.index, self.threads);
        let worker = Rc::new(Worker::new(
            Arc::clone(&self.targets[slice.target]),
            Rc::clone(watcher),
            schedule,
            Arc::clone(&self.progress[self.index]),
            self.timeout,
            self.connections,
        ));
        let pacing = worker.schedule.is_open_loop().then(|| monoio::spawn(worker::pace(Rc::clone(&worker))));
        for number in clients.len()..self.connections {
            clients.push(Client::new(Rc::clone(&worker), number * self.threads + self.index));
        }
        let running: Vec<_> = clients
            .drain(..)
            .map(|mut client| {
                client.attach(Rc::clone(&worker));
                monoio::spawn(async move {
                    client.run().await;
                    client
                })
            })
            .collect();
        let metered = self.meter(slice).await;
        self.wait_for_others(slice).await;
        worker.schedule.stop(Instant::now());
        for client in running {
            clients.push(client.await);
        }
        if let Some(pacing) = pacing {
            pacing.await?;
        }
        let (window, own_cpu) = metered?;
        let mut statistics = worker.statistics.replace(Statistics::new());
        worker.schedule.count_missed(&mut statistics);
        Ok(Part { statistics, window, own_cpu })
    }

    /// Reads all meters at both ends of the measured part. Times and counts are of the same moments, so it does no harm
    /// when this wakes up late.
    async fn meter(&self, slice: &Slice) -> io::Result<(Option<Window>, CpuUse)> {
        let from = slice.start + slice.warm_up;
        sleep_until(from).await;
        let first = self.read(slice)?;
        sleep_until(from + slice.length).await;
        let last = self.read(slice)?;
        let window = (self.index == 0).then(|| Window {
            length: last.at - first.at,
            answers: last.answers - first.answers,
            target_cpu: last.target.since(&first.target),
        });
        let own_cpu = CpuUse {
            running: last.own.running.saturating_sub(first.own.running),
            waiting: last.own.waiting.saturating_sub(first.own.waiting),
        };
        Ok((window, own_cpu))
    }

    /// The first thread's window has the answers of all threads, so they go on until it ends.
    async fn wait_for_others(&self, slice: &Slice) {
        if self.index == 0 {
            slice.over.store(true, Ordering::Relaxed);
        }
        let latest = slice.start + slice.warm_up + slice.length + OVERRUN;
        while !slice.over.load(Ordering::Relaxed) && Instant::now() < latest {
            monoio::time::sleep(POLL).await;
        }
    }

    fn read(&self, slice: &Slice) -> io::Result<Reading> {
        let target = if self.index == 0 { slice.processes.cpu()? } else { CpuReading::default() };
        let answers = self.progress.iter().map(|progress| progress.answers()).sum();
        Ok(Reading { at: Instant::now(), target, answers, own: net::cpu_use()? })
    }
}

struct Reading {
    at: Instant,
    target: CpuReading,
    answers: u64,
    own: CpuUse,
}

async fn sleep_until(time: Instant) {
    loop {
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        monoio::time::sleep(left).await;
    }
}
