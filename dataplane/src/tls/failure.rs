//! Why TLS failed: a stable code for metrics and events, and a sentence for the log.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error};

/// A TLS connection that failed, typed by a code out of a closed list.
///
/// Towards an origin:
///
/// | code | meaning |
/// | --- | --- |
/// | `certificate_refused` | the origin refused our client certificate, or the lack of one |
/// | `certificate_not_requested` | the origin asked for no client certificate, and mutual TLS is required |
/// | `untrusted_certificate` | the origin's certificate isn't signed by a trusted issuer |
/// | `wrong_name` | the origin's certificate is for another name |
/// | `expired_certificate` | the origin's certificate has expired |
/// | `not_yet_valid_certificate` | the origin's certificate begins later than now |
/// | `revoked` | the origin's certificate is revoked |
/// | `revocation_unknown` | no revocation list covers the origin's certificate, or the one that does is out of date |
/// | `wrong_key` | the origin's certificate has none of the pinned keys |
/// | `bad_certificate` | the origin's certificate is malformed, for another purpose, or missing |
/// | `name_refused` | the origin doesn't serve the name that we asked for |
/// | `incompatible` | no version, cipher suite, group or protocol in common |
/// | `handshake_refused` | the origin ended the handshake with an alert that doesn't say why |
/// | `peer_alert` | the origin ended the connection with another alert |
/// | `protocol` | the origin sent bytes that are not TLS as it should be |
/// | `internal` | the node itself failed |
///
/// Towards a client the same codes have the sides exchanged: `certificate_refused` is a client that refused the
/// listener's certificate, `untrusted_certificate`, `expired_certificate` and the like are about the certificate that
/// the client presented, and `certificate_missing` is a client that presented none where one is required.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFailure {
    /// The code, one of [`TlsFailure::CODES`].
    pub code: &'static str,
    /// What happened and what to look at, for the log. Holds no secret; names and times of the origin's
    /// certificate may occur.
    pub detail: String,
}

impl TlsFailure {
    /// Every code that [`TlsFailure::code`] can have, so that a table of counters can be laid out at start.
    pub const CODES: [&'static str; 17] = [
        "certificate_refused",
        "certificate_not_requested",
        "untrusted_certificate",
        "wrong_name",
        "expired_certificate",
        "not_yet_valid_certificate",
        "revoked",
        "revocation_unknown",
        "wrong_key",
        "bad_certificate",
        "certificate_missing",
        "name_refused",
        "incompatible",
        "handshake_refused",
        "peer_alert",
        "protocol",
        "internal",
    ];

    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(Self::CODES.contains(&code), "code {code} is missing from the list");
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for TlsFailure {}

impl TlsFailure {
    /// An origin that must ask for our certificate and didn't.
    pub(crate) fn certificate_not_requested() -> Self {
        Self::new(
            "certificate_not_requested",
            "the origin asked for no client certificate, so anyone may connect to it: have it demand one, or leave \
             require_mtls out",
        )
    }

    /// What an error means on a connection towards an origin.
    pub(super) fn of_origin(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => from_alert(*alert),
            Error::InvalidCertificate(reason) => from_certificate(reason, error),
            Error::NoCertificatesPresented => {
                Self::new("bad_certificate", "the origin presented no certificate")
            }
            _ => Self::of_peer(error, "origin", "is this its TLS port?"),
        }
    }

    /// What an error means on a connection of a client to a listener.
    pub(super) fn of_client(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => from_client_alert(*alert),
            Error::InvalidCertificate(reason) => {
                let (code, _) = certificate_problem(reason);
                Self::new(code, format!("the client's certificate was refused ({error})"))
            }
            Error::NoCertificatesPresented => Self::new(
                "certificate_missing",
                "the client presented no certificate, and the listener requires one",
            ),
            // What the resolver says where no certificate fits the name.
            Error::General(_) => Self::new("name_refused", format!("no certificate for the client: {error}")),
            _ => Self::of_peer(error, "client", "does it speak plain HTTP to a TLS port?"),
        }
    }

    /// What means the same on both sides.
    fn of_peer(error: &Error, peer: &str, hint: &str) -> Self {
        match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
                Self::new("incompatible", format!("nothing in common with the {peer}: {error}"))
            }
            Error::InvalidMessage(_) => {
                Self::new("protocol", format!("the {peer} sent bytes that are not TLS, {hint} ({error})"))
            }
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord
            | Error::DecryptError => {
                Self::new("protocol", format!("the {peer} broke the TLS protocol: {error}"))
            }
            _ => Self::new("internal", format!("the node's TLS failed: {error}")),
        }
    }
}

/// An alert of a client. What it says of a certificate is about the listener's.
fn from_client_alert(alert: AlertDescription) -> TlsFailure {
    use AlertDescription as A;
    let code = match alert {
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => "certificate_refused",
        A::ProtocolVersion | A::InsufficientSecurity | A::NoApplicationProtocol => "incompatible",
        A::HandshakeFailure => "handshake_refused",
        _ => "peer_alert",
    };
    TlsFailure::new(code, format!("the client ended the connection ({alert:?})"))
}

/// An alert of the origin. What it says of a certificate is about ours: origins have no other to judge.
fn from_alert(alert: AlertDescription) -> TlsFailure {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired | A::NoCertificate => TlsFailure::new(
            "certificate_refused",
            format!(
                "the origin demands a client certificate and got none ({alert:?}): \
                 set client_certificate for this origin"
            ),
        ),
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => TlsFailure::new(
            "certificate_refused",
            format!(
                "the origin refused our client certificate ({alert:?}): \
                 check that the origin trusts its issuer and that it is the one the origin expects"
            ),
        ),
        A::UnrecognisedName => TlsFailure::new(
            "name_refused",
            format!("the origin doesn't serve the name asked for ({alert:?}): check server_name"),
        ),
        A::ProtocolVersion | A::InsufficientSecurity | A::NoApplicationProtocol => TlsFailure::new(
            "incompatible",
            format!("the origin found nothing in common with us ({alert:?}): it must offer TLS 1.2 or 1.3"),
        ),
        A::HandshakeFailure => TlsFailure::new(
            "handshake_refused",
            format!(
                "the origin refused the handshake ({alert:?}): no common parameters, or, in TLS 1.2, \
                 a client certificate that it demands is missing"
            ),
        ),
        _ => TlsFailure::new("peer_alert", format!("the origin ended the connection ({alert:?})")),
    }
}

/// What is wrong with the certificate that the origin presented.
fn from_certificate(reason: &CertificateError, error: &Error) -> TlsFailure {
    let (code, hint) = certificate_problem(reason);
    TlsFailure::new(code, format!("the origin's certificate was refused, {hint} ({error})"))
}

/// The code for what is wrong with a certificate, and what an operator of the origin can do about it.
fn certificate_problem(reason: &CertificateError) -> (&'static str, &'static str) {
    use CertificateError as C;
    match reason {
        C::UnknownIssuer => {
            ("untrusted_certificate", "its issuer is not in the trust configured for this origin")
        }
        C::BadSignature => (
            "untrusted_certificate",
            "it isn't signed by the authority that it names, or not shown by the owner of its key",
        ),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            ("wrong_name", "it is for another name, check server_name")
        }
        C::Expired | C::ExpiredContext { .. } => {
            ("expired_certificate", "it has expired, renew it at the origin")
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            ("not_yet_valid_certificate", "it begins later than now, check both clocks")
        }
        C::Revoked => ("revoked", "it is revoked"),
        C::UnknownRevocationStatus | C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. } => (
            "revocation_unknown",
            "no revocation list that is up to date covers its whole chain, renew the lists",
        ),
        C::ApplicationVerificationFailure => ("wrong_key", "its public key is none of pinned_keys"),
        _ => ("bad_certificate", "it can't be used"),
    }
}
