//! The control thread: signals and admin endpoints, apart from the workers.
//!
//! It knows the rest of the program only through [`Backend`]. It owns nothing that the data path waits for, so it
//! runs on ordinary libraries.

pub mod admin;
mod answers;
pub mod backend;
pub mod changes;
mod query;
mod rules;
#[cfg(test)]
mod tests;
pub mod token;

pub use admin::{AdminLimits, AdminSocket};
pub use backend::{AddressStatus, Backend, CertificateExpiry, OriginStatus, Status, Stop, Unexplained};
pub use changes::{Answer, Changed, EntryChoice, ListsChange, Page, Refused, RulesChange, Wrong};
pub use token::Token;

use crate::telemetry::{EventWriterHandle, Family, MetricsSnapshot};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// How often list entries that have ended are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
/// How long a reload may still run when the control thread is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What the control thread and its requests share.
struct Shared {
    backend: Arc<dyn Backend>,
    events: Arc<EventWriterHandle>,
    /// Held while a reload runs.
    reloading: tokio::sync::Mutex<()>,
    reloads_in_force: AtomicU64,
    reloads_refused: AtomicU64,
    /// Another config is in force.
    reloaded: Notify,
}

impl Shared {
    fn new(backend: Arc<dyn Backend>, events: Arc<EventWriterHandle>) -> Self {
        let reloading = tokio::sync::Mutex::default();
        Self {
            backend,
            events,
            reloading,
            reloads_in_force: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            reloaded: Notify::new(),
        }
    }

    /// What runs, and everything that was counted, in the workers and around them.
    fn collect(&self) -> (Status, MetricsSnapshot) {
        let status = self.backend.status();
        let mut metrics = self.backend.metrics();
        answers::complete(&mut metrics, &status, self.events.counters());
        metrics.add(Family::ConfigReloads, &["in_force"], self.reloads_in_force.load(Ordering::Relaxed));
        metrics.add(Family::ConfigReloads, &["refused"], self.reloads_refused.load(Ordering::Relaxed));
        (status, metrics)
    }

    /// Reloads, one at a time, without keeping health checks waiting; says in the log how it went.
    async fn reload(&self) -> Result<u64, Vec<String>> {
        let _one_at_a_time = self.reloading.lock().await;
        let backend = Arc::clone(&self.backend);
        let outcome = tokio::task::spawn_blocking(move || backend.reload()).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(vec!["the reload itself failed; this is a defect".to_owned()]));
        match &outcome {
            Ok(generation) => {
                self.reloads_in_force.fetch_add(1, Ordering::Relaxed);
                self.reloaded.notify_one();
                tracing::info!(generation, "a new config is in force");
            }
            Err(errors) => {
                self.reloads_refused.fetch_add(1, Ordering::Relaxed);
                for error in errors {
                    tracing::error!(%error, "the new config was refused");
                }
            }
        }
        outcome
    }
}

/// The running control thread.
#[derive(Debug)]
pub struct Control {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the control thread. When this returns, the admin endpoints answer, and what `signals` caught is acted on.
    ///
    /// SIGTERM, SIGINT and SIGQUIT call [`Backend::stop`]; SIGHUP reloads and opens the event file again, SIGUSR1
    /// does only the latter, SIGUSR2 calls [`Backend::upgrade`].
    ///
    /// # Errors
    /// No thread could be had, or the admin socket can't be served.
    pub fn start(
        signals: Signals,
        admin: Option<AdminSocket>,
        events: Arc<EventWriterHandle>,
        backend: Arc<dyn Backend>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (started, outcome) = mpsc::channel();
        let shared = Arc::new(Shared::new(backend, events));
        let Signals { runtime, caught } = signals;
        let thread = std::thread::Builder::new().name("weir-control".to_owned()).spawn(move || {
            runtime.block_on(async {
                match listen(admin, &shared) {
                    Ok(admin) => {
                        let _ = started.send(Ok(()));
                        run(caught, stopped, shared, admin).await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
            runtime.shutdown_timeout(STOP_TIMEOUT);
        })?;
        // A thread that ended without a word has panicked.
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread could not start")))?;
        Ok(Self { stop, thread })
    }

    /// Ends the control thread: the admin endpoints close. Call it last, so that health checks are answered while
    /// connections drain.
    pub fn stop(self) {
        // Fails only if the thread is gone already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Starts to serve the admin endpoints on the current runtime.
fn listen(admin: Option<AdminSocket>, shared: &Arc<Shared>) -> io::Result<Option<AbortHandle>> {
    let Some(AdminSocket { listener, limits }) = admin else { return Ok(None) };
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let task = tokio::spawn(admin::serve(listener, limits, Arc::clone(shared)));
    Ok(Some(task.abort_handle()))
}

/// The signals of this process, caught from now on: none of them ends it any more. They wait for [`Control::start`].
///
/// Catch them before the first connection is accepted: a stop that comes earlier than the control thread would
/// otherwise cut requests off.
#[derive(Debug)]
pub struct Signals {
    runtime: Runtime,
    caught: Caught,
}

impl Signals {
    /// Installs the handlers. They are the process's: a system call of another thread may be interrupted (`EINTR`) and
    /// must be repeated there.
    ///
    /// # Errors
    /// No epoll or no signal handler could be had.
    pub fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let caught = {
            let _within = runtime.enter();
            Caught::new()?
        };
        Ok(Self { runtime, caught })
    }
}

#[derive(Debug)]
struct Caught {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Caught {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Looks at the certificates again and again, and reloads if their files were replaced. Runs as long as the runtime.
async fn watch_certificates(shared: Arc<Shared>) {
    let mut checked = Instant::now();
    loop {
        let interval = shared.backend.certificate_check_interval();
        // (one that no clock reaches is none)
        let due = interval.and_then(|interval| checked.checked_add(interval));
        let time_is_over = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time_is_over => {}
            // With another interval, maybe.
            () = shared.reloaded.notified() => continue,
        }
        checked = Instant::now();
        let backend = Arc::clone(&shared.backend);
        let changed = tokio::task::spawn_blocking(move || backend.check_certificates()).await;
        if changed.unwrap_or(false) {
            tracing::info!("files of certificates have changed: reloading");
            // The errors are in the log.
            let _ = shared.reload().await;
        }
    }
}

/// Starts a successor; once it serves, the admin endpoints are its own.
async fn upgrade(shared: Arc<Shared>, admin: Option<AbortHandle>) {
    // Not while a reload runs, and not twice.
    let _one_at_a_time = shared.reloading.lock().await;
    tracing::info!("starting a successor");
    let backend = Arc::clone(&shared.backend);
    let outcome = tokio::task::spawn_blocking(move || backend.upgrade()).await;
    match outcome.unwrap_or_else(|_| Err("the upgrade itself failed; this is a defect".to_owned())) {
        Ok(process) => {
            if let Some(admin) = admin {
                admin.abort();
            }
            tracing::info!(process, "a successor serves; this process finishes what runs and ends");
        }
        Err(error) => tracing::error!(%error, "the upgrade failed"),
    }
}

async fn run(
    mut signals: Caught,
    mut stopped: oneshot::Receiver<()>,
    shared: Arc<Shared>,
    admin: Option<AbortHandle>,
) {
    let mut how = Stop::Graceful;
    tokio::spawn(watch_certificates(Arc::clone(&shared)));
    let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let name = tokio::select! {
            _ = &mut stopped => return,
            _ = signals.hangup.recv() => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // The errors are in the log.
                    let _ = shared.reload().await;
                    shared.events.reopen();
                });
                continue;
            }
            _ = expiry.tick() => {
                let backend = Arc::clone(&shared.backend);
                // What goes wrong is in the log.
                tokio::task::spawn_blocking(move || backend.drop_expired());
                continue;
            }
            // What log rotation sends to other servers must not end this one.
            _ = signals.user_1.recv() => {
                shared.events.reopen();
                continue;
            }
            _ = signals.user_2.recv() => {
                tokio::spawn(upgrade(Arc::clone(&shared), admin.clone()));
                continue;
            }
            _ = signals.terminate.recv() => "SIGTERM",
            _ = signals.interrupt.recv() => "SIGINT",
            _ = signals.quit.recv() => "SIGQUIT",
        };
        tracing::info!(signal = name, graceful = how == Stop::Graceful, "stopping");
        shared.backend.stop(how);
        how = Stop::Now;
    }
}
