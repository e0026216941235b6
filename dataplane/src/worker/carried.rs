//! Connections to origins that are told whose they are, by a PROXY protocol header at their beginning.
//!
//! Such a connection carries the requests of one client and no other's, so it is looked for by the client's address and
//! port, and closed with the client's own connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::pool::PoolIndex;
use super::{ClientId, UpstreamId, Worker};
use crate::io::Io;
use crate::proxy_protocol::Endpoints;

impl<I: Io> Worker<I> {
    /// Whose requests a connection of the pool may carry, if it's not anyone's: those of this client.
    pub(super) fn carried_client(&self, index: PoolIndex, id: ClientId) -> Option<SocketAddr> {
        self.pools.peek(index).key.proxy_protocol?;
        let client = self.clients.get(id)?;
        let peer = canonical(client.peer);
        // Of a client behind proxies that it came through nothing but the address is known.
        let named = client.request.as_ref().and_then(|request| request.client_ip).map(|ip| ip.to_canonical());
        Some(match named {
            Some(address) if address != peer.ip() => SocketAddr::new(address, 0),
            _ => peer,
        })
    }

    /// Both ends of the client's connection, as the origin is told them.
    pub(super) fn carried_endpoints(&mut self, source: SocketAddr, id: ClientId) -> Option<Endpoints> {
        let client = self.clients.get(id)?;
        let destination = match &client.passed_on_to {
            Some(destination) => Some(**destination),
            None => self.io.local_address(client.socket),
        };
        // A Unix socket has no such address.
        let nowhere: IpAddr = match source.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Some(Endpoints { source, destination: destination.map_or(SocketAddr::new(nowhere, 0), canonical) })
    }

    /// A client's connection has ended: nobody will ever use those that carried it.
    pub(super) fn discard_carried(&mut self, client: SocketAddr) {
        let client = canonical(client);
        // Without a port it isn't this connection alone that they carry.
        if client.port() == 0 {
            return;
        }
        let unused: Vec<UpstreamId> = self.pools.carrying(client).collect();
        for id in unused {
            self.upstream_discard(id);
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
