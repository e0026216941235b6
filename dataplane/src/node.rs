//! A running node: workers on their threads, the events' writer, and what the control thread asks of them.

mod certificates;
mod changes;
mod origins;
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

use self::certificates::{ExpiryWatch, FileStamps, FileWatch};
use self::origins::Keeper;
use self::workers::{WorkerIo, WorkerStart};
use crate::config::{self, Config, ConfigError, ConfigWarning, Environment, Loaded};
use crate::control::{
    Answer, Backend, CertificateExpiry, Changed, EntryChoice, ListsChange, Page, Refused, RulesChange,
    Status, Stop,
};
use crate::explain;
use crate::io::Waker;
use crate::listen::{Inherited, ListenAddress, Listeners};
use crate::origins::{AddressTable, Names};
use crate::snapshot::{self, Snapshot, attack_class_names};
use crate::state::folder::{Folder, FolderError};
use crate::state::{Files, Layer};
use crate::telemetry::{
    EventReceiver, EventWriter, EventWriterHandle, Labels, MetricsRegistry, MetricsSnapshot, WorkerMetrics,
    event_queue,
};
use crate::upgrade;
use crate::worker::{Mailbox, Message, Notice};

/// How long a reload waits for all workers to serve the new generation.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits for events to reach their file.
const EVENTS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A config that was read and compiled: ready to be put in force.
pub struct Prepared {
    /// What the files say, with what was changed over the admin API.
    pub config: Config,
    /// Rules and lists as the files alone have them.
    pub(crate) files: Files,
    /// What was changed over the admin API.
    pub(crate) layer: Layer,
    /// The files of its certificates as they were when they were read; absent where none was.
    pub(crate) certificate_files: Option<FileStamps>,
    /// What the names among the origins' addresses were resolved to; absent where they stay as they are.
    pub names: Option<Names>,
    /// What it compiles to.
    pub snapshot: Snapshot,
    /// What is odd about it.
    pub warnings: Vec<ConfigWarning>,
}

/// Reads and compiles the config file at `path`, with the changes that its `state_dir` holds, into generation 1.
/// Touches nothing that runs, and writes nothing but the signature cache.
///
/// # Errors
/// Everything that is wrong with it.
pub fn prepare(path: &Path, environment: &Environment) -> Result<Prepared, Vec<ConfigError>> {
    let loaded = load(path, environment)?;
    let layer = Layer::read(&loaded.config.node.state_dir)?;
    prepare_loaded(loaded, path, layer, Names::default(), 1)
}

/// Reads the config; where it has errors, those are told too that compiling its rules would find.
fn load(path: &Path, environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
    config::load(path, environment).map_err(|mut errors| {
        if let Some(parts) = config::load_parts(path, environment) {
            let found = snapshot::rule_errors(&parts, path, &errors);
            errors.extend(found);
        }
        errors
    })
}

fn prepare_loaded(
    loaded: Loaded,
    path: &Path,
    layer: Layer,
    known_names: Names,
    generation: u64,
) -> Result<Prepared, Vec<ConfigError>> {
    let Loaded { mut config, mut warnings, digest } = loaded;
    let (layer, files) = layer.lay_over(&mut config, digest)?;
    let workers = worker_count(&config);
    let digest = layer.digest(&files.digest);
    let certificate_files = Some(FileStamps::of(&config));
    let names = origins::resolve(&config, known_names, &mut warnings);
    let built = snapshot::build(&config, path, &digest, generation, workers, unix_seconds());
    let (names, built) = match (names, built) {
        (Ok(names), Ok(built)) => (Some(names), built),
        (names, built) => {
            return Err(names.err().into_iter().chain(built.err()).flatten().collect());
        }
    };
    warnings.extend(built.warnings);
    Ok(Prepared { config, files, layer, certificate_files, names, snapshot: built.snapshot, warnings })
}

/// One worker for each core that this process may use, unless the config says how many.
fn worker_count(config: &Config) -> usize {
    config
        .node
        .workers
        .map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A worker as the rest of the node sees it.
struct WorkerLink {
    messages: Sender<Message>,
    waker: Waker,
    metrics: Arc<WorkerMetrics>,
    /// The generation that it serves.
    serving: u64,
    alive: bool,
}

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
        let io = WorkerIo::choose(config.node.io)?;
        let Listeners { by_worker, addresses: listeners, kept } =
            Listeners::open(&config.listeners, workers, inherited)?;
        let mut writer = EventWriter::new(config.events.file.as_deref())
            .map_err(|error| format!("events: {}: {error}", file_of(&config)))?
            .with_pending_limit(usize::try_from(config.events.queue_bytes).unwrap_or(usize::MAX));
        let registry = MetricsRegistry::new();
        let labels = labels(&snapshot);
        let snapshot = Arc::new(snapshot);
        let (notice_sender, notices) = channel();
        let mut links = Vec::new();
        let mut threads = Vec::new();
        let mut io_description = String::new();
        for (number, sockets) in by_worker.into_iter().enumerate() {
            let metrics = registry.add_worker(&labels);
            let (events, receiver) = event_queue(config.events.queue_length as usize);
            let receiver: EventReceiver = receiver;
            writer.add_queue(receiver);
            let (messages, inbox) = channel();
            let mailbox = Mailbox { messages: inbox, notices: notice_sender.clone() };
            let start = WorkerStart {
                number,
                io,
                sockets,
                mailbox,
                snapshot: Arc::clone(&snapshot),
                addresses: Arc::clone(&addresses),
                metrics: Arc::clone(&metrics),
                events,
                socket_limit: socket_limit(&config, workers),
            };
            let (thread, waker, description) = start.spawn()?;
            threads.push(thread);
            io_description = description;
            links.push(WorkerLink { messages, waker, metrics, serving: 0, alive: true });
        }
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
        let mut abandoned_total = 0;
        let mut deadline: Option<Instant> = None;
        let mut running = self.threads.len();
        let mut died = false;
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
                    self.handle.in_force().workers[number].alive = false;
                    tracing::error!(worker = number, "a worker died; this is a defect");
                    died = true;
                    running -= 1;
                }
                Some((_, Notice::StopAsked)) if deadline.is_none() => {
                    deadline = Some(self.handle.leave(|| Message::Drain));
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

/// Takes the state folder for this node, so that rules and lists can be changed over the admin API. A node without
/// that API needs none.
///
/// # Errors
/// Another node has it, or has changed what it holds since it was read.
fn hold_state_folder(
    config: &Config,
    layer: &Layer,
    inherited: Option<OwnedFd>,
) -> Result<Option<Folder>, String> {
    if config.admin.is_none() {
        return Ok(None);
    }
    let path = &config.node.state_dir;
    match Folder::take_over(path, inherited) {
        Ok(folder) => {
            let stored = Layer::read(path);
            if stored.is_ok_and(|stored| stored.digests() == layer.digests()) {
                return Ok(Some(folder));
            }
            Err(format!("{} was changed while the node started: start it again", path.display()))
        }
        Err(error @ FolderError::InUse { .. }) => Err(error.to_string()),
        Err(error @ FolderError::Unwritable { .. }) => {
            tracing::warn!(%error, "rules and lists can't be changed over the admin API");
            Ok(None)
        }
    }
}

fn file_of(config: &Config) -> String {
    config.events.file.as_ref().map_or_else(String::new, |path| path.display().to_string())
}

fn labels(snapshot: &Snapshot) -> Arc<Labels> {
    Arc::new(Labels {
        servers: snapshot.server_names.iter().map(|name| name.to_string()).collect(),
        origins: snapshot.origins.iter().map(|origin| origin.name.to_string()).collect(),
        attack_classes: attack_class_names(),
    })
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

    /// What can't change while the node runs, as errors of a reload that tries to.
    fn changes_that_need_a_restart(old: &Config, new: &Config) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |changed: bool, what: &str| {
            if changed {
                found.push(format!("{what} changed: that needs a restart; nothing was put in force"));
            }
        };
        let addresses = |config: &Config| -> Vec<(String, ListenAddress)> {
            config
                .listeners
                .iter()
                .map(|listener| (listener.name.clone(), listener.address.clone()))
                .collect()
        };
        let admin =
            |config: &Config| config.admin.as_ref().map(|admin| (admin.address, admin.token_file.clone()));
        check(addresses(old) != addresses(new), "the set of listeners");
        check(old.node.workers != new.node.workers, "node.workers");
        check(old.node.io != new.node.io, "node.io");
        check(old.node.state_dir != new.node.state_dir, "node.state_dir");
        check(old.events.queue_length != new.events.queue_length, "events.queue_length");
        check(old.events.file != new.events.file, "events.file");
        check(admin(old) != admin(new), "the admin endpoint");
        found
    }

    fn adopt(&self, mut prepared: Prepared, warnings: HashSet<String>) {
        if let Some(files) = prepared.certificate_files {
            self.certificates().0 = FileWatch::new(files);
        }
        let labels = labels(&prepared.snapshot);
        let mut in_force = self.in_force();
        prepared.snapshot.rules.keep_rates_of(&in_force.snapshot.rules);
        prepared.snapshot.keep_counts_of(&in_force.snapshot);
        let snapshot = Arc::new(prepared.snapshot);
        let names = prepared.names.unwrap_or_else(|| in_force.names.clone());
        let addresses = AddressTable::new(&prepared.config.origins, &names, Some(&in_force.addresses));
        let addresses = Arc::new(addresses);
        for worker in &mut in_force.workers {
            worker.metrics = self.registry.next_generation(&worker.metrics, &labels);
            let message =
                Message::Adopt(Arc::clone(&snapshot), Arc::clone(&addresses), Arc::clone(&worker.metrics));
            let _ = worker.messages.send(message);
            worker.waker.wake();
        }
        in_force.config = prepared.config;
        in_force.files = prepared.files;
        in_force.layer = prepared.layer;
        in_force.snapshot = snapshot;
        in_force.names = names;
        in_force.addresses = addresses;
        in_force.warnings = Arc::new(warnings);
        in_force.since_unix = unix_seconds();
        drop(in_force);
        self.origins_changed.notify_one();
    }

    /// Waits until every worker serves a generation, for a while. Gives whether they do.
    fn await_all(&self, generation: u64) -> bool {
        let deadline = Instant::now() + ADOPT_TIMEOUT;
        while !self.all_serve(generation) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn all_serve(&self, generation: u64) -> bool {
        self.in_force().workers.iter().all(|worker| !worker.alive || worker.serving >= generation)
    }
}

impl Backend for Handle {
    fn live(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.in_force().workers.iter().all(|worker| worker.alive)
    }

    fn ready(&self) -> bool {
        let in_force = self.in_force();
        let generation = in_force.snapshot.generation;
        !self.draining.load(Ordering::Relaxed)
            && in_force.workers.iter().all(|worker| worker.alive && worker.serving == generation)
    }

    fn status(&self) -> Status {
        let origins = self.origin_status();
        let in_force = self.in_force();
        let generation = in_force.snapshot.generation;
        let ready = in_force.workers.iter().filter(|worker| worker.alive && worker.serving == generation);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_digest: in_force.snapshot.digest.clone(),
            generation,
            config_since_unix_seconds: u64::try_from(in_force.since_unix).unwrap_or(0),
            started_unix_seconds: u64::try_from(self.started_unix).unwrap_or(0),
            workers: u32::try_from(in_force.workers.len()).unwrap_or(u32::MAX),
            workers_ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
            draining: self.draining.load(Ordering::Relaxed),
            io: self.io_description.clone(),
            client_certificates: in_force
                .snapshot
                .certificate_expiries
                .iter()
                .map(|(name, not_after)| CertificateExpiry {
                    name: name.clone(),
                    not_after_unix_seconds: *not_after,
                })
                .collect(),
            origins,
            names: in_force.names.status(Instant::now()),
            listener_certificates: in_force
                .snapshot
                .listener_certificates
                .iter()
                .map(|(name, not_after)| CertificateExpiry {
                    name: name.clone(),
                    not_after_unix_seconds: *not_after,
                })
                .collect(),
        }
    }

    fn certificate_check_interval(&self) -> Option<Duration> {
        Some(self.in_force().config.node.certificate_check_interval).filter(|interval| !interval.is_zero())
    }

    fn check_certificates(&self) -> bool {
        let snapshot = self.snapshot();
        let mut watch = self.certificates();
        let (files, ends) = &mut *watch;
        let all = snapshot.certificate_expiries.iter().chain(&snapshot.listener_certificates);
        for (certificate, days) in ends.due(all.map(|(name, end)| (name.as_str(), *end)), unix_seconds()) {
            if days < 0 {
                tracing::error!(certificate, "a certificate has expired");
            } else {
                tracing::warn!(certificate, days, "a certificate expires soon");
            }
        }
        files.has_changed()
    }

    fn metrics(&self) -> MetricsSnapshot {
        self.registry.snapshot()
    }

    fn reload(&self) -> Result<u64, Vec<String>> {
        let _no_other_change = self.changing();
        let texts = |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (generation, layer, names) = {
            let in_force = self.in_force();
            (in_force.snapshot.generation + 1, in_force.layer.clone(), in_force.names.clone())
        };
        let loaded = load(&self.path, &self.environment).map_err(texts)?;
        let blockers = Self::changes_that_need_a_restart(&self.in_force().config, &loaded.config);
        if !blockers.is_empty() {
            return Err(blockers);
        }
        let prepared = prepare_loaded(loaded, &self.path, layer, names, generation).map_err(texts)?;
        for warning in &prepared.warnings {
            tracing::warn!(%warning, "config");
        }
        let warnings = changes::warning_texts(&prepared.warnings);
        self.adopt(prepared, warnings);
        self.await_all(generation);
        Ok(generation)
    }

    fn rules(&self) -> Answer {
        self.current().rules_answer()
    }

    fn rule(&self, id: u64) -> Option<Answer> {
        self.current().rule_answer(id)
    }

    fn change_rules(&self, change: RulesChange, if_match: Option<&str>) -> Result<Changed, Refused> {
        self.make_rules_change(change, if_match)
    }

    fn ip_lists(&self, choice: &EntryChoice, page: Page) -> Answer {
        self.current().lists_answer(choice, page)
    }

    fn change_ip_lists(&self, change: ListsChange, if_match: Option<&str>) -> Result<Changed, Refused> {
        self.make_lists_change(change, if_match)
    }

    fn drop_expired(&self) {
        self.forget_expired();
    }

    fn explain(&self, request: serde_json::Value) -> Result<serde_json::Value, explain::DescriptionErrors> {
        let described = explain::Described::from_json(&request)?;
        let snapshot = self.snapshot();
        let no_memory = |message| {
            explain::DescriptionErrors(vec![explain::DescriptionError { field: String::new(), message }])
        };
        let mut explainer = explain::Explainer::new(&snapshot).map_err(no_memory)?;
        Ok(explainer.explain(&described).to_json())
    }

    fn upgrade(&self) -> Result<u32, String> {
        if !self.upgradable.load(Ordering::Relaxed) {
            return Err("only `weir run` can be upgraded".to_owned());
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err("this process is stopping already".to_owned());
        }
        // Nothing changes while the successor reads what it will stand for.
        let mut state_folder = self.changing();
        let copies = self.copies_to_hand_over(state_folder.as_ref());
        let copies = copies.map_err(|error| format!("no copies of the sockets: {error}"))?;
        let successor = upgrade::start_successor(&copies)?;
        *state_folder = None;
        let _ = self.stopper.send((0, Notice::Succeeded));
        Ok(successor)
    }

    fn stop(&self, how: Stop) {
        if how == Stop::Now || self.stops.fetch_add(1, Ordering::Relaxed) == 0 {
            let _ = self.stopper.send((0, Notice::StopAsked));
        }
    }
}
