//! Origins that refuse our certificate behind the handshake, as nginx does: that succeeds whatever is shown, and then the first
//! answer is a 400 that names the reason, or the connection is closed without a word (`return 444`). The client gets what
//! came; the operator is told what it means, or may mean.

use super::failures::OriginFailure;
use super::{ClientId, UpstreamId, Worker};
use crate::io::Io;
use crate::telemetry::{HandshakeResult, UpstreamError};

/// Part of both texts of nginx: "No required SSL certificate was sent" and "The SSL certificate error".
const NGINX_SAYS: &[u8] = b"SSL certificate";
/// Where in the body it stands, at the latest.
const LOOKED_AT_BYTES: usize = 1024;

impl<I: Io> Worker<I> {
    /// Looks whether an answer whose head was just read is such a refusal. `body` is what came of it so far.
    pub(super) fn note_refused_certificate(&mut self, id: UpstreamId, client_id: ClientId, body: &[u8]) {
        let Some(upstream) = self.upstreams.get(id).filter(|upstream| upstream.engine.is_some()) else {
            return;
        };
        let Some(request) = self.clients.get(client_id).and_then(|client| client.request.as_ref()) else {
            return;
        };
        let first_and_last = upstream.served == 0 && !request.response.keep_alive();
        if request.response.status() != 400 || !first_and_last {
            return;
        }
        let body = &body[..body.len().min(LOOKED_AT_BYTES)];
        if !body.windows(NGINX_SAYS.len()).any(|window| window == NGINX_SAYS) {
            return;
        }
        let pool = self.pools.get(upstream.pool);
        pool.forget_sessions();
        let identity = pool.tls.as_ref().and_then(|tls| tls.identity.as_deref());
        // What it resumed began in the same way.
        let detail = match (upstream.certificate_asked || upstream.resumed, identity) {
            (true, Some(name)) => format!(
                "the origin asked for a client certificate, was shown `{name}`, and answered 400 because of it: check that \
                 it trusts the certificate's issuer"
            ),
            (true, None) => {
                "the origin asked for a client certificate, got none, and answered 400 because of that: set \
                             client_certificate for this origin"
                    .to_owned()
            }
            (false, _) => {
                "the origin answered 400 because of the client certificate, for which it did not ask in this \
                           handshake: check its ssl_verify_client"
                    .to_owned()
            }
        };
        upstream.metrics.handshake(upstream.origin, HandshakeResult::CertificateRefused);
        let code = HandshakeResult::CertificateRefused.as_str();
        let failure = OriginFailure { status: 400, error: UpstreamError::Tls, code, detail };
        self.record_origin_failure(client_id, &failure);
    }

    /// Says of a connection that was closed before an answer began what the origin may have meant by that. Where that may
    /// have been a certificate, nothing is resumed: an origin doesn't ask again then, and the next failure couldn't be told.
    pub(super) fn explain_early_close(&mut self, id: UpstreamId, failure: OriginFailure) -> OriginFailure {
        let Some(upstream) = self.upstreams.get(id) else { return failure };
        // One that nobody had asked for may have been closed for having idled.
        let first = upstream.served == 0 && upstream.client.is_some() && !upstream.warmed;
        let pool = self.pools.get(upstream.pool);
        if first && (upstream.certificate_asked || upstream.resumed) {
            pool.forget_sessions();
        }
        let identity = pool.tls.as_ref().and_then(|tls| tls.identity.as_deref());
        let shown = match identity {
            _ if !first => return failure,
            Some(name) if upstream.certificate_asked => format!("was shown `{name}`"),
            // It knows the certificate from the session's beginning.
            Some(name) if upstream.resumed => format!("resumed a session of `{name}`"),
            None if upstream.certificate_asked => "got none".to_owned(),
            _ => return failure,
        };
        upstream.metrics.handshake(upstream.origin, HandshakeResult::ClosedAfterCertificate);
        let code = HandshakeResult::ClosedAfterCertificate.as_str();
        let detail = format!(
            "{}, right after the first request of a connection on which it asked for a client certificate and {shown}: it may \
             have refused that (nginx: return 444), or may have ended; its log says which",
            failure.detail
        );
        OriginFailure { code, detail, ..failure }
    }
}
