//! Reading PEM files: with a bound on their size, and with the difference between "not PEM" and "nothing useful".

use std::io;
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject, SectionKind};

use crate::files;

/// The largest file that is read. The system's bundle of roots has about a quarter of it.
pub(super) const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// What a file of certificates held.
pub(super) enum Certificates {
    /// Without a PEM section, or with one that doesn't decode.
    NotPem {
        /// What is wrong.
        reason: String,
    },
    /// The DER of each `CERTIFICATE` section in the order of the file, possibly none.
    Found(Vec<Vec<u8>>),
}

/// Reads a whole file of at most [`FILE_LIMIT_BYTES`].
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    files::read_bounded(path, FILE_LIMIT_BYTES)
}

/// What is said of a file that isn't PEM at all, such as one in DER.
pub(super) const NO_BEGIN_LINE: &str = "the file has no line that starts with \"-----BEGIN\"";

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a section has no END line: the file seems to be cut off".to_owned()
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line that starts with \"-----BEGIN\" is broken".to_owned()
        }
        pem::Error::Base64Decode(_) => "a section holds characters that are no Base64".to_owned(),
        other => other.to_string(),
    }
}

/// Splits the content of a PEM file into the sections whose labels are known.
pub(super) fn sections(content: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    let sections: Result<Vec<_>, _> =
        <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(content).collect();
    match sections {
        Err(error) => Err(reason(&error)),
        Ok(_) if content.trim_ascii().is_empty() => Err("the file is empty".to_owned()),
        Ok(sections) if sections.is_empty() && !has_begin_line(content) => Err(NO_BEGIN_LINE.to_owned()),
        Ok(sections) => Ok(sections),
    }
}

/// Picks the certificates out of the content of a PEM file.
pub(super) fn certificates(content: &[u8]) -> Certificates {
    match sections(content) {
        Err(reason) => Certificates::NotPem { reason },
        Ok(sections) => Certificates::Found(
            sections
                .into_iter()
                .filter(|(kind, _)| *kind == SectionKind::Certificate)
                .map(|(_, der)| der)
                .collect(),
        ),
    }
}

fn has_begin_line(content: &[u8]) -> bool {
    content.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"-----BEGIN "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let said = |content: &str| sections(content.as_bytes()).unwrap_err();
        assert_eq!(said(" \n"), "the file is empty");
        assert_eq!(said("0 is no PEM"), NO_BEGIN_LINE);
        assert!(said("-----BEGIN CERTIFICATE-----\nMIIB").contains("cut off"));
        let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert_eq!(said(broken), "a section holds characters that are no Base64");
    }
}
