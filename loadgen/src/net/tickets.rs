//! Tickets of TLS 1.3 for many connections to one server.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use rustls::{
    NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
    },
};
use rustls_pki_types::ServerName;

/// The most tickets that are kept for one server; more push out the oldest.
const MOST_TICKETS: usize = 16_384;
/// How many servers are remembered for other things than tickets.
const MOST_SERVERS: usize = 1_024;

/// rustls's own store keeps 8 tickets for each server. A ticket is good for one connection, so of more connections that are
/// made at once the rest would not be resumed.
#[derive(Debug)]
pub(super) struct TicketStore {
    tickets: Mutex<HashMap<ServerName<'static>, VecDeque<Tls13ClientSessionValue>>>,
    rest: ClientSessionMemoryCache,
}

impl TicketStore {
    pub(super) fn new() -> Self {
        Self { tickets: Mutex::default(), rest: ClientSessionMemoryCache::new(MOST_SERVERS) }
    }
}

impl ClientSessionStore for TicketStore {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.rest.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.rest.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.rest.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.rest.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.rest.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut all = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let tickets = all.entry(server_name).or_default();
        if tickets.len() == MOST_TICKETS {
            tickets.pop_front();
        }
        tickets.push_back(value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut all = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(server_name)?.pop_back()
    }
}
