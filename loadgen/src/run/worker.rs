//! One thread of a run: its connections, its schedule and its counts.

use std::{
    cell::{Cell, RefCell},
    io,
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use super::{
    Options,
    connection::Client,
    intervals::{self, Part},
    schedule::Schedule,
    statistics::{Progress, Statistics},
    target::Target,
};
use crate::net::{self, CpuUse, Timer, Watcher};

/// How often a thread looks whether its connections are done.
const POLL: Duration = Duration::from_millis(5);
/// The longest single wait of the pacing task, so that it notices a stop.
const PACE_LIMIT: Duration = Duration::from_millis(50);
/// The shortest wait of the pacing task. Waking up costs more than a request, so with over 5,000 requests a second on a thread
/// several become due at each turn, and are sent so much late at the most.
const PACE_GRAIN: Duration = Duration::from_micros(200);
/// How often the pacing task looks again while requests are overdue, because all connections are busy.
const PACE_STEP: Duration = Duration::from_micros(250);
/// Who wakes up this much late was stopped: by the kernel, or because the thread had too much to do.
const STALL: Duration = Duration::from_millis(1);
/// How long requests under way get after an interruption, and ended connections to go away.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What a thread is told to do.
pub(super) struct Assignment {
    target: Arc<Target>,
    options: Options,
    start: Instant,
    connections: usize,
    index: usize,
    threads: usize,
    parts: Sender<Part>,
}

impl Assignment {
    pub(super) fn new(
        options: &Options,
        target: Arc<Target>,
        start: Instant,
        index: usize,
        threads: usize,
        parts: Sender<Part>,
    ) -> Self {
        let connections = share(options.connections, index, threads);
        Self { target, options: options.clone(), start, connections, index, threads, parts }
    }
}

/// How many of `all` connections thread `index` of `threads` has.
pub(crate) fn share(all: usize, index: usize, threads: usize) -> usize {
    all / threads + usize::from(index < all % threads)
}

/// What the connections of a thread share.
pub(super) struct Worker {
    pub(super) target: Arc<Target>,
    pub(super) watcher: Rc<Watcher>,
    pub(super) schedule: Schedule,
    pub(super) statistics: RefCell<Statistics>,
    pub(super) progress: Arc<Progress>,
    pub(super) timeout: Duration,
    /// When the last measured request was answered or failed.
    pub(super) last_answer: Cell<Instant>,
    live: Cell<usize>,
}

impl Worker {
    pub(super) fn new(
        target: Arc<Target>,
        watcher: Rc<Watcher>,
        schedule: Schedule,
        progress: Arc<Progress>,
        timeout: Duration,
        connections: usize,
    ) -> Self {
        let last_answer = Cell::new(schedule.measured_from());
        schedule.expect(connections);
        Self {
            target,
            watcher,
            schedule,
            statistics: RefCell::new(Statistics::new()),
            progress,
            timeout,
            last_answer,
            live: Cell::new(connections),
        }
    }
}

/// What a thread, or all of them together, used for the run. What they measured comes in parts.
#[derive(Default)]
pub(super) struct Outcome {
    /// The measured time: of the thread that took longest.
    pub(super) elapsed: Duration,
    /// CPU use in the measured time, added up over threads.
    pub(super) cpu: CpuUse,
    /// Length of the measured CPU time's window, added up over threads.
    pub(super) cpu_window: Duration,
    pub(super) on_epoll: bool,
}

impl Outcome {
    pub(super) fn add(&mut self, other: &Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.cpu.running += other.cpu.running;
        self.cpu.waiting += other.cpu.waiting;
        self.cpu_window += other.cpu_window;
        self.on_epoll |= other.on_epoll;
    }
}

/// The CPU use at a moment.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu: CpuUse,
}

impl Reading {
    fn now() -> io::Result<Self> {
        Ok(Self { at: Instant::now(), cpu: net::cpu_use()? })
    }

    fn since(&self, earlier: &Self) -> CpuUse {
        CpuUse {
            running: self.cpu.running.saturating_sub(earlier.cpu.running),
            waiting: self.cpu.waiting.saturating_sub(earlier.cpu.waiting),
        }
    }
}

/// Runs one thread's share to its end, or until the other end of `stop` is dropped.
pub(super) async fn drive(assignment: Assignment, stop: UnixStream) -> io::Result<Outcome> {
    let Assignment { target, options, start, connections, index, threads, parts } = assignment;
    let schedule = Schedule::new(&options.load, options.limit, start, options.warm_up, index, threads);
    let measured_from = schedule.measured_from();
    let progress = Arc::new(Progress::default());
    let worker =
        Rc::new(Worker::new(target, Watcher::new(), schedule, progress, options.timeout, connections));
    monoio::spawn(Rc::clone(&worker.watcher).run());
    let stopper = Rc::clone(&worker);
    monoio::spawn(async move {
        net::wait_for_stop(stop).await;
        stopper.schedule.stop(Instant::now());
    });
    let pacing = worker.schedule.is_open_loop().then(|| monoio::spawn(pace(Rc::clone(&worker))));
    for number in 0..connections {
        let worker = Rc::clone(&worker);
        monoio::spawn(async move {
            let mut client = Client::new(Rc::clone(&worker), number * threads + index);
            client.run().await;
            client.finish().await;
            worker.live.set(worker.live.get() - 1);
        });
    }
    let mut meter = Meter { worker: &worker, index, interval: options.interval, parts, number: 0 };
    let (first, before, last) = meter.run().await?;
    if let Some(pacing) = pacing {
        pacing.await?;
    }
    finish(&worker).await;
    let end = worker.schedule.end().unwrap_or_else(|| worker.last_answer.get());
    worker.schedule.count_missed(&mut worker.statistics.borrow_mut());
    meter.hand_over(&before, &last, true);
    Ok(Outcome {
        elapsed: end.saturating_duration_since(measured_from),
        cpu: last.since(&first),
        cpu_window: last.at - first.at,
        on_epoll: monoio::utils::is_legacy(),
    })
}

/// Reads a thread's CPU use and hands over what it measured, interval by interval.
struct Meter<'a> {
    worker: &'a Worker,
    index: usize,
    interval: Duration,
    parts: Sender<Part>,
    /// The present interval.
    number: u64,
}

impl Meter<'_> {
    /// Until the measuring ends. Returns the CPU use where it began, where the last interval began, and at the end.
    async fn run(&mut self) -> io::Result<(Reading, Reading, Reading)> {
        let measured_from = self.worker.schedule.measured_from();
        let mut first = Reading::now()?;
        let mut before = first;
        loop {
            let now = Instant::now();
            if self.is_over(now) {
                return Ok((first, before, Reading::now()?));
            }
            if now < measured_from {
                monoio::time::sleep(POLL).await;
                first = Reading::now()?;
                before = first;
                continue;
            }
            let number = intervals::number_at(now, measured_from, self.interval);
            if number > self.number {
                let reading = Reading::now()?;
                self.hand_over(&before, &reading, false);
                self.number = number;
                before = reading;
            }
            monoio::time::sleep(POLL).await;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.worker.live.get() == 0 || self.worker.schedule.end().is_some_and(|end| now >= end)
    }

    fn hand_over(&self, before: &Reading, now: &Reading, is_last: bool) {
        let part = Part {
            thread: self.index,
            number: self.number,
            is_last,
            statistics: self.worker.statistics.replace(Statistics::new()),
            cpu: now.since(before),
            window: now.at - before.at,
        };
        // Nobody takes it only if the whole run has failed.
        let _sent = self.parts.send(part);
    }
}

/// Lets requests that were sent in time have their answers, within the timeout (or shortly, where a person waits), and
/// ends what is left.
async fn finish(worker: &Worker) {
    let patience = if worker.schedule.was_stopped() { STOP_GRACE } else { worker.timeout };
    let deadline = Instant::now() + patience;
    while worker.live.get() > 0 && Instant::now() < deadline {
        monoio::time::sleep(POLL).await;
    }
    worker.watcher.stop(STOP_GRACE).await;
}

/// Gives requests to waiting connections when they become due. Without it nobody would wake them, so where it fails the
/// schedule ends.
pub(super) async fn pace(worker: Rc<Worker>) -> io::Result<()> {
    let paced = give_in_time(&worker).await;
    end_pacing(&worker.schedule, paced)
}

fn end_pacing(schedule: &Schedule, paced: io::Result<()>) -> io::Result<()> {
    match &paced {
        Ok(()) => schedule.release(),
        Err(_) => schedule.stop(Instant::now()),
    }
    paced
}

async fn give_in_time(worker: &Worker) -> io::Result<()> {
    let timer = Timer::new()?;
    while let Some(due) = worker.schedule.next_due() {
        let now = Instant::now();
        if worker.schedule.end().is_some_and(|end| now >= end) {
            break;
        }
        // What is due already waits for a connection, which looks for itself when it is free.
        let wait = if due > now { (due - now).max(PACE_GRAIN) } else { PACE_STEP };
        let wait = wait.min(PACE_LIMIT);
        timer.wait(wait).await?;
        let woke = Instant::now();
        if woke > now + wait + STALL {
            worker.schedule.note_stall(now + wait, woke);
        }
        worker.schedule.give_due(woke);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;
    use crate::run::{Limit, Load};

    #[test]
    fn connections_do_not_wait_for_a_pacer_that_failed() {
        let start = Instant::now() + Duration::from_secs(3600);
        let schedule = Schedule::new(&Load::Rate(1.0), Limit::Requests(9), start, Duration::ZERO, 0, 1);
        let mut connection = pin!(schedule.next());
        let mut look = || connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(look().is_pending());
        assert!(end_pacing(&schedule, Err(io::Error::other("no descriptors"))).is_err());
        assert_eq!(look(), std::task::Poll::Ready(None));
        assert!(schedule.end().is_some());
    }
}
