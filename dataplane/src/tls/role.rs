//! The two roles of a TLS connection, as far as the record engine tells them apart.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls::{Error, HandshakeKind};

use super::failure::TlsFailure;

/// A connection of rustls' unbuffered API. Its two kinds have the same functions and no trait for them.
pub trait Role {
    /// What rustls keeps for this role.
    type Data;

    /// Works through received records.
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether the handshake still goes on.
    fn is_handshaking(&self) -> bool;

    /// Whether a session was resumed, once that is known.
    fn handshake_kind(&self) -> Option<HandshakeKind>;

    /// Whether something waits to be sent.
    fn wants_write(&self) -> bool;

    /// What a failure means in this role.
    fn failure(error: Error) -> TlsFailure;
}

impl Role for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_handshaking(&self) -> bool {
        (**self).is_handshaking()
    }

    fn handshake_kind(&self) -> Option<HandshakeKind> {
        (**self).handshake_kind()
    }

    fn wants_write(&self) -> bool {
        (**self).wants_write()
    }

    fn failure(error: Error) -> TlsFailure {
        TlsFailure::of_origin(&error)
    }
}

impl Role for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_handshaking(&self) -> bool {
        (**self).is_handshaking()
    }

    fn handshake_kind(&self) -> Option<HandshakeKind> {
        (**self).handshake_kind()
    }

    fn wants_write(&self) -> bool {
        (**self).wants_write()
    }

    fn failure(error: Error) -> TlsFailure {
        TlsFailure::of_client(&error)
    }
}
