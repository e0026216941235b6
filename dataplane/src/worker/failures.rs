//! What the failure of a connection to an origin means: for its request, which may be tried elsewhere, and for its address,
//! which may be left out for a while.

use std::sync::Arc;
use std::time::Duration;

use super::outliers;
use super::pool::{PoolIndex, PoolKey};
use super::request::{Answer, Repeated};
use super::upstream::{Download, Stage};
use super::{ClientId, UpstreamId, Worker};
use crate::config::OutlierConfig;
use crate::io::{Errno, Io};
use crate::telemetry::{EjectionReason, UpstreamError};
use crate::tls::TlsFailure;

/// Why an origin could not serve a request.
#[derive(Clone, Debug)]
pub(crate) struct OriginFailure {
    pub(crate) status: u16,
    /// Its kind, for the metric.
    pub(crate) error: UpstreamError,
    /// Stable and short, for the event and the answer: the kind, or what TLS says about it.
    pub(crate) code: &'static str,
    /// For the log.
    pub(crate) detail: String,
}

impl OriginFailure {
    pub(crate) fn new(status: u16, error: UpstreamError, detail: impl Into<String>) -> Self {
        Self { status, error, code: error.as_str(), detail: detail.into() }
    }

    /// A connection that could not be made.
    pub(super) fn connect(error: Errno) -> Self {
        let kind = match error.0 {
            libc::ECONNREFUSED => UpstreamError::ConnectRefused,
            _ => UpstreamError::ConnectFailed,
        };
        Self::new(502, kind, error.to_string())
    }

    /// Logs it with what it leads to at an address, and for how long.
    #[cold]
    pub(super) fn tell(&self, at: &PoolKey, time: Duration, what_follows: &str) {
        tracing::warn!(
            origin = &*at.origin,
            address = %at.address,
            reason = self.code,
            detail = self.detail.as_str(),
            seconds = time.as_secs_f64(),
            "{what_follows}"
        );
    }
}

impl From<TlsFailure> for OriginFailure {
    fn from(failure: TlsFailure) -> Self {
        Self { status: 502, error: UpstreamError::Tls, code: failure.code, detail: failure.detail }
    }
}

impl<I: Io> Worker<I> {
    /// A connection failed: its request is tried elsewhere where that is safe, or answered with the reason.
    pub(super) fn upstream_failed(&mut self, id: UpstreamId, failure: OriginFailure) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        if let (Download::Tunnel, Some(client)) = (&upstream.download, upstream.client) {
            upstream.metrics.upstream_error(upstream.origin, failure.error);
            self.client_close(client, true);
            return;
        }
        let (pool, stage, answering) = (upstream.pool, upstream.stage, upstream.answering);
        let (metrics, origin) = (Arc::clone(&upstream.metrics), upstream.origin);
        let (in_head, held_back) = (matches!(upstream.download, Download::Head), upstream.held_back);
        let (served, idled) = (upstream.served, upstream.served > 0 || upstream.warmed);
        // A time-out says that the origin has the request and is slow; only a closed connection says that it
        // may never have looked at it.
        let closed_early = failure.error == UpstreamError::Reset && !answering;
        let closed_in_head = failure.error == UpstreamError::Truncated && in_head;
        let failure = match closed_early {
            true => self.explain_early_close(id, failure),
            false => failure,
        };
        let client = self.upstream_remove(id, false);
        metrics.upstream_error(origin, failure.error);
        if client.is_none() && served == 0 {
            if stage != Stage::Ready {
                self.address_failed(pool, EjectionReason::Connect, &failure);
            }
            self.warming_failed(pool, &failure);
        }
        if let Some(client) = client
            && let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut())
        {
            request.upstream = None;
            // Interim answers (1xx) may have gone on to the client, which takes any number of them.
            let may_repeat = (closed_early || closed_in_head)
                && request.repeated != Repeated::Elsewhere
                && request.is_repeatable();
            if request.answer == Answer::Relaying {
                let status = request.status;
                self.record_origin_failure(client, &failure);
                // One that was held back for a slow client may have been given up because of that.
                if !held_back {
                    self.body_failed(pool, status, &failure);
                }
                self.relay_truncated(client);
            } else if stage != Stage::Ready {
                self.address_failed(pool, EjectionReason::Connect, &failure);
                self.try_next_address(client, failure);
            } else {
                // The origin may have closed a connection that it took for idle while the request was on its way: that
                // says nothing about the address.
                let stale = closed_early && may_repeat && idled;
                if let Some(reason) = EjectionReason::of(failure.error).filter(|_| !stale) {
                    self.address_failed(pool, reason, &failure);
                }
                self.repeat_or_fail(client, may_repeat, stale, failure);
            }
        }
        self.serve_waiting(pool);
    }

    /// A connection broke that had a request, before the client got anything of the final answer: it is sent again on a fresh
    /// one where that is safe. Another address is the better choice, as this one may be about to go, and that is tried once.
    /// But if the connection may just have been stale, a client that belongs to the address, or that has no other, is served
    /// there first.
    fn repeat_or_fail(&mut self, client: ClientId, may_repeat: bool, stale: bool, failure: OriginFailure) {
        let choice = self.choice_for(client).filter(|_| may_repeat);
        let elsewhere = choice.filter(|choice| choice.has_more() && !(stale && choice.is_sticky()));
        let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut()) else {
            return;
        };
        let pool = request.pool;
        request.response.clear();
        request.response_bytes.clear();
        match (elsewhere, pool) {
            (Some(choice), _) => {
                request.repeated = Repeated::Elsewhere;
                self.move_to_other_address(client, &choice);
            }
            (None, Some(pool)) if stale => {
                request.repeated = Repeated::There;
                self.count_retry(pool);
            }
            _ => return self.origin_failed(client, failure),
        }
        self.forward(client);
    }

    /// Something failed at an address: after too much of that it is left out for a while.
    pub(super) fn address_failed(
        &mut self,
        index: PoolIndex,
        reason: EjectionReason,
        failure: &OriginFailure,
    ) {
        let pool = self.pools.get(index);
        let settings = Arc::clone(&pool.outlier_settings);
        if !pool.outliers.failed(reason, &settings) {
            return;
        }
        if reason != EjectionReason::Connect && !self.may_eject(index, &settings) {
            return;
        }
        let now = self.io.now();
        let pool = self.pools.get(index);
        let time = pool.outliers.eject(reason, &settings, now);
        pool.metrics.ejection(pool.origin, reason);
        failure.tell(&pool.key, time, "an address of an origin failed; its others are preferred for a while");
    }

    /// Whether one more address of a pool's origin may be left out for failed requests.
    fn may_eject(&self, index: PoolIndex, settings: &OutlierConfig) -> bool {
        let targets = self.current.targets.borrow();
        let Some(targets) = targets.get(self.pools.peek(index).origin as usize) else { return false };
        if !targets.iter().any(|target| target.pool == index) {
            return false; // no origin has it any more
        }
        let others = targets.iter().filter(|target| target.pool != index);
        let ejected = others.filter(|target| self.pools.peek(target.pool).outliers.is_ejected()).count();
        outliers::has_room(settings, ejected, targets.len())
    }

    /// A request is tried again at an address.
    pub(super) fn count_retry(&self, index: PoolIndex) {
        let pool = self.pools.peek(index);
        pool.metrics.retry(pool.origin);
    }

    /// An address has shown that it works again.
    pub(super) fn address_is_back(&self, index: PoolIndex) {
        let key = &self.pools.peek(index).key;
        tracing::info!(origin = &*key.origin, address = %key.address, "an address of an origin works again");
    }

    /// An answer's head came from an address: it may count as a failure, too.
    pub(super) fn address_answering(&mut self, index: PoolIndex, status: u16) {
        let pool = self.pools.get(index);
        if !outliers::is_failure(&pool.outlier_settings, status) {
            pool.outliers.answering();
            return;
        }
        let failure = OriginFailure {
            status,
            error: UpstreamError::BadResponse,
            code: "status",
            detail: status.to_string(),
        };
        self.address_failed(index, EjectionReason::Status, &failure);
    }

    /// An answer came to its end, as it should.
    #[inline]
    pub(super) fn address_answered(&mut self, index: PoolIndex, status: u16) {
        let pool = self.pools.get(index);
        if !outliers::is_failure(&pool.outlier_settings, status) && pool.outliers.answered() {
            self.address_is_back(index);
        }
    }

    /// An answer failed behind its head. One whose status is a failure was counted for that.
    fn body_failed(&mut self, index: PoolIndex, status: u16, failure: &OriginFailure) {
        if let Some(reason) = EjectionReason::of_body(failure.error)
            && !outliers::is_failure(&self.pools.peek(index).outlier_settings, status)
        {
            self.address_failed(index, reason, failure);
        }
    }
}
