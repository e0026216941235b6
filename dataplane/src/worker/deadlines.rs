//! What clients may take their time for, and what happens when the time is over.

use std::time::Duration;

use super::answers::HEAD_TIMEOUT;
use super::client::Phase;
use super::request::{Answer, Sink, Wait};
use super::{ClientId, Life, TimerKey, Worker, until};
use crate::io::Io;
use crate::telemetry::Limit;

/// How long a stop waits for the first request of a connection.
const FIRST_HEAD_TIMEOUT_AT_STOP: Duration = Duration::from_secs(1);

impl<I: Io> Worker<I> {
    pub(super) fn client_set_deadline(&mut self, id: ClientId, span: Duration) {
        let at = until(self.io.now(), span);
        if let Some(client) = self.clients.get_mut(id) {
            self.timers.set(&mut client.deadline, TimerKey::Client(id), at);
        }
    }

    /// Something of the body came in: the time-out for the next part starts anew.
    pub(super) fn client_body_progress(&mut self, id: ClientId) {
        let now = self.io.now();
        let Some(client) = self.clients.get(id) else { return };
        let Some(request) = &client.request else { return };
        if request.queued == Some(Wait::Connection) {
            return; // its place in the queue has a time-out of its own, and that runs
        }
        if request.paced.is_some() {
            return; // nothing of it is read before its turn comes
        }
        if request.is_discarding() {
            return; // nobody wants the rest: it has lingering_timeout in all, however it comes
        }
        let Some(limits) = request.limits().filter(|_| request.is_uploading()) else {
            self.client_refresh_send_deadline(id);
            return;
        };
        let elapsed = request.body_clock.elapsed(now);
        let stopped = self.stopped_upload_timeout(request);
        let at = until(now, stopped.unwrap_or(limits.body_timeout));
        let too_slow = elapsed > limits.body_rate_grace
            && limits.body_rate_min_bytes.is_some_and(|rate| {
                u128::from(request.body_bytes) * 1000 < u128::from(rate) * elapsed.as_millis()
            });
        let Some(client) = self.clients.get_mut(id) else { return };
        let taken = !client.paused && stopped.is_none();
        let Some(request) = &mut client.request else { return };
        let unanswered = request.answer == Answer::None;
        let was_stopped = std::mem::replace(&mut request.upload_is_stopped, stopped.is_some());
        // Bytes that aren't taken don't prolong the wait for a connection.
        if stopped.is_none() || !was_stopped {
            self.timers.set(&mut client.deadline, TimerKey::Client(id), at);
        }
        if too_slow && taken && unanswered {
            self.metrics.limit(Limit::BodyRate);
            self.client_refuse_with(id, 408, "body_rate_min_bytes");
        }
    }

    /// While an answer is on its way, the client must keep taking it.
    pub(super) fn client_refresh_send_deadline(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let of_request = client.request.as_ref().and_then(|request| request.limits());
        let span = match (of_request, &client.tunnel) {
            (Some(limits), _) => limits.send_timeout,
            (None, Some(tunnel)) => tunnel.send_timeout,
            (None, None) => self.current.snapshot.connection(client.listener).send_timeout,
        };
        if client.request.as_ref().is_some_and(|request| request.is_uploading() || request.queued.is_some()) {
            return; // the body's time-out runs, or that of the queue
        }
        if client.output.is_empty() {
            client.deadline.clear();
        } else {
            self.client_set_deadline(id, span);
        }
    }

    /// The first request's head is due from here on, so that an idle connection isn't kept for longer than a slow one. Once
    /// the worker stops, it has to come at once.
    pub(super) fn client_awaits_first_head(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let head_timeout = self.current.snapshot.connection(client.listener).head_timeout;
        let span = match self.life {
            Life::Draining => head_timeout.min(FIRST_HEAD_TIMEOUT_AT_STOP),
            _ => head_timeout,
        };
        self.client_set_deadline(id, span);
    }

    /// Between two requests. A client that hasn't taken its answer yet isn't idle, but may not be slow for ever.
    pub(super) fn client_idles(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let settings = self.current.snapshot.connection(client.listener);
        let span = if client.output.is_empty() { settings.keep_alive_timeout } else { settings.send_timeout };
        self.client_set_deadline(id, span);
    }

    pub(super) fn client_timed_out(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.phase {
            Phase::Idle if !client.output.is_empty() => {
                self.metrics.limit(Limit::SendTimeout);
                self.client_close(id, true);
            }
            Phase::Idle => {
                let limit = if client.served == 0 { Limit::HeadTimeout } else { Limit::KeepAliveTimeout };
                self.metrics.limit(limit);
                self.client_close(id, false);
            }
            Phase::Head => {
                self.client_refuse(id, &HEAD_TIMEOUT);
            }
            Phase::Active => self.client_active_timed_out(id),
            Phase::Lingering { .. } => {
                self.metrics.limit(Limit::LingeringTimeout);
                self.client_close(id, false);
            }
            Phase::Flushing { .. } | Phase::Tunnel => {
                self.metrics.limit(Limit::SendTimeout);
                self.client_close(id, true);
            }
        }
    }

    fn client_active_timed_out(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let Some(request) = &client.request else { return };
        if request.queued == Some(Wait::Connection) || self.stopped_upload_timeout(request).is_some() {
            self.queue_timed_out(id);
        } else if !client.output.is_empty() && request.answer != Answer::None {
            self.metrics.limit(Limit::SendTimeout);
            self.client_close(id, true);
        } else if !request.is_uploading() {
            // The origin's time-outs run.
        } else if request.is_discarding() {
            self.metrics.limit(Limit::LingeringTimeout);
            self.client_close(id, false);
        } else if request.sink == Sink::Stream && self.origin_is_behind(request) {
            // It isn't the client that is slow.
            self.client_body_progress(id);
        } else {
            self.metrics.limit(Limit::BodyTimeout);
            self.client_refuse_with(id, 408, "body_timeout");
        }
    }
}
