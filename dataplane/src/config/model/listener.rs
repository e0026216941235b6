//! Listeners.

use std::path::PathBuf;
use std::time::Duration;

use super::Place;
use crate::config::limits::ListenerLimits;
use crate::listen::ListenAddress;

/// `[[listener]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where it is written.
    pub place: Place,
    /// Name, unique among listeners.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// Every connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// `[listener.limits]`.
    pub limits: ListenerLimits,
    /// Absent for plain HTTP.
    pub tls: Option<ListenerTlsConfig>,
}

/// `[listener.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTlsConfig {
    /// Where it is written.
    pub place: Place,
    /// The certificates to choose from; the first one answers unknown names.
    pub certificates: Vec<ListenerCertificateConfig>,
    /// The oldest version spoken.
    pub minimum_version: TlsVersion,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// What clients' certificates are verified against; there if they are asked.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of those authorities.
    pub client_crl: Option<PathBuf>,
    /// How often the keys of session tickets change; none where there are no tickets.
    pub ticket_rotation: Option<Duration>,
}

/// `[[listener.tls.certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerCertificateConfig {
    /// Where it is written.
    pub place: Place,
    /// The certificate and its intermediates.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// Whether a listener asks its clients for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// No.
    #[default]
    None,
    /// Yes, and it serves those without one.
    Request,
    /// Yes, or there is no connection.
    Require,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}
