//! The state folder itself: made if it is missing, and held by one node at a time.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::file::{self, Kind};

/// Only the owner may look into the folder.
const FOLDER_MODE: u32 = 0o700;
/// The file whose lock a node holds; it says which process that is.
const LOCK_FILE: &str = "lock";

/// A state folder that this process alone writes to, until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The kernel ends the lock with the process, however that ends.
    lock: File,
}

/// Why a state folder can't be had.
#[derive(Debug)]
pub(crate) enum FolderError {
    /// Another process holds it.
    InUse {
        /// The folder.
        path: PathBuf,
        /// What it wrote of itself.
        process: String,
    },
    /// It can't be made or written to.
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, process } => write!(
                f,
                "[node].state_dir {} is in use by another node{process}: give each node a folder of its own, or stop \
                 the other one",
                path.display()
            ),
            Self::Unwritable { path, reason } => write!(
                f,
                "[node].state_dir {}: {reason}; name a folder that this user may create or write to",
                path.display()
            ),
        }
    }
}

impl Folder {
    /// Makes the folder if it isn't there, and takes it for this process.
    ///
    /// # Errors
    /// Another process has it, or it can't be made or written to.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        Self::take_over(path, None)
    }

    /// The same where the process before this one may have handed its lock over. A lock belongs to whoever has a
    /// duplicate of its descriptor, so the folder is nobody else's at any moment.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub(crate) fn take_over(path: &Path, lock: Option<OwnedFd>) -> Result<Self, FolderError> {
        if let Some(lock) = lock.map(File::from).filter(|lock| is_lock_of(lock, path)) {
            return Ok(Self::held(path, lock));
        }
        let unwritable = |reason| FolderError::Unwritable { path: path.to_owned(), reason };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(unwritable)?;
            // What is stored in it must not vanish with it.
            let around =
                path.parent().filter(|around| !around.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(around).and_then(|around| around.sync_all()).map_err(unwritable)?;
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path.join(LOCK_FILE))
            .map_err(unwritable)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(unwritable(error.into()));
            }
            let mut text = String::new();
            let _ = (&mut lock).take(32).read_to_string(&mut text);
            let process = text.trim().parse::<u32>().map_or(String::new(), |id| format!(" (process {id})"));
            return Err(FolderError::InUse { path: path.to_owned(), process });
        }
        Ok(Self::held(path, lock))
    }

    fn held(path: &Path, mut lock: File) -> Self {
        // For people only; a full disk doesn't make the lock less of one.
        let _ = lock
            .rewind()
            .and_then(|()| lock.set_len(0))
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        Self { path: path.to_owned(), lock }
    }

    /// The lock once more, to hand it over.
    ///
    /// # Errors
    /// No descriptor is free.
    pub(crate) fn copy_lock(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone().map(OwnedFd::from)
    }

    /// Replaces one of its files by one with this body, whose digest is `digest`; when this returns, it is on the disk.
    ///
    /// # Errors
    /// It can't be written; the old one is still there.
    pub(crate) fn write(&self, kind: Kind, body: &str, digest: &str) -> io::Result<()> {
        file::write(&self.path, kind, body, digest)
    }
}

/// Whether a file is the lock of this folder, and not of one that the config named before.
fn is_lock_of(lock: &File, path: &Path) -> bool {
    let same = |ours: Metadata, theirs: Metadata| (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
    lock.metadata().is_ok_and(|ours| {
        std::fs::symlink_metadata(path.join(LOCK_FILE)).is_ok_and(|theirs| same(ours, theirs))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_made_for_its_owner_and_has_one_holder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/state");
        let held = Folder::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = Folder::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(held);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn what_can_not_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = Folder::open(&path).unwrap_err().to_string();
        assert!(error.contains("state_dir") && error.contains("file"), "{error}");
    }
}
