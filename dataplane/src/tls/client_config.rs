//! Origin name, trust and client identity together as one rustls configuration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, SignatureScheme};

use super::identity::Identity;
use super::provider;
use super::trust::{self, Trust, TrustError, Verification};

/// How many resumable sessions a worker keeps per origin. rustls keeps at most 8 tickets of one name.
const SESSIONS_PER_WORKER: usize = 8;

/// TLS towards one origin: what name it must prove, whom it is trusted by, and which identity it is shown.
///
/// rustls asks for a client certificate without saying which server wants it, so each pair of origin and
/// identity has a configuration of its own, and with it sessions of its own.
#[derive(Debug, Clone)]
pub struct OriginTls {
    /// The name sent as SNI and demanded of the origin's certificate. An IP address is demanded, but not sent.
    pub server_name: ServerName<'static>,
    /// The configured name of the client certificate, or none if the origin gets none.
    pub identity_name: Option<String>,
    /// False if the origin's certificate is accepted unseen ([`Trust::Insecure`]).
    pub verifies_origin: bool,
    /// Over all that the origin's certificate is verified against, by content: authorities, revocation lists, pins.
    pub verification_digest: [u8; 32],
    template: ClientConfig,
}

/// Why an origin's TLS configuration can't be built.
#[derive(Debug)]
pub enum TlsConfigError {
    /// The server name is neither a DNS name nor an IP address.
    BadServerName {
        /// The name as configured.
        name: String,
    },
    /// The trust store can't be used.
    Trust(TrustError),
    /// The TLS library refused the combination.
    Refused {
        /// What it said.
        reason: String,
    },
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadServerName { name } => write!(
                f,
                "server_name \"{name}\" is neither a DNS name nor an IP address; \
                 write the name that the origin's certificate carries, without a scheme or a port"
            ),
            Self::Trust(error) => error.fmt(f),
            Self::Refused { reason } => write!(f, "the TLS library refused the configuration: {reason}"),
        }
    }
}

impl std::error::Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Trust(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TrustError> for TlsConfigError {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl OriginTls {
    /// Builds the configuration: TLS 1.2 and 1.3, ALPN `http/1.1`, and `identity` shown to an origin that asks.
    ///
    /// Reads files (the bundle, or the system's roots), so it belongs to the loading of a configuration.
    ///
    /// # Errors
    /// If the name is malformed or the trust store unusable.
    pub fn build(
        server_name: &str,
        verification: impl Into<Verification>,
        identity: Option<&Identity>,
    ) -> Result<Self, TlsConfigError> {
        let verification = verification.into();
        let server_name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsConfigError::BadServerName { name: server_name.to_owned() })?;
        let verifier = trust::verifier(&verification)?;
        let builder = ClientConfig::builder_with_provider(provider::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsConfigError::Refused { reason: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(verifier.verifier);
        let mut template = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                identity.certified_key().clone(),
            ))),
        };
        template.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The template itself never connects; what would be kept here would be shared by all workers.
        template.resumption = Resumption::disabled();
        Ok(Self {
            server_name,
            identity_name: identity.map(|identity| identity.name().to_owned()),
            verifies_origin: verification.trust != Trust::Insecure,
            verification_digest: verifier.digest,
            template,
        })
    }

    /// A configuration for one worker, with a session cache that no other worker and no other identity shares.
    ///
    /// Call it once per worker and keep the result: sessions resume only within it.
    #[must_use]
    pub fn of_worker(&self) -> WorkerTls {
        let mut config = self.template.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_WORKER);
        let requests = Arc::new(AtomicU64::new(0));
        let inner = Arc::clone(&config.client_auth_cert_resolver);
        config.client_auth_cert_resolver = Arc::new(Counting { inner, requests: Arc::clone(&requests) });
        WorkerTls { config: Arc::new(config), requests }
    }

    /// The rustls configuration of [`OriginTls::of_worker`].
    #[cfg(test)]
    pub(crate) fn for_worker(&self) -> Arc<ClientConfig> {
        self.of_worker().config
    }
}

/// TLS of one worker towards one origin.
#[derive(Debug, Clone)]
pub struct WorkerTls {
    /// For its connections.
    pub config: Arc<ClientConfig>,
    requests: Arc<AtomicU64>,
}

impl WorkerTls {
    /// How often a certificate was asked for, over all connections. As they all belong to one thread, a number that has
    /// grown over a call for one of them says that its origin asked.
    #[must_use]
    pub fn certificate_requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Forgets what could be resumed.
    pub fn forget_sessions(&mut self) {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_WORKER);
        self.config = Arc::new(config);
    }
}

/// Counts the origins that ask for a certificate, and passes the question on.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ResolvesClientCert>,
    requests: Arc<AtomicU64>,
}

impl ResolvesClientCert for Counting {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}
