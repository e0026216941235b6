//! Connections that are opened before anyone asks: each pool keeps so many ready, handshake included, as its origin's
//! `min_idle_connections` says, and opens others for those that are taken or close.
//!
//! An origin that can't be reached, or closes what nobody has used yet, is tried again after a pause that doubles.

use std::time::Duration;

use super::failures::OriginFailure;
use super::pool::PoolIndex;
use super::timers::Deadline;
use super::{Life, TimerKey, UpstreamId, Worker};
use crate::io::{Io, Monotonic};
use crate::telemetry::UpstreamError;

/// Connections of one pool that are being made ready at a time, so that a start isn't a burst of handshakes.
const WARMING_MAX: u32 = 8;
/// The pause after a first failure, and where a cap leaves no room. It doubles with each further failure.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A connection that was ready for so long was sound, although its origin closed it unused.
const SOUND_AFTER: Duration = Duration::from_secs(5);

/// What a pool knows of its connections that nobody asked for.
#[derive(Debug, Default)]
pub(crate) struct Warming {
    /// Those that aren't ready yet.
    pub(crate) under_way: u32,
    /// Failures in a row.
    failures: u32,
    not_before: Monotonic,
    pub(crate) deadline: Deadline,
}

impl Warming {
    /// A request was answered: the origin is there.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = Monotonic::default();
    }
}

impl<I: Io> Worker<I> {
    /// Opens connections in the pools that have too few ready.
    pub(super) fn warm_cold_pools(&mut self) {
        while let Some(index) = self.pools.cold.pop() {
            self.warm(index);
        }
    }

    /// Opens as many connections as the pool lacks, as far as its caps and failures allow.
    pub(super) fn warm(&mut self, index: PoolIndex) {
        let total_max = self.current.snapshot.http.origin_connections_total;
        let now = self.io.now();
        while self.life == Life::Serving {
            let total_is_short = self.pools.total_is_short || self.pools.open_total >= total_max;
            let pool = self.pools.get(index);
            let ready = pool.idle.len() + pool.warming.under_way as usize;
            if ready >= pool.limits.min_idle_connections as usize || pool.warming.under_way >= WARMING_MAX {
                return;
            }
            let no_room = total_is_short || pool.is_full();
            let again_at = if no_room { now.after(PAUSE) } else { pool.warming.not_before };
            if again_at > now {
                self.timers.set(&mut pool.warming.deadline, TimerKey::Pool(index), again_at);
                return;
            }
            if let Err(failure) = self.upstream_open(index, None) {
                self.warming_failed(index, &failure);
            }
        }
    }

    /// A connection that nobody asked for is ready.
    pub(super) fn warmed(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        let index = upstream.pool;
        let pool = self.pools.get(index);
        pool.warming.under_way -= 1;
        upstream.metrics.upstream_connection_warmed(upstream.origin);
        self.pools.note_cold(index);
        self.upstream_release(id);
    }

    /// An idle connection has ended on the origin's side.
    pub(super) fn idle_ended(&mut self, id: UpstreamId, detail: &str) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        let (index, ready_at) = (upstream.pool, upstream.ready_at);
        let unused = upstream.served == 0;
        self.upstream_discard(id);
        if unused && self.io.now().since(ready_at) < SOUND_AFTER {
            self.warming_failed(index, &OriginFailure::new(502, UpstreamError::Reset, detail));
        }
    }

    /// A connection that nobody asked for could not be had, or was of no use: the next one has to wait.
    pub(super) fn warming_failed(&mut self, index: PoolIndex, failure: &OriginFailure) {
        let now = self.io.now();
        let pool = self.pools.get(index);
        if pool.warming.not_before > now {
            return; // of those that were under way together one counts
        }
        let pause = PAUSE.saturating_mul(1 << pool.warming.failures.min(6)).min(PAUSE_MAX);
        pool.warming.failures += 1;
        // Workers whose connections failed at one time don't try again at one time.
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        pool.warming.not_before = now.after(pause + Duration::from_nanos(now.0 % (nanos / 4)));
        let what_follows = "a connection that was to be kept ready failed; the next is tried after a while";
        failure.tell(&pool.key, pause, what_follows);
        self.pools.note_cold(index);
    }
}
