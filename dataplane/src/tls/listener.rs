//! TLS towards clients: the certificates of a listener, the choice among them, and what clients must present.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::certificate_file::CertificateFileError;
use super::client_verifier::RequestedCertificate;
use super::failure::TlsFailure;
use super::identity::{self, IdentityError};
use super::provider;
use super::tickets::{BoundTickets, TicketKeys};
use super::trust;
use crate::text::hex;

/// Tickets that a client gets after a full TLS 1.3 handshake: one to use, and one for a connection at the same time.
const TICKETS: usize = 2;

/// A certificate of a listener: absolute paths of its PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate; its intermediates follow it.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub private_key: PathBuf,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// They aren't asked.
    None,
    /// They are asked. Whoever has none, or one that can't be verified, is served; rules and origins are told.
    Request(PathBuf),
    /// Without a certificate of an authority in this bundle there is no connection.
    Require(PathBuf),
}

/// The oldest version that a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinimumVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// What a listener's TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTlsFiles {
    /// The certificates; at least one. The first one answers names that none of them carries, and clients that
    /// name none.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients are asked for a certificate.
    pub client_authentication: ClientAuthentication,
    /// Revocation lists (PEM) that clients' certificates are checked against.
    pub client_crls: Vec<PathBuf>,
    /// The oldest version spoken.
    pub minimum_version: MinimumVersion,
}

/// Why a listener's TLS can't be set up. Each names its file.
#[derive(Debug)]
pub enum ListenerTlsError {
    /// A certificate or its key.
    Certificate(IdentityError),
    /// The bundle of the clients' authorities.
    ClientAuthorities(CertificateFileError),
    /// A file with revocation lists.
    RevocationList {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refused the combination.
    Refused {
        /// What it said.
        reason: String,
    },
}

impl fmt::Display for ListenerTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => error.fmt(f),
            Self::ClientAuthorities(error) => write!(f, "client_ca: {error}"),
            Self::RevocationList { file, reason } => write!(f, "client_crl: {}: {reason}", file.display()),
            Self::Refused { reason } => write!(f, "the TLS library refused the configuration: {reason}"),
        }
    }
}

impl std::error::Error for ListenerTlsError {}

/// A certificate of a listener, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerCertificate {
    /// Its file.
    pub file: PathBuf,
    /// The DNS names that it is for, in lower case.
    pub names: Vec<String>,
    /// The last second of its validity, Unix time.
    pub not_after: i64,
}

/// What is known of the certificate that a client presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject, such as `CN=device-7, O=Example`; bytes that aren't printable ASCII as `\` and two hexadecimal digits.
    pub subject: String,
    /// SHA-256 over its DER, in lower-case hexadecimal.
    pub fingerprint: String,
    /// `SUCCESS`, or `FAILED:` and one of [`TlsFailure::CODES`].
    pub verification: String,
    /// Why it can't be verified.
    pub problem: Option<TlsFailure>,
}

/// TLS of one listener, shared by all workers.
#[derive(Clone)]
pub struct ListenerTls {
    /// What connections are made from.
    pub config: Arc<ServerConfig>,
    /// Its certificates, for reports and warnings.
    pub certificates: Vec<ListenerCertificate>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    requires_certificate: bool,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// Loads and checks the files. Without `tickets` no session resumes.
    ///
    /// A certificate that has expired is no error: refusing to start would take the rest down with it. The caller warns.
    ///
    /// # Errors
    /// Every problem that was found, at least one.
    pub fn load(
        files: &ListenerTlsFiles,
        tickets: Option<&TicketKeys>,
    ) -> Result<Self, Vec<ListenerTlsError>> {
        let mut problems = Vec::new();
        let mut chosen = CertificateChoice::default();
        let mut certificates = Vec::new();
        for pair in &files.certificates {
            match load_certificate(pair) {
                Ok((key, certificate)) => {
                    chosen.add(key, &certificate.names);
                    certificates.push(certificate);
                }
                Err(errors) => problems.extend(errors.into_iter().map(ListenerTlsError::Certificate)),
            }
        }
        let verifier = match client_verifier(files) {
            Ok(verifier) => verifier,
            Err(error) => {
                problems.push(error);
                None
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let config =
            server_config(files, Arc::new(chosen), verifier.clone(), tickets).map_err(|error| vec![error])?;
        let requires_certificate = matches!(files.client_authentication, ClientAuthentication::Require(_));
        Ok(Self { config: Arc::new(config), certificates, verifier, requires_certificate })
    }

    /// Whether clients are asked for a certificate.
    pub fn asks_for_certificate(&self) -> bool {
        self.verifier.is_some()
    }

    /// What is known of a client by the certificates that it presented; nothing if it presented none.
    pub fn client_certificate(
        &self,
        presented: Option<&[CertificateDer<'static>]>,
    ) -> Option<ClientCertificate> {
        let (leaf, intermediates) = presented?.split_first()?;
        let verifier = self.verifier.as_ref()?;
        let subject = X509Certificate::from_der(leaf).map_or_else(
            |_| String::new(),
            |(_, certificate)| bounded(printable(&certificate.subject().to_string())),
        );
        let problem = verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).err();
        let problem = problem.map(|error| TlsFailure::of_client(&error));
        Some(ClientCertificate {
            subject,
            fingerprint: hex(&Sha256::digest(leaf)),
            verification: match &problem {
                None => "SUCCESS".to_owned(),
                Some(failure) => format!("FAILED:{}", failure.code),
            },
            problem,
        })
    }

    /// Whether a connection whose handshake is over may go on. A full handshake has seen to it; but a session may be
    /// resumed after its certificate has expired.
    ///
    /// # Errors
    /// What is wrong with the client's certificate, where one is required.
    pub fn admits(&self, certificate: Option<&ClientCertificate>) -> Result<(), TlsFailure> {
        match certificate {
            _ if !self.requires_certificate => Ok(()),
            Some(ClientCertificate { problem: None, .. }) => Ok(()),
            Some(ClientCertificate { problem: Some(failure), .. }) => Err(failure.clone()),
            None => Err(TlsFailure::of_client(&rustls::Error::NoCertificatesPresented)),
        }
    }
}

/// Bytes of a subject that are kept and sent on. Who has nothing to prove may write any number of them into a certificate.
const SUBJECT_BYTES_MAX: usize = 1024;

/// Cuts what is too long, and shows that it is cut.
fn bounded(mut subject: String) -> String {
    if subject.len() > SUBJECT_BYTES_MAX {
        subject.truncate(SUBJECT_BYTES_MAX - 3);
        subject.push_str("...");
        subject.shrink_to_fit();
    }
    subject
}

/// A text that fits into a header field, whatever a certificate's owner wrote into it.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' => printable.push(char::from(byte)),
            _ => {
                // Writing to a string can't fail.
                let _ = write!(printable, "\\{byte:02x}");
            }
        }
    }
    printable
}

fn server_config(
    files: &ListenerTlsFiles,
    certificates: Arc<CertificateChoice>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    tickets: Option<&TicketKeys>,
) -> Result<ServerConfig, ListenerTlsError> {
    let versions: &[&SupportedProtocolVersion] = match files.minimum_version {
        MinimumVersion::Tls12 => &[&TLS13, &TLS12],
        MinimumVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(versions)
        .map_err(|error| ListenerTlsError::Refused { reason: error.to_string() })?;
    let builder = match (&files.client_authentication, verifier) {
        (ClientAuthentication::Request(_), Some(verifier)) => {
            builder.with_client_cert_verifier(Arc::new(RequestedCertificate::new(verifier)))
        }
        (_, Some(verifier)) => builder.with_client_cert_verifier(verifier),
        (_, None) => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    config.send_tls13_tickets = 0;
    if let Some(keys) = tickets {
        config.ticketer = Arc::new(BoundTickets::new(keys, files));
        config.send_tls13_tickets = TICKETS;
    }
    // Tickets hold all that is needed, so that sessions resume on every worker and cost no memory here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The verifier of the authorities that clients' certificates must come from.
fn client_verifier(
    files: &ListenerTlsFiles,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ListenerTlsError> {
    let (ClientAuthentication::Request(bundle) | ClientAuthentication::Require(bundle)) =
        &files.client_authentication
    else {
        return Ok(None);
    };
    let roots = Arc::new(trust::bundle_roots(bundle).map_err(ListenerTlsError::ClientAuthorities)?);
    let mut lists: Vec<CertificateRevocationListDer<'static>> = Vec::new();
    for file in &files.client_crls {
        lists.extend(
            trust::revocation_lists(file, &roots)
                .map_err(|reason| ListenerTlsError::RevocationList { file: file.clone(), reason })?,
        );
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider::provider())
        .with_crls(lists)
        .build()
        .map_err(|error| ListenerTlsError::Refused { reason: error.to_string() })?;
    Ok(Some(verifier))
}

/// Reads a certificate with its key and finds the names that it is for.
fn load_certificate(
    files: &CertificateFiles,
) -> Result<(Arc<CertifiedKey>, ListenerCertificate), Vec<IdentityError>> {
    let loaded = identity::load_pair(&files.certificate, &files.private_key)?;
    let leaf = loaded.chain.first().map(|der| X509Certificate::from_der(der));
    let (names, not_after) = match &leaf {
        Some(Ok((_, leaf))) => (dns_names(leaf), leaf.validity().not_after.timestamp()),
        _ => (Vec::new(), 0),
    };
    let certificate = ListenerCertificate { file: files.certificate.clone(), names, not_after };
    let key = CertifiedKey::new(loaded.chain.clone(), loaded.signing_key);
    Ok((Arc::new(key), certificate))
}

/// The DNS names of a certificate, in lower case.
fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// The certificates of a listener by the names that they carry (RFC 9525 section 6.3: a wildcard stands for one label).
#[derive(Debug, Default)]
struct CertificateChoice {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl CertificateChoice {
    fn add(&mut self, key: Arc<CertifiedKey>, names: &[String]) {
        for name in names {
            let (table, name) = match name.strip_prefix("*.") {
                Some(rest) => (&mut self.wildcard, rest),
                None => (&mut self.exact, name.as_str()),
            };
            table.entry(name.to_owned()).or_default().push(Arc::clone(&key));
        }
        self.all.push(key);
    }

    /// All certificates that carry `name`, the most specific ones first, or all if none does.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.all };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(found) = self.exact.get(&name) {
            return found;
        }
        let parent = name.split_once('.').map(|(_, parent)| parent);
        parent.and_then(|parent| self.wildcard.get(parent)).unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(usable).or_else(|| candidates.first()).cloned()
    }
}
