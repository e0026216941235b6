//! What must hold of a worker after every turn, and once nothing can happen any more.

use std::sync::Arc;

use super::super::Life;
use super::super::client::Client as WorkerClient;
use super::super::input::UNREAD_BYTES_MAX;
use super::super::pool::Pool;
use super::super::upstream::{Download, Stage, Upstream};
use super::world::World;
use crate::io::sim::SimBuffer;
use crate::telemetry::{Family, WorkerMetrics};

impl World {
    /// What holds after every turn.
    pub(super) fn check(&self) {
        let worker = &self.worker;
        let http = &worker.current.snapshot.http;
        let handed_over: usize = worker.clients.values().map(|client| client.output.handed_over()).sum();
        assert_eq!(worker.handed_over, handed_over, "buffers handed over");
        // A wait brings two buffers of a socket at most, and a pause may come too late for one more. What is cut small
        // gets frames of its own.
        let held_max = worker.current.snapshot.detection.body_limit_bytes;
        let late_max = 3 * self.weather.options.buffer_bytes;
        let slack = late_max + 1024;
        for client in worker.clients.values() {
            let parked = client.output.pending_bytes();
            assert!(
                parked <= http.connection.parked_bytes + slack,
                "{parked} bytes are parked for {}",
                client.peer
            );
            let unread = client.unread.len();
            assert!(unread < UNREAD_BYTES_MAX + late_max, "{unread} bytes of {} unread", client.peer);
            if let Some(request) = &client.request {
                let bytes = request.to_origin.len();
                // What was held is here at once.
                assert!(
                    bytes <= http.connection.parked_bytes + held_max + 1024,
                    "{bytes} bytes wait for an origin"
                );
            }
        }
        let requests = || worker.clients.values().filter_map(|client| client.request.as_ref());
        let kept: usize = requests().map(|request| request.kept_bytes).sum();
        assert_eq!(worker.body_bytes, kept, "bytes of bodies that are kept");
        assert!(kept <= http.body_bytes_per_worker + self.weather.options.buffer_bytes, "{kept} bytes kept");
        self.check_pools();
    }

    fn check_pools(&self) {
        let worker = &self.worker;
        let is_tunnel = |upstream: &Upstream<SimBuffer>| matches!(upstream.download, Download::Tunnel);
        let pooled = || worker.upstreams.iter().filter(|(_, upstream)| !is_tunnel(upstream));
        let open = pooled().count();
        assert_eq!(worker.pools.open_total as usize, open, "open connections in all");
        let opening =
            |client: &&WorkerClient<SimBuffer>| client.request.as_ref().is_some_and(|it| it.websocket);
        let opening = worker.clients.values().filter(opening).count();
        let tunnels = worker.clients.values().filter_map(|client| client.tunnel.as_ref());
        for tunnel in tunnels.clone() {
            assert!(worker.upstreams.get(tunnel.upstream).is_some_and(is_tunnel), "half a tunnel");
        }
        assert_eq!(worker.upstreams.len() - open, tunnels.clone().count(), "tunnels");
        assert_eq!(worker.tunnels, opening + tunnels.count(), "the count of tunnels");
        assert!(worker.tunnels <= worker.current.snapshot.http.tunnels_per_worker);
        let cap = worker.current.snapshot.http.origin_connections_total;
        assert!(worker.pools.open_total <= cap, "{} open of {cap}", worker.pools.open_total);
        for (index, pool) in worker.pools.iter() {
            let of_pool = || pooled().filter(|(_, upstream)| upstream.pool == index);
            assert_eq!(pool.open as usize, of_pool().count(), "open connections of {}", pool.key.address);
            // Those whose clients were slow and are so no longer count again, and go when they have served.
            let open_max = pool.limits.connections.saturating_add(pool.limits.stalled);
            assert!(pool.open <= open_max, "{} open to {}", pool.open, pool.key.address);
            let stalled = |id| pool.stalled.iter().filter(|stalled| **stalled == id).count();
            for (id, upstream) in of_pool() {
                assert_eq!(stalled(id), usize::from(upstream.paused), "{id:?} is paused or not");
            }
            let paused = of_pool().filter(|(_, upstream)| upstream.paused).count();
            assert_eq!(pool.stalled.len(), paused, "only such are stalled of {}", pool.key.address);
            assert!(pool.stalled.len() <= pool.limits.stalled as usize, "stalled of {}", pool.key.address);
            assert!(pool.waiting.len() <= pool.limits.queue as usize, "the queue of {}", pool.key.address);
            let warming = of_pool().filter(|(_, it)| it.client.is_none() && it.stage != Stage::Ready).count();
            assert_eq!(pool.warming.under_way as usize, warming, "on their way to {}", pool.key.address);
            assert!(
                pool.waiting_uploads.len() <= pool.limits.queue as usize,
                "uploads of {}",
                pool.key.address
            );
            let uploads = of_pool().filter(|(_, upstream)| upstream.uploads).count();
            assert_eq!(pool.uploads as usize, uploads, "uploads to {}", pool.key.address);
            assert!(pool.uploads <= pool.limits.uploads, "{uploads} uploads to {}", pool.key.address);
            for (id, upstream) in of_pool() {
                let idle = pool.idle.iter().any(|idle| idle == id);
                match upstream.client {
                    None => {
                        assert!(
                            idle || upstream.stage != Stage::Ready,
                            "{id:?} serves nobody and does not idle"
                        );
                    }
                    Some(client) => {
                        let request = worker.clients.get(client).and_then(|it| it.request.as_ref());
                        let back = request.and_then(|request| request.upstream);
                        assert!(!idle && back == Some(id), "{id:?} serves {client:?}, which has {back:?}");
                    }
                }
            }
        }
    }

    /// What holds once nothing can happen any more: nothing is left.
    pub(super) fn at_rest(&self) {
        let stopped = self.worker.life == Life::Stopped;
        let left: Vec<_> = self.worker.clients.values().collect();
        assert!(stopped || left.is_empty(), "clients are left, and no timer will end them: {left:?}");
        if stopped && !left.is_empty() {
            return; // it was told to leave them
        }
        for client in &self.clients {
            assert!(client.over || !client.is_waiting(), "a client waits for ever");
        }
        assert_eq!(self.worker.upstreams.len(), 0, "origin connections are left");
        assert_eq!(self.network.open_sockets(), 0, "sockets are left");
        assert_eq!(self.network.buffers_left(), self.weather.options.buffer_count, "buffers are missing");
        assert_eq!((self.worker.handed_over, self.worker.body_bytes, self.worker.tunnels), (0, 0, 0));
        let waits = |pool: &Pool| pool.waiting.len() + pool.waiting_uploads.len();
        let waiting: usize = self.worker.pools.iter().map(|(_, pool)| waits(pool)).sum();
        assert_eq!(waiting, 0, "requests wait in queues");
        self.check_gauges();
    }

    /// Gauges are back at zero; what one generation began another may have ended.
    fn check_gauges(&self) {
        let mut metrics: Vec<&Arc<WorkerMetrics>> = self.metrics.iter().collect();
        metrics.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let mut total = 0_u64;
        for metrics in metrics {
            metrics.visit_labelled(&mut |family, _, value| {
                if family == Family::UpstreamConnections {
                    total = total.wrapping_add(value);
                }
            });
        }
        assert_eq!(total, 0, "the gauge of origin connections");
        assert_eq!(self.registry.snapshot().total(Family::Connections), 0, "the gauge of connections");
    }
}
