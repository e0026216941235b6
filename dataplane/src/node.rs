//! A running node: workers on their threads, the events' writer, and what the control thread asks of them.

mod backend;
mod certificates;
mod changes;
mod edits;
mod origins;
mod positions;
mod prepare;
mod reload;
mod state;
mod views;
mod workers;

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use self::certificates::{ExpiryWatch, FileWatch};
use self::origins::Keeper;
use self::prepare::worker_count;
pub use self::prepare::{Prepared, prepare};
use self::state::hold_state_folder;
use self::workers::{NodeWorkers, Started, WorkerLink, choose_io};
use crate::config::{self, Config, Environment};
use crate::listen::{Inherited, ListenAddress, Listeners};
use crate::origins::{AddressTable, Names};
use crate::snapshot::Snapshot;
use crate::state::folder::Folder;
use crate::state::{Files, Layer};
use crate::telemetry::{EventWriter, EventWriterHandle, MetricsRegistry};
use crate::upgrade;
use crate::worker::{Message, Notice};

/// How long a stop waits for events to reach their file.
const EVENTS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is in force.
struct InForce {
    config: Config,
    files: Files,
    layer: Layer,
    snapshot: Arc<Snapshot>,
    names: Names,
    /// Of the snapshot's origins.
    addresses: Arc<AddressTable>,
    /// The texts of what is odd about it.
    warnings: Arc<HashSet<String>>,
    /// Those about rules.
    rule_warnings: Arc<[String]>,
    /// Those about entries of the lists.
    list_warnings: Arc<[String]>,
    since_unix: i64,
    workers: Vec<WorkerLink>,
}

/// The node as the control thread sees it.
pub struct Handle {
    path: PathBuf,
    environment: Environment,
    in_force: Mutex<InForce>,
    /// Held by whoever changes what is in force. Nothing in it where the folder can't be had.
    state_folder: Mutex<Option<Folder>>,
    registry: MetricsRegistry,
    io_description: String,
    started_unix: i64,
    draining: AtomicBool,
    /// Signals received: the second one ends the drain.
    stops: AtomicU64,
    stopper: Sender<(usize, Notice)>,
    /// The listening sockets once more, to hand over. Empty once this process accepts no more: a socket that stays open
    /// keeps its connections waiting.
    sockets: Mutex<Vec<(String, OwnedFd)>>,
    upgradable: AtomicBool,
    /// What the config's files have settled may be taken out of the state folder. Not before it is sure that this process stays:
    /// a predecessor may have to go on with what the disk holds.
    may_settle: AtomicBool,
    /// Sockets that each worker has room for.
    socket_limit: u32,
    certificates: Mutex<(FileWatch, ExpiryWatch)>,
    /// There are other origins, addresses or names than before.
    origins_changed: Notify,
}

/// A running node.
pub struct Node {
    handle: Arc<Handle>,
    events: Arc<EventWriterHandle>,
    keeper: Keeper,
    threads: Vec<JoinHandle<()>>,
    notices: Receiver<(usize, Notice)>,
    /// Name and address of each listener, with the port that it really has.
    pub listeners: Vec<(String, ListenAddress)>,
}

impl Node {
    /// Binds the listeners and starts the workers.
    ///
    /// # Errors
    /// What could not be had: an address, a ring, a file.
    pub fn start(
        path: &Path,
        environment: Environment,
        prepared: Prepared,
        inherited: &mut Inherited,
    ) -> Result<Self, String> {
        let Prepared { config, files, layer, certificate_files, names, snapshot, warnings } = prepared;
        let names = names.unwrap_or_default();
        let addresses = Arc::new(AddressTable::new(&config.origins, &names, None));
        let workers = worker_count(&config);
        let state_folder = hold_state_folder(&config, &layer, inherited.take_other(upgrade::STATE_NAME))?;
        log_start(path, &config, &snapshot, workers);
        let io = choose_io(&config, inherited)?;
        let socket_limit = socket_limit(&config, workers);
        let Listeners { by_worker, addresses: listeners, kept } =
            Listeners::open(&config.listeners, workers, inherited)?;
        let mut writer = EventWriter::new(config.events.file.as_deref())
            .map_err(|error| format!("events: {}: {error}", file_of(&config)))?
            .with_pending_limit(usize::try_from(config.events.queue_bytes).unwrap_or(usize::MAX));
        let registry = MetricsRegistry::new();
        let snapshot = Arc::new(snapshot);
        let (notice_sender, notices) = channel();
        let start = NodeWorkers {
            io,
            socket_limit,
            snapshot: &snapshot,
            addresses: &addresses,
            registry: &registry,
            event_queue_length: config.events.queue_length as usize,
        };
        let Started { links, threads, io_description } =
            start.spawn(by_worker, &mut writer, &notice_sender)?;
        let events = writer.spawn().map_err(|error| format!("the events' thread can't start: {error}"))?;
        let handle = Handle {
            path: path.to_owned(),
            environment,
            in_force: Mutex::new(InForce {
                config,
                files,
                layer,
                snapshot,
                names,
                addresses,
                warnings: Arc::new(changes::warning_texts(&warnings)),
                rule_warnings: changes::rule_warnings(&warnings),
                list_warnings: changes::list_warnings(&warnings),
                since_unix: unix_seconds(),
                workers: links,
            }),
            state_folder: Mutex::new(state_folder),
            registry,
            io_description,
            started_unix: unix_seconds(),
            draining: AtomicBool::new(false),
            stops: AtomicU64::new(0),
            stopper: notice_sender,
            sockets: Mutex::new(kept),
            upgradable: AtomicBool::new(false),
            may_settle: AtomicBool::new(false),
            socket_limit,
            certificates: Mutex::new((
                FileWatch::new(certificate_files.unwrap_or_default()),
                ExpiryWatch::default(),
            )),
            origins_changed: Notify::new(),
        };
        let handle = Arc::new(handle);
        let keeper = Keeper::start(Arc::clone(&handle))
            .map_err(|error| format!("the thread that watches origins can't start: {error}"))?;
        Ok(Self { handle, keeper, events: Arc::new(events), threads, notices, listeners })
    }

    /// What the control thread is given.
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// What the control thread is given to open the event file anew.
    pub fn events(&self) -> Arc<EventWriterHandle> {
        Arc::clone(&self.events)
    }

    /// Waits until the node was told to stop and has stopped. Says how many client connections were cut off.
    ///
    /// # Errors
    /// If a worker died.
    pub fn serve(mut self) -> Result<usize, String> {
        self.handle.begin_to_settle();
        let mut abandoned_total = 0;
        let mut deadline: Option<Instant> = None;
        let mut running = self.threads.len();
        let mut died = false;
        let mut stop_asked = false;
        while running > 0 {
            match self.next_notice(deadline) {
                Some((number, Notice::Serving(generation))) => {
                    self.handle.in_force().workers[number].serving = generation;
                }
                Some((number, Notice::Finished { abandoned })) => {
                    self.handle.in_force().workers[number].alive = false;
                    abandoned_total += abandoned;
                    running -= 1;
                }
                Some((number, Notice::Died)) => {
                    {
                        let worker = &mut self.handle.in_force().workers[number];
                        (worker.alive, worker.died) = (false, true);
                    }
                    tracing::error!(worker = number, "a worker died; this is a defect");
                    died = true;
                    running -= 1;
                }
                // A successor that serves has made nobody ask for a stop.
                Some((_, Notice::StopAsked)) if !stop_asked => {
                    stop_asked = true;
                    let latest = self.handle.leave(|| Message::Drain);
                    deadline = Some(deadline.map_or(latest, |deadline| deadline.min(latest)));
                }
                Some((_, Notice::Succeeded)) if deadline.is_none() => {
                    deadline = Some(self.handle.leave(|| Message::Leave));
                }
                Some((_, Notice::Succeeded)) => {}
                // Asked again, or the time for the drain is over.
                Some((_, Notice::StopAsked)) | None => {
                    deadline = Some(Instant::now() + Duration::from_secs(3600));
                    self.handle.tell_all(|| Message::Stop);
                }
            }
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.keeper.stop();
        match self.events.stop(EVENTS_STOP_TIMEOUT) {
            Some(0) => {}
            Some(lost) => tracing::error!(lost, "events could not be written to their file and are lost"),
            None => tracing::error!("events could not be written in time; some may be lost"),
        }
        if died { Err("a worker died".to_owned()) } else { Ok(abandoned_total) }
    }

    fn next_notice(&self, deadline: Option<Instant>) -> Option<(usize, Notice)> {
        let timeout =
            deadline.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
        loop {
            match self.notices.recv_timeout(timeout) {
                Ok(notice) => return Some(notice),
                Err(RecvTimeoutError::Timeout) if deadline.is_none() => {}
                Err(_) => return None,
            }
        }
    }
}

fn log_start(path: &Path, config: &Config, snapshot: &Snapshot, workers: usize) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %path.display(),
        digest = snapshot.digest,
        workers,
        mode = config.http.context.mode.map_or("monitoring", config::Mode::as_str),
        mode_from_environment = config.http.context.mode_from_environment,
        servers = config.servers.len(),
        origins = snapshot.origins.len(),
        rules = config.rules.rules.len(),
        list_entries = config.ip_lists.entries.len(),
        signatures = snapshot.engine.signature_count(),
        "weir starts"
    );
}

fn file_of(config: &Config) -> String {
    config.events.file.as_ref().map_or_else(String::new, |path| path.display().to_string())
}

/// Sockets of one worker: its clients, its origin connections, those of its WebSockets, and some room.
fn socket_limit(config: &Config, workers: usize) -> u32 {
    let clients = config.node.max_connections.div_ceil(u32::try_from(workers).unwrap_or(1).max(1));
    let tunnels = config.node.max_tunnels.div_ceil(u32::try_from(workers).unwrap_or(1).max(1));
    clients.saturating_add(config.node.origin_connections_total).saturating_add(tunnels).saturating_add(64)
}

impl Handle {
    fn in_force(&self) -> MutexGuard<'_, InForce> {
        // Nothing panics half-way through a change of it.
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.in_force().snapshot)
    }

    /// The generation in force and the addresses of its origins.
    fn origins_in_force(&self) -> (Arc<Snapshot>, Arc<AddressTable>) {
        let in_force = self.in_force();
        (Arc::clone(&in_force.snapshot), Arc::clone(&in_force.addresses))
    }

    /// Lets the workers finish what runs; returns when they must be done with it.
    fn leave(&self, message: impl Fn() -> Message) -> Instant {
        self.sockets().clear();
        self.tell_all(message);
        Instant::now() + self.in_force().config.node.drain_timeout
    }

    fn copies_to_hand_over(&self, state_folder: Option<&Folder>) -> std::io::Result<Vec<(String, OwnedFd)>> {
        let mut copies = Vec::new();
        for (name, socket) in &*self.sockets() {
            copies.push((name.clone(), socket.try_clone()?));
        }
        if let Some(folder) = state_folder {
            copies.push((upgrade::STATE_NAME.to_owned(), folder.copy_lock()?));
        }
        Ok(copies)
    }

    fn certificates(&self) -> MutexGuard<'_, (FileWatch, ExpiryWatch)> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<(String, OwnedFd)>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this program be upgraded while it runs, by a new process with the same arguments. `admin` is handed over too.
    pub fn allow_upgrade(&self, admin: Option<OwnedFd>) {
        self.sockets().extend(admin.map(|socket| (upgrade::ADMIN_NAME.to_owned(), socket)));
        self.upgradable.store(true, Ordering::Relaxed);
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        self.draining.store(true, Ordering::Relaxed);
        for worker in &self.in_force().workers {
            // A worker that is gone needs no message.
            let _ = worker.messages.send(message());
            worker.waker.wake();
        }
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
