//! The addresses of all origins, as workers and probers share them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::names::Names;
use crate::config::OriginConfig;

/// The addresses of every origin, by the origin's number in the snapshot that they belong to. Never changed: what
/// changes is made anew.
#[derive(Debug, Default)]
pub struct AddressTable {
    /// One entry for each origin.
    pub origins: Vec<OriginAddresses>,
}

/// The addresses of one origin.
#[derive(Clone, Debug)]
pub struct OriginAddresses {
    /// The origin's name.
    pub name: Arc<str>,
    /// In the order of the config, those of one name in the order of their numbers; without repeats.
    pub addresses: Vec<Arc<AddressState>>,
    /// Health checks passed and failed.
    pub checks: Arc<CheckCounters>,
}

/// Health checks of an origin, over all of its addresses.
#[derive(Debug, Default)]
pub struct CheckCounters {
    passed: AtomicU64,
    failed: AtomicU64,
}

/// One address of an origin, with what its health checks say.
#[derive(Debug)]
pub struct AddressState {
    /// Where to connect to.
    pub address: SocketAddr,
    /// Read by workers for every request, written when it changes.
    healthy: AtomicBool,
    /// On its own in memory: it is written after every check.
    last: Box<Mutex<Option<LastCheck>>>,
}

/// How the last health check of an address went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastCheck {
    /// When it ended: seconds since 1970 UTC.
    pub unix_seconds: i64,
    /// Since when the address has been healthy, or has not been.
    pub since_unix_seconds: i64,
    /// The status of the answer, or why the check failed.
    pub outcome: Result<u16, String>,
}

impl CheckCounters {
    pub(crate) fn count(&self, passed: bool) {
        let counter = if passed { &self.passed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Passed and failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.passed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

impl AddressState {
    fn new(address: SocketAddr) -> Self {
        Self { address, healthy: AtomicBool::new(true), last: Box::default() }
    }

    /// Whether health checks let it be used. An address counts as healthy until its first check has failed.
    #[inline]
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// How its last check went; absent before the first one.
    #[must_use]
    pub fn last_check(&self) -> Option<LastCheck> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a check. Returns whether the address has become healthy, or unhealthy, by it.
    pub(crate) fn note(&self, healthy: bool, outcome: Result<u16, String>, unix_seconds: i64) -> bool {
        let changed = self.is_healthy() != healthy;
        if changed {
            self.healthy.store(healthy, Ordering::Relaxed);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.as_ref().filter(|_| !changed).map_or(unix_seconds, |last| last.since_unix_seconds);
        *last = Some(LastCheck { unix_seconds, since_unix_seconds: since, outcome });
        changed
    }
}

impl AddressTable {
    /// The addresses of `origins`, with the answers that names have. What `previous` knows of the health of an address
    /// that stays is kept.
    #[must_use]
    pub fn new(origins: &[OriginConfig], names: &Names, previous: Option<&Self>) -> Self {
        let origins = origins.iter().map(|origin| OriginAddresses::new(origin, names, previous));
        Self { origins: origins.collect() }
    }

    /// Origins of these names and addresses, without checks.
    #[cfg(test)]
    pub(crate) fn of_literals(origins: &[(&str, &[SocketAddr])]) -> Self {
        let origin = |(name, addresses): &(&str, &[SocketAddr])| OriginAddresses {
            name: Arc::from(*name),
            addresses: addresses.iter().map(|address| Arc::new(AddressState::new(*address))).collect(),
            checks: Arc::default(),
        };
        Self { origins: origins.iter().map(origin).collect() }
    }
}

impl OriginAddresses {
    fn new(origin: &OriginConfig, names: &Names, previous: Option<&AddressTable>) -> Self {
        let known = previous.and_then(|table| table.origins.iter().find(|known| *known.name == *origin.name));
        // Without checks nobody would ever say that an address is healthy again.
        let known = known.filter(|_| origin.health_check.is_some());
        let mut addresses: Vec<Arc<AddressState>> = Vec::new();
        for written in &origin.addresses {
            let literal = written.ip();
            let of_name = if literal.is_none() { names.addresses(&written.host) } else { Vec::new() };
            for ip in literal.into_iter().chain(of_name) {
                let address = SocketAddr::new(ip, written.port);
                if addresses.iter().any(|known| known.address == address) {
                    continue;
                }
                let state = known.and_then(|known| known.addresses.iter().find(|one| one.address == address));
                addresses.push(state.map_or_else(|| Arc::new(AddressState::new(address)), Arc::clone));
            }
        }
        let checks = known.map(|known| Arc::clone(&known.checks)).unwrap_or_default();
        Self { name: Arc::from(origin.name.as_str()), addresses, checks }
    }
}
