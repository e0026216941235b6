//! Connections whose answers wait for clients that are slow to take them.
//!
//! Such a connection is of no use to others for as long as its client likes. If it counted against `connections`, a few
//! hundred slow readers of something large would keep everybody else waiting. So it doesn't, within a limit of its own;
//! beyond that, the client that has kept its connection waiting longest is cut off.

use super::{UpstreamId, Worker};
use crate::io::Io;
use crate::telemetry::Limit;

impl<I: Io> Worker<I> {
    /// An answer waits for its client from now on: its connection's place goes to a request that waits.
    pub(super) fn stall_begins(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        let index = upstream.pool;
        let pool = self.pools.get(index);
        pool.stalled.push_back(id);
        let excess = pool.stalled.len() > pool.limits.stalled as usize;
        let longest = pool.stalled.front().copied().filter(|_| excess);
        if let Some(client) = longest.and_then(|longest| self.upstreams.get(longest)?.client) {
            self.metrics.limit(Limit::OriginStalled);
            self.client_close(client, true);
        }
        self.serve_waiting(index);
    }
}
