//! Requests that wait for a connection, and uploads that wait for one of those that uploads may have.
//!
//! A request whose body is still coming in holds its connection for as long as its client takes. If such requests could
//! have all connections of a pool, a few slow clients would keep everybody else waiting. So they have a part of them, and
//! while none of that is free, a body is collected (up to `parked_bytes`); once it is whole, it is nobody's upload any more.

use std::time::Duration;

use super::failures::OriginFailure;
use super::pool::PoolIndex;
use super::request::{Repeated, Request, Wait};
use super::{ClientId, UpstreamId, Worker};
use crate::io::{Io, Monotonic};
use crate::telemetry::{Limit, UpstreamError};

impl<I: Io> Worker<I> {
    pub(super) fn wait_for_connection(&mut self, id: ClientId, index: PoolIndex, wait: Wait) {
        let pool = self.pools.get(index);
        let (length_max, timeout) = (pool.limits.queue as usize, pool.limits.queue_timeout);
        if pool.queue(wait).len() < length_max {
            self.join_queue(id, index, wait);
            self.set_queued(id, Some(wait));
            match wait {
                Wait::Connection => self.client_set_deadline(id, timeout),
                // For as long as its body comes in, that is what it is waited for.
                Wait::Upload => self.client_body_progress(id),
            }
        } else {
            self.metrics.limit(Limit::OriginQueue);
            let detail = "all connections are busy and the queue is full";
            self.origin_failed(id, OriginFailure::new(503, UpstreamError::QueueFull, detail));
        }
    }

    /// Puts a request behind those that wait longer. It may have waited in another queue before.
    fn join_queue(&mut self, id: ClientId, index: PoolIndex, wait: Wait) {
        let now = self.io.now();
        if let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut()) {
            request.waits_since.get_or_insert(now);
        }
        let since = |id: ClientId| self.clients.get(id)?.request.as_ref()?.waits_since;
        let own = since(id);
        let queue = self.pools.get(index).queue(wait);
        let place = queue.iter().rposition(|other| since(*other) <= own).map_or(0, |last| last + 1);
        queue.insert(place, id);
    }

    fn set_queued(&mut self, id: ClientId, queued: Option<Wait>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if let Some(request) = &mut client.request {
            request.queued = queued;
            request.upload_is_stopped = false;
        }
        if queued.is_none() {
            client.deadline.clear();
        }
    }

    /// A request waits no longer, and gives its place in the queue to others.
    pub(super) fn leave_queue(&mut self, id: ClientId) {
        let Some(request) = self.clients.get(id).and_then(|client| client.request.as_ref()) else { return };
        let Some(wait) = request.queued else { return };
        let Some(index) = request.pool else { return };
        self.pools.get(index).queue(wait).retain(|waiting| *waiting != id);
        self.set_queued(id, None);
    }

    pub(super) fn queue_timed_out(&mut self, id: ClientId) {
        self.leave_queue(id);
        self.metrics.limit(Limit::OriginQueueTimeout);
        let detail = "no connection became free within queue_timeout";
        self.origin_failed(id, OriginFailure::new(503, UpstreamError::QueueTimeout, detail));
    }

    /// How long an upload whose body isn't read any further may wait.
    pub(super) fn stopped_upload_timeout(&self, request: &Request) -> Option<Duration> {
        let stopped = request.queued == Some(Wait::Upload) && self.origin_is_behind(request);
        let pool = request.pool.filter(|_| stopped)?;
        Some(self.pools.peek(pool).limits.queue_timeout)
    }

    /// Takes the request out of its queue that waits longest, of those that may be served now.
    fn next_waiting(&mut self, index: PoolIndex) -> Option<ClientId> {
        let request = self.first_waiting(index, Wait::Connection);
        let upload = match self.pools.peek(index).uploads_are_full() {
            true => None,
            false => self.first_waiting(index, Wait::Upload),
        };
        let wait = match (request, upload) {
            (None, None) => return None,
            (Some(request), Some(upload)) if upload < request => Wait::Upload,
            (Some(_), _) => Wait::Connection,
            (None, Some(_)) => Wait::Upload,
        };
        let id = self.pools.get(index).queue(wait).pop_front()?;
        self.set_queued(id, None);
        Some(id)
    }

    /// The first in a queue that is still there, and since when it waits. Uploads that waited for any connection wait for one of
    /// those that uploads may have, as long as there is none.
    fn first_waiting(&mut self, index: PoolIndex, wait: Wait) -> Option<Option<Monotonic>> {
        loop {
            let id = *self.pools.get(index).queue(wait).front()?;
            let request = self.clients.get(id).and_then(|client| client.request.as_ref());
            let request = request.filter(|it| it.queued == Some(wait) && it.pool == Some(index));
            if let Some(request) = request
                && !(wait == Wait::Connection
                    && request.is_uploading()
                    && self.pools.peek(index).uploads_are_full())
            {
                return Some(request.waits_since);
            }
            let is_upload = request.is_some();
            self.pools.get(index).queue(wait).pop_front();
            if is_upload {
                self.set_queued(id, None);
                self.metrics.limit(Limit::OriginUploads);
                self.wait_for_connection(id, index, Wait::Upload);
            }
        }
    }

    /// Gives a connection that has become free to the request that waits longest. Says whether there was one.
    pub(super) fn hand_on(&mut self, upstream: UpstreamId, index: PoolIndex) -> bool {
        let Some(client) = self.next_waiting(index) else { return false };
        let request = self.clients.get(client).and_then(|client| client.request.as_ref());
        if request.is_some_and(|request| request.repeated != Repeated::Never) {
            // It failed on a connection that had served before: it gets this one's place for a fresh one.
            self.upstream_remove(upstream, false);
            self.acquire(client);
        } else {
            self.bind(upstream, client);
        }
        self.client_body_progress(client);
        true
    }

    /// A connection of the pool is gone, or one more upload may have one: requests that wait are served. Where the total
    /// over all origins was short, it may be one that waits for another pool.
    ///
    /// Who is served may be refused at once, for it was too slow while it waited, and gives its place back: that is noted
    /// here and worked off one after the other, as a queue may be longer than the stack is deep.
    pub(super) fn serve_waiting(&mut self, index: PoolIndex) {
        if !self.pools.to_serve.contains(&index) {
            self.pools.to_serve.push(index);
        }
        if std::mem::replace(&mut self.pools.are_served, true) {
            return;
        }
        while let Some(index) = self.pools.to_serve.pop() {
            self.serve_waiting_of(index);
            if std::mem::take(&mut self.pools.total_is_short) {
                for other in self.pools.with_waiting() {
                    self.serve_waiting_of(other);
                }
            }
        }
        self.pools.are_served = false;
    }

    /// Serves those who wait for a pool, as long as there are places.
    fn serve_waiting_of(&mut self, index: PoolIndex) {
        while self.has_place_for_waiting(index) {
            let Some(id) = self.next_waiting(index) else { return };
            self.acquire(id);
            self.client_body_progress(id);
            let request = self.clients.get(id).and_then(|client| client.request.as_ref());
            if request.is_some_and(|request| request.queued.is_some()) {
                return; // it found that there is none
            }
        }
    }

    /// Whether somebody waits for a pool who can have a connection now.
    fn has_place_for_waiting(&mut self, index: PoolIndex) -> bool {
        let total_max = self.current.snapshot.http.origin_connections_total;
        let pool = self.pools.peek(index);
        if !pool.has_waiting() {
            return false;
        }
        // Uploads may wait while there are idle connections.
        if pool.idle.len() > 0 {
            return true;
        }
        if pool.is_full() {
            return false;
        }
        self.pools.total_is_short |= self.pools.open_total >= total_max;
        self.pools.open_total < total_max
    }

    /// A request has its connection: if its body is still coming in, it has one of those for uploads.
    pub(super) fn upload_begins(&mut self, id: UpstreamId) {
        let uploads = self.is_uploading(id);
        if let Some(upstream) = self.upstreams.get_mut(id).filter(|upstream| !upstream.uploads) {
            upstream.uploads = uploads;
            self.pools.get(upstream.pool).uploads += u32::from(uploads);
        }
    }

    /// A streamed body is whole: its request holds its connection like any other from now on, or waits like any other.
    pub(super) fn upload_ends(&mut self, id: ClientId) {
        let Some(request) = self.clients.get(id).and_then(|client| client.request.as_ref()) else { return };
        if request.queued == Some(Wait::Upload) {
            self.leave_queue(id);
            self.acquire(id);
            return;
        }
        let Some(upstream) = request.upstream.and_then(|upstream| self.upstreams.get_mut(upstream)) else {
            return;
        };
        if std::mem::take(&mut upstream.uploads) {
            let index = upstream.pool;
            self.pools.get(index).uploads -= 1;
            self.serve_waiting(index);
        }
    }
}
