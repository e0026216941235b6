//! The keeper of the origins: a thread that resolves their names when the records end and checks the health of their
//! addresses. Workers are told of other addresses by a message, and see the health of one in its flag.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use super::{Handle, unix_seconds};
use crate::config::{Config, ConfigError, ConfigWarning, Where};
use crate::control::{AddressStatus, OriginStatus};
use crate::origins::{AddressState, AddressTable, Health, Names, Noted, Prober, Target, look_up};
use crate::snapshot::Origin;
use crate::worker::Message;

/// Health checks and lookups under way at once.
const AT_ONCE_MAX: usize = 64;
/// How long the end of the thread may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Wait where no name is due.
const IDLE_TIME: Duration = Duration::from_secs(3600);

/// The running keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is none to be had.
    pub(super) fn start(handle: Arc<Handle>) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("weir-origins".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keep(handle) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(STOP_TIMEOUT);
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        // Fails only if the thread is gone already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Resolves all names of a config now. Names that `known` has keep their addresses where that fails, with a warning.
///
/// # Errors
/// The names of which no address is known, each with its place.
pub(super) fn resolve(
    config: &Config,
    mut known: Names,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Names, Vec<ConfigError>> {
    let hosts = Names::of(config);
    known.keep_only(&hosts);
    if hosts.is_empty() {
        return Ok(known);
    }
    let settings = &config.node.resolver;
    let answers = std::thread::scope(|scope| {
        // Whoever calls may be in a runtime, which must not be blocked by another one.
        let lookups = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok::<_, std::io::Error>(runtime.block_on(look_up_all(&hosts, settings)))
        });
        lookups
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the lookup itself failed; this is a defect")))
    });
    let answers = answers.map_err(|error| vec![unresolved(config, &hosts[0], &error.to_string())])?;
    let mut errors = Vec::new();
    for (host, answer) in hosts.iter().zip(answers) {
        let reason = answer.error().unwrap_or_default();
        let noted = known.note(host, answer, settings, Instant::now());
        if !known.knows(host) {
            errors.push(unresolved(config, host, &reason));
        } else if matches!(noted, Noted::Failed(_) | Noted::FailedAgain) {
            let error = unresolved(config, host, &reason);
            let message = format!("{}; its last known addresses stay in use", error.message);
            warnings.push(ConfigWarning { place: error.place, key: error.key, message });
        }
    }
    if errors.is_empty() { Ok(known) } else { Err(errors) }
}

async fn look_up_all(
    hosts: &[String],
    settings: &crate::config::ResolverConfig,
) -> Vec<crate::origins::Answer> {
    let mut answers = Vec::new();
    for some in hosts.chunks(AT_ONCE_MAX) {
        let lookups: Vec<_> = some
            .iter()
            .map(|host| {
                let (host, settings) = (host.clone(), settings.clone());
                tokio::spawn(async move { look_up(&host, &settings).await })
            })
            .collect();
        for lookup in lookups {
            answers
                .push(lookup.await.unwrap_or_else(|_| crate::origins::Answer::failed("the lookup panicked")));
        }
    }
    answers
}

fn unresolved(config: &Config, host: &str, reason: &str) -> ConfigError {
    let written = config.origins.iter().flat_map(|origin| &origin.addresses);
    let mut written = written.filter(|one| one.host.trim_end_matches('.').eq_ignore_ascii_case(host));
    let message = format!("can't resolve {host:?}: {reason}");
    let advice = "write an IP address, or a name that /etc/hosts or the servers of [node.resolver] know";
    match written.next() {
        Some(address) => ConfigError {
            place: Where::Text(address.place.clone()),
            key: address.path.clone(),
            message,
            advice: advice.to_owned(),
        },
        None => ConfigError {
            place: Where::File(std::path::PathBuf::new()),
            key: String::new(),
            message,
            advice: advice.to_owned(),
        },
    }
}

/// Runs as long as the runtime.
async fn keep(handle: Arc<Handle>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut probers = Probers::default();
    let under_way = Arc::new(Mutex::new(HashSet::new()));
    loop {
        probers.follow(&handle, &slots);
        let pause = handle.in_force().config.node.resolver.timeout + Duration::from_secs(1);
        let (due, next) = handle.in_force().names.take_due(Instant::now(), pause);
        for host in due {
            // It may wait for a slot longer than it takes to be due again.
            if under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone()) {
                tokio::spawn(refresh(Arc::clone(&handle), host, Arc::clone(&slots), Arc::clone(&under_way)));
            }
        }
        let next = next.unwrap_or_else(|| Instant::now() + IDLE_TIME);
        tokio::select! {
            () = handle.origins_changed.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
    }
}

/// Resolves one name again.
async fn refresh(
    handle: Arc<Handle>,
    host: String,
    slots: Arc<Semaphore>,
    under_way: Arc<Mutex<HashSet<String>>>,
) {
    // The semaphore is never closed.
    let Ok(_slot) = slots.acquire().await else { return };
    let settings = handle.in_force().config.node.resolver.clone();
    let answer = look_up(&host, &settings).await;
    handle.note_answer(&host, answer);
    under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
    handle.origins_changed.notify_one();
}

impl Handle {
    /// Notes what a lookup has brought, and tells the workers of other addresses.
    fn note_answer(&self, host: &str, answer: crate::origins::Answer) {
        let mut in_force = self.in_force();
        if !in_force.names.knows(host) {
            // A reload has come in between.
            return;
        }
        let settings = in_force.config.node.resolver.clone();
        match in_force.names.note(host, answer, &settings, Instant::now()) {
            Noted::Changed => {
                let addresses = in_force.names.addresses(host);
                tracing::info!(name = host, ?addresses, "a name of an origin has other addresses now");
                in_force.follow_names();
            }
            Noted::Failed(reason) => {
                tracing::warn!(
                    name = host,
                    reason,
                    "a name of an origin can't be resolved; its last known addresses stay in use"
                );
            }
            Noted::Unchanged | Noted::FailedAgain => {}
        }
    }

    /// The origins and their addresses, for operators.
    pub(super) fn origin_status(&self) -> Vec<OriginStatus> {
        let in_force = self.in_force();
        let origins = in_force.addresses.origins.iter().zip(in_force.snapshot.origins.iter());
        origins
            .map(|(known, origin)| OriginStatus {
                name: known.name.to_string(),
                is_checked: origin.health_check.is_some(),
                checks: known.checks.counts(),
                addresses: known.addresses.iter().map(|state| address_status(state)).collect(),
            })
            .collect()
    }
}

fn address_status(state: &AddressState) -> AddressStatus {
    AddressStatus { address: state.address, healthy: state.is_healthy(), last_check: state.last_check() }
}

impl super::InForce {
    /// Gives the workers the addresses that the names have now.
    fn follow_names(&mut self) {
        let table = AddressTable::new(&self.config.origins, &self.names, Some(&self.addresses));
        let table = Arc::new(table);
        self.addresses = Arc::clone(&table);
        for worker in &self.workers {
            // A worker that is gone needs no message.
            let _ = worker.messages.send(Message::Addresses(Arc::clone(&table)));
            worker.waker.wake();
        }
    }
}

/// One task for each address that is checked.
#[derive(Default)]
struct Probers {
    running: HashMap<*const AddressState, Running>,
}

/// A task, and what keeps its address's place in memory from being given to another one.
struct Running {
    _state: Arc<AddressState>,
    task: AbortHandle,
}

impl Probers {
    /// Starts and ends tasks, so that they are those of the addresses in force.
    fn follow(&mut self, handle: &Arc<Handle>, slots: &Arc<Semaphore>) {
        let (snapshot, table) = handle.origins_in_force();
        let mut wanted = HashMap::new();
        for (origin, known) in snapshot.origins.iter().zip(&table.origins) {
            if origin.health_check.is_some() {
                let states = known
                    .addresses
                    .iter()
                    .map(|state| (Arc::as_ptr(state), (Arc::clone(&origin.name), state)));
                wanted.extend(states);
            }
        }
        self.running.retain(|state, running| {
            let stays = wanted.contains_key(state);
            if !stays {
                running.task.abort();
            }
            stays
        });
        for (place, (name, state)) in wanted {
            self.running.entry(place).or_insert_with(|| {
                let checks =
                    check_again_and_again(Arc::clone(handle), name, Arc::clone(state), Arc::clone(slots));
                Running { _state: Arc::clone(state), task: tokio::spawn(checks).abort_handle() }
            });
        }
    }
}

impl Drop for Probers {
    fn drop(&mut self) {
        self.running.values().for_each(|running| running.task.abort());
    }
}

/// Checks one address until its task is ended, or its origin is no longer checked.
async fn check_again_and_again(
    handle: Arc<Handle>,
    origin_name: Arc<str>,
    state: Arc<AddressState>,
    slots: Arc<Semaphore>,
) {
    let mut health = Health::new(state.is_healthy(), state.last_check().is_none());
    let mut prober = Prober::default();
    loop {
        let (snapshot, table) = handle.origins_in_force();
        let position = snapshot.origins.iter().position(|origin| origin.name == origin_name);
        let Some((origin, known)) =
            position.and_then(|at| Some((&snapshot.origins[at], table.origins.get(at)?)))
        else {
            return;
        };
        let Some(check) = origin.health_check.clone() else { return };
        let Ok(slot) = slots.acquire().await else { return };
        let host = host_of(origin, &state);
        let target = Target {
            address: state.address,
            check: &check,
            host: &host,
            tls: origin.tls.as_ref(),
            proxy_protocol: origin.proxy_protocol,
        };
        let outcome = prober.check(target).await;
        drop(slot);
        let healthy = health.after(outcome.is_ok(), check.healthy_threshold, check.unhealthy_threshold);
        known.checks.count(outcome.is_ok());
        let reason = outcome.as_ref().err().cloned();
        if state.note(healthy, outcome, unix_seconds()) {
            tell(&origin_name, &state, reason.as_deref());
        }
        drop((snapshot, table));
        tokio::time::sleep(jittered(check.interval)).await;
    }
}

/// The Host of checks: that of requests without one, or the address itself.
fn host_of(origin: &Origin, state: &AddressState) -> String {
    match &origin.tls {
        Some(_) => origin.fallback_host.clone(),
        None => state.address.to_string(),
    }
}

fn tell(origin: &str, state: &AddressState, reason: Option<&str>) {
    let address = state.address;
    match reason {
        None => tracing::info!(origin, %address, "an address of an origin is healthy"),
        Some(reason) => {
            tracing::warn!(
                origin, %address, reason,
                "an address of an origin is unhealthy: it gets no requests while enough others are usable"
            );
        }
    }
}

/// A tenth more or less, so that checks don't come in step.
fn jittered(interval: Duration) -> Duration {
    let random = ahash::RandomState::new().hash_one(0_u8) % 201;
    interval.mul_f64(0.9 + random as f64 / 1000.0)
}
