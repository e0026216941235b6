//! Listening sockets: bound anew, or taken over from whoever started this process.
//!
//! systemd hands sockets over when it activates the service; a running node hands its own to the process that
//! succeeds it, so that an upgrade of the binary closes no socket and loses no connection that waits in one.

mod bind;
mod inherited;

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::config::ListenerConfig;
use crate::io::ListenerId;
use crate::io::ListeningSocket;

pub use inherited::{Inherited, Readiness, SOCKETS_VARIABLE, encode};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port; port 0 is any free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The sockets of all listeners.
#[derive(Debug)]
pub struct Listeners {
    /// What each worker accepts from: a socket of each listener at least.
    pub by_worker: Vec<Vec<ListeningSocket>>,
    /// Name and address of each listener, with the port that it really has.
    pub addresses: Vec<(String, ListenAddress)>,
    /// Each socket once more under its listener's name, for a successor.
    pub kept: Vec<(String, OwnedFd)>,
}

impl Listeners {
    /// Takes what was handed over, and binds the rest.
    ///
    /// # Errors
    /// Which listener can't listen, and why.
    pub fn open(
        listeners: &[ListenerConfig],
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, String> {
        let mut open = Self {
            by_worker: (0..workers).map(|_| Vec::new()).collect(),
            addresses: Vec::new(),
            kept: Vec::new(),
        };
        for listener in listeners {
            let fail = |error: std::io::Error| {
                format!("listener `{}`: {}: {error}", listener.name, listener.address)
            };
            let taken = inherited.take(&listener.name, &listener.address);
            let sockets =
                if taken.is_empty() { bind::bind(&listener.address, workers).map_err(fail)? } else { taken };
            let address = bind::local_address(&sockets[0]).map_err(fail)?;
            let number = ListenerId(open.addresses.len() as u32);
            // Every worker gets one, and every socket a worker: where nobody accepts, connections wait for ever.
            for turn in 0..workers.max(sockets.len()) {
                let socket = sockets[turn % sockets.len()].try_clone().map_err(fail)?;
                open.by_worker[turn % workers].push(ListeningSocket { listener: number, socket });
            }
            open.kept.extend(sockets.into_iter().map(|socket| (listener.name.clone(), socket)));
            open.addresses.push((listener.name.clone(), address));
        }
        inherited.report_unused();
        Ok(open)
    }
}
