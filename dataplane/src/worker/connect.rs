//! Connections to origins are opened: connect, PROXY header, handshake.

use std::sync::Arc;
use std::time::Duration;

use super::balance::number_of;
use super::failures::OriginFailure;
use super::output::Output;
use super::pool::PoolIndex;
use super::timers::Deadline;
use super::upstream::{Download, Stage, Upstream};
use super::{ClientId, Owner, UpstreamId, Worker};
use crate::io::{Errno, Io, Monotonic};
use crate::proxy_protocol;
use crate::tls::ClientEngine;

impl<I: Io> Worker<I> {
    /// Opens a connection for a client's request, or for those to come.
    pub(super) fn upstream_open(
        &mut self,
        pool_index: PoolIndex,
        client: Option<ClientId>,
    ) -> Result<(), OriginFailure> {
        let carries = client.and_then(|client| {
            let source = self.carried_client(pool_index, client)?;
            self.carried_endpoints(source, client)
        });
        let pool = self.pools.get(pool_index);
        let address = pool.key.address;
        let timeout = pool.limits.connect_timeout;
        let socket = self.io.connect(address).map_err(OriginFailure::connect)?;
        let pool = self.pools.get(pool_index);
        pool.open += 1;
        let (metrics, origin) = (Arc::clone(&pool.metrics), pool.origin);
        self.pools.open_total += 1;
        metrics.upstream_connection_opened(origin);
        let id = self.upstreams.insert(Upstream {
            socket,
            pool: pool_index,
            metrics,
            origin,
            engine: None,
            stage: Stage::Connecting,
            client,
            uploads: false,
            carries: carries.map(Box::new),
            output: Output::default(),
            deadline: Deadline::default(),
            download: Download::Head,
            answering: false,
            served: 0,
            ready_at: Monotonic::default(),
            retires_at: Monotonic::default(),
            warmed: client.is_none(),
            certificate_asked: false,
            resumed: false,
            paused: false,
            held_back: false,
        });
        self.own(socket, Owner::Upstream(id));
        self.upstream_set_deadline(id, timeout);
        let Some(client) = client else {
            self.pools.get(pool_index).warming.under_way += 1;
            return Ok(());
        };
        if let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut()) {
            request.upstream = Some(id);
        }
        self.upload_begins(id);
        Ok(())
    }

    pub(super) fn upstream_connected(&mut self, id: UpstreamId, result: Result<(), Errno>) {
        if let Err(error) = result {
            self.upstream_failed(id, OriginFailure::connect(error));
            return;
        }
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        self.io.receive(upstream.socket);
        let pool = self.pools.peek(upstream.pool);
        let mut out = self.buffers.take();
        if let (Some(version), Some(endpoints)) = (pool.key.proxy_protocol, &upstream.carries) {
            proxy_protocol::write(version, endpoints, &mut out);
        }
        let Some(tls) = &pool.tls else {
            upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
            self.upstream_ready(id);
            return;
        };
        let started =
            ClientEngine::new(&tls.worker.config, tls.server_name.clone()).and_then(|mut engine| {
                engine.start(&mut out)?;
                Ok(engine)
            });
        match started {
            Ok(engine) => {
                upstream.engine = Some(Box::new(engine));
                upstream.stage = Stage::Handshaking;
                upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
            }
            Err(failure) => self.upstream_failed(id, failure.into()),
        }
    }

    pub(super) fn upstream_ready(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        upstream.stage = Stage::Ready;
        let now = self.io.now();
        upstream.ready_at = now;
        upstream.retires_at =
            retirement(now, self.pools.peek(upstream.pool).limits.connection_age_max, number_of((id, now.0)));
        upstream.metrics.upstream_connection_ready(upstream.origin);
        let (pool, client) = (upstream.pool, upstream.client);
        if self.pools.get(pool).outliers.connected() {
            self.address_is_back(pool);
        }
        match client {
            Some(client) => self.origin_flush(client),
            None => self.warmed(id),
        }
    }
}

/// When the age of a connection that is ready now ends it: up to a tenth before `age_max`, as `random` says, so that those that
/// were opened together aren't all made anew together.
fn retirement(now: Monotonic, age_max: Duration, random: u64) -> Monotonic {
    let sooner = age_max / 10_240 * (random % 1024) as u32;
    now.after(age_max.saturating_sub(sooner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_retire_at_their_age_or_up_to_a_tenth_before() {
        let (now, age) = (Monotonic(1_000_000_000), Duration::from_secs(3600));
        let ages: Vec<Duration> =
            (0..2048).map(|random| retirement(now, age, number_of(random)).since(now)).collect();
        assert!(ages.iter().all(|one| (age * 9 / 10..=age).contains(one)), "{ages:?}");
        let early = ages.iter().filter(|one| **one < age * 95 / 100).count();
        assert!((700..1350).contains(&early), "{early} of 2048");
        assert_eq!(retirement(now, Duration::MAX, 77), Monotonic(u64::MAX), "no age is never");
    }
}
