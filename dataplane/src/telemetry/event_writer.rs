//! Takes events out of the workers' queues and appends them to the event file.
//!
//! It runs on a thread of its own, so that a disk that stands still delays neither signals nor health checks.
//! When the file can't be written, lines wait in memory up to a limit, then in the queues, and what no longer fits
//! there is counted as dropped.

use super::events::EventReceiver;
use super::failure_log::FailureLog;
use super::rate::RateLimit;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the queues are looked at.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(50);
/// Lines that wait in memory for the file, in bytes, unless [`EventWriter::with_pending_limit`] says otherwise.
const PENDING_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Events taken from one queue before the next one has its turn.
const TURN_EVENTS: usize = 1_024;
/// Turns before the thread looks for commands again.
const ROUNDS: usize = 64;
/// How long to leave a file alone that could not be written.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long to leave a pipe alone that was full, and after which time without a reader that is a failure.
const PIPE_RETRY_AFTER: Duration = Duration::from_millis(10);
const PIPE_PATIENCE: Duration = Duration::from_secs(10);
/// How often a failing file is logged.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Memory that the line buffer keeps while nothing waits.
const IDLE_BUFFER_BYTES: usize = 64 * 1024;

/// What the event writer counted; readable from any thread.
#[derive(Debug, Default)]
pub struct EventCounters {
    written: AtomicU64,
    dropped: AtomicU64,
    write_errors: AtomicU64,
}

impl EventCounters {
    /// Events whose line is in the file, or that were only counted because there is no file.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Events lost: full queues, and lines that could not be written until the end.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Failed attempts to write.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }
}

/// Lines that wait for the file.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// How much of `bytes` the file has already taken; may be in the middle of a line.
    taken: usize,
    events: u64,
}

impl Pending {
    fn clear(&mut self) -> u64 {
        self.bytes.clear();
        self.bytes.shrink_to(IDLE_BUFFER_BYTES);
        self.taken = 0;
        std::mem::take(&mut self.events)
    }

    /// Lets go of the lines that the file has in full, and returns how many those are. What remains starts with
    /// the line that was cut.
    fn forget_whole_lines(&mut self) -> u64 {
        let taken = &self.bytes[..self.taken];
        let Some(last_end) = taken.iter().rposition(|byte| *byte == b'\n') else { return 0 };
        let lines = taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes.drain(..=last_end);
        self.taken -= last_end + 1;
        self.events -= lines;
        lines
    }
}

/// The reading side of all event queues. Use it directly in tests, or [`EventWriter::spawn`] it.
#[derive(Debug)]
pub struct EventWriter {
    queues: Vec<EventReceiver>,
    path: Option<PathBuf>,
    file: Option<File>,
    pending: Pending,
    pending_limit_bytes: usize,
    counters: Arc<EventCounters>,
    /// Drops of queues that are gone, and lines given up.
    dropped_before: u64,
    retry_at: Option<Instant>,
    /// The pipe (where the file is one) has taken nothing since.
    stuck_since: Option<Instant>,
    error_log: RateLimit,
    failures: FailureLog,
}

impl EventWriter {
    /// Opens `path` to append to it; without one, events are only counted.
    ///
    /// # Errors
    /// The file can't be opened or created; the message names it.
    pub fn new(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            queues: Vec::new(),
            path: path.map(Path::to_path_buf),
            file: path.map(open).transpose()?,
            pending: Pending::default(),
            pending_limit_bytes: PENDING_LIMIT_BYTES,
            counters: Arc::default(),
            dropped_before: 0,
            retry_at: None,
            stuck_since: None,
            error_log: RateLimit::new(ERROR_LOG_INTERVAL),
            failures: FailureLog::default(),
        })
    }

    /// Bounds the lines that wait in memory while the file can't be written.
    #[must_use]
    pub fn with_pending_limit(mut self, bytes: usize) -> Self {
        self.pending_limit_bytes = bytes;
        self
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Arc<EventCounters> {
        &self.counters
    }

    /// Adds a worker's queue. It is let go by itself once its sender is dropped and it is empty.
    pub fn add_queue(&mut self, queue: EventReceiver) {
        self.queues.push(queue);
    }

    /// Takes what the queues hold and writes it, in as few writes as possible.
    pub fn drain(&mut self, now: Instant) {
        self.drain_rounds(now, ROUNDS);
    }

    fn drain_rounds(&mut self, now: Instant, rounds: usize) {
        for _ in 0..rounds {
            if !self.take(now) {
                break;
            }
            if self.retry_at.is_none_or(|at| now >= at) {
                self.write(now);
            }
        }
        if !self.pending.bytes.is_empty() && self.retry_at.is_none_or(|at| now >= at) {
            self.write(now);
        }
        self.publish_dropped();
    }

    /// Opens what is at the path of its file now, after the file was moved away. Lines that wait go to that.
    ///
    /// # Errors
    /// It can't be opened; the old one stays in use then.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = self.path.as_deref().map(open).transpose()?;
        // The new file has not seen the start of a line that was cut.
        self.pending.taken = 0;
        (self.retry_at, self.stuck_since) = (None, None);
        Ok(())
    }

    /// Writes all that is left, now and to the disk. Returns how many events were given up because the file could
    /// not be written. Workers should have stopped before.
    pub fn finish(&mut self, now: Instant) -> u64 {
        self.retry_at = None;
        self.drain_rounds(now, usize::MAX);
        // What a failed write left in the queues and in memory has had its last chance.
        let mut given_up = self.pending.clear();
        while self.take(now) {
            given_up += self.pending.clear();
        }
        self.dropped_before += given_up;
        self.publish_dropped();
        if let Some(file) = &self.file {
            // Pipes and the like can't be synced; their bytes are delivered already.
            let _ = file.sync_data();
        }
        given_up
    }

    /// Runs the writer on a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn spawn(self) -> io::Result<EventWriterHandle> {
        let (commands, inbox) = mpsc::channel();
        let counters = Arc::clone(&self.counters);
        let thread =
            std::thread::Builder::new().name("weir-events".to_owned()).spawn(move || self.run(&inbox))?;
        Ok(EventWriterHandle { commands, counters, thread: Mutex::new(Some(thread)) })
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        loop {
            match inbox.recv_timeout(DRAIN_INTERVAL) {
                Ok(Command::Reopen) => {
                    if let Err(error) = self.reopen() {
                        tracing::error!(%error, "the event file stays as it was");
                    }
                }
                Ok(Command::Stop(done)) => {
                    let _ = done.send(self.finish(Instant::now()));
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.finish(Instant::now());
                    return;
                }
            }
            self.drain(Instant::now());
        }
    }

    /// Moves events from the queues to the pending lines. `false` once there are none, or no room.
    fn take(&mut self, now: Instant) -> bool {
        let mut taken = false;
        for queue in &mut self.queues {
            for _ in 0..TURN_EVENTS {
                if self.pending.bytes.len() >= self.pending_limit_bytes {
                    return taken;
                }
                let Some(event) = queue.receive() else { break };
                taken = true;
                if let Some(failure) = &event.origin_error {
                    self.failures.note(failure, now);
                }
                self.pending.events += 1;
                if self.file.is_some() {
                    event.write_line(&mut self.pending.bytes);
                }
            }
        }
        self.forget_finished_queues();
        if self.file.is_none() && self.pending.bytes.is_empty() {
            let counted = self.pending.clear();
            self.counters.written.fetch_add(counted, Ordering::Relaxed);
        }
        taken
    }

    fn forget_finished_queues(&mut self) {
        let dropped_before = &mut self.dropped_before;
        self.queues.retain(|queue| {
            let finished = queue.is_finished();
            if finished {
                *dropped_before += queue.dropped();
            }
            !finished
        });
    }

    fn write(&mut self, now: Instant) {
        // without a file nothing waits for it
        let Some(file) = &mut self.file else { return };
        while self.pending.taken < self.pending.bytes.len() {
            match file.write(&self.pending.bytes[self.pending.taken..]) {
                Ok(0) => return self.write_failed(&io::ErrorKind::WriteZero.into(), now),
                Ok(length) => {
                    self.pending.taken += length;
                    self.stuck_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.is_stuck(now) => {
                    let written = self.pending.forget_whole_lines();
                    self.counters.written.fetch_add(written, Ordering::Relaxed);
                    self.retry_at = Some(now + PIPE_RETRY_AFTER);
                    return;
                }
                Err(error) => return self.write_failed(&error, now),
            }
        }
        self.retry_at = None;
        let written = self.pending.clear();
        self.counters.written.fetch_add(written, Ordering::Relaxed);
    }

    /// Whether a pipe that takes nothing now has done so for too long.
    fn is_stuck(&mut self, now: Instant) -> bool {
        let since = *self.stuck_since.get_or_insert(now);
        now.saturating_duration_since(since) >= PIPE_PATIENCE
    }

    fn write_failed(&mut self, error: &io::Error, now: Instant) {
        let written = self.pending.forget_whole_lines();
        self.counters.written.fetch_add(written, Ordering::Relaxed);
        self.counters.write_errors.fetch_add(1, Ordering::Relaxed);
        self.retry_at = Some(now + RETRY_AFTER);
        if let Some(failures_before) = self.error_log.pass(now) {
            tracing::error!(
                file = %self.path.as_deref().unwrap_or(Path::new("")).display(),
                %error,
                events_waiting = self.pending.events,
                failures_before,
                "can't write events; they wait in memory, and are dropped once the queues are full: \
                 make room on the disk, read the pipe, or correct [events].file and reload"
            );
        }
    }

    fn publish_dropped(&self) {
        let in_queues: u64 = self.queues.iter().map(EventReceiver::dropped).sum();
        self.counters.dropped.store(self.dropped_before + in_queues, Ordering::Relaxed);
    }
}

/// Opens an event file. A last line without an end, as a crash leaves it, is ended first, so that it spoils no
/// other. It may be a pipe or a terminal (`/dev/stdout`); what nobody reads there must not hold up the writer, so nothing
/// waits for it.
fn open(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| {
        let message = format!("can't open the event file {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    // Events hold parts of requests: the file is nobody else's business.
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK);
    let mut file = options.open(path).map_err(named)?;
    let metadata = file.metadata().map_err(named)?;
    if metadata.is_file() && metadata.len() > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, metadata.len() - 1).map_err(named)?;
        if last != *b"\n" {
            file.write_all(b"\n").map_err(named)?;
        }
    }
    Ok(file)
}

enum Command {
    Reopen,
    Stop(mpsc::Sender<u64>),
}

/// Controls a running event writer. Dropping it lets the writer finish by itself.
#[derive(Debug)]
pub struct EventWriterHandle {
    commands: mpsc::Sender<Command>,
    counters: Arc<EventCounters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EventWriterHandle {
    /// What the writer counted so far.
    pub fn counters(&self) -> &Arc<EventCounters> {
        &self.counters
    }

    /// Opens the same file again, after something moved it away.
    pub fn reopen(&self) {
        self.send(Command::Reopen);
    }

    /// Writes out all that is left and ends the writer. Call it after the workers have stopped. Returns how many
    /// events were given up, or `None` if the disk did not answer within `timeout` (or the writer was stopped
    /// before).
    pub fn stop(&self, timeout: Duration) -> Option<u64> {
        let (done, outcome) = mpsc::channel();
        self.send(Command::Stop(done));
        let given_up = outcome.recv_timeout(timeout).ok()?;
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        Some(given_up)
    }

    fn send(&self, command: Command) {
        // Fails only after `stop`, when nothing is left to be told.
        let _ = self.commands.send(command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_stops_within_a_line_keeps_that_line_whole() {
        let mut pending = Pending { bytes: b"a\nbb\nc\n".to_vec(), taken: 3, events: 3 };
        assert_eq!(pending.forget_whole_lines(), 1);
        assert_eq!((pending.bytes.as_slice(), pending.taken, pending.events), (&b"bb\nc\n"[..], 1, 2));
        assert_eq!(pending.forget_whole_lines(), 0, "the cut line stays until its end is written");
        pending.taken = 3;
        assert_eq!(pending.forget_whole_lines(), 1);
        assert_eq!((pending.bytes.as_slice(), pending.taken, pending.events), (&b"c\n"[..], 0, 1));
    }
}
