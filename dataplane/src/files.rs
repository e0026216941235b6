//! Reading the files that a config names: they may be anything, and reading them must end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a regular file of at most `limit_bytes`.
///
/// # Errors
/// It can't be read, is larger, or is no regular file: a pipe or a device might never end, or never begin.
pub(crate) fn read_bounded(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open(path, limit_bytes)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    // It may grow meanwhile.
    file.take(limit_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes { Err(too_large(limit_bytes)) } else { Ok(bytes) }
}

/// The same of a file of UTF-8 text.
///
/// # Errors
/// Those of [`read_bounded`], or it is no UTF-8.
pub(crate) fn read_text_bounded(path: &Path, limit_bytes: u64) -> io::Result<String> {
    String::from_utf8(read_bounded(path, limit_bytes)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("it is no UTF-8: {error}")))
}

fn open(path: &Path, limit_bytes: u64) -> io::Result<(File, u64)> {
    // Asked before it is opened, as opening a device can have effects, and again of what was opened.
    is_regular(&std::fs::metadata(path)?)?;
    // Opening a pipe that has come in between must not wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    is_regular(&metadata)?;
    if metadata.len() > limit_bytes {
        return Err(too_large(limit_bytes));
    }
    Ok((file, metadata.len()))
}

fn is_regular(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::other("it is no regular file")) }
}

fn too_large(limit_bytes: u64) -> io::Error {
    let limit = match limit_bytes {
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{bytes} bytes"),
    };
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit}, the most that is read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_up_to_the_limit_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(read_text_bounded(&path, 5).unwrap(), "12345");
        assert!(read_bounded(&path, 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read_text_bounded(&path, 4).unwrap_err().to_string().contains("UTF-8"));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for endless in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            let error = read_bounded(endless, 4).unwrap_err();
            assert_eq!(error.to_string(), "it is no regular file", "{}", endless.display());
        }
        assert_eq!(read_bounded(Path::new("/nowhere"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
