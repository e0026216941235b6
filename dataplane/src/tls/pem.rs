//! Reading PEM files: with a bound on their size, and with the difference between "not PEM" and "nothing useful".

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls_pki_types::pem::{PemObject, SectionKind};

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
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_LIMIT_BYTES {
        let message = format!("the file is larger than {FILE_LIMIT_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// Splits the content of a PEM file into the sections whose labels are known.
pub(super) fn sections(content: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    let sections: Result<Vec<_>, _> =
        <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(content).collect();
    match sections {
        Err(error) => Err(error.to_string()),
        Ok(sections) if sections.is_empty() && !has_begin_line(content) => {
            Err("the file has no line that starts with \"-----BEGIN\"".to_owned())
        }
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
