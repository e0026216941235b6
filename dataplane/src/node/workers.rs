//! The workers' threads: which I/O backend they run on, and how they start and end.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::config::{Config, IoBackend};
use crate::io::portable::{PortableIo, PortableOptions};
use crate::io::uring::{self, UringIo, UringOptions};
use crate::io::{Io, ListeningSocket, Waker};
use crate::listen::Inherited;
use crate::origins::AddressTable;
use crate::snapshot::{Snapshot, attack_class_names};
use crate::telemetry::{EventSender, EventWriter, Labels, MetricsRegistry, WorkerMetrics, event_queue};
use crate::worker::{Mailbox, Message, Notice, Worker};

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

/// The backend that workers run on, which has to be the predecessor's where its sockets are `inherited`.
///
/// # Errors
/// Why the one that the config asks for can't be had.
pub(super) fn choose_io(config: &Config, inherited: &Inherited) -> Result<WorkerIo, String> {
    let io = WorkerIo::choose(config.node.io)?;
    match inherited.is_nonblocking().map(WorkerIo::of_sockets) {
        Some(theirs) if theirs != io => Err(format!(
            "the predecessor's workers run on {theirs}, these would on {io}, and they can't share sockets: stop and \
             start instead of upgrading"
        )),
        _ => Ok(io),
    }
}

/// A worker as the rest of the node sees it.
pub(super) struct WorkerLink {
    pub(super) messages: Sender<Message>,
    pub(super) waker: Waker,
    pub(super) metrics: Arc<WorkerMetrics>,
    /// The generation that it serves.
    pub(super) serving: u64,
    pub(super) alive: bool,
    /// It has ended by a defect, not because it was told to.
    pub(super) died: bool,
}

/// What all workers of a node have in common.
pub(super) struct NodeWorkers<'a> {
    pub(super) io: WorkerIo,
    /// Sockets that each has room for.
    pub(super) socket_limit: u32,
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) addresses: &'a Arc<AddressTable>,
    pub(super) registry: &'a MetricsRegistry,
    /// Events of each that wait for the writer at most.
    pub(super) event_queue_length: usize,
}

/// Workers that serve.
pub(super) struct Started {
    pub(super) links: Vec<WorkerLink>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// What they run on.
    pub(super) io_description: String,
}

impl NodeWorkers<'_> {
    /// Starts a worker for each set of listening sockets, one after the other.
    ///
    /// # Errors
    /// Why one of them can't start.
    pub(super) fn spawn(
        &self,
        sockets_by_worker: Vec<Vec<ListeningSocket>>,
        writer: &mut EventWriter,
        notices: &Sender<(usize, Notice)>,
    ) -> Result<Started, String> {
        let labels = labels(self.snapshot);
        let mut started = Started { links: Vec::new(), threads: Vec::new(), io_description: String::new() };
        for (number, sockets) in sockets_by_worker.into_iter().enumerate() {
            let metrics = self.registry.add_worker(&labels);
            let (events, receiver) = event_queue(self.event_queue_length);
            writer.add_queue(receiver);
            let (messages, inbox) = channel();
            let start = WorkerStart {
                number,
                io: self.io,
                sockets,
                mailbox: Mailbox { messages: inbox, notices: notices.clone() },
                snapshot: Arc::clone(self.snapshot),
                addresses: Arc::clone(self.addresses),
                metrics: Arc::clone(&metrics),
                events,
                socket_limit: self.socket_limit,
            };
            let (thread, waker, description) = start.spawn()?;
            started.threads.push(thread);
            started.io_description = description;
            started.links.push(WorkerLink { messages, waker, metrics, serving: 0, alive: true, died: false });
        }
        Ok(started)
    }
}

/// The labels that metrics have with this snapshot.
pub(super) fn labels(snapshot: &Snapshot) -> Arc<Labels> {
    Arc::new(Labels {
        servers: snapshot.server_names.iter().map(|name| name.to_string()).collect(),
        origins: snapshot.origins.iter().map(|origin| origin.name.to_string()).collect(),
        attack_classes: attack_class_names(),
    })
}

/// What a worker's thread starts with.
struct WorkerStart {
    number: usize,
    io: WorkerIo,
    sockets: Vec<ListeningSocket>,
    mailbox: Mailbox,
    snapshot: Arc<Snapshot>,
    addresses: Arc<AddressTable>,
    metrics: Arc<WorkerMetrics>,
    events: EventSender,
    socket_limit: u32,
}

/// How a worker is woken, and what it runs on; or why it could not start.
type WorkerStarted = Result<(Waker, String), String>;

impl WorkerStart {
    /// Starts the thread and waits until its backend is up.
    fn spawn(self) -> Result<(JoinHandle<()>, Waker, String), String> {
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

    fn run(mut self, ready: &Sender<WorkerStarted>) {
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
    fn serve<I: Io>(self, io: std::io::Result<(I, String)>, ready: &Sender<WorkerStarted>) -> bool {
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
