//! The workers' threads: which I/O backend they run on, and how they start and end.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::config::IoBackend;
use crate::io::portable::{PortableIo, PortableOptions};
use crate::io::uring::{self, UringIo, UringOptions};
use crate::io::{Io, ListeningSocket, Waker};
use crate::origins::AddressTable;
use crate::snapshot::Snapshot;
use crate::telemetry::{EventSender, WorkerMetrics};
use crate::worker::{Mailbox, Notice, Worker};

/// The backend that all workers of a node run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WorkerIo {
    /// A ring each.
    Uring,
    /// An epoll each.
    Portable,
}

impl fmt::Display for WorkerIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Portable => "epoll",
        })
    }
}

impl WorkerIo {
    /// Whose listening sockets are in this state: a ring needs them blocking, an epoll the other way.
    pub(super) fn of_sockets(are_nonblocking: bool) -> Self {
        if are_nonblocking { Self::Portable } else { Self::Uring }
    }

    /// The backend that the config asks for. `auto` takes io_uring where a small ring can be made, and tells otherwise
    /// what is in its way.
    ///
    /// # Errors
    /// Why there is no io_uring, if it and nothing else was asked for.
    pub(super) fn choose(wanted: IoBackend) -> Result<Self, String> {
        Self::choose_by(wanted, probe)
    }

    fn choose_by(wanted: IoBackend, probe: impl FnOnce() -> std::io::Result<()>) -> Result<Self, String> {
        match wanted {
            IoBackend::Portable => Ok(Self::Portable),
            IoBackend::Uring => probe().map(|()| Self::Uring).map_err(|error| {
                format!("node.io is \"uring\": {error}; write \"auto\" to go on with epoll where there is none")
            }),
            IoBackend::Auto => Ok(probe().map_or_else(
                |error| {
                    tracing::warn!(reason = %error, "workers use epoll, which costs more CPU time for a request");
                    Self::Portable
                },
                |()| Self::Uring,
            )),
        }
    }
}

/// Tries io_uring on a thread of its own: what is left to do when a ring is closed is done by the thread that made it, whose
/// system calls it interrupts.
fn probe() -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("weir-probe".to_owned()).spawn(uring::probe)?;
    thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the probe of io_uring ended early")))
}

/// What a worker's thread starts with.
pub(super) struct WorkerStart {
    pub(super) number: usize,
    pub(super) io: WorkerIo,
    pub(super) sockets: Vec<ListeningSocket>,
    pub(super) mailbox: Mailbox,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) addresses: Arc<AddressTable>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) events: EventSender,
    pub(super) socket_limit: u32,
}

/// How a worker is woken, and what it runs on; or why it could not start.
type Started = Result<(Waker, String), String>;

impl WorkerStart {
    /// Starts the thread and waits until its backend is up.
    pub(super) fn spawn(self) -> Result<(JoinHandle<()>, Waker, String), String> {
        let (ready, outcome) = channel();
        let number = self.number;
        let thread = std::thread::Builder::new()
            .name(format!("weir-worker-{number}"))
            .spawn(move || self.run(&ready))
            .map_err(|error| format!("worker {number} can't start: {error}"))?;
        let (waker, description) =
            outcome.recv().map_err(|_| format!("worker {number} died while it started"))??;
        Ok((thread, waker, description))
    }

    fn run(mut self, ready: &Sender<Started>) {
        let guard = DeathNotice { number: self.number, notices: self.mailbox.notices.clone() };
        let sockets = std::mem::take(&mut self.sockets);
        let socket_limit = self.socket_limit;
        let ended = match self.io {
            WorkerIo::Uring => {
                let options = UringOptions { socket_limit, ..UringOptions::default() };
                let io = UringIo::new(options, sockets).map(|io| {
                    let description = format!("uring: {}", io.setup());
                    (io, description)
                });
                self.serve(io, ready)
            }
            WorkerIo::Portable => {
                let options = PortableOptions { socket_limit, ..PortableOptions::default() };
                let io = PortableIo::new(options, sockets).map(|io| (io, "portable: epoll".to_owned()));
                self.serve(io, ready)
            }
        };
        if ended {
            std::mem::forget(guard);
        }
    }

    /// Serves until the node stops. Gives whether that is how it ended.
    fn serve<I: Io>(self, io: std::io::Result<(I, String)>, ready: &Sender<Started>) -> bool {
        let number = self.number;
        let built = io.map_err(|error| error.to_string()).and_then(|(io, description)| {
            let Self { mailbox, snapshot, addresses, metrics, events, .. } = self;
            let worker = Worker::new(number, io, mailbox, snapshot, &addresses, metrics, events)?;
            Ok((worker, description))
        });
        match built {
            Ok((mut worker, description)) => {
                tracing::info!(worker = number, io = description, "a worker is ready");
                let _ = ready.send(Ok((worker.waker(), description)));
                worker
                    .run()
                    .inspect_err(|error| tracing::error!(worker = number, %error, "the worker's I/O broke"))
                    .is_ok()
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                false
            }
        }
    }
}

/// Tells the node when a worker's thread ends without having finished.
struct DeathNotice {
    number: usize,
    notices: Sender<(usize, Notice)>,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        let _ = self.notices.send((self.number, Notice::Died));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_taken_where_a_ring_is_refused_unless_the_ring_was_demanded() {
        let forbidden = || Err(std::io::Error::other("no io_uring: it is forbidden here"));
        assert_eq!(WorkerIo::choose_by(IoBackend::Auto, forbidden), Ok(WorkerIo::Portable));
        assert_eq!(WorkerIo::choose_by(IoBackend::Auto, || Ok(())), Ok(WorkerIo::Uring));
        assert_eq!(WorkerIo::choose_by(IoBackend::Portable, || Ok(())), Ok(WorkerIo::Portable));
        assert_eq!(WorkerIo::choose_by(IoBackend::Uring, || Ok(())), Ok(WorkerIo::Uring));
        let error = WorkerIo::choose_by(IoBackend::Uring, forbidden).unwrap_err();
        assert!(error.contains("forbidden here") && error.contains("\"auto\""), "{error}");
    }
}
