//! TLS settings from PEM files, for both sides, with the file's name in every error.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use super::tickets::TicketStore;
use crate::files::{self, MOST_PEM_BYTES};

/// A certificate, key or CA file that can't be used: which, why, and what was expected.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Files of the origin's TLS side.
#[derive(Clone, Debug)]
pub(crate) struct ServerTlsFiles<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) private_key: &'a Path,
    pub(crate) client_ca: Option<&'a Path>,
}

/// Files and choices of the load generator's TLS side.
#[derive(Clone, Debug)]
pub(crate) struct ClientTlsFiles<'a> {
    pub(crate) ca: Option<&'a Path>,
    pub(crate) identity: Option<(&'a Path, &'a Path)>,
    pub(crate) verify: bool,
    pub(crate) resume: bool,
}

/// Settings of a server. With a client CA, a client must show a certificate that it signed.
pub(crate) fn server_config(files: &ServerTlsFiles<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(format!("TLS can't be set up: {error}")))?;
    let builder = match files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(read_roots(path)?), provider)
                .build()
                .map_err(|error| TlsError(format!("{}: no usable client CA: {error}", path.display())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(read_certificates(files.certificate)?, read_private_key(files.private_key)?)
        .map_err(|error| pair_error(files.certificate, files.private_key, &error))?;
    // Tickets that all threads can open, so that a client resumes wherever the kernel puts its next connection.
    config.ticketer =
        aws_lc_rs::Ticketer::new().map_err(|error| TlsError(format!("no ticket keys: {error}")))?;
    Ok(Arc::new(config))
}

/// What a client shows to servers that ask for a certificate, and whether one did.
#[derive(Debug)]
pub(crate) struct Shown {
    certified: Option<Arc<CertifiedKey>>,
    was_asked: AtomicBool,
}

impl Shown {
    /// A server has asked for a certificate.
    pub(crate) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _names: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if !self.was_asked() {
            self.was_asked.store(true, Ordering::Relaxed);
        }
        self.certified.clone().filter(|certified| certified.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}

/// Settings of a client.
pub(crate) fn client_config(files: &ClientTlsFiles<'_>) -> Result<(Arc<ClientConfig>, Arc<Shown>), TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(format!("TLS can't be set up: {error}")))?;
    let builder = if files.verify {
        let roots = files.ca.map_or_else(system_roots, read_roots)?;
        builder.with_root_certificates(roots)
    } else {
        let verifier = Arc::new(AcceptAny(Arc::clone(&provider)));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    let certified = files.identity.map(|(certificate, private_key)| {
        let chain = read_certificates(certificate)?;
        let key = CertifiedKey::from_der(chain, read_private_key(private_key)?, &provider);
        key.map(Arc::new).map_err(|error| pair_error(certificate, private_key, &error))
    });
    let shown = Arc::new(Shown { certified: certified.transpose()?, was_asked: AtomicBool::new(false) });
    let resolver: Arc<dyn ResolvesClientCert> = Arc::<Shown>::clone(&shown);
    let mut config = builder.with_client_cert_resolver(resolver);
    config.resumption = if files.resume {
        rustls::client::Resumption::store(Arc::new(TicketStore::new()))
    } else {
        rustls::client::Resumption::disabled()
    };
    Ok((Arc::new(config), shown))
}

/// The common name in a certificate's subject, if it has one.
pub(crate) fn subject_common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn pair_error(certificate: &Path, private_key: &Path, error: &rustls::Error) -> TlsError {
    TlsError(format!("{} and {} do not go together: {error}", certificate.display(), private_key.display()))
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, MOST_PEM_BYTES).map_err(TlsError)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_pem(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsError(format!(
            "{}: no certificate in it; expected PEM `BEGIN CERTIFICATE`",
            path.display()
        ))),
        Err(error) => Err(TlsError(format!("{}: a broken certificate: {error}", path.display()))),
    }
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read_pem(path)?).map_err(|error| {
        TlsError(format!(
            "{}: can't read a private key: {error}; expected PEM `BEGIN PRIVATE KEY`",
            path.display()
        ))
    })
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError(format!("{}: not usable as a CA: {error}", path.display())))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let advice =
            "this system has no CA certificates: name a file with --ca, or don't verify with --insecure";
        return Err(TlsError(advice.to_owned()));
    }
    Ok(roots)
}

/// Takes any server certificate, for `--insecure`. Signatures are still checked, so the connection is sound TLS to an
/// unknown party.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate and its private key, as PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, with the chain behind it.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub private_key: PathBuf,
}
