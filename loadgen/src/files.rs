//! Reading files whole, with a limit: a device such as `/dev/zero` has no end.

use std::{fs::File, io::Read, path::Path};

/// The largest body that is read from a file, in bytes.
pub const MOST_BODY_BYTES: u64 = 256 << 20;
/// The largest report, in bytes.
pub const MOST_REPORT_BYTES: u64 = 1 << 30;
/// The largest scenario file, in bytes; bodies and corpora that it names are not part of it.
pub(crate) const MOST_SCENARIO_BYTES: u64 = 64 << 20;
/// The largest file of certificates or keys, in bytes.
pub(crate) const MOST_PEM_BYTES: u64 = 16 << 20;

/// Reads a whole file of at most `limit_bytes`.
///
/// # Errors
///
/// A sentence that names the file: it can't be read, or is larger than that.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("can't read {}: {error}", path.display())),
        Ok(_) if bytes.len() as u64 > limit_bytes => {
            Err(format!("{} is larger than {limit_bytes} bytes, which is the most", path.display()))
        }
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error, "/dev/zero is larger than 1000 bytes, which is the most");
        assert!(read(Path::new("/gone"), 1).unwrap_err().starts_with("can't read /gone: "));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert!(read(&path, 2).is_err());
    }
}
