//! A client certificate as the node presents it to origins, loaded and checked (spec S6.1).
//!
//! Whatever would make an origin refuse the certificate is found when the configuration is loaded, with an error of
//! its own for each cause, and all of them at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::prelude::FromDer;

use super::certificate_file::{self, CertificateFileError, CertificateFileProblem};
use super::issuer::{self, NoIssuer};
use super::{key, pem};

/// The files of a client certificate, with absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The name that origins choose it by.
    pub name: String,
    /// The certificate, PEM. Intermediates may follow it.
    pub certificate: PathBuf,
    /// Its private key, PEM, not encrypted.
    pub private_key: PathBuf,
    /// The authorities, PEM: the issuer of the certificate, and what is above it.
    pub ca_bundle: PathBuf,
}

/// A client certificate that passed every check, with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    name: String,
    not_after: i64,
    certified_key: CertifiedKey,
}

impl Identity {
    /// Loads the files and checks them as origins would at `now_unix`.
    ///
    /// # Errors
    /// Every problem that was found, at least one.
    pub fn load(files: &IdentityFiles, now_unix: i64) -> Result<Self, Vec<IdentityError>> {
        let mut problems = Vec::new();
        let certificates = keep(&mut problems, read_certificates(&files.certificate));
        let signing_key = keep(&mut problems, read_key(&files.private_key));
        let bundle = keep(&mut problems, read_bundle(&files.ca_bundle));

        let certificates = certificates.unwrap_or_default();
        let parsed = keep(&mut problems, parse_chain(&files.certificate, &certificates)).unwrap_or_default();
        let bundle = bundle.unwrap_or_default();
        let authorities = keep(&mut problems, parse_bundle(&files.ca_bundle, &bundle)).unwrap_or_default();

        let Some((leaf, with_leaf)) = parsed.split_first() else { return Err(problems) };
        problems.extend(leaf_problems(&files.certificate, leaf, now_unix));
        if let Some(signing_key) = &signing_key {
            let mismatch = key_mismatch(&files.certificate, &files.private_key, leaf, signing_key.as_ref());
            problems.extend(mismatch);
        }
        let mut chain = Vec::new();
        if !authorities.is_empty() {
            match issuer::chain(leaf, with_leaf, &authorities, now_unix) {
                Ok(found) => chain = found,
                Err(broken) => problems.push(chain_error(files, broken)),
            }
        }
        match signing_key {
            Some(signing_key) if problems.is_empty() => Ok(Self {
                name: files.name.clone(),
                not_after: leaf.validity().not_after.timestamp(),
                certified_key: CertifiedKey::new(chain, signing_key),
            }),
            _ => Err(problems),
        }
    }

    /// The name that origins choose it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last second of validity, Unix time: the metric `weir_client_certificate_not_after_seconds`.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// SHA-256 over what an origin is shown: the certificate and its intermediates.
    #[must_use]
    pub fn chain_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for certificate in &self.certified_key.cert {
            hash.update(Sha256::digest(certificate));
        }
        hash.finalize().into()
    }

    pub(super) fn certified_key(&self) -> &CertifiedKey {
        &self.certified_key
    }
}

/// Why a client certificate can't be used. Each names the file it is about.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file of the certificate.
    Certificate(CertificateFileError),
    /// The private key can't be read.
    KeyUnreadable {
        /// The key file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate may not be used for client authentication.
    EkuWithoutClientAuth {
        /// The certificate file.
        file: PathBuf,
        /// What the extension allows instead, or that there is none.
        found: String,
    },
    /// The private key is not PEM.
    KeyNotPem {
        /// The key file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is encrypted with a passphrase.
    KeyEncrypted {
        /// The key file.
        file: PathBuf,
    },
    /// The private key is PEM, but not a key.
    KeyMalformed {
        /// The key file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key belongs to another certificate.
    KeyMismatch {
        /// The key file.
        file: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The CA bundle.
    Bundle(CertificateFileError),
    /// The CA bundle lacks the authority that issued the certificate.
    BundleWithoutIssuer {
        /// The bundle.
        file: PathBuf,
        /// The name of the issuer that was looked for.
        issuer: String,
        /// What came closest.
        reason: String,
    },
    /// The authority that issued the certificate has expired, or isn't valid yet.
    IssuerNotValid {
        /// The bundle.
        file: PathBuf,
        /// The name of the issuer.
        issuer: String,
        /// Unix seconds.
        not_before: i64,
        /// Unix seconds.
        not_after: i64,
    },
    /// The certificate has expired.
    Expired {
        /// The certificate file.
        file: PathBuf,
        /// The last second of its validity, Unix time.
        not_after: i64,
    },
    /// The certificate's validity hasn't begun.
    NotYetValid {
        /// The certificate file.
        file: PathBuf,
        /// The first second of its validity, Unix time.
        not_before: i64,
    },
    /// A key or a signature is of a kind that isn't supported.
    UnsupportedAlgorithm {
        /// The file that holds it.
        file: PathBuf,
        /// What it is.
        found: String,
    },
}

impl IdentityError {
    /// The file that the problem is in.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Certificate(error) | Self::Bundle(error) => &error.file,
            Self::KeyUnreadable { file, .. }
            | Self::EkuWithoutClientAuth { file, .. }
            | Self::KeyNotPem { file, .. }
            | Self::KeyEncrypted { file }
            | Self::KeyMalformed { file, .. }
            | Self::KeyMismatch { file, .. }
            | Self::BundleWithoutIssuer { file, .. }
            | Self::IssuerNotValid { file, .. }
            | Self::Expired { file, .. }
            | Self::NotYetValid { file, .. }
            | Self::UnsupportedAlgorithm { file, .. } => file,
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Bundle(error) = self {
            return error.fmt(f);
        }
        write!(f, "{}: ", self.file().display())?;
        match self {
            Self::Bundle(_) => Ok(()),
            Self::Certificate(error) => tell_certificate(&error.problem, f),
            Self::KeyUnreadable { source, .. } => write!(f, "can't be read: {source}"),
            Self::EkuWithoutClientAuth { found, .. } => write!(
                f,
                "the Extended Key Usage must contain Client Authentication, but {found}; \
                 have it issued again with extendedKeyUsage = clientAuth"
            ),
            Self::KeyNotPem { reason, .. } => write!(f, "the private key must be PEM: {reason}"),
            Self::KeyEncrypted { .. } => write!(
                f,
                "the private key is encrypted, and nobody is there to type its passphrase; \
                 decrypt it by: openssl pkey -in FILE -out NEW, and restrict who may read it"
            ),
            Self::KeyMalformed { reason, .. } => write!(f, "the private key can't be used: {reason}"),
            Self::KeyMismatch { certificate, .. } => write!(
                f,
                "the private key doesn't match the certificate in {}; give the key that the certificate was \
                 requested with",
                certificate.display()
            ),
            Self::BundleWithoutIssuer { issuer, reason, .. } => write!(
                f,
                "the CA bundle must contain the authority that issued the client certificate ({issuer}): {reason}"
            ),
            Self::IssuerNotValid { issuer, not_before, not_after, .. } => write!(
                f,
                "the authority that issued the client certificate ({issuer}) is valid from {} to {} only; \
                 add its current certificate, or have the client certificate issued again",
                utc(*not_before),
                utc(*not_after)
            ),
            Self::Expired { not_after, .. } => {
                write!(f, "the client certificate expired at {}; renew it", utc(*not_after))
            }
            Self::NotYetValid { not_before, .. } => write!(
                f,
                "the client certificate is valid from {} on only; check the clock, or wait",
                utc(*not_before)
            ),
            Self::UnsupportedAlgorithm { found, .. } => write!(
                f,
                "{found} is not supported; supported are RSA with 2048 to 8192 bits, Ed25519, and ECDSA on \
                 secp256r1, secp384r1 and secp521r1, with SHA-256 or better"
            ),
        }
    }
}

impl std::error::Error for IdentityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Certificate(error) | Self::Bundle(error) => error.source(),
            Self::KeyUnreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What is wrong with the file of the certificate itself.
fn tell_certificate(problem: &CertificateFileProblem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match problem {
        CertificateFileProblem::Unreadable(source) => write!(f, "can't be read: {source}"),
        CertificateFileProblem::NotPem(reason) => {
            write!(f, "the certificate must be X.509 in PEM: {reason}")?;
            if reason == pem::NO_BEGIN_LINE {
                f.write_str("; DER is converted by: openssl x509 -inform der -in FILE")?;
            }
            Ok(())
        }
        CertificateFileProblem::NoCertificate => {
            f.write_str("has no CERTIFICATE section; the certificate belongs here")
        }
        CertificateFileProblem::Malformed { position, reason } => {
            write!(f, "certificate {position} is not X.509: {reason}")
        }
    }
}

/// A certificate with its chain and its key, not judged further.
pub(super) struct Pair {
    /// As in the file: the certificate, then its intermediates.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) signing_key: Arc<dyn SigningKey>,
}

/// Reads a certificate and its key and checks that they belong together.
pub(super) fn load_pair(certificate: &Path, private_key: &Path) -> Result<Pair, Vec<IdentityError>> {
    let mut problems = Vec::new();
    let certificates = keep(&mut problems, read_certificates(certificate)).unwrap_or_default();
    let signing_key = keep(&mut problems, read_key(private_key));
    let parsed = keep(&mut problems, parse_chain(certificate, &certificates)).unwrap_or_default();
    if let (Some(leaf), Some(signing_key)) = (parsed.first(), &signing_key) {
        if let Some(found) = key::unsupported_public_key(leaf.public_key()) {
            problems.push(IdentityError::UnsupportedAlgorithm { file: certificate.to_owned(), found });
        }
        problems.extend(key_mismatch(certificate, private_key, leaf, signing_key.as_ref()));
    }
    drop(parsed);
    match signing_key {
        Some(signing_key) if problems.is_empty() => {
            let chain = certificates.into_iter().map(CertificateDer::from).collect();
            Ok(Pair { chain, signing_key })
        }
        _ => Err(problems),
    }
}

/// Unix seconds as a date that people read.
fn utc(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| format!("Unix time {unix}"), |time| time.to_string())
}

/// Puts an error aside and goes on without the value.
fn keep<T>(problems: &mut Vec<IdentityError>, result: Result<T, IdentityError>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn read_certificates(file: &Path) -> Result<Vec<Vec<u8>>, IdentityError> {
    certificate_file::read(file).map_err(IdentityError::Certificate)
}

fn read_key(file: &Path) -> Result<Arc<dyn SigningKey>, IdentityError> {
    let content = pem::read_bounded(file)
        .map_err(|source| IdentityError::KeyUnreadable { file: file.to_owned(), source })?;
    key::signing_key(file, &content)
}

fn read_bundle(file: &Path) -> Result<Vec<Vec<u8>>, IdentityError> {
    certificate_file::read(file).map_err(IdentityError::Bundle)
}

fn parse_chain<'d>(
    file: &Path,
    certificates: &'d [Vec<u8>],
) -> Result<Vec<X509Certificate<'d>>, IdentityError> {
    parse(certificates)
        .map_err(|problem| IdentityError::Certificate(CertificateFileError::malformed(file, problem)))
}

fn parse_bundle<'d>(
    file: &Path,
    certificates: &'d [Vec<u8>],
) -> Result<Vec<X509Certificate<'d>>, IdentityError> {
    parse(certificates)
        .map_err(|problem| IdentityError::Bundle(CertificateFileError::malformed(file, problem)))
}

/// Parses every certificate, or says which one fails (from 1) and why.
fn parse(certificates: &[Vec<u8>]) -> Result<Vec<X509Certificate<'_>>, (usize, String)> {
    let mut parsed = Vec::with_capacity(certificates.len());
    for (index, der) in certificates.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => parsed.push(certificate),
            Ok((rest, _)) => return Err((index + 1, format!("{} bytes follow its end", rest.len()))),
            Err(error) => return Err((index + 1, error.to_string())),
        }
    }
    Ok(parsed)
}

/// What is wrong with the certificate by itself.
fn leaf_problems(file: &Path, leaf: &X509Certificate<'_>, now_unix: i64) -> Vec<IdentityError> {
    let file = || file.to_owned();
    let mut problems = Vec::new();
    if let Some(found) = without_client_auth(leaf) {
        problems.push(IdentityError::EkuWithoutClientAuth { file: file(), found });
    }
    if let Some(found) = key::unsupported_public_key(leaf.public_key()) {
        problems.push(IdentityError::UnsupportedAlgorithm { file: file(), found });
    }
    let (not_before, not_after) =
        (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    if now_unix > not_after {
        problems.push(IdentityError::Expired { file: file(), not_after });
    }
    if now_unix < not_before {
        problems.push(IdentityError::NotYetValid { file: file(), not_before });
    }
    problems
}

/// Says what the Extended Key Usage allows, if that isn't client authentication.
fn without_client_auth(leaf: &X509Certificate<'_>) -> Option<String> {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if usage.value.client_auth => None,
        Ok(Some(usage)) => Some(format!("it has only {}", purposes(usage.value))),
        Ok(None) => Some("the certificate has no such extension".to_owned()),
        Err(error) => Some(format!("the extension can't be read ({error})")),
    }
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> String {
    let named = [
        (usage.any, "Any Purpose, which origins don't count"),
        (usage.server_auth, "Server Authentication"),
        (usage.code_signing, "Code Signing"),
        (usage.email_protection, "E-mail Protection"),
        (usage.time_stamping, "Time Stamping"),
        (usage.ocsp_signing, "OCSP Signing"),
    ];
    let named = named.iter().filter(|(present, _)| *present).map(|(_, name)| (*name).to_owned());
    let purposes: Vec<String> = named.chain(usage.other.iter().map(ToString::to_string)).collect();
    if purposes.is_empty() { "no purpose at all".to_owned() } else { purposes.join(", ") }
}

fn key_mismatch(
    certificate: &Path,
    private_key: &Path,
    leaf: &X509Certificate<'_>,
    signing_key: &dyn SigningKey,
) -> Option<IdentityError> {
    let matches = signing_key.public_key().is_some_and(|key| key.as_ref() == leaf.public_key().raw);
    (!matches).then(|| IdentityError::KeyMismatch {
        file: private_key.to_owned(),
        certificate: certificate.to_owned(),
    })
}

fn chain_error(files: &IdentityFiles, broken: issuer::BrokenChain) -> IdentityError {
    let issuer = broken.issuer;
    let reason = match broken.reason {
        NoIssuer::UnsupportedSignature { found } => {
            return IdentityError::UnsupportedAlgorithm { file: files.certificate.clone(), found };
        }
        NoIssuer::NotValidNow { not_before, not_after } => {
            return IdentityError::IssuerNotValid {
                file: files.ca_bundle.clone(),
                issuer,
                not_before,
                not_after,
            };
        }
        NoIssuer::NoSuchName => "no certificate in it has that name",
        NoIssuer::OtherKey => {
            "a certificate in it has that name, but with another key than the one that signed the client certificate"
        }
        NoIssuer::NotAnAuthority => {
            "the certificate in it that has that name and key may not issue certificates (basicConstraints CA:TRUE \
             and, if it has a key usage, keyCertSign are needed)"
        }
    };
    IdentityError::BundleWithoutIssuer { file: files.ca_bundle.clone(), issuer, reason: reason.to_owned() }
}
