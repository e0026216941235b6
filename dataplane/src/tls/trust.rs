//! Whose certificates the node accepts from an origin.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertRevocationListError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::pem::SectionKind;
use sha2::{Digest, Sha256};

use super::certificate_file::{self, CertificateFileError};
use super::client_config::TlsConfigError;
use super::pem::{self, Certificates};
use super::pinned::PinnedKeys;
use super::provider;

/// Variables of the environment that name the system's authorities: a file, and folders. OpenSSL has them too.
const ROOTS_FILE_VARIABLE: &str = "SSL_CERT_FILE";
const ROOTS_FOLDERS_VARIABLE: &str = "SSL_CERT_DIR";

/// Whose certificates are accepted from an origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The authorities that the operating system trusts.
    SystemRoots,
    /// The authorities in a PEM file.
    Bundle(PathBuf),
    /// Every certificate, whatever its name or issuer: the origin is not authenticated at all.
    Insecure,
}

/// All that an origin's certificate is verified by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Who must have issued it.
    pub trust: Trust,
    /// A PEM file with revocation lists: every certificate of the chain must be covered by one, and on none. Not looked at
    /// under [`Trust::Insecure`].
    pub revocation_lists: Option<PathBuf>,
    /// SHA-256 over the public keys (SubjectPublicKeyInfo) one of which it must have; empty is any. The key is proved to be
    /// the origin's under [`Trust::Insecure`] too.
    pub pinned_keys: Vec<[u8; 32]>,
}

impl From<&Trust> for Verification {
    fn from(trust: &Trust) -> Self {
        Self { trust: trust.clone(), revocation_lists: None, pinned_keys: Vec::new() }
    }
}

/// Why a trust store can't be used.
#[derive(Debug)]
pub enum TrustError {
    /// The bundle.
    Bundle(CertificateFileError),
    /// The revocation lists can't be used.
    RevocationLists {
        /// Their file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operating system has no trusted authority that could be read.
    NoSystemRoots {
        /// What the system said.
        reason: String,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(error) => write!(f, "ca: {error}"),
            Self::RevocationLists { file, reason } => write!(f, "crl: {}: {reason}", file.display()),
            Self::NoSystemRoots { reason } => write!(
                f,
                "the operating system has no trusted authorities: {reason}; \
                 install its CA certificates or name a CA bundle for the origin"
            ),
        }
    }
}

impl std::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bundle(error) => error.source(),
            _ => None,
        }
    }
}

/// A verifier of server certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    /// Of what it verifies against, as it was read: another content is another digest, whatever the files are called.
    pub(super) digest: [u8; 32],
}

/// Makes the verifier of server certificates that `verification` asks for.
pub(super) fn verifier(verification: &Verification) -> Result<Verifier, TlsConfigError> {
    let mut hash = Sha256::new();
    let roots = match &verification.trust {
        Trust::SystemRoots => Some(system_roots()?),
        Trust::Bundle(file) => Some(bundle_roots(file).map_err(TrustError::Bundle)?),
        Trust::Insecure => None,
    };
    let mut verifier: Arc<dyn ServerCertVerifier> = match roots {
        None => {
            hash.update(b"insecure");
            Arc::new(AcceptEveryCertificate)
        }
        Some(roots) => {
            hash_roots(&mut hash, &roots);
            let roots = Arc::new(roots);
            let lists = match &verification.revocation_lists {
                None => Vec::new(),
                Some(file) => revocation_lists(file, &roots)
                    .map_err(|reason| TrustError::RevocationLists { file: file.clone(), reason })?,
            };
            for list in &lists {
                hash.update(b"revocation");
                hash.update(Sha256::digest(list));
            }
            WebPkiServerVerifier::builder_with_provider(roots, provider::provider())
                .with_crls(lists)
                .build()
                .map_err(|error| TlsConfigError::Refused { reason: error.to_string() })?
        }
    };
    if !verification.pinned_keys.is_empty() {
        for key in &verification.pinned_keys {
            hash.update(b"pin");
            hash.update(key);
        }
        verifier = Arc::new(PinnedKeys::new(verifier, verification.pinned_keys.clone()));
    }
    Ok(Verifier { verifier, digest: hash.finalize().into() })
}

/// The same for the same authorities: the system gives them in the order of its folders.
fn hash_roots(hash: &mut Sha256, roots: &RootCertStore) {
    let of_root = |root: &TrustAnchor<'_>| -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Some(&root.subject), Some(&root.subject_public_key_info), root.name_constraints.as_ref()]
        {
            let part = part.map_or(&[][..], |part| part.as_ref());
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    };
    let mut of_roots: Vec<_> = roots.roots.iter().map(of_root).collect();
    of_roots.sort_unstable();
    of_roots.dedup();
    hash.update(b"roots");
    hash.update((of_roots.len() as u64).to_le_bytes());
    of_roots.iter().for_each(|root| hash.update(root));
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let file = std::env::var_os(ROOTS_FILE_VARIABLE).filter(|file| !file.is_empty());
    let (certificates, problem) = match file {
        Some(file) => named_roots(Path::new(&file)),
        None => {
            let loaded = rustls_native_certs::load_native_certs();
            (loaded.certs, loaded.errors.first().map(ToString::to_string))
        }
    };
    let mut roots = RootCertStore::empty();
    // One odd authority among the system's hundred must not cost the other ninety-nine.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let reason = problem.unwrap_or_else(|| "none found".to_owned());
        return Err(TrustError::NoSystemRoots { reason });
    }
    Ok(roots)
}

/// The authorities in the file that the environment names, and in the folders that it names beside it; and what is wrong
/// with the file. It is anybody's choice, and must not be waited for.
fn named_roots(file: &Path) -> (Vec<CertificateDer<'static>>, Option<String>) {
    let folders = std::env::var_os(ROOTS_FOLDERS_VARIABLE).unwrap_or_default();
    let mut found = Vec::new();
    for folder in std::env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty()) {
        found.extend(rustls_native_certs::load_certs_from_paths(None, Some(&folder)).certs);
    }
    let of_file = match pem::read_bounded(file).map(|content| pem::certificates(&content)) {
        Ok(Certificates::Found(certificates)) => Ok(certificates),
        Ok(Certificates::NotPem { reason }) => Err(format!("it is not PEM: {reason}")),
        Err(error) => Err(error.to_string()),
    };
    match of_file {
        Ok(certificates) => {
            found.extend(certificates.into_iter().map(CertificateDer::from));
            (found, None)
        }
        Err(reason) => (found, Some(format!("{ROOTS_FILE_VARIABLE} names {}: {reason}", file.display()))),
    }
}

/// The authorities in a bundle, at least one.
pub(super) fn bundle_roots(file: &Path) -> Result<RootCertStore, CertificateFileError> {
    let mut roots = RootCertStore::empty();
    for (index, der) in certificate_file::read(file)?.into_iter().enumerate() {
        roots
            .add(CertificateDer::from(der))
            .map_err(|error| CertificateFileError::malformed(file, (index + 1, error.to_string())))?;
    }
    Ok(roots)
}

/// Reads the revocation lists in a PEM file, at least one, for a verifier with these authorities.
pub(super) fn revocation_lists(
    file: &Path,
    roots: &Arc<RootCertStore>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let content = pem::read_bounded(file).map_err(|error| format!("can't be read: {error}"))?;
    let sections = pem::sections(&content).map_err(|reason| match reason.as_str() {
        pem::NO_BEGIN_LINE => format!(
            "the revocation list must be PEM: {reason}; DER is converted by: openssl crl -inform der -in FILE"
        ),
        _ => format!("the revocation list must be PEM: {reason}"),
    })?;
    let lists: Vec<_> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Crl)
        .map(|(_, der)| CertificateRevocationListDer::from(der))
        .collect();
    if lists.is_empty() {
        return Err(
            "has no X509 CRL section, only other ones: the list that the authority publishes belongs here, \
                    and not its certificate"
                .to_owned(),
        );
    }
    for (index, list) in lists.iter().enumerate() {
        // One by one: of several, the library doesn't say which it refuses.
        let judged = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider::provider())
            .with_crls([list.clone()])
            .build();
        if let Err(VerifierBuilderError::InvalidCrl(error)) = judged {
            return Err(format!("revocation list {} can't be used: {}", index + 1, list_problem(&error)));
        }
    }
    Ok(lists)
}

/// What is wrong with a revocation list, and what to do about it.
fn list_problem(error: &CertRevocationListError) -> &'static str {
    use CertRevocationListError as E;
    match error {
        E::ParseError | E::Other(_) => {
            "it isn't a sound X.509 revocation list; fetch it from the authority again"
        }
        E::UnsupportedCrlVersion => {
            "it is of version 1; the authority must publish version 2 (RFC 5280 section 5.1)"
        }
        E::UnsupportedDeltaCrl => "it holds only what has changed (delta); name the complete list",
        E::UnsupportedIndirectCrl => {
            "it covers certificates of other authorities, too (indirect); name the list of each authority"
        }
        E::UnsupportedCriticalExtension => {
            "it has a critical extension that isn't supported; have it published without"
        }
        E::UnsupportedRevocationReason => {
            "it gives a reason of revocation that doesn't exist (RFC 5280 section 5.3.1); have it published anew"
        }
        E::InvalidCrlNumber | E::InvalidRevokedCertSerialNumber => {
            "its number, or a serial number in it, is unsound; have it published anew"
        }
        _ => "it is of a kind that isn't supported; have it published in another way",
    }
}

/// `verify = false`: the operator's explicit choice, with a metric and a warning where it is configured.
///
/// Handshake signatures aren't checked either. Without a verified certificate they would bind the channel to a
/// key that anyone may have made, and the check refuses old certificate versions that this mode must accept.
#[derive(Debug)]
struct AcceptEveryCertificate;

impl ServerCertVerifier for AcceptEveryCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::signature_algorithms().supported_schemes()
    }
}
