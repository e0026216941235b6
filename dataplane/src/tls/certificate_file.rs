//! Files of certificates (PEM), read alike whatever they are for.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::pem::{self, Certificates};

/// Why a file of certificates can't be used.
#[derive(Debug)]
pub struct CertificateFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: CertificateFileProblem,
}

/// What is wrong with a file of certificates.
#[derive(Debug)]
pub enum CertificateFileProblem {
    /// It can't be read; what the system said.
    Unreadable(io::Error),
    /// It is not PEM, and why.
    NotPem(String),
    /// It is PEM without a certificate.
    NoCertificate,
    /// A certificate in it can't be used.
    Malformed {
        /// Its place in the file, counted from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl CertificateFileError {
    /// An error about a certificate of `file`, by its place (from 1) and what is wrong with it.
    pub(super) fn malformed(file: &Path, (position, reason): (usize, String)) -> Self {
        Self { file: file.to_owned(), problem: CertificateFileProblem::Malformed { position, reason } }
    }

    /// The error of the system that is behind it.
    pub(super) fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            CertificateFileProblem::Unreadable(source) => Some(source),
            _ => None,
        }
    }
}

/// Tells of the file as a bundle of authorities.
impl fmt::Display for CertificateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.problem {
            CertificateFileProblem::Unreadable(source) => write!(f, "the CA bundle can't be read: {source}"),
            CertificateFileProblem::NotPem(reason) => write!(f, "the CA bundle must be PEM: {reason}"),
            CertificateFileProblem::NoCertificate => f.write_str(
                "the CA bundle has no CERTIFICATE section; the certificates of authorities belong here",
            ),
            CertificateFileProblem::Malformed { position, reason } => {
                write!(f, "certificate {position} of the CA bundle can't be used: {reason}")
            }
        }
    }
}

/// Reads the certificates in `file`, at least one, as DER.
pub(super) fn read(file: &Path) -> Result<Vec<Vec<u8>>, CertificateFileError> {
    let problem = match pem::read_bounded(file).map(|content| pem::certificates(&content)) {
        Ok(Certificates::Found(found)) if !found.is_empty() => return Ok(found),
        Ok(Certificates::Found(_)) => CertificateFileProblem::NoCertificate,
        Ok(Certificates::NotPem { reason }) => CertificateFileProblem::NotPem(reason),
        Err(source) => CertificateFileProblem::Unreadable(source),
    };
    Err(CertificateFileError { file: file.to_owned(), problem })
}
