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

    /// Mends the alert at the end of `sent` by which rustls tells the peer of `error`, where it is the wrong one.
    fn mend_alert(_error: &Error, _sent: &mut [u8]) {}
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

    /// `certificate_required` exists in TLS 1.3 alone (RFC 8446 section 6.2), where it is encrypted. In TLS 1.2 a missing
    /// certificate is a `handshake_failure` (RFC 5246 section 7.4.6), which goes out in the clear.
    fn mend_alert(error: &Error, sent: &mut [u8]) {
        const CERTIFICATE_REQUIRED: u8 = 116;
        const HANDSHAKE_FAILURE: u8 = 40;
        if *error == Error::NoCertificatesPresented
            && let [.., 21, 3, 3, 0, 2, 2, description @ CERTIFICATE_REQUIRED] = sent
        {
            *description = HANDSHAKE_FAILURE;
        }
    }
}
