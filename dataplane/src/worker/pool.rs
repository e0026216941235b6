//! Pools of connections to origins: per worker, last in first out, with caps and a waiting queue.
//!
//! A pool is one address of one origin under one identity. Its key says everything that must be equal for two requests to
//! share a connection; keys are compared whole, never by hash alone. Origins that have an address in common have a pool
//! there each: time-outs, caps, outliers and counts are those of the origin that a request goes to. Pools outlive a snapshot generation, so
//! a reload keeps the connections whose key did not change.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::balance::number_of;
use super::idle::IdleConnections;
use super::outliers::Outliers;
use super::request::Wait;
use super::upstream::Upstream;
use super::warm::Warming;
use super::{ClientId, UpstreamId};
use crate::config::OutlierConfig;
use crate::origins::{AddressState, AddressTable};
use crate::proxy_protocol;
use crate::snapshot::{Origin, OriginLimits, Snapshot, TlsKey};
use crate::telemetry::WorkerMetrics;
use crate::tls::{TlsFailure, WorkerTls};

/// A pool's place in the worker's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PoolIndex(pub(crate) u32);

/// What makes connections interchangeable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PoolKey {
    /// The name of the origin.
    pub(crate) origin: Arc<str>,
    pub(crate) address: SocketAddr,
    /// Absent for plain TCP.
    pub(crate) tls: Option<TlsKey>,
    /// The header that says whose connection it is; with one, a connection carries one client only.
    pub(crate) proxy_protocol: Option<proxy_protocol::Version>,
}

/// TLS settings of a pool: one config, and so one session cache, per pool and worker.
#[derive(Clone, Debug)]
pub(crate) struct PoolTls {
    pub(crate) worker: WorkerTls,
    /// The name of the client certificate that is shown if the origin asks for one.
    pub(crate) identity: Option<String>,
    pub(crate) server_name: ServerName<'static>,
}

/// Connections to one address under one identity.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) key: PoolKey,
    pub(crate) tls: Option<PoolTls>,
    pub(crate) limits: OriginLimits,
    /// What its connections count into, and under which origin: those of the newest snapshot that names the pool.
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) origin: u32,
    /// Connections that exist, in whatever state.
    pub(crate) open: u32,
    pub(crate) idle: IdleConnections,
    /// Connections whose request's body is still coming in.
    pub(crate) uploads: u32,
    /// Connections whose answers wait for slow clients, the one that waits longest first.
    pub(crate) stalled: VecDeque<UpstreamId>,
    /// Requests that wait for a connection, the oldest first. Who leaves, leaves the queue.
    pub(crate) waiting: VecDeque<ClientId>,
    /// The same of those that wait because `uploads` is at its limit.
    pub(crate) waiting_uploads: VecDeque<ClientId>,
    pub(crate) warming: Warming,
    /// The log says already that the origin asks for no certificate although there is one for it.
    told_unasked: bool,
    /// Whether the address is left out for what requests met there.
    pub(crate) outliers: Outliers,
    pub(crate) outlier_settings: Arc<OutlierConfig>,
    /// Nothing refers to it any more: its place may be taken by another one.
    vacant: bool,
}

/// One address of an origin.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) pool: PoolIndex,
    pub(crate) state: Arc<AddressState>,
    /// Stands for the address where clients are spread over addresses.
    pub(crate) number: u64,
}

#[cfg(test)]
pub(crate) fn target(pool: u32, address: SocketAddr) -> Target {
    let table = AddressTable::of_literals(&[("app", &[address])]);
    let state = Arc::clone(&table.origins[0].addresses[0]);
    Target { pool: PoolIndex(pool), number: number_of(address), state }
}

impl Pool {
    /// Makes the next handshake a full one, which shows anew what the origin asks for.
    pub(crate) fn forget_sessions(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.worker.forget_sessions();
        }
    }

    /// Requests under way and waiting.
    pub(crate) fn requests(&self) -> usize {
        self.open as usize - self.idle.len() + self.waiting.len() + self.waiting_uploads.len()
    }

    /// Those that wait for this.
    pub(crate) fn queue(&mut self, wait: Wait) -> &mut VecDeque<ClientId> {
        match wait {
            Wait::Connection => &mut self.waiting,
            Wait::Upload => &mut self.waiting_uploads,
        }
    }

    /// Connections but for those whose answers wait for slow clients: what counts against the limit.
    pub(crate) fn counted(&self) -> usize {
        self.open as usize - self.stalled.len()
    }

    /// Whether no connection may be opened.
    pub(crate) fn is_full(&self) -> bool {
        self.counted() >= self.limits.connections as usize
    }

    /// Whether uploads have as many connections as they may have.
    pub(crate) fn uploads_are_full(&self) -> bool {
        self.uploads >= self.limits.uploads
    }

    /// Whether somebody waits who could be served.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || (!self.waiting_uploads.is_empty() && !self.uploads_are_full())
    }
}

/// Where pools are, by their keys: a table of thousands is not to be gone through for each address.
struct Places {
    by_key: HashMap<PoolKey, PoolIndex>,
    /// Those that were vacant at first.
    vacant: Vec<PoolIndex>,
}

impl Places {
    fn of(table: &[Pool]) -> Self {
        let numbered = || (0..).map(PoolIndex).zip(table);
        Self {
            by_key: numbered().map(|(index, pool)| (pool.key.clone(), index)).collect(),
            vacant: numbered().filter(|(_, pool)| pool.vacant).map(|(index, _)| index).collect(),
        }
    }
}

/// All pools of a worker.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    table: Vec<Pool>,
    /// Connections of all pools, for the cap over all origins.
    pub(crate) open_total: u32,
    /// A request waits because of that cap, whatever its own pool would allow.
    pub(crate) total_is_short: bool,
    /// Pools that may have fewer connections ready than they should.
    pub(crate) cold: Vec<PoolIndex>,
    /// Pools in which a place has become free, and whether somebody is at work on them.
    pub(crate) to_serve: Vec<PoolIndex>,
    pub(crate) are_served: bool,
}

impl Pools {
    pub(crate) fn get(&mut self, index: PoolIndex) -> &mut Pool {
        &mut self.table[index.0 as usize]
    }

    pub(crate) fn peek(&self, index: PoolIndex) -> &Pool {
        &self.table[index.0 as usize]
    }

    /// Makes sure that every address of every origin has its pool, and says which.
    ///
    /// Pools that nothing names any more serve the requests that began with them. They keep no idle connection, so that
    /// nothing lasts of an address, an identity or a trust that was replaced.
    pub(crate) fn adopt(
        &mut self,
        snapshot: &Snapshot,
        addresses: &AddressTable,
        metrics: &Arc<WorkerMetrics>,
    ) -> Vec<Vec<Target>> {
        for pool in &mut self.table {
            (pool.limits.idle_connections, pool.limits.min_idle_connections) = (0, 0);
        }
        let mut places = Places::of(&self.table);
        let mut by_origin = Vec::with_capacity(snapshot.origins.len());
        for (number, (origin, known)) in snapshot.origins.iter().zip(&addresses.origins).enumerate() {
            let limits = origin.limits.shared_by(known.addresses.len());
            let targets = known.addresses.iter().map(|state| {
                let key = PoolKey {
                    origin: Arc::clone(&origin.name),
                    address: state.address,
                    tls: origin.tls.as_ref().map(|tls| tls.key.clone()),
                    proxy_protocol: origin.proxy_protocol,
                };
                let index = self.find_or_add(&mut places, key, origin, metrics);
                let pool = self.get(index);
                pool.origin = u32::try_from(number).unwrap_or(u32::MAX);
                pool.metrics = Arc::clone(metrics);
                pool.outlier_settings = Arc::clone(&origin.outliers);
                pool.limits = limits;
                pool.vacant = false;
                self.note_cold(index);
                Target { pool: index, state: Arc::clone(state), number: number_of(state.address) }
            });
            by_origin.push(targets.collect());
        }
        by_origin
    }

    /// Pools that nothing refers to may give their places to others; `is_used` says of which that can't be seen here.
    pub(crate) fn vacate(&mut self, is_used: impl Fn(PoolIndex) -> bool) {
        for (number, pool) in (0..).zip(&mut self.table) {
            let is_empty = pool.open == 0 && pool.waiting.is_empty() && pool.waiting_uploads.is_empty();
            pool.vacant = is_empty && !is_used(PoolIndex(number));
        }
    }

    fn find_or_add(
        &mut self,
        places: &mut Places,
        key: PoolKey,
        origin: &Origin,
        metrics: &Arc<WorkerMetrics>,
    ) -> PoolIndex {
        if let Some(index) = places.by_key.get(&key) {
            return *index;
        }
        let tls = origin.tls.as_ref().map(|tls| PoolTls {
            worker: tls.settings.of_worker(),
            identity: tls.settings.identity_name.clone(),
            server_name: tls.settings.server_name.clone(),
        });
        let pool = Pool {
            key,
            tls,
            limits: origin.limits,
            metrics: Arc::clone(metrics),
            origin: 0,
            open: 0,
            idle: IdleConnections::default(),
            uploads: 0,
            stalled: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_uploads: VecDeque::new(),
            warming: Warming::default(),
            told_unasked: false,
            outliers: Outliers::default(),
            outlier_settings: Arc::clone(&origin.outliers),
            vacant: false,
        };
        let vacant = std::iter::from_fn(|| places.vacant.pop()).find(|index| self.peek(*index).vacant);
        let index = vacant.unwrap_or(PoolIndex(u32::try_from(self.table.len()).unwrap_or(u32::MAX)));
        if vacant.is_some() {
            places.by_key.remove(&self.peek(index).key);
        }
        places.by_key.insert(pool.key.clone(), index);
        match self.table.get_mut(index.0 as usize) {
            Some(place) => *place = pool,
            None => self.table.push(pool),
        }
        index
    }

    /// How often the pool's origin has asked for a certificate.
    pub(crate) fn certificate_requests(&self, index: PoolIndex) -> u64 {
        self.peek(index).tls.as_ref().map_or(0, |tls| tls.worker.certificate_requests())
    }

    /// Looks, after a full handshake, whether the origin asked for our certificate where it has to.
    pub(crate) fn expect_certificate_request<B>(&mut self, upstream: &Upstream<B>) -> Result<(), TlsFailure> {
        let pool = self.get(upstream.pool);
        let required = pool.key.tls.as_ref().is_some_and(|tls| tls.require_mtls);
        let identity = pool.tls.as_ref().and_then(|tls| tls.identity.as_deref());
        match identity {
            _ if upstream.certificate_asked => return Ok(()),
            Some(identity) if !required && !pool.told_unasked => {
                tracing::warn!(
                    origin = &*pool.key.origin,
                    address = %pool.key.address,
                    client_certificate = identity,
                    "the origin asks for no client certificate, so it is shown none and anyone may connect to it; \
                     require_mtls = true would refuse it"
                );
                pool.told_unasked = true;
                return Ok(());
            }
            _ if !required => return Ok(()),
            _ => {}
        }
        // Resumed, the session would look as one that was asked for.
        pool.forget_sessions();
        Err(TlsFailure::certificate_not_requested())
    }

    /// Remembers that the pool may have too few connections ready.
    pub(crate) fn note_cold(&mut self, index: PoolIndex) {
        if self.table[index.0 as usize].limits.min_idle_connections > 0 && self.cold.last() != Some(&index) {
            self.cold.push(index);
        }
    }

    /// Every pool with its place.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PoolIndex, &Pool)> {
        (0..).map(PoolIndex).zip(&self.table)
    }

    /// The connection that idled longest in some pool that has idle ones.
    pub(crate) fn any_idle(&self) -> Option<UpstreamId> {
        self.table.iter().find_map(|pool| pool.idle.oldest())
    }

    /// Idle connections that carry this client alone.
    pub(crate) fn carrying(&self, client: SocketAddr) -> impl Iterator<Item = UpstreamId> {
        let pools = self.table.iter().filter(|pool| pool.key.proxy_protocol.is_some());
        pools.flat_map(move |pool| pool.idle.carrying(client))
    }

    /// Pools in which requests wait.
    pub(crate) fn with_waiting(&self) -> Vec<PoolIndex> {
        let numbers = self.table.iter().enumerate().filter(|(_, pool)| pool.has_waiting());
        numbers.map(|(number, _)| PoolIndex(u32::try_from(number).unwrap_or(u32::MAX))).collect()
    }

    /// Idle connections of pools that keep none.
    pub(crate) fn unwanted_idle(&self) -> Vec<UpstreamId> {
        let pools = self.table.iter().filter(|pool| pool.limits.idle_connections == 0);
        pools.flat_map(|pool| pool.idle.iter()).collect()
    }

    /// Every idle connection, for a drain.
    pub(crate) fn all_idle(&self) -> Vec<UpstreamId> {
        self.table.iter().flat_map(|pool| pool.idle.iter()).collect()
    }
}
