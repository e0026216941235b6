//! What lies between a client's socket and HTTP: a PROXY header where one is due, and TLS where the listener speaks it.

use std::ops::Range;
use std::sync::Arc;

use super::client::Phase;
use super::{ClientId, Worker};
use crate::http::CertificateFacts;
use crate::io::{Io, ReceiveBuffer, ReceiveEnd};
use crate::proxy_protocol::{self, Parsed};
use crate::snapshot::ListenerSettings;
use crate::telemetry::HandshakeResult;
use crate::tls::listener::{ClientCertificate, ListenerTls};
use crate::tls::{ServerEngine, TlsFailure};

/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE_RECORD: u8 = 22;

/// What lies between the socket and HTTP. Nothing, on a plain listener.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    /// What came of a PROXY header so far; absent once it was read, and where none is due.
    proxy_header: Option<Vec<u8>>,
    secure: Option<Box<Secure>>,
}

/// TLS of a client connection.
#[derive(Debug)]
struct Secure {
    engine: ServerEngine,
    settings: Arc<ListenerTls>,
    /// Nothing came in yet.
    silent: bool,
    certificate: Option<Box<ClientCertificate>>,
}

impl Transport {
    /// For a new connection to a listener.
    ///
    /// # Errors
    /// If TLS can't begin.
    pub(crate) fn new(listener: &ListenerSettings) -> Result<Self, TlsFailure> {
        let secure = match &listener.tls {
            None => None,
            Some(settings) => Some(Box::new(Secure {
                engine: ServerEngine::accept(&settings.config)?,
                settings: Arc::clone(settings),
                silent: true,
                certificate: None,
            })),
        };
        Ok(Self { proxy_header: listener.proxy_protocol.then(Vec::new), secure })
    }

    /// Whether HTTP lies on the socket itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.secure.is_none() && self.proxy_header.is_none()
    }

    /// `https` under TLS, else `http`.
    pub(crate) fn scheme(&self) -> &'static [u8] {
        if self.secure.is_some() { b"https" } else { b"http" }
    }

    /// What the listener found out about the client's certificate, if it asks for one.
    pub(crate) fn certificate(&self) -> Option<CertificateFacts<'_>> {
        let secure = self.secure.as_ref().filter(|secure| secure.settings.asks_for_certificate())?;
        let facts = match &secure.certificate {
            Some(certificate) => CertificateFacts {
                verification: certificate.verification.as_bytes(),
                subject: certificate.subject.as_bytes(),
                fingerprint: certificate.fingerprint.as_bytes(),
            },
            None => CertificateFacts { verification: b"NONE", subject: b"", fingerprint: b"" },
        };
        Some(facts)
    }
}

/// Whether a failure of TLS is one of its handshake. In TLS 1.3 a certificate may be refused after it.
pub(super) fn is_of_handshake(handshaking: bool, failure: &TlsFailure) -> bool {
    handshaking || !matches!(failure.code, "peer_alert" | "protocol" | "internal")
}

impl<I: Io> Worker<I> {
    /// Takes off what lies around HTTP, and goes on with what is inside.
    pub(super) fn client_unwrap(&mut self, id: ClientId, received: &mut [u8]) {
        let Some(used) = self.client_proxy_header(id, received) else { return };
        let rest = &mut received[used..];
        if rest.is_empty() {
            return;
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(secure) = &mut client.transport.secure else { return self.client_data(id, rest) };
        if std::mem::take(&mut secure.silent) && rest[0] != TLS_HANDSHAKE_RECORD {
            return self.client_not_tls(id);
        }
        let mut plaintext = std::mem::take(&mut self.plaintext);
        plaintext.clear();
        let mut out = self.buffers.take();
        let handshaking = secure.engine.is_handshaking();
        let result = secure.engine.ingest(rest, &mut plaintext, &mut out);
        self.metrics.bytes(0, out.len() as u64);
        client.output.push(&mut self.io, &mut self.buffers, client.socket, out, None);
        match result {
            Ok(ingested) => {
                if ingested.handshake_finished_now {
                    let presented = secure.settings.client_certificate(secure.engine.peer_certificates());
                    if let Err(failure) = secure.settings.admits(presented.as_ref()) {
                        self.client_tls_failed(id, &failure, handshaking);
                        self.plaintext = plaintext;
                        return;
                    }
                    secure.certificate = presented.map(Box::new);
                    let kind =
                        if ingested.resumed { HandshakeResult::Resumed } else { HandshakeResult::Full };
                    self.metrics.client_handshake(kind);
                }
                if !plaintext.is_empty() {
                    self.client_data(id, &plaintext);
                }
                if ingested.peer_closed {
                    self.client_receive_ended(id, ReceiveEnd::Finished);
                }
            }
            Err(failure) => {
                // What came before the failure counts, once the client was let in.
                if !handshaking && !plaintext.is_empty() {
                    self.client_data(id, &plaintext);
                }
                self.client_tls_failed(id, &failure, handshaking);
            }
        }
        self.plaintext = plaintext;
    }

    /// Reads the PROXY header that the connection begins with. Says how many bytes of `received` it took, or nothing if
    /// the rest of it is awaited or the connection is gone.
    fn client_proxy_header(&mut self, id: ClientId, received: &[u8]) -> Option<usize> {
        let client = self.clients.get_mut(id)?;
        let Some(header) = &mut client.transport.proxy_header else { return Some(0) };
        let before = header.len();
        header.extend_from_slice(&received[..received.len().min(proxy_protocol::HEADER_BYTES_MAX - before)]);
        match proxy_protocol::parse(header) {
            Ok(Parsed::Incomplete) => None,
            Ok(Parsed::Complete { consumed, endpoints }) => {
                client.transport.proxy_header = None;
                if let Some(endpoints) = endpoints {
                    client.peer = endpoints.source;
                    client.passed_on_to = Some(Box::new(endpoints.destination));
                    let (listener, peer) = (client.listener, client.peer);
                    let Ok(counted) = self.count_address(listener, peer) else {
                        self.client_close(id, true);
                        return None;
                    };
                    if let Some(client) = self.clients.get_mut(id) {
                        client.counted = counted;
                    }
                }
                Some(consumed - before)
            }
            Err(error) => {
                tracing::debug!(peer = %client.peer, detail = error.detail, "no PROXY header");
                self.metrics.protocol_error(0, "bad_proxy_header");
                self.client_close(id, true);
                None
            }
        }
    }

    /// Somebody speaks HTTP to a TLS port: they are told so, in what they understand.
    fn client_not_tls(&mut self, id: ClientId) {
        self.metrics.client_handshake(HandshakeResult::Protocol);
        self.metrics.protocol_error(400, "plain_http_to_tls");
        let mut request = self.take_request();
        request.id = self.request_ids.next();
        let Some(client) = self.clients.get_mut(id) else { return };
        client.transport.secure = None;
        client.phase = Phase::Head;
        client.request = Some(request);
        self.client_refuse_with(id, 400, "plain_http_to_tls");
    }

    fn client_tls_failed(&mut self, id: ClientId, failure: &TlsFailure, handshaking: bool) {
        if is_of_handshake(handshaking, failure) {
            self.metrics.client_handshake(HandshakeResult::from_failure_code(failure.code));
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        tracing::debug!(
            peer = %client.peer,
            reason = failure.code,
            detail = failure.detail.as_str(),
            "TLS with a client failed"
        );
        if matches!(client.phase, Phase::Active | Phase::Tunnel) || client.output.is_empty() {
            self.client_close(id, true);
            return;
        }
        // The alert says more than a closed connection does.
        self.client_flushes(id, true);
    }

    /// Puts around an answer what the connection asks for: TLS records, or nothing.
    #[allow(clippy::type_complexity)]
    pub(super) fn client_wrap(
        &mut self,
        id: ClientId,
        head: Vec<u8>,
        body: Option<(I::Buffer, Range<usize>)>,
    ) -> Option<(Vec<u8>, Option<(I::Buffer, Range<usize>)>)> {
        let client = self.clients.get_mut(id)?;
        let Some(secure) = &mut client.transport.secure else { return Some((head, body)) };
        let mut sealed = self.buffers.take();
        let result = match &body {
            Some((buffer, range)) => {
                let part = buffer.bytes().get(range.clone()).unwrap_or_default();
                secure.engine.seal(&[&head, part], &mut sealed)
            }
            None => secure.engine.seal(&[&head], &mut sealed),
        };
        self.buffers.put(head);
        match result {
            Ok(()) => Some((sealed, None)),
            Err(failure) => {
                self.client_tls_failed(id, &failure, false);
                None
            }
        }
    }

    /// Says in TLS that no more comes, after all that was queued.
    pub(super) fn client_close_notify(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(secure) = &mut client.transport.secure else { return };
        if secure.engine.is_handshaking() {
            return;
        }
        let mut out = self.buffers.take();
        secure.engine.close_notify(&mut out);
        self.metrics.bytes(0, out.len() as u64);
        client.output.push(&mut self.io, &mut self.buffers, client.socket, out, None);
    }
}
