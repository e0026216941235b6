//! Accepting: as many connections at a time as there are, with a pause after a failure.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket};

use super::connections::Connecting;
use super::{PortableBuffer, PortableIo};
use crate::io::system::{ACCEPT_PAUSE, peer_address};
use crate::io::{Event, ListenerId, ListeningSocket, Monotonic};

/// The token of the wake; those of listeners count down from it, those of connections up from 0.
pub(super) const WAKE: Token = Token(usize::MAX);

/// Most connections that a listener takes in at one wait.
const ACCEPT_BATCH: usize = 128;

/// A listening socket.
pub(super) struct Listener {
    id: ListenerId,
    /// Gone once accepting was stopped.
    socket: Option<Socket>,
    /// Connections may be there.
    pub(super) ready: bool,
    /// When to accept again after a failure.
    resume_at: Option<Monotonic>,
}

impl Listener {
    pub(super) fn new(
        number: usize,
        listening: ListeningSocket,
        registry: &Registry,
    ) -> std::io::Result<Self> {
        let socket = Socket::from(listening.socket);
        socket.set_nonblocking(true)?;
        if socket.domain()? != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        let token = Token(WAKE.0 - 1 - number);
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { id: listening.listener, socket: Some(socket), ready: true, resume_at: None })
    }

    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }
}

/// The listener that a token is of.
pub(super) fn of_token(listeners: &mut [Listener], token: Token) -> Option<&mut Listener> {
    listeners.get_mut(WAKE.0.checked_sub(1)?.checked_sub(token.0)?)
}

impl PortableIo {
    /// Ends the pauses that are over, and returns when the next one ends.
    pub(super) fn resume_accepting(&mut self) -> Option<Monotonic> {
        let mut next = None;
        for listener in &mut self.listeners {
            match listener.resume_at {
                Some(at) if at <= self.now => {
                    listener.resume_at = None;
                    listener.ready = true;
                }
                Some(at) => next = Some(next.map_or(at, |next: Monotonic| next.min(at))),
                None => {}
            }
        }
        // More are there than one wait takes in.
        if self.listeners.iter().any(|listener| listener.ready && listener.is_open()) {
            next = Some(self.now);
        }
        next
    }

    /// Takes in the connections that are there; when accepting is to stop, once more and for the last time.
    pub(super) fn accept(&mut self, events: &mut Vec<Event<PortableBuffer>>) {
        for number in 0..self.listeners.len() {
            let mut left = if self.stopping { usize::MAX } else { ACCEPT_BATCH };
            while left > 0
                && (self.listeners[number].ready || self.stopping)
                && self.accept_one(number, events)
            {
                left -= 1;
            }
            let listener = &mut self.listeners[number];
            if self.stopping
                && let Some(socket) = listener.socket.take()
            {
                // It only fails where nothing is registered.
                let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
                listener.resume_at = None;
            }
        }
    }

    /// Takes in a connection. Gives whether to go on.
    fn accept_one(&mut self, number: usize, events: &mut Vec<Event<PortableBuffer>>) -> bool {
        let listener = &mut self.listeners[number];
        let Some(socket) = &listener.socket else { return false };
        let (socket, peer) = match socket.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                listener.ready = false;
                return false;
            }
            Err(error) => {
                self.counters.accept_failures += 1;
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) {
                    return true;
                }
                listener.ready = false;
                listener.resume_at = Some(self.now.after(ACCEPT_PAUSE));
                return false;
            }
        };
        let listener = listener.id;
        let admitted = peer_address(&peer)
            .filter(|_| socket.set_nonblocking(true).is_ok())
            .and_then(|peer| Some((self.adopt(socket, Connecting::Done).ok()?, peer)));
        match admitted {
            Some((socket, peer)) => events.push(Event::Accepted { listener, socket, peer }),
            None => self.counters.accept_failures += 1,
        }
        true
    }
}
