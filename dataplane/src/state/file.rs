//! One file of the state folder: a header line that says what follows and how to tell that it is whole, and the lines
//! themselves. A file is replaced as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::{ConfigError, Where};
use crate::files;
use crate::text::hex;

/// The version of the files' form that this program writes, and the only one that it reads.
const VERSION: u32 = 1;
/// Only the owner may read and write the files.
const FILE_MODE: u32 = 0o600;

/// What a state file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes of the rules and the general mode.
    Rules,
    /// Changes of the IP lists.
    IpLists,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::IpLists => "ip-lists",
        }
    }

    /// A larger file is refused unread, and never written.
    pub(crate) const fn limit_bytes(self) -> u64 {
        match self {
            Self::Rules => 64 << 20,
            Self::IpLists => 256 << 20,
        }
    }

    /// Where it is in a state folder.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.name()))
    }

    /// What a new file is called until it is whole.
    fn new_path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json.new", self.name()))
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    weir_state: String,
    version: u32,
    /// Bytes behind the header line.
    bytes: u64,
    /// SHA-256 of these bytes, in hex.
    sha256: String,
}

/// A file that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// All of its text, header line included, so that offsets in it are those in the file.
    pub(crate) text: String,
    /// Where the lines behind the header begin.
    pub(crate) start: usize,
    /// Names what they say.
    pub(crate) digest: String,
}

/// SHA-256 in hex.
pub(super) fn digest_of(body: &str) -> String {
    hex(&Sha256::digest(body))
}

/// Reads a file; nothing if there is none.
///
/// # Errors
/// It is there and can't be read, is none of ours, or isn't whole.
pub(crate) fn read(folder: &Path, kind: Kind) -> Result<Option<Contents>, ConfigError> {
    let path = kind.path(folder);
    let refuse = |message: String| ConfigError {
        place: Where::File(path.clone()),
        key: String::new(),
        message: format!("{message}; nothing is served without the changes made over the admin API"),
        advice: format!(
            "restore the file from a backup, or give these changes up: mv {0} {0}.bad, and the config files hold alone",
            path.display()
        ),
    };
    let bytes = match read_bounded(&path, kind.limit_bytes()) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) => return Err(refuse(format!("the state file can't be read: {error}"))),
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| refuse("this is no state file of Weir, or it is damaged: it isn't UTF-8".to_owned()))?;
    let (header, body) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(header) = serde_json::from_str::<Header>(header) else {
        let message = "this is no state file of Weir, or it is damaged: its first line is no header";
        return Err(refuse(message.to_owned()));
    };
    let found = judge(&header, body, kind).map_err(refuse)?;
    let start = text.len() - body.len();
    Ok(Some(Contents { start, digest: found, text }))
}

/// The digest of a body that is what its header says.
fn judge(header: &Header, body: &str, kind: Kind) -> Result<String, String> {
    if header.weir_state != kind.name() {
        return Err(format!("the state file holds {:?}, not {:?}", header.weir_state, kind.name()));
    }
    if header.version != VERSION {
        return Err(format!(
            "the state file has form {}, written by another version of Weir; this one reads form {VERSION}",
            header.version
        ));
    }
    let length = body.len() as u64;
    if length != header.bytes {
        return Err(format!(
            "the state file is cut short or damaged: {length} bytes follow its header, {} were written",
            header.bytes
        ));
    }
    let digest = digest_of(body);
    if digest != header.sha256 {
        return Err("the state file is damaged: its checksum is wrong".to_owned());
    }
    Ok(digest)
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match files::read_bounded(path, limit) {
        // A folder that is no folder holds nothing.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Replaces a file by one with this body, whose digest is `digest`; when this returns, it is on the disk.
///
/// # Errors
/// The old file is still there then. Only if the last step failed, which makes the folder's entry durable, it is
/// the new one.
pub(super) fn write(folder: &Path, kind: Kind, body: &str, digest: &str) -> io::Result<()> {
    let header = Header {
        weir_state: kind.name().to_owned(),
        version: VERSION,
        bytes: body.len() as u64,
        sha256: digest.to_owned(),
    };
    let mut text = serde_json::to_string(&header)?;
    text.push('\n');
    if (text.len() + body.len()) as u64 > kind.limit_bytes() {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the state file would be larger than {} MiB", kind.limit_bytes() >> 20),
        ));
    }
    let new_path = kind.new_path(folder);
    let stored = store(&new_path, &text, body).and_then(|()| std::fs::rename(&new_path, kind.path(folder)));
    if let Err(error) = stored {
        // It may not even be there.
        let _ = std::fs::remove_file(&new_path);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn store(path: &Path, header: &str, body: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    file.write_all(header.as_bytes())?;
    file.write_all(body.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn write(folder: &Path, kind: Kind, body: &str) -> io::Result<String> {
        let digest = digest_of(body);
        super::write(folder, kind, body, &digest).map(|()| digest)
    }

    fn message(folder: &Path) -> String {
        read(folder, Kind::Rules).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_read_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), Kind::Rules).unwrap(), None);
        for body in ["", "{\"a\": 1}\n", "ü\n\n"] {
            let digest = write(folder.path(), Kind::Rules, body).unwrap();
            let contents = read(folder.path(), Kind::Rules).unwrap().unwrap();
            assert_eq!((&contents.text[contents.start..], contents.digest), (body, digest));
        }
        let mode = std::fs::metadata(folder.path().join("rules.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    /// Cut at every byte, changed at every byte: never read as something else.
    #[test]
    fn a_damaged_file_is_never_taken_for_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Kind::Rules, "{\"removed\":7}\n").unwrap();
        let path = folder.path().join("rules.json");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(message(folder.path()).contains("mv "), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let found = read(folder.path(), Kind::Rules);
            assert!(found.is_err(), "changed at {at}: {found:?}");
        }
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.json");
        let whole = {
            write(folder.path(), Kind::Rules, "{}\n").unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        for (text, expected) in [
            (String::new(), "no header"),
            ("general_mode = \"block\"\n".to_owned(), "no state file of Weir"),
            (whole.replace("\"version\":1", "\"version\":2"), "form 2"),
            (whole.replace("rules", "ip-lists"), "holds \"ip-lists\""),
            (format!("{whole}more"), "damaged"),
            (whole[..whole.len() - 1].to_owned(), "cut short"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = message(folder.path());
            assert!(message.contains(expected) && message.contains("rules.json"), "{message}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(message(folder.path()).contains("no regular file"));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("rules.json")).unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(message(folder.path()).contains("larger than 64 MiB"));
    }

    #[test]
    fn what_can_not_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Kind::Rules, "old\n").unwrap();
        let in_the_way = folder.path().join("rules.json.new");
        std::fs::create_dir(&in_the_way).unwrap();
        assert!(write(folder.path(), Kind::Rules, "new\n").is_err());
        std::fs::remove_dir(&in_the_way).unwrap();
        std::os::unix::fs::symlink("/dev/full", &in_the_way).unwrap();
        assert!(write(folder.path(), Kind::Rules, "new\n").is_err(), "links are not followed");
        let contents = read(folder.path(), Kind::Rules).unwrap().unwrap();
        assert_eq!(&contents.text[contents.start..], "old\n");
    }
}
